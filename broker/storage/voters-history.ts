// Which voters are in force where in a log. Owns the list of a log's voters records; knows nothing of the records' bytes, of
// files, or of what the voters do. Pure. A record is in force from its append on, at whoever has it, and a cut takes it back.

import type { Offset } from '../../shared/ids.ts'
import type { VoterSet } from '../../shared/voters.ts'
import { assert } from '../../shared/assert.ts'

/** A voters record of the log, at its offset. */
export interface VotersRecord {
  readonly offset: Offset
  readonly set: VoterSet
  /** While a change is under way: what the set becomes. Until then both must agree. */
  readonly next: VoterSet | undefined
}

/**
 * The voters records of one log, as far as they are needed: those in the log, and the last one of what has been trimmed.
 * Whoever keeps the log tells it of every change.
 */
export class VotersHistory {
  #records: readonly VotersRecord[]

  /** Ascending by offset. */
  constructor(records: readonly VotersRecord[] = []) {
    this.#records = records
  }

  /** Ascending by offset. The same list as long as nothing has changed. */
  get records(): readonly VotersRecord[] {
    return this.#records
  }

  get newest(): VotersRecord | undefined {
    return this.#records[this.#records.length - 1]
  }

  /** The one that is in force for the record at the offset; undefined where those of the beginning are. */
  inForceAt(offset: Offset): VotersRecord | undefined {
    return this.#records.findLast((record) => record.offset < offset)
  }

  append(record: VotersRecord): void {
    assert((this.newest?.offset ?? -1) < record.offset, 'voters records are appended in the order of their offsets')
    this.#records = [...this.#records, record]
  }

  /** The log has been cut: what stood at the offset or behind it is in force no more. */
  truncateTo(endOffset: Offset): void {
    if ((this.newest?.offset ?? -1) < endOffset) return
    this.#records = this.#records.filter(({ offset }) => offset < endOffset)
  }

  /** The log begins at the offset now: of the records below it the last one counts on. */
  trimTo(logStartOffset: Offset): void {
    const first = this.#records.findLastIndex(({ offset }) => offset < logStartOffset)
    if (first > 0) this.#records = this.#records.slice(first)
  }

  /** The log has become empty, and begins where another log has this record in force. */
  restartWith(record: VotersRecord | undefined): void {
    this.#records = record === undefined ? [] : [record]
  }

  /**
   * How far the log may be counted as held when `writtenEndOffset` is written and `syncedEndOffset` on stable storage. A
   * voters record is held only when it is durable, whatever the durability of the topic: a set that has been replaced
   * must stay replaced even when all its members lose their power after they have left.
   */
  heldEndOffset(writtenEndOffset: Offset, syncedEndOffset: Offset): Offset {
    if ((this.newest?.offset ?? -1) < syncedEndOffset) return writtenEndOffset
    const unsynced = this.#records.find(({ offset }) => offset >= syncedEndOffset)
    return unsynced !== undefined && unsynced.offset < writtenEndOffset ? unsynced.offset : writtenEndOffset
  }
}
