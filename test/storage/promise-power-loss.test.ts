// A promise journal on a disk that loses, tears and reorders what was not synced, ended before every operation of many
// short lives. Whatever ends it, no promise that was given is taken back, nothing is promised that nobody asked for, and
// the journal is never taken for damaged. The failing seed and operation stand in the message.

import { describe, expect, it } from 'vitest'
import type { JournalMark } from '../../broker/storage/promise-frames.ts'
import type { LeaderPromise } from '../../broker/storage/promise-journal.ts'
import { PromiseJournal } from '../../broker/storage/promise-journal.ts'
import type { BrokerId, LeaderEpoch } from '../../shared/ids.ts'
import { topicId } from '../../shared/ids.ts'
import type { Random } from '../../shared/random.ts'
import { seededRandom } from '../../shared/random.ts'
import type { CrashChoice, SimFault, SimOperation } from '../simulation/sim-disk.ts'
import { SimDisk } from '../simulation/sim-disk.ts'
import { SetClock } from './log-fixture.ts'

const OWNER = '00000000-0000-4000-8000-00000000000d'
const TOPICS = [1, 2, 3].map((digit) => topicId(`00000000-0000-4000-8000-00000000000${digit}`))
const PARTITIONS = 4
const LIVES = 14
const STEPS = 14

type Known = ReadonlyMap<string, LeaderPromise>

interface Moment {
  readonly disk: SimDisk
  readonly operation: SimOperation
  readonly given: Known
  readonly asked: ReadonlySet<string>
  readonly deleted: ReadonlySet<string>
  readonly mark: JournalMark | undefined
}

interface State {
  readonly name: string
  readonly disk: SimDisk
  readonly kernelLived: boolean
}

function open(disk: SimDisk, kernelLived: boolean, mark: JournalMark | undefined): Promise<PromiseJournal> {
  return PromiseJournal.open({ disk, path: 'data/promises', directoryId: OWNER, kernelLived, mark, spareBytes: 300 })
}

function replicaOf(promise: LeaderPromise): string {
  return `${promise.topicId}-${promise.partition}`
}

function textOf(promise: LeaderPromise): string {
  return `${replicaOf(promise)} ${promise.epoch} ${promise.leaderId}`
}

/** Lives, and is photographed before each operation. Sometimes a write fails for want of space, sometimes it restarts. */
async function live(seed: number): Promise<Moment[]> {
  const random = seededRandom(seed)
  const disk = new SimDisk({ clock: new SetClock() })
  disk.makeDirectory('data')
  for (const path of ['.', 'data']) await disk.syncDirectory(path)
  const moments: Moment[] = []
  const given = new Map<string, LeaderPromise>()
  const asked = new Set<string>()
  const deleted = new Set<string>()
  let journal = await open(disk, true, undefined)
  let epoch = 0
  let isFull = false
  // The mark is saved now and then, so that an old one is what a start often finds.
  let mark: JournalMark | undefined
  disk.options = {
    clock: disk.options.clock,
    fault: (operation): SimFault | undefined =>
      isFull && operation.kind === 'append' ? { code: 'ENOSPC', bytesDone: random.integer(60) } : undefined,
    onOperation: (operation, now) => {
      if (operation.kind === 'read' || operation.kind === 'open') return
      const known = { given: new Map(given), asked: new Set(asked), deleted: new Set(deleted) }
      moments.push({ disk: now.fork(), operation, ...known, mark })
    },
  }
  const record = async (): Promise<void> => {
    const promises: LeaderPromise[] = []
    const partitions = 1 + random.integer(random.integer(3) === 0 ? 30 : PARTITIONS)
    const topic = TOPICS[random.integer(TOPICS.length)] ?? TOPICS[0]
    if (topic === undefined || deleted.has(topic)) return
    epoch += 1 + random.integer(2)
    for (let partition = 0; partition < partitions; partition++) {
      promises.push({
        topicId: topic,
        partition,
        epoch: epoch as LeaderEpoch,
        leaderId: random.integer(5) as BrokerId,
      })
    }
    for (const promise of promises) asked.add(textOf(promise))
    await journal.record(promises).catch(() => promises.splice(0))
    for (const promise of promises) {
      const before = given.get(replicaOf(promise))
      if (before === undefined || before.epoch < promise.epoch) given.set(replicaOf(promise), promise)
    }
  }
  for (let step = 0; step < STEPS; step++) {
    const kind = random.integer(12)
    isFull = kind === 0
    if (kind === 1) {
      const topic = TOPICS[step % TOPICS.length]
      if (topic === undefined || step < STEPS / 2) continue
      deleted.add(topic)
      await journal.forget(topic)
    } else if (kind === 2) {
      await journal.close()
      journal = await open(disk, true, mark)
    } else {
      await Promise.all(Array.from({ length: 1 + random.integer(3) }, record))
    }
    if (random.integer(3) === 0) mark = journal.mark
  }
  return moments
}

