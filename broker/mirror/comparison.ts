// Two sides of one partition, record by record. Owns what counts as equal, both checksums, and which offset of the target
// belongs to one of the source; is given the records and fetches none.
//
// By offset: a record belongs to the one with its own offset. In order: the first belongs to the first, the second to the
// second; at the beginning the target may have records that the source has dropped since.
//
// Invariant: once `settle` has returned, what was given and not yet compared waits on one side only, and on none when the
// other has ended.

import { assert } from '../../shared/assert.ts'
import { digestWith } from './record-digest.ts'

export type Order = 'by-offset' | 'in-order'
export type Side = 'source' | 'target'

export interface ComparisonOptions {
  readonly order: Order
  /** Sides that may have lost records to compaction since. Only by offset. */
  readonly mayLack: readonly Side[]
  /** Offsets of the source, rising, to be translated. */
  readonly wanted: readonly number[]
}

export interface ComparisonResult {
  /** Found on both sides, and equal. */
  readonly records: number
  /** How many of them are different from one another; no more than two are told apart. */
  readonly distinctRecords: number
  /** On one side only, and no difference. */
  readonly skippedRecords: number
  readonly sourceRecords: number
  readonly targetRecords: number
  readonly sourceChecksum: number
  readonly targetChecksum: number
  /** The offset at the source of the first record that the target has not or has otherwise. */
  readonly difference: { readonly offset: number; readonly what: string } | undefined
  /** One past the last record at the source that the target has. */
  readonly sourceOffset: number | undefined
  /** The offset at the target for each that was wanted; its end for one past all records. */
  readonly translations: ReadonlyMap<number, number>
}

interface Queue {
  offsets: number[]
  digests: number[]
  at: number
  records: number
  checksum: number
  hasEnded: boolean
}

export class Comparison {
  readonly #options: ComparisonOptions
  readonly #sides: Readonly<Record<Side, Queue>> = { source: newQueue(), target: newQueue() }
  readonly #translations = new Map<number, number>()
  #wantedAt = 0
  #records = 0
  #skippedRecords = 0
  #firstDigest: number | undefined
  #isUniform = true
  #sourceOffset: number | undefined
  #difference: { readonly offset: number; readonly what: string } | undefined

  constructor(options: ComparisonOptions) {
    this.#options = options
  }

  /** A difference that cannot be got over. */
  get hasDifference(): boolean {
    return this.#difference !== undefined
  }

  /** The side from which the next records have to come; undefined when both have ended. */
  get hungry(): Side | undefined {
    const { source, target } = this.#sides
    if (source.hasEnded && target.hasEnded) return undefined
    if (source.hasEnded) return 'target'
    return target.hasEnded || !isEmpty(target) ? 'source' : 'target'
  }

  /** The side has no more than was added. */
  end(side: Side): void {
    this.#sides[side].hasEnded = true
  }

  add(side: Side, offset: number, digest: number): void {
    const queue = this.#sides[side]
    queue.offsets.push(offset)
    queue.digests.push(digest)
  }

  /** Compares what both sides have. After a difference the rest is only counted. */
  settle(): void {
    const { source, target } = this.#sides
    while (!isEmpty(source) && !isEmpty(target) && this.#difference === undefined) this.#compareHeads()
    while (!isEmpty(source) && (target.hasEnded || this.#difference !== undefined)) this.#only('source')
    while (!isEmpty(target) && (source.hasEnded || this.#difference !== undefined)) this.#only('target')
    forgetTaken(source)
    forgetTaken(target)
  }

  /** What was found. `targetEnd`: the offset that the next record will get there. */
  finish(targetEnd: number): ComparisonResult {
    const { source, target } = this.#sides
    for (const offset of this.#options.wanted.slice(this.#wantedAt)) this.#translations.set(offset, targetEnd)
    return {
      records: this.#records,
      distinctRecords: Math.min(this.#records, this.#isUniform ? 1 : 2),
      skippedRecords: this.#skippedRecords,
      sourceRecords: source.records,
      targetRecords: target.records,
      sourceChecksum: source.checksum,
      targetChecksum: target.checksum,
      difference: this.#difference,
      sourceOffset: this.#sourceOffset,
      translations: this.#translations,
    }
  }

  #compareHeads(): void {
    const { source, target } = this.#sides
    const sourceOffset = headOffset(source)
    const targetOffset = headOffset(target)
    const isSame = source.digests[source.at] === target.digests[target.at]
    if (this.#options.order === 'by-offset' && sourceOffset !== targetOffset) {
      this.#only(sourceOffset < targetOffset ? 'source' : 'target')
    } else if (isSame) {
      this.#match(sourceOffset, targetOffset)
    } else if (this.#options.order === 'in-order' && this.#records === 0) {
      target.at += 1
    } else {
      this.#difference = { offset: sourceOffset, what: `it is another record at the target (offset ${targetOffset})` }
    }
  }

  #match(sourceOffset: number, targetOffset: number): void {
    const { wanted } = this.#options
    for (; (wanted[this.#wantedAt] ?? Infinity) <= sourceOffset; this.#wantedAt += 1) {
      this.#translations.set(wanted[this.#wantedAt] ?? 0, targetOffset)
    }
    const digest = this.#sides.source.digests[this.#sides.source.at]
    this.#firstDigest ??= digest
    if (digest !== this.#firstDigest) this.#isUniform = false
    take(this.#sides.source)
    take(this.#sides.target)
    this.#records += 1
    this.#sourceOffset = sourceOffset + 1
  }

  /** The side has a record that the other has not. */
  #only(side: Side): void {
    const queue = this.#sides[side]
    const other = side === 'source' ? 'target' : 'source'
    const { order, mayLack } = this.#options
    if (mayLack.includes(other) && order === 'by-offset' && this.#difference === undefined) {
      queue.at += 1
      this.#skippedRecords += 1
      return
    }
    const what = side === 'source' ? 'the target does not have it' : 'only the target has it'
    this.#difference ??= { offset: headOffset(queue), what }
    take(queue)
  }
}

const TAKEN_MAX = 8_192

function newQueue(): Queue {
  return { offsets: [], digests: [], at: 0, records: 0, checksum: 0, hasEnded: false }
}

function isEmpty(queue: Queue): boolean {
  return queue.at >= queue.offsets.length
}

/** Counts the head and sums it up. */
function take(queue: Queue): void {
  queue.checksum = digestWith(queue.checksum, queue.digests[queue.at] ?? 0)
  queue.records += 1
  queue.at += 1
}

function headOffset(queue: Queue): number {
  const offset = queue.offsets[queue.at]
  assert(offset !== undefined, 'a queue that is looked at has a head')
  return offset
}

function forgetTaken(queue: Queue): void {
  if (queue.at < TAKEN_MAX && !isEmpty(queue)) return
  queue.offsets = queue.offsets.slice(queue.at)
  queue.digests = queue.digests.slice(queue.at)
  queue.at = 0
}
