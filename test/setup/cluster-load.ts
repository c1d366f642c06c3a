// Writers for a cluster under faults, and the judge of what became of their records. Every value is unique and names its
// writer and its number; every outcome is kept with its time. Knows nothing of brokers.

import type { Client } from '../../client/client.ts'
import type { ProducerOptions } from '../../client/producer-options.ts'
import { TidemarkError } from '../../shared/errors.ts'

export interface LoadOptions {
  readonly topic: string
  /** Writers take turns over them. Default 1. */
  readonly partitions?: number
  /** Default 3. */
  readonly writers?: number
  /** Records that a writer has on their way at the same time. Default 4. */
  readonly burst?: number
  /** Milliseconds that a writer pauses after a burst. Default 0. */
  readonly pauseMs?: number
  readonly valueBytes?: number
  readonly producer?: ProducerOptions<unknown, unknown>
  /** Names the writers of this load, where several write to one topic. */
  readonly name?: string
}

interface Acknowledged {
  readonly value: string
  readonly partition: number
  readonly offset: number
  /** By performance.now(). */
  readonly sentAt: number
  readonly acknowledgedAt: number
}

export interface FailedSend {
  readonly value: string
  readonly partition: number
  readonly code: string
  readonly message: string
  readonly at: number
}

export class Load {
  readonly acknowledged: Acknowledged[] = []
  readonly failed: FailedSend[] = []
  readonly topic: string
  readonly startedAt: number = performance.now()
  readonly #options: LoadOptions
  readonly #writers: Promise<void>[] = []
  readonly #waiters = new Set<() => void>()
  #isStopping = false

  constructor(client: Client, options: LoadOptions) {
    this.#options = options
    this.topic = options.topic
    const producer = client.producer(options.producer ?? {})
    for (let writer = 0; writer < (options.writers ?? 3); writer += 1) this.#writers.push(this.#write(producer, writer))
  }

  /** Resolves when so many more records are acknowledged. @throws after timeoutMs. */
  async more(count: number, timeoutMs = 15_000): Promise<void> {
    const wanted = this.acknowledged.length + count
    const deadline = performance.now() + timeoutMs
    while (this.acknowledged.length < wanted) {
      const left = deadline - performance.now()
      if (left <= 0) throw new Error(`not ${count} more records acknowledged within ${timeoutMs} ms; ${this.tail()}`)
      await this.#nextOutcome(left)
    }
  }

  /** Ends the writers and resolves when every record has its outcome. */
  async stop(): Promise<void> {
    this.#isStopping = true
    await Promise.all(this.#writers)
  }

  /** The longest time without an acknowledgement in a span, milliseconds; from the start to the last one by default. */
  longestGapMs(from = this.startedAt, to = this.acknowledged.at(-1)?.acknowledgedAt ?? performance.now()): number {
    let before = from
    let longest = 0
    for (const { acknowledgedAt } of this.acknowledged) {
      if (acknowledgedAt < from || acknowledgedAt > to) continue
      longest = Math.max(longest, acknowledgedAt - before)
      before = acknowledgedAt
    }
    return Math.max(longest, to - before)
  }

  /** Milliseconds from then to the first acknowledgement of a record that was sent after it, or was on its way. */
  firstAfter(time: number): number | undefined {
    const first = this.acknowledged.find(({ acknowledgedAt }) => acknowledgedAt > time)
    return first === undefined ? undefined : first.acknowledgedAt - time
  }

  /** Milliseconds that the records of a span took, ascending. */
  durations(from = 0, to = Infinity): number[] {
    const inSpan = this.acknowledged.filter(({ sentAt }) => sentAt >= from && sentAt <= to)
    return inSpan.map(({ sentAt, acknowledgedAt }) => acknowledgedAt - sentAt).toSorted((a, b) => a - b)
  }

  /** The last failures, for messages. */
  tail(): string {
    const last = this.failed.slice(-3).map(({ code, message }) => `${code}: ${message}`)
    return `${this.acknowledged.length} acknowledged, ${this.failed.length} failed; ${last.join(' | ')}`
  }

  async #write(producer: ReturnType<Client['producer']>, writer: number): Promise<void> {
    const { topic, partitions = 1, burst = 4, pauseMs = 0, valueBytes = 0, name = 'w' } = this.#options
    const partition = writer % partitions
    for (let number = 0; !this.#isStopping;) {
      const sends: Promise<void>[] = []
      for (let count = 0; count < burst; count += 1, number += 1) {
        const value = `${name}${writer}:${number}`.padEnd(valueBytes)
        const sentAt = performance.now()
        sends.push(
          producer.send({ topic, messages: [{ value, partition }] }).then(
            ([meta]) => {
              const acknowledgedAt = performance.now()
              this.acknowledged.push({ value, partition, offset: meta?.offset ?? -1, sentAt, acknowledgedAt })
              this.#tell()
            },
            (error: unknown) => {
              const code = error instanceof TidemarkError ? error.code : 'UNKNOWN'
              this.failed.push({ value, partition, code, message: String(error), at: performance.now() })
              this.#tell()
            },
          ),
        )
      }
      const before = this.failed.length
      await Promise.all(sends)
      // What fails at once would spin.
      if (pauseMs > 0 || this.failed.length > before) await pause(Math.max(pauseMs, 5))
    }
  }

