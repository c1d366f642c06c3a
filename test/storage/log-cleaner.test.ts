// The cleaner of a data directory: when it compacts which log, and what it does about one that fails.

import { beforeAll, describe, expect, it } from 'vitest'
import type { CleanerOptions } from '../../broker/storage/log-cleaner.ts'
import { LogDirectory } from '../../broker/storage/log-directory.ts'
import { MemoryDisk } from '../../broker/storage/memory-disk.ts'
import type { PartitionLog } from '../../broker/storage/partition-log.ts'
import { prepareCodec } from '../../shared/compression/codec.ts'
import { must } from '../../shared/assert.ts'
import type { TopicId } from '../../shared/ids.ts'
import { brokerId } from '../../shared/ids.ts'
import { silentLogger } from '../../shared/logger.ts'
import { seededRandom } from '../../shared/random.ts'
import { SimTime } from '../simulation/sim-time.ts'
import { COMPACT, keyed, tableOf } from './compaction-fixture.ts'
import { at, EPOCH, put, time } from './log-fixture.ts'

interface Stage {
  readonly time: SimTime
  readonly disk: MemoryDisk
  readonly directory: LogDirectory
  topic(number: number, config?: Record<string, string>): Promise<PartitionLog>
}

const TOPIC = { partitions: 1, replicationFactor: 1, version: 1, createdAt: time(0) } as const

async function open(cleaner: CleanerOptions = {}, disk?: MemoryDisk): Promise<Stage> {
  const clock = new SimTime()
  const used = disk ?? new MemoryDisk(clock)
  const directory = await LogDirectory.open({
    disk: used,
    path: 'data',
    clock,
    timers: clock,
    random: seededRandom(1),
    logger: silentLogger,
    cluster: 'test',
    brokerId: brokerId(1),
    cleaner,
    reserveBytes: 0,
  })
  const topic = async (number: number, config: Record<string, string> = {}): Promise<PartitionLog> => {
    const topicId = `00000000-0000-4000-8000-00000000000${number}` as TopicId
    await directory.createTopic({ ...TOPIC, topicId, name: `topic-${number}`, config: { ...COMPACT, ...config } })
    return must(directory.log(topicId, 0), 'it was made')
  }
  return { time: clock, disk: used, directory, topic }
}

function fill(log: PartitionLog, rounds: number, now: number): void {
  for (let round = 0; round < rounds; round++) {
    put(log, keyed([[`key ${round % 3}`, `${round}`.padEnd(300)]]), EPOCH, time(now))
  }
}

