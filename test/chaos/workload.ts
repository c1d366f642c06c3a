// Clients of a cluster under faults: producers of several kinds, consumers that follow and consumers that go back, and
// somebody who asks where partitions end. Writes down what they did and saw; judges nothing, and knows no faults.

import type { Client } from '../../client/client.ts'
import type { ProducerOptions } from '../../client/producer-options.ts'
import type { Reader } from '../../client/reader.ts'
import type { Random } from '../../shared/random.ts'
import type { Acks, History, PolledRecord } from './history.ts'
import { connect } from '../../client/client.ts'
import { TidemarkError } from '../../shared/errors.ts'
import { pause, within } from '../setup/cluster-load.ts'

/** One client with a producer, which writes to every partition on its own. */
interface ProducerKind {
  readonly name: string
  readonly acks: Acks
  readonly options: ProducerOptions<unknown, unknown>
  /** Whether its client is thrown away and made anew now and then. */
  readonly crashes: boolean
}

const PRODUCERS: readonly ProducerKind[] = [
  { name: 'p', acks: -1, options: {}, crashes: false },
  { name: 'hasty', acks: -1, options: { deliveryTimeoutMs: 2_500 }, crashes: false },
  { name: 'crashing', acks: -1, options: {}, crashes: true },
  { name: 'relaxed', acks: 1, options: { acks: 1, deliveryTimeoutMs: 2_500 }, crashes: false },
  { name: 'careless', acks: 0, options: { acks: 0, deliveryTimeoutMs: 2_500 }, crashes: false },
]
/** Records of one send. */
const VALUES = 5
/** Sends of one producer to one partition that may be without an answer. */
const WINDOW = 6
const PACE_MS = 20
const POLL_RECORDS_MAX = 500
const POLL_MS = 50
/** More than a producer tries for. */
const OUTCOMES_WITHIN_MS = 130_000
const ENDS_EVERY_MS = 200
/** How far back a consumer may begin anew. */
const BACK_MAX = 2_000
/** What can be wrong with an offset; everything else may pass. */
const UNREADABLE = new Set<string>(['OFFSET_OUT_OF_RANGE', 'QUARANTINED', 'CORRUPT_MESSAGE'])

export interface WorkloadOptions {
  readonly topic: string
  readonly partitions: number
  readonly history: History
  readonly random: Random
  /** HOST:PORT of every broker. */
  readonly addresses: readonly string[]
  /** Milliseconds between the sends of one producer to one partition. Default 20. */
  readonly paceMs?: number
}

export class Workload {
  readonly #options: WorkloadOptions
  readonly #tasks: Promise<void>[] = []
  readonly #clients = new Set<Client>()
  readonly #crashing: (() => void)[] = []
  readonly #goBack: (() => void)[] = []
  readonly #stop = new AbortController()
  /** Of each partition: when the youngest send that was acknowledged with acks all began. */
  readonly #reached: number[]
  #acknowledged = 0
  #nextId = 0
  #hasStopped = false

  constructor(options: WorkloadOptions) {
    this.#options = options
    this.#reached = Array.from({ length: options.partitions }, () => -1)
    for (const kind of PRODUCERS) this.#startProducer(kind)
    this.#tasks.push(this.#consume('follower', false), this.#consume('returning', true), this.#askEnds('observer'))
  }

  /** Records with acks all. */
  get acknowledged(): number {
    return this.#acknowledged
  }

