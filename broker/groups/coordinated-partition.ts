// One leadership of one partition of the offsets topic: reads what is in it, then runs the groups that are kept there, and
// writes down what they ask for, one batch a turn. Owns that nothing is answered for before all has been read, and that all
// that it has begun ends with it.
//
// Invariants: what is written down is settled in the order of the log; nothing is settled as done under another leadership.

import type { LeaderEpoch, Offset } from '../../shared/ids.ts'
import type { Timers } from '../../shared/time.ts'
import type { Delayed } from '../replication/delayed-operations.ts'
import type { Partition } from '../replication/partition.ts'
import type { GroupRefusal } from './group-events.ts'
import type { GroupRecord } from './group-records.ts'
import type { GroupAppend, GroupHost } from './group.ts'
import type { GroupOptions } from './group-state.ts'
import { offset } from '../../shared/ids.ts'
import { RECORD_OVERHEAD_BYTES_MAX } from '../../shared/record-batch/format.ts'
import { batchBytes } from '../../shared/record-batch/header.ts'
import { BatchBuilder } from '../../shared/record-batch/encode.ts'
import { sleep } from '../../shared/time.ts'
import { notDelayed } from '../replication/delayed-operations.ts'
import { PendingProduce } from '../replication/pending-produce.ts'
import { Group } from './group.ts'
import { generationFloor } from './group-generation.ts'
import { GroupLoad } from './group-load.ts'

export interface CoordinatedOptions extends Omit<GroupHost, 'append' | 'onBlank'> {
  readonly timers: Timers
  readonly groups: Omit<GroupOptions, 'leaderEpoch' | 'isEpochKept' | 'generationBase'>
  /** How long anybody waits for the offsets topic to take something. */
  readonly commitTimeoutMs: number
  /** Groups that this broker may coordinate, at most, and that it does. */
  readonly groupsMax: number
  readonly groupCount: () => number
  onGroup(group: Group): void
  onGroupGone(group: Group): void
}

/** Bytes that are read, and then worked through, in one go: a few milliseconds. */
const LOAD_BYTES = 128 * 1024
const LOAD_RETRY_MS = 1_000
/** Groups and offsets that are put in their places in one go once all has been read. */
const PLACED_AT_ONCE = 5_000
/** What is written down at the same time without having been settled, at most. */
const UNSETTLED_MAX = 100_000
/** Bytes of a batch in which several entries are: small, so that it is read in a moment. */
const BATCH_BYTES = 64 * 1024
/** Bytes that the header of a batch and the lengths in it add, generously. */
const BATCH_ROOM = 1_024

interface Entry {
  readonly append: GroupAppend
  /** Batches that it is in and that are not settled. */
  batches: number
  refusal: GroupRefusal | undefined
  isSettled: boolean
}

export class CoordinatedPartition {
  readonly number: number
  readonly partition: Partition
  readonly epoch: LeaderEpoch
  readonly #options: CoordinatedOptions
  readonly #host: GroupHost
  readonly #groups = new Map<string, Group>()
  #state: 'loading' | 'serving' | 'over' = 'loading'
  #generationBase: number
  #isEpochKept: boolean
  readonly #staged: Entry[] = []
  readonly #unsettled = new Set<Entry>()
  readonly #builder = new BatchBuilder()
  #isScheduled = false
  readonly #ending = new AbortController()
  #wake: (() => void) | undefined

