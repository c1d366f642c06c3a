import { describe, expect, it } from 'vitest'
import { MemoryDisk } from '../../broker/storage/memory-disk.ts'
import type { LeaderPromise, PromiseJournalOptions } from '../../broker/storage/promise-journal.ts'
import { PromiseJournal } from '../../broker/storage/promise-journal.ts'
import { TidemarkError } from '../../shared/errors.ts'
import type { BrokerId, LeaderEpoch } from '../../shared/ids.ts'
import { topicId } from '../../shared/ids.ts'
import { SimDisk } from '../simulation/sim-disk.ts'
import type { SimFault, SimOperation } from '../simulation/sim-disk.ts'
import { SetClock } from './log-fixture.ts'

const PATH = 'data/promises'
const OWNER = '00000000-0000-4000-8000-00000000000d'
const TOPIC = topicId('00000000-0000-4000-8000-000000000001')
const OTHER = topicId('00000000-0000-4000-8000-000000000002')
/** Bytes of the header, of a frame's header and of an entry, by FORMAT.md. */
const HEADER = 32
const FRAME = 12
const ENTRY = 29

function promise(partition: number, epoch: number, leaderId: number, topic = TOPIC): LeaderPromise {
  return { topicId: topic, partition, epoch: epoch as LeaderEpoch, leaderId: leaderId as BrokerId }
}

async function newDisk(): Promise<SimDisk> {
  const disk = new SimDisk({ clock: new SetClock() })
  disk.makeDirectory('data')
  for (const path of ['.', 'data']) await disk.syncDirectory(path)
  return disk
}

function open(disk: PromiseJournalOptions['disk'], more: Partial<PromiseJournalOptions> = {}): Promise<PromiseJournal> {
  return PromiseJournal.open({ disk, path: PATH, directoryId: OWNER, kernelLived: true, ...more })
}

/** Counts the operations of each kind from now on. */
function watch(disk: SimDisk, fault?: (operation: SimOperation) => SimFault | undefined): Map<string, number> {
  const counts = new Map<string, number>()
  disk.options = {
    clock: disk.options.clock,
    fault,
    onOperation: ({ kind }) => void counts.set(kind, (counts.get(kind) ?? 0) + 1),
  }
  return counts
}

function failing(kind: string, code: string): (operation: SimOperation) => SimFault | undefined {
  return (operation) => (operation.kind === kind ? { code } : undefined)
}

