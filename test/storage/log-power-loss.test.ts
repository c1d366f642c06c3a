// One log on a disk that loses, tears and reorders what was not synced, at every moment of many short lives. After each
// power loss the log is a prefix of what was appended, nothing synced is missing, nothing is quarantined, and a second
// recovery finds what the first has left. The failing seed and operation stand in the message.

import { describe, expect, it } from 'vitest'
import { parseTopicConfig } from '../../broker/storage/log-config.ts'
import type { LogCheckpoint } from '../../broker/storage/log-description.ts'
import { createLog } from '../../broker/storage/log-opening.ts'
import type { PartitionLog } from '../../broker/storage/partition-log.ts'
import { recoverLog } from '../../broker/storage/recovery.ts'
import { createStorageContext } from '../../broker/storage/storage-context.ts'
import { seededRandom } from '../../shared/random.ts'
import type { CrashChoice } from '../simulation/sim-disk.ts'
import { SimDisk } from '../simulation/sim-disk.ts'
import { at, batch, DIRECTORY, epoch, NOW, numbered, readAll, recordsIn, SetClock } from './log-fixture.ts'

const CONFIG = parseTopicConfig({ 'segment.bytes': '1024', 'index.interval.bytes': '100' })
const LIVES = 12
const STEPS = 40

/** What was known when the power went, and the disk at that moment. */
interface Moment {
  readonly disk: SimDisk
  readonly checkpoint: LogCheckpoint
  readonly appended: readonly string[]
  readonly syncedEnd: number
  readonly start: number
}

/** Lives for a while, and is photographed before some of its operations on the disk. */
async function live(seed: number): Promise<Moment[]> {
  const random = seededRandom(seed)
  const clock = new SetClock()
  const disk = new SimDisk({ clock })
  disk.makeDirectory('data')
  const log = createLog(createStorageContext(disk, { hotTailBytes: 0 }), DIRECTORY, CONFIG)
  for (const path of ['.', 'data', DIRECTORY]) await disk.syncDirectory(path)
  const appended: string[] = []
  const moments: Moment[] = []
  let syncedEnd = 0
  let start = 0
  let sequence = 0
  // What the directory's checkpoint file says: never newer than what was synced.
  let saved = log.checkpoint()
  const photograph = (): void => {
    if (random.integer(3) > 0) return
    moments.push({ disk: disk.fork(), checkpoint: saved, appended: [...appended], syncedEnd, start })
  }
  disk.options = { clock, onOperation: photograph }
  for (let step = 0; step < STEPS; step++) {
    const kind = random.integer(10)
    if (kind < 6) {
      const value = `${appended.length} `.padEnd(random.integer(500), 'x')
      const isNumbered = random.integer(2) === 0
      const bytes = isNumbered ? numbered([value], 5, sequence++) : batch([value])
      appended.push(value)
      append(log, bytes, Math.floor(step / 15))
      if (random.integer(2) === 0) write(log)
    } else if (kind < 8) {
      write(log)
      await log.sync()
      syncedEnd = log.recoveryPoint
      if (random.integer(2) === 0) saved = log.checkpoint()
    } else if (kind === 8) {
      const to = log.logStartOffset + random.integer(log.writtenEndOffset - log.logStartOffset + 1)
      // A trim may have happened as soon as it has begun.
      await log.advanceLogStartOffset(at(to))
      start = log.logStartOffset
    } else {
      log.snapshotProducers(NOW)
    }
  }
  photograph()
  return moments
}

function append(log: PartitionLog, bytes: Uint8Array, leaderEpoch: number): void {
  const result = log.append(bytes, epoch(leaderEpoch), NOW)
  if (result.kind !== 'appended') throw new Error(JSON.stringify(result))
}

function write(log: PartitionLog): void {
  const failure = log.write()
  if (failure !== undefined) throw failure
}

function recover(disk: SimDisk, checkpoint: LogCheckpoint): ReturnType<typeof recoverLog> {
  const { recoveryPoint, logStartOffset } = checkpoint
  const context = createStorageContext(disk, { hotTailBytes: 0 })
  const options = { context, directory: DIRECTORY, config: CONFIG, now: NOW }
  return recoverLog({ ...options, recoveryPoint, logStartOffset, kernelLived: false })
}

/** What a recovery has cut off must not come back: the log is appended to, synced, and loses power once more. */
async function goOn(disk: SimDisk, log: PartitionLog, choice: CrashChoice, what: string): Promise<void> {
  const before = await readAll(log, log.logStartOffset)
  const end = log.logEndOffset
  // As large as what was cut off may have been, so that what comes back would fit behind it; now and then a new segment.
  const values = ['again '.padEnd(what.length * 7, 'y'), 'and again '.padEnd(what.length * 13, 'z')]
  const expected = [...before, ...values.map((value, index): [number, string] => [end + index, value])]
  const start = log.checkpoint()
  for (const value of values) {
    expect(log.append(batch([value]), epoch(1_000), NOW).kind, what).toBe('appended')
    expect(log.write(), what).toBeUndefined()
  }
  const unsynced = await recover(disk.crash(choice), start)
  expect(unsynced.report.quarantined, what).toEqual([])
  const survived = await readAll(unsynced.log, log.logStartOffset)
  expect(survived, what).toEqual(expected.slice(0, Math.max(survived.length, before.length)))
  await log.sync()
  const { log: found, report } = await recover(disk.crash(choice), log.checkpoint())
  expect(report, what).toMatchObject({ truncatedBytes: 0, quarantined: [], logEndOffset: log.logEndOffset })
  // Each by itself, so that each is looked for in the index.
  for (const record of expected) {
    const [offset] = record
    const slice = await found.read(at(offset), 1, at(offset + 1))
    expect(recordsIn(slice.bytes), what).toEqual([record])
    slice.release()
  }
}

describe('after a power loss', () => {
  it('a log is a prefix of what was appended, with all that was synced', async () => {
    let recoveries = 0
    for (let seed = 1; seed <= LIVES; seed++) {
      for (const [index, moment] of (await live(seed)).entries()) {
        const random = seededRandom(seed * 1_000 + index)
        const choices: CrashChoice[] = [{ kind: 'none' }, { kind: 'data' }, { kind: 'names', sizes: true }]
        for (let times = 0; times < 5; times++) choices.push({ kind: 'random', random })
        for (const choice of choices) {
          const what = `seed ${seed}, moment ${index}, ${choice.kind}`
          const disk = moment.disk.crash(choice)
          const first = await recover(disk, moment.checkpoint)
          expect(first.report.quarantined, what).toEqual([])
          expect(first.log.logEndOffset, what).toBeGreaterThanOrEqual(moment.syncedEnd)
          expect(first.log.logStartOffset, what).toBeGreaterThanOrEqual(moment.start)
          const found = await readAll(first.log, first.log.logStartOffset)
          for (const [offset, value] of found) expect(value, what).toBe(moment.appended[offset])
          expect(found.length, what).toBe(first.log.logEndOffset - first.log.logStartOffset)
          const again = await recover(disk, moment.checkpoint)
          expect(again.report, what).toMatchObject({ truncatedBytes: 0, quarantined: [] })
          expect(again.log.logEndOffset, what).toBe(first.log.logEndOffset)
          await goOn(disk, again.log, choice, what)
          recoveries++
        }
      }
    }
    expect(recoveries).toBeGreaterThan(500)
  }, 120_000)
})
