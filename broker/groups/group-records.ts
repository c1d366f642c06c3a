// The records of the offsets topic, in Kafka's formats, so that its tools read them: committed offsets (key version 1, value
// version 3) and the metadata of groups (key version 2, value version 3). Reads older versions of the values too, and the
// newest one of an offset. Pure. A key of another version is somebody else's, and skipped.
//
//   offset key      int16 1, string group, string topic, int32 partition
//   offset value    int16 3, int64 offset, int32 leader epoch (-1: none), string metadata, int64 committed at
//   group key       int16 2, string group
//   group value     int16 3, string protocol type, int32 generation, string protocol (nullable), string leader (nullable),
//                   int64 state since, array of members: string id, string instance (nullable), string client id,
//                   string host, int32 rebalance timeout, int32 session timeout, bytes subscription, bytes assignment
//
// Strings have an int16 length, bytes and arrays an int32 one; -1 is null. All numbers are big endian.

import type { GroupSnapshot, StoredMember } from './group-events.ts'
import type { CommittedOffset } from './group-offsets.ts'
import { TidemarkError } from '../../shared/errors.ts'

const OFFSET_KEY = 1
const GROUP_KEY = 2
const OFFSET_VALUE = 3
const GROUP_VALUE = 3
/** The version of an offset's value from which on lengths are variable and fields tagged. */
const OFFSET_VALUE_FLEXIBLE = 4
const MEMBERS_MAX = 100_000

export interface GroupRecord {
  readonly key: Uint8Array
  /** Null: it is deleted. */
  readonly value: Uint8Array | null
}

export interface StoredGroup extends GroupSnapshot {
  /** Milliseconds since 1970. */
  readonly stateSince: number
}

export type RecordKey =
  | { readonly kind: 'offset'; readonly group: string; readonly topic: string; readonly partition: number }
  | { readonly kind: 'group'; readonly group: string }
  | { readonly kind: 'unknown'; readonly version: number }

export function offsetKey(group: string, topic: string, partition: number): Uint8Array {
  const writer = new Writer(10 + 3 * (group.length + topic.length))
  writer.int16(OFFSET_KEY)
  writer.string(group)
  writer.string(topic)
  writer.int32(partition)
  return writer.done()
}

export function offsetValue({ offset, leaderEpoch, metadata, committedAt }: CommittedOffset): Uint8Array {
  const writer = new Writer(24 + 3 * metadata.length)
  writer.int16(OFFSET_VALUE)
  writer.int64(offset)
  writer.int32(leaderEpoch ?? -1)
  writer.string(metadata)
  writer.int64(committedAt)
  return writer.done()
}

export function groupKey(group: string): Uint8Array {
  const writer = new Writer(4 + 3 * group.length)
  writer.int16(GROUP_KEY)
  writer.string(group)
  return writer.done()
}

export function groupValue(group: StoredGroup): Uint8Array {
  const writer = new Writer(1_024)
  writer.int16(GROUP_VALUE)
  writer.string(group.protocolType ?? '')
  writer.int32(group.generation)
  writer.nullableString(group.protocol)
  writer.nullableString(group.leader)
  writer.int64(group.stateSince)
  writer.int32(group.members.length)
  for (const member of group.members) {
    writer.string(member.member)
    writer.nullableString(member.instance)
    writer.string(member.clientId)
    writer.string(member.host)
    writer.int32(member.rebalanceTimeoutMs)
    writer.int32(member.sessionTimeoutMs)
    writer.bytes(member.subscription)
    writer.bytes(member.assignment)
  }
  return writer.done()
}

/** @throws CORRUPT_MESSAGE */
export function readKey(key: Uint8Array): RecordKey {
  const reader = new Reader(key)
  const version = reader.int16()
  switch (version) {
    // The first version of an offset's key looked the same.
    case 0:
    case OFFSET_KEY:
      return { kind: 'offset', group: reader.string(), topic: reader.string(), partition: reader.int32() }
    case GROUP_KEY:
      return { kind: 'group', group: reader.string() }
    default:
      return { kind: 'unknown', version }
  }
}

/** @throws CORRUPT_MESSAGE */
export function readOffsetValue(value: Uint8Array): CommittedOffset {
  const reader = new Reader(value)
  const version = reader.int16()
  if (version < 0 || version > OFFSET_VALUE_FLEXIBLE) throw unknownVersion('an offset', version)
  const offset = reader.int64()
  const leaderEpoch = version >= 3 ? reader.int32() : -1
  const metadata = version === OFFSET_VALUE_FLEXIBLE ? reader.compactString() : reader.string()
  const committedAt = reader.int64()
  const expiresAt = version === 1 ? reader.int64() : -1
  return {
    offset,
    leaderEpoch: leaderEpoch < 0 ? undefined : leaderEpoch,
    metadata,
    committedAt,
    expiresAt: expiresAt < 0 ? undefined : expiresAt,
  }
}

/** @throws CORRUPT_MESSAGE */
export function readGroupValue(value: Uint8Array): StoredGroup {
  const reader = new Reader(value)
  const version = reader.int16()
  if (version < 0 || version > GROUP_VALUE) throw unknownVersion('a group', version)
  const protocolType = reader.string()
  const generation = reader.int32()
  const protocol = reader.nullableString()
  const leader = reader.nullableString()
  const stateSince = version >= 2 ? reader.int64() : -1
  const members: StoredMember[] = []
  const count = reader.int32()
  if (count > MEMBERS_MAX) throw corrupt(`${count} members`)
  for (let index = 0; index < count; index += 1) members.push(readMember(reader, version))
  return {
    protocolType: protocolType === '' ? undefined : protocolType,
    generation,
    protocol,
    leader,
    stateSince: Math.max(0, stateSince),
    members,
  }
}

