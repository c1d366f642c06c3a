// Batches of another log, which keep their offsets: what is taken, what is refused, and what stands between them.

import { describe, expect, it } from 'vitest'
import type { Offset } from '../../shared/ids.ts'
import { CRC_AT } from '../../shared/record-batch/format.ts'
import { baseOffsetAt, batchBytes, endOffsetAt, leaderEpochAt } from '../../shared/record-batch/header.ts'
import { encodeControlBatch } from '../../shared/record-batch/encode.ts'
import { recoverLog } from '../../broker/storage/recovery.ts'
import { at, batch, concat, DIRECTORY, EPOCH, epoch, newLog, NOW, numbered, put, readAll, time } from './log-fixture.ts'

function kept(baseOffset: number, ...values: string[]): Uint8Array {
  return batch(values, { baseOffset: baseOffset as Offset, timestamp: 5 })
}

describe('batches that keep their offsets', () => {
  it('begin an empty log where they begin, behind a gap', async () => {
    const { log } = newLog()
    expect(log.appendKept(kept(1_000, 'a', 'b'), EPOCH, NOW)).toEqual({
      kind: 'appended',
      baseOffset: 1_000,
      endOffset: 1_002,
      logAppendTime: undefined,
    })
    expect(log.write()).toBeUndefined()
    expect(await readAll(log)).toEqual([
      [1_000, 'a'],
      [1_001, 'b'],
    ])
  })

  it('leave out what their own log has lost, and carry the epoch of the leader that takes them', async () => {
    const { log } = newLog()
    log.appendKept(concat(kept(0, 'a'), kept(4, 'e'), kept(5, 'f')), epoch(7), NOW)
    log.write()
    const slice = await log.read(at(0), 10_000, log.writtenEndOffset)
    const spans: number[][] = []
    for (let position = 0; position < slice.bytes.length; position += batchBytes(slice.bytes, position)) {
      const { bytes } = slice
      spans.push([baseOffsetAt(bytes, position), endOffsetAt(bytes, position), leaderEpochAt(bytes, position)])
    }
    slice.release()
    expect(spans).toEqual([
      [0, 1, 7],
      [1, 4, 7],
      [4, 5, 7],
      [5, 6, 7],
    ])
  })

  it('may lie further away than one gap reaches', async () => {
    const far = 2 ** 33
    const { log } = newLog()
    expect(log.appendKept(kept(far, 'a'), EPOCH, NOW)).toMatchObject({ baseOffset: far, endOffset: far + 1 })
    log.write()
    const slice = await log.read(at(far), 10_000, log.writtenEndOffset)
    expect(baseOffsetAt(slice.bytes, 0)).toBe(far)
    slice.release()
  })

  it('keep their times in a topic that stamps its own', async () => {
    const { log } = newLog({ 'message.timestamp.type': 'LogAppendTime' })
    log.appendKept(kept(3, 'a'), EPOCH, NOW)
    log.write()
    const slice = await log.read(at(3), 1_000, log.writtenEndOffset)
    // From the checksum on, which covers all but the offset and the epoch.
    expect(Buffer.from(slice.bytes.subarray(CRC_AT)).toString('hex')).toBe(
      Buffer.from(kept(3, 'a').subarray(CRC_AT)).toString('hex'),
    )
    slice.release()
  })

  it('are there after the log was read anew', async () => {
    const { context, log } = newLog()
    log.appendKept(kept(9, 'a'), EPOCH, NOW)
    log.write()
    put(log, batch(['own']))
    context.files.closeIdle()
    const { log: again } = await recoverLog({
      context,
      directory: DIRECTORY,
      config: log.config,
      now: NOW,
      kernelLived: true,
      recoveryPoint: undefined,
    })
    expect(await readAll(again)).toEqual([
      [9, 'a'],
      [10, 'own'],
    ])
  })

  it.each([
    ['an offset that the log has passed', concat(kept(2, 'a')), 'OFFSET_OUT_OF_RANGE'],
    ['offsets that go back', concat(kept(9, 'a'), kept(8, 'b')), 'OFFSET_OUT_OF_RANGE'],
    ['a marker', encodeControlBatch({ type: 'commit', timestamp: 1, baseOffset: 5 as Offset }), 'INVALID_RECORD'],
    ['a producer', numbered(['a'], 4, 0), 'OFFSET_OUT_OF_RANGE'],
    ['nothing at all', new Uint8Array(0), 'INVALID_RECORD'],
  ])('are refused with %s, and the log is as it was', async (_, records, error) => {
    const { log } = newLog()
    put(log, batch(['x', 'y', 'z']))
    expect(log.appendKept(records, EPOCH, time(NOW + 1))).toMatchObject({ kind: 'refused', error })
    expect(log.logEndOffset).toBe(3)
    log.write()
    expect(await readAll(log)).toHaveLength(3)
  })

  it('belong to no producer, whose sequences would be taken for those of others', () => {
    const { log } = newLog()
    expect(log.appendKept(numbered(['a'], 4, 0), EPOCH, NOW)).toMatchObject({ error: 'INVALID_RECORD' })
  })
})