  /** `generationBase`: what an earlier leadership of the same epoch has given out here. */
  constructor(number: number, partition: Partition, options: CoordinatedOptions, generationBase: number) {
    this.number = number
    this.partition = partition
    this.epoch = partition.leaderEpoch
    this.#options = options
    this.#generationBase = Math.max(generationFloor(this.epoch), generationBase)
    this.#isEpochKept = partition.log.latestEpoch === this.epoch
    this.#host = {
      clock: options.clock,
      logger: options.logger,
      delayed: options.delayed,
      append: (append) => this.#append(append),
      onBlank: (group) => this.#onBlank(group),
    }
  }

  get isServing(): boolean {
    return this.#state === 'serving'
  }

  /** No group here has been given a higher generation. */
  get generationMax(): number {
    let highest = this.#generationBase
    for (const { state } of this.#groups.values()) highest = Math.max(highest, state.generation)
    return highest
  }

  groups(): IterableIterator<Group> {
    return this.#groups.values()
  }

  find(name: string): Group | undefined {
    return this.#groups.get(name)
  }

  /** The group, made if there is none; undefined when this broker has as many as it may. */
  findOrMake(name: string): Group | undefined {
    const found = this.#groups.get(name)
    if (found !== undefined) return found
    if (this.#options.groupCount() >= this.#options.groupsMax) return undefined
    return this.#add(new Group(name, this.#host, this.#groupOptions()))
  }

  /** The high watermark has moved. */
  onReadable(): void {
    this.#wake?.()
  }

  /** Reads all that is there; serves when it resolves, unless the leadership is over by then. */
  async load(): Promise<void> {
    const { clock, logger } = this.#options
    const startedMs = clock.monotonic()
    const load = new GroupLoad()
    // What is appended from now on is this leadership's own.
    const endOffset = this.partition.log.logEndOffset
    let position = this.partition.logStartOffset
    while (!this.#isOver && position < endOffset) {
      if (position >= this.partition.highWatermark) await this.#whenReadable()
      else position = await this.#loadSlice(load, position)
      await this.#nextTurn()
    }
    this.#generationBase = Math.max(this.#generationBase, load.generationMax)
    let made = 0
    let placed = 0
    for (const { name, stored, offsets } of load.groups()) {
      if (this.#isOver) return
      const group = this.#add(new Group(name, this.#host, this.#groupOptions(), stored))
      for (const [key, committed] of offsets) group.offsets.put(key, committed)
      made += 1
      placed += 1 + offsets.length
      if (placed < PLACED_AT_ONCE) continue
      placed = 0
      await this.#nextTurn()
    }
    if (this.#isOver) return
    this.#state = 'serving'
    const tookMs = Math.round(clock.monotonic() - startedMs)
    const facts = { partition: this.number, leaderEpoch: this.epoch, groups: made, records: load.records, tookMs }
    logger.info(facts, 'coordinates the groups of a partition')
    if (load.skipped > 0)
      logger.warn({ partition: this.number, records: load.skipped }, 'records of groups were skipped')
  }

  /** The leadership is over: whoever waits is told so. Idempotent. */
  end(): void {
    if (this.#state === 'over') return
    this.#state = 'over'
    this.#ending.abort()
    this.#wake?.()
    this.#generationBase = this.generationMax
    for (const group of [...this.#groups.values()]) group.onCoordinatorLost()
    for (const entry of [...this.#unsettled]) this.#settle(entry, MOVED)
    this.#staged.length = 0
    for (const group of this.#groups.values()) this.#options.onGroupGone(group)
    this.#groups.clear()
  }

  get #isOver(): boolean {
    return this.#state === 'over'
  }

  #groupOptions(): GroupOptions {
    const isEpochKept = (): boolean => this.#isEpochKept
    return { ...this.#options.groups, leaderEpoch: this.epoch, isEpochKept, generationBase: this.#generationBase }
  }

  #add(group: Group): Group {
    this.#groups.set(group.name, group)
    this.#options.onGroup(group)
    return group
  }

  #onBlank(group: Group): void {
    if (this.#groups.get(group.name) !== group) return
    this.#groups.delete(group.name)
    // One that comes under its name is not to be taken for it.
    this.#generationBase = Math.max(this.#generationBase, group.state.generation)
    this.#options.onGroupGone(group)
  }

  async #loadSlice(load: GroupLoad, position: Offset): Promise<Offset> {
    const outcome = await this.partition.read(position, LOAD_BYTES)
    if (this.#isOver) {
      if (outcome.kind === 'records') outcome.slice.release()
      return position
    }
    if (outcome.kind === 'refused') {
      const { error, message } = outcome.refusal
      this.#options.logger.error(
        { partition: this.number, error, reason: message },
        'groups cannot be read; tried again',
      )
      await sleep(this.#options.timers, LOAD_RETRY_MS, this.#ending.signal).catch(() => undefined)
      return position
    }
    const { slice } = outcome
    try {
      for (let at = 0; at < slice.bytes.length; at += batchBytes(slice.bytes, at)) {
        load.addBatch(slice.bytes, at, position)
      }
      // Nothing to read below the high watermark: compaction or a trim has left nothing.
      return slice.endOffset > position ? slice.endOffset : offset(position + 1)
    } finally {
      slice.release()
    }
  }

  #whenReadable(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = () => {
        this.#wake = undefined
        resolve()
      }
    })
  }

  #nextTurn(): Promise<void> {
    return new Promise((resolve) => this.#options.timers.atEndOfTurn(resolve))
  }

  #append(append: GroupAppend): void {
    const entry: Entry = { append, batches: 0, refusal: undefined, isSettled: false }
    this.#unsettled.add(entry)
    this.#staged.push(entry)
    if (this.#isScheduled) return
    this.#isScheduled = true
    this.#options.timers.atEndOfTurn(() => this.#write())
  }

  /** All that was asked for in this turn goes into one batch, or into as many as it takes. */
  #write(): void {
    this.#isScheduled = false
    const staged = this.#staged.splice(0)
    if (this.#isOver) return
    const { maxMessageBytes, segmentBytes } = this.partition.config
    const bytesMax = Math.min(maxMessageBytes, segmentBytes)
    let entries = new Set<Entry>()
    for (const entry of staged) {
      const why = this.#whyNotWrite(entry, bytesMax)
      if (why !== undefined) {
        this.#settle(entry, why)
        continue
      }
      const timestamp = this.#options.clock.now()
      // One entry is not split unless it must be: half of it would be kept if the other half were not.
      if (this.#builder.recordCount > 0 && this.#builder.byteLength + bytesOf(entry.append.records) > BATCH_BYTES) {
        this.#writeBatch(entries)
        entries = new Set()
      }
      for (const { key, value } of entry.append.records) {
        const record = { key, value, timestamp }
        if (this.#builder.recordCount > 0 && !this.#builder.wouldFit(record, bytesMax)) {
          this.#writeBatch(entries)
          entries = new Set()
        }
        this.#builder.append(record)
        if (!entries.has(entry)) entry.batches += 1
        entries.add(entry)
      }
      if (entry.append.records.length === 0) this.#settle(entry, undefined)
    }
    if (entries.size > 0) this.#writeBatch(entries)
    // Nobody is left to add to this turn's write.
    this.partition.flush()
  }

  #whyNotWrite({ append }: Entry, bytesMax: number): GroupRefusal | undefined {
    if (this.#unsettled.size > UNSETTLED_MAX) {
      return { error: 'COORDINATOR_NOT_AVAILABLE', message: 'too much is waiting for the offsets topic' }
    }
    for (const { key, value } of append.records) {
      const bytes = key.length + (value?.length ?? 0) + BATCH_ROOM
      if (bytes <= bytesMax) continue
      const message = `a record of ${bytes} bytes does not fit the offsets topic, which takes ${bytesMax}`
      return { error: 'INVALID_COMMIT_OFFSET_SIZE', message }
    }
    return undefined
  }

  #writeBatch(entries: ReadonlySet<Entry>): void {
    const records = this.#builder.finish()
    this.#builder.reset()
    const late = new LateBatch(entries)
    const produce = new PendingProduce(
      ([append]) => {
        this.#options.delayed.cancel(late)
        this.#onBatchSettled(entries, append?.refusal === undefined ? undefined : refusalOf(append.refusal))
      },
      () => undefined,
    )
    const append = produce.add()
    this.#options.delayed.tryPark(late, this.#options.commitTimeoutMs)
    const now = this.#options.clock.now()
    this.partition.append({ records, leaderEpoch: this.epoch, acks: -1, now }, append)
    produce.close()
  }

  #onBatchSettled(entries: ReadonlySet<Entry>, refusal: GroupRefusal | undefined): void {
    if (refusal === undefined) this.#isEpochKept = true
    for (const entry of entries) {
      entry.batches -= 1
      entry.refusal ??= refusal
      // Its later batches come later.
      if (entry.batches === 0) this.#settle(entry, entry.refusal)
    }
  }

  #settle(entry: Entry, refusal: GroupRefusal | undefined): void {
    if (entry.isSettled) return
    entry.isSettled = true
    this.#unsettled.delete(entry)
    entry.append.onSettled(refusal)
  }
}

