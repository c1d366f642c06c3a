// How keys and values become bytes and back. A serializer of the application has the same two functions as those here.
// null, for a key that is absent or a value that is a tombstone, never reaches a serializer.

import { errorOf } from './errors.ts'

export interface Serializer<T> {
  /** The bytes may be kept until the record is acknowledged, but are copied before the call that sends them returns. */
  serialize(value: T, topic: string): Uint8Array
}

export interface Deserializer<T> {
  /** The bytes are a view of what was received: copy what you keep. */
  deserialize(bytes: Buffer, topic: string): T
}

/** Both directions of one type. */
export interface Serde<T> extends Serializer<T>, Deserializer<T> {}

/** Text as UTF-8. */
export const string: Serde<string> = {
  serialize(value) {
    if (typeof value !== 'string') throw errorOf('INVALID_ARGUMENT', `expected a string, not ${kindOf(value)}`)
    return Buffer.from(value)
  },
  deserialize: (bytes) => bytes.toString('utf8'),
}

/** Bytes as they are. */
export const bytes: Serde<Uint8Array> = {
  serialize(value) {
    if (!(value instanceof Uint8Array)) throw errorOf('INVALID_ARGUMENT', `expected bytes, not ${kindOf(value)}`)
    return value
  },
  deserialize: (received) => received,
}

/** A double in eight bytes, big endian. */
export const number: Serde<number> = {
  serialize(value) {
    if (typeof value !== 'number') throw errorOf('INVALID_ARGUMENT', `expected a number, not ${kindOf(value)}`)
    const out = Buffer.allocUnsafe(8)
    out.writeDoubleBE(value)
    return out
  },
  deserialize(received) {
    if (received.length !== 8) throw errorOf('DESERIALIZATION_FAILED', `a number has 8 bytes, not ${received.length}`)
    return received.readDoubleBE()
  },
}

/** JSON as UTF-8. The type is the application's word: nothing is checked against it. */
export function json<T = unknown>(): Serde<T> {
  return {
    serialize(value) {
      // The library's type leaves out that functions and symbols have no text.
      const text = JSON.stringify(value) as string | undefined
      if (text === undefined) throw errorOf('INVALID_ARGUMENT', `${kindOf(value)} cannot be written as JSON`)
      return Buffer.from(text)
    },
    deserialize: (received) => JSON.parse(received.toString('utf8')) as T,
  }
}

/** What keys and values may be when no serializer is given: text is written as UTF-8. */
export type Plain = string | Uint8Array

/** The default: text or bytes. */
export const plain: Serializer<Plain> = {
  serialize(value) {
    if (typeof value === 'string') return Buffer.from(value)
    if (value instanceof Uint8Array) return value
    throw errorOf('INVALID_ARGUMENT', `expected text or bytes, not ${kindOf(value)}; give a serializer`)
  },
}

function kindOf(value: unknown): string {
  if (Array.isArray(value)) return 'an array'
  return value === null ? 'null' : `a value of type ${typeof value}`
}
