// The client: what connect gives. Makes producers, readers and the admin, and closes what it made.

import { checkOptions, type ConnectOptions, readConnectOptions, WAIT_RULES } from './options.ts'
import { Admin } from './admin.ts'
import { Cluster } from './cluster.ts'
import { type ClientEnvironment, systemEnvironment } from './environment.ts'
import { Consumer } from './consumer.ts'
import type { ConsumerOptions } from './consumer-options.ts'
import { errorOf } from './errors.ts'
import { Producer } from './producer.ts'
import type { ProducerOptions } from './producer-options.ts'
import { Reader } from './reader.ts'
import type { ReadOptions } from './reader-options.ts'
import type { WaitOptions } from './scope.ts'
import type { Plain } from './serializers.ts'

/** What is to be closed with the client. */
interface Child {
  close(options: WaitOptions): Promise<void> | void
}

const CLOSE_TIMEOUT_MS = 10_000

export class Client {
  readonly #cluster: Cluster
  readonly #children = new Set<Child>()
  #closed: Promise<void> | undefined

  /** Made by connect(). */
  constructor(cluster: Cluster) {
    this.#cluster = cluster
  }

  /** @throws INVALID_ARGUMENT, CLIENT_CLOSED. */
  producer<K = Plain, V = Plain>(options: ProducerOptions<K, V> = {}): Producer<K, V> {
    this.#checkOpen()
    const producer: Producer<K, V> = new Producer<K, V>(this.#cluster, options, () => this.#children.delete(producer))
    this.#children.add(producer)
    return producer
  }

  /**
   * Reads a topic without a group: from an offset or a time, to one or for ever. Iterate over it with `for await`, or over
   * its batches(). It ends quietly, without an error, when the client is closed. @throws INVALID_ARGUMENT, CLIENT_CLOSED;
   * what goes wrong later is thrown by the iteration.
   */
  read<K = Buffer, V = Buffer>(topic: string, options: ReadOptions<K, V> = {}): Reader<K, V> {
    this.#checkOpen()
    const made: { reader?: Reader<K, V> } = {}
    const reader = new Reader<K, V>(this.#cluster, topic, options, () => {
      if (made.reader !== undefined) this.#children.delete(made.reader)
    })
    made.reader = reader
    this.#children.add(reader)
    return reader
  }

  /**
   * A member of a group, which shares the partitions of topics and commits how far it is. Nothing happens before run() or
   * stream(). @throws INVALID_ARGUMENT, CLIENT_CLOSED.
   */
  consumer<K = Buffer, V = Buffer>(options: ConsumerOptions<K, V>): Consumer<K, V> {
    this.#checkOpen()
    const made: { consumer?: Consumer<K, V> } = {}
    const consumer = new Consumer<K, V>(this.#cluster, options, () => {
      if (made.consumer !== undefined) this.#children.delete(made.consumer)
    })
    made.consumer = consumer
    this.#children.add(consumer)
    return consumer
  }

  /** @throws CLIENT_CLOSED. */
  admin(): Admin {
    this.#checkOpen()
    return new Admin(this.#cluster)
  }

  /**
   * Closes the consumers, which commit and leave, and the readers, flushes and closes the producers for at most timeoutMs (milliseconds, default 10,000), closes the
   * connections. Idempotent. @throws what a producer's close threw: records that nobody was told of were not acknowledged;
   * INVALID_ARGUMENT, and then nothing is closed.
   */
  async close(options: WaitOptions = {}): Promise<void> {
    checkOptions('close', options, WAIT_RULES)
    this.#closed ??= this.#close(options)
    return this.#closed
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #close(options: WaitOptions): Promise<void> {
    try {
      const wait = { timeoutMs: CLOSE_TIMEOUT_MS, ...options }
      const outcomes = await Promise.allSettled([...this.#children].map(async (child) => child.close(wait)))
      for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason
    } finally {
      this.#cluster.close()
      this.#children.clear()
    }
  }

  #checkOpen(): void {
    if (this.#closed !== undefined) throw errorOf('CLIENT_CLOSED', 'the client has been closed')
  }
}

/**
 * A client of the cluster that the brokers belong to. Returns at once: connections are made when something is asked.
 * @throws INVALID_ARGUMENT.
 */
export function connect(options: ConnectOptions, environment: ClientEnvironment = systemEnvironment): Client {
  return new Client(new Cluster(environment, readConnectOptions(options)))
}
