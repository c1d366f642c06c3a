import { describe, expect, it } from 'vitest'
import type { Disk } from '../../broker/storage/disk.ts'
import { parseTopicConfig } from '../../broker/storage/log-config.ts'
import { MemoryDisk } from '../../broker/storage/memory-disk.ts'
import { createLog, openLog } from '../../broker/storage/log-opening.ts'
import type { PartitionLog } from '../../broker/storage/partition-log.ts'
import { recoverLog } from '../../broker/storage/recovery.ts'
import { createStorageContext } from '../../broker/storage/storage-context.ts'
import type { Offset } from '../../shared/ids.ts'
import { attributesAt, baseOffsetAt, setBaseOffset, setLeaderEpoch } from '../../shared/record-batch/header.ts'
import { CONTROL_BIT } from '../../shared/record-batch/format.ts'
import { SimDisk } from '../simulation/sim-disk.ts'
import {
  at,
  batch,
  concat,
  DIRECTORY,
  epoch,
  newLog,
  NOW,
  numbered,
  put,
  readAll,
  SetClock,
  time,
} from './log-fixture.ts'

/** A batch as a leader sends it. */
function led(values: readonly string[], baseOffset: number, leaderEpoch: number, options = {}): Uint8Array {
  return stamped(batch(values, options), baseOffset, leaderEpoch)
}

function stamped(bytes: Uint8Array, baseOffset: number, leaderEpoch: number): Uint8Array {
  setBaseOffset(bytes, 0, at(baseOffset))
  setLeaderEpoch(bytes, 0, epoch(leaderEpoch))
  return bytes
}

function producerFiles(disk: Disk): string[] {
  return disk.list(DIRECTORY).filter((name) => name.endsWith('.producers'))
}

function follow(log: PartitionLog, records: Uint8Array, leaderEpoch: number): void {
  const result = log.appendReplicated(records, NOW, { epoch: epoch(leaderEpoch) })
  if (result.kind !== 'appended') throw new Error(JSON.stringify(result))
  const failure = log.write()
  if (failure !== undefined) throw failure
}

const KEEP = (): Promise<void> => Promise.resolve()

