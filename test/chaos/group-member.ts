// One member of a group, as a process of its own: a consumer that handles records, and writes down what it does before the
// client knows that it is done. Ends in order when it is told to (SIGTERM). Judges nothing. The one argument is JSON, see
// MemberSettings.
//
// Invariant: a line is in the file when the call that writes it returns, so that a process that is killed leaves all that it
// had said.

import { openSync, writeSync } from 'node:fs'
import type { AssignorName } from '../../client/assignors.ts'
import type { Consumer } from '../../client/consumer.ts'
import { connect } from '../../client/client.ts'
import { string } from '../../client/serializers.ts'
import { type Happening, monotonicMs, type PolledRecord } from './history.ts'

/** How it takes records: by eachMessage, eachBatch or stream(), or by eachMessage with commits of its own. */
export type MemberKind = 'message' | 'batch' | 'stream' | 'manual'

export interface MemberSettings {
  readonly brokers: readonly string[]
  readonly topic: string
  readonly group: string
  /** Names this life of it. */
  readonly process: string
  readonly kind: MemberKind
  readonly assignor: AssignorName
  readonly instance?: string
  readonly sessionTimeoutMs: number
  /** Where it writes what it does. */
  readonly file: string
  /** When the history began, by monotonicMs(). */
  readonly zeroMs: number
}

/** The exit code of a member that was refused for good. */
const FAILED = 3
const MAX_POLL_MS = 15_000
const COMMIT_EVERY_MS = 250
/** Records after which a member that commits by itself does, and those that are told together of a batch. */
const MANUAL_RECORDS = 100
const CHUNK_RECORDS = 10
/** A handler takes so long now and then, so that there is a time between handling and commit to be killed in. */
const SLOW_EVERY = 40
const SLOW_MS = 15

type Told = Happening extends infer One ? (One extends { readonly group: string } ? One : never) : never
type Untold = Told extends infer One ? (One extends Told ? Omit<One, 'group' | 'process'> : never) : never

class Member {
  readonly #settings: MemberSettings
  readonly #file: number
  readonly #consumer: Consumer<Buffer, string>
  readonly #noMore = new AbortController()
  #handled = 0
  #isHandling = false
  #isLeaving = false
  #loop: Promise<void> | undefined

  constructor(settings: MemberSettings) {
    this.#settings = settings
    this.#file = openSync(settings.file, 'a')
    const { group, topic, sessionTimeoutMs, assignor, instance, kind, brokers } = settings
    const client = connect({ brokers: [...brokers] })
    this.#consumer = client.consumer({
      groupId: group,
      topics: topic,
      fromBeginning: true,
      deserializers: { value: string },
      sessionTimeoutMs,
      maxPollIntervalMs: MAX_POLL_MS,
      autoCommit: kind === 'manual' ? false : { everyMs: COMMIT_EVERY_MS },
      assignors: assignor,
      maxBytes: 1_048_576,
      maxWaitMs: 1_000,
      onOutOfRange: 'error',
      ...(instance !== undefined && { instanceId: instance }),
    })
    this.#listen()
    process.once('SIGTERM', () => {
      this.#leave()
        .catch(() => undefined)
        .then(() => client.close({ timeoutMs: 1_000 }))
        .catch(() => undefined)
        .finally(() => process.exit(0))
    })
  }

  /** A loop ends by itself when it has done what it has in hand; or now, when it waits for more. */
  async #leave(): Promise<void> {
    this.#isLeaving = true
    if (!this.#isHandling) this.#noMore.abort()
    await this.#loop?.catch(() => undefined)
    await this.#consumer.close()
  }

  /** Resolves when it is in, or has ended. */
  async run(): Promise<void> {
    await this.#run().catch((error: unknown) => {
      if (!this.#isLeaving) throw error
    })
  }

  async #run(): Promise<void> {
    const consumer = this.#consumer
    switch (this.#settings.kind) {
      case 'message':
        return consumer.run({ concurrency: 2, eachMessage: (one) => this.#handle(one.partition, [one.message]) })
      case 'manual':
        return consumer.run({
          eachMessage: async ({ partition, message }) => {
            await this.#handle(partition, [message])
            // What is done: all but this one. One that is refused is told of by the events.
            if (this.#handled % MANUAL_RECORDS === 0) await consumer.commit().catch(() => undefined)
          },
        })
      case 'batch':
        return consumer.run({
          concurrency: 2,
          eachBatch: async ({ batch: { messages, partition }, resolve, isStale }) => {
            for (let at = 0; at < messages.length && !isStale(); at += CHUNK_RECORDS) {
              const chunk = messages.slice(at, at + CHUNK_RECORDS)
              await this.#handle(partition, chunk)
              resolve(chunk.at(-1)?.offset ?? 0)
            }
          },
        })
      case 'stream':
        this.#loop = this.#follow()
        return this.#loop
    }
  }

  async #follow(): Promise<void> {
    for await (const message of this.#consumer.stream({ signal: this.#noMore.signal })) {
      if (this.#isLeaving) return
      await this.#handle(message.partition, [message])
      if (this.#isLeaving) return
    }
  }

  #listen(): void {
    const consumer = this.#consumer
    consumer.on('assigned', ({ partitions }) => {
      const from = Object.fromEntries(partitions.map(({ partition, offset }) => [partition, offset]))
      this.#tell({ op: 'owns', member: consumer.membership().memberId, generation: this.#generation, from })
    })
    consumer.on('revoked', async ({ partitions, isLost }) => {
      const numbers = partitions.map(({ partition }) => partition)
      this.#tell({ op: 'gave-up', generation: this.#generation, partitions: numbers, isLost })
      if (this.#settings.kind === 'manual' && !isLost) await consumer.commit().catch(() => undefined)
    })
    consumer.on('committed', ({ partitions, generation }) => {
      const offsets = partitions.map(({ partition, offset }) => [partition, offset] as const)
      this.#tell({ op: 'commit', generation, offsets })
    })
    consumer.on('moved', ({ partition, from, to, reason }) => {
      this.#fail(`moved from ${partition}/${from} to ${to}: ${reason}`)
    })
    consumer.on('error', (error) => {
      if (!error.fatal) return
      // Whether somebody has come in under its name, they know who start members.
      if (error.code !== 'FENCED_INSTANCE_ID') this.#fail(error.message)
      process.exit(FAILED)
    })
  }

  async #handle(partition: number, messages: readonly { offset: number; value: string | null }[]): Promise<void> {
    const [generation, began] = [this.#generation, this.#now()]
    this.#isHandling = true
    this.#handled += messages.length
    const isSlow = this.#handled % SLOW_EVERY < messages.length
    await new Promise<void>((done) => (isSlow ? setTimeout(done, SLOW_MS) : setImmediate(done)))
    const records = messages.map(({ offset, value }): PolledRecord => [partition, offset, value ?? ''])
    this.#tell({ op: 'handle', generation, began, records })
    this.#isHandling = false
  }

  #fail(what: string): void {
    this.#tell({ op: 'member-trouble', generation: this.#generation, what })
  }

  get #generation(): number {
    return this.#consumer.membership().generation
  }

  #now(): number {
    return Math.round((monotonicMs() - this.#settings.zeroMs) * 100) / 100
  }

  #tell(happening: Untold): void {
    const { group, process: name } = this.#settings
    writeSync(this.#file, `${JSON.stringify({ at: this.#now(), group, process: name, ...happening })}\n`)
  }
}

const [, , words = ''] = process.argv
await new Member(JSON.parse(words) as MemberSettings).run()
