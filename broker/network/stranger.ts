// Guesses who is at the other end of a connection that no protocol recognises, from its first bytes: the log line is for
// the person who has pointed the wrong thing at this port. Pure.

export type Stranger = 'http' | 'tls' | 'unknown'

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
  if (HTTP_METHODS.has(String.fromCodePoint(...start.subarray(0, 4)))) return 'http'
  // A TLS record of kind handshake, version 3.x.
  return start[0] === 0x16 && start[1] === 0x03 ? 'tls' : 'unknown'
}

export const STRANGER_ADVICE: Record<Stranger, string> = {
  http: 'an HTTP client connected to the data port; HTTP is served on the admin port',
  tls: 'a client began with TLS; this port speaks plain TCP',
  unknown: 'the first bytes of a connection belong to no protocol that is served here',
}