describe('a follower’s log', () => {
  it('takes the leader’s batches as they are, control batches and all', async () => {
    const { log: leader } = newLog({ 'message.timestamp.type': 'LogAppendTime' })
    leader.appendControl({ type: 'leaderChange', value: new Uint8Array([7]) }, epoch(3), NOW)
    put(leader, concat(batch(['a', 'b']), batch(['c'])), epoch(3))
    put(leader, numbered(['d'], 9, 0), epoch(4))
    const slice = await leader.read(at(0), 100_000, leader.writtenEndOffset)
    const { log } = newLog({ 'message.timestamp.type': 'LogAppendTime' })
    const result = log.appendReplicated(slice.bytes, time(NOW + 5_000), { epoch: epoch(4) })
    expect(result).toEqual({ kind: 'appended', baseOffset: 0, endOffset: 5 })
    log.write()
    const copy = await log.read(at(0), 100_000, log.writtenEndOffset)
    expect(Buffer.compare(copy.bytes, slice.bytes)).toBe(0)
    expect(attributesAt(copy.bytes, 0) & CONTROL_BIT).toBe(CONTROL_BIT)
    expect(log.latestEpoch).toBe(4)
    expect(log.epochEndOffset(epoch(3))).toEqual({ epoch: 3, endOffset: 4 })
  })

  it('refuses what does not join its end, and names both offsets', () => {
    const { log } = newLog()
    follow(log, led(['a', 'b'], 0, 1), 1)
    for (const base of [0, 1, 3]) {
      const result = log.appendReplicated(led(['x'], base, 1), NOW, { epoch: epoch(1) })
      expect(result).toMatchObject({ kind: 'refused', reason: 'not-next', expected: 2, found: base })
    }
    const hole = concat(led(['x'], 2, 1), led(['y'], 4, 1))
    expect(log.appendReplicated(hole, NOW, { epoch: epoch(1) })).toMatchObject({ expected: 3, found: 4 })
    expect(log.logEndOffset).toBe(2)
  })

  it('refuses epochs that fall or that its leader cannot have', () => {
    const { log } = newLog()
    follow(log, led(['a'], 0, 5), 5)
    const older = log.appendReplicated(led(['x'], 1, 4), NOW, { epoch: epoch(6) })
    expect(older).toMatchObject({ reason: 'epoch-falls', error: 'FENCED_LEADER_EPOCH', expected: 5, found: 4 })
    const newer = log.appendReplicated(led(['x'], 1, 7), NOW, { epoch: epoch(6) })
    expect(newer).toMatchObject({ reason: 'epoch-above', error: 'UNKNOWN_LEADER_EPOCH', expected: 6, found: 7 })
    const within = log.appendReplicated(concat(led(['x'], 1, 6), led(['y'], 2, 5)), NOW, { epoch: epoch(6) })
    expect(within).toMatchObject({ reason: 'epoch-falls', expected: 6, found: 5 })
    const unstamped = newLog().log.appendReplicated(led(['x'], 0, -1), NOW, { epoch: epoch(6) })
    expect(unstamped).toMatchObject({ reason: 'epoch-falls', expected: 0, found: -1 })
    expect(log.latestEpoch).toBe(5)
  })

  it('refuses bytes that are damaged, cut short or none', () => {
    const { log } = newLog()
    const good = led(['hello'], 0, 1)
    const bad = Uint8Array.from(good)
    bad[bad.length - 1] = 0xff
    for (const bytes of [bad, good.subarray(0, 30), new Uint8Array(0), concat(good, good.subarray(0, 70))]) {
      expect(log.appendReplicated(bytes, NOW, { epoch: epoch(1) })).toMatchObject({
        kind: 'refused',
        reason: 'corrupt',
      })
    }
    expect(log.logEndOffset).toBe(0)
  })

  it('knows its leader’s producers when it becomes the leader', () => {
    const { log } = newLog()
    const sent = numbered(['a'], 7, 0)
    const first = Uint8Array.from(sent)
    setLeaderEpoch(first, 0, epoch(1))
    follow(log, first, 1)
    expect(log.append(sent, epoch(2), NOW)).toEqual({ kind: 'duplicate', baseOffset: 0, endOffset: 1 })
    expect(log.append(numbered(['c'], 7, 5), epoch(2), NOW)).toMatchObject({ error: 'OUT_OF_ORDER_SEQUENCE_NUMBER' })
  })

  it('takes what its leader took without asking the producers', () => {
    const { log } = newLog()
    follow(log, led(['a'], 0, 1, { producerId: 7, producerEpoch: 0, baseSequence: 0 }), 1)
    follow(log, led(['b'], 1, 1, { producerId: 7, producerEpoch: 0, baseSequence: 40 }), 1)
    expect(log.logEndOffset).toBe(2)
  })

  it('gives back the offsets, epochs and producers of a write that failed', async () => {
    const disk = new SimDisk({ clock: new SetClock() })
    disk.makeDirectory('data')
    const { log } = newLog({}, { disk })
    follow(log, led(['a'], 0, 1), 1)
    log.appendReplicated(led(['b'], 1, 2, { producerId: 7, producerEpoch: 0, baseSequence: 0 }), NOW, {
      epoch: epoch(2),
    })
    expect(log.latestEpoch).toBe(2)
    disk.options = { clock: new SetClock(), fault: ({ kind }) => (kind === 'append' ? { code: 'ENOSPC' } : undefined) }
    expect(log.write()).toMatchObject({ code: 'DISK_FULL' })
    disk.options = { clock: new SetClock() }
    expect([log.logEndOffset, log.latestEpoch]).toEqual([1, 1])
    await log.sync()
    follow(log, led(['c'], 1, 3), 3)
    expect(log.epochEndOffset(epoch(2))).toEqual({ epoch: 1, endOffset: 1 })
  })

  it('does not remember an epoch of which nothing was written', async () => {
    const { log, context } = newLog()
    follow(log, led(['a'], 0, 1), 1)
    log.appendReplicated(led(['b'], 1, 2), NOW, { epoch: epoch(2) })
    await log.sync()
    const next = createStorageContext(context.disk)
    const { log: killed } = await recoverLog({
      context: next,
      directory: DIRECTORY,
      config: log.config,
      recoveryPoint: log.checkpoint().recoveryPoint,
      kernelLived: true,
      now: NOW,
    })
    expect([killed.latestEpoch, killed.logEndOffset]).toEqual([1, 1])
    expect(openLog(next, DIRECTORY, log.config, log.checkpoint()).latestEpoch).toBe(1)
  })
})

