// The body of a frame and MessagePack: encodes with the library, decodes with a reader of its own, which holds everything
// that a peer declares to a limit before it opens memory for it. This file and message-pack-reader.ts are all that knows
// MessagePack.

import { Encoder } from '@msgpack/msgpack'
import { TidemarkError } from '../errors.ts'
import { RESPONSE_VALUES_MAX } from '../limits.ts'
import { MessagePackReader } from './message-pack-reader.ts'

const refuseExtensions = {
  tryToEncode: (): null => null,
  decode: (): never => {
    throw new TidemarkError('MALFORMED_FRAME', 'MessagePack extensions are not part of the protocol')
  },
}

const encoder = new Encoder({ initialBufferSize: 4_096, extensionCodec: refuseExtensions })
const reader = new MessagePackReader()

/** The bytes are shared with the encoder: they are valid only until the next call. */
export function encodeBody(value: unknown): Uint8Array {
  return encoder.encodeSharedRef(value)
}

/**
 * Decodes one value, which must be all there is. Nothing in it shares memory with the bytes.
 * @throws MALFORMED_FRAME, also for more than valuesMax values.
 */
export function decodeBody(bytes: Uint8Array, valuesMax: number = RESPONSE_VALUES_MAX): unknown {
  reader.open(bytes, 0, bytes.length)
  const value = reader.readValue(valuesMax)
  reader.expectEnd()
  return value
}
