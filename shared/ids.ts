// The quantities everybody speaks of, branded so that an offset cannot be passed where an epoch is meant. Owns their
// constructors, which refuse what is not a safe integer in range: a rounding error here would be a silent duplicate.

declare const brand: unique symbol
type Branded<Base, Name extends string> = Base & { readonly [brand]: Name }

/** Position of a record in a partition. A safe integer from 0 on; end offsets are exclusive. */
export type Offset = Branded<number, 'Offset'>
/** Fencing number of one leadership of one partition; strictly growing. An int32 from 0 on. */
export type LeaderEpoch = Branded<number, 'LeaderEpoch'>
/** Number of a broker in its cluster. An int32 from 0 on. */
export type BrokerId = Branded<number, 'BrokerId'>
/** Milliseconds since 1970 by the wall clock. */
export type TimestampMs = Branded<number, 'TimestampMs'>
/** Number of a partition within its topic, from 0 on. */
export type PartitionId = Branded<number, 'PartitionId'>
/** Identity of one life of a topic: a UUID in its canonical 36 characters. A topic made anew has a new one. */
export type TopicId = Branded<string, 'TopicId'>
/** Identity of one idempotent producer session: at most 53 bits, never handed out twice. */
export type ProducerId = Branded<number, 'ProducerId'>

const INT32_MAX = 0x7fff_ffff
const UUID_PATTERN = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

export function offset(value: number): Offset {
  return safeInteger(value, Number.MAX_SAFE_INTEGER, 'offset') as Offset
}

export function leaderEpoch(value: number): LeaderEpoch {
  return safeInteger(value, INT32_MAX, 'leader epoch') as LeaderEpoch
}

export function brokerId(value: number): BrokerId {
  return safeInteger(value, INT32_MAX, 'broker id') as BrokerId
}

export function timestampMs(value: number): TimestampMs {
  return safeInteger(value, Number.MAX_SAFE_INTEGER, 'timestamp') as TimestampMs
}

export function partitionId(value: number): PartitionId {
  return safeInteger(value, INT32_MAX, 'partition') as PartitionId
}

export function topicId(value: string): TopicId {
  if (!UUID_PATTERN.test(value)) throw new RangeError('a topic id is a lower-case UUID')
  return value as TopicId
}

function safeInteger(value: number, max: number, what: string): number {
  if (!Number.isSafeInteger(value) || value < 0 || value > max) {
    throw new RangeError(`${what} must be an integer from 0 to ${max}, not ${value}`)
  }
  return value
}
