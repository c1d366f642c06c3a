// Appending, writing, syncing and reading one partition's log. Recovery and retention have files of their own.

import { describe, expect, it } from 'vitest'
import { parseTopicConfig } from '../../broker/storage/log-config.ts'
import { createLog, openLog } from '../../broker/storage/log-opening.ts'
import type { PartitionLog } from '../../broker/storage/partition-log.ts'
import { recoverLog } from '../../broker/storage/recovery.ts'
import { createStorageContext } from '../../broker/storage/storage-context.ts'
import { decodeBatch } from '../../shared/record-batch/decode.ts'
import { encodeBatch } from '../../shared/record-batch/encode.ts'
import { leaderEpochAt, maxTimestampAt } from '../../shared/record-batch/header.ts'
import type { SimFault, SimOperation } from '../simulation/sim-disk.ts'
import { SimDisk } from '../simulation/sim-disk.ts'
import {
  at,
  batch,
  concat,
  DIRECTORY,
  EPOCH,
  epoch,
  newLog,
  NOW,
  numbered,
  put,
  readAll,
  recordsIn,
  SetClock,
  time,
} from './log-fixture.ts'

const NOTHING = new Uint8Array(0)

describe('appending', () => {
  it('gives offsets one behind the other and nothing to read before it is written', () => {
    const { log } = newLog()
    expect(log.append(batch(['a', 'b']), EPOCH, NOW)).toEqual({
      kind: 'appended',
      baseOffset: 0,
      endOffset: 2,
      logAppendTime: undefined,
    })
    expect(log.append(batch(['c']), EPOCH, NOW)).toMatchObject({ baseOffset: 2, endOffset: 3 })
    expect(log.logEndOffset).toBe(3)
    expect(log.writtenEndOffset).toBe(0)
    expect(log.readTail(at(0), 1_000, at(3))?.bytes.length).toBe(0)
    expect(log.write()).toBeUndefined()
    expect(log.writtenEndOffset).toBe(3)
    const slice = log.readTail(at(0), 1_000, at(3))
    expect(recordsIn(slice?.bytes ?? NOTHING)).toEqual([
      [0, 'a'],
      [1, 'b'],
      [2, 'c'],
    ])
    expect(slice?.endOffset).toBe(3)
  })

  it('appends several batches that came together, all or none', () => {
    const { log } = newLog()
    const bad = batch(['b'])
    bad[66] = (bad[66] ?? 0) ^ 1
    expect(log.append(concat(batch(['a']), bad), EPOCH, NOW)).toMatchObject({
      kind: 'refused',
      error: 'CORRUPT_MESSAGE',
    })
    expect(log.logEndOffset).toBe(0)
    expect(put(log, concat(batch(['a']), batch(['b', 'c'])))).toBe(0)
    expect(log.logEndOffset).toBe(3)
  })

  it('keeps no reference to the bytes it was given', () => {
    const { log } = newLog()
    const bytes = batch(['before'])
    log.append(bytes, EPOCH, NOW)
    bytes.fill(0)
    log.write()
    expect(recordsIn(log.readTail(at(0), 1_000, at(1))?.bytes ?? NOTHING)).toEqual([[0, 'before']])
  })

  it('stamps the leader epoch, and the time where the topic asks for it', () => {
    const { log } = newLog({ 'message.timestamp.type': 'LogAppendTime' })
    expect(log.append(batch(['a'], { timestamp: 5 }), epoch(3), NOW)).toMatchObject({ logAppendTime: NOW })
    log.write()
    const bytes = log.readTail(at(0), 1_000, at(1))?.bytes ?? NOTHING
    expect(leaderEpochAt(bytes, 0)).toBe(3)
    expect(maxTimestampAt(bytes, 0)).toBe(NOW)
    expect(decodeBatch(bytes).header.timestampType).toBe('LogAppendTime')
  })

  it('refuses a leader epoch older than that of the newest batch', () => {
    const { log } = newLog()
    put(log, batch(['a']), epoch(5))
    expect(log.append(batch(['b']), epoch(4), NOW)).toMatchObject({ kind: 'refused', error: 'FENCED_LEADER_EPOCH' })
    expect(log.epochEndOffset(epoch(5))).toEqual({ epoch: 5, endOffset: 1 })
  })

  const refusals: [string, string, Uint8Array, Record<string, string>?][] = [
    ['nothing at all', 'INVALID_RECORD', NOTHING],
    ['half a batch', 'CORRUPT_MESSAGE', batch(['a']).subarray(0, 66)],
    ['a batch above max.message.bytes', 'MESSAGE_TOO_LARGE', batch(['a'.repeat(200)]), { 'max.message.bytes': '100' }],
    ['a batch above segment.bytes', 'RECORD_LIST_TOO_LARGE', batch(['a'.repeat(2_000)]), { 'segment.bytes': '1024' }],
    ['a batch of a transaction', 'INVALID_RECORD', batch(['a'], { isTransactional: true, producerId: 1 })],
    ['a producer id without a sequence', 'INVALID_RECORD', batch(['a'], { producerId: 1 })],
    [
      'a time too far ahead',
      'INVALID_TIMESTAMP',
      batch(['a'], { timestamp: NOW + 61_000 }),
      { 'message.timestamp.after.max.ms': '60000' },
    ],
    [
      'a time too far behind',
      'INVALID_TIMESTAMP',
      batch(['a'], { timestamp: NOW - 61_000 }),
      { 'message.timestamp.before.max.ms': '60000' },
    ],
  ]
  for (const [what, error, bytes, entries] of refusals) {
    it(`refuses ${what}`, () => {
      const { log } = newLog(entries)
      expect(log.append(bytes, EPOCH, NOW)).toMatchObject({ kind: 'refused', error })
      expect(log.logEndOffset).toBe(0)
    })
  }

  it('answers a batch sent twice with the offsets it got', () => {
    const { log } = newLog()
    put(log, batch(['x']))
    put(log, numbered(['a', 'b'], 7, 0))
    expect(log.append(numbered(['a', 'b'], 7, 0), EPOCH, NOW)).toEqual({
      kind: 'duplicate',
      baseOffset: 1,
      endOffset: 3,
    })
    expect(log.append(numbered(['d'], 7, 3), EPOCH, NOW)).toMatchObject({ error: 'OUT_OF_ORDER_SEQUENCE_NUMBER' })
    expect(put(log, concat(numbered(['c'], 7, 2), numbered(['d'], 7, 3)))).toBe(3)
    expect(log.append(concat(numbered(['c'], 7, 2), numbered(['d'], 7, 3)), EPOCH, NOW)).toEqual({
      kind: 'duplicate',
      baseOffset: 3,
      endOffset: 5,
    })
    expect(log.append(concat(numbered(['d'], 7, 3), numbered(['e'], 7, 4)), EPOCH, NOW)).toMatchObject({
      error: 'INVALID_RECORD',
    })
    expect(log.append(concat(numbered(['e'], 7, 4), numbered(['g'], 7, 6)), EPOCH, NOW)).toMatchObject({
      error: 'OUT_OF_ORDER_SEQUENCE_NUMBER',
    })
    expect(log.logEndOffset).toBe(5)
  })

  it('rolls by size and by time, never inside a batch', () => {
    const { log } = newLog({ 'segment.bytes': '1024', 'segment.ms': '1000' })
    for (let number = 0; number < 6; number++) log.append(batch(['x'.repeat(300)]), EPOCH, NOW)
    log.write()
    expect(log.describe().segments.map((segment) => segment.baseOffset)).toEqual([0, 2, 4])
    put(log, batch(['later']), EPOCH, time(NOW + 999))
    put(log, batch(['too late']), EPOCH, time(NOW + 1_000))
    expect(log.describe().segments.map((segment) => segment.baseOffset)).toEqual([0, 2, 4, 7])
  })
})

