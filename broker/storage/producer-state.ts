// What a partition remembers of its idempotent producers, so that a batch sent twice is stored once. Owns sequence numbers:
// the next one is appended, one of the last few is answered with the offsets it got, a gap is refused. A core: no clock,
// no I/O; snapshots are values that others write.
//
// Invariants: of each producer the last PRODUCER_BATCHES_REMEMBERED batches of its newest epoch are known; their sequence
// numbers follow one another, as do their offsets. At most producersMax producers are known. After batches were undone only
// the first one of them is next.

import { assert } from '../../shared/assert.ts'
import type { ErrorCode } from '../../shared/errors.ts'
import type { Offset, TimestampMs } from '../../shared/ids.ts'
import { PRODUCER_BATCHES_REMEMBERED } from '../../shared/limits.ts'
import { DELETE_HORIZON_BIT, LOG_APPEND_TIME_BIT } from '../../shared/record-batch/format.ts'
import {
  attributesAt,
  baseOffsetAt,
  baseSequenceAt,
  crcAt,
  endOffsetAt,
  lastOffsetDeltaAt,
  producerEpochAt,
  producerIdAt,
  recordCountAt,
} from '../../shared/record-batch/header.ts'

export const PRODUCERS_MAX_DEFAULT = 50_000
export const PRODUCER_EXPIRATION_MS_DEFAULT = 86_400_000
/** Sequence numbers are int32 from 0 on and begin again at 0. */
const SEQUENCE_COUNT = 0x8000_0000
/** Producers of which nothing is known but that a batch was refused. */
const REFUSED_MAX = 10_000
/** Share of the producers that is forgotten at once when there are too many, so that the search is rarely made. */
const EVICTED_SHARE = 0.1

/** baseSequence, lastSequence, baseOffset, endOffset, crc. */
const FIELDS = 5
const NO_CRC = -1
const NO_SEQUENCE = -1
const NO_ROUND = -1

export type ProducerVerdict =
  | { readonly kind: 'next' }
  | { readonly kind: 'duplicate'; readonly baseOffset: Offset; readonly endOffset: Offset }
  | { readonly kind: 'refused'; readonly error: ErrorCode; readonly message: string }

interface ProducerEntry {
  epoch: number
  /** Wall clock of the broker when the producer last wrote. */
  lastSeenMs: number
  /** The remembered batches, oldest first, FIELDS numbers each. */
  batches: number[]
  /** The round in which it last wrote, and the sequence with which it, or its epoch, began there. */
  round: number
  roundSequence: number
  /** Where it goes on when all batches that were remembered are undone; NO_SEQUENCE when that is not known. */
  undoneSequence: number
}

interface RefusedBatch {
  readonly epoch: number
  readonly baseSequence: number
}

export interface DescribedProducer {
  readonly producerId: number
  readonly epoch: number
  /** Undefined while all that it had written is undone. */
  readonly lastSequence: number | undefined
  /** Wall clock of the broker when it last wrote, in milliseconds. */
  readonly lastSeenMs: number
}

const NEXT: ProducerVerdict = { kind: 'next' }

export class ProducerState {
  readonly #entries = new Map<number, ProducerEntry>()
  /** The first batch that was refused, of producers that have no entry. */
  readonly #refused = new Map<number, RefusedBatch>()
  readonly #producersMax: number
  /** Grows with every write: what was noted in the present round may still be undone. */
  #round = 0

  constructor(options: { readonly producersMax?: number } = {}) {
    this.#producersMax = options.producersMax ?? PRODUCERS_MAX_DEFAULT
  }

  get count(): number {
    return this.#entries.size
  }

  /**
   * What to do with the batch at `at`, which has a producer id. A batch is the same again by its sequence numbers and its
   * checksum; by the numbers alone with `mayDiffer`. Changes nothing.
   */
  check(bytes: Uint8Array, at: number, mayDiffer = false): ProducerVerdict {
    const entry = this.#entries.get(producerIdAt(bytes, at))
    const epoch = producerEpochAt(bytes, at)
    const baseSequence = baseSequenceAt(bytes, at)
    if (entry === undefined) return this.#checkUnknown(bytes, at, { epoch, baseSequence })
    if (epoch < entry.epoch) {
      return refuse('INVALID_PRODUCER_EPOCH', `${nameOf(bytes, at)} is in epoch ${entry.epoch}, the batch in ${epoch}`)
    }
    if (epoch > entry.epoch) {
      if (baseSequence === 0) return NEXT
      return refuse(
        'OUT_OF_ORDER_SEQUENCE_NUMBER',
        `${nameOf(bytes, at)} begins epoch ${epoch} with sequence ${baseSequence}, not 0`,
      )
    }
    return checkSequence(entry, bytes, at, baseSequence, mayDiffer)
  }

