// The data directory as a whole: opening, topics, upkeep, stopping, and what it says when it cannot be used. Crashes are in
// test/crash.

import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Disk } from '../../broker/storage/disk.ts'
import { DiskError } from '../../broker/storage/disk.ts'
import type { LogDirectoryOptions } from '../../broker/storage/log-directory.ts'
import { LogDirectory } from '../../broker/storage/log-directory.ts'
import { writeCheckpoint } from '../../broker/storage/checkpoint-file.ts'
import { MemoryDisk } from '../../broker/storage/memory-disk.ts'
import { NodeDisk } from '../../broker/storage/node-disk.ts'
import { LOST_KEPT_MS } from '../../broker/storage/partition-directories.ts'
import type { PartitionLog } from '../../broker/storage/partition-log.ts'
import type { QuarantinedRange } from '../../broker/storage/quarantine.ts'
import type { LogEvents } from '../../broker/storage/storage-context.ts'
import type { TopicDefinition } from '../../broker/storage/topic-store.ts'
import { TOMBSTONE_KEPT_MS } from '../../broker/storage/topic-store.ts'
import { must } from '../../shared/assert.ts'
import { TidemarkError } from '../../shared/errors.ts'
import type { LeaderEpoch, Offset } from '../../shared/ids.ts'
import { brokerId, partitionId, topicId } from '../../shared/ids.ts'
import { silentLogger } from '../../shared/logger.ts'
import { seededRandom } from '../../shared/random.ts'
import { encodeBatch } from '../../shared/record-batch/encode.ts'
import { readRecords } from '../simulation/crash-oracle.ts'
import { SimTime } from '../simulation/sim-time.ts'

const PATH = '/data'

class Bench {
  readonly time = new SimTime()
  disk: Disk = new MemoryDisk(this.time)

  open(options: Partial<LogDirectoryOptions> = {}): Promise<LogDirectory> {
    return LogDirectory.open({
      disk: this.disk,
      path: PATH,
      clock: this.time,
      timers: this.time,
      random: seededRandom(1),
      logger: silentLogger,
      cluster: 'test',
      brokerId: brokerId(1),
      ...options,
    })
  }
}

function definitionOf(number: number, fields: Partial<TopicDefinition> = {}): TopicDefinition {
  return {
    topicId: topicId(`00000000-0000-4000-8000-${String(number).padStart(12, '0')}`),
    name: `topic-${number}`,
    partitions: 2,
    replicationFactor: 1,
    config: {},
    version: 1,
    createdAt: new SimTime().now(),
    ...fields,
  }
}

function logOf(directory: LogDirectory, number: number, partition = 0): PartitionLog {
  return must(directory.log(definitionOf(number).topicId, partition), 'the log is there')
}

function batchOf(...values: string[]): Uint8Array {
  return encodeBatch(
    values.map((value) => ({ key: null, value: Buffer.from(value), timestamp: 1 })),
    {},
  )
}

function append(log: PartitionLog, ...values: string[]): void {
  const result = log.append(batchOf(...values), 0 as LeaderEpoch, new SimTime().now())
  if (result.kind !== 'appended') throw new Error(JSON.stringify(result))
  const failure = log.write()
  if (failure !== undefined) throw failure
}

async function settle(): Promise<void> {
  // All that is under way here waits for promises alone, so one turn of the loop brings it to its end.
  await new Promise((resolve) => setImmediate(resolve))
}

async function failureOf(promise: Promise<unknown>): Promise<TidemarkError> {
  try {
    await promise
  } catch (error) {
    if (error instanceof TidemarkError) return error
    throw error
  }
  throw new Error('it did not fail')
}