  /** Some clients end without a word, and consumers go back. */
  shake(): void {
    for (const act of [...this.#crashing, ...this.#goBack]) act()
  }

  /** Resolves when every partition has acknowledged something that was sent after now. @throws after timeoutMs. */
  async progress(timeoutMs: number): Promise<void> {
    const from = this.#options.history.now()
    const deadline = performance.now() + timeoutMs
    for (;;) {
      const waiting = this.#reached.flatMap((reached, partition) => (reached > from ? [] : [partition]))
      if (waiting.length === 0) return
      if (performance.now() > deadline)
        throw new Error(`nothing was acknowledged in partitions ${waiting.join(', ')} for ${timeoutMs} ms`)
      await pause(20)
    }
  }

  /** Ends the producers, and resolves when every send has its outcome; consumers read on until then. */
  async stop(): Promise<void> {
    this.#hasStopped = true
    await within(Promise.all(this.#tasks.slice(0, -3)), OUTCOMES_WITHIN_MS)
    this.#stop.abort()
    await Promise.all(this.#tasks)
    await Promise.all([...this.#clients].map((client) => client.close({ timeoutMs: 500 }).catch(() => undefined)))
  }

  /** Everything that is there now, by a consumer of its own. @throws when a partition cannot be read for timeoutMs. */
  async readAll(timeoutMs: number): Promise<void> {
    const { topic, partitions, history } = this.#options
    const client = this.#connect()
    const from = Object.fromEntries(Array.from({ length: partitions }, (_, partition) => [partition, 0]))
    history.add({ op: 'assign', process: 'final', from })
    const poll = new Polls(history, 'final')
    try {
      const reader = client.read(topic, { from: 'start', to: 'end', unavailableTimeoutMs: timeoutMs })
      for await (const { partition, offset, value } of reader) poll.add([partition, offset, textOf(value)])
    } catch (error) {
      if (!isUnreadable(error)) throw error
      history.add({ op: 'poll-failed', process: 'final', error: String(error) })
    } finally {
      poll.flush()
      await this.#drop(client)
    }
  }

  #connect(): Client {
    const client = connect({ brokers: [...this.#options.addresses] })
    this.#clients.add(client)
    return client
  }

  async #drop(client: Client): Promise<void> {
    this.#clients.delete(client)
    await client.close({ timeoutMs: 1 }).catch(() => undefined)
  }

  #startProducer(kind: ProducerKind): void {
    let client = this.#connect()
    let life = 1
    const start = (): (() => void) => {
      const producer = client.producer(kind.options)
      const name = kind.crashes ? `${kind.name}${life}` : kind.name
      const over = new AbortController()
      for (let partition = 0; partition < this.#options.partitions; partition += 1)
        this.#tasks.unshift(this.#produce(producer, { ...kind, name: `${name}.${partition}` }, partition, over.signal))
      return () => over.abort()
    }
    let end = start()
    if (!kind.crashes) return
    this.#crashing.push(() => {
      if (this.#hasStopped) return
      end()
      // What it has under way, nobody will know the fate of.
      this.#drop(client).catch(() => undefined)
      client = this.#connect()
      life += 1
      end = start()
    })
  }

  async #produce(
    producer: ReturnType<Client['producer']>,
    { name, acks }: ProducerKind,
    partition: number,
    over: AbortSignal,
  ): Promise<void> {
    const { topic, history } = this.#options
    const underWay = new Set<Promise<void>>()
    for (let number = 0; !this.#hasStopped && !over.aborted;) {
      if (underWay.size >= WINDOW) await Promise.race(underWay)
      if (over.aborted) break
      const values = Array.from({ length: VALUES }, () => `${name}-${(number += 1)}`)
      const id = (this.#nextId += 1)
      const from = history.now()
      history.add({ op: 'send', phase: 'invoke', process: name, id, acks, partition, values })
      const messages = values.map((value) => ({ value, partition }))
      const send = producer.send({ topic, messages }).then(
        (placed) => {
          history.add({ op: 'send', phase: 'ok', process: name, id, offsets: placed.map(({ offset }) => offset) })
          if (acks !== -1) return
          this.#acknowledged += values.length
          this.#reached[partition] = Math.max(this.#reached[partition] ?? -1, from)
        },
        (error: unknown) => {
          const text = String(error)
          // The client says so where it is certain.
          const phase = text.includes('the records were not appended') ? 'fail' : 'info'
          history.add({ op: 'send', phase, process: name, id, error: text.slice(0, 300) })
        },
      )
      const settled = send.finally(() => underWay.delete(settled))
      underWay.add(settled)
      await pause(this.#options.paceMs ?? PACE_MS)
    }
    await Promise.all(underWay)
  }

  /** Follows all partitions; one that returns is closed now and then, and begins anew further back. */
  async #consume(process: string, returns: boolean): Promise<void> {
    const { topic, partitions, history, random } = this.#options
    const next: Record<number, number> = {}
    for (let partition = 0; partition < partitions; partition += 1) next[partition] = 0
    let reader: Reader | undefined
    let mayReturn = false
    if (returns) {
      this.#goBack.push(() => {
        mayReturn = true
        reader?.close()
      })
    }
    let client = this.#connect()
    history.add({ op: 'assign', process, from: { ...next } })
    while (!this.#stop.signal.aborted) {
      const poll = new Polls(history, process)
      try {
        reader = client.read(topic, { from: { ...next }, maxWaitMs: 500, signal: this.#stop.signal })
        for await (const { partition, offset, value } of reader) {
          poll.add([partition, offset, textOf(value)])
          next[partition] = offset + 1
        }
      } catch (error) {
        if (isUnreadable(error)) {
          poll.flush()
          return history.add({ op: 'poll-failed', process, error: String(error) })
        }
        await pause(50)
      }
      poll.flush()
      if (!mayReturn || this.#stop.signal.aborted) continue
      mayReturn = false
      for (const [partition, offset] of Object.entries(next))
        next[Number(partition)] = Math.max(0, offset - random.integer(BACK_MAX))
      history.add({ op: 'assign', process, from: { ...next } })
      await this.#drop(client)
      client = this.#connect()
    }
  }

  async #askEnds(process: string): Promise<void> {
    const { topic, history } = this.#options
    const admin = this.#connect().admin()
    while (!this.#stop.signal.aborted) {
      await admin.offsets(topic, { timeoutMs: 5_000 }).then(
        (ends) => {
          const seen = ends.map(({ partition, offset }) => [partition, offset ?? 0] as const)
          history.add({ op: 'ends', process, ends: seen })
        },
        () => undefined,
      )
      await pause(ENDS_EVERY_MS)
    }
  }
}

/** Gathers what a consumer is given within a short time into one event. */
class Polls {
  readonly #history: History
  readonly #process: string
  #records: PolledRecord[] = []
  #since = 0

  constructor(history: History, process: string) {
    this.#history = history
    this.#process = process
  }

  add(record: PolledRecord): void {
    const now = this.#history.now()
    if (this.#records.length >= POLL_RECORDS_MAX || now - this.#since > POLL_MS) {
      this.flush()
      this.#since = now
    }
    this.#records.push(record)
  }

  flush(): void {
    if (this.#records.length > 0) this.#history.add({ op: 'poll', process: this.#process, records: this.#records })
    this.#records = []
  }
}

const textOf = (value: Buffer | null): string => value?.toString() ?? ''

function isUnreadable(error: unknown): boolean {
  return error instanceof TidemarkError && UNREADABLE.has(error.code)
}
