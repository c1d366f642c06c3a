// Hands records to the application one by one, one at a time for each partition, and so many partitions at once. Owns the
// handlers that run. Knows nothing of fetching, offsets or the group.

import type { EachMessagePayload } from './consumer-options.ts'
import type { ConsumerPartition, Running, Work } from './consumer-partition.ts'
import type { Message } from './record-chunk.ts'
import { PartitionWorkers } from './partition-workers.ts'
import { type Runner, TurnClock, type WorkSource } from './work-source.ts'

export type EachMessage<K, V> = (payload: EachMessagePayload<K, V>) => unknown

export class MessageRunner<K, V> implements Runner {
  readonly #source: WorkSource<K, V>
  readonly #handler: EachMessage<K, V>
  readonly #workers: PartitionWorkers<K, V>
  readonly #turns = new TurnClock()

  constructor(source: WorkSource<K, V>, handler: EachMessage<K, V>, concurrency: number) {
    this.#source = source
    this.#handler = handler
    this.#workers = new PartitionWorkers(source, concurrency, (partition) => this.#work(partition))
  }

  wake(): void {
    this.#workers.wake()
  }

  /** One batch; then others have their turn. */
  async #work(partition: ConsumerPartition<K, V>): Promise<void> {
    const work = this.#source.take(partition)
    if (work === undefined) return
    const running = { offset: 0, since: Infinity, isWarned: false }
    partition.onHandling(running)
    try {
      await this.#handleAll(partition, work, running)
    } finally {
      partition.onHandled(running)
    }
  }

  async #handleAll(partition: ConsumerPartition<K, V>, work: Work<K, V>, running: Running): Promise<void> {
    const { batch, epoch } = work
    const { tracker } = partition
    const { messages } = batch
    for (let at = work.from; at < messages.length; at += 1) {
      const message = messages[at]
      if (message === undefined || partition.isStale || partition.epoch !== epoch) return
      if (partition.isPaused) return partition.putBack({ batch, from: at, epoch })
      const now = this.#source.now()
      if (this.#turns.isOver(now)) {
        running.since = Infinity
        await this.#source.turn()
        at -= 1
        continue
      }
      const { offset } = message
      tracker.handOut(offset)
      partition.lastTimestamp = message.timestamp
      running.offset = offset
      running.since = now
      running.isWarned = false
      if (batch.hasUnreadable && batch.unreadable(offset) !== undefined) {
        if (!(await this.#onFailed(partition, work, { message, running }, undefined))) return
      } else {
        try {
          const result = this.#handler({
            topic: message.topic,
            partition: message.partition,
            message,
            signal: partition.signal,
          })
          if (isPromise(result)) await result
        } catch (thrown) {
          if (!(await this.#onFailed(partition, work, { message, running }, thrown))) return
        }
      }
      if (partition.epoch === epoch) tracker.done(offset)
    }
    if (partition.epoch === epoch) tracker.passOver(batch.endOffset)
  }

  /** Tries until the record is done; says whether it is. */
  async #onFailed(
    partition: ConsumerPartition<K, V>,
    { batch, epoch }: Work<K, V>,
    { message, running }: { readonly message: Message<K, V>; readonly running: Running },
    thrown: unknown,
  ): Promise<boolean> {
    let failure = thrown
    for (let tries = 1; ; tries += 1) {
      const { offset, topic } = message
      const failed = { of: partition, batch, offset, tries, running }
      const verdict = await this.#source.failures.onFailed(failed, failure)
      if (verdict !== 'again' || partition.epoch !== epoch) return verdict === 'done'
      if (batch.unreadable(offset) !== undefined) continue
      running.since = this.#source.now()
      running.isWarned = false
      try {
        await this.#handler({ topic, partition: message.partition, message, signal: partition.signal })
        return true
      } catch (again) {
        failure = again
      }
    }
  }
}

function isPromise(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function'
}
