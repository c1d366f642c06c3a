import { describe, expect, it } from 'vitest'
import type { LogDirectory } from '../../broker/storage/log-directory.ts'
import type { BrokerId, LeaderEpoch, Offset, TimestampMs } from '../../shared/ids.ts'
import { topicId } from '../../shared/ids.ts'
import { openDirectory } from '../simulation/crash-workload.ts'
import type { SimFault, SimOperation } from '../simulation/sim-disk.ts'
import { SimDisk } from '../simulation/sim-disk.ts'
import { SimTime } from '../simulation/sim-time.ts'
import { batch, put } from './log-fixture.ts'

const TOPIC = topicId('00000000-0000-4000-8000-000000000001')
const OTHER = topicId('00000000-0000-4000-8000-000000000002')
const PROMISE = { topicId: TOPIC, partition: 0, epoch: 7 as LeaderEpoch, leaderId: 3 as BrokerId }

function open(disk: SimDisk): Promise<LogDirectory> {
  return openDirectory(disk, new SimTime(), 1)
}

async function create(directory: LogDirectory, id = TOPIC, config: Record<string, string> = {}): Promise<void> {
  await directory.createTopic({
    topicId: id,
    name: id === TOPIC ? 'one' : 'other',
    partitions: 2,
    replicationFactor: 3,
    config,
    version: 1,
    createdAt: 0 as TimestampMs,
  })
}

/** A directory with a topic of two partitions, one record in the first; it is running. */
async function started(): Promise<{ disk: SimDisk; directory: LogDirectory }> {
  const disk = new SimDisk({ clock: new SimTime() })
  const directory = await open(disk)
  await create(directory)
  const log = directory.log(TOPIC, 0)
  if (log === undefined) throw new Error('no log')
  put(log, batch(['a']))
  await directory.flush()
  return { disk, directory }
}

function fault(disk: SimDisk, when: (operation: SimOperation) => SimFault | undefined): void {
  disk.options = { clock: disk.options.clock, fault: when }
}

function suspects(directory: LogDirectory): boolean[] {
  return [0, 1].map((partition) => directory.isSuspect(TOPIC, partition))
}