describe('a leader’s own record', () => {
  it('takes an offset and begins the epoch, before anything is written', async () => {
    const { log } = newLog()
    put(log, batch(['a']), epoch(1))
    const result = log.appendControl({ type: 'leaderChange' }, epoch(2), NOW)
    expect(result).toMatchObject({ kind: 'appended', baseOffset: 1, endOffset: 2 })
    expect(log.epochEndOffset(epoch(1))).toEqual({ epoch: 1, endOffset: 1 })
    expect(log.writtenEndOffset).toBe(1)
    log.write()
    const slice = await log.read(at(1), 1_000, at(2))
    expect([baseOffsetAt(slice.bytes, 0), attributesAt(slice.bytes, 0)]).toEqual([1, CONTROL_BIT])
    expect(log.appendControl({ type: 'leaderChange' }, epoch(1), NOW)).toMatchObject({ error: 'FENCED_LEADER_EPOCH' })
  })
})

describe('cutting a follower’s log', () => {
  it('is refused below the high watermark, also where a batch reaches over it', async () => {
    const { log } = newLog()
    follow(log, led(['a', 'b'], 0, 1), 1)
    follow(log, led(['c', 'd'], 2, 1), 1)
    const refused = await log.truncateTo(at(3), NOW, KEEP, at(3))
    expect(refused).toMatchObject({ kind: 'refused', endOffset: 2, highWatermark: 3 })
    expect(log.logEndOffset).toBe(4)
    expect(await log.truncateTo(at(3), NOW, KEEP, at(2))).toEqual({ kind: 'truncated', endOffset: 2 })
    expect(await log.truncateTo(at(9), NOW, KEEP, at(2))).toEqual({ kind: 'truncated', endOffset: 2 })
    expect(log.logEndOffset).toBe(2)
  })

  it('takes no append from the call on until it is durable', async () => {
    const { log } = newLog()
    follow(log, led(['a'], 0, 1), 1)
    follow(log, led(['b'], 1, 1), 1)
    const cutting = log.truncateTo(at(1), NOW, KEEP)
    const meanwhile = log.appendReplicated(led(['x'], 2, 1), NOW, { epoch: epoch(1) })
    expect(meanwhile).toMatchObject({ kind: 'refused', reason: 'unavailable' })
    await cutting
    follow(log, led(['y'], 1, 2), 2)
    expect((await readAll(log)).map(([, value]) => value)).toEqual(['a', 'y'])
  })

  it('forgets the epochs and the producers of what is gone, also when they were not read yet', async () => {
    const { log, context } = newLog()
    follow(log, led(['a'], 0, 1, { producerId: 7, producerEpoch: 0, baseSequence: 0 }), 1)
    follow(log, led(['b'], 1, 2, { producerId: 7, producerEpoch: 0, baseSequence: 1 }), 2)
    const clean = await log.closeClean(NOW)
    if (clean === undefined) throw new Error('not closed clean')
    const again = openLog(createStorageContext(context.disk), DIRECTORY, log.config, clean)
    await again.truncateTo(at(1), NOW, KEEP)
    expect([again.latestEpoch, again.epochEndOffset(epoch(2))]).toEqual([1, { epoch: 1, endOffset: 1 }])
    expect(again.append(numbered(['c'], 7, 1), epoch(3), NOW)).toMatchObject({ kind: 'appended', baseOffset: 1 })
  })

  it('keeps what it takes for a day', async () => {
    const { log, disk } = newLog({ 'segment.bytes': '1024' })
    for (let offset = 0; offset < 6; offset++) follow(log, led(['x'.repeat(400)], offset, 1), 1)
    await log.truncateTo(at(1), NOW, KEEP)
    const kept = (): string[] => disk.list(DIRECTORY).filter((name) => name.endsWith('.truncated'))
    expect(kept()).toEqual([
      `${'0'.repeat(20)}-470.${NOW}.truncated`,
      `${'2'.padStart(20, '0')}-0.${NOW}.truncated`,
      `${'4'.padStart(20, '0')}-0.${NOW}.truncated`,
    ])
    await log.applyRetention(time(NOW + 86_399_999))
    expect(kept()).toHaveLength(3)
    await log.applyRetention(time(NOW + 86_400_000))
    expect(kept()).toEqual([])
  })

  it('puts the log offline when it fails half way, for the next process too', async () => {
    const disk = new SimDisk({ clock: new SetClock() })
    disk.makeDirectory('data')
    const { log } = newLog({}, { disk })
    follow(log, led(['a'], 0, 1), 1)
    follow(log, led(['b'], 1, 1), 1)
    disk.options = { clock: new SetClock(), fault: ({ kind }) => (kind === 'sync' ? { code: 'EIO' } : undefined) }
    await expect(log.truncateTo(at(1), NOW, KEEP)).rejects.toMatchObject({ code: 'STORAGE_ERROR' })
    expect(log.state.kind).toBe('offline')
    expect(disk.list(DIRECTORY)).toContain('sync-failed')
    await expect(log.truncateTo(at(0), NOW, KEEP)).rejects.toMatchObject({ code: 'STORAGE_ERROR' })
  })
})

