// A follower's log on a disk that loses, tears and reorders what was not synced: it follows one leader after another, each
// of whom has another end of the log, and is ended before every operation. Whatever ends it, what it has is the beginning
// of what its leader had, byte for byte; what was cut off does not come back; and it can go on until both are the same.

import { describe, expect, it } from 'vitest'
import { parseTopicConfig } from '../../broker/storage/log-config.ts'
import type { LogCheckpoint } from '../../broker/storage/log-description.ts'
import { createLog } from '../../broker/storage/log-opening.ts'
import type { PartitionLog } from '../../broker/storage/partition-log.ts'
import { recoverLog } from '../../broker/storage/recovery.ts'
import { createStorageContext } from '../../broker/storage/storage-context.ts'
import type { VotersRecord } from '../../broker/storage/voters-history.ts'
import { encodeVotersRecord, votersRecordAt } from '../../broker/storage/voters-record.ts'
import { brokerId } from '../../shared/ids.ts'
import type { Random } from '../../shared/random.ts'
import { seededRandom } from '../../shared/random.ts'
import { encodeControlBatch } from '../../shared/record-batch/encode.ts'
import {
  baseOffsetAt,
  endOffsetAt,
  leaderEpochAt,
  setBaseOffset,
  setLeaderEpoch,
} from '../../shared/record-batch/header.ts'
import type { VoterSet } from '../../shared/voters.ts'
import type { CrashChoice, SimOperation } from '../simulation/sim-disk.ts'
import { SimDisk } from '../simulation/sim-disk.ts'
import { at, batch, DIRECTORY, epoch, NOW, SetClock } from './log-fixture.ts'

const CONFIG = parseTopicConfig({ 'segment.bytes': '1024', 'index.interval.bytes': '100' })
const LIVES = 5
const STEPS = 30

/** Batches, each with its offsets and its epoch. */
type Content = readonly Uint8Array[]

interface Moment {
  readonly disk: SimDisk
  readonly operation: SimOperation
  readonly checkpoint: LogCheckpoint
  /** What the follower has, or has at most while it is being cut. */
  readonly content: Content
  /** What it must have. */
  readonly writtenEnd: number
  readonly syncedEnd: number
  readonly leader: Content
}

function endOf(content: Content): number {
  const last = content[content.length - 1]
  return last === undefined ? 0 : endOffsetAt(last, 0)
}

function epochOf(content: Content): number {
  const last = content[content.length - 1]
  return last === undefined ? -1 : leaderEpochAt(last, 0)
}

function votersOf(leaderEpoch: number, random: Random): VoterSet {
  const voters = Array.from({ length: 1 + random.integer(3) }, (_, id) => {
    return { brokerId: brokerId(id + 1), directoryId: `disk of epoch ${leaderEpoch}` }
  })
  return { voters, minInSyncReplicas: 1 }
}

function votersIn(content: Content): VotersRecord[] {
  return content.flatMap((bytes) => votersRecordAt(bytes, 0) ?? [])
}

/** How many batches both begin with. */
function commonOf(one: Content, other: Content): number {
  let count = 0
  while (count < one.length && count < other.length && one[count] === other[count]) count++
  return count
}

/** The leader's next batches. */
function lead(before: Content, leaderEpoch: number, batches: number, random: Random): Content {
  const content = [...before]
  for (let count = 0; count < batches; count++) {
    const values = Array.from({ length: 1 + random.integer(3) }, () => 'x'.repeat(random.integer(250)))
    const isFirst = epochOf(content) < leaderEpoch
    const control = isFirst
      ? ({ type: 'leaderChange' } as const)
      : encodeVotersRecord(votersOf(leaderEpoch, random), undefined)
    const producer = { producerId: 1 + random.integer(2), producerEpoch: leaderEpoch, baseSequence: endOf(content) }
    const bytes =
      isFirst || random.integer(5) === 0
        ? encodeControlBatch({ ...control, timestamp: NOW })
        : batch(values, random.integer(2) === 0 ? producer : {})
    setBaseOffset(bytes, 0, at(endOf(content)))
    setLeaderEpoch(bytes, 0, epoch(leaderEpoch))
    content.push(bytes)
  }
  return content
}

