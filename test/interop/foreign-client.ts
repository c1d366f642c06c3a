// What every foreign client can be asked in the tests, whatever it is written in: the same verbs for all. Owns the meaning of
// the verbs, and the processes that answer to them in lines of JSON. Knows nothing of brokers. Invariant: no process
// outlives the one that started it.
//
// Bytes are base64; null is null. A verb that a client has no call for is missing from its row in `verbs`.

import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { Codec } from '../../shared/record-batch/format.ts'

export interface PlainRecord {
  readonly key: string | null
  readonly value: string | null
  readonly headers: readonly (readonly [string, string | null])[]
  /** Milliseconds since 1970. */
  readonly timestamp: number
  readonly partition?: number
}

export interface PlacedRecord extends PlainRecord {
  readonly topic: string
  readonly partition: number
  readonly offset: number
}

export interface TopicWish {
  readonly topic: string
  /** Without assignments: how many, on as many brokers as the broker likes. */
  readonly partitions?: number
  /** The brokers of each partition. */
  readonly assignments?: readonly (readonly number[])[]
  readonly configs?: Readonly<Record<string, string>>
}

export interface DescribedPartition {
  readonly partition: number
  readonly leader: number
  readonly replicas: readonly number[]
  readonly isr: readonly number[]
}

interface Spot {
  readonly topic: string
  readonly partition: number
}

interface OfMember {
  readonly member: string
}

interface OfGroup {
  readonly group: string
}

type Pairs = Readonly<Record<string, string>>

/** The offset of a record of which the client does not say where it is. */
export const UNTOLD = -1

/** What came of a producer under load: values with their offsets, and those that failed with why. */
export interface LoadOutcome {
  readonly acknowledged: readonly (readonly [value: string, offset: number])[]
  readonly failed: readonly (readonly [value: string, why: string])[]
}

export interface ForeignVerbs {
  version(): string
  /** All of them are acknowledged when it answers. */
  produce(ask: {
    topic: string
    codec: Codec
    idempotent: boolean
    records: readonly PlainRecord[]
  }): null | undefined | void
  /** The next records of one partition, without a group. */
  read(ask: Spot & { from: number; count: number }): readonly PlacedRecord[]
  /** -1 where there is none. */
  offsets(ask: Spot & { at: number | 'earliest' | 'latest' | 'max-timestamp' }): number
  /** A member begins to consume, without committing by itself; its client id is its name. */
  join(ask: OfMember & OfGroup & { topics: readonly string[]; assignor: string }): null | undefined | void
  /** Waits until the member has so many partitions, TOPIC-PARTITION in order. */
  assigned(ask: OfMember & { count: number }): readonly string[]
  /** Waits for its next records. */
  take(ask: OfMember & { count: number }): readonly PlacedRecord[]
  /** Commits everything that was taken. */
  commit(ask: OfMember): null | undefined | void
  seek(ask: OfMember & Spot & { offset: number }): null | undefined | void
  leave(ask: OfMember): null | undefined | void
  /** An idempotent producer begins to write NAME:0, NAME:1 and so on into partition 0, some hundreds a second. */
  load(ask: { name: string; topic: string }): null | undefined | void
  /** Waits for so many more acknowledgements; answers how many there are. */
  loaded(ask: { name: string; count: number }): number
  endLoad(ask: { name: string }): LoadOutcome
  createTopics(ask: { topics: readonly TopicWish[] }): null | undefined | void
  listTopics(): readonly string[]
  describeTopic(ask: { topic: string }): readonly DescribedPartition[]
  createPartitions(ask: { topic: string; total: number }): null | undefined | void
  deleteTopics(ask: { topics: readonly string[] }): null | undefined | void
  describeConfigs(ask: { topic: string } | { broker: number }): Readonly<Record<string, string | null>>
  /** Changes what is named. */
  alterConfigs(ask: { topic: string; set: Pairs; remove?: readonly string[] }): null | undefined | void
  /** What is not named goes back to its default. */
  replaceConfigs(ask: { topic: string; configs: Pairs }): null | undefined | void
  describeCluster(): { cluster: string; controller: number; nodes: readonly { id: number; address: string }[] }
  listGroups(): readonly string[]
  describeGroup(ask: OfGroup): {
    state: string
    assignor: string
    members: readonly { clientId: string; partitions: readonly string[] | null }[]
  }
  deleteGroups(ask: { groups: readonly string[] }): null | undefined | void
  /** By TOPIC-PARTITION. */
  groupOffsets(ask: OfGroup): Readonly<Record<string, number | null>>
  alterGroupOffsets(ask: OfGroup & Spot & { offset: number }): null | undefined | void
  deleteGroupOffsets(ask: OfGroup & Spot): null | undefined | void
  /** Answers where the log begins from then on. */
  deleteRecords(ask: Spot & { before: number }): number
  /** Bytes by TOPIC-PARTITION. */
  logDirs(ask: { broker: number }): Readonly<Record<string, number>>
  /** The name of the error, if there is one. */
  electLeaders(ask: Spot): string | null
  /** Null calls it off. */
  reassign(ask: Spot & { replicas: readonly number[] | null }): null | undefined | void
  /** Which brokers are added, by TOPIC-PARTITION. */
  reassignments(): Readonly<Record<string, readonly number[]>>
  producers(ask: Spot): readonly { id: number; epoch: number; lastSequence: number }[]
  /** Makes ready for transactions. */
  transact(): null | undefined | void
  /** Joins by the group protocol of Kafka 4. */
  joinNewer(ask: OfGroup & { topic: string }): null | undefined | void
  /** A console tool by its main class. */
  tool(ask: { main: string; args: readonly string[]; input?: string }): { exit: number; out: string; err: string }
}

