// What the members of a group tell each other, in Kafka's bytes: what a member wants and has (subscription, versions 0 to
// 3), and what it gets (assignment, versions 0 to 3), so that members of Kafka's clients can share a group with ours. Pure.
// Written in the newest version, which older readers understand: fields were only ever appended.

import { errorOf } from './errors.ts'
import { comparePartitions, type TopicPartition } from './topic-partitions.ts'

export interface Subscription {
  readonly topics: readonly string[]
  /** What the member has, as it says. */
  readonly owned: readonly TopicPartition[]
  /** In which it got that; -1 when it has nothing or does not say. */
  readonly generation: number
}

const VERSION = 3
const NO_GENERATION = -1

/** Of a member that wants nothing. */
export const NO_SUBSCRIPTION: Subscription = { topics: [], owned: [], generation: NO_GENERATION }

/** The generation stands in the user data too: where Kafka's cooperative members looked for it before version 2. */
export function encodeSubscription({ topics, owned, generation }: Subscription): Uint8Array {
  const userData = new Writer().int32(generation).done()
  const writer = new Writer().int16(VERSION).int32(topics.length)
  for (const topic of topics) writer.text(topic)
  writer.int32(userData.length).raw(userData)
  return writePartitions(writer, owned).int32(generation).noText().done()
}

/** @throws INVALID_REQUEST when the bytes are no subscription. */
export function decodeSubscription(bytes: Uint8Array): Subscription {
  const reader = new Reader(bytes, 'the subscription of a member')
  const version = reader.version()
  const topics = reader.list(2, () => reader.text())
  const userData = reader.nullableBytes()
  const owned = version >= 1 ? readPartitions(reader) : []
  const generation = version >= 2 ? reader.int32() : NO_GENERATION
  const isTold = generation !== NO_GENERATION || userData?.length !== 4
  return { topics, owned, generation: isTold ? generation : new Reader(userData, 'user data').int32() }
}

/** With user data of no bytes rather than none: not all who describe groups can read none. */
export function encodeAssignment(partitions: readonly TopicPartition[]): Uint8Array {
  return writePartitions(new Writer().int16(VERSION), partitions).int32(0).done()
}

/** No bytes at all are an assignment of nothing. @throws INVALID_REQUEST when the bytes are no assignment. */
export function decodeAssignment(bytes: Uint8Array): TopicPartition[] {
  if (bytes.length === 0) return []
  const reader = new Reader(bytes, 'the assignment')
  reader.version()
  return readPartitions(reader)
}

function writePartitions(writer: Writer, partitions: readonly TopicPartition[]): Writer {
  const byTopic = new Map<string, number[]>()
  for (const { topic, partition } of [...partitions].sort(comparePartitions)) {
    const numbers = byTopic.get(topic) ?? []
    numbers.push(partition)
    byTopic.set(topic, numbers)
  }
  writer.int32(byTopic.size)
  for (const [topic, numbers] of byTopic) {
    writer.text(topic).int32(numbers.length)
    for (const number of numbers) writer.int32(number)
  }
  return writer
}

function readPartitions(reader: Reader): TopicPartition[] {
  const topics = reader.list(6, () => {
    const topic = reader.text()
    return reader.list(4, () => ({ topic, partition: reader.int32() }))
  })
  return topics.flat()
}

class Writer {
  readonly #parts: Uint8Array[] = []

  int16(value: number): this {
    const bytes = Buffer.allocUnsafe(2)
    bytes.writeInt16BE(value)
    return this.raw(bytes)
  }

  int32(value: number): this {
    const bytes = Buffer.allocUnsafe(4)
    bytes.writeInt32BE(value)
    return this.raw(bytes)
  }

  text(value: string): this {
    const bytes = Buffer.from(value)
    return this.int16(bytes.length).raw(bytes)
  }

  noText(): this {
    return this.int16(-1)
  }

  raw(bytes: Uint8Array): this {
    this.#parts.push(bytes)
    return this
  }

  done(): Uint8Array {
    return Buffer.concat(this.#parts)
  }
}

/** Reads what another program wrote: every length is held against what is there. */
class Reader {
  readonly #bytes: Buffer
  readonly #what: string
  #at = 0

  constructor(bytes: Uint8Array, what: string) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
    this.#what = what
  }

  /** A newer one is read as far as it is known. */
  version(): number {
    const version = this.int16()
    if (version < 0) throw this.#fault()
    return version
  }

  int16(): number {
    return this.#bytes.readInt16BE(this.#skip(2))
  }

  int32(): number {
    return this.#bytes.readInt32BE(this.#skip(4))
  }

  text(): string {
    const length = this.int16()
    const at = this.#skip(length)
    return this.#bytes.toString('utf8', at, at + length)
  }

  nullableBytes(): Uint8Array | undefined {
    const length = this.int32()
    if (length === -1) return undefined
    const at = this.#skip(length)
    return this.#bytes.subarray(at, at + length)
  }

  /** elementBytesMin: what one element takes at least. */
  list<T>(elementBytesMin: number, read: () => T): T[] {
    const count = this.int32()
    if (count < 0 || count * elementBytesMin > this.#bytes.length - this.#at) throw this.#fault()
    return Array.from({ length: count }, read)
  }

  #skip(length: number): number {
    const at = this.#at
    if (length < 0 || length > this.#bytes.length - at) throw this.#fault()
    this.#at += length
    return at
  }

  #fault(): Error {
    const text = `${this.#what} cannot be read: ${this.#bytes.length} bytes, wrong from byte ${this.#at} on`
    return errorOf('INVALID_REQUEST', text)
  }
}
