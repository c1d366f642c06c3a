// The requests of a connection that are not answered yet, in the order in which they came: Kafka's clients take the answers in
// that order, so that one which is ready before its predecessor's waits for it. Pure; a linked list, because that is what a
// queue costs least as.

/** A request that is under way: what is needed to answer it. */
export interface Exchange {
  /** Of its API; for what is counted. */
  readonly name: string
  readonly version: number
  readonly correlationId: number
  /** Of the request's frame. */
  readonly bytes: number
  /** What it counts for besides, for an answer of which nobody knows how long it will be. */
  readonly toldBytes: number
  /** On the monotonic clock, milliseconds. */
  readonly receivedAt: number
  /** Writes the answer, or does nothing where none is wanted. Set when the answer is ready. */
  answer: (() => void) | undefined
  /** Gives back what the answer holds, when it will not be written. */
  drop: (() => void) | undefined
  next: Exchange | undefined
}

export class AnswersInOrder {
  #first: Exchange | undefined
  #last: Exchange | undefined

  enter(exchange: Exchange): void {
    if (this.#last === undefined) this.#first = exchange
    else this.#last.next = exchange
    this.#last = exchange
  }

  /** Takes the oldest one if its answer is ready. */
  takeReady(): Exchange | undefined {
    const first = this.#first
    if (first?.answer === undefined) return undefined
    this.#first = first.next
    if (first.next === undefined) this.#last = undefined
    first.next = undefined
    return first
  }

  /** Nothing will be answered any more. */
  dropAll(): void {
    for (let exchange = this.#first; exchange !== undefined; exchange = exchange.next) exchange.drop?.()
    this.#first = undefined
    this.#last = undefined
  }
}
