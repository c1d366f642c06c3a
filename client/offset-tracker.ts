// How far a partition has been worked off: which of the records that were handed out are done, and so which offset may be
// committed. Records may be done in any order. Pure. Invariants: `position` never passes a record that was handed out and
// is not done, and grows, but for `reset`.

import { assert } from '../shared/assert.ts'

/** A queue that has used up this many places at its front is moved together. */
const SPENT_MAX = 1_024

export class OffsetTracker {
  /** The offset to commit: everything below is done. */
  #position: number
  /** Handed out and not known to be done up to here, ascending, from #first on. */
  #open: number[] = []
  #first = 0
  /** Done, but behind something that is not. */
  readonly #done = new Set<number>()
  /** Behind the last record that was handed out, or where records that nobody sees end. */
  #end: number

  constructor(position: number) {
    this.#position = position
    this.#end = position
  }

  get position(): number {
    return this.#position
  }

  /** The next offset that may be handed out. */
  get end(): number {
    return this.#end
  }

  /** Records that were handed out and are not done. */
  get openCount(): number {
    return this.#open.length - this.#first - this.#done.size
  }

  handOut(offset: number): void {
    assert(offset >= this.#end, 'records are handed out in growing order')
    // What lies between is nobody's.
    if (this.#first === this.#open.length) this.#position = offset
    this.#open.push(offset)
    this.#end = offset + 1
  }

  /** Hands out records as one, from the offset of the first to behind the last; it is done when that offset is. */
  handOutRange(offset: number, endOffset: number): void {
    this.handOut(offset)
    this.#end = Math.max(this.#end, endOffset)
  }

  /** The first part of a range that was handed out is done: it begins at a later offset now. Nothing else may be open. */
  shorten(offset: number): void {
    assert(
      this.openCount === 1 && offset < this.#end,
      'a range that is shortened is the only one, and something is left',
    )
    if (offset <= this.#position) return
    this.#open[this.#first] = offset
    this.#position = offset
  }

  /** The record that was handed out last was not taken, and will be handed out again. Says whether it was open. */
  takeBack(offset: number): boolean {
    if (this.#end !== offset + 1 || this.#open.length === this.#first || this.#open.at(-1) !== offset) return false
    if (this.#done.has(offset)) return false
    this.#open.pop()
    this.#end = offset
    return true
  }

  /** There is nothing to hand out up to here: records that were compacted away, or were none of the application's. */
  passOver(endOffset: number): void {
    if (endOffset <= this.#end) return
    this.#end = endOffset
    if (this.#first === this.#open.length) this.#position = endOffset
  }

  /** One record is done. One that is not open is ignored: it was done before, or the position was set anew. */
  done(offset: number): void {
    const first = this.#open[this.#first]
    if (first === undefined || offset < first) return
    if (offset !== first) {
      if (this.#isOpen(offset)) this.#done.add(offset)
      return
    }
    this.#advance()
  }

  /** Everything below endOffset that was handed out is done. */
  doneBelow(endOffset: number): void {
    for (;;) {
      const first = this.#open[this.#first]
      if (first === undefined || (first >= endOffset && !this.#done.has(first))) break
      this.#done.delete(first)
      this.#first += 1
    }
    this.#settle()
  }

  /** Goes on elsewhere; what was handed out before is nobody's business any more. */
  reset(position: number): void {
    this.#open = []
    this.#first = 0
    this.#done.clear()
    this.#position = position
    this.#end = position
  }

  #advance(): void {
    for (;;) {
      this.#first += 1
      const next = this.#open[this.#first]
      if (next === undefined || this.#done.size === 0 || !this.#done.delete(next)) break
    }
    this.#settle()
  }

  #settle(): void {
    const next = this.#open[this.#first]
    if (next === undefined) {
      this.#position = this.#end
      this.#open.length = 0
      this.#first = 0
      return
    }
    // All below the first open one is done, also what nobody sees right before it.
    if (next > this.#position) this.#position = next
    if (this.#first < SPENT_MAX) return
    this.#open = this.#open.slice(this.#first)
    this.#first = 0
  }

  #isOpen(offset: number): boolean {
    let low = this.#first
    let high = this.#open.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#open[middle] ?? Infinity) < offset) low = middle + 1
      else high = middle
    }
    return this.#open[low] === offset
  }
}
