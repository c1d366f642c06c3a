// Hands records to the application one by one, one at a time for each key of a partition, and so many at once. Owns the
// handlers that run and the records that wait for one of their key. Records without a key wait for none.

import type { EachMessage } from './message-runner.ts'
import type { ConsumerPartition, Running, Work } from './consumer-partition.ts'
import type { Message } from './record-chunk.ts'
import { type Runner, TurnClock, type WorkSource } from './work-source.ts'

/** Records that wait for one of their key, at most; then nothing more is taken until some are done. */
const WAITING_MAX = 1_000

interface Item<K, V> {
  readonly of: ConsumerPartition<K, V>
  readonly work: Work<K, V>
  readonly message: Message<K, V>
  readonly lane: Lane<K, V> | undefined
}

/** The records of one key that are handled or wait. */
interface Lane<K, V> {
  readonly key: string
  readonly waiting: Item<K, V>[]
}

/** The batch that records are taken from. */
interface Current<K, V> {
  readonly of: ConsumerPartition<K, V>
  readonly work: Work<K, V>
  /** The index of the next message. */
  at: number
}

export class KeyedRunner<K, V> implements Runner {
  readonly #source: WorkSource<K, V>
  readonly #handler: EachMessage<K, V>
  readonly #concurrency: number
  readonly #turns = new TurnClock()
  readonly #lanes = new Map<ConsumerPartition<K, V>, Map<string, Lane<K, V>>>()
  #current: Current<K, V> | undefined
  #runningCount = 0
  #waitingCount = 0

  constructor(source: WorkSource<K, V>, handler: EachMessage<K, V>, concurrency: number) {
    this.#source = source
    this.#handler = handler
    this.#concurrency = concurrency
  }

  wake(): void {
    while (this.#runningCount < this.#concurrency && this.#waitingCount < WAITING_MAX) {
      const item = this.#next()
      if (item === undefined) return
      this.#runningCount += 1
      this.#run(item)
        .catch((error: unknown) => this.#source.onFault(error))
        .finally(() => {
          this.#runningCount -= 1
          this.wake()
        })
    }
  }

  /** The next record that need not wait; those that have to are put behind the one they wait for. */
  #next(): Item<K, V> | undefined {
    while (this.#waitingCount < WAITING_MAX) {
      const current = this.#currentWork()
      if (current === undefined) return undefined
      const { of: partition, work } = current
      const message = work.batch.messages[current.at]
      if (message === undefined) continue
      current.at += 1
      partition.tracker.handOut(message.offset)
      partition.lastTimestamp = message.timestamp
      const key = keyOf(message, work)
      if (key === undefined) return { of: partition, work, message, lane: undefined }
      const lanes = this.#lanesOf(partition)
      const lane = lanes.get(key)
      if (lane !== undefined) {
        lane.waiting.push({ of: partition, work, message, lane })
        this.#waitingCount += 1
        continue
      }
      const made = { key, waiting: [] }
      lanes.set(key, made)
      return { of: partition, work, message, lane: made }
    }
    return undefined
  }

  #currentWork(): Current<K, V> | undefined {
    for (;;) {
      const current = this.#current
      if (current !== undefined) {
        const { of: partition, work, at } = current
        const isOver = partition.isStale || partition.epoch !== work.epoch
        if (!isOver && partition.isPaused) partition.putBack({ ...work, from: at })
        else if (!isOver && at < work.batch.messages.length) return current
        else if (!isOver) partition.tracker.passOver(work.batch.endOffset)
        this.#current = undefined
        this.#source.queue.release(partition)
      }
      const partition = this.#source.queue.take()
      if (partition === undefined) return undefined
      const work = this.#source.take(partition)
      if (work === undefined) this.#source.queue.release(partition)
      else this.#current = { of: partition, work, at: work.from }
    }
  }

  /** The record, and those of its key that have come to wait for it. */
  async #run(first: Item<K, V>): Promise<void> {
    const { lane, of: partition } = first
    const running = { offset: 0, since: Infinity, isWarned: false }
    partition.onHandling(running)
    try {
      for (let item: Item<K, V> | undefined = first; item !== undefined; item = this.#nextOf(lane)) {
        const { work, message } = item
        const isDone = await this.#handle(item, running)
        // Of the others of its key none may overtake it; they are dropped with the partition.
        if (!isDone && !partition.isStale && partition.epoch === work.epoch) return
        if (isDone && partition.epoch === work.epoch) partition.tracker.done(message.offset)
      }
    } finally {
      partition.onHandled(running)
      if (lane !== undefined) this.#close(partition, lane)
    }
  }

  #nextOf(lane: Lane<K, V> | undefined): Item<K, V> | undefined {
    const next = lane?.waiting.shift()
    if (next !== undefined) this.#waitingCount -= 1
    return next
  }

  #close(partition: ConsumerPartition<K, V>, lane: Lane<K, V>): void {
    this.#waitingCount -= lane.waiting.length
    const lanes = this.#lanes.get(partition)
    lanes?.delete(lane.key)
    if (lanes?.size === 0) this.#lanes.delete(partition)
  }

  /** Says whether the record is done. */
  async #handle({ of: partition, work, message }: Item<K, V>, running: Running): Promise<boolean> {
    const { offset, topic } = message
    const { batch, epoch } = work
    if (this.#turns.isOver(this.#source.now())) await this.#source.turn()
    running.offset = offset
    for (let tries = 1; ; tries += 1) {
      if (partition.isStale || partition.epoch !== epoch) return false
      let thrown: unknown
      if (batch.unreadable(offset) === undefined) {
        running.since = this.#source.now()
        running.isWarned = false
        try {
          await this.#handler({ topic, partition: message.partition, message, signal: partition.signal })
          return true
        } catch (error) {
          thrown = error
        }
      }
      const failed = { of: partition, batch, offset, tries, running }
      const verdict = await this.#source.failures.onFailed(failed, thrown)
      if (verdict !== 'again') return verdict === 'done'
    }
  }

  #lanesOf(partition: ConsumerPartition<K, V>): Map<string, Lane<K, V>> {
    let lanes = this.#lanes.get(partition)
    if (lanes === undefined) {
      lanes = new Map()
      this.#lanes.set(partition, lanes)
    }
    return lanes
  }
}

/** Text that is the same for the same key; undefined without one. */
function keyOf<K, V>({ key, offset }: Message<K, V>, { batch }: Work<K, V>): string | undefined {
  if (key === null) return undefined
  if (typeof key === 'string') return key
  if (Buffer.isBuffer(key)) return key.toString('latin1')
  // What a deserializer has made of it may have no text: the bytes have.
  return batch.bytesOf(offset)?.key?.toString('latin1')
}
