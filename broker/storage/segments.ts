// The segments of one partition, in order. Owns which segment an offset belongs to; knows nothing of their files.
//
// Invariant: there is at least one segment; base offsets grow strictly; only the last segment is not sealed.

import { assert, must } from '../../shared/assert.ts'
import type { Segment } from './segment.ts'

export class Segments implements Iterable<Segment> {
  readonly #list: Segment[]

  constructor(list: Segment[]) {
    assert(list.length > 0, 'a log has a segment')
    this.#list = list
  }

  get count(): number {
    return this.#list.length
  }

  get first(): Segment {
    return must(this.#list[0], 'a log has a segment')
  }

  /** The segment that is appended to. */
  get active(): Segment {
    return must(this.#list[this.#list.length - 1], 'a log has a segment')
  }

  get bytes(): number {
    let bytes = 0
    for (const segment of this.#list) bytes += segment.size
    return bytes
  }

  at(index: number): Segment | undefined {
    return this.#list[index]
  }

  [Symbol.iterator](): Iterator<Segment> {
    return this.#list[Symbol.iterator]()
  }

  /** The last segment whose base offset is at or below the offset. */
  floor(offset: number): Segment | undefined {
    return this.#list[this.#endBelow(offset) - 1]
  }

  /** The first segment whose base offset is above the offset. */
  after(offset: number): Segment | undefined {
    return this.#list[this.#endBelow(offset)]
  }

  push(segment: Segment): void {
    assert(segment.baseOffset > this.active.baseOffset, 'a new segment begins behind the last one')
    this.#list.push(segment)
  }

  pop(): Segment {
    assert(this.#list.length > 1, 'the only segment stays')
    return must(this.#list.pop(), 'a log has a segment')
  }

  shift(): Segment {
    assert(this.#list.length > 1, 'the only segment stays')
    return must(this.#list.shift(), 'a log has a segment')
  }

  /** Whether these stand here, one behind the other. */
  holds(segments: readonly Segment[]): boolean {
    const from = this.#list.indexOf(must(segments[0], 'something is looked for'))
    return from >= 0 && segments.every((segment, index) => this.#list[from + index] === segment)
  }

  /** Puts a segment in place of these, which stand here one behind the other and begin where it does. */
  replace(segments: readonly Segment[], by: Segment): void {
    assert(this.holds(segments) && segments[0]?.baseOffset === by.baseOffset, 'a segment comes in place of its like')
    this.#list.splice(this.#list.indexOf(must(segments[0], 'something is replaced')), segments.length, by)
  }

  /** Puts a segment in place of all. */
  reset(segment: Segment): Segment[] {
    return this.#list.splice(0, this.#list.length, segment)
  }

  /** How many segments have a base offset at or below the offset. */
  #endBelow(offset: number): number {
    // Nearly all questions are about the newest segment.
    if (this.active.baseOffset <= offset) return this.#list.length
    let low = 0
    let high = this.#list.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#list[middle]?.baseOffset ?? 0) <= offset) low = middle + 1
      else high = middle
    }
    return low
  }
}
