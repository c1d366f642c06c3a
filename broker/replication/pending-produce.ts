// A produce request between its append and its answer. Owns the count of partitions that are still to be settled; knows
// nothing of logs. Each partition is settled once, acknowledged or refused, and the last one answers the request.

import type { ErrorCode } from '../../shared/errors.ts'
import type { Offset, TimestampMs } from '../../shared/ids.ts'
import type { Delayed } from './delayed-operations.ts'
import { assert } from '../../shared/assert.ts'
import { notDelayed } from './delayed-operations.ts'

/** Why a partition was not served. */
export interface PartitionRefusal {
  readonly error: ErrorCode
  readonly message: string
}

/** One partition's share of a produce request, and what is answered for it. */
export class PendingAppend {
  refusal: PartitionRefusal | undefined = undefined
  baseOffset: Offset | undefined = undefined
  /** Exclusive. Where replicas elsewhere must hold the records, the append waits until the high watermark is there. */
  endOffset: Offset | undefined = undefined
  logStartOffset: Offset | undefined = undefined
  logAppendTime: TimestampMs | undefined = undefined
  isSettled = false
  readonly #produce: PendingProduce

  constructor(produce: PendingProduce) {
    this.#produce = produce
  }

  acknowledge(): void {
    // Its deadline may have passed while it waited for the disk.
    if (this.isSettled) return
    this.isSettled = true
    this.#produce.onSettled()
  }

  refuse(error: ErrorCode, message: string): void {
    if (this.isSettled) return
    this.isSettled = true
    this.refusal = { error, message }
    this.baseOffset = undefined
    this.logAppendTime = undefined
    this.#produce.onSettled()
  }
}

export class PendingProduce implements Delayed {
  readonly appends: PendingAppend[] = []
  readonly delay = notDelayed()
  /** Partitions to be settled, and one for the request itself while it is being worked on. */
  #unsettled = 1
  readonly #respond: (appends: readonly PendingAppend[]) => void
  readonly #onAnswered: (produce: PendingProduce) => void

  constructor(respond: (appends: readonly PendingAppend[]) => void, onAnswered: (produce: PendingProduce) => void) {
    this.#respond = respond
    this.#onAnswered = onAnswered
  }

  add(): PendingAppend {
    const append = new PendingAppend(this)
    this.appends.push(append)
    this.#unsettled += 1
    return append
  }

  /** All partitions have been added. */
  close(): void {
    this.onSettled()
  }

  onSettled(): void {
    assert(this.#unsettled > 0, 'a produce request is answered once')
    this.#unsettled -= 1
    if (this.#unsettled > 0) return
    this.#onAnswered(this)
    this.#respond(this.appends)
  }

  onDeadline(): void {
    for (const append of this.appends) {
      append.refuse('REQUEST_TIMED_OUT', 'the records were appended, but not held as safely as asked in time')
    }
  }
}
