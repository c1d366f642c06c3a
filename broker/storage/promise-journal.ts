// What the replicas of a data directory have promised to leaders, and which of them are trusted: kept in memory, and in one
// file that many promises share a write and a sync of. Owns when a promise is durable, and that none is ever taken back;
// knows nothing of elections.
//
// Invariants: what `get` answers is on stable storage; a promise never falls, in memory or through any crash; no frame is
// written before the one ahead of it is on stable storage; after a failed sync nothing is written or promised any more.

import { TidemarkError } from '../../shared/errors.ts'
import type { BrokerId, LeaderEpoch, TopicId } from '../../shared/ids.ts'
import { parentOf, TEMPORARY_SUFFIX } from './checkpoint-file.ts'
import type { Disk, File } from './disk.ts'
import { DiskError } from './disk.ts'
import { syncNames } from './failed-sync.ts'
import { failureOf } from './log-failure.ts'
import type { JournalEntry, JournalMark } from './promise-frames.ts'
import {
  decodeJournal,
  encodeFrame,
  encodeJournalHeader,
  ENTRY_BYTES,
  FRAME_HEADER_BYTES,
  JOURNAL_HEADER_BYTES,
} from './promise-frames.ts'

/** The file is written anew when it has so many bytes more than twice of what it would need. */
const SPARE_BYTES_DEFAULT = 256 * 1024
const REPLICAS_MAX_DEFAULT = 200_000

export interface LeaderPromise {
  readonly topicId: TopicId
  readonly partition: number
  readonly epoch: LeaderEpoch
  readonly leaderId: BrokerId
}

export interface PromiseJournalOptions {
  readonly disk: Disk
  readonly path: string
  readonly directoryId: string
  /** Ids that the directory had before. */
  readonly formerIds?: readonly string[] | undefined
  /** Whether the page cache has outlived the last writer. */
  readonly kernelLived: boolean
  /** What is proven to have been synced; see `mark`. */
  readonly mark?: JournalMark | undefined
  /** Topics of which nothing need be known any more. */
  readonly isDeleted?: (topicId: TopicId) => boolean
  /** Replicas that something is known of, at most. */
  readonly replicasMax?: number
  readonly spareBytes?: number
}

/** What is known of one replica. */
interface ReplicaNote {
  readonly epoch: number | undefined
  readonly leaderId: number
  readonly trustedIn: number
}

interface Promised {
  readonly epoch: number
  readonly leaderId: number
}

const NOTHING: ReplicaNote = { epoch: undefined, leaderId: -1, trustedIn: 0 }

type Notes = Map<TopicId, Map<number, ReplicaNote>>

export class PromiseJournal {
  readonly #options: PromiseJournalOptions
  readonly #replicasMax: number
  readonly #spareBytes: number
  readonly #notes: Notes = new Map()
  #count = 0
  #generation = 0
  /** The file of this generation, which ends where the last good frame does; undefined until it was written anew. */
  #file: File | undefined
  /** Waits for the next round; at most one entry of a kind for each replica. */
  #pending = new Map<string, JournalEntry>()
  /** Is being written. */
  #inFlight: ReadonlyMap<string, JournalEntry> = new Map()
  #nextRound: Promise<void> | undefined
  #lastRound: Promise<void> = Promise.resolve()
  #mark: JournalMark | undefined
  #failure: TidemarkError | undefined
  #isClosed = false

  /**
   * Reads the journal, if there is one, and writes it anew, so that nothing stands on what a process before has not synced.
   * @throws FILE_CORRUPT when it is not known what was promised, DIRECTORY_FORMAT_UNKNOWN, DiskError
   */
  static async open(options: PromiseJournalOptions): Promise<PromiseJournal> {
    const journal = new PromiseJournal(options)
    if (journal.#load()) {
      // On a full disk the next record tries again. Any other failure is the next record's too.
      await journal.#enqueue().catch(() => undefined)
    }
    return journal
  }

