// Has so many partitions worked on at once, each by one worker, in the order in which they offer work. Owns how many run;
// what is done with a partition is given.

import type { ConsumerPartition } from './consumer-partition.ts'
import type { Runner, WorkSource } from './work-source.ts'

export class PartitionWorkers<K, V> implements Runner {
  readonly #source: WorkSource<K, V>
  readonly #work: (partition: ConsumerPartition<K, V>) => Promise<void>
  readonly #concurrency: number
  #runningCount = 0

  constructor(
    source: WorkSource<K, V>,
    concurrency: number,
    work: (partition: ConsumerPartition<K, V>) => Promise<void>,
  ) {
    this.#source = source
    this.#concurrency = concurrency
    this.#work = work
  }

  wake(): void {
    while (this.#runningCount < this.#concurrency) {
      const partition = this.#source.queue.take()
      if (partition === undefined) return
      this.#runningCount += 1
      this.#work(partition)
        .catch((error: unknown) => this.#source.onFault(error))
        .finally(() => {
          this.#runningCount -= 1
          this.#source.queue.release(partition)
          this.wake()
        })
    }
  }
}