function follow(log: PartitionLog, batches: Content, leaderEpoch: number): void {
  const result = log.appendReplicated(Uint8Array.from(Buffer.concat(batches)), NOW, { epoch: epoch(leaderEpoch) })
  if (result.kind !== 'appended') throw new Error(JSON.stringify(result))
  const failure = log.write()
  if (failure !== undefined) throw failure
}

async function live(seed: number): Promise<Moment[]> {
  const random = seededRandom(seed)
  const clock = new SetClock()
  const disk = new SimDisk({ clock })
  disk.makeDirectory('data')
  const log = createLog(createStorageContext(disk, { hotTailBytes: 0 }), DIRECTORY, CONFIG)
  for (const path of ['.', 'data', DIRECTORY]) await disk.syncDirectory(path)
  const moments: Moment[] = []
  let leader: Content = []
  let content: Content = []
  let leaderEpoch = 0
  let writtenEnd = 0
  let syncedEnd = 0
  let checkpoint = log.checkpoint()
  disk.options = {
    clock,
    onOperation: (operation, now) => {
      if (operation.kind === 'read' || operation.kind === 'open') return
      moments.push({ disk: now.fork(), operation, checkpoint, content, writtenEnd, syncedEnd, leader })
    },
  }
  const save = (): Promise<void> => {
    checkpoint = log.checkpoint()
    return Promise.resolve()
  }
  for (let step = 0; step < STEPS; step++) {
    const kind = random.integer(10)
    if (kind < 5) {
      leader = lead(leader, leaderEpoch, 1 + random.integer(4), random)
      const batches = leader.slice(content.length, content.length + 1 + random.integer(4))
      content = content.concat(batches)
      follow(log, batches, leaderEpoch)
      writtenEnd = log.writtenEndOffset
    } else if (kind < 7) {
      await log.sync()
      syncedEnd = log.writtenEndOffset
      if (random.integer(2) === 0) checkpoint = log.checkpoint()
    } else if (kind < 9) {
      // Another leader, who has less of what the one before had.
      leaderEpoch++
      const kept = Math.max(0, leader.length - random.integer(6))
      leader = lead(leader.slice(0, kept), leaderEpoch, 1 + random.integer(4), random)
      const common = leader.slice(0, commonOf(content, leader))
      writtenEnd = Math.min(writtenEnd, endOf(common))
      syncedEnd = Math.min(syncedEnd, writtenEnd)
      await log.truncateTo(at(endOf(common)), NOW, save)
      content = common
    } else {
      log.snapshotProducers(NOW)
    }
  }
  return moments
}

async function bytesOf(log: PartitionLog): Promise<Buffer> {
  const parts: Uint8Array[] = []
  for (let next = log.logStartOffset; next < log.writtenEndOffset;) {
    const slice = await log.read(next, 100_000, log.writtenEndOffset)
    parts.push(Uint8Array.from(slice.bytes))
    next = slice.endOffset
    slice.release()
  }
  return Buffer.concat(parts)
}

function recover(disk: SimDisk, { recoveryPoint }: LogCheckpoint, kernelLived: boolean): ReturnType<typeof recoverLog> {
  const context = createStorageContext(disk, { hotTailBytes: 0 })
  return recoverLog({ context, directory: DIRECTORY, config: CONFIG, now: NOW, recoveryPoint, kernelLived })
}

interface State {
  readonly name: string
  readonly disk: SimDisk
  readonly isKill: boolean
}