describe('reading', () => {
  it('reads the same from files as from memory', async () => {
    const { log, context } = newLog({ 'segment.bytes': '1024' })
    const expected: [number, string][] = []
    for (let number = 0; number < 200; number++) {
      put(log, batch([`value ${number}`]))
      expected.push([number, `value ${number}`])
    }
    expect(await readAll(log)).toEqual(expected)
    const clean = await log.closeClean(NOW)
    if (clean === undefined) throw new Error('not clean')
    const again = openLog(context, DIRECTORY, log.config, clean)
    expect(again.describe().segments.length).toBeGreaterThan(10)
    expect(await readAll(again)).toEqual(expected)
    expect(await readAll(again, 77, 1)).toEqual(expected.slice(77))
    expect(put(again, batch(['next']))).toBe(200)
    expect(await readAll(again, 190)).toEqual([...expected.slice(190), [200, 'next']])
  })

  for (const hotTailBytes of [0, 1_000_000]) {
    describe(`with ${hotTailBytes} bytes of memory`, () => {
      it('begins with the batch that holds the offset and ends before endOffset', async () => {
        const { log } = newLog({}, { hotTailBytes })
        put(log, concat(batch(['a', 'b', 'c']), batch(['d', 'e']), batch(['f'])))
        put(log, batch(['last']))
        const slice = await log.read(at(1), 1_000, at(5))
        expect(recordsIn(slice.bytes).map(([, value]) => value)).toEqual(['a', 'b', 'c', 'd', 'e'])
        expect(slice.endOffset).toBe(5)
        // A batch that reaches past endOffset is not served at all.
        expect(await log.read(at(0), 1_000, at(2))).toMatchObject({ endOffset: 0, bytes: { length: 0 } })
        const first = await log.read(at(4), 1, at(7))
        expect(recordsIn(first.bytes).map(([offset]) => offset)).toEqual([3, 4])
      })

      it('reads a batch that is larger than maxBytes, and than any pooled buffer', async () => {
        const { log } = newLog({ 'max.message.bytes': '8000000' }, { hotTailBytes })
        put(log, batch(['small']))
        put(log, batch(['x'.repeat(6_000_000)]))
        put(log, batch(['small again']))
        const slice = await log.read(at(1), 10, at(3))
        expect(slice.endOffset).toBe(2)
        expect(slice.bytes.length).toBeGreaterThan(6_000_000)
        expect((await log.read(at(2), 10, at(3))).endOffset).toBe(3)
      })

      it('says which offsets there are when asked for others', async () => {
        const { log } = newLog({}, { hotTailBytes })
        for (const value of ['a', 'b', 'c']) put(log, batch([value]))
        await log.advanceLogStartOffset(at(2))
        await expect(log.read(at(1), 100, at(3))).rejects.toMatchObject({ code: 'OFFSET_OUT_OF_RANGE' })
        await expect(log.read(at(4), 100, at(3))).rejects.toMatchObject({ code: 'OFFSET_OUT_OF_RANGE' })
        expect(await log.read(at(3), 100, at(3))).toMatchObject({ endOffset: 3 })
        expect(await readAll(log, 2)).toEqual([[2, 'c']])
      })
    })
  }

  it('leaves a slice alone that is out when its memory is needed', () => {
    const { log } = newLog({}, { hotTailBytes: 16 * 1024 })
    put(log, batch(['keep me']))
    const slice = log.readTail(at(0), 1_000, at(1))
    for (let number = 0; number < 100; number++) put(log, batch(['x'.repeat(1_000)]))
    expect(log.readTail(at(0), 1_000, at(1))).toBeUndefined()
    expect(recordsIn(slice?.bytes ?? NOTHING)).toEqual([[0, 'keep me']])
    slice?.release()
    slice?.release()
  })

  it('does not serve bytes that are no batch', async () => {
    const { log, disk, context } = newLog({}, { hotTailBytes: 0 })
    for (const value of ['a', 'b', 'c']) put(log, batch([value]))
    await log.sync()
    context.files.closeIdle()
    const path = `${DIRECTORY}/00000000000000000000.log`
    const bytes = disk.readFile(path)
    bytes[bytes.length / 3 + 16] = 9
    disk.writeFile(path, bytes)
    const first = await log.read(at(0), 1_000, at(3))
    expect(first.endOffset).toBe(1)
    await expect(log.read(at(1), 1_000, at(3))).rejects.toMatchObject({ code: 'QUARANTINED', resumeOffset: 2 })
    expect(await readAll(log, 2)).toEqual([[2, 'c']])
    expect(put(log, batch(['d']))).toBe(3)
    const clean = await log.closeClean(NOW)
    if (clean === undefined) throw new Error('not clean')
    const again = openLog(context, DIRECTORY, log.config, clean)
    await expect(again.read(at(1), 1_000, at(4))).rejects.toMatchObject({ code: 'QUARANTINED' })
    expect((await readAll(again, 2)).map(([offset]) => offset)).toEqual([2, 3])
  })

  it('finds what has gone bad without being read', async () => {
    const { log, disk, context } = newLog({ 'segment.bytes': '1024' }, { hotTailBytes: 0 })
    for (let number = 0; number < 12; number++) put(log, batch(['x'.repeat(300)]))
    expect(await log.scrub()).toEqual([])
    context.files.closeIdle()
    for (const base of [2, 6]) {
      const path = `${DIRECTORY}/0000000000000000000${base}.log`
      const bytes = disk.readFile(path)
      bytes[bytes.length - 1] = 99
      disk.writeFile(path, bytes)
    }
    expect(await log.scrub()).toMatchObject([
      { startOffset: 3, endOffset: 4 },
      { startOffset: 7, endOffset: 8 },
    ])
    expect(await log.scrub()).toEqual([])
    expect((await log.read(at(4), 10_000, at(12))).endOffset).toBe(6)
    await expect(log.read(at(7), 10_000, at(12))).rejects.toMatchObject({ resumeOffset: 8 })
  })

  it.each(['empty', 'gone'])('knows what is lost with a segment that is %s, and reads on behind it', async (what) => {
    const { log, disk, context } = newLog({ 'segment.bytes': '1024' }, { hotTailBytes: 0 })
    for (let number = 0; number < 8; number++) put(log, batch(['x'.repeat(300)]))
    const clean = await log.closeClean(NOW)
    if (clean === undefined) throw new Error('not clean')
    context.files.closeIdle()
    const path = `${DIRECTORY}/00000000000000000002.log`
    if (what === 'empty') disk.writeFile(path, new Uint8Array(0))
    else disk.remove(path)
    const again = openLog(context, DIRECTORY, log.config, clean)
    await expect(again.read(at(2), 10_000, at(8))).rejects.toMatchObject({ code: 'QUARANTINED', resumeOffset: 4 })
    expect((await readAll(again, 4)).map(([offset]) => offset)).toEqual([4, 5, 6, 7])
    expect(await again.scrub()).toEqual([])
  })

  it('finds the first record that is not older than a time', async () => {
    const { log } = newLog({ 'segment.bytes': '1024', 'index.interval.bytes': '100' })
    for (let number = 0; number < 100; number++) {
      const records = [0, 5].map((ms) => ({
        key: null,
        value: Buffer.from('v'),
        timestamp: NOW + number * 10 + ms,
      }))
      put(log, encodeBatch(records))
    }
    expect(await log.offsetForTimestamp(time(NOW + 500))).toEqual({ offset: 100, timestamp: NOW + 500 })
    expect(await log.offsetForTimestamp(time(NOW + 501))).toEqual({ offset: 101, timestamp: NOW + 505 })
    expect(await log.offsetForTimestamp(time(0))).toEqual({ offset: 0, timestamp: NOW })
    expect(await log.offsetForTimestamp(time(NOW + 996))).toBeUndefined()
    expect(await log.offsetForTimestamp(time(NOW + 501), at(101))).toBeUndefined()
    expect(await log.youngestRecord()).toEqual({ offset: 199, timestamp: NOW + 995 })
    await log.advanceLogStartOffset(at(51))
    expect(await log.offsetForTimestamp(time(0))).toEqual({ offset: 51, timestamp: NOW + 255 })
  })
})

