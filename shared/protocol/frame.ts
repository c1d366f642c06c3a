// The native frame: its fixed header, and the one place that lays a whole frame out. Layout in PROTOCOL.md. Knows no
// message; the body is MessagePack, the tail raw bytes.

import { TidemarkError } from '../errors.ts'
import { decodeBody, encodeBody } from './codec.ts'

/** What a native connection begins with, 'TIDE': as a Kafka frame size it would be more than a gigabyte. */
export const NATIVE_MAGIC = 0x5449_4445
/** Bytes from the start of the length field to the start of the body. */
export const FRAME_HEADER_BYTES = 16

export const FRAME_KINDS = { request: 1, response: 2, error: 3 } as const
export type FrameKind = keyof typeof FRAME_KINDS

/** A frame as read. `body` is decoded but not yet checked; `tail` is a view that lives as long as the frame's bytes. */
export interface Frame {
  readonly kind: FrameKind
  readonly api: number
  readonly version: number
  readonly correlationId: number
  readonly body: unknown
  readonly tail: Uint8Array
}

/** The four bytes that open a native connection. */
export function nativePreface(): Uint8Array {
  return new Uint8Array([0x54, 0x49, 0x44, 0x45])
}

/**
 * Header and body of a frame as one new buffer; the caller sends the tail, `tailBytes` long, right behind it.
 */
export function encodeFrameHead(options: {
  readonly kind: FrameKind
  readonly api: number
  readonly version: number
  readonly correlationId: number
  readonly body: unknown
  readonly tailBytes: number
}): Uint8Array {
  const body = encodeBody(options.body)
  const head = new Uint8Array(FRAME_HEADER_BYTES + body.length)
  writeUint32(head, 0, FRAME_HEADER_BYTES - 4 + body.length + options.tailBytes)
  head[4] = FRAME_KINDS[options.kind]
  head[5] = options.api
  head[6] = options.version
  head[7] = 0
  writeUint32(head, 8, options.correlationId)
  writeUint32(head, 12, body.length)
  head.set(body, FRAME_HEADER_BYTES)
  return head
}

/**
 * Reads a frame from its bytes behind the length field.
 * @throws MALFORMED_FRAME when it contradicts itself.
 */
export function decodeFrame(bytes: Uint8Array): Frame {
  if (bytes.length < FRAME_HEADER_BYTES - 4) {
    throw new TidemarkError('MALFORMED_FRAME', `a frame of ${bytes.length} bytes is shorter than its header`)
  }
  const bodyStart = FRAME_HEADER_BYTES - 4
  const bodyBytes = readUint32(bytes, 8)
  if (bodyBytes > bytes.length - bodyStart) {
    throw new TidemarkError('MALFORMED_FRAME', `a body of ${bodyBytes} bytes does not fit its frame`)
  }
  return {
    kind: kindOf(bytes[0] ?? 0),
    api: bytes[1] ?? 0,
    version: bytes[2] ?? 0,
    correlationId: readUint32(bytes, 4),
    body: decodeBody(bytes.subarray(bodyStart, bodyStart + bodyBytes)),
    tail: bytes.subarray(bodyStart + bodyBytes),
  }
}

function kindOf(byte: number): FrameKind {
  switch (byte) {
    case FRAME_KINDS.request:
      return 'request'
    case FRAME_KINDS.response:
      return 'response'
    case FRAME_KINDS.error:
      return 'error'
    default:
      throw new TidemarkError('MALFORMED_FRAME', `frame kind ${byte} is not known`)
  }
}

export function readUint32(bytes: Uint8Array, at: number): number {
  return (
    (bytes[at] ?? 0) * 0x100_0000 + (((bytes[at + 1] ?? 0) << 16) | ((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0))
  )
}

function writeUint32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24
  bytes[at + 1] = value >>> 16
  bytes[at + 2] = value >>> 8
  bytes[at + 3] = value
}