describe('a follower that its leader has left behind', () => {
  it('goes on where the leader’s log begins', async () => {
    const { log, context, disk } = newLog()
    follow(log, led(['a', 'b'], 0, 1), 1)
    await log.skipTo(at(100), KEEP)
    expect(log.latestEpoch).toBe(1)
    expect(log).toMatchObject({ logStartOffset: 100, logEndOffset: 100, writtenEndOffset: 100, recoveryPoint: 100 })
    expect(disk.list(DIRECTORY).filter((name) => name.endsWith('.log'))).toEqual([`${'100'.padStart(20, '0')}.log`])
    follow(log, led(['c'], 100, 2), 2)
    expect(await readAll(log, 100)).toEqual([[100, 'c']])
    const clean = await log.closeClean(NOW)
    if (clean === undefined) throw new Error('not closed clean')
    const again = openLog(createStorageContext(context.disk), DIRECTORY, log.config, clean)
    expect(await readAll(again, 100)).toEqual([[100, 'c']])
    expect(again.epochEndOffset(epoch(2))).toEqual({ epoch: 2, endOffset: 101 })
  })

  it('knows no producer of what it gives up, now and after a start', async () => {
    const { log, context, disk } = newLog()
    follow(log, stamped(numbered(['a'], 9, 0), 0, 1), 1)
    log.snapshotProducers(NOW)
    const clean = await log.closeClean(NOW)
    if (clean === undefined) throw new Error('not closed clean')
    const again = openLog(context, DIRECTORY, log.config, clean)
    expect(producerFiles(disk)).toEqual([`${'1'.padStart(20, '0')}.producers`])
    await again.skipTo(at(100), KEEP)
    expect(producerFiles(disk)).toEqual([`${'100'.padStart(20, '0')}.producers`])
    // Its batches 1 to 6 were acknowledged by leaders, and this replica leads now.
    expect(put(again, numbered(['b'], 9, 7), epoch(2))).toBe(100)
    again.close()
    const kernel = { recoveryPoint: undefined, kernelLived: true, now: NOW }
    const last = await recoverLog({
      context: createStorageContext(disk),
      directory: DIRECTORY,
      config: log.config,
      ...kernel,
    })
    expect(put(last.log, numbered(['c'], 9, 8), epoch(2))).toBe(101)
  })

  it('stays there when it is where it is already', async () => {
    const { log } = newLog()
    follow(log, led(['a', 'b'], 0, 1), 1)
    await log.skipTo(at(2), KEEP)
    expect(log).toMatchObject({ logStartOffset: 2, logEndOffset: 2 })
    follow(log, led(['c'], 2, 1), 1)
    expect(await readAll(log, 2)).toEqual([[2, 'c']])
  })
})

describe('an empty log', () => {
  it('of a follower begins where the leader’s does', () => {
    const disk = new MemoryDisk(new SetClock())
    const log = createLog(createStorageContext(disk), DIRECTORY, parseTopicConfig({}), 7 as Offset)
    follow(log, led(['a'], 7, 3), 3)
    expect(log.logEndOffset).toBe(8)
  })
})