/** A log on a disk that fails where the test says. */
function failing(entries: Record<string, string> = {}): {
  log: PartitionLog
  disk: SimDisk
  failAt: (fault: ((operation: SimOperation) => SimFault | undefined) | undefined) => void
} {
  const clock = new SetClock()
  const disk = new SimDisk({ clock })
  disk.makeDirectory('data')
  const context = createStorageContext(disk, { hotTailBytes: 0 })
  const log = createLog(context, DIRECTORY, parseTopicConfig(entries))
  return { log, disk, failAt: (fault) => (disk.options = { clock, fault }) }
}

describe('when the disk fails', () => {
  it('takes back what could not be written, and goes on when there is space again', async () => {
    const { log, failAt } = failing()
    put(log, numbered(['a'], 7, 0))
    failAt((operation) => (operation.kind === 'append' ? { code: 'ENOSPC', bytesDone: 40 } : undefined))
    log.append(numbered(['b'], 7, 1), epoch(1), NOW)
    log.append(numbered(['c'], 7, 2), epoch(1), NOW)
    expect(log.write()).toMatchObject({ code: 'DISK_FULL', retriable: true })
    expect(log).toMatchObject({ logEndOffset: 1, writtenEndOffset: 1, state: { kind: 'online' } })
    expect(log.latestEpoch).toBe(0)
    failAt(undefined)
    expect(await readAll(log)).toEqual([[0, 'a']])
    await log.sync()
    expect(put(log, numbered(['b'], 7, 1), epoch(1))).toBe(1)
    expect(log.append(numbered(['a'], 7, 0), epoch(1), NOW)).toMatchObject({ kind: 'duplicate', baseOffset: 0 })
    expect(await readAll(log)).toEqual([
      [0, 'a'],
      [1, 'b'],
    ])
  })

  it('takes back the segments that a write had begun', async () => {
    const { log, disk, failAt } = failing({ 'segment.bytes': '1024' })
    put(log, batch(['x'.repeat(600)]))
    let appends = 0
    failAt((operation) => (operation.kind === 'append' && ++appends === 3 ? { code: 'EIO', bytesDone: 1 } : undefined))
    for (let number = 0; number < 4; number++) log.append(batch([`${number}`.repeat(600)]), EPOCH, NOW)
    expect(log.write()).toMatchObject({ code: 'STORAGE_ERROR' })
    failAt(undefined)
    expect(disk.list(DIRECTORY).filter((name) => name.endsWith('.log'))).toEqual(['00000000000000000000.log'])
    await log.sync()
    expect(put(log, batch(['next']))).toBe(1)
    expect((await readAll(log)).map(([offset]) => offset)).toEqual([0, 1])
  })

  // A roll writes what is known of the producers so far, which is more than is left when the write is taken back. The next
  // start believed it: a batch that had been refused, sent again, was answered as if it had been stored.
  it('takes back what it has noted of the producers at a roll', async () => {
    const { log, disk, failAt } = failing({ 'segment.bytes': '1024' })
    put(log, batch(['x'.repeat(600)]))
    let appends = 0
    failAt((operation) => (operation.kind === 'append' && ++appends === 2 ? { code: 'EIO', bytesDone: 1 } : undefined))
    const refused = numbered(['refused'], 7, 0)
    log.append(refused, EPOCH, NOW)
    log.append(batch(['y'.repeat(600)]), EPOCH, NOW)
    expect(log.write()).toMatchObject({ code: 'STORAGE_ERROR' })
    failAt(undefined)
    await log.sync()
    put(log, batch(['z']))
    put(log, batch(['z']))
    await log.sync()
    log.close()
    const { recoveryPoint } = log.checkpoint()
    const context = createStorageContext(disk)
    const options = { context, directory: DIRECTORY, config: log.config, recoveryPoint, kernelLived: true, now: NOW }
    const recovered = await recoverLog(options)
    expect(recovered.log.append(refused, EPOCH, NOW)).toMatchObject({ kind: 'appended', baseOffset: 3 })
  })

  // A power loss could bring back what was undone, where followers have another batch of the same epoch.
  it('appends nothing before it is durable that a write was taken back', async () => {
    const { log, disk, failAt } = failing({ 'segment.bytes': '1024' })
    put(log, batch(['x'.repeat(600)]))
    await log.sync()
    failAt((operation) => (operation.kind === 'create' ? { code: 'EIO' } : undefined))
    log.append(batch(['undone']), EPOCH, NOW)
    log.append(batch(['y'.repeat(600)]), EPOCH, NOW)
    expect(log.write()).toMatchObject({ code: 'STORAGE_ERROR' })
    failAt(undefined)
    const early = log.append(batch(['early']), EPOCH, NOW)
    expect(early).toMatchObject({ kind: 'refused', error: 'NOT_LEADER_OR_FOLLOWER' })
    let isSynced = false
    failAt((operation) => {
      if (operation.kind === 'sync' && operation.path.endsWith('0.log')) isSynced = true
      return undefined
    })
    await log.sync()
    expect(isSynced).toBe(true)
    expect(disk.list(DIRECTORY).filter((name) => name.endsWith('.log'))).toEqual(['00000000000000000000.log'])
    expect(put(log, batch(['next']))).toBe(1)
  })

  it('is read-only when it cannot be made durable that a write was taken back', async () => {
    const { log, failAt } = failing()
    put(log, batch(['a']))
    failAt(({ kind }) => (kind === 'append' || kind === 'sync' ? { code: 'EIO', bytesDone: 10 } : undefined))
    log.append(batch(['b']), EPOCH, NOW)
    expect(log.write()).toMatchObject({ code: 'STORAGE_ERROR' })
    await expect(log.sync()).rejects.toMatchObject({ code: 'STORAGE_ERROR' })
    failAt(undefined)
    expect(log.state).toMatchObject({ kind: 'read-only' })
  })

  it('is offline when what was written cannot be cut back', async () => {
    const { log, failAt } = failing()
    put(log, batch(['a']))
    failAt(({ kind }) => (kind === 'append' || kind === 'truncate' ? { code: 'EIO', bytesDone: 10 } : undefined))
    log.append(batch(['b']), EPOCH, NOW)
    expect(log.write()).toMatchObject({ code: 'STORAGE_ERROR' })
    failAt(undefined)
    expect(log.state).toMatchObject({ kind: 'offline' })
    expect(log.append(batch(['c']), EPOCH, NOW)).toMatchObject({ kind: 'refused', error: 'STORAGE_ERROR' })
    expect(await readAll(log)).toEqual([[0, 'a']])
    expect(await log.closeClean(NOW)).toBeUndefined()
  })

  for (const kind of ['sync', 'sync-directory'] as const) {
    it(`is read-only for good after a failed ${kind}, and never asks again`, async () => {
      const { log, failAt } = failing()
      put(log, batch(['a']))
      let asked = 0
      failAt((operation) => {
        if (operation.kind !== kind) return undefined
        asked++
        return { code: 'EIO' }
      })
      const both = [log.sync(), log.sync()]
      for (const sync of both) await expect(sync).rejects.toMatchObject({ code: 'STORAGE_ERROR' })
      failAt(undefined)
      await expect(log.sync()).rejects.toMatchObject({ code: 'STORAGE_ERROR' })
      expect(asked).toBe(1)
      expect(log.recoveryPoint).toBe(0)
      expect(log.append(batch(['b']), EPOCH, NOW)).toMatchObject({ kind: 'refused', error: 'STORAGE_ERROR' })
      expect(await readAll(log)).toEqual([[0, 'a']])
    })
  }

  it('says nothing is lost when an index cannot be written', async () => {
    const { log, failAt } = failing({ 'segment.bytes': '1024' })
    failAt((operation) => (operation.path.endsWith('index') ? { code: 'EIO' } : undefined))
    for (let number = 0; number < 20; number++) put(log, batch(['x'.repeat(300)]))
    expect((await readAll(log)).length).toBe(20)
  })
})

