// Hands records to a loop of the application, one at a time. A record is in hand from when it is handed out until the next
// one is asked for. Owns the record that is in hand. Knows nothing of fetching or the group.

import type { ConsumerPartition, Running, Work } from './consumer-partition.ts'
import { errorOf } from './errors.ts'
import type { Headers, Message } from './record-chunk.ts'
import { type Runner, TurnClock, type WorkSource } from './work-source.ts'

/** A message of a stream. */
export class ConsumedMessage<K = Buffer, V = Buffer> implements Message<K, V> {
  readonly topic: string
  readonly partition: number
  readonly offset: number
  readonly timestamp: number
  readonly key: K | null
  readonly value: V | null
  readonly headers: Headers
  readonly #commit: (offset: number) => Promise<void>

  constructor(message: Message<K, V>, commit: (offset: number) => Promise<void>) {
    this.topic = message.topic
    this.partition = message.partition
    this.offset = message.offset
    this.timestamp = message.timestamp
    this.key = message.key
    this.value = message.value
    this.headers = message.headers
    this.#commit = commit
  }

  /**
   * This message and all before it in its partition are done; commits that soon, together with what else is to be
   * committed. Need not be awaited: what fails is told of as an error. @throws what the commit was refused with.
   */
  commit(): Promise<void> {
    return this.#commit(this.offset)
  }
}

interface InHand<K, V> {
  readonly of: ConsumerPartition<K, V>
  readonly work: Work<K, V>
  readonly running: Running
  /** The index of the message in hand. */
  at: number
}

export interface StreamHooks<K, V> {
  /** Whether a message is done when the next one is asked for. */
  readonly isDoneByNext: boolean
  commit(partition: ConsumerPartition<K, V>): Promise<void>
  /** The loop is over; the consumer is not. */
  onEnded(): void
}

export class ConsumerStream<K, V> implements AsyncIterableIterator<ConsumedMessage<K, V>, undefined>, Runner {
  readonly #source: WorkSource<K, V>
  readonly #hooks: StreamHooks<K, V>
  readonly #turns = new TurnClock()
  readonly #waiters: (() => void)[] = []
  #inHand: InHand<K, V> | undefined
  #error: Error | undefined
  #isOver = false

  /** Made by consumer.stream(). */
  constructor(source: WorkSource<K, V>, hooks: StreamHooks<K, V>) {
    this.#source = source
    this.#hooks = hooks
  }

