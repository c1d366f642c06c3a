// One leadership of a partition of the offsets topic, over real replicas and logs: what is settled when, what is read before
// anybody is answered, and what is left when the leadership is over.

import { describe, expect, it, onTestFinished } from 'vitest'
import { CoordinatedPartition } from '../../broker/groups/coordinated-partition.ts'
import type { GroupRefusal } from '../../broker/groups/group-events.ts'
import type { Group } from '../../broker/groups/group.ts'
import { DelayedOperations } from '../../broker/replication/delayed-operations.ts'
import { must } from '../../shared/assert.ts'
import { silentLogger } from '../../shared/logger.ts'
import { type Broker, Brokers, ONE, settle, TWO } from '../replication/replica-brokers.ts'

const COMMIT_TIMEOUT_MS = 5_000
const T0 = { topic: 't', partition: 0 }

/** What has become of a commit; 'waits' until something has. */
interface Fate {
  is: 'waits' | 'done' | GroupRefusal['error']
}

async function twoBrokers(): Promise<Brokers> {
  const brokers = await Brokers.start({ brokers: 2, minInSyncReplicas: 2 })
  onTestFinished(() => brokers.close())
  await brokers.elect(ONE)
  return brokers
}

/** Begins to coordinate what the broker leads; it has not read anything yet. */
function begin({ time }: Brokers, broker: Broker, generationBase = 0): CoordinatedPartition {
  const { partition } = broker.replica()
  const on = new CoordinatedPartition(
    0,
    partition,
    {
      clock: time,
      timers: time,
      logger: silentLogger,
      delayed: new DelayedOperations({ clock: time, timers: time, countMax: 1_000 }),
      groups: {
        sessionTimeoutMsMin: 10,
        sessionTimeoutMsMax: 600_000,
        initialRebalanceDelayMs: 0,
        membersMax: 10,
        bytesMax: 10_000,
      },
      commitTimeoutMs: COMMIT_TIMEOUT_MS,
      groupsMax: 10,
      groupCount: () => 0,
      onGroup: () => undefined,
      onGroupGone: () => undefined,
    },
    generationBase,
  )
  return on
}

async function serving(brokers: Brokers, broker: Broker): Promise<CoordinatedPartition> {
  const on = begin(brokers, broker)
  await untilServing(brokers, on)
  return on
}

/** Whoever follows the partition would tell it when the high watermark moves. */
async function untilServing(brokers: Brokers, on: CoordinatedPartition, loading = on.load()): Promise<void> {
  await brokers.until(() => {
    on.onReadable()
    return on.isServing
  })
  await loading
}

function groupOn(on: CoordinatedPartition): Group {
  return must(on.findOrMake('g'), 'there is room for a group')
}

function commit(on: CoordinatedPartition, offset: number): Fate {
  const fate: Fate = { is: 'waits' }
  const committed = { offset, leaderEpoch: undefined, metadata: '', committedAt: 1, expiresAt: undefined }
  groupOn(on).commit([{ ...T0, committed }], (refusal) => {
    fate.is = refusal?.error ?? 'done'
  })
  return fate
}

function committed(on: CoordinatedPartition): number | undefined {
  return on.find('g')?.offsets.get('t', 0)?.offset
}

