// A disk that fails at one operation, whichever: nothing that was acknowledged is lost, nothing is acknowledged that is not
// there, reading goes on, and a disk that was only full is written to again without a restart.

import { describe, expect, it } from 'vitest'
import { CrashWorkload } from '../simulation/crash-workload.ts'
import { openDirectory } from '../simulation/crash-workload.ts'
import type { SimFault, SimOperation, SimOperationKind } from '../simulation/sim-disk.ts'
import { SimDisk } from '../simulation/sim-disk.ts'
import { seededRandom } from '../../shared/random.ts'
import { SimTime } from '../simulation/sim-time.ts'

const STEPS = 25
const WRITES: readonly SimOperationKind[] = ['append', 'write', 'create', 'rename', 'make-directory']
const REMOVALS: readonly SimOperationKind[] = ['truncate', 'remove', 'remove-tree', 'rename']
const SYNCS: readonly SimOperationKind[] = ['sync', 'sync-directory']

interface Life {
  readonly disk: SimDisk
  readonly workload: CrashWorkload
  readonly operations: SimOperation[]
  /** The indexes of the operations that belong to a compaction. */
  readonly compacting: Set<number>
}

interface LifeOptions {
  readonly fault?: (operation: SimOperation) => SimFault | undefined
  /** Some topics have replicas on other brokers, and they come and go. */
  readonly assigns?: boolean
  /** Most topics are compacted. */
  readonly compacts?: boolean
}

async function live(seed: number, { fault, assigns = false, compacts = false }: LifeOptions = {}): Promise<Life> {
  const time = new SimTime()
  const operations: SimOperation[] = []
  const compacting = new Set<number>()
  const disk = new SimDisk({
    clock: time,
    onOperation: (operation) => {
      if (operation.kind === 'read' || operation.kind === 'open') return
      operations.push(operation)
      if (workload.current === 'compact') compacting.add(operation.index)
    },
    fault,
  })
  const workload: CrashWorkload = new CrashWorkload(disk, time, seed, { assigns, compacts })
  await workload.start()
  for (let step = 0; step < STEPS; step++) await workload.step()
  disk.options = { clock: time }
  return { disk, workload, operations, compacting }
}

/** What is wrong with what is there now, after a kill and after a power loss. */
async function faultsOf({ disk, workload }: Life): Promise<string[]> {
  const faults: string[] = []
  const killed = await openDirectory(disk.kill(), new SimTime(), 1)
  for (const fault of (await workload.oracle.check(killed, 'kill')).faults) faults.push(`after a kill: ${fault}`)
  const lost = await openDirectory(disk.crash({ kind: 'none' }), new SimTime(), 1)
  for (const fault of (await workload.oracle.check(lost, 'power loss')).faults)
    faults.push(`after a power loss: ${fault}`)
  return faults
}

/** The same, when what was left is compacted by the next life, and the power fails then. */
async function faultsAfterCompaction(life: Life): Promise<string[]> {
  const faults = await faultsOf(life)
  const disk = life.disk.kill()
  const next = await openDirectory(disk, new SimTime(), 1)
  await next.flush()
  await next.cleaner.compactNow({ isForced: true })
  for (const fault of (await life.workload.oracle.check(next, 'kill')).faults) faults.push(`compacted again: ${fault}`)
  const lost = await openDirectory(disk.crash({ kind: 'random', random: seededRandom(1) }), new SimTime(), 1)
  const { faults: found } = await life.workload.oracle.check(lost, 'power loss')
  for (const fault of found) faults.push(`after the next power loss: ${fault}`)
  return faults
}