describe('the topics of a data directory', () => {
  it('are there again after a clean stop, with their records', async () => {
    const bench = new Bench()
    const first = await bench.open()
    await first.createTopic(definitionOf(1))
    append(logOf(first, 1, 1), 'a', 'b')
    await first.stop()
    const second = await bench.open()
    expect(second.topics.list()).toEqual([definitionOf(1)])
    expect(second.identity).toEqual(first.identity)
    expect(await readRecords(logOf(second, 1, 1))).toEqual([
      [0, 'a'],
      [1, 'b'],
    ])
    expect(logOf(second, 1, 0).logEndOffset).toBe(0)
    expect([...second.logs()]).toHaveLength(2)
    await second.stop()
  })

  it('are there again after no stop at all, when the bytes are still there', async () => {
    const bench = new Bench()
    const first = await bench.open()
    await first.createTopic(definitionOf(1))
    append(logOf(first, 1), 'a', 'b')
    const files = (bench.disk as MemoryDisk).list(`${PATH}/logs`)
    expect(files).toHaveLength(2)
    // Another disk over the same bytes is not to be had in memory; the lock is let go of instead.
    const copy = copyOf(bench.disk, bench.time)
    bench.disk = copy
    const second = await bench.open()
    expect(await readRecords(logOf(second, 1))).toEqual([
      [0, 'a'],
      [1, 'b'],
    ])
    await second.stop()
  })

  it('have logs only of the partitions that are assigned to this broker', async () => {
    const bench = new Bench()
    const rows = (...assignment: number[][]) => assignment.map((row) => row.map(brokerId))
    const ours = definitionOf(1, { partitions: 3, assignment: rows([2, 1], [2, 3], [1, 3]) })
    const others = definitionOf(2, { assignment: rows([2, 3], [3, 2]), directories: { '2': 'b', '3': 'c' } })
    const hosted = (directory: LogDirectory, { topicId: id }: TopicDefinition) =>
      [0, 1, 2, 3, 4].filter((partition) => directory.log(id, partition) !== undefined)
    const first = await bench.open()
    await first.createTopic(ours)
    await first.createTopic(others)
    expect([hosted(first, ours), hosted(first, others), first.partitionCount]).toEqual([[0, 2], [], 2])
    append(logOf(first, 1, 2), 'a')
    const grown = {
      ...ours,
      version: 2,
      partitions: 5,
      assignment: [...(ours.assignment ?? []), ...rows([3, 2], [1, 2])],
    }
    await first.changeTopic(grown)
    await first.changeTopic({ ...others, version: 2, config: { 'retention.ms': '5' } })
    append(logOf(first, 1, 4), 'b')
    expect([hosted(first, ours), first.partitionCount]).toEqual([[0, 2, 4], 3])
    await first.stop()
    const second = await bench.open()
    expect(second.startFacts.isClean).toBe(true)
    expect(second.topics.list()).toEqual([grown, { ...others, version: 2, config: { 'retention.ms': '5' } }])
    expect([hosted(second, ours), hosted(second, others), second.partitionCount]).toEqual([[0, 2, 4], [], 3])
    expect(await readRecords(logOf(second, 1, 2))).toEqual([[0, 'a']])
    expect(await readRecords(logOf(second, 1, 4))).toEqual([[0, 'b']])
    expect([0, 1, 2, 3, 4].map((partition) => second.failureOf(ours.topicId, partition))).toEqual(
      Array(5).fill(undefined),
    )
    await second.deleteTopic(others.topicId)
    expect(second.partitionCount).toBe(3)
    await second.deleteTopic(ours.topicId)
    expect(second.partitionCount).toBe(0)
    await second.stop()
  })

  it('are made as the cluster has assigned them, beyond what may be asked of this broker alone', async () => {
    const directory = await new Bench().open({ partitionsMax: 2 })
    const assignment = [[1], [1], [1]].map((row) => row.map(brokerId))
    await directory.createTopic(definitionOf(1, { partitions: 3, assignment }))
    expect(directory.partitionCount).toBe(3)
    const others = Array.from({ length: 5 }, () => [brokerId(2)])
    await directory.createTopic(definitionOf(2, { partitions: 5, assignment: others }))
    expect((await failureOf(directory.createTopic(definitionOf(3, { partitions: 1 })))).code).toBe(
      'TOO_MANY_PARTITIONS',
    )
    await directory.stop()
  })

  it('of which one is deleted while it is being changed leave nothing behind', async () => {
    const directory = await new Bench().open()
    await directory.createTopic(definitionOf(1))
    const change = directory.changeTopic(definitionOf(1, { partitions: 4, version: 2 }))
    await Promise.resolve()
    const deletion = directory.deleteTopic(definitionOf(1).topicId)
    expect(directory.log(definitionOf(1).topicId, 0)).toBeUndefined()
    await change
    await deletion
    expect([...directory.logs()]).toEqual([])
    expect(directory.partitionCount).toBe(0)
    await directory.stop()
  })

  it('have unique names and legal settings', async () => {
    const bench = new Bench()
    const directory = await bench.open({ partitionsMax: 4 })
    await directory.createTopic(definitionOf(1))
    const attempts: [TopicDefinition, string][] = [
      [definitionOf(2, { name: 'topic-1' }), 'TOPIC_ALREADY_EXISTS'],
      [definitionOf(2, { config: { 'retention.ms': 'soon' } }), 'INVALID_CONFIG'],
      [definitionOf(2, { partitions: 3 }), 'TOO_MANY_PARTITIONS'],
      [definitionOf(2, { partitions: 0 }), 'INVALID_PARTITIONS'],
    ]
    for (const [definition, code] of attempts) {
      expect((await failureOf(directory.createTopic(definition))).code).toBe(code)
      expect(directory.log(definition.topicId, 0)).toBeUndefined()
    }
    const [one, other] = await Promise.allSettled([
      directory.createTopic(definitionOf(3, { name: 'same', partitions: 1 })),
      directory.createTopic(definitionOf(4, { name: 'same', partitions: 1 })),
    ])
    expect([one.status, other.status]).toEqual(['fulfilled', 'rejected'])
    await directory.stop()
    expect((await bench.open()).topics.list().map(({ name }) => name)).toEqual(['topic-1', 'same'])
  })

  it('get more partitions and other settings while they are used', async () => {
    const bench = new Bench()
    const directory = await bench.open()
    await directory.createTopic(definitionOf(1))
    append(logOf(directory, 1), 'a')
    const grown = definitionOf(1, { partitions: 5, version: 2, config: { 'segment.bytes': '4096' } })
    await directory.changeTopic(grown)
    expect(directory.partitionCount).toBe(5)
    append(logOf(directory, 1, 4), 'b')
    expect(logOf(directory, 1, 0).config.segmentBytes).toBe(4096)
    await directory.stop()
    const again = await bench.open()
    expect(again.topics.list()).toEqual([grown])
    expect(await readRecords(logOf(again, 1, 4))).toEqual([[0, 'b']])
    expect(await readRecords(logOf(again, 1, 0))).toEqual([[0, 'a']])
    expect((await failureOf(again.changeTopic(definitionOf(2)))).code).toBe('UNKNOWN_TOPIC_OR_PARTITION')
    await again.stop()
  })

  it('are gone for good when they are deleted, their files too, and their names are free', async () => {
    const bench = new Bench()
    const directory = await bench.open()
    await directory.createTopic(definitionOf(1, { name: 'orders' }))
    const log = logOf(directory, 1)
    append(log, 'a')
    await Promise.resolve()
    const deletion = directory.deleteTopic(definitionOf(1).topicId)
    expect(directory.log(definitionOf(1).topicId, 0)).toBeUndefined()
    expect(log.append(batchOf('b'), 0 as LeaderEpoch, bench.time.now()).kind).toBe('refused')
    await deletion
    await directory.deleteTopic(definitionOf(1).topicId)
    await settle()
    expect(bench.disk.list(`${PATH}/logs`)).toEqual([])
    expect(directory.partitionCount).toBe(0)
    await directory.createTopic(definitionOf(2, { name: 'orders' }))
    expect(logOf(directory, 2).logEndOffset).toBe(0)
    await directory.stop()
    const again = await bench.open()
    expect(again.topics.list().map((topic) => topic.topicId)).toEqual([definitionOf(2).topicId])
    expect(again.topics.isDeleted(definitionOf(1).topicId)).toBe(true)
    bench.time.ms += TOMBSTONE_KEPT_MS
    await again.applyRetention()
    expect(again.topics.isDeleted(definitionOf(1).topicId)).toBe(false)
    await again.stop()
  })
})