describe('a coordinated partition', () => {
  it('has a commit when enough replicas have it, and not before', async () => {
    const brokers = await twoBrokers()
    const on = await serving(brokers, brokers.of(ONE))
    brokers.of(TWO).carrier.cut(ONE)
    const fate = commit(on, 5)
    await settle()
    expect([fate.is, committed(on)]).toEqual(['waits', undefined])
    brokers.of(TWO).carrier.connect(ONE)
    await brokers.until(() => fate.is !== 'waits')
    expect([fate.is, committed(on)]).toEqual(['done', 5])
  })

  it('lets nobody wait for longer than a commit may take, and has the commit when it is settled later', async () => {
    const brokers = await twoBrokers()
    const on = await serving(brokers, brokers.of(ONE))
    brokers.of(TWO).carrier.cut(ONE)
    const fate = commit(on, 5)
    await settle()
    brokers.time.advance(COMMIT_TIMEOUT_MS + 10)
    expect(fate.is).toBe('REQUEST_TIMED_OUT')
    expect(committed(on)).toBeUndefined()
    brokers.of(TWO).carrier.connect(ONE)
    await brokers.until(() => committed(on) !== undefined)
    expect([fate.is, committed(on)]).toEqual(['REQUEST_TIMED_OUT', 5])
  })

  it('settles in the order in which it was asked, many in one batch a turn', async () => {
    const brokers = await twoBrokers()
    const on = await serving(brokers, brokers.of(ONE))
    const before = brokers.of(ONE).log().logEndOffset
    const fates = [1, 2, 3].map((offset) => commit(on, offset))
    await brokers.until(() => fates.every(({ is }) => is === 'done'))
    expect(committed(on)).toBe(3)
    const outcome = await brokers.of(ONE).replica().partition.read(before, 1)
    if (outcome.kind === 'refused') throw new Error(outcome.refusal.message)
    expect(outcome.slice.endOffset - before).toBe(3)
    outcome.slice.release()
  })

  it('tells whoever waits that it coordinates no more, and the next one has what was settled', async () => {
    const brokers = await twoBrokers()
    const on = await serving(brokers, brokers.of(ONE))
    const kept = commit(on, 5)
    await brokers.until(() => kept.is === 'done')
    brokers.of(TWO).carrier.cut(ONE)
    const lost = commit(on, 6)
    await settle()
    on.end()
    expect(lost.is).toBe('NOT_COORDINATOR')
    expect([...on.groups()]).toEqual([])
    brokers.of(TWO).carrier.connect(ONE)
    await brokers.until(() => brokers.of(TWO).log().logEndOffset === brokers.of(ONE).log().logEndOffset)
    await brokers.elect(TWO)
    const next = await serving(brokers, brokers.of(TWO))
    expect(next.epoch).toBeGreaterThan(on.epoch)
    // What was on its way has come to be after all, which nobody was promised.
    expect(committed(next)).toBe(6)
  })

  it('is fenced by the log: what it appends once another leads is not settled as done', async () => {
    const brokers = await twoBrokers()
    const on = await serving(brokers, brokers.of(ONE))
    await brokers.elect(TWO)
    const late = commit(on, 9)
    await brokers.until(() => late.is !== 'waits')
    expect(late.is).toBe('NOT_COORDINATOR')
    const next = await serving(brokers, brokers.of(TWO))
    expect(committed(next)).toBeUndefined()
  })

  it('answers for nothing before all that was there when it began is known to stay', async () => {
    const brokers = await twoBrokers()
    const one = brokers.of(ONE)
    const first = await serving(brokers, one)
    brokers.of(TWO).carrier.cut(ONE)
    const fate = commit(first, 7)
    await settle()
    // Its own earlier life in the same epoch has left something that may stay or go.
    first.end()
    const on = begin(brokers, one)
    const loading = on.load()
    await settle()
    expect(on.isServing).toBe(false)
    brokers.of(TWO).carrier.connect(ONE)
    await untilServing(brokers, on, loading)
    expect([fate.is, committed(on)]).toEqual(['NOT_COORDINATOR', 7])
  })

  it('gives out no generation that an earlier leadership of the same epoch has', async () => {
    const brokers = await twoBrokers()
    const on = begin(brokers, brokers.of(ONE), 50_000)
    await untilServing(brokers, on)
    const generations: number[] = []
    groupOn(on).ask(
      {
        kind: 'join',
        member: '',
        instance: 'a',
        connection: undefined,
        newMember: 'm',
        clientId: 'c',
        host: 'h',
        protocolType: 'consumer',
        sessionTimeoutMs: 10_000,
        rebalanceTimeoutMs: 10_000,
        protocols: [{ name: 'range', metadata: new Uint8Array(0) }],
      },
      'answer-join',
      ({ answer }) => generations.push(answer.generation),
    )
    await brokers.until(() => generations.length > 0)
    expect(generations).toEqual([50_001])
    on.end()
    expect(on.generationMax).toBe(50_001)
  })
})
