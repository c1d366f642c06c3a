// Where those who run handlers get their work from: partitions in turn, their batches, the time. Types, and the pause that
// keeps the event loop turning.

import type { ConsumerPartition, Work } from './consumer-partition.ts'
import type { RecordFailures } from './record-failures.ts'
import type { WorkQueue } from './work-queue.ts'

export interface WorkSource<K, V> {
  readonly queue: WorkQueue<ConsumerPartition<K, V>>
  readonly failures: RecordFailures<K, V>
  /** The partition's next batch; what is damaged is told of. */
  take(partition: ConsumerPartition<K, V>): Work<K, V> | undefined
  /** By the monotonic clock. */
  now(): number
  /** Resolves when the events of this turn have been handled. */
  turn(): Promise<void>
  /** @throws never; a fault of our own ends the consumer. */
  onFault(error: unknown): void
}

/** Hands records to the application. */
export interface Runner {
  /** There may be work. */
  wake(): void
}

/** Handlers that never wait for anything let nothing else come to its turn; after so many milliseconds something else has it. */
const TURN_MS = 10

/** Whether it is time to let the event loop turn. */
export class TurnClock {
  #since = 0

  isOver(now: number): boolean {
    if (now - this.#since < TURN_MS) return false
    const isFirst = this.#since === 0
    this.#since = now
    return !isFirst
  }
}