describe('a start', () => {
  it('is counted, and trusts a directory that is new, was stopped in order or outlived by its kernel', async () => {
    const { disk, directory } = await started()
    expect(directory.startFacts).toEqual({
      directoryId: directory.identity.directoryId,
      incarnation: 1,
      isClean: false,
      kernelLived: false,
      hadSyncFailure: false,
      suspectSince: 0,
      failedSince: 0,
      hasLostPromises: false,
    })
    const killed = await open(disk.kill())
    expect(killed.startFacts).toMatchObject({ incarnation: 2, isClean: false, kernelLived: true, suspectSince: 0 })
    await directory.stop()
    const clean = await open(disk.crash({ kind: 'none' }))
    expect(clean.startFacts).toMatchObject({ incarnation: 2, isClean: true, kernelLived: false, suspectSince: 0 })
  })

  it('suspects every replica after a power loss, through later stops, until its leader trusts it', async () => {
    const { disk } = await started()
    const lost = disk.crash({ kind: 'none' })
    const first = await open(lost)
    expect(first.startFacts).toMatchObject({ incarnation: 2, isClean: false, kernelLived: false, suspectSince: 2 })
    await first.stop()
    const second = await open(lost)
    expect(second.startFacts).toMatchObject({ incarnation: 3, isClean: true, suspectSince: 2 })
    expect(suspects(second)).toEqual([true, true])
    await second.promises.trust([{ topicId: TOPIC, partition: 1 }], 3)
    const third = await open(lost.kill())
    expect(suspects(third)).toEqual([true, false])
    const fourth = await open(lost.crash({ kind: 'none' }))
    expect(suspects(fourth)).toEqual([true, true])
  })

  it('does not suspect what was only counted when it was synced, unless a sync has failed', async () => {
    const disk = new SimDisk({ clock: new SimTime() })
    await create(await open(disk), TOPIC, { durability: 'fsync' })
    const directory = await open(disk.crash({ kind: 'none' }))
    expect(directory.startFacts).toMatchObject({ suspectSince: 2, failedSince: 0 })
    expect(suspects(directory)).toEqual([false, false])
    const log = directory.log(TOPIC, 0)
    if (log === undefined) throw new Error('no log')
    put(log, batch(['a']))
    const { disk: used } = directory.context
    if (!(used instanceof SimDisk)) throw new Error('another disk')
    fault(used, (operation) => (operation.kind === 'sync' ? { code: 'EIO' } : undefined))
    await expect(log.sync()).rejects.toMatchObject({ code: 'STORAGE_ERROR' })
    const failed = await open(used.kill())
    expect(failed.startFacts).toMatchObject({ suspectSince: 3, failedSince: 3 })
    expect(suspects(failed)).toEqual([true, true])
    await failed.stop()
    expect(suspects(await open(used.kill()))).toEqual([true, true])
  })

  it('does not suspect replicas that are made afterwards', async () => {
    const { disk } = await started()
    const lost = disk.crash({ kind: 'none' })
    const directory = await open(lost)
    await create(directory, OTHER)
    expect([directory.isSuspect(OTHER, 0), directory.isSuspect(TOPIC, 0)]).toEqual([false, true])
    expect((await open(lost.kill())).isSuspect(OTHER, 1)).toBe(false)
  })

  it('suspects them wherever it is killed while it finds out', async () => {
    const { disk } = await started()
    const moments: SimDisk[] = []
    const lost = disk.crash({ kind: 'none' })
    lost.options = { clock: lost.options.clock, onOperation: (_operation, now) => void moments.push(now.fork()) }
    await open(lost)
    expect(moments.length).toBeGreaterThan(20)
    for (const [index, moment] of moments.entries()) {
      const again = await open(moment)
      expect(suspects(again), `killed before operation ${index}`).toEqual([true, true])
      expect((await open(moment.crash({ kind: 'none' }))).startFacts.incarnation ?? 0).toBeGreaterThan(
        again.startFacts.incarnation ?? Infinity,
      )
    }
  })

  it('trusts a directory that was stopped in order wherever the start after it is ended', async () => {
    const { disk, directory } = await started()
    await directory.stop()
    const moments: SimDisk[] = []
    disk.options = { clock: disk.options.clock, onOperation: (_operation, now) => void moments.push(now.fork()) }
    await open(disk)
    for (const [index, moment] of moments.entries()) {
      expect(suspects(await open(moment.kill())), `killed before operation ${index}`).toEqual([false, false])
      // Once the mark is gone records may have been appended.
      const isMarked = moment.stat('/data/clean-shutdown') !== undefined
      const after = await open(moment.crash({ kind: 'none' }))
      expect(isMarked && suspects(after).includes(true), `power lost before operation ${index}`).toBe(false)
    }
  })

  it('suspects every replica after a failed sync, although the kernel has lived on', async () => {
    const { disk, directory } = await started()
    const log = directory.log(TOPIC, 0)
    if (log === undefined) throw new Error('no log')
    put(log, batch(['b']))
    fault(disk, (operation) => (operation.kind === 'sync' ? { code: 'EIO' } : undefined))
    await expect(log.sync()).rejects.toMatchObject({ code: 'STORAGE_ERROR' })
    const next = await open(disk.kill())
    expect(next.startFacts).toMatchObject({ kernelLived: true, hadSyncFailure: true, suspectSince: 2, failedSince: 2 })
  })

  it('has no incarnation on a full disk, and nothing is trusted for it later', async () => {
    const { disk } = await started()
    const full = disk.crash({ kind: 'none' })
    full.capacityBytes = 0
    const directory = await open(full)
    expect(directory.startFacts).toMatchObject({ incarnation: undefined, suspectSince: 2 })
    full.capacityBytes = 1_000_000_000
    await directory.stop()
    expect(suspects(await open(full))).toEqual([true, true])
  })
})

