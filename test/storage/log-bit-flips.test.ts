// Bits that flip on the disk, in every kind of file a partition has. Whatever happens to them, the log opens, a record that
// is served and passes its checksum is one that was written, at its own offset, and what is missing is reported: the
// events or the quarantine say so, or the read does. Seeds are printed with a failure.

import { describe, expect, it } from 'vitest'
import { MemoryDisk } from '../../broker/storage/memory-disk.ts'
import { parseTopicConfig } from '../../broker/storage/log-config.ts'
import { createLog, openLog } from '../../broker/storage/log-opening.ts'
import type { PartitionLog } from '../../broker/storage/partition-log.ts'
import { QuarantinedError } from '../../broker/storage/quarantine.ts'
import { recoverLog } from '../../broker/storage/recovery.ts'
import { createStorageContext } from '../../broker/storage/storage-context.ts'
import { TidemarkError } from '../../shared/errors.ts'
import type { Random } from '../../shared/random.ts'
import { seededRandom } from '../../shared/random.ts'
import { forEachRecord } from '../../shared/record-batch/decode.ts'
import { batchBytes } from '../../shared/record-batch/header.ts'
import { at, batch, DIRECTORY, epoch, NOW, numbered, put, SetClock, time } from './log-fixture.ts'

const CONFIG = parseTopicConfig({ 'segment.bytes': '1024', 'index.interval.bytes': '200' })
const RECORDS = 60

type Stop = 'clean' | 'killed' | 'power loss'

interface Left {
  readonly disk: MemoryDisk
  readonly clean: Awaited<ReturnType<PartitionLog['closeClean']>>
  readonly point: ReturnType<PartitionLog['checkpoint']>
}

/** A log of 60 records in a few segments, trimmed, in three epochs, with an idempotent producer; synced up to record 40. */
async function leaveLog(): Promise<Left> {
  const clock = new SetClock()
  const disk = new MemoryDisk(clock)
  const log = createLog(createStorageContext(disk), DIRECTORY, CONFIG)
  let sequence = 0
  for (let number = 0; number < RECORDS; number++) {
    if (number === 40) await log.sync()
    const value = valueOf(number)
    const bytes = number % 3 === 0 ? numbered([value], 9, sequence++) : batch([value])
    put(log, bytes, epoch(Math.floor(number / 20)), time(NOW + number))
  }
  await log.advanceLogStartOffset(at(5))
  const point = log.checkpoint()
  // The checkpoint is the one before the clean stop; a test that plays a crash uses it.
  const clean = await log.closeClean(NOW)
  return { disk, clean, point }
}

function valueOf(number: number): string {
  return `record ${number} `.padEnd(20 + (number % 7), '.')
}

interface Outcome {
  readonly served: Set<number>
  readonly reported: number
}

/** Opens the log as it is left and reads all of it. @throws when something is served that was never written */
async function openAndRead(left: Left, stop: Stop): Promise<Outcome> {
  let reported = 0
  const report = (): void => void reported++
  const events = { onTruncate: report, onQuarantine: report, onCorruptRead: report, onCacheRebuilt: report }
  const context = createStorageContext(left.disk, { events, hotTailBytes: 0 })
  const log = await reopen(left, stop, context)
  const served = new Set<number>()
  let next: number = log.logStartOffset
  while (next < log.writtenEndOffset) {
    try {
      const slice = await log.read(at(next), 500, log.writtenEndOffset)
      collect(slice.bytes, next, served, report)
      if (slice.endOffset <= next) throw new Error(`a read at ${next} did not get on`)
      next = slice.endOffset
      slice.release()
    } catch (error) {
      if (!(error instanceof TidemarkError)) throw error
      reported++
      next = error instanceof QuarantinedError ? error.resumeOffset : next + 1
    }
  }
  // Appending goes on in any case, behind everything that was ever given out and not cut off.
  put(log, batch(['one more']), epoch(1_000_000_000), time(NOW + 1_000))
  return { served, reported }
}