  private constructor(options: PromiseJournalOptions) {
    this.#options = options
    this.#replicasMax = options.replicasMax ?? REPLICAS_MAX_DEFAULT
    this.#spareBytes = options.spareBytes ?? SPARE_BYTES_DEFAULT
  }

  /** Replicas that something is known of. */
  get count(): number {
    return this.#count
  }

  /** Why nothing can be promised any more in this process. */
  get failure(): TidemarkError | undefined {
    return this.#failure
  }

  /** Bytes of the file; 0 as long as there is none. */
  get bytes(): number {
    return this.#file?.size ?? 0
  }

  /** What is proven to have been synced by now; undefined as long as nothing is. Whoever opens the file may be told. */
  get mark(): JournalMark | undefined {
    return this.#mark
  }

  /** The promise of this replica that is on stable storage. */
  get(topicId: TopicId, partition: number): LeaderPromise | undefined {
    const note = this.#notes.get(topicId)?.get(partition)
    if (note?.epoch === undefined) return undefined
    return { topicId, partition, epoch: note.epoch as LeaderEpoch, leaderId: note.leaderId as BrokerId }
  }

  /** The incarnation that this replica was last trusted in; 0 when it never was. */
  trustedIn(topicId: TopicId, partition: number): number {
    return this.#notes.get(topicId)?.get(partition)?.trustedIn ?? 0
  }

  /**
   * Promises all of these or none; they, or later ones of the same replicas, are on stable storage when it resolves. Calls
   * that come together share one sync. A promise that was made before is kept. When it rejects with anything but
   * STORAGE_ERROR, nothing has changed.
   * @throws FENCED_LEADER_EPOCH when one would take back an earlier one, DISK_FULL, TOO_MANY_PARTITIONS, STORAGE_ERROR
   */
  record(promises: readonly LeaderPromise[]): Promise<void> {
    const known = this.#file !== undefined
    if (known && this.#failure === undefined && promises.every((promise) => this.#holds(promise))) {
      return Promise.resolve()
    }
    const asked = new Map<string, LeaderPromise>()
    for (const promise of promises) {
      const key = keyOf({ kind: 'promise', ...promise })
      const newest = asked.get(key) ?? this.#newestOf(promise)
      asked.set(key, promise)
      if (newest === undefined || isAbove(promise, newest)) continue
      const text = `the replica ${promise.topicId}-${promise.partition} has promised epoch ${newest.epoch} to broker ${newest.leaderId}`
      const request = `, and is asked for epoch ${promise.epoch} by broker ${promise.leaderId}`
      return Promise.reject(new TidemarkError('FENCED_LEADER_EPOCH', text + request))
    }
    return this.#add(promises.map((promise) => ({ kind: 'promise', ...promise })))
  }

  /** Notes that these replicas were found complete in this incarnation; durable when it resolves. @throws as record */
  trust(
    replicas: readonly { readonly topicId: TopicId; readonly partition: number }[],
    incarnation: number,
  ): Promise<void> {
    return this.#add(replicas.map(({ topicId, partition }) => ({ kind: 'trust', topicId, partition, incarnation })))
  }

  /** Forgets the replicas of a topic that is deleted for good. @throws DISK_FULL, STORAGE_ERROR */
  forget(topicId: TopicId): Promise<void> {
    const isKnown = this.#notes.has(topicId) || [...this.#entriesOnTheWay()].some((entry) => entry.topicId === topicId)
    return isKnown ? this.#add([{ kind: 'forgotten', topicId }]) : Promise.resolve()
  }

  /** Resolves when nothing is on its way and the file is closed. What waits is still written. */
  async close(): Promise<void> {
    this.#isClosed = true
    await (this.#nextRound ?? this.#lastRound).catch(() => undefined)
    this.#file?.close()
  }

  #holds(promise: LeaderPromise): boolean {
    const note = this.#notes.get(promise.topicId)?.get(promise.partition)
    if (note?.epoch !== promise.epoch || note.leaderId !== promise.leaderId) return false
    const key = keyOf({ kind: 'promise', ...promise })
    return !this.#pending.has(key) && !this.#inFlight.has(key)
  }

