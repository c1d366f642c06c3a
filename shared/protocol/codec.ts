// The only file that knows MessagePack. Encodes and decodes the body of a frame with limits on everything that a peer
// declares: five bytes can otherwise ask for hundreds of megabytes. Extensions are refused, and so are integers that a
// double cannot hold.

import { Decoder, Encoder } from '@msgpack/msgpack'
import { TidemarkError } from '../errors.ts'
import { ARRAY_LENGTH_MAX, STRING_BYTES_MAX } from '../limits.ts'

const refuseExtensions = {
  tryToEncode: (): null => null,
  decode: (): never => {
    throw new TidemarkError('MALFORMED_FRAME', 'MessagePack extensions are not part of the protocol')
  },
}

const encoder = new Encoder({ initialBufferSize: 4_096, extensionCodec: refuseExtensions })
const decoder = new Decoder({
  maxStrLength: STRING_BYTES_MAX,
  maxBinLength: STRING_BYTES_MAX,
  maxArrayLength: ARRAY_LENGTH_MAX,
  maxMapLength: 0,
  maxExtLength: 0,
  extensionCodec: refuseExtensions,
  keyDecoder: null,
})

/** The bytes are shared with the encoder: they are valid only until the next call. */
export function encodeBody(value: unknown): Uint8Array {
  return encoder.encodeSharedRef(value)
}

/** @throws MALFORMED_FRAME. */
export function decodeBody(bytes: Uint8Array): unknown {
  try {
    return decoder.decode(bytes)
  } catch (cause) {
    if (cause instanceof TidemarkError) throw cause
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new TidemarkError('MALFORMED_FRAME', `the MessagePack body cannot be read: ${reason}`, { cause })
  }
}
