// The produce requests of a connection that are not answered yet, in the order in which they came: an answer that is ready
// before its predecessor's waits for it. Pure; a linked list, because that is what a queue costs least as.

import type { ErrorCode } from '../../../shared/errors.ts'
import type { ProduceOutcome } from '../../requests/requests.ts'

export interface PendingProduce {
  readonly version: number
  readonly correlationId: number
  /** Of the request's frame. */
  readonly bytes: number
  /** On the monotonic clock, milliseconds. */
  readonly receivedAt: number
  /** Known once the request has been read; a request that cannot be read is answered in any case. */
  acks: number
  /** One of the two is set when the answer is ready. */
  outcomes: readonly ProduceOutcome[] | undefined
  refusal: { readonly code: ErrorCode; readonly message: string } | undefined
  next: PendingProduce | undefined
}

export class ProduceAnswers {
  #first: PendingProduce | undefined
  #last: PendingProduce | undefined

  get isEmpty(): boolean {
    return this.#first === undefined
  }

  enter(pending: PendingProduce): void {
    if (this.#last === undefined) this.#first = pending
    else this.#last.next = pending
    this.#last = pending
  }

  /** Takes the oldest one if its answer is ready. */
  takeReady(): PendingProduce | undefined {
    const first = this.#first
    if (first === undefined || (first.outcomes === undefined && first.refusal === undefined)) return undefined
    this.#first = first.next
    if (first.next === undefined) this.#last = undefined
    first.next = undefined
    return first
  }
}
