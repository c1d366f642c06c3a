// What the batches of a log add up to, on a disk that loses, tears and reorders what was not synced: leader epochs and
// voters records. A log is appended to, trimmed, cut and moved on, and ended before every operation. Whatever ends it, and
// however often before anything is appended again, both are those of the log that is found.

import { describe, expect, it } from 'vitest'
import { parseTopicConfig } from '../../broker/storage/log-config.ts'
import type { LogCheckpoint } from '../../broker/storage/log-description.ts'
import { createLog } from '../../broker/storage/log-opening.ts'
import type { PartitionLog } from '../../broker/storage/partition-log.ts'
import { recoverLog } from '../../broker/storage/recovery.ts'
import { createStorageContext } from '../../broker/storage/storage-context.ts'
import type { VotersRecord } from '../../broker/storage/voters-history.ts'
import { encodeVotersRecord } from '../../broker/storage/voters-record.ts'
import { brokerId } from '../../shared/ids.ts'
import type { Random } from '../../shared/random.ts'
import { seededRandom } from '../../shared/random.ts'
import type { VoterSet } from '../../shared/voters.ts'
import type { CrashChoice, SimOperation } from '../simulation/sim-disk.ts'
import { SimDisk } from '../simulation/sim-disk.ts'
import { at, batch, DIRECTORY, epoch, NOW, SetClock } from './log-fixture.ts'

const CONFIG = parseTopicConfig({ 'segment.bytes': '1024', 'index.interval.bytes': '100' })
const LIVES = 5
const STEPS = 40

interface Batch {
  readonly offset: number
  readonly endOffset: number
  readonly epoch: number
  readonly voters: VotersRecord | undefined
}

/** What a log has been given, the trimmed part too. */
interface Truth {
  /** Of a log that begins below, an earlier truth tells. */
  readonly from: number
  /** In force below `from`. */
  readonly before: VotersRecord | undefined
  readonly batches: readonly Batch[]
}

interface Moment {
  readonly disk: SimDisk
  readonly operation: SimOperation
  readonly checkpoint: LogCheckpoint
  readonly truths: readonly Truth[]
}

function someVoters(random: Random): VoterSet {
  const voters = Array.from({ length: 1 + random.integer(3) }, (_, id) => {
    return { brokerId: brokerId(id + 1), directoryId: random.uuid() }
  })
  return { voters, minInSyncReplicas: 1 }
}

class Life {
  readonly moments: Moment[] = []
  readonly #random: Random
  readonly #log: PartitionLog
  #checkpoint: LogCheckpoint
  #truths: Truth[] = [{ from: 0, before: undefined, batches: [] }]
  #epoch = 0