  /** The next message. @throws what ended the consumer; DESERIALIZATION_FAILED, and then the stream is over. */
  async next(): Promise<IteratorResult<ConsumedMessage<K, V>, undefined>> {
    this.#onAskedForNext()
    for (;;) {
      if (this.#error !== undefined) throw this.#takeError()
      if (this.#isOver) return { done: true, value: undefined }
      if (this.#turns.isOver(this.#source.now())) {
        await this.#source.turn()
        // It may have been ended in between, or its partition may go, pause, or go on elsewhere.
        if (this.#error !== undefined || this.#isOver) continue
        this.#letGo()
      }
      const message = this.#take()
      if (message !== undefined) return { done: false, value: message }
      if (this.#error !== undefined || this.#isOver) continue
      await new Promise<void>((resolve) => this.#waiters.push(resolve))
    }
  }

  /** Ends the loop. The message in hand is not done unless it was committed: it comes again. */
  async return(): Promise<IteratorResult<ConsumedMessage<K, V>, undefined>> {
    this.end()
    return { done: true, value: undefined }
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.end()
  }

  wake(): void {
    for (const wake of this.#waiters.splice(0)) wake()
  }

  /** The loop is over, with an error or quietly. */
  end(error?: Error): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#error = error
    const inHand = this.#inHand
    this.#inHand = undefined
    if (inHand !== undefined) {
      const offset = inHand.work.batch.messages[inHand.at]?.offset
      const isCurrent = inHand.of.epoch === inHand.work.epoch
      // The one before was asked on from, and this one has not been handed out yet; or it was, and is not done.
      const { tracker } = inHand.of
      const isOpen = isCurrent && offset !== undefined && (offset >= tracker.end || tracker.takeBack(offset))
      this.#putBack(inHand, isOpen ? inHand.at : inHand.at + 1)
      inHand.of.onHandled(inHand.running)
      this.#source.queue.release(inHand.of)
    }
    this.#hooks.onEnded()
    this.wake()
  }

  /** What was in hand is done with. */
  #onAskedForNext(): void {
    const inHand = this.#inHand
    if (inHand === undefined) return
    const { of: partition, work, at } = inHand
    const message = work.batch.messages[at]
    const isCurrent = partition.epoch === work.epoch
    if (this.#hooks.isDoneByNext && message !== undefined && isCurrent) partition.tracker.done(message.offset)
    inHand.running.since = Infinity
    inHand.at += 1
    const isUsedUp = inHand.at >= work.batch.messages.length
    if (isCurrent && !partition.isStale && !partition.isPaused && !isUsedUp) return
    if (isUsedUp && isCurrent) partition.tracker.passOver(work.batch.endOffset)
    else this.#putBack(inHand, inHand.at)
    this.#inHand = undefined
    partition.onHandled(inHand.running)
    this.#source.queue.release(partition)
  }

  /** Gives back what is not to be handed out as things are now. Nothing of it is in the application's hands. */
  #letGo(): void {
    const inHand = this.#inHand
    if (inHand === undefined) return
    const { of: partition, work, at } = inHand
    if (partition.epoch === work.epoch && !partition.isStale && !partition.isPaused) return
    this.#putBack(inHand, at)
    this.#inHand = undefined
    partition.onHandled(inHand.running)
    this.#source.queue.release(partition)
  }

  #take(): ConsumedMessage<K, V> | undefined {
    while (this.#inHand === undefined) {
      const partition = this.#source.queue.take()
      if (partition === undefined) return undefined
      const work = this.#source.take(partition)
      if (work === undefined) {
        this.#source.queue.release(partition)
        continue
      }
      const running = { offset: 0, since: Infinity, isWarned: false }
      partition.onHandling(running)
      this.#inHand = { of: partition, work, running, at: work.from }
    }
    return this.#hand(this.#inHand)
  }

  #hand({ of: partition, work, running, at }: InHand<K, V>): ConsumedMessage<K, V> | undefined {
    const message = work.batch.messages[at]
    if (message === undefined) return undefined
    const { offset } = message
    const unreadable = work.batch.unreadable(offset)
    if (unreadable !== undefined) {
      // It stays where it is: whoever wants to go on behind it seeks.
      this.#putBack({ of: partition, work, running, at }, at)
      this.#inHand = undefined
      partition.onHandled(running)
      this.#source.queue.release(partition)
      this.end(unreadable)
      return undefined
    }
    partition.tracker.handOut(offset)
    partition.lastTimestamp = message.timestamp
    running.offset = offset
    running.since = this.#source.now()
    running.isWarned = false
    return new ConsumedMessage(message, (done) => this.#commit(partition, work, done))
  }

  #commit(partition: ConsumerPartition<K, V>, work: Work<K, V>, offset: number): Promise<void> {
    const { topic, partition: number } = partition
    if (partition.isLost || partition.epoch !== work.epoch) {
      const text = `${topic}-${number}: offset ${offset} was not committed: the partition is not this member's any more, or was moved`
      const refused = Promise.reject(errorOf('ILLEGAL_GENERATION', text, { topic, partition: number }))
      refused.catch(() => undefined)
      return refused
    }
    partition.tracker.doneBelow(offset + 1)
    return this.#hooks.commit(partition)
  }

  #putBack({ of: partition, work }: InHand<K, V>, from: number): void {
    if (partition.epoch !== work.epoch) return
    if (from < work.batch.messages.length) partition.putBack({ ...work, from })
  }

  #takeError(): Error {
    const error = this.#error ?? errorOf('CLIENT_CLOSED')
    this.#error = undefined
    return error
  }
}