describe('a promise journal', () => {
  it('leaves no file as long as nothing is promised', async () => {
    const disk = await newDisk()
    const journal = await open(disk)
    expect(journal.get(TOPIC, 0)).toBeUndefined()
    await journal.close()
    expect(disk.list('data')).toEqual([])
  })

  it('knows after a power loss what it has promised', async () => {
    const disk = await newDisk()
    const journal = await open(disk)
    await journal.record([promise(0, 3, 1), promise(7, 4, 2, OTHER)])
    await journal.record([promise(0, 5, 2)])
    const again = await open(disk.crash({ kind: 'none' }), { kernelLived: false, mark: journal.mark })
    expect(again.get(TOPIC, 0)).toEqual(promise(0, 5, 2))
    expect(again.get(OTHER, 7)).toEqual(promise(7, 4, 2, OTHER))
    expect(again.count).toBe(2)
  })

  it('makes a thousand promises with one write and one sync', async () => {
    const disk = await newDisk()
    const journal = await open(disk)
    await journal.record([promise(0, 1, 1)])
    const counts = watch(disk)
    const calls = Array.from({ length: 10 }, (_, call) =>
      journal.record(Array.from({ length: 100 }, (__, at) => promise(call * 100 + at, 2, 1))),
    )
    await Promise.all(calls)
    expect([counts.get('append'), counts.get('sync')]).toEqual([1, 1])
    expect(journal.get(TOPIC, 999)).toEqual(promise(999, 2, 1))
  })

  it('does not show a promise before it is on stable storage', async () => {
    const disk = await newDisk()
    const journal = await open(disk)
    await journal.record([promise(0, 1, 1)])
    const done = journal.record([promise(0, 2, 1)])
    expect(journal.get(TOPIC, 0)).toEqual(promise(0, 1, 1))
    await done
    expect(journal.get(TOPIC, 0)).toEqual(promise(0, 2, 1))
  })

  it('keeps one promise an epoch, and none below the newest, made or on its way', async () => {
    const disk = await newDisk()
    const journal = await open(disk)
    const first = journal.record([promise(0, 5, 1)])
    await expect(journal.record([promise(0, 5, 2)])).rejects.toMatchObject({ code: 'FENCED_LEADER_EPOCH' })
    await first
    for (const refused of [[promise(0, 5, 2)], [promise(0, 4, 1)], [promise(1, 2, 1), promise(1, 2, 2)]]) {
      await expect(journal.record(refused)).rejects.toMatchObject({ code: 'FENCED_LEADER_EPOCH' })
    }
    await expect(journal.record([promise(3, 1, 1), promise(0, 4, 1)])).rejects.toMatchObject({
      message: expect.stringMatching(/promised epoch 5 to broker 1, and is asked for epoch 4 by broker 1/) as unknown,
    })
    expect(journal.get(TOPIC, 3)).toBeUndefined()
    const counts = watch(disk)
    await journal.record([promise(0, 5, 1)])
    expect(counts.size).toBe(0)
  })

  it('forgets a deleted topic, at once or at the next start', async () => {
    const disk = await newDisk()
    const journal = await open(disk)
    await journal.record([promise(0, 5, 1), promise(0, 6, 1, OTHER)])
    await journal.forget(TOPIC)
    expect([journal.count, journal.get(TOPIC, 0)]).toEqual([1, undefined])
    const again = await open(disk.kill(), { isDeleted: (id) => id === OTHER })
    expect(again.count).toBe(0)
  })

  it('remembers in which incarnation a replica was trusted, beside its promise', async () => {
    const disk = await newDisk()
    const journal = await open(disk)
    await journal.trust([{ topicId: TOPIC, partition: 0 }], 3)
    await journal.record([promise(0, 5, 1)])
    await journal.trust([{ topicId: TOPIC, partition: 0 }], 7)
    expect([journal.trustedIn(TOPIC, 0), journal.trustedIn(TOPIC, 1)]).toEqual([7, 0])
    const again = await open(disk.kill())
    expect([again.trustedIn(TOPIC, 0), again.get(TOPIC, 0)]).toEqual([7, promise(0, 5, 1)])
  })

  it('is written anew when it is much larger than what it says', async () => {
    const disk = await newDisk()
    const journal = await open(disk, { spareBytes: 1_000 })
    for (let epoch = 0; epoch < 200; epoch++) await journal.record([promise(epoch % 3, epoch, 1)])
    expect(journal.bytes).toBeLessThan(2 * (HEADER + FRAME + 6 * ENTRY) + 1_000 + ENTRY)
    expect(journal.mark?.generation).toBeGreaterThan(3)
    expect(disk.list('data')).toEqual(['promises'])
    const again = await open(disk.crash({ kind: 'none' }), { kernelLived: false, mark: journal.mark })
    expect([0, 1, 2].map((partition) => again.get(TOPIC, partition)?.epoch)).toEqual([198, 199, 197])
  })

  it('refuses more replicas than it may know', async () => {
    const journal = await open(await newDisk(), { replicasMax: 2 })
    await journal.record([promise(0, 1, 1), promise(1, 1, 1)])
    await expect(journal.record([promise(2, 1, 1)])).rejects.toMatchObject({ code: 'TOO_MANY_PARTITIONS' })
    await journal.record([promise(1, 2, 1)])
    expect(journal.count).toBe(2)
  })

  it('takes no promise after close, and writes what was asked for before', async () => {
    const disk = await newDisk()
    const journal = await open(disk)
    const done = journal.record([promise(0, 1, 1)])
    await journal.close()
    await done
    await expect(journal.record([promise(0, 2, 1)])).rejects.toMatchObject({ code: 'SHUTTING_DOWN' })
    expect((await open(disk.kill())).get(TOPIC, 0)).toEqual(promise(0, 1, 1))
  })

  it('makes a thousand replicas known in well under a megabyte of file', async () => {
    const disk = new MemoryDisk(new SetClock())
    disk.makeDirectory('data')
    const journal = await open(disk)
    for (let epoch = 1; epoch <= 50; epoch++) {
      await journal.record(Array.from({ length: 1_000 }, (_, at) => promise(at, epoch, 1)))
    }
    expect(journal.bytes).toBeLessThan(500_000)
    expect(journal.count).toBe(1_000)
  })
})