describe('the upkeep of a data directory', () => {
  it('syncs what was appended when the interval is over, and notes how far', async () => {
    const bench = new Bench()
    const directory = await bench.open({ upkeep: { flushIntervalMs: 1_000 } })
    await directory.createTopic(definitionOf(1))
    append(logOf(directory, 1), 'a', 'b')
    bench.time.advance(999)
    await settle()
    expect(logOf(directory, 1).recoveryPoint).toBe(0)
    bench.time.advance(1)
    await settle()
    expect(logOf(directory, 1).recoveryPoint).toBe(2)
    expect(Buffer.from(bench.disk.readFile(`${PATH}/recovery-points`)).toString()).toContain('-0":[2,0,')
    await directory.stop()
  })

  it('finds no fault with the disk when a topic is deleted while it is synced', async () => {
    const bench = new Bench()
    const said: unknown[] = []
    const logger = {
      ...silentLogger,
      warn: (facts: unknown) => said.push(facts),
      error: (facts: unknown) => said.push(facts),
    }
    const directory = await bench.open({ logger, upkeep: { flushIntervalMs: 1_000 } })
    const partitions = 40
    await directory.createTopic(definitionOf(1, { partitions }))
    for (let partition = 0; partition < partitions; partition += 1) append(logOf(directory, 1, partition), 'a')
    bench.time.advance(1_000)
    await directory.deleteTopic(definitionOf(1).topicId)
    await settle()
    expect(said).toEqual([])
    await directory.stop()
  })

  it('syncs before the interval is over when enough bytes have come', async () => {
    const bench = new Bench()
    const directory = await bench.open({ upkeep: { flushBytes: 1_000 } })
    await directory.createTopic(definitionOf(1))
    append(logOf(directory, 1), 'a')
    directory.noteAppended(999)
    await settle()
    expect(logOf(directory, 1).recoveryPoint).toBe(0)
    directory.noteAppended(1)
    await settle()
    expect(logOf(directory, 1).recoveryPoint).toBe(1)
    await directory.stop()
  })

  it('takes away old segments every few minutes', async () => {
    const bench = new Bench()
    const directory = await bench.open({ upkeep: { retentionIntervalMs: 10_000 } })
    const config = { 'segment.bytes': '1024', 'retention.bytes': '2000' }
    await directory.createTopic(definitionOf(1, { config }))
    for (let number = 0; number < 100; number++) append(logOf(directory, 1), `value ${number}`.padEnd(100))
    bench.time.advance(10_000)
    await settle()
    expect(logOf(directory, 1).logStartOffset).toBeGreaterThan(50)
    expect(logOf(directory, 1).bytes).toBeLessThan(4_000)
    await directory.stop()
  })

  it('finds what has gone bad in old segments by itself, once a week, and says so', async () => {
    const bench = new Bench()
    const disk = new MemoryDisk(bench.time)
    bench.disk = disk
    const found: [string, QuarantinedRange][] = []
    const storage = { events: { onQuarantine: (log: string, range: QuarantinedRange) => found.push([log, range]) } }
    const directory = await bench.open({ storage })
    await directory.createTopic(definitionOf(1, { config: { 'segment.bytes': '1024', 'retention.ms': '-1' } }))
    const log = logOf(directory, 1)
    for (let number = 0; number < 40; number++) append(log, `value ${number}`.padEnd(100))
    const pass = async (ms: number): Promise<void> => {
      for (const part of [ms, 600_000, ...Array.from({ length: 20 }, () => 1_000)]) {
        bench.time.advance(part)
        await settle()
      }
    }
    const flip = (value: string): void => {
      for (const name of disk.list(log.directory).filter((one) => one.endsWith('.log'))) {
        const bytes = Buffer.from(disk.readFile(`${log.directory}/${name}`))
        const at = bytes.indexOf(value)
        if (at < 0) continue
        bytes.writeUInt8(0x7a, at)
        disk.writeFile(`${log.directory}/${name}`, bytes)
      }
    }
    await pass(8 * 86_400_000)
    expect(found).toEqual([])
    flip('value 12')
    await pass(6 * 86_400_000)
    expect(log.quarantined).toEqual([])
    await pass(2 * 86_400_000)
    expect(log.quarantined).toMatchObject([{ startOffset: 12, endOffset: 13 }])
    expect(found).toEqual([[log.directory, log.quarantined[0]]])
    await pass(8 * 86_400_000)
    expect(found).toHaveLength(1)
    await directory.stop()
  })

  it('cuts a log back, and the records are gone after a restart', async () => {
    const bench = new Bench()
    const directory = await bench.open()
    await directory.createTopic(definitionOf(1))
    for (const value of ['a', 'b', 'c']) append(logOf(directory, 1), value)
    await directory.flush()
    await directory.truncateLog(definitionOf(1).topicId, partitionId(0), 1 as Offset)
    append(logOf(directory, 1), 'other')
    await directory.stop()
    const again = await bench.open()
    expect(await readRecords(logOf(again, 1))).toEqual([
      [0, 'a'],
      [1, 'other'],
    ])
    await again.stop()
  })
})

