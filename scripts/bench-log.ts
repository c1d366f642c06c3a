// Measures one partition's log on the real disk: append and write, reads from memory and from files, recovery, and what
// many idle logs cost. Run: npm run build && node dist/scripts/bench-log.js [directory]

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import type { LeaderEpoch, Offset, TimestampMs } from '../shared/ids.ts'
import { encodeBatch } from '../shared/record-batch/encode.ts'
import { NodeDisk } from '../broker/storage/node-disk.ts'
import { parseTopicConfig } from '../broker/storage/log-config.ts'
import type { LogCheckpoint } from '../broker/storage/log-description.ts'
import { createLog, openLog } from '../broker/storage/log-opening.ts'
import type { PartitionLog } from '../broker/storage/partition-log.ts'
import { recoverLog } from '../broker/storage/recovery.ts'
import { createStorageContext } from '../broker/storage/storage-context.ts'

const EPOCH = 0 as LeaderEpoch
const NOW = 1_700_000_000_000 as TimestampMs
const GB = 1e9
const IDLE_LOGS = 10_000

const directory = mkdtempSync(`${process.argv[2] ?? tmpdir()}/bench-log-`)
const disk = new NodeDisk()

try {
  await benchAppend('64kb', 64 * 1024, 4, GB)
  await benchAppend('1kb', 1024, 64, 0.5 * GB)
  await benchReads()
  await benchRecovery()
  await benchIdle()
} finally {
  rmSync(directory, { recursive: true, force: true })
}

async function benchAppend(name: string, batchSize: number, batchesPerTurn: number, bytes: number): Promise<void> {
  const context = createStorageContext(disk)
  const log = createLog(context, `${directory}/${name}`, parseTopicConfig({}))
  const records = batchOf(batchSize)
  await measure(`append + write, ${name} batches, ${batchesPerTurn} a turn`, bytes, () => {
    for (let written = 0; written < bytes;) {
      for (let count = 0; count < batchesPerTurn; count++) {
        if (log.append(records, EPOCH, NOW).kind !== 'appended') throw new Error('not appended')
        written += records.length
      }
      const failure = log.write()
      if (failure !== undefined) throw failure
    }
    return bytes / records.length
  })
  await measure(`sync of it`, bytes, async () => {
    await log.sync()
    return 1
  })
  log.close()
}

async function benchReads(): Promise<void> {
  for (const name of ['64kb', '1kb']) {
    const context = createStorageContext(disk)
    const { log } = await recoverLog({
      context,
      directory: `${directory}/${name}`,
      config: parseTopicConfig({}),
      recoveryPoint: undefined,
      kernelLived: false,
      now: NOW,
    })
    const end = log.writtenEndOffset
    for (const maxBytes of [64 * 1024, 1024 * 1024]) {
      await measure(`read files, ${name} batches, ${maxBytes / 1024} KiB a read`, log.bytes, async () => {
        let reads = 0
        for (let next = 0 as Offset; next < end; reads++) {
          const slice = await log.read(next, maxBytes, end)
          next = slice.endOffset
          slice.release()
        }
        return reads
      })
    }
    const records = batchOf(name === '1kb' ? 1024 : 64 * 1024)
    const first = log.logEndOffset
    for (let staged = 0; staged < 32 * 1024 * 1024; staged += records.length) log.append(records, EPOCH, NOW)
    log.write()
    const rounds = 40
    await measure(`read memory, ${name} batches, 1 MiB a read`, rounds * 32 * 1024 * 1024, () => {
      let reads = 0
      for (let round = 0; round < rounds; round++) {
        for (let next = first; next < log.writtenEndOffset; reads++) {
          const slice = log.readTail(next, 1024 * 1024, log.writtenEndOffset)
          if (slice === undefined) throw new Error('not in memory')
          next = slice.endOffset
          slice.release()
        }
      }
      return reads
    })
    log.close()
  }
}

async function benchRecovery(): Promise<void> {
  for (const name of ['64kb', '1kb']) {
    let bytes = 0
    const options = { directory: `${directory}/${name}`, config: parseTopicConfig({}), kernelLived: true, now: NOW }
    const run = async (): Promise<number> => {
      const context = createStorageContext(disk)
      const { log, report } = await recoverLog({ ...options, context, recoveryPoint: undefined })
      bytes = report.scannedBytes
      log.close()
      return 1
    }
    await run()
    await measure(`recovery, ${name} batches, every byte checked`, bytes, run)
  }
}

async function benchIdle(): Promise<void> {
  const config = parseTopicConfig({})
  const checkpoints: LogCheckpoint[] = []
  const records = batchOf(1024)
  const making = createStorageContext(disk)
  await measure(`${IDLE_LOGS} logs made, one batch each`, IDLE_LOGS * records.length, async () => {
    for (let number = 0; number < IDLE_LOGS; number++) {
      const log = createLog(making, `${directory}/idle/${number}`, config)
      log.append(records, EPOCH, NOW)
      log.write()
      const place = { offset: log.writtenEndOffset, segmentBase: 0 as Offset, position: log.bytes }
      checkpoints.push({ recoveryPoint: place, logStartOffset: 0 as Offset, logEndOffset: log.writtenEndOffset })
      log.close()
    }
    return IDLE_LOGS
  })
  const before = memory()
  const context = createStorageContext(disk)
  const logs: PartitionLog[] = []
  await measure(`${IDLE_LOGS} logs opened after a clean stop`, IDLE_LOGS * records.length, () => {
    for (const [number, checkpoint] of checkpoints.entries()) {
      logs.push(openLog(context, `${directory}/idle/${number}`, config, checkpoint))
    }
    return IDLE_LOGS
  })
  print(`memory of ${logs.length} idle logs`, `${((memory() - before) / 1e6).toFixed(1)} MB`)
  for (const log of logs) {
    log.append(records, EPOCH, NOW)
    log.write()
  }
  print('and when each has been appended to', `${((memory() - before) / 1e6).toFixed(1)} MB`)
  for (const log of logs) log.close()
}

function batchOf(bytes: number): Uint8Array {
  const value = new Uint8Array(bytes - 61 - 20)
  for (let at = 0; at < value.length; at++) value[at] = (at * 31) & 0xff
  return encodeBatch([{ key: null, value, timestamp: NOW }])
}

function memory(): number {
  globalThis.gc?.()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

/** Prints bytes a second of wall clock, CPU seconds a gigabyte of the whole process, and microseconds a call. */
async function measure(what: string, bytes: number, work: () => number | Promise<number>): Promise<void> {
  const cpuBefore = process.cpuUsage()
  const before = process.hrtime.bigint()
  const calls = await work()
  const seconds = Number(process.hrtime.bigint() - before) / 1e9
  const cpu = process.cpuUsage(cpuBefore)
  const cpuSeconds = (cpu.user + cpu.system) / 1e6
  const rate = `${(bytes / seconds / 1e6).toFixed(0)} MB/s`
  const perGb = `${(cpuSeconds / (bytes / GB)).toFixed(2)} CPU s/GB`
  print(what, `${seconds.toFixed(2)} s, ${rate}, ${perGb}, ${((seconds * 1e6) / calls).toFixed(1)} us a call`)
}

function print(what: string, figure: string): void {
  process.stdout.write(`${what.padEnd(48)} ${figure}\n`)
}
