// Measures compaction on the real disk: how fast it goes through dirty log when nobody else has work, and what it costs
// those who append at a steady rate beside it, acknowledged from the page cache. Both use one core, and say little on a
// machine that has other work. Run: npm run build && node dist/scripts/bench-compaction.js [directory]

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { LogDirectory } from '../broker/storage/log-directory.ts'
import { NodeDisk } from '../broker/storage/node-disk.ts'
import type { PartitionLog } from '../broker/storage/partition-log.ts'
import { must } from '../shared/assert.ts'
import type { LeaderEpoch, TopicId } from '../shared/ids.ts'
import { brokerId, timestampMs } from '../shared/ids.ts'
import { silentLogger } from '../shared/logger.ts'
import { systemRandom } from '../shared/random.ts'
import type { Codec } from '../shared/record-batch/format.ts'
import { encodeBatch } from '../shared/record-batch/encode.ts'
import { systemClock, systemTimers } from '../shared/time.ts'

const EPOCH = 0 as LeaderEpoch
const MB = 1e6
const KEYS = 200_000
const VALUE_BYTES = 100
const RECORDS_A_BATCH = 100
const APPENDS_A_SECOND = 5_000
/** Different batches that are appended again and again: making them is not what is measured. */
const BATCHES = 4_000

interface BenchTopic {
  readonly topicId: TopicId
  readonly log: PartitionLog
}

const path = mkdtempSync(`${process.argv[2] ?? tmpdir()}/bench-compaction-`)
const directory = await LogDirectory.open({
  disk: new NodeDisk(),
  path,
  clock: systemClock,
  timers: systemTimers,
  random: systemRandom,
  logger: silentLogger,
  cluster: 'bench',
  brokerId: brokerId(1),
  cleaner: { backoffMs: 86_400_000 },
})

try {
  for (const codec of ['none', 'lz4', 'zstd'] as const)
    await benchSpeed(codec, codec === 'none' ? 1_000 * MB : 200 * MB)
  await benchBeside()
} finally {
  await directory.stop()
  rmSync(path, { recursive: true, force: true })
}

async function benchSpeed(codec: Codec, bytes: number): Promise<void> {
  const { log, topicId } = await dirtyLog(codec, bytes)
  const dirty = log.bytes
  const used = process.cpuUsage()
  const seconds = await compacted()
  const { user, system } = process.cpuUsage(used)
  const speed = (dirty / MB / seconds).toFixed(0)
  const ofCore = (dirty / (user + system)).toFixed(0)
  const left = (log.bytes / MB).toFixed(0)
  say(
    `compaction, ${codec}, ${KEYS} keys, values of ${VALUE_BYTES} bytes`,
    `${speed} MB/s, ${ofCore} MB for a second of one core, ${(dirty / MB).toFixed(0)} MB to ${left}`,
  )
  await directory.deleteTopic(topicId)
}

/** Appends at a steady rate; how long each waited from when it should have been made to when it was acknowledged. */
async function benchBeside(): Promise<void> {
  const { log } = await topicOf('beside', { 'cleanup.policy': 'delete' })
  for (let round = 0; round < 3; round++) {
    const { topicId } = await dirtyLog('none', 500 * MB)
    const alone = await appending(
      log,
      () => new Promise((resolve) => systemTimers.after(5_000, () => resolve(undefined))),
    )
    let seconds = 0
    const beside = await appending(log, async () => {
      seconds = await compacted()
    })
    const ratio = (percentile(beside, 0.99) / percentile(alone, 0.99)).toFixed(2)
    say(`${APPENDS_A_SECOND} appends a second, alone`, describe(alone))
    say(`beside compaction at ${(500 / seconds).toFixed(0)} MB/s`, `${describe(beside)}; p99 is ${ratio} times as long`)
    await directory.deleteTopic(topicId)
  }
}

/** Whatever is due when the loop comes round is appended, and written at the end of the turn, as a broker does. */
async function appending(log: PartitionLog, work: () => Promise<unknown>): Promise<number[]> {
  const latencies: number[] = []
  const state = { isOver: false }
  const records = batchOf('none', 10)
  const appends = (async () => {
    let dueMs = systemClock.monotonic()
    while (!state.isOver) {
      await new Promise<void>((resolve) => systemTimers.after(1, resolve))
      const due: number[] = []
      for (; dueMs <= systemClock.monotonic(); dueMs += 1_000 / APPENDS_A_SECOND) {
        if (log.append(records, EPOCH, systemClock.now()).kind !== 'appended') throw new Error('not appended')
        due.push(dueMs)
      }
      await new Promise<void>((resolve) => systemTimers.atEndOfTurn(resolve))
      const failure = log.write()
      if (failure !== undefined) throw failure
      const doneMs = systemClock.monotonic()
      for (const each of due) latencies.push(doneMs - each)
    }
  })()
  await work()
  state.isOver = true
  await appends
  return latencies
}

/** Seconds that it took to compact whatever is dirty. */
async function compacted(): Promise<number> {
  const startedMs = systemClock.monotonic()
  await directory.cleaner.compactNow({ isForced: true })
  return (systemClock.monotonic() - startedMs) / 1_000
}

async function dirtyLog(codec: Codec, bytes: number): Promise<BenchTopic> {
  const dirty = await topicOf(`dirty-${codec}`, { 'cleanup.policy': 'compact', 'segment.bytes': '134217728' })
  const { log } = dirty
  const batches = Array.from({ length: BATCHES }, () => batchOf(codec))
  let written = 0
  for (let count = 0; written < bytes; count++) {
    const batch = must(batches[count % BATCHES], 'there are batches')
    if (log.append(batch, EPOCH, systemClock.now()).kind !== 'appended') throw new Error('not appended')
    written += batch.length
    if (count % 50 === 0) {
      const failure = log.write()
      if (failure !== undefined) throw failure
      await new Promise<void>((resolve) => systemTimers.atEndOfTurn(resolve))
    }
  }
  log.write()
  await directory.flush()
  return dirty
}

function batchOf(codec: Codec, count = RECORDS_A_BATCH): Uint8Array {
  const records = Array.from({ length: count }, () => ({
    key: Buffer.from(`user-${systemRandom.integer(KEYS)}`),
    value: Buffer.from(
      Array.from({ length: VALUE_BYTES / 2 }, () => 97 + systemRandom.integer(26)).concat(
        Array(VALUE_BYTES / 2).fill(32),
      ),
    ),
    timestamp: systemClock.now(),
  }))
  return encodeBatch(records, { codec })
}

async function topicOf(name: string, config: Record<string, string>): Promise<BenchTopic> {
  const topicId = systemRandom.uuid() as TopicId
  const counts = { partitions: 1, replicationFactor: 1, version: 1, createdAt: timestampMs(0) }
  await directory.createTopic({ ...counts, topicId, name: `${name}-${topicId}`, config })
  return { topicId, log: must(directory.log(topicId, 0), 'it was made') }
}

function describe(latencies: number[]): string {
  const at = (share: number): string => percentile(latencies, share).toFixed(2)
  return `${latencies.length} appends, ms: p50 ${at(0.5)}, p90 ${at(0.9)}, p99 ${at(0.99)}, p99.9 ${at(0.999)}`
}

function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((one, other) => one - other)
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0
}

function say(what: string, result: string): void {
  process.stdout.write(`${what.padEnd(60)} ${result}\n`)
}