/** One life for each operation of the given kinds in the life without a fault. */
async function failEach(
  seed: number,
  kinds: readonly SimOperationKind[],
  failure: (operation: SimOperation) => SimFault,
  judge: (life: Life) => Promise<string[]>,
  options: Pick<LifeOptions, 'assigns' | 'compacts'> = {},
): Promise<{ lives: number; faults: string[] }> {
  const { operations, compacting } = await live(seed, options)
  // A directory that cannot be opened at all at first is another matter.
  const first = operations.findIndex(({ kind }) => kind === 'append')
  const isAmong = ({ kind, index }: SimOperation): boolean =>
    kinds.includes(kind) && (options.compacts !== true || compacting.has(index))
  const targets = operations.slice(first).filter(isAmong)
  const faults: string[] = []
  for (const { index, kind, path } of targets) {
    const fault = (operation: SimOperation): SimFault | undefined =>
      operation.index === index && kinds.includes(operation.kind) ? failure(operation) : undefined
    const life = await live(seed, { fault, ...options })
    for (const what of await judge(life)) faults.push(`seed ${seed}, ${kind} ${path} fails (${index}): ${what}`)
  }
  return { lives: targets.length, faults }
}

const half = (operation: SimOperation): number => (operation.content?.length ?? 0) >> 1

describe('a disk that fails once', () => {
  it.each([1, 2, 3])(
    'is full at any write: nothing is harmed, and writing goes on without a restart (seed %i)',
    async (seed) => {
      const { lives, faults } = await failEach(
        seed,
        WRITES,
        (operation) => ({ code: 'ENOSPC', bytesDone: half(operation) }),
        async (life) => {
          const refusals = await life.workload.appendEverywhere()
          return [...refusals, ...(await faultsOf(life))]
        },
      )
      expect(faults).toEqual([])
      expect(lives).toBeGreaterThan(30)
    },
  )

  it.each([1, 2, 3, 6, 8, 9, 11, 13, 26, 29])(
    'fails at any sync: what was not synced is not acknowledged, then or later (seed %i)',
    async (seed) => {
      const { lives, faults } = await failEach(seed, SYNCS, () => ({ code: 'EIO' }), faultsOf)
      expect(faults).toEqual([])
      expect(lives).toBeGreaterThan(30)
    },
  )

  it.each([1, 2, 3])('fails at any other operation: what was acknowledged is there (seed %i)', async (seed) => {
    const kinds = [...WRITES, ...REMOVALS]
    const { lives, faults } = await failEach(
      seed,
      kinds,
      (operation) => ({ code: 'EIO', bytesDone: half(operation) }),
      faultsOf,
    )
    expect(faults).toEqual([])
    expect(lives).toBeGreaterThan(30)
  })

  it.each([1, 5, 7, 9])(
    'fails at any operation while replicas come and go: none counts for more (seed %i)',
    async (seed) => {
      const kinds = [...WRITES, ...REMOVALS, ...SYNCS]
      const { lives, faults } = await failEach(seed, kinds, () => ({ code: 'EIO' }), faultsOf, { assigns: true })
      expect(faults).toEqual([])
      expect(lives).toBeGreaterThan(30)
    },
  )

  it.each([4, 23, 37])(
    'fails at any operation of a compaction: of every key the last record is there (seed %i)',
    async (seed) => {
      const kinds = [...WRITES, ...REMOVALS, ...SYNCS]
      const { lives, faults } = await failEach(seed, kinds, () => ({ code: 'EIO' }), faultsAfterCompaction, {
        compacts: true,
      })
      expect(faults).toEqual([])
      expect(lives).toBeGreaterThan(30)
    },
  )

  it.each([13])('is full at any write of a compaction, and writing goes on (seed %i)', async (seed) => {
    const full = (operation: SimOperation): SimFault => ({ code: 'ENOSPC', bytesDone: half(operation) })
    const judge = async (life: Life): Promise<string[]> => {
      const refusals = await life.workload.appendEverywhere()
      return [...refusals, ...(await faultsOf(life))]
    }
    const { lives, faults } = await failEach(seed, WRITES, full, judge, { compacts: true })
    expect(faults).toEqual([])
    expect(lives).toBeGreaterThan(30)
  })
})