describe('a directory that was put back to what it was', () => {
  it('takes another id, keeps its promises and counts on under it', async () => {
    const { disk, directory } = await started()
    const id = directory.identity.directoryId
    await directory.promises.record([PROMISE])
    await directory.stop()
    const snapshot = disk.fork()
    const next = await open(disk)
    const { incarnation: starts } = next.startFacts
    expect(await next.compareStarts({ directoryId: id, starts: 1 })).toBe(false)
    expect(await next.compareStarts({ directoryId: 'another', starts: 9 })).toBe(false)
    expect(await next.compareStarts({ directoryId: id })).toBe(false)
    expect(await next.compareStarts(undefined)).toBe(false)
    // Others have heard of the start that the snapshot knows nothing of.
    const old = await openDirectory(snapshot, new SimTime(), 2)
    expect(await old.compareStarts({ directoryId: id, ...(starts === undefined ? {} : { starts }) })).toBe(true)
    const renewed = old.identity.directoryId
    expect([renewed === id, old.startFacts.directoryId]).toEqual([false, renewed])
    await old.promises.record([{ ...PROMISE, partition: 1 }])
    for (const ended of [snapshot.kill(), snapshot.crash({ kind: 'none' })]) {
      const later = await open(ended)
      expect(later.identity).toMatchObject({ directoryId: renewed, formerIds: [id] })
      expect([later.startFacts.hasLostPromises, later.promises.get(TOPIC, 0)]).toEqual([false, PROMISE])
      expect(later.promises.get(TOPIC, 1)?.epoch).toBe(7)
    }
    await old.stop()
    const clean = await open(snapshot)
    expect(clean.startFacts).toMatchObject({ directoryId: renewed, isClean: true, hasLostPromises: false })
    await clean.stop()
    const again = await open(snapshot)
    expect(again.startFacts.hasLostPromises).toBe(false)
  })

  it('keeps its id where the new one could not be written', async () => {
    const { disk, directory } = await started()
    const { directoryId } = directory.identity
    fault(disk, (operation) => (operation.path.includes('identity') ? { code: 'ENOSPC' } : undefined))
    const compared = directory.compareStarts({ directoryId, starts: 1 })
    await expect(compared).rejects.toMatchObject({ code: 'DISK_FULL' })
    expect(directory.identity.directoryId).toBe(directoryId)
  })
})

describe('the promises of a directory', () => {
  it('are there after a power loss, and gone with their topic', async () => {
    const { disk, directory } = await started()
    await directory.promises.record([PROMISE])
    expect((await open(disk.crash({ kind: 'none' }))).promises.get(TOPIC, 0)).toEqual(PROMISE)
    await directory.deleteTopic(TOPIC)
    expect(directory.promises.count).toBe(0)
    expect((await open(disk.crash({ kind: 'none' }))).promises.count).toBe(0)
  })

  it('are said to be lost, for good, when their file is damaged or gone', async () => {
    const { disk, directory } = await started()
    await directory.promises.record([PROMISE])
    await directory.stop()
    const gone = disk.kill()
    gone.remove('/data/promises')
    expect((await open(gone)).startFacts.hasLostPromises).toBe(true)
    const bytes = disk.readFile('/data/promises')
    bytes[50] = (bytes[50] ?? 0) ^ 1
    disk.writeFile('/data/promises', bytes)
    const damaged = await open(disk)
    expect(damaged.startFacts.hasLostPromises).toBe(true)
    expect(damaged.promises.get(TOPIC, 0)).toBeUndefined()
    expect(disk.readFile('/data/promises.corrupt')).toEqual(bytes)
    await damaged.promises.record([PROMISE])
    await damaged.stop()
    const later = await open(disk)
    expect([later.startFacts.hasLostPromises, later.promises.get(TOPIC, 0)]).toEqual([true, PROMISE])
  })
})

describe('the high watermarks of a directory', () => {
  it('are written with the recovery points and known at the next start, as long as there is the topic', async () => {
    const { disk, directory } = await started()
    directory.highWatermarks.note(TOPIC, 0, 1 as Offset)
    await directory.stop()
    const next = await open(disk)
    expect([next.highWatermarks.get(TOPIC, 0), next.highWatermarks.get(TOPIC, 1)]).toEqual([1, undefined])
    await next.deleteTopic(TOPIC)
    await next.stop()
    expect((await open(disk)).highWatermarks.get(TOPIC, 0)).toBeUndefined()
  })

  it('are done without when their file is damaged', async () => {
    const { disk, directory } = await started()
    directory.highWatermarks.note(TOPIC, 0, 1 as Offset)
    await directory.stop()
    disk.writeFile('/data/high-watermarks', new Uint8Array(30))
    expect((await open(disk)).highWatermarks.get(TOPIC, 0)).toBeUndefined()
  })
})
