// One broker in the process of the test, with a foreign client and one of ours beside it. Judges nothing.

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll } from 'vitest'
import type { Client, Message } from '../../client/index.ts'
import { startBroker, type TestBroker } from '../../broker/testing.ts'
import { APIS } from '../../shared/protocol/api.ts'
import { type BatchHeader, batchBytes, readHeader } from '../../shared/record-batch/header.ts'
import { fetchOf, RawClient } from '../network/raw-client.ts'
import type { Answer, Ask, ForeignClient, ForeignVerb } from './foreign-client.ts'

export class Stage {
  readonly #start: (brokers: string) => ForeignClient | Promise<ForeignClient>
  #broker: TestBroker | undefined
  #foreign: ForeignClient | undefined
  #native: Client | undefined
  #folder: string | undefined
  #names = 0

  constructor(start: (brokers: string) => ForeignClient | Promise<ForeignClient>) {
    this.#start = start
  }

  get broker(): TestBroker {
    if (this.#broker === undefined) throw new Error('the broker is not there yet')
    return this.#broker
  }

  get native(): Client {
    if (this.#native === undefined) throw new Error('the client is not there yet')
    return this.#native
  }

  ask<V extends ForeignVerb>(verb: V, ...ask: Ask<V>): Promise<Answer<V>> {
    if (this.#foreign === undefined) throw new Error('the foreign client is not there yet')
    return this.#foreign.ask(verb, ...ask)
  }

  async open(): Promise<void> {
    // Groups are not waited for longer than necessary before their first round.
    this.#broker = await startBroker({ dataDir: 'memory', groupInitialRebalanceDelayMs: 0 })
    this.#native = this.#broker.client()
    this.#foreign = await this.#start(this.#broker.brokers)
  }

  async close(): Promise<void> {
    await this.#foreign?.[Symbol.asyncDispose]()
    await this.#native?.close()
    await this.#broker?.stop()
    if (this.#folder !== undefined) await rm(this.#folder, { recursive: true, force: true })
  }

  /** A name that nobody else has. */
  newName(what: string): string {
    return `${what}-${(this.#names += 1)}`
  }

  async newTopic(numPartitions = 1, config: Readonly<Record<string, string>> = {}): Promise<string> {
    const topic = this.newName('topic')
    await this.native.admin().createTopics({ topics: [{ topic, numPartitions, config }] })
    return topic
  }

  /** Everything in the topic, partition by partition. */
  async readAll(topic: string): Promise<Message[]> {
    const found: Message[] = []
    for await (const message of this.native.read(topic, { from: 'start', to: 'end' })) found.push(message)
    return found
  }

  /** A file with this in it, for tools that want one; it goes with the stage. */
  async fileWith(content: string): Promise<string> {
    this.#folder ??= await mkdtemp(join(tmpdir(), 'tidemark-interop-'))
    const file = join(this.#folder, this.newName('file'))
    await writeFile(file, content)
    return file
  }

  /** The headers of the batches of partition 0, as they lie in the log. */
  async headersOf(topic: string): Promise<BatchHeader[]> {
    const raw = await RawClient.greet(this.broker.port)
    const { body, tail } = await raw.answer(raw.request('fetch', fetchOf(topic, 0, 0)))
    raw.close()
    const bytes = APIS.fetch.response.decode(body, 'fetch').partitions[0]?.bytes ?? 0
    const headers: BatchHeader[] = []
    for (let position = 0; position < bytes; position += batchBytes(tail, position)) {
      headers.push(readHeader(tail, position))
    }
    return headers
  }
}

/** A stage for all tests of a suite. */
export function stageFor(start: (brokers: string) => ForeignClient | Promise<ForeignClient>): Stage {
  const stage = new Stage(start)
  beforeAll(() => stage.open())
  afterAll(() => stage.close())
  return stage
}
