// The numbers of the record batch format (FORMAT.md, Kafka's message format 2): where each field of the header stands,
// what the attribute bits mean. Knows nothing of how they are read or written.

import { assert } from '../assert.ts'

/** Bytes of the base offset and the length, which the length itself does not count. */
export const BATCH_OVERHEAD_BYTES = 12
/** Bytes from the base offset to the first record. */
export const BATCH_HEADER_BYTES = 61
/** The only format version that is read or written. */
export const BATCH_MAGIC = 2

export const BASE_OFFSET_AT = 0
export const BATCH_LENGTH_AT = 8
export const LEADER_EPOCH_AT = 12
export const MAGIC_AT = 16
export const CRC_AT = 17
export const ATTRIBUTES_AT = 21
export const LAST_OFFSET_DELTA_AT = 23
export const BASE_TIMESTAMP_AT = 27
export const MAX_TIMESTAMP_AT = 35
export const PRODUCER_ID_AT = 43
export const PRODUCER_EPOCH_AT = 51
export const BASE_SEQUENCE_AT = 53
export const RECORD_COUNT_AT = 57
/** The checksum covers everything from here to the end of the batch, so that offset and epoch can be patched. */
export const CRC_START_AT = 21

export const CODEC_MASK = 0x07
/** Set when the broker stamped the batch with its own clock; all records then carry the maximum timestamp. */
export const LOG_APPEND_TIME_BIT = 0x08
export const TRANSACTIONAL_BIT = 0x10
/** Set when the batch holds a marker for the machinery and nothing for applications. */
export const CONTROL_BIT = 0x20
/** Set by compaction: the base timestamp is the time from which on the tombstones of the batch may go. */
export const DELETE_HORIZON_BIT = 0x40

/** Stands in the fields of producer id, epoch and sequence when the producer is not idempotent. */
export const NO_PRODUCER_ID = -1
export const NO_PRODUCER_EPOCH = -1
export const NO_SEQUENCE = -1
/** Stands in the leader epoch until a leader stamps its own. */
export const NO_LEADER_EPOCH = -1
/** The timestamp of a record whose producer gave none. */
export const NO_TIMESTAMP = -1

/** Bytes of the smallest record: seven fields of one byte. */
export const RECORD_BYTES_MIN = 7
/** Bytes of a record besides key, value and headers, at most: a length, attributes, a long and four more varints. */
export const RECORD_OVERHEAD_BYTES_MAX = 5 + 1 + 10 + 5 + 5 + 5 + 5
/** Bytes of the smallest header of a record: an empty key and a null value. */
export const RECORD_HEADER_BYTES_MIN = 2

export type Codec = 'none' | 'gzip' | 'snappy' | 'lz4' | 'zstd'
/** By the number in the lowest three attribute bits. */
export const CODECS = ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const satisfies readonly Codec[]
export const CODEC_NUMBER: Readonly<Record<Codec, number>> = { none: 0, gzip: 1, snappy: 2, lz4: 3, zstd: 4 }

export type TimestampType = 'CreateTime' | 'LogAppendTime'

/** What a control record says, by the second field of its key. The first two belong to transactions, the last is ours. */
export const CONTROL_TYPES = { abort: 0, commit: 1, leaderChange: 2, voters: 128 } as const
export type ControlType = keyof typeof CONTROL_TYPES

assert(RECORD_COUNT_AT + 4 === BATCH_HEADER_BYTES, 'the record count is the last field of the header')
assert(CRC_AT + 4 === CRC_START_AT, 'the checksum covers what follows it')
assert(CODECS.length <= CODEC_MASK + 1, 'a codec fits its bits')