  /** The promise that must not be taken back, durable or on its way. */
  #newestOf(promise: LeaderPromise): Promised | undefined {
    const key = keyOf({ kind: 'promise', ...promise })
    const onTheWay = this.#pending.get(key) ?? this.#inFlight.get(key)
    return onTheWay?.kind === 'promise' ? onTheWay : this.get(promise.topicId, promise.partition)
  }

  *#entriesOnTheWay(): IterableIterator<JournalEntry> {
    yield* this.#inFlight.values()
    yield* this.#pending.values()
  }

  #add(entries: readonly JournalEntry[]): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure)
    if (this.#isClosed) return Promise.reject(new TidemarkError('SHUTTING_DOWN'))
    if (entries.length === 0) return Promise.resolve()
    const known = this.#count + this.#inFlight.size + this.#pending.size
    if (known + entries.length > this.#replicasMax && this.#countOfNew(entries) + known > this.#replicasMax) {
      const text = `promises of ${this.#replicasMax} replicas are kept at most`
      return Promise.reject(new TidemarkError('TOO_MANY_PARTITIONS', text))
    }
    for (const entry of entries) {
      const key = keyOf(entry)
      // Behind what it replaces: an entry that is forgotten and promised anew is read in this order.
      this.#pending.delete(key)
      this.#pending.set(key, entry)
    }
    return this.#enqueue()
  }

  #countOfNew(entries: readonly JournalEntry[]): number {
    let count = 0
    for (const entry of entries) {
      if (entry.kind !== 'forgotten' && this.#notes.get(entry.topicId)?.get(entry.partition) === undefined) count++
    }
    return count
  }

  /** All that is pending when the round before has ended is one write. */
  #enqueue(): Promise<void> {
    if (this.#nextRound === undefined) {
      this.#nextRound = this.#lastRound.then(() => {
        this.#nextRound = undefined
        return this.#round()
      })
      this.#lastRound = this.#nextRound.catch(() => undefined)
    }
    return this.#nextRound
  }

  async #round(): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure
    this.#inFlight = this.#pending
    this.#pending = new Map()
    const entries = [...this.#inFlight.values()]
    try {
      const isLarge = this.bytes + entries.length * ENTRY_BYTES > 2 * this.#neededBytes() + this.#spareBytes
      if (this.#file === undefined) await this.#writeAnew(entries)
      else if (!isLarge || !(await this.#maybeWriteAnew(entries))) await this.#append(this.#file, entries)
      this.#mark = { generation: this.#generation, bytes: this.bytes }
      for (const entry of entries) this.#apply(entry)
    } finally {
      this.#inFlight = new Map()
    }
  }

  async #append(file: File, entries: readonly JournalEntry[]): Promise<void> {
    const { size } = file
    try {
      file.append([encodeFrame(entries, this.#generation, size)])
    } catch (error) {
      const failure = failureOf(error, `nothing can be promised: ${this.#options.path} cannot be written`)
      try {
        file.truncate(size)
      } catch (truncateError) {
        throw this.#fail(truncateError)
      }
      throw failure
    }
    try {
      await file.sync()
    } catch (error) {
      throw this.#fail(error)
    }
  }

  /** Answers false when there was no space for it, and all is as before. */
  async #maybeWriteAnew(entries: readonly JournalEntry[]): Promise<boolean> {
    try {
      await this.#writeAnew(entries)
      return true
    } catch (error) {
      if (this.#failure === undefined && error instanceof TidemarkError && error.code === 'DISK_FULL') return false
      throw error
    }
  }

  /** Puts a file of the next generation in the place of the present one, with these entries behind what is known. */
  async #writeAnew(entries: readonly JournalEntry[]): Promise<void> {
    const { disk, path, directoryId } = this.#options
    const temporary = path + TEMPORARY_SUFFIX
    const generation = this.#generation + 1
    const header = encodeJournalHeader(generation, directoryId)
    const frame = encodeFrame([...this.#snapshot(), ...entries], generation, header.length)
    let file: File
    try {
      disk.remove(temporary)
      file = disk.open(temporary, 'create')
    } catch (error) {
      throw failureOf(error, `nothing can be promised: ${temporary} cannot be made`)
    }
    try {
      file.append([header, frame])
    } catch (error) {
      file.close()
      const failure = failureOf(error, `nothing can be promised: ${temporary} cannot be written`)
      this.#removeQuietly(temporary)
      throw failure
    }
    try {
      await file.sync()
      file.close()
      disk.rename(temporary, path)
      await syncNames(disk, parentOf(path))
      const renamed = disk.open(path, 'read-write')
      this.#file?.close()
      this.#file = renamed
    } catch (error) {
      file.close()
      throw this.#fail(error)
    }
    this.#generation = generation
  }

  #removeQuietly(path: string): void {
    try {
      this.#options.disk.remove(path)
    } catch (error) {
      if (!(error instanceof DiskError)) throw error
    }
  }

  /** What the file holds is not known any more. */
  #fail(error: unknown): TidemarkError {
    if (!(error instanceof DiskError)) throw error
    const text = `nothing can be promised any more: ${this.#options.path} has failed: ${error.message}`
    this.#failure = new TidemarkError('STORAGE_ERROR', text, { cause: error })
    return this.#failure
  }

  /** Answers whether there is a file. */
  #load(): boolean {
    const { disk, path, mark, isDeleted } = this.#options
    let content: Uint8Array
    try {
      content = disk.readFile(path)
    } catch (error) {
      if (!(error instanceof DiskError) || error.code !== 'ENOENT') throw error
      if (mark === undefined) return false
      throw new TidemarkError('FILE_CORRUPT', `${path} is missing, and there were promises in it`)
    }
    const found = decodeJournal(content, { ...this.#options, mark }, (entry) => this.#apply(entry))
    this.#generation = found.generation
    for (const topicId of this.#notes.keys()) {
      if (isDeleted?.(topicId) === true) this.#apply({ kind: 'forgotten', topicId })
    }
    return true
  }

  #apply(entry: JournalEntry): void {
    const { topicId } = entry
    if (entry.kind === 'forgotten') {
      this.#count -= this.#notes.get(topicId)?.size ?? 0
      this.#notes.delete(topicId)
      return
    }
    let replicas = this.#notes.get(topicId)
    if (replicas === undefined) this.#notes.set(topicId, (replicas = new Map<number, ReplicaNote>()))
    const note = replicas.get(entry.partition)
    if (note === undefined) this.#count++
    const { epoch, leaderId, trustedIn } = note ?? NOTHING
    replicas.set(
      entry.partition,
      entry.kind === 'promise'
        ? { epoch: entry.epoch, leaderId: entry.leaderId, trustedIn }
        : { epoch, leaderId, trustedIn: Math.max(trustedIn, entry.incarnation) },
    )
  }

  #snapshot(): JournalEntry[] {
    const entries: JournalEntry[] = []
    for (const [topicId, replicas] of this.#notes) {
      for (const [partition, { epoch, leaderId, trustedIn }] of replicas) {
        if (epoch !== undefined) entries.push({ kind: 'promise', topicId, partition, epoch, leaderId })
        if (trustedIn > 0) entries.push({ kind: 'trust', topicId, partition, incarnation: trustedIn })
      }
    }
    return entries
  }

  /** Bytes of a file that was just written anew, at most. */
  #neededBytes(): number {
    return JOURNAL_HEADER_BYTES + FRAME_HEADER_BYTES + 2 * this.#count * ENTRY_BYTES
  }
}

function isAbove(promise: Promised, newest: Promised): boolean {
  if (promise.epoch !== newest.epoch) return promise.epoch > newest.epoch
  return promise.leaderId === newest.leaderId
}

function keyOf(entry: JournalEntry): string {
  return entry.kind === 'forgotten' ? `forgotten ${entry.topicId}` : `${entry.kind} ${entry.topicId} ${entry.partition}`
}