export type ForeignVerb = keyof ForeignVerbs
export type Ask<V extends ForeignVerb> = Parameters<ForeignVerbs[V]>
export type Answer<V extends ForeignVerb> = ReturnType<ForeignVerbs[V]>

export interface ForeignClient extends AsyncDisposable {
  /** @throws what the client threw, as a text */
  ask<V extends ForeignVerb>(verb: V, ...ask: Ask<V>): Promise<Answer<V>>
}

export interface ForeignProcessOptions {
  readonly bin: string
  readonly args: readonly string[]
  readonly env: Readonly<Record<string, string>>
}

interface Waiting {
  readonly resolve: (result: unknown) => void
  readonly reject: (error: Error) => void
}

interface Line {
  readonly id: number
  readonly result?: unknown
  readonly error?: string
}

const COMPLAINTS_KEPT = 30

/** A client that answers in lines of JSON. */
export class ForeignProcess implements ForeignClient {
  readonly #child: ChildProcess
  readonly #waiting = new Map<number, Waiting>()
  readonly #complaints: string[] = []
  readonly #gone: Promise<void>
  readonly #killAtExit: () => void
  #nextId = 1
  /** Why it cannot answer any more. */
  #failure: Error | undefined

  constructor({ bin, args, env }: ForeignProcessOptions) {
    const child = spawn(bin, args, { env: { ...process.env, ...env }, stdio: ['pipe', 'pipe', 'pipe'] })
    this.#child = child
    this.#gone = new Promise((resolve) => {
      child.once('error', (error) => this.#fail(error.message, resolve))
      child.once('close', (code, signal) => this.#fail(`it ended with ${code ?? signal}`, resolve))
    })
    createInterface({ input: child.stdout }).on('line', (line) => this.#onLine(line))
    createInterface({ input: child.stderr }).on('line', (line) => {
      this.#complaints.push(line)
      if (this.#complaints.length > COMPLAINTS_KEPT) this.#complaints.shift()
    })
    // A process that has ended is told of by its exit.
    child.stdin.on('error', () => undefined)
    this.#killAtExit = () => void child.kill('SIGKILL')
    process.once('exit', this.#killAtExit)
  }

  ask<V extends ForeignVerb>(verb: V, ...ask: Ask<V>): Promise<Answer<V>> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure)
    const id = this.#nextId++
    return new Promise<Answer<V>>((resolve, reject) => {
      this.#waiting.set(id, {
        resolve: (result) => resolve(result as Answer<V>),
        reject: (error) => reject(new Error(`${verb}: ${error.message}`)),
      })
      this.#child.stdin?.write(`${JSON.stringify({ id, verb, ...ask[0] })}\n`)
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#gone
    process.off('exit', this.#killAtExit)
  }

  #onLine(text: string): void {
    const { id, result, error } = JSON.parse(text) as Line
    const waiting = this.#waiting.get(id)
    this.#waiting.delete(id)
    if (error === undefined) waiting?.resolve(result)
    else waiting?.reject(new Error(error))
  }

  #fail(why: string, done: () => void): void {
    const error = new Error(`${why}: ${this.#complaints.join('\n')}`)
    this.#failure = error
    for (const { reject } of this.#waiting.values()) reject(error)
    this.#waiting.clear()
    done()
  }
}

/** Verbs that are answered in the process of the test. */
export type LocalVerbs = { readonly [V in ForeignVerb]?: (...ask: Ask<V>) => Answer<V> | Promise<Answer<V>> }

/** A client in JavaScript. */
export class LocalClient implements ForeignClient {
  readonly #verbs: LocalVerbs
  readonly #close: () => Promise<void>

  constructor(verbs: LocalVerbs, close: () => Promise<void>) {
    this.#verbs = verbs
    this.#close = close
  }

  async ask<V extends ForeignVerb>(verb: V, ...ask: Ask<V>): Promise<Answer<V>> {
    const answer: LocalVerbs[V] = this.#verbs[verb]
    if (answer === undefined) throw new Error(`there is no verb ${verb}`)
    try {
      return await answer(...ask)
    } catch (error) {
      throw error instanceof AggregateError ? new Error(messagesOf(error).join(': '), { cause: error }) : error
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#close()
  }
}

/** What it says, and what those say that it is made of. */
function messagesOf(error: unknown): string[] {
  if (!(error instanceof Error)) return [String(error)]
  const parts: readonly unknown[] = error instanceof AggregateError ? error.errors : []
  return [error.message, ...parts.flatMap(messagesOf)]
}
