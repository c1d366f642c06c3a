// Compression of the records of a batch, by the codecs that Kafka's format knows. Owns which codec goes where; each codec
// has a file of its own, which also says what happens when its package is not installed. All of it is synchronous and
// bounded: what a few bytes can blow up to is never allocated before it is known to be allowed.

import type { Codec } from '../record-batch/format.ts'
import { tooLarge } from './errors.ts'
import { compressGzip, decompressGzip } from './gzip.ts'
import { compressLz4, decompressLz4 } from './lz4.ts'
import { compressSnappy, decompressSnappy } from './snappy.ts'
import { compressZstd, decompressZstd, prepareZstd } from './zstd.ts'

interface Compression {
  compress(bytes: Uint8Array): Uint8Array
  /** At most bytesMax bytes come out. @throws CORRUPT_MESSAGE otherwise. */
  decompress(bytes: Uint8Array, bytesMax: number): Uint8Array
  /** Loads what cannot be loaded synchronously. */
  prepare?(): Promise<void>
}

const COMPRESSIONS: Readonly<Record<Codec, Compression>> = {
  none: { compress: (bytes) => bytes, decompress: passThrough },
  gzip: { compress: compressGzip, decompress: decompressGzip },
  snappy: { compress: compressSnappy, decompress: decompressSnappy },
  lz4: { compress: compressLz4, decompress: decompressLz4 },
  zstd: { compress: compressZstd, decompress: decompressZstd, prepare: prepareZstd },
}

/**
 * Makes a codec ready; to be awaited once before its first use. Only zstd on a Node without zstd of its own has anything
 * to do. @throws UNSUPPORTED_COMPRESSION_TYPE when the package of the codec is not installed.
 */
export async function prepareCodec(codec: Codec): Promise<void> {
  await COMPRESSIONS[codec].prepare?.()
}

/** @throws UNSUPPORTED_COMPRESSION_TYPE when the codec is absent or not prepared. */
export function compress(codec: Codec, bytes: Uint8Array): Uint8Array {
  return COMPRESSIONS[codec].compress(bytes)
}

/**
 * The original of compressed bytes, at most bytesMax bytes. @throws CORRUPT_MESSAGE when the bytes are malformed or hold
 * more than that, UNSUPPORTED_COMPRESSION_TYPE when the codec is absent or not prepared.
 */
export function decompress(codec: Codec, bytes: Uint8Array, bytesMax: number): Uint8Array {
  const decompressed = COMPRESSIONS[codec].decompress(bytes, bytesMax)
  if (decompressed.length > bytesMax) throw tooLarge(codec, bytesMax)
  return decompressed
}

function passThrough(bytes: Uint8Array): Uint8Array {
  return bytes
}
