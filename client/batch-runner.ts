// Hands records to the application batch by batch, one at a time for each partition, and so many partitions at once. Owns the
// handlers that run. A record that cannot be read stands alone: those before it and behind it are batches of their own.

import type { Batch } from './consumer-batch.ts'
import type { EachBatchPayload } from './consumer-options.ts'
import type { ConsumerPartition, Running, Work } from './consumer-partition.ts'
import type { Message } from './record-chunk.ts'
import { PartitionWorkers } from './partition-workers.ts'
import { type Runner, TurnClock, type WorkSource } from './work-source.ts'

export type EachBatch<K, V> = (payload: EachBatchPayload<K, V>) => unknown

export class BatchRunner<K, V> implements Runner {
  readonly #source: WorkSource<K, V>
  readonly #handler: EachBatch<K, V>
  readonly #workers: PartitionWorkers<K, V>
  readonly #turns = new TurnClock()

  constructor(source: WorkSource<K, V>, handler: EachBatch<K, V>, concurrency: number) {
    this.#source = source
    this.#handler = handler
    this.#workers = new PartitionWorkers(source, concurrency, (partition) => this.#work(partition))
  }

  wake(): void {
    this.#workers.wake()
  }

  async #work(partition: ConsumerPartition<K, V>): Promise<void> {
    const work = this.#source.take(partition)
    if (work === undefined) return
    const running = { offset: 0, since: Infinity, isWarned: false }
    partition.onHandling(running)
    try {
      if (this.#turns.isOver(this.#source.now())) await this.#source.turn()
      const { batch, from, epoch } = work
      for (const messages of readableParts(work)) {
        if (partition.isStale || partition.epoch !== epoch) return
        if (!(await this.#handlePart(partition, work, messages, running))) return
      }
      if (from <= batch.messages.length && partition.epoch === epoch) partition.tracker.passOver(batch.endOffset)
    } finally {
      partition.onHandled(running)
    }
  }

  /** Says whether all of them are done. */
  async #handlePart(
    partition: ConsumerPartition<K, V>,
    { batch, epoch }: Work<K, V>,
    messages: readonly Message<K, V>[],
    running: Running,
  ): Promise<boolean> {
    const { tracker } = partition
    /** Of the first message that is not done. */
    let from = 0
    const [first, last] = [messages[0], messages.at(-1)]
    if (first === undefined || last === undefined) return true
    tracker.handOutRange(first.offset, last.offset + 1)
    partition.lastTimestamp = last.timestamp
    const isCurrent = (): boolean => partition.epoch === epoch
    const resolve = (offset: number): void => {
      if (!isCurrent() || partition.isLost) return
      while (from < messages.length && (messages[from]?.offset ?? 0) <= offset) from += 1
      const next = messages[from]
      if (next !== undefined) tracker.shorten(next.offset)
    }
    for (let tries = 1; ; tries += 1) {
      const next = messages[from]
      if (next === undefined) break
      const left = from === 0 ? messages : messages.slice(from)
      running.offset = next.offset
      let thrown: unknown
      if (batch.unreadable(next.offset) === undefined) {
        running.since = this.#source.now()
        running.isWarned = false
        try {
          const wasTold = await this.#call(partition, left, resolve, epoch)
          // Who was told that the partition is to move may have left off: only what it resolved is done.
          if (wasTold && from < messages.length) return false
          break
        } catch (error) {
          thrown = error
          tries = messages[from] === next ? tries : 1
        }
      }
      if (!isCurrent()) return false
      const verdict = await this.#onFailed(partition, { batch, left: messages.slice(from), tries, running }, thrown)
      if (verdict === 'done') break
      if (verdict === 'stop' || !isCurrent()) return false
    }
    if (!isCurrent()) return false
    tracker.doneBelow(last.offset + 1)
    return true
  }

  /** Says whether the handler has asked and was told that its partition is stale. */
  async #call(
    partition: ConsumerPartition<K, V>,
    messages: readonly Message<K, V>[],
    resolve: (offset: number) => void,
    epoch: number,
  ): Promise<boolean> {
    const batch: Batch<K, V> = {
      topic: partition.topic,
      partition: partition.partition,
      messages,
      firstOffset: messages[0]?.offset ?? 0,
      lastOffset: messages.at(-1)?.offset ?? 0,
      highWatermark: partition.cursor?.highWatermark,
    }
    let wasTold = false
    const isStale = (): boolean => {
      const isNow = partition.isStale || partition.epoch !== epoch
      wasTold ||= isNow
      return isNow
    }
    await this.#handler({ batch, resolve, isStale, signal: partition.signal })
    return wasTold
  }

  /** What is left of a batch whose handler failed: each record is passed over or buried, or all are tried again. */
  async #onFailed(
    partition: ConsumerPartition<K, V>,
    failed: { batch: Work<K, V>['batch']; left: readonly Message<K, V>[]; tries: number; running: Running },
    thrown: unknown,
  ): Promise<'again' | 'done' | 'stop'> {
    const { batch, left, tries, running } = failed
    for (const { offset } of left) {
      const verdict = await this.#source.failures.onFailed({ of: partition, batch, offset, tries, running }, thrown)
      if (verdict !== 'done') return verdict
    }
    return 'done'
  }
}

/** The messages that come next, cut so that what cannot be read stands alone. */
function readableParts<K, V>({ batch, from }: Work<K, V>): readonly (readonly Message<K, V>[])[] {
  const messages = from === 0 ? batch.messages : batch.messages.slice(from)
  if (!batch.hasUnreadable) return [messages]
  const parts: Message<K, V>[][] = []
  let isOpen = false
  for (const message of messages) {
    const isReadable = batch.unreadable(message.offset) === undefined
    const last = parts.at(-1)
    if (isReadable && isOpen && last !== undefined) last.push(message)
    else parts.push([message])
    isOpen = isReadable
  }
  return parts
}