function* statesOf({ disk, operation }: Moment, random: Random): IterableIterator<State> {
  const kill = (name: string, killed: SimDisk): State => ({ name, disk: killed, kernelLived: true })
  yield kill('kill', disk.kill())
  const { content } = operation
  if (content !== undefined) {
    for (const bytes of new Set([1, random.integer(content.length), content.length - 1])) {
      const cut = disk.kill()
      const file = cut.open(operation.path, 'read-write')
      file.append([content.subarray(0, bytes)])
      file.close()
      yield kill(`kill with ${bytes} of ${content.length} bytes written`, cut)
    }
  }
  const choices: CrashChoice[] = [
    { kind: 'none' },
    { kind: 'all' },
    { kind: 'names', sizes: false },
    { kind: 'names', sizes: true },
    { kind: 'data' },
    ...Array.from({ length: disk.unsyncedEffects }, (_, effects): CrashChoice => {
      return { kind: 'prefix', effects, bytes: random.integer(200) }
    }),
    ...Array.from({ length: disk.unsyncedEffects === 0 ? 0 : 5 }, (): CrashChoice => ({ kind: 'random', random })),
  ]
  const distinct = disk.unsyncedEffects === 0 ? choices.slice(0, 1) : choices
  for (const choice of distinct) yield { name: choice.kind, disk: disk.crash(choice), kernelLived: false }
}

function check(journal: PromiseJournal, moment: Moment, what: string): string {
  const found: string[] = []
  for (const topic of TOPICS) {
    for (let partition = 0; partition < 31; partition++) {
      const promise = journal.get(topic, partition)
      const owed = moment.given.get(`${topic}-${partition}`)
      if (promise !== undefined) {
        found.push(textOf(promise))
        if (!moment.asked.has(textOf(promise))) throw new Error(`${what}: nobody asked for ${textOf(promise)}`)
      }
      if (owed === undefined || moment.deleted.has(topic)) continue
      const isKept =
        promise !== undefined &&
        (promise.epoch > owed.epoch || (promise.epoch === owed.epoch && promise.leaderId === owed.leaderId))
      expect(isKept, `${what}: ${textOf(owed)} became ${promise === undefined ? 'nothing' : textOf(promise)}`).toBe(
        true,
      )
    }
  }
  return found.join()
}

/** The next life promises more and loses power too. */
async function goOn(journal: PromiseJournal, disk: SimDisk, random: Random, what: string): Promise<void> {
  const promises = TOPICS.map((topic): LeaderPromise => {
    return { topicId: topic, partition: 1, epoch: 1_000 as LeaderEpoch, leaderId: 1 as BrokerId }
  })
  await journal.record(promises)
  const again = await open(disk.crash({ kind: 'random', random }), false, journal.mark)
  for (const promise of promises) expect(again.get(promise.topicId, 1), what).toEqual(promise)
}

describe('after a power loss or a kill', () => {
  it('no promise is taken back', async () => {
    let states = 0
    for (let seed = 1; seed <= LIVES; seed++) {
      for (const [index, moment] of (await live(seed)).entries()) {
        const random = seededRandom(seed * 10_000 + index)
        for (const state of statesOf(moment, random)) {
          const { kind, path } = moment.operation
          const what = `seed ${seed}, moment ${index}, before ${kind} ${path}: ${state.name}`
          states++
          const first = await open(state.disk, state.kernelLived, moment.mark)
          const found = check(first, moment, what)
          const left = states % 2 === 0 ? state.disk.kill() : state.disk.crash({ kind: 'none' })
          const second = await open(left, states % 2 === 0, first.mark)
          expect(check(second, moment, what), what).toBe(found)
          if (states % 4 === 0) await goOn(second, left, random, what)
        }
      }
    }
    expect(states).toBeGreaterThan(3_000)
  }, 120_000)
})