  constructor(seed: number, disk: SimDisk, log: PartitionLog) {
    this.#random = seededRandom(seed)
    this.#log = log
    this.#checkpoint = log.checkpoint()
    disk.options = {
      clock: disk.options.clock,
      onOperation: (operation, now) => {
        if (operation.kind === 'read' || operation.kind === 'open') return
        const truths = this.#truths.slice()
        this.moments.push({ disk: now.fork(), operation, checkpoint: this.#checkpoint, truths })
      },
    }
  }

  get #truth(): Truth {
    const last = this.#truths[this.#truths.length - 1]
    if (last === undefined) throw new Error('no truth')
    return last
  }

  async step(): Promise<void> {
    const kind = this.#random.integer(12)
    if (kind < 3) this.#append()
    else if (kind < 5) this.#appendVoters()
    else if (kind === 5) this.#epoch += 1
    else if (kind < 8) await this.#sync()
    else if (kind < 10) await this.#trim()
    else if (kind === 10) await this.#cut()
    else if (this.#random.integer(3) === 0) await this.#skip()
  }

  #append(): void {
    const values = Array.from({ length: 1 + this.#random.integer(3) }, () => 'x'.repeat(this.#random.integer(200)))
    this.#appended(this.#log.append(batch(values), epoch(this.#epoch), NOW), undefined)
  }

  #appendVoters(): void {
    const set = someVoters(this.#random)
    const next = this.#random.integer(2) === 0 ? undefined : someVoters(this.#random)
    const result = this.#log.appendControl(encodeVotersRecord(set, next), epoch(this.#epoch), NOW)
    this.#appended(result, { set, next })
  }

  #appended(result: ReturnType<PartitionLog['append']>, sets: Pick<VotersRecord, 'set' | 'next'> | undefined): void {
    if (result.kind !== 'appended') throw new Error(JSON.stringify(result))
    const { baseOffset: offset, endOffset } = result
    const voters = sets === undefined ? undefined : { offset, ...sets }
    const { from, before, batches } = this.#truth
    const added = { offset, endOffset, epoch: this.#epoch, voters }
    this.#truths[this.#truths.length - 1] = { from, before, batches: [...batches, added] }
    if (this.#random.integer(3) === 0) return
    const failure = this.#log.write()
    if (failure !== undefined) throw failure
  }

  async #sync(): Promise<void> {
    this.#log.write()
    await this.#log.sync()
    if (this.#random.integer(2) === 0) this.#checkpoint = this.#log.checkpoint()
  }

  async #trim(): Promise<void> {
    const { logStartOffset, writtenEndOffset } = this.#log
    const isAll = this.#random.integer(3) === 0
    const to = isAll ? writtenEndOffset : logStartOffset + this.#random.integer(writtenEndOffset - logStartOffset + 1)
    await this.#log.advanceLogStartOffset(at(to))
  }

  async #cut(): Promise<void> {
    this.#log.write()
    const { from, before, batches } = this.#truth
    const bases = batches.map(({ offset }) => offset).filter((offset) => offset >= this.#log.logStartOffset)
    const to = bases[this.#random.integer(Math.max(1, bases.length))]
    if (to === undefined) return
    await this.#log.truncateTo(at(to), NOW, () => this.#save())
    this.#truths = [{ from, before, batches: batches.filter(({ offset }) => offset < to) }]
  }

  async #skip(): Promise<void> {
    this.#log.write()
    const from = at(this.#log.logEndOffset + this.#random.integer(5))
    const isKnown = this.#random.integer(3) > 0 && from > 0
    const offset = at(this.#random.integer(Math.max(1, from)))
    const before = isKnown ? { offset, set: someVoters(this.#random), next: undefined } : undefined
    const truth = { from, before, batches: [] }
    this.#truths.push(truth)
    await this.#log.skipTo(from, () => this.#save(), before)
    this.#truths = [truth]
  }

  #save(): Promise<void> {
    this.#checkpoint = this.#log.checkpoint()
    return Promise.resolve()
  }
}

async function live(seed: number): Promise<Moment[]> {
  const clock = new SetClock()
  const disk = new SimDisk({ clock })
  disk.makeDirectory('data')
  const log = createLog(createStorageContext(disk, { hotTailBytes: 0 }), DIRECTORY, CONFIG)
  for (const path of ['.', 'data', DIRECTORY]) await disk.syncDirectory(path)
  const life = new Life(seed, disk, log)
  for (let step = 0; step < STEPS; step++) await life.step()
  return life.moments
}

function recover(disk: SimDisk, { recoveryPoint, logStartOffset }: LogCheckpoint, kernelLived: boolean) {
  const context = createStorageContext(disk, { hotTailBytes: 0 })
  const known = { recoveryPoint, logStartOffset, kernelLived }
  return recoverLog({ context, directory: DIRECTORY, config: CONFIG, now: NOW, ...known })
}

function check(log: PartitionLog, truths: readonly Truth[], what: string): void {
  const { logStartOffset, logEndOffset } = log
  const truth = truths.findLast(({ from }) => from <= logStartOffset)
  if (truth === undefined) throw new Error(`${what}: the log begins at ${logStartOffset}`)
  const batches = truth.batches.filter(({ endOffset }) => endOffset <= logEndOffset)
  const voters = [...(truth.before === undefined ? [] : [truth.before]), ...batches.flatMap((one) => one.voters ?? [])]
  const first = Math.max(
    0,
    voters.findLastIndex(({ offset }) => offset < logStartOffset),
  )
  expect(log.votersRecords, what).toEqual(voters.slice(first))
  // Of a log that has moved on it is told which epoch it is in, by whoever has it move.
  const latest = batches[batches.length - 1]?.epoch ?? log.latestEpoch
  expect(log.latestEpoch, what).toBe(latest)
  const present = batches.filter(({ offset }) => offset >= logStartOffset)
  const found = present.map(({ offset }) => log.epochAt(at(offset)))
  expect(found, what).toEqual(present.map((one) => one.epoch))
}

function* statesOf({ disk }: Moment, random: Random): IterableIterator<[string, SimDisk, boolean]> {
  yield ['kill', disk.kill(), true]
  const choices: CrashChoice[] = [{ kind: 'none' }]
  if (disk.unsyncedEffects > 0) {
    choices.push({ kind: 'all' }, { kind: 'data' }, { kind: 'names', sizes: true }, { kind: 'names', sizes: false })
    for (let count = 0; count < 2; count++) choices.push({ kind: 'random', random })
  }
  for (const choice of choices) yield [choice.kind, disk.crash(choice), false]
}

describe('after a power loss or a kill, and another one', () => {
  it('the leader epochs and the voters of a log are those of its batches', async () => {
    let states = 0
    for (let seed = 1; seed <= LIVES; seed++) {
      for (const [index, moment] of (await live(seed)).entries()) {
        const random = seededRandom(seed * 10_000 + index)
        for (const [name, disk, isKill] of statesOf(moment, random)) {
          const { kind, path } = moment.operation
          const what = `seed ${seed}, moment ${index}, before ${kind} ${path}: ${name}`
          states++
          const { log } = await recover(disk, moment.checkpoint, isKill)
          expect(log.quarantined, what).toEqual([])
          check(log, moment.truths, what)
          const next = disk.crash({ kind: 'random', random })
          const again = await recover(next, log.checkpoint(), false)
          check(again.log, moment.truths, `${what}, and another power loss`)
          await again.log.sync()
          const last = await recover(next.crash({ kind: 'none' }), again.log.checkpoint(), false)
          check(last.log, moment.truths, `${what}, and a sync and a power loss`)
        }
      }
    }
    expect(states).toBeGreaterThan(1_000)
  }, 120_000)
})