  #tell(): void {
    for (const wake of this.#waiters) wake()
    this.#waiters.clear()
  }

  #nextOutcome(timeoutMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, timeoutMs)
      this.#waiters.add(() => {
        clearTimeout(timer)
        resolve()
      })
    })
  }
}

/** What is in a topic: values by partition, with their offsets. */
export type Content = ReadonlyMap<number, readonly { readonly value: string; readonly offset: number }[]>

/** Everything up to the present end. @throws when a partition cannot be read for timeoutMs. */
export async function readAll(client: Client, topic: string, timeoutMs = 15_000): Promise<Content> {
  const content = new Map<number, { value: string; offset: number }[]>()
  const reader = client.read(topic, { from: 'start', to: 'end', unavailableTimeoutMs: timeoutMs })
  for await (const { partition, offset, value } of reader) {
    const list = content.get(partition) ?? []
    content.set(partition, list)
    list.push({ value: value?.toString() ?? '', offset })
  }
  return content
}

export interface Anomaly {
  readonly kind: 'lost' | 'duplicate' | 'reordered' | 'misplaced'
  readonly what: string
}

/** What is wrong with the content, given what the writers were told. */
export function anomaliesOf(load: Load, content: Content): Anomaly[] {
  const anomalies: Anomaly[] = []
  const seen = new Map<string, number>()
  const lastOf = new Map<string, number>()
  for (const [partition, records] of content) {
    for (const { value, offset } of records) {
      const [writer = '', number = ''] = value.trim().split(':')
      const where = `${value.trim()} at ${partition}/${offset}`
      if (seen.has(value)) anomalies.push({ kind: 'duplicate', what: `${where}, and at ${seen.get(value)}` })
      seen.set(value, offset)
      const last = lastOf.get(writer) ?? -1
      if (Number(number) < last) anomalies.push({ kind: 'reordered', what: `${where} after ${last}` })
      lastOf.set(writer, Math.max(last, Number(number)))
    }
  }
  for (const { value, partition, offset } of load.acknowledged) {
    const at = seen.get(value)
    const what = `${value.trim()}, acknowledged at ${partition}/${offset}`
    if (at === undefined) anomalies.push({ kind: 'lost', what })
    else if (offset >= 0 && at !== offset) anomalies.push({ kind: 'misplaced', what: `${what}, is at ${at}` })
  }
  return anomalies
}

export function pause(delayMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, delayMs))
}

/** What comes of it, or 'late' after so many milliseconds. */
export async function within<T>(promise: Promise<T>, limitMs: number): Promise<T | 'late'> {
  let timer: NodeJS.Timeout | undefined
  const limit = new Promise<'late'>((resolve) => (timer = setTimeout(resolve, limitMs, 'late')))
  try {
    return await Promise.race([promise, limit])
  } finally {
    clearTimeout(timer)
  }
}
