// What makes a retry harmless: for one partition, the producer's identity and the sequence number of every record, as the
// broker counts them. Owns the numbers. Pure. Invariant: batches of one identity have sequences without gap or overlap,
// in the order in which they are sent, and wrap to 0 after 2^31 - 1.

import { assert } from '../shared/assert.ts'
import { BASE_SEQUENCE_AT, CRC_AT, PRODUCER_EPOCH_AT, PRODUCER_ID_AT } from '../shared/record-batch/format.ts'
import { computeCrc, writeInt16, writeInt32, writeInt64 } from '../shared/record-batch/header.ts'

export interface ProducerIdentity {
  readonly producerId: number
  readonly producerEpoch: number
}

export interface SequenceStamp extends ProducerIdentity {
  readonly baseSequence: number
}

const SEQUENCES = 0x8000_0000

export class ProducerSession {
  #identity: ProducerIdentity | undefined
  #nextSequence = 0
  #isConfirmed = false

  get identity(): ProducerIdentity | undefined {
    return this.#identity
  }

  /** Whether the broker has appended a batch of this identity, and so knows where its numbers are. */
  get isConfirmed(): boolean {
    return this.#isConfirmed
  }

  /** Begins anew: the broker has seen nothing of this identity in this partition. */
  begin(identity: ProducerIdentity): void {
    this.#identity = identity
    this.#nextSequence = 0
    this.#isConfirmed = false
  }

  /** A batch has been appended. */
  confirm(): void {
    this.#isConfirmed = true
  }

  /** The identity is of no further use. */
  lose(): void {
    this.#identity = undefined
  }

  /** Takes the numbers of the next batch. */
  stamp(recordCount: number): SequenceStamp {
    const identity = this.#identity
    assert(identity !== undefined, 'a session has begun before it stamps')
    const baseSequence = this.#nextSequence
    this.#nextSequence = (baseSequence + recordCount) % SEQUENCES
    return { producerId: identity.producerId, producerEpoch: identity.producerEpoch, baseSequence }
  }

  /** The batch that began there will never be in the log: its numbers go to those behind it. */
  rewind(baseSequence: number): void {
    this.#nextSequence = baseSequence
  }
}

/** Writes other numbers into a finished batch and computes its checksum anew. */
export function restamp(batch: Uint8Array, stamp: SequenceStamp): void {
  writeInt64(batch, PRODUCER_ID_AT, stamp.producerId)
  writeInt16(batch, PRODUCER_EPOCH_AT, stamp.producerEpoch)
  writeInt32(batch, BASE_SEQUENCE_AT, stamp.baseSequence)
  writeInt32(batch, CRC_AT, computeCrc(batch, 0, batch.length))
}