function bytesOf(records: readonly GroupRecord[]): number {
  let bytes = 0
  for (const { key, value } of records) bytes += key.length + (value?.length ?? 0) + RECORD_OVERHEAD_BYTES_MAX
  return bytes
}

/** A batch that nobody waits for any more once its time is up; it may be taken later all the same. */
class LateBatch implements Delayed {
  readonly delay = notDelayed()
  readonly #entries: ReadonlySet<Entry>

  constructor(entries: ReadonlySet<Entry>) {
    this.#entries = entries
  }

  onDeadline(): void {
    for (const { append, isSettled } of this.#entries) if (!isSettled) append.onLate()
  }
}

const MOVED: GroupRefusal = { error: 'NOT_COORDINATOR', message: 'the group is coordinated by another broker now' }

/** Why the log has not taken it, as a member can act on it. */
function refusalOf({ error, message }: GroupRefusal): GroupRefusal {
  switch (error) {
    case 'NOT_LEADER_OR_FOLLOWER':
    case 'FENCED_LEADER_EPOCH':
    case 'UNKNOWN_LEADER_EPOCH':
    case 'STORAGE_ERROR':
      return { error: 'NOT_COORDINATOR', message }
    case 'MESSAGE_TOO_LARGE':
    case 'RECORD_LIST_TOO_LARGE':
      return { error: 'INVALID_COMMIT_OFFSET_SIZE', message }
    case 'REQUEST_TIMED_OUT':
      return { error, message }
    default:
      return { error: 'COORDINATOR_NOT_AVAILABLE', message }
  }
}
