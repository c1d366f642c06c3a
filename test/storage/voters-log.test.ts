import { describe, expect, it } from 'vitest'
import { openLog } from '../../broker/storage/log-opening.ts'
import type { PartitionLog } from '../../broker/storage/partition-log.ts'
import { recoverLog } from '../../broker/storage/recovery.ts'
import { createStorageContext } from '../../broker/storage/storage-context.ts'
import { encodeVotersRecord, votersRecordAt } from '../../broker/storage/voters-record.ts'
import { brokerId } from '../../shared/ids.ts'
import { encodeControlBatch } from '../../shared/record-batch/encode.ts'
import { setLeaderEpoch } from '../../shared/record-batch/header.ts'
import type { VoterSet } from '../../shared/voters.ts'
import type { SimFault, SimOperation } from '../simulation/sim-disk.ts'
import { SimDisk } from '../simulation/sim-disk.ts'
import { at, batch, DIRECTORY, EPOCH, newLog, NOW, put, SetClock } from './log-fixture.ts'

const FILE = `${DIRECTORY}/voters`
const SEGMENT = `${DIRECTORY}/00000000000000000000.log`

function set(...ids: number[]): VoterSet {
  return { voters: ids.map((id) => ({ brokerId: brokerId(id), directoryId: `disk-${id}` })), minInSyncReplicas: 1 }
}

function putVoters(log: PartitionLog, voters: VoterSet, next?: VoterSet): void {
  const result = log.appendControl(encodeVotersRecord(voters, next), EPOCH, NOW)
  if (result.kind !== 'appended') throw new Error(JSON.stringify(result))
}

async function simLog(): Promise<{ disk: SimDisk; log: PartitionLog }> {
  const disk = new SimDisk({ clock: new SetClock() })
  disk.makeDirectory('data')
  const { log } = newLog({}, { disk })
  for (const path of ['.', 'data']) await disk.syncDirectory(path)
  return { disk, log }
}

function fault(disk: SimDisk, when: (operation: SimOperation) => SimFault | undefined): void {
  disk.options = { clock: disk.options.clock, fault: when }
}

function recover(disk: SimDisk, log: PartitionLog, kernelLived: boolean, point = log.checkpoint().recoveryPoint) {
  const { logStartOffset } = log.checkpoint()
  const known = { recoveryPoint: point, logStartOffset, kernelLived, config: log.config, now: NOW }
  return recoverLog({ context: createStorageContext(disk), directory: DIRECTORY, ...known })
}

/** A log with a record, voters (1), a record, voters (3), synced. */
async function changedTwice(): Promise<{ disk: SimDisk; log: PartitionLog }> {
  const { disk, log } = await simLog()
  put(log, batch(['a']))
  putVoters(log, set(1, 2), set(1, 3))
  put(log, batch(['b']))
  putVoters(log, set(1, 3))
  log.write()
  await log.sync()
  return { disk, log }
}

const TWICE = [
  { offset: 1, set: set(1, 2), next: set(1, 3) },
  { offset: 3, set: set(1, 3), next: undefined },
]

describe('a voters record', () => {
  it('is the same when it is read', () => {
    const full = { voters: set(7, 2_000_000_000, 0).voters, minInSyncReplicas: 3 }
    const bytes = encodeControlBatch({ ...encodeVotersRecord(set(1), full), timestamp: NOW, baseOffset: at(42) })
    expect(votersRecordAt(bytes, 0)).toEqual({ offset: 42, set: set(1), next: full })
    expect(votersRecordAt(batch(['x']), 0)).toBeUndefined()
    expect(votersRecordAt(encodeControlBatch({ type: 'leaderChange', timestamp: NOW }), 0)).toBeUndefined()
  })

  it('is not guessed at when it is cut short, too long, impossible or of a newer version', () => {
    const good = encodeVotersRecord(set(1, 2), set(1)).value ?? new Uint8Array(0)
    const impossible = encodeVotersRecord({ voters: set(1).voters, minInSyncReplicas: 2 }, undefined)
    const values = [good.subarray(0, 9), Buffer.concat([good, Buffer.from([0])]), new Uint8Array(0), impossible.value]
    for (const value of values) {
      const bytes = encodeControlBatch({ type: 'voters', value: value ?? new Uint8Array(0), timestamp: NOW })
      expect(() => votersRecordAt(bytes, 0)).toThrow(expect.objectContaining({ code: 'CORRUPT_MESSAGE' }))
      setLeaderEpoch(bytes, 0, EPOCH)
      const result = newLog().log.appendReplicated(bytes, NOW, { epoch: EPOCH })
      expect(result).toMatchObject({ kind: 'refused', reason: 'corrupt' })
    }
    const newer = encodeControlBatch({ type: 'voters', version: 1, value: good, timestamp: NOW })
    expect(() => votersRecordAt(newer, 0)).toThrow(expect.objectContaining({ code: 'DIRECTORY_FORMAT_UNKNOWN' }))
  })
})