describe('syncing', () => {
  it('covers at least what was written before the call, with the names of its segments', async () => {
    const { log, disk } = failing({ 'segment.bytes': '1024' })
    for (const path of ['.', 'data']) await disk.syncDirectory(path)
    for (let number = 0; number < 5; number++) put(log, batch(['x'.repeat(600)]))
    expect(log.recoveryPoint).toBe(0)
    await log.sync()
    expect(log.recoveryPoint).toBe(5)
    put(log, batch(['later']))
    expect(log.recoveryPoint).toBe(5)
    const found = disk.crash({ kind: 'none' })
    expect(found.list(DIRECTORY).filter((name) => name.endsWith('.log')).length).toBe(5)
  })
})

describe('cutting', () => {
  it('cuts before the batch that holds the offset, and lowers the recovery point first', async () => {
    const { log, disk } = failing({ 'segment.bytes': '1024' })
    for (const path of ['.', 'data']) await disk.syncDirectory(path)
    for (let number = 0; number < 10; number++) put(log, numbered(['x'.repeat(300), 'y'], 7, number * 2), epoch(number))
    await log.sync()
    let saved: unknown
    await log.truncateTo(at(7), NOW, async () => {
      saved = log.checkpoint().recoveryPoint.offset
    })
    expect(saved).toBe(6)
    expect(log).toMatchObject({ logEndOffset: 6, writtenEndOffset: 6, latestEpoch: 2 })
    const logs = disk.list(DIRECTORY).filter((name) => name.endsWith('.log'))
    expect(
      disk
        .crash({ kind: 'none' })
        .list(DIRECTORY)
        .filter((name) => name.endsWith('.log')),
    ).toEqual(logs)
    expect(put(log, numbered(['again'], 7, 6), epoch(9))).toBe(6)
    expect((await readAll(log)).length).toBe(7)
  })
})
