// The bounds that hold everywhere, and the relations between them. A limit that an operator may change is an option
// (broker/config.ts); what stands here is part of the formats and protocols.

import { assert } from './assert.ts'

/** Bytes of a native frame after its length field, at most. */
export const FRAME_BYTES_MAX = 64 * 1024 * 1024
/** Bytes of a frame before the connection has said hello, at most. */
export const FRAME_BYTES_BEFORE_HELLO_MAX = 16 * 1024
/** Bytes of one record batch as stored, at most, whatever `max.message.bytes` says. */
export const BATCH_BYTES_MAX = 32 * 1024 * 1024
/** Bytes that the records of one batch may have after decompression. */
export const BATCH_UNCOMPRESSED_BYTES_MAX = 128 * 1024 * 1024
/** Headers of one record, at most. */
export const RECORD_HEADERS_MAX = 1_000
/** Characters of a topic name, at most; directories are named by topic id, so this is for people and Kafka's clients. */
export const TOPIC_NAME_LENGTH_MAX = 249
/** Bytes of a client id or a group id, at most. */
export const CLIENT_ID_BYTES_MAX = 256
/** Elements of any array in a native message, at most. */
export const ARRAY_LENGTH_MAX = 10_000
/** Bytes of any string in a native message, at most. */
export const STRING_BYTES_MAX = 64 * 1024
/** Values of all kinds in the body of one request, at most: what a broker decodes in one go takes a few milliseconds. */
export const REQUEST_VALUES_MAX = 128 * 1024
/** What a request counts for in its connection's window when nobody knows how long its answer will be: few begin at once. */
export const TOLD_BYTES = 4 * 1024 * 1024
/** Values of all kinds in the body of one response, at most. */
export const RESPONSE_VALUES_MAX = 1024 * 1024
/** How deep arrays may be nested in a native message. */
export const NESTING_DEPTH_MAX = 16
/** Partitions of one topic, at most. */
export const PARTITIONS_PER_TOPIC_MAX = 10_000
/** Batches that the broker remembers for each idempotent producer, and so the most a producer may have in flight. */
export const PRODUCER_BATCHES_REMEMBERED = 5
/** Bytes of one segment file: positions in the index are unsigned 32-bit numbers, and offsets relative 32-bit ones. */
export const SEGMENT_BYTES_MAX = 0x7fff_ffff
/** Bytes of one segment file, at least. */
export const SEGMENT_BYTES_MIN = 1_024

assert(BATCH_BYTES_MAX < FRAME_BYTES_MAX, 'a batch fits a frame')
assert(BATCH_BYTES_MAX < SEGMENT_BYTES_MAX, 'a batch fits a segment')