describe('a promise journal on a failing disk', () => {
  it('promises nothing more after a failed sync, and says why', async () => {
    const disk = await newDisk()
    const journal = await open(disk)
    await journal.record([promise(0, 1, 1)])
    watch(disk, failing('sync', 'EIO'))
    await expect(journal.record([promise(0, 2, 1)])).rejects.toMatchObject({ code: 'STORAGE_ERROR' })
    watch(disk)
    await expect(journal.record([promise(0, 3, 1)])).rejects.toMatchObject({ code: 'STORAGE_ERROR' })
    expect(journal.get(TOPIC, 0)).toEqual(promise(0, 1, 1))
    expect(journal.failure?.message).toMatch(/promises has failed: .*EIO/)
  })

  it('does not build on what a failed sync may have left in the memory of the kernel', async () => {
    const disk = await newDisk()
    const journal = await open(disk)
    await journal.record([promise(0, 1, 1)])
    watch(disk, failing('sync', 'EIO'))
    await expect(journal.record([promise(0, 2, 1)])).rejects.toThrow(/EIO/)
    const next = disk.kill()
    const again = await open(next, { mark: journal.mark })
    const seen = again.get(TOPIC, 0)
    const afterwards = await open(next.crash({ kind: 'none' }), { kernelLived: false, mark: again.mark })
    expect(afterwards.get(TOPIC, 0)).toEqual(seen)
  })

  it('takes promises again when there is space again', async () => {
    const disk = await newDisk()
    const journal = await open(disk)
    await journal.record([promise(0, 1, 1)])
    watch(disk, (operation) => (operation.kind === 'append' ? { code: 'ENOSPC', bytesDone: 9 } : undefined))
    await expect(journal.record([promise(0, 2, 1)])).rejects.toMatchObject({ code: 'DISK_FULL' })
    expect(journal.failure).toBeUndefined()
    watch(disk)
    await journal.record([promise(0, 2, 2)])
    const again = await open(disk.crash({ kind: 'none' }), { kernelLived: false, mark: journal.mark })
    expect(again.get(TOPIC, 0)).toEqual(promise(0, 2, 2))
  })

  it('opens on a full disk with all that it knows, and makes it safe with the first promise', async () => {
    const disk = await newDisk()
    await (await open(disk)).record([promise(0, 1, 1)])
    const full = disk.kill()
    watch(full, failing('append', 'ENOSPC'))
    const journal = await open(full)
    expect([journal.get(TOPIC, 0), journal.failure]).toEqual([promise(0, 1, 1), undefined])
    await expect(journal.record([promise(0, 1, 1)])).rejects.toMatchObject({ code: 'DISK_FULL' })
    watch(full)
    await journal.record([promise(0, 1, 1)])
    expect(full.unsyncedEffects).toBe(0)
  })

  it('goes on in the old file when there is no space to write it anew', async () => {
    const disk = await newDisk()
    const journal = await open(disk, { spareBytes: 0 })
    await journal.record([promise(0, 1, 1)])
    watch(disk, failing('create', 'ENOSPC'))
    for (let epoch = 2; epoch < 20; epoch++) await journal.record([promise(0, epoch, 1)])
    expect(journal.mark?.generation).toBe(1)
    watch(disk)
    await journal.record([promise(0, 20, 1)])
    expect(journal.mark?.generation).toBe(2)
  })
})

describe('a damaged promise journal', () => {
  /** A journal of three frames behind the first one, and its bytes. */
  async function sample(): Promise<{ disk: SimDisk; bytes: Uint8Array; mark: PromiseJournal['mark'] }> {
    const disk = await newDisk()
    const journal = await open(disk)
    for (let epoch = 1; epoch <= 4; epoch++) await journal.record([promise(0, epoch, 1), promise(1, epoch, 2)])
    return { disk, bytes: disk.readFile(PATH), mark: journal.mark }
  }

  it('is damaged wherever a bit flips in what is known to have been synced', async () => {
    const { disk, bytes, mark } = await sample()
    for (let at = 0; at < bytes.length; at++) {
      const bad = Uint8Array.from(bytes)
      bad[at] = (bad[at] ?? 0) ^ (1 << (at % 8))
      const copy = disk.kill()
      copy.writeFile(PATH, bad)
      for (const kernelLived of [true, false]) {
        await expect(open(copy, { kernelLived, mark }), `byte ${at}`).rejects.toMatchObject({ code: 'FILE_CORRUPT' })
      }
    }
  })

  it('is damaged in the middle even if nothing is known of it, and torn at its end', async () => {
    const { disk, bytes } = await sample()
    const last = bytes.length - FRAME - 2 * ENTRY
    for (let at = 0; at < bytes.length; at++) {
      const bad = Uint8Array.from(bytes)
      bad[at] = (bad[at] ?? 0) ^ 0x10
      const copy = disk.kill()
      copy.writeFile(PATH, bad)
      const outcome = await open(copy, { kernelLived: false }).then(
        (journal) => journal.get(TOPIC, 0)?.epoch,
        (error: unknown) => (error instanceof TidemarkError ? error.code : error),
      )
      expect(outcome, `byte ${at}`).toBe(at < last ? 'FILE_CORRUPT' : 3)
    }
  })

  it('is torn where a kill has cut the last write short, and damaged where the kernel has kept all of it', async () => {
    const { disk, bytes } = await sample()
    const last = bytes.length - FRAME - 2 * ENTRY
    for (let size = last; size < bytes.length; size++) {
      const copy = disk.kill()
      copy.writeFile(PATH, bytes.subarray(0, size))
      expect((await open(copy)).get(TOPIC, 0)?.epoch, `${size} bytes`).toBe(3)
    }
    const bad = Uint8Array.from(bytes)
    bad[bytes.length - 1] = 0xff
    disk.writeFile(PATH, bad)
    await expect(open(disk)).rejects.toMatchObject({ code: 'FILE_CORRUPT' })
  })

  it('is damaged when it is missing, older than it was, of another directory or of a later version', async () => {
    const { disk, bytes, mark } = await sample()
    const other = '00000000-0000-4000-8000-00000000000e'
    await expect(open(disk.kill(), { directoryId: other })).rejects.toMatchObject({
      code: 'FILE_CORRUPT',
      message: expect.stringContaining(OWNER) as unknown,
    })
    const next = disk.kill()
    const later = await open(next, { mark })
    next.writeFile(PATH, bytes)
    await expect(open(next, { mark: later.mark })).rejects.toMatchObject({ code: 'FILE_CORRUPT' })
    next.remove(PATH)
    await expect(open(next, { mark })).rejects.toMatchObject({ code: 'FILE_CORRUPT' })
  })
})