/** Whatever can be done without any time passing is done. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve))
}

// Loaded now, so that nothing has to be waited for.
beforeAll(() => prepareCodec('zstd'))

describe('the cleaner', () => {
  it('looks by itself, and compacts what is due', async () => {
    const { directory, topic, time: clock } = await open({ backoffMs: 1_000 })
    const log = await topic(1)
    const kept = await topic(2, { 'cleanup.policy': 'delete' })
    const lazy = await topic(3, { 'min.cleanable.dirty.ratio': '1' })
    for (const each of [log, kept, lazy]) fill(each, 40, clock.ms)
    await directory.flush()
    const bytes = { log: log.bytes, kept: kept.bytes }
    clock.advance(999)
    await settle()
    expect(log.bytes).toBe(bytes.log)
    clock.advance(1)
    await settle()
    expect(log.bytes).toBeLessThan(bytes.log / 5)
    expect(kept.bytes).toBe(bytes.kept)
    expect(await tableOf(log)).toEqual(
      new Map([37, 38, 39].map((round) => [`key ${round % 3}`, `${round}`.padEnd(300)])),
    )
    // All of it was dirty. Now a little is.
    const before = lazy.bytes
    fill(lazy, 4, clock.ms)
    await directory.flush()
    clock.advance(1_000)
    await settle()
    expect(lazy.bytes).toBeGreaterThan(before)
    expect(directory.cleaner.dirtyRatioMax).toBeGreaterThan(0)
    await directory.stop()
  })

  it('takes the dirtiest first, and before it what has waited too long', async () => {
    const { directory, topic, time: clock } = await open()
    const logs = [
      await topic(1, { 'min.cleanable.dirty.ratio': '0.1' }),
      await topic(2, { 'min.cleanable.dirty.ratio': '0.1' }),
      await topic(3, { 'min.cleanable.dirty.ratio': '1', 'max.compaction.lag.ms': '5000' }),
    ]
    for (const [index, log] of logs.entries()) {
      for (let key = 0; key < 20; key++) put(log, keyed([[`own ${key}`, 'x'.repeat(300)]]), EPOCH, time(clock.ms))
      await log.sync()
      await directory.cleaner.compactNow({ isForced: true })
      fill(log, 10 + 20 * (index % 2), clock.ms)
    }
    await directory.flush()
    clock.advance(6_000)
    const order: string[] = []
    directory.cleaner.events = { onPass: ({ oldBytes }) => void (oldBytes > 0 && order.push(String(oldBytes))) }
    const sizes = logs.map(({ bytes }) => bytes)
    await directory.cleaner.compactNow()
    expect(order).toHaveLength(3)
    expect(logs.every(({ bytes }, index) => bytes < (sizes[index] ?? 0))).toBe(true)
    expect(Number(order[1])).toBeGreaterThan(Number(order[2]))
    await directory.stop()
  })

  it('says so when a log cannot be compacted, leaves it as it is and tries again, less and less often', async () => {
    const { directory, topic, disk, time: clock } = await open({ backoffMs: 1_000 })
    const [bad, good] = [await topic(1), await topic(2)]
    for (const log of [bad, good]) fill(log, 40, clock.ms)
    await directory.flush()
    const before = bad.bytes
    const openFile = disk.open.bind(disk)
    let tries = 0
    let isFailing = true
    disk.open = (path, mode) => {
      if (isFailing && path.startsWith(bad.directory) && path.endsWith('.cleaned') && ++tries > 0)
        disk.readFile('nothing')
      return openFile(path, mode)
    }
    const failures: string[] = []
    directory.cleaner.events = { onFailure: () => void failures.push('failure') }
    for (let second = 0; second < 16; second++) {
      clock.advance(1_000)
      await settle()
    }
    expect(good.bytes).toBeLessThan(before / 5)
    expect(bad.bytes).toBe(before)
    expect(bad.state.kind).toBe('online')
    // After 1, 2, 4 and 8 seconds more.
    expect(tries).toBe(5)
    expect(failures).toHaveLength(5)
    expect(directory.cleaner.health()).toMatchObject({ isOk: false })
    expect(directory.cleaner.health().detail).toContain(`${bad.directory} cannot be compacted`)
    isFailing = false
    clock.advance(16_000)
    await settle()
    clock.advance(1_000)
    await settle()
    expect(bad.bytes).toBeLessThan(before / 5)
    expect(directory.cleaner.health()).toEqual({ isOk: true, detail: 'ok' })
    await directory.stop()
  })

  it('goes no faster than it may', async () => {
    const { directory, topic, time: clock } = await open({ bytesPerSecondMax: 10_000 })
    const log = await topic(1)
    fill(log, 200, clock.ms)
    await directory.flush()
    const bytes = log.bytes
    // A clock by which every look takes a little.
    clock.monotonic = () => (clock.ms += 0.2)
    const state = { isDone: false }
    const done = directory.cleaner.compactNow().then(() => void (state.isDone = true))
    const startMs = clock.ms
    while (!state.isDone) {
      await settle()
      clock.advance(50)
    }
    await done
    expect(clock.ms - startMs).toBeGreaterThan((1_000 * bytes) / 10_000)
    await directory.stop()
  })

  it('does not compact beyond what replicas have agreed on', async () => {
    const { directory, time: clock } = await open()
    const topicId = '00000000-0000-4000-8000-000000000009' as TopicId
    await directory.createTopic({
      topicId,
      name: 'replicated',
      ...TOPIC,
      replicationFactor: 2,
      assignment: [[brokerId(1), brokerId(2)]],
      config: COMPACT,
    })
    const log = must(directory.log(topicId, 0), 'it was made')
    fill(log, 40, clock.ms)
    await directory.flush()
    const bytes = log.bytes
    await directory.cleaner.compactNow({ isForced: true })
    expect(log.bytes).toBe(bytes)
    for (const agreed of [20, 26]) {
      directory.highWatermarks.note(topicId, 0, at(agreed))
      await directory.cleaner.compactNow({ isForced: true })
      expect(log.compaction.compacted.cleanedTo).toBe(agreed)
    }
    expect((await tableOf(log)).size).toBe(3)
    await directory.stop()
  })

  it('is at its end when the directory stops', async () => {
    for (const how of ['stop', 'abandon'] as const) {
      const { directory, topic, time: clock, disk } = await open()
      const log = await topic(1)
      fill(log, 200, clock.ms)
      await directory.flush()
      clock.monotonic = () => (clock.ms += 0.2)
      const running = directory.cleaner.compactNow()
      await Promise.resolve()
      await directory[how]()
      await running
      const names = disk.list(log.directory)
      expect(names.filter((name) => name.endsWith('.cleaned') || name.endsWith('.swap'))).toEqual([])
      const again = await open({}, disk)
      expect([...again.directory.logs()].map(({ logEndOffset }) => logEndOffset)).toEqual([200])
      await again.directory.stop()
    }
  })
})