async function reopen(left: Left, stop: Stop, context: ReturnType<typeof createStorageContext>): Promise<PartitionLog> {
  if (stop === 'clean' && left.clean !== undefined) {
    try {
      return openLog(context, DIRECTORY, CONFIG, left.clean)
    } catch (error) {
      if (!(error instanceof TidemarkError) || error.code !== 'FILE_CORRUPT') throw error
    }
  }
  const kernelLived = stop !== 'power loss'
  const { recoveryPoint, logStartOffset } = stop === 'clean' ? (left.clean ?? left.point) : left.point
  const { log } = await recoverLog({
    context,
    directory: DIRECTORY,
    config: CONFIG,
    recoveryPoint,
    logStartOffset,
    kernelLived,
    leaderEpochMax: epoch(2),
    now: NOW,
  })
  return log
}

/** As a consumer does: what fails its checksum is not taken, and the consumer says so. */
function collect(bytes: Uint8Array, from: number, served: Set<number>, report: () => void): void {
  for (let position = 0; position < bytes.length; position += batchBytes(bytes, position)) {
    try {
      forEachRecord(bytes, position, (record) => {
        const value = Buffer.from(record.value ?? []).toString()
        if (value !== valueOf(record.offset)) throw new Error(`offset ${record.offset} holds ${value}`)
        if (record.offset >= from) served.add(record.offset)
      })
    } catch (error) {
      if (!(error instanceof TidemarkError)) throw error
      report()
    }
  }
}

function flipBit(disk: MemoryDisk, path: string, random: Random): string {
  const bytes = disk.readFile(path)
  if (bytes.length === 0) return `${path} is empty`
  const bit = random.integer(bytes.length * 8)
  bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7))
  disk.writeFile(path, bytes)
  return `${path} bit ${bit}`
}

function kindOf(name: string): string {
  return /^\d{20}\.(\w+)$/.exec(name)?.[1] ?? name
}

const KINDS = ['log', 'index', 'timeindex', 'producers', 'leader-epochs', 'log-start']
const FLIPS_A_KIND = 150

describe('a flipped bit', () => {
  for (const stop of ['clean', 'killed', 'power loss'] as const) {
    for (const kind of KINDS) {
      it(`in a file of kind ${kind}, found after a stop of kind ${stop}, costs nothing in silence`, async () => {
        for (let seed = 1; seed <= FLIPS_A_KIND; seed++) {
          const random = seededRandom(seed)
          const left = await leaveLog()
          const names = left.disk.list(DIRECTORY).filter((name) => kindOf(name) === kind)
          const name = names[random.integer(names.length)] ?? ''
          const what = `seed ${seed}: ${flipBit(left.disk, `${DIRECTORY}/${name}`, random)}`
          const { served, reported } = await openAndRead(left, stop).catch((error: unknown) => {
            throw new Error(what, { cause: error })
          })
          const isLost = served.size < RECORDS - 5
          expect(isLost && reported === 0, `${what} lost ${RECORDS - 5 - served.size} records`).toBe(false)
          // A cache costs no record at all.
          expect(isLost && kind !== 'log', what).toBe(false)
        }
      })
    }
  }

  it('in the list of what is quarantined makes the recovery find the same again', async () => {
    for (let seed = 1; seed <= FLIPS_A_KIND; seed++) {
      const random = seededRandom(seed)
      const left = await leaveLog()
      const logs = left.disk.list(DIRECTORY).filter((name) => kindOf(name) === 'log')
      flipBit(left.disk, `${DIRECTORY}/${logs[1] ?? ''}`, random)
      const point = { offset: at(0), segmentBase: at(0), position: 0 }
      const options = { directory: DIRECTORY, config: CONFIG, kernelLived: true, now: NOW, leaderEpochMax: epoch(2) }
      const first = await recoverLog({ ...options, context: createStorageContext(left.disk), recoveryPoint: point })
      if (first.log.quarantined.length === 0) continue
      const what = `seed ${seed}: ${flipBit(left.disk, `${DIRECTORY}/quarantine`, random)}`
      const second = await recoverLog({
        ...options,
        context: createStorageContext(left.disk),
        recoveryPoint: first.log.checkpoint().recoveryPoint,
      })
      const ranges = (log: PartitionLog): unknown =>
        log.quarantined.map(({ startOffset, endOffset }) => [startOffset, endOffset])
      expect(ranges(second.log), what).toEqual(ranges(first.log))
      expect(second.log.logEndOffset).toBe(first.log.logEndOffset)
    }
  })
})