function readMember(reader: Reader, version: number): StoredMember {
  const member = reader.string()
  const instance = version >= 3 ? reader.nullableString() : undefined
  const clientId = reader.string()
  const host = reader.string()
  const rebalanceTimeoutMs = version >= 1 ? reader.int32() : undefined
  const sessionTimeoutMs = reader.int32()
  return {
    member,
    instance,
    clientId,
    host,
    rebalanceTimeoutMs: rebalanceTimeoutMs ?? sessionTimeoutMs,
    sessionTimeoutMs,
    subscription: reader.bytes(),
    assignment: reader.bytes(),
  }
}

/**
 * The topics of what a consumer says it wants, in Kafka's format of it; undefined if it cannot be read.
 * int16 version, array of strings, and more that is not looked at.
 */
export function subscribedTopics(subscription: Uint8Array): string[] | undefined {
  try {
    const reader = new Reader(subscription)
    if (reader.int16() < 0) return undefined
    const topics: string[] = []
    const count = reader.int32()
    for (let index = 0; index < count; index += 1) topics.push(reader.string())
    return topics
  } catch (error) {
    if (error instanceof TidemarkError) return undefined
    throw error
  }
}

/** What a consumer has been given, by topic, in Kafka's format of it; undefined if it cannot be read. */
export function assignedPartitions(assignment: Uint8Array): Map<string, number[]> | undefined {
  try {
    const reader = new Reader(assignment)
    if (reader.int16() < 0) return undefined
    const topics = new Map<string, number[]>()
    const count = reader.int32()
    for (let index = 0; index < count; index += 1) {
      const topic = reader.string()
      const partitions: number[] = []
      const length = reader.int32()
      for (let at = 0; at < length; at += 1) partitions.push(reader.int32())
      topics.set(topic, partitions)
    }
    return topics
  } catch (error) {
    if (error instanceof TidemarkError) return undefined
    throw error
  }
}

class Writer {
  #buffer: Buffer
  #at = 0

  constructor(bytes: number) {
    this.#buffer = Buffer.allocUnsafe(bytes)
  }

  int16(value: number): void {
    this.#room(2)
    this.#at = this.#buffer.writeInt16BE(value, this.#at)
  }

  int32(value: number): void {
    this.#room(4)
    this.#at = this.#buffer.writeInt32BE(value, this.#at)
  }

  int64(value: number): void {
    this.#room(8)
    this.#at = this.#buffer.writeInt32BE(Math.floor(value / 0x1_0000_0000), this.#at)
    this.#at = this.#buffer.writeUInt32BE(value >>> 0, this.#at)
  }

  string(value: string): void {
    const length = Buffer.byteLength(value)
    this.int16(length)
    this.#room(length)
    this.#at += this.#buffer.write(value, this.#at)
  }

  nullableString(value: string | undefined): void {
    if (value === undefined) this.int16(-1)
    else this.string(value)
  }

  bytes(value: Uint8Array): void {
    this.int32(value.length)
    this.#room(value.length)
    this.#buffer.set(value, this.#at)
    this.#at += value.length
  }

  done(): Uint8Array {
    return this.#buffer.subarray(0, this.#at)
  }

  #room(bytes: number): void {
    if (this.#at + bytes <= this.#buffer.length) return
    const grown = Buffer.allocUnsafe(2 * this.#buffer.length + bytes)
    grown.set(this.#buffer.subarray(0, this.#at))
    this.#buffer = grown
  }
}

/** Copies what it hands out: the record's memory is somebody else's. */
class Reader {
  readonly #buffer: Buffer
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  }

  int16(): number {
    return this.#buffer.readInt16BE(this.#take(2))
  }

  int32(): number {
    return this.#buffer.readInt32BE(this.#take(4))
  }

  int64(): number {
    const at = this.#take(8)
    const value = this.#buffer.readInt32BE(at) * 0x1_0000_0000 + this.#buffer.readUInt32BE(at + 4)
    if (!Number.isSafeInteger(value)) throw corrupt('a number past 2^53')
    return value
  }

  string(): string {
    const value = this.nullableString()
    if (value === undefined) throw corrupt('a string that is null')
    return value
  }

  nullableString(): string | undefined {
    const length = this.int16()
    return length < 0 ? undefined : this.#text(length)
  }

  compactString(): string {
    let length = 0
    for (let shift = 0; ; shift += 7) {
      const byte = this.#buffer.readUInt8(this.#take(1))
      length += (byte & 0x7f) * 2 ** shift
      if (byte < 0x80) break
      if (shift > 28) throw corrupt('a length without an end')
    }
    if (length === 0) throw corrupt('a string that is null')
    return this.#text(length - 1)
  }

  bytes(): Uint8Array {
    const length = this.int32()
    if (length < 0) return new Uint8Array(0)
    const at = this.#take(length)
    return Uint8Array.prototype.slice.call(this.#buffer, at, at + length)
  }

  #text(length: number): string {
    const at = this.#take(length)
    return this.#buffer.toString('utf8', at, at + length)
  }

  #take(bytes: number): number {
    const at = this.#at
    if (at + bytes > this.#buffer.length) throw corrupt(`${bytes} bytes at ${at} of ${this.#buffer.length}`)
    this.#at += bytes
    return at
  }
}

function corrupt(what: string): TidemarkError {
  return new TidemarkError('CORRUPT_MESSAGE', `a record of the offsets topic cannot be read: ${what}`)
}

function unknownVersion(what: string, version: number): TidemarkError {
  return new TidemarkError('CORRUPT_MESSAGE', `the value of ${what} has version ${version}, which is not known`)
}