function* statesOf({ disk, operation }: Moment, random: Random): IterableIterator<State> {
  yield { name: 'kill', disk: disk.kill(), isKill: true }
  const { content } = operation
  if (content !== undefined && content.length > 1) {
    const bytes = 1 + random.integer(content.length - 1)
    const cut = disk.kill()
    const file = cut.open(operation.path, 'read-write')
    file.append([content.subarray(0, bytes)])
    file.close()
    yield { name: `kill with ${bytes} bytes written`, disk: cut, isKill: true }
  }
  const choices: CrashChoice[] = [{ kind: 'none' }]
  if (disk.unsyncedEffects > 0) {
    choices.push({ kind: 'all' }, { kind: 'data' }, { kind: 'names', sizes: true }, { kind: 'names', sizes: false })
    const effects = random.integer(disk.unsyncedEffects)
    choices.push({ kind: 'prefix', effects, bytes: random.integer(300) })
    for (let count = 0; count < 3; count++) choices.push({ kind: 'random', random })
  }
  for (const choice of choices) yield { name: choice.kind, disk: disk.crash(choice), isKill: false }
}

/** Answers what the recovered log has, as batches. */
async function check(log: PartitionLog, moment: Moment, isKill: boolean, what: string): Promise<Content> {
  const { content } = moment
  const found = content.filter((bytes) => baseOffsetAt(bytes, 0) < log.logEndOffset)
  expect(log.logEndOffset, what).toBe(endOf(found))
  expect(log.logEndOffset, what).toBeGreaterThanOrEqual(isKill ? moment.writtenEnd : moment.syncedEnd)
  expect(Buffer.compare(await bytesOf(log), Buffer.concat(found)), what).toBe(0)
  expect(log.latestEpoch ?? -1, what).toBe(epochOf(found))
  expect(log.votersRecords, what).toEqual(votersIn(found))
  return found
}

/** Follows the leader until both logs are the same, loses power, and still has what the leader has. */
async function goOn(disk: SimDisk, log: PartitionLog, found: Content, moment: Moment, random: Random): Promise<string> {
  const { leader } = moment
  const common = commonOf(found, leader)
  let checkpoint = log.checkpoint()
  await log.truncateTo(at(endOf(leader.slice(0, common))), NOW, () => {
    checkpoint = log.checkpoint()
    return Promise.resolve()
  })
  if (common < leader.length) follow(log, leader.slice(common), epochOf(leader))
  const torn = await recover(disk.crash({ kind: 'random', random }), checkpoint, false)
  const end = torn.log.logEndOffset
  const prefix = Buffer.concat(leader.filter((bytes) => baseOffsetAt(bytes, 0) < end))
  if (Buffer.compare(await bytesOf(torn.log), prefix) !== 0) return 'something else came to light after the cut'
  if (torn.report.quarantined.length > 0) return JSON.stringify(torn.report.quarantined)
  await log.sync()
  const { log: last } = await recover(disk.crash({ kind: 'random', random }), log.checkpoint(), false)
  if (Buffer.compare(await bytesOf(last), Buffer.concat(leader)) !== 0) return 'it is not the leader’s log'
  if (JSON.stringify(last.votersRecords) !== JSON.stringify(votersIn(leader))) return 'its voters are not the leader’s'
  if ((last.latestEpoch ?? -1) !== epochOf(leader)) return `its epoch is ${last.latestEpoch}`
  return 'the same'
}

describe('after a power loss or a kill', () => {
  it('a follower has what its leader had, and nothing that was cut off', async () => {
    let states = 0
    for (let seed = 1; seed <= LIVES; seed++) {
      for (const [index, moment] of (await live(seed)).entries()) {
        const random = seededRandom(seed * 10_000 + index)
        for (const state of statesOf(moment, random)) {
          const { kind, path } = moment.operation
          const what = `seed ${seed}, moment ${index}, before ${kind} ${path}: ${state.name}`
          states++
          const first = await recover(state.disk, moment.checkpoint, state.isKill)
          expect(first.report.quarantined, what).toEqual([])
          await check(first.log, moment, state.isKill, what)
          const second = await recover(state.disk, moment.checkpoint, state.isKill)
          expect(second.report, what).toMatchObject({ truncatedBytes: 0, quarantined: [] })
          const found = await check(second.log, moment, state.isKill, what)
          const end = states % 3 === 0 ? await goOn(state.disk, second.log, found, moment, random) : 'the same'
          expect(end, what).toBe('the same')
        }
      }
    }
    expect(states).toBeGreaterThan(3_000)
  }, 120_000)
})
