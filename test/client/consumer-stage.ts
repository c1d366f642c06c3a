// What the tests of consumers have in common: topics with records, consumers that gather, clients that can be cut off.

import { type Client, connect } from '../../client/client.ts'
import type { ConsumerOptions } from '../../client/consumer-options.ts'
import type { ConsumerEventName, ConsumerEvents } from '../../client/consumer-events.ts'
import type { Consumer } from '../../client/consumer.ts'
import { systemEnvironment } from '../../client/environment.ts'
import { string } from '../../client/serializers.ts'
import { systemTransport, type Wire } from '../../client/transport.ts'

export type TextConsumer = Consumer<Buffer, string>

/** A promise, and what settles it. */
export function gate<T = void>(): { promise: Promise<T>; open: (value: T) => void } {
  let open: (value: T) => void = () => undefined
  const promise = new Promise<T>((resolve) => {
    open = resolve
  })
  return { promise, open }
}

/** Fast retries, for tests that break things. */
export const FAST = { retry: { minMs: 5, maxMs: 50 } } as const

/** A client whose network can be taken away, as when its process dies. */
export function frailClient(brokers: string): { client: Client; die: () => void } {
  const wires = new Set<Wire>()
  let isDead = false
  const client = connect(
    { brokers, ...FAST },
    {
      ...systemEnvironment,
      transport: {
        open(address, events) {
          const wire = systemTransport.open(isDead ? { host: '127.0.0.1', port: 1 } : address, events)
          wires.add(wire)
          return wire
        },
      },
    },
  )
  const die = (): void => {
    isDead = true
    for (const wire of wires) wire.destroy()
  }
  return { client, die }
}

export class ConsumerStage {
  readonly client: Client
  #names = 0

  constructor(client: Client) {
    this.client = client
  }

  name(prefix: string): string {
    this.#names += 1
    return `${prefix}-${this.#names}`
  }

  /** A topic with so many partitions, and so many records in each: '0', '1' and so on. */
  async topicWith(partitions: number, records: number): Promise<string> {
    const topic = this.name('topic')
    await this.client.admin().createTopics({ topics: [{ topic, numPartitions: partitions }] })
    await this.produce(topic, partitions, 0, records)
    return topic
  }

  async produce(topic: string, partitions: number, from: number, to: number): Promise<void> {
    const producer = this.client.producer()
    for (let partition = 0; partition < partitions; partition += 1) {
      const messages = Array.from({ length: to - from }, (_, index) => ({ partition, value: String(from + index) }))
      if (messages.length > 0) await producer.send({ topic, messages })
    }
    await producer.close()
  }

  consumerOf(
    topics: string | readonly string[],
    options: Partial<ConsumerOptions<Buffer, string>> = {},
    client: Client = this.client,
  ): TextConsumer {
    const deserializers = { value: string }
    return client.consumer({ groupId: this.name('group'), topics, fromBeginning: true, deserializers, ...options })
  }
}

/** The next event of a name that is as wanted. */
export function eventOf<Name extends ConsumerEventName>(
  consumer: TextConsumer,
  name: Name,
  isWanted: (event: ConsumerEvents[Name]) => boolean = () => true,
): Promise<ConsumerEvents[Name]> {
  return new Promise((resolve) => {
    const listener = (event: ConsumerEvents[Name]): void => {
      if (!isWanted(event)) return
      consumer.off(name, listener)
      resolve(event)
    }
    consumer.on(name, listener)
  })
}

/** The numbers of the partitions that it has, ascending. */
export function partitionsOf(consumer: TextConsumer): number[] {
  return consumer
    .assignment()
    .map(({ partition }) => partition)
    .toSorted((a, b) => a - b)
}

/** Resolves when a condition holds; looks after every event of the consumers. */
export async function until(consumers: readonly TextConsumer[], isSo: () => boolean): Promise<void> {
  while (!isSo()) {
    await Promise.race(consumers.flatMap((one) => [eventOf(one, 'assigned'), eventOf(one, 'revoked')]))
    // An event is told before what it tells of is so.
    await new Promise(setImmediate)
  }
}
