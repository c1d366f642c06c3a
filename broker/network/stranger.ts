// Guesses who is at the other end of a connection that no protocol recognises, from its first bytes: the log line is for
// the person who has pointed the wrong thing at this port. Pure.

import { readUint32 } from '../../shared/protocol/frame.ts'

export type Stranger = 'kafka' | 'http' | 'tls' | 'unknown'

/** Largest request that any Kafka client sends; the same bound that brokers have by default. */
const KAFKA_REQUEST_BYTES_MAX = 100 * 1024 * 1024
/** Length, api key, api version, correlation id. */
const KAFKA_HEADER_BYTES = 8
const KAFKA_API_KEY_MAX = 127
const KAFKA_API_VERSION_MAX = 31
const HTTP_METHODS: ReadonlySet<string> = new Set([
  'GET ',
  'POST',
  'PUT ',
  'HEAD',
  'OPTI',
  'DELE',
  'PATC',
  'PRI ',
  'CONN',
])

/** `start` holds the first bytes, at least four. */
export function strangerOf(start: Uint8Array): Stranger {
  const length = readUint32(start, 0)
  if (isKafka(start, length)) return 'kafka'
  if (HTTP_METHODS.has(String.fromCodePoint(...start.subarray(0, 4)))) return 'http'
  // A TLS record of kind handshake, version 3.x.
  return start[0] === 0x16 && start[1] === 0x03 ? 'tls' : 'unknown'
}

function isKafka(start: Uint8Array, length: number): boolean {
  if (length < KAFKA_HEADER_BYTES || length > KAFKA_REQUEST_BYTES_MAX) return false
  if (start.length < KAFKA_HEADER_BYTES) return true
  const apiKey = ((start[4] ?? 0) << 8) | (start[5] ?? 0)
  const apiVersion = ((start[6] ?? 0) << 8) | (start[7] ?? 0)
  return apiKey <= KAFKA_API_KEY_MAX && apiVersion <= KAFKA_API_VERSION_MAX
}

export const STRANGER_ADVICE: Record<Stranger, string> = {
  kafka: 'a Kafka client connected; the Kafka protocol is not served yet',
  http: 'an HTTP client connected to the data port; HTTP is served on the admin port',
  tls: 'a client began with TLS; this port speaks plain TCP',
  unknown: 'the first bytes of a connection belong to no protocol that is served here',
}