describe('a data directory with something wrong in it', () => {
  it.each(['stop', 'abandon'] as const)('says after a %s when the start of a log is gone', async (end) => {
    const bench = new Bench()
    const disk = new MemoryDisk(bench.time)
    bench.disk = disk
    const config = { 'segment.bytes': '1024', 'retention.ms': '-1' }
    const first = await bench.open()
    for (const number of [1, 2]) {
      await first.createTopic(definitionOf(number, { config, partitions: 1 }))
      for (let value = 0; value < 40; value++) append(logOf(first, number), `value ${value}`.padEnd(100))
    }
    await logOf(first, 2).advanceLogStartOffset(15 as Offset)
    await first.flush()
    append(logOf(first, 1), 'not synced')
    const { directory: missing } = logOf(first, 1)
    const { directory: trimmed } = logOf(first, 2)
    await first[end]()
    disk.remove(`${missing}/00000000000000000000.log`)
    disk.remove(`${trimmed}/log-start`)

    const said: unknown[] = []
    const events: LogEvents = {
      onQuarantine: (log, range) => said.push({ log, ...range }),
      onLogStartLost: (log, event) => said.push({ log, ...event }),
    }
    const second = await bench.open({ storage: { events } })
    const lost = logOf(second, 1)
    expect(lost.logStartOffset).toBe(0)
    expect(said[0]).toMatchObject({
      log: missing,
      startOffset: 0,
      endOffset: 6,
      reason: expect.stringContaining(`the log starts at 0, and its first segment is ${missing}/`) as string,
    })
    await expect(lost.read(0 as Offset, 1_000, lost.writtenEndOffset)).rejects.toMatchObject({ resumeOffset: 6 })
    expect(logOf(second, 2).logStartOffset).toBe(15)
    expect(said.slice(1)).toEqual([{ log: trimmed, path: `${trimmed}/log-start`, expected: 15, found: 12 }])
    await second[end]()
    const third = await bench.open({ storage: { events } })
    expect(said).toHaveLength(2)
    expect(logOf(third, 1).logStartOffset).toBe(0)
    expect(logOf(third, 1).quarantined).toHaveLength(1)
    expect(logOf(third, 2).logStartOffset).toBe(15)
    await third.stop()
  })

  it('keeps logs that no topic claims for a day', async () => {
    const bench = new Bench()
    const directory = await bench.open()
    await directory.createTopic(definitionOf(1))
    append(logOf(directory, 1), 'a')
    await directory.stop()
    bench.disk.remove(`${PATH}/topics/${definitionOf(1).topicId}`)
    const again = await bench.open()
    expect(bench.disk.list(`${PATH}/logs`)).toEqual([])
    // Partition 1 held nothing.
    const [found] = bench.disk.list(`${PATH}/lost+found`)
    expect(found).toBe(`${definitionOf(1).topicId}-0.${bench.time.ms}`)
    bench.time.ms += LOST_KEPT_MS - 1
    await again.applyRetention()
    expect(bench.disk.list(`${PATH}/lost+found`)).toHaveLength(1)
    bench.time.ms += 1
    await again.applyRetention()
    expect(bench.disk.list(`${PATH}/lost+found`)).toEqual([])
    await again.stop()
  })

  it('opens all other logs when one is missing, and says which', async () => {
    const bench = new Bench()
    const directory = await bench.open()
    await directory.createTopic(definitionOf(1))
    append(logOf(directory, 1, 1), 'a')
    await directory.stop()
    bench.disk.removeTree(`${PATH}/logs/${definitionOf(1).topicId}-0`)
    const again = await bench.open()
    expect(again.log(definitionOf(1).topicId, 0)).toBeUndefined()
    expect(again.failureOf(definitionOf(1).topicId, 0)).toMatchObject({ code: 'FILE_CORRUPT' })
    expect(again.failureOf(definitionOf(1).topicId, 0)?.message).toContain('topic-1 is missing')
    expect(await readRecords(logOf(again, 1, 1))).toEqual([[0, 'a']])
    await again.stop()
  })

  it('recovers all logs when the clean mark or the recovery points are damaged', async () => {
    for (const name of ['clean-shutdown', 'recovery-points']) {
      const bench = new Bench()
      const directory = await bench.open()
      await directory.createTopic(definitionOf(1))
      append(logOf(directory, 1), 'a')
      await directory.stop()
      bench.disk.writeFile(`${PATH}/${name}`, Buffer.from('rubbish'))
      const again = await bench.open()
      expect(await readRecords(logOf(again, 1))).toEqual([[0, 'a']])
      await again.stop()
    }
  })

  it('does not call a stop clean after it was marked as failed', async () => {
    const bench = new Bench()
    const directory = await bench.open()
    directory.markFailed(new TidemarkError('DISK_FAILED', 'the disk has failed'))
    await directory.stop()
    expect(bench.disk.stat(`${PATH}/clean-shutdown`)).toBeUndefined()
  })

  it('takes no more changes once it stops, and stops once', async () => {
    const bench = new Bench()
    const directory = await bench.open()
    const stop = directory.stop()
    expect(directory.stop()).toBe(stop)
    expect((await failureOf(directory.createTopic(definitionOf(1)))).code).toBe('SHUTTING_DOWN')
    await stop
    expect(bench.disk.stat(`${PATH}/clean-shutdown`)).toBeDefined()
  })
})