  /**
   * Takes note of a batch that has a producer id and was not appended, although it might have been. Its successors, which may be
   * on their way already, have to wait for it: a producer takes an answer to a later batch as one to all before it.
   */
  noteRefused(bytes: Uint8Array, at: number): void {
    const id = producerIdAt(bytes, at)
    if (this.#entries.has(id)) return
    const batch = { epoch: producerEpochAt(bytes, at), baseSequence: baseSequenceAt(bytes, at) }
    const known = this.#refused.get(id)
    if (known !== undefined && (known.epoch > batch.epoch || isBehind(known, batch))) return
    this.#refused.set(id, batch)
    const [oldest] = this.#refused.keys()
    if (this.#refused.size > REFUSED_MAX && oldest !== undefined) this.#refused.delete(oldest)
  }

  /** Takes note of an appended batch, which has a producer id and its final base offset. */
  noteBatch(bytes: Uint8Array, at: number, now: TimestampMs): void {
    const id = producerIdAt(bytes, at)
    const epoch = producerEpochAt(bytes, at)
    let entry = this.#entries.get(id)
    if (entry === undefined) {
      if (this.#entries.size >= this.#producersMax) this.#evict()
      entry = newEntry(epoch, now, [])
      this.#entries.set(id, entry)
      this.#refused.delete(id)
    }
    const baseSequence = baseSequenceAt(bytes, at)
    if (entry.round !== this.#round || epoch > entry.epoch) entry.roundSequence = baseSequence
    entry.round = this.#round
    if (epoch > entry.epoch) entry.batches.length = 0
    entry.epoch = Math.max(entry.epoch, epoch)
    entry.lastSeenMs = Math.max(entry.lastSeenMs, now)
    // A batch that was stamped, or that compaction has written anew, has another checksum than the producer gave it.
    const isStamped = (attributesAt(bytes, at) & (LOG_APPEND_TIME_BIT | DELETE_HORIZON_BIT)) !== 0
    const isOther = isStamped || recordCountAt(bytes, at) <= lastOffsetDeltaAt(bytes, at)
    if (entry.batches.length === PRODUCER_BATCHES_REMEMBERED * FIELDS) entry.batches.splice(0, FIELDS)
    entry.batches.push(
      baseSequence,
      nextSequence(baseSequence, lastOffsetDeltaAt(bytes, at)),
      baseOffsetAt(bytes, at),
      endOffsetAt(bytes, at),
      isOther ? NO_CRC : crcAt(bytes, at),
    )
  }

  /**
   * Whether the batch at the offset is the producer's newest, or its newest that ends at or below `endOffset`, of those that
   * are remembered: without it, nobody who reads the log would know which sequence number comes next.
   */
  isNewest(id: number, baseOffset: number, endOffset: number): boolean {
    const batches = this.#entries.get(id)?.batches
    if (batches === undefined) return false
    for (let field = batches.length - FIELDS; field >= 0; field -= FIELDS) {
      if (batches[field + 2] === baseOffset) return true
      if ((batches[field + 3] ?? 0) <= endOffset) return false
    }
    return false
  }

  /** What was noted so far is written and will not be undone. */
  settle(): void {
    this.#round += 1
  }

  /**
   * Undoes what was noted since it was last settled: the batches at and above the offset. Many of them may have pushed out
   * what was remembered before, and then the first of them is still the only one that may come next: were another taken in
   * its place, it would look like one that was sent before when it comes again.
   */
  undo(offset: Offset): void {
    // The entry stays even without batches: its epoch still fences off the older sessions.
    for (const entry of this.#entries.values()) {
      if (entry.round !== this.#round) continue
      cutBatches(entry.batches, offset)
      entry.undoneSequence = entry.roundSequence
    }
    this.settle()
  }

  /** Forgets who has not written for so long (milliseconds). Answers how many. */
  expire(now: TimestampMs, expirationMs: number): number {
    const before = this.#entries.size
    for (const [id, entry] of this.#entries) {
      if (now - entry.lastSeenMs > expirationMs) this.#entries.delete(id)
    }
    return before - this.#entries.size
  }

  clear(): void {
    this.#entries.clear()
    this.#refused.clear()
  }

  /** Every producer that is remembered, for people. */
  describe(): readonly DescribedProducer[] {
    return [...this.#entries].map(([producerId, { epoch, lastSeenMs, batches }]) => {
      return { producerId, epoch, lastSequence: batches[batches.length - FIELDS + 1], lastSeenMs }
    })
  }

  /** What is known of the batches below the offset, for a checkpoint. */
  snapshot(endOffset: Offset): unknown {
    const producers: unknown[] = []
    for (const [id, entry] of this.#entries) {
      const batches = [...entry.batches]
      cutBatches(batches, endOffset)
      producers.push([id, entry.epoch, entry.lastSeenMs, ...batches])
    }
    return producers
  }

  /** Takes a snapshot over; false, and nothing known, when it is none. */
  restore(snapshot: unknown): boolean {
    this.#entries.clear()
    if (!Array.isArray(snapshot)) return false
    for (const row of snapshot as unknown[]) {
      if (!isRow(row)) {
        this.#entries.clear()
        return false
      }
      const [id = 0, epoch = 0, lastSeenMs = 0, ...batches] = row
      this.#entries.set(id, newEntry(epoch, lastSeenMs, batches))
    }
    return true
  }

  /** A producer that was forgotten, or whose beginning retention has taken, goes on where it is. */
  #checkUnknown(bytes: Uint8Array, at: number, batch: RefusedBatch): ProducerVerdict {
    const refused = this.#refused.get(producerIdAt(bytes, at))
    if (refused === undefined || refused.epoch !== batch.epoch || !isBehind(refused, batch)) return NEXT
    return refuse(
      'OUT_OF_ORDER_SEQUENCE_NUMBER',
      `${nameOf(bytes, at)} sends sequence ${batch.baseSequence}, expected is ${refused.baseSequence} again`,
    )
  }

  #evict(): void {
    const byAge = [...this.#entries].toSorted((a, b) => a[1].lastSeenMs - b[1].lastSeenMs)
    const count = Math.max(1, Math.floor(byAge.length * EVICTED_SHARE))
    for (const [id] of byAge.slice(0, count)) this.#entries.delete(id)
  }
}

/** Takes away the batches at and above the offset. */
function cutBatches(batches: number[], offset: Offset): void {
  while (batches.length > 0 && (batches[batches.length - FIELDS + 2] ?? 0) >= offset) batches.length -= FIELDS
}

function checkSequence(
  entry: ProducerEntry,
  bytes: Uint8Array,
  at: number,
  baseSequence: number,
  mayDiffer: boolean,
): ProducerVerdict {
  const batches = entry.batches
  const newest = batches.length - FIELDS
  if (newest < 0) return checkAfterUndo(entry, bytes, at, baseSequence)
  const lastSequence = batches[newest + 1] ?? 0
  if (baseSequence === nextSequence(lastSequence, 1)) return NEXT
  const endSequence = nextSequence(baseSequence, lastOffsetDeltaAt(bytes, at))
  for (let field = newest; field >= 0; field -= FIELDS) {
    if (batches[field] !== baseSequence || batches[field + 1] !== endSequence) continue
    const crc = batches[field + 4]
    if (!mayDiffer && crc !== NO_CRC && crc !== crcAt(bytes, at)) {
      return refuse(
        'OUT_OF_ORDER_SEQUENCE_NUMBER',
        `${nameOf(bytes, at)} has sent other records with sequence ${baseSequence} before: is its id used twice?`,
      )
    }
    return {
      kind: 'duplicate',
      baseOffset: (batches[field + 2] ?? 0) as Offset,
      endOffset: (batches[field + 3] ?? 0) as Offset,
    }
  }
  // Half of the numbers lie behind the last one, half ahead.
  const ahead = (baseSequence - lastSequence + SEQUENCE_COUNT) % SEQUENCE_COUNT
  if (ahead === 0 || ahead > SEQUENCE_COUNT / 2) {
    return refuse(
      'DUPLICATE_SEQUENCE_NUMBER',
      `${nameOf(bytes, at)} sends sequence ${baseSequence} again, too long after it to know its offset`,
    )
  }
  return refuse(
    'OUT_OF_ORDER_SEQUENCE_NUMBER',
    `${nameOf(bytes, at)} sends sequence ${baseSequence}, expected is ${nextSequence(lastSequence, 1)}`,
  )
}

/** Nothing that is remembered says what was written before, so that anything but the next one is a gap. */
function checkAfterUndo(entry: ProducerEntry, bytes: Uint8Array, at: number, baseSequence: number): ProducerVerdict {
  const expected = entry.undoneSequence
  if (expected === NO_SEQUENCE || baseSequence === expected) return NEXT
  return refuse(
    'OUT_OF_ORDER_SEQUENCE_NUMBER',
    `${nameOf(bytes, at)} sends sequence ${baseSequence}, expected is ${expected} again`,
  )
}

/** Whether the first of two batches of one epoch comes before the second. Half of the numbers lie behind one, half ahead. */
function isBehind(first: RefusedBatch, second: RefusedBatch): boolean {
  const ahead = (second.baseSequence - first.baseSequence + SEQUENCE_COUNT) % SEQUENCE_COUNT
  return first.epoch === second.epoch && ahead > 0 && ahead <= SEQUENCE_COUNT / 2
}

function newEntry(epoch: number, lastSeenMs: number, batches: number[]): ProducerEntry {
  return { epoch, lastSeenMs, batches, round: NO_ROUND, roundSequence: NO_SEQUENCE, undoneSequence: NO_SEQUENCE }
}

/** Sequence numbers begin again at 0 behind the last int32. */
export function nextSequence(sequence: number, by: number): number {
  return (sequence + by) % SEQUENCE_COUNT
}

function nameOf(bytes: Uint8Array, at: number): string {
  return `producer ${producerIdAt(bytes, at)}`
}

function refuse(error: ErrorCode, message: string): ProducerVerdict {
  return { kind: 'refused', error, message }
}

function isRow(row: unknown): row is number[] {
  if (!Array.isArray(row) || row.length < 3 || (row.length - 3) % FIELDS !== 0) return false
  if (row.length > 3 + PRODUCER_BATCHES_REMEMBERED * FIELDS) return false
  return row.every((value) => Number.isSafeInteger(value))
}

assert(PRODUCER_BATCHES_REMEMBERED > 0, 'at least the last batch of a producer is remembered')
