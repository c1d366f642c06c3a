// Bits that flip on the disk of one replica, and the records that another one still has: real logs, connected in memory.

import { describe, expect, it } from 'vitest'
import { HoleRepairs } from '../../broker/replication/hole-repairs.ts'
import { parseTopicConfig } from '../../broker/storage/log-config.ts'
import { must } from '../../shared/assert.ts'
import { offset } from '../../shared/ids.ts'
import { type Broker, Brokers, ONE, settle, THREE, TWO } from './replica-brokers.ts'

const DIRECTORY = 'data/0'
const BATCHES = 30

/** Three brokers with the same records, in several segments. */
async function begun(): Promise<Brokers> {
  const brokers = await Brokers.start({
    brokers: 3,
    minInSyncReplicas: 2,
    entries: { 'segment.bytes': '2048' },
    storage: { hotTailBytes: 0 },
  })
  await brokers.elect(ONE)
  for (let number = 0; number < BATCHES; number += 1)
    await brokers.of(ONE).produce([`record ${number}`.padEnd(100, '.')])
  await brokers.until(() => brokers.list.every((one) => one.replica().partition.highWatermark === BATCHES + 1))
  return brokers
}

function repairsOf(brokers: Brokers, broker: Broker): HoleRepairs {
  const logger = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined }
  const { carrier: peers, replicas } = broker
  return new HoleRepairs({ peers, clock: brokers.time, logger, replicas: () => replicas })
}

/** Flips a bit in this segment, counted from the beginning or the end, and lets it be found. */
async function damage(broker: Broker, segment: number): Promise<void> {
  const { disk, files } = broker.context
  const name = must(
    disk
      .list(DIRECTORY)
      .filter((one) => one.endsWith('.log'))
      .at(segment),
    'there is such a segment',
  )
  const path = `${DIRECTORY}/${name}`
  const bytes = disk.readFile(path)
  bytes[100] = (bytes[100] ?? 0) ^ 4
  files.closeIdle()
  disk.writeFile(path, bytes)
  await broker.log().scrub()
}

describe('a follower whose disk has lost records', () => {
  it('gets them back from its leader, be the segment sealed or not, and says so with its next fetch', async () => {
    const brokers = await begun()
    const [one, two] = [brokers.of(ONE), brokers.of(TWO)]
    const repairs = repairsOf(brokers, two)
    for (const segment of [0, 1, -1]) {
      await damage(two, segment)
      expect(two.replica().hasHoles).toBe(true)
      await brokers.until(() => !one.replica().state.wholeReplicas.includes(TWO))
      expect(one.replica().state.inSyncReplicas).toContain(TWO)
      await brokers.until(() => {
        repairs.tick()
        return !two.replica().hasHoles
      })
      expect(await two.bytes()).toBe(await one.bytes())
      await brokers.until(() => one.replica().state.wholeReplicas.includes(TWO))
    }
    await one.produce(['the next one'])
    await brokers.until(() => two.log().logEndOffset === one.log().logEndOffset)
    expect(await two.bytes()).toBe(await one.bytes())
    expect(one.replica().role).toBe('leader')
    await two.restart()
    expect(two.log().quarantined).toEqual([])
    brokers.close()
  })

  it('keeps the hole where its leader has one as well, and gets them from the next leader', async () => {
    const brokers = await begun()
    const [one, two, three] = [brokers.of(ONE), brokers.of(TWO), brokers.of(THREE)]
    const repairs = [repairsOf(brokers, one), repairsOf(brokers, two)]
    await damage(one, 0)
    await damage(two, 0)
    await damage(two, 1)
    const asked = two.carrier.carried.length
    await brokers.until(() => {
      for (const each of repairs) each.tick()
      return two.carrier.carried.slice(asked).some(({ message }) => message.partitions[0]?.fetchOffset === 1)
    })
    await settle()
    // What its leader has it gets all the same.
    await brokers.until(() => {
      for (const each of repairs) each.tick()
      return two.log().quarantined.length === 1
    })
    expect(two.replica().hasHoles).toBe(true)
    await brokers.elect(THREE)
    await brokers.until(() => {
      for (const each of repairs) each.tick()
      return !one.replica().hasHoles && !two.replica().hasHoles
    })
    for (const broker of [one, two]) expect(await broker.bytes()).toBe(await three.bytes())
    brokers.close()
  })

  it('does not take what its leader gives for them when it is not what was there', async () => {
    const brokers = await begun()
    const two = brokers.of(TWO)
    const repairs = repairsOf(brokers, two)
    await damage(two, 0)
    let spoiled = 0
    two.carrier.spoil = (answer) => {
      if (answer.tail.length === 0) return answer
      spoiled += 1
      const tail = Uint8Array.from(answer.tail)
      tail[tail.length - 1] = (tail[tail.length - 1] ?? 0) ^ 1
      return { ...answer, tail }
    }
    await brokers.until(() => {
      repairs.tick()
      return spoiled === 2
    })
    await settle()
    expect(two.log().quarantined).toHaveLength(1)
    brokers.close()
  })

  it('asks for nothing while its leader has not said that both have the same, nor where logs are compacted', async () => {
    const compacted = await begun()
    await damage(compacted.of(TWO), 0)
    compacted.of(TWO).log().config = parseTopicConfig({ 'cleanup.policy': 'compact' })
    await expectNothingAsked(compacted, compacted.of(TWO))
    compacted.close()
    const others = await begun()
    const two = others.of(TWO)
    await damage(two, 0)
    two.carrier.cut(ONE)
    await two.restart()
    expect(two.replica().state.matchedEndOffset).toBe(0)
    await expectNothingAsked(others, two)
    others.close()
  })
})

describe('a leader whose disk has lost records', () => {
  it('has consumers come again while another one may take over, and not for ever', async () => {
    const brokers = await begun()
    const one = brokers.of(ONE)
    await damage(one, 0)
    const { partition } = one.replica()
    const read = async (): Promise<string | undefined> => {
      const outcome = await partition.read(offset(1), 1_000)
      return outcome.kind === 'refused' ? outcome.refusal.error : undefined
    }
    expect(await read()).toBe('NOT_LEADER_OR_FOLLOWER')
    expect(partition.readTail(offset(1), 1_000)).toMatchObject({ refusal: { error: 'NOT_LEADER_OR_FOLLOWER' } })
    brokers.time.advance(15_000)
    expect(await read()).toBe('QUARANTINED')
    brokers.close()
  })

  it('says that they are lost where nobody else has them', async () => {
    const brokers = await begun()
    const one = brokers.of(ONE)
    for (const broker of brokers.list) await damage(broker, 0)
    await brokers.until(() => one.replica().state.wholeReplicas.length === 0)
    const outcome = await one.replica().partition.read(offset(1), 1_000)
    expect(outcome).toMatchObject({ refusal: { error: 'QUARANTINED' } })
    brokers.close()
  })
})

async function expectNothingAsked(brokers: Brokers, broker: Broker): Promise<void> {
  const repairs = repairsOf(brokers, broker)
  const asked = broker.carrier.carried.length
  for (let second = 0; second < 5; second += 1) {
    repairs.tick()
    await settle()
    brokers.time.advance(1_000)
  }
  const positions = broker.carrier.carried.slice(asked).flatMap(({ message }) => message.partitions)
  expect(positions.every(({ fetchOffset }) => fetchOffset === broker.log().logEndOffset)).toBe(true)
  expect(broker.replica().hasHoles).toBe(true)
}
