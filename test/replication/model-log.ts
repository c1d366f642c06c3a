// A log in memory with what a disk does to one: writes reach a cache, a sync makes the cache durable, and a loss of power
// leaves some mixture of both. Owns no rule of replication.

import type { EpochEnd, ReplicaLog } from '../../broker/replication/divergence.ts'
import { VotersHistory, type VotersRecord } from '../../broker/storage/voters-history.ts'
import type { VoterSet } from '../../shared/voters.ts'
import { must } from '../../shared/assert.ts'
import type { LeaderEpoch, Offset } from '../../shared/ids.ts'
import { offset } from '../../shared/ids.ts'
import type { LogPosition } from '../../broker/replication/replication-events.ts'
import { faultOfKeys, ModelCompaction, spentTombstones, superseded } from './model-compaction.ts'

export interface Entry {
  readonly epoch: LeaderEpoch
  /** Unique among all records of a run; 0 is the record that starts an epoch. */
  readonly value: number
  readonly lossAcceptedIn: LeaderEpoch | undefined
  /** Only in a voters record. */
  readonly voters?: { readonly set: VoterSet; readonly next: VoterSet | undefined } | undefined
  /** Compaction has taken it, and why: readers find nothing there. */
  readonly gone?: 'superseded' | 'dropped'
}

export class ModelLog implements ReplicaLog {
  /** Undefined for a topic that is not compacted. */
  readonly compaction: ModelCompaction | undefined
  readonly #durability: 'os' | 'fsync'
  #entries: Entry[] = []
  #startOffset = 0
  /** What an empty log is the beginning of. */
  #startEpoch: LeaderEpoch | undefined
  readonly #voters = new VotersHistory()
  #durable: readonly Entry[] = []
  #durableStartOffset = 0
  #durableStartEpoch: LeaderEpoch | undefined
  /** The lowest end since the last sync: below it cache and disk are equal. */
  #cutEndOffset = 0

  constructor(durability: 'os' | 'fsync', isCompacted = false) {
    this.#durability = durability
    this.compaction = isCompacted ? new ModelCompaction() : undefined
  }

