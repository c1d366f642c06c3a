// A partition as the client sees it: appends batches, counts the sequences of idempotent producers as Kafka does, hands
// batches out again. Small enough to be obviously right; what the real broker does is tested elsewhere.

import type { ErrorCode } from '../../shared/errors.ts'
import { offset as toOffset } from '../../shared/ids.ts'
import {
  baseOffsetAt,
  baseSequenceAt,
  batchBytes,
  checkBatch,
  endOffsetAt,
  producerEpochAt,
  producerIdAt,
  recordCountAt,
  setBaseOffset,
} from '../../shared/record-batch/header.ts'
import { decodeBatch } from '../../shared/record-batch/decode.ts'

const SEQUENCES = 0x8000_0000

interface Remembered {
  readonly baseSequence: number
  readonly nextSequence: number
  readonly baseOffset: number
}

export type AppendOutcome = { readonly baseOffset: number } | { readonly error: ErrorCode; readonly message: string }

export class ModelLog {
  readonly batches: Uint8Array[] = []
  logStartOffset = 0
  quarantined: { readonly startOffset: number; readonly endOffset: number } | undefined
  #nextOffset = 0
  readonly #producers = new Map<string, Remembered[]>()
  readonly #isLenient: boolean

  /** A lenient one takes any number from a producer that it does not know, as the broker does. */
  constructor(isLenient = false) {
    this.#isLenient = isLenient
  }

  get endOffset(): number {
    return this.#nextOffset
  }

  forgetProducers(): void {
    this.#producers.clear()
  }

  append(bytes: Uint8Array): AppendOutcome {
    const fault = checkBatch(bytes, 0, bytes.length)
    if (fault !== undefined) return { error: fault.code, message: fault.message }
    if (batchBytes(bytes, 0) !== bytes.length) return { error: 'INVALID_RECORD', message: 'more than one batch' }
    const count = recordCountAt(bytes, 0)
    const producerId = producerIdAt(bytes, 0)
    if (producerId >= 0) {
      const known = this.#producers.get(`${producerId}:${producerEpochAt(bytes, 0)}`) ?? []
      const baseSequence = baseSequenceAt(bytes, 0)
      const duplicate = known.find((one) => one.baseSequence === baseSequence)
      if (duplicate !== undefined) return { baseOffset: duplicate.baseOffset }
      const expected = known.at(-1)?.nextSequence ?? (this.#isLenient ? baseSequence : 0)
      if (baseSequence !== expected) {
        const message = `sequence ${baseSequence}, expected ${expected}`
        if (this.#isLenient && baseSequence < expected) return { error: 'DUPLICATE_SEQUENCE_NUMBER', message }
        if (known.length === 0) return { error: 'UNKNOWN_PRODUCER_ID', message }
        return { error: 'OUT_OF_ORDER_SEQUENCE_NUMBER', message }
      }
      const nextSequence = (baseSequence + count) % SEQUENCES
      const remembered = [...known, { baseSequence, nextSequence, baseOffset: this.#nextOffset }].slice(-5)
      this.#producers.set(`${producerId}:${producerEpochAt(bytes, 0)}`, remembered)
    }
    const stored = Uint8Array.from(bytes)
    setBaseOffset(stored, 0, toOffset(this.#nextOffset))
    this.batches.push(stored)
    const baseOffset = this.#nextOffset
    this.#nextOffset += count
    return { baseOffset }
  }

  /** Whole batches from the one that holds the offset, at least one if there is any. */
  read(from: number, maxBytes: number): Uint8Array[] {
    const found: Uint8Array[] = []
    let bytes = 0
    for (const batch of this.batches) {
      if (endOffsetAt(batch, 0) <= from) continue
      if (baseOffsetAt(batch, 0) === this.quarantined?.startOffset) break
      if (found.length > 0 && bytes + batch.length > maxBytes) break
      found.push(batch)
      bytes += batch.length
    }
    return found
  }

  /** The values of all records as text, in the order of the log. */
  values(): string[] {
    const values: string[] = []
    for (const batch of this.batches) {
      decodeBatch(batch).forEach(({ value }) => values.push(Buffer.from(value ?? []).toString()))
    }
    return values
  }
}