describe('a data directory that cannot be used', () => {
  let root: string
  beforeEach(() => {
    root = fs.mkdtempSync(path.join(os.tmpdir(), 'tidemark-directory-'))
  })
  afterEach(() => fs.rmSync(root, { recursive: true }))

  it('is locked by another broker', async () => {
    const bench = new Bench()
    bench.disk = new NodeDisk()
    const directory = await bench.open({ path: root })
    const failure = await failureOf(bench.open({ path: root }))
    expect(failure.code).toBe('DIRECTORY_LOCKED')
    expect(failure.message).toContain(`held by the process with pid ${process.pid}`)
    await directory.stop()
    await (await bench.open({ path: root })).stop()
  })

  it('lies below a file', async () => {
    const bench = new Bench()
    bench.disk = new NodeDisk()
    fs.writeFileSync(`${root}/file`, '')
    const failure = await failureOf(bench.open({ path: `${root}/file/data` }))
    expect(failure.code).toBe('DIRECTORY_NOT_USABLE')
    expect(failure.message).toContain(`${root}/file/data cannot be used as the data directory`)
    expect(failure.message).toContain('something on the way to it is a file')
  })

  it('may not be written to', async () => {
    const bench = new Bench()
    class ReadOnlyDisk extends MemoryDisk {
      override writeFile(file: string): void {
        throw new DiskError('EROFS', 'write', file)
      }
    }
    bench.disk = new ReadOnlyDisk(bench.time)
    const failure = await failureOf(bench.open())
    expect(failure.code).toBe('DIRECTORY_NOT_USABLE')
    expect(failure.message).toContain('mounted for reading only')
    // And it is let go of.
    bench.disk.lock(PATH).release()
  })

  it('is on a full disk from the beginning', async () => {
    const bench = new Bench()
    class FullDisk extends MemoryDisk {
      override writeFile(file: string): void {
        throw new DiskError('ENOSPC', 'write', file)
      }
    }
    bench.disk = new FullDisk(bench.time)
    const failure = await failureOf(bench.open())
    expect([failure.code, failure.message.includes('no space left')]).toEqual(['DIRECTORY_NOT_USABLE', true])
  })

  it('was written by a newer version, which it does not touch', async () => {
    const bench = new Bench()
    await (await bench.open()).stop()
    await writeCheckpoint(bench.disk, `${PATH}/identity`, { formatVersion: 2 })
    const before = bench.disk.list(PATH)
    expect((await failureOf(bench.open())).code).toBe('DIRECTORY_FORMAT_UNKNOWN')
    expect(bench.disk.list(PATH)).toEqual(before)
  })

  it('belongs to somebody else', async () => {
    const bench = new Bench()
    await (await bench.open()).stop()
    expect((await failureOf(bench.open({ cluster: 'other' }))).code).toBe('DIRECTORY_NOT_USABLE')
    expect((await failureOf(bench.open({ brokerId: brokerId(2) }))).code).toBe('DIRECTORY_NOT_USABLE')
    await (await bench.open()).stop()
  })
})