  get logStartOffset(): Offset {
    return offset(this.#startOffset)
  }

  get logEndOffset(): Offset {
    return offset(this.#startOffset + this.#entries.length)
  }

  get heldEndOffset(): Offset {
    const { logEndOffset } = this
    const synced = offset(Math.min(this.#cutEndOffset, logEndOffset))
    return this.#durability === 'os' ? this.#voters.heldEndOffset(logEndOffset, synced) : synced
  }

  get votersRecords(): readonly VotersRecord[] {
    return this.#voters.records
  }

  get latestEpoch(): LeaderEpoch | undefined {
    return this.#entries[this.#entries.length - 1]?.epoch ?? this.#startEpoch
  }

  /** Damage has taken records from the middle, of which the model says nothing more. */
  hasHoles = false

  get lossAcceptedIn(): LeaderEpoch | undefined {
    return this.#entries[this.#entries.length - 1]?.lossAcceptedIn
  }

  /** Something that the disk still has has been cut off. */
  get isCut(): boolean {
    return this.#cutEndOffset < this.#durableStartOffset + this.#durable.length
  }

  at(position: number): Entry | undefined {
    return this.#entries[position - this.#startOffset]
  }

  read(from: number, count: number): readonly Entry[] {
    return this.#entries.slice(from - this.#startOffset, from - this.#startOffset + count)
  }

  epochAt(position: Offset): LeaderEpoch | undefined {
    return this.at(position)?.epoch ?? (this.#entries.length === 0 ? this.#startEpoch : undefined)
  }

  endOffsetFor(epoch: LeaderEpoch): EpochEnd | undefined {
    for (let at = this.#entries.length - 1; at >= 0; at -= 1) {
      const entry = must(this.#entries[at], 'the loop is within the log')
      if (entry.epoch <= epoch) return { epoch: entry.epoch, endOffset: offset(this.#startOffset + at + 1) }
    }
    if (this.#entries.length > 0 || this.#startEpoch === undefined || this.#startEpoch > epoch) return undefined
    return { epoch: this.#startEpoch, endOffset: this.logEndOffset }
  }

  append(entry: Entry): void {
    if (entry.voters !== undefined) this.#voters.append({ offset: this.logEndOffset, ...entry.voters })
    this.#entries.push(entry)
  }

  truncate(to: number): void {
    if (to < this.#startOffset) {
      // Below what was trimmed: the log begins there, with nothing in it.
      this.#startOffset = to
      this.#startEpoch = undefined
      this.#entries = []
      this.#voters.truncateTo(offset(to))
      return this.sync()
    }
    this.#entries.length = Math.max(0, to - this.#startOffset)
    this.#cutEndOffset = Math.min(this.#cutEndOffset, to)
    this.#voters.truncateTo(this.logEndOffset)
  }

  restart(at: number, epoch: LeaderEpoch | undefined, votersRecord: VotersRecord | undefined): void {
    this.#voters.restartWith(votersRecord)
    this.#entries = []
    this.#startOffset = at
    this.#startEpoch = epoch
    // The log start is made durable before anything else, as with every trim.
    this.sync()
  }

  /** Drops everything, to be copied anew; until the log reaches the floor again it is remembered. */
  beginAnew(
    at: number,
    epoch: LeaderEpoch | undefined,
    votersRecord: VotersRecord | undefined,
    anew: { readonly floor: LogPosition | undefined; readonly droppedTo: Offset },
  ): void {
    if (this.compaction !== undefined) this.compaction.floor = anew.floor
    this.restart(at, epoch, votersRecord)
    this.compaction?.begin(anew.droppedTo)
  }

  /** Takes what is superseded by something below the end, and on stable storage. */
  compact(committedEnd: number): void {
    const { compaction } = this
    const end = Math.min(committedEnd, this.#cutEndOffset)
    const gone = superseded(this.#entries, this.#startOffset, end)
    if (compaction === undefined || gone.length === 0) return
    compaction.touchedTo = offset(Math.max(compaction.touchedTo, end))
    this.#take(gone, 'superseded')
  }

  /** Takes tombstones that have nothing left to delete. */
  dropTombstones(committedEnd: number): void {
    const { compaction } = this
    const end = Math.min(committedEnd, this.#cutEndOffset)
    const gone = spentTombstones(this.#entries, this.#startOffset, end)
    const last = gone[gone.length - 1]
    if (compaction === undefined || last === undefined) return
    compaction.touchedTo = offset(Math.max(compaction.touchedTo, end))
    compaction.drop(offset(this.#startOffset + last + 1))
    this.#take(gone, 'dropped')
  }

  #take(taken: readonly number[], gone: 'superseded' | 'dropped'): void {
    const durable = [...this.#durable]
    for (const at of taken) {
      const entry = { ...must(this.#entries[at], 'what is taken is there'), gone }
      this.#entries[at] = entry
      durable[this.#startOffset + at - this.#durableStartOffset] = entry
    }
    this.#durable = durable
  }

  /** What is wrong with what a reader finds in it; undefined when nothing is. */
  faultOfKeys(isComplete: boolean): string | undefined {
    return this.compaction === undefined ? undefined : faultOfKeys(this.#entries, this.#startOffset, isComplete)
  }

  /** Forgets the records below the offset. */
  trim(to: number): void {
    if (to <= this.#startOffset) return
    this.#startEpoch = this.epochAt(offset(to)) ?? this.latestEpoch
    this.#entries = this.#entries.slice(to - this.#startOffset)
    this.#startOffset = to
    this.#voters.trimTo(offset(to))
    this.sync()
  }

  sync(): void {
    this.#durable = [...this.#entries]
    this.#durableStartOffset = this.#startOffset
    this.#durableStartEpoch = this.#startEpoch
    this.#cutEndOffset = this.logEndOffset
  }

  /**
   * The power is gone. Of what was written since the last sync `share` (0 to 1) is kept; with `isCutLost` the disk never saw
   * the cut, and what it had behind the kept records is there again.
   */
  losePower(share: number, isCutLost: boolean): void {
    const unsynced = this.logEndOffset - this.#cutEndOffset
    const kept = this.#cutEndOffset + Math.floor(share * (unsynced + 0.999))
    const entries = this.#entries.slice(0, kept - this.#startOffset)
    if (isCutLost && this.#durableStartOffset === this.#startOffset) {
      entries.push(...this.#durable.slice(kept - this.#startOffset))
    }
    this.#entries = entries
    this.#startEpoch = this.#durableStartEpoch
    this.#voters.restartWith(this.#voters.inForceAt(this.logStartOffset))
    for (const [at, { voters }] of entries.entries()) {
      if (voters !== undefined) this.#voters.append({ offset: offset(this.#startOffset + at), ...voters })
    }
    this.sync()
  }
}