describe('the voters of a log', () => {
  it('are known from the append on, and the same list as long as there is no change', () => {
    const { log } = newLog()
    expect(log.votersRecords).toEqual([])
    putVoters(log, set(1, 2))
    const { votersRecords } = log
    expect(votersRecords).toEqual([{ offset: 0, set: set(1, 2), next: undefined }])
    put(log, batch(['a']))
    expect(log.votersRecords).toBe(votersRecords)
  })

  it('come from the leader as well', async () => {
    const { log: leader } = await changedTwice()
    const slice = await leader.read(at(0), 100_000, leader.writtenEndOffset)
    const { log } = newLog()
    log.appendReplicated(slice.bytes, NOW, { epoch: EPOCH })
    expect(log.votersRecords).toEqual(TWICE)
  })

  it('are taken back when the record cannot be written', async () => {
    const { disk, log } = await simLog()
    put(log, batch(['a']))
    putVoters(log, set(1))
    fault(disk, ({ kind }) => (kind === 'append' ? { code: 'ENOSPC' } : undefined))
    expect(log.write()).toMatchObject({ code: 'DISK_FULL' })
    expect(log.votersRecords).toEqual([])
  })

  it('are held only when they are on stable storage', async () => {
    const { log } = await simLog()
    put(log, batch(['a']))
    putVoters(log, set(1))
    put(log, batch(['b']))
    expect([log.writtenEndOffset, log.heldEndOffset]).toEqual([3, 1])
    await log.sync()
    put(log, batch(['c']))
    expect([log.writtenEndOffset, log.heldEndOffset]).toEqual([4, 4])
  })

  it('are not held while their file cannot be written, and found in the log', async () => {
    const { disk, log } = await simLog()
    put(log, batch(['a']))
    putVoters(log, set(1))
    log.write()
    fault(disk, ({ path }) => (path === `${FILE}.tmp` ? { code: 'ENOSPC' } : undefined))
    await log.sync()
    expect([log.recoveryPoint, log.heldEndOffset]).toEqual([0, 1])
    disk.options = { clock: disk.options.clock }
    const { log: again } = await recover(disk.crash({ kind: 'none' }), log, false)
    expect(again.votersRecords).toEqual(log.votersRecords)
    await log.sync()
    expect([log.recoveryPoint, log.heldEndOffset]).toEqual([2, 2])
  })

  it('are there after a clean stop', async () => {
    const { disk, log } = await changedTwice()
    await log.advanceLogStartOffset(at(4))
    const clean = await log.closeClean(NOW)
    if (clean === undefined) throw new Error('not closed clean')
    const again = openLog(createStorageContext(disk), DIRECTORY, log.config, clean)
    expect(again.votersRecords).toEqual(TWICE.slice(1))
  })

  it('are no longer those of records that are cut off', async () => {
    const { log } = await changedTwice()
    await log.truncateTo(at(3), NOW, () => Promise.resolve())
    expect(log.votersRecords).toEqual(TWICE.slice(0, 1))
  })

  it('stay as they were when a cut fails for want of space, and so does the log', async () => {
    const { disk, log } = await changedTwice()
    fault(disk, ({ path }) => (path === `${FILE}.tmp` ? { code: 'ENOSPC' } : undefined))
    await expect(log.truncateTo(at(1), NOW, () => Promise.resolve())).rejects.toMatchObject({ code: 'DISK_FULL' })
    expect(log.votersRecords).toEqual(TWICE)
    expect([log.state.kind, log.logEndOffset]).toEqual(['online', 4])
  })

  it('are those of the leader when the log moves on', async () => {
    const { disk, log } = await changedTwice()
    const inForce = { offset: at(90), set: set(4, 5), next: undefined }
    await log.skipTo(at(100), () => Promise.resolve(), inForce)
    expect(log.votersRecords).toEqual([inForce])
    expect((await recover(disk.crash({ kind: 'none' }), log, false)).log.votersRecords).toEqual([inForce])
    await log.skipTo(at(100), () => Promise.resolve())
    expect(log.votersRecords).toEqual([])
  })

  it('stay as they were when the log could not move on', async () => {
    const { disk, log } = await changedTwice()
    fault(disk, ({ path }) => (path.startsWith(`${DIRECTORY}/log-start`) ? { code: 'ENOSPC' } : undefined))
    const inForce = { offset: at(2), set: set(4, 5), next: undefined }
    await expect(log.skipTo(at(4), () => Promise.resolve(), inForce)).rejects.toMatchObject({ code: 'DISK_FULL' })
    expect(log.votersRecords).toEqual(TWICE)
    disk.options = { clock: disk.options.clock }
    await log.advanceLogStartOffset(at(4))
    expect((await recover(disk.kill(), log, true)).log.votersRecords).toEqual(TWICE.slice(1))
  })
})

describe('damage', () => {
  it('of the voters file is made good from a log that is all there', async () => {
    const { disk, log } = await changedTwice()
    disk.writeFile(FILE, new Uint8Array(40))
    const { log: again } = await recover(disk, log, true)
    expect(again.votersRecords).toEqual(TWICE)
    await again.sync()
    expect((await recover(disk.kill(), again, true)).log.votersRecords).toEqual(TWICE)
  })

  it('of the voters file is no reason to guess where the log has been trimmed', async () => {
    const { disk, log } = await changedTwice()
    await log.advanceLogStartOffset(at(2))
    disk.writeFile(FILE, new Uint8Array(40))
    await expect(recover(disk, log, true)).rejects.toMatchObject({ code: 'FILE_CORRUPT' })
  })

  it('of a voters record does not put it out of force', async () => {
    const { disk, log } = await changedTwice()
    const bytes = disk.readFile(SEGMENT)
    for (let index = bytes.length - 20; index < bytes.length; index++) bytes[index] = 0x5a
    disk.writeFile(SEGMENT, bytes)
    const beginning = { offset: at(0), segmentBase: at(0), position: 0 }
    const { log: again, report } = await recover(disk, log, true, beginning)
    expect(report.quarantined).toMatchObject([{ startOffset: 3, endOffset: 4 }])
    expect(again.votersRecords).toEqual(TWICE)
  })
})