describe('a data directory on a disk that has become full', () => {
  it('opens, is read, and refuses to make topics', async () => {
    const bench = new Bench()
    class FillingDisk extends MemoryDisk {
      isFull = false
      override writeFile(file: string, bytes: Uint8Array): void {
        if (this.isFull) throw new DiskError('ENOSPC', 'write', file)
        super.writeFile(file, bytes)
      }
      override space(): { freeBytes: number; totalBytes: number } {
        return { freeBytes: this.isFull ? 0 : 1_000, totalBytes: 1_000 }
      }
    }
    const disk = new FillingDisk(bench.time)
    bench.disk = disk
    const directory = await bench.open()
    await directory.createTopic(definitionOf(1))
    append(logOf(directory, 1), 'a')
    await directory.stop()
    disk.isFull = true
    const again = await bench.open()
    expect(again.space.admitsAppend()).toBe(false)
    expect(await readRecords(logOf(again, 1))).toEqual([[0, 'a']])
    expect((await failureOf(again.createTopic(definitionOf(2)))).code).toBe('DISK_FULL')
    disk.isFull = false
    bench.time.advance(1_000)
    expect(again.space.admitsAppend()).toBe(true)
    await again.createTopic(definitionOf(2))
    await again.stop()
  })
})

/** What a process finds that comes after one that was killed. */
function copyOf(disk: Disk, time: SimTime): MemoryDisk {
  const copy = new MemoryDisk(time)
  const visit = (directory: string): void => {
    copy.makeDirectory(directory)
    for (const name of disk.list(directory)) {
      const from = `${directory}/${name}`
      if (disk.stat(from)?.isDirectory === true) visit(from)
      else copy.writeFile(from, disk.readFile(from))
    }
  }
  visit(PATH)
  return copy
}
