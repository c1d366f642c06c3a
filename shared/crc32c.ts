// CRC-32C (Castagnoli), the checksum of record batches. Owns the choice between the table below and the native module,
// which is optional: both give the same value for every input, and a test holds them against each other.

import { createRequire } from 'node:module'

type NativeCrc32c = (bytes: Uint8Array, previous?: number) => number

/** The polynomial 0x1edc6f41 with its bits reversed. */
const POLYNOMIAL = 0x82f6_3b78

/**
 * Bytes from which the native module is the faster one: a call into it costs more than the table needs for few bytes.
 * scripts/bench-record-batch.ts, Node 20, 2.5 GHz: 128 bytes take 103 ns by table and 162 ns natively, 256 bytes 203 and
 * 199 ns, 64 KiB 51 and 10.7 us (1.3 and 6.1 GB/s).
 */
export const NATIVE_BYTES_MIN = 256

const TABLES = buildTables()
const native = loadNative()

/**
 * The checksum of the bytes, unsigned. With the checksum of what came before as seed, it is the checksum of both
 * together: `crc32c(b, crc32c(a))` is the checksum of a followed by b.
 */
export function crc32c(bytes: Uint8Array, seed = 0): number {
  if (native !== undefined && bytes.length >= NATIVE_BYTES_MIN) return native(bytes, seed)
  return crc32cByTable(bytes, 0, bytes.length, seed)
}

/** The checksum of bytes[start, end), without a view where the table does the work. */
export function crc32cRange(bytes: Uint8Array, start: number, end: number): number {
  if (native !== undefined && end - start >= NATIVE_BYTES_MIN) return native(bytes.subarray(start, end), 0)
  return crc32cByTable(bytes, start, end, 0)
}

/** Whether the native module was found. */
export function isCrc32cNative(): boolean {
  return native !== undefined
}

/** The checksum of bytes[start, end) by table alone. Exported for tests and benchmarks; others use crc32c. */
export function crc32cByTable(bytes: Uint8Array, start: number, end: number, seed: number): number {
  const table = TABLES
  let crc = ~seed
  let at = start
  // Eight bytes a step, each through a table of its own, so that the eight look-ups do not wait for one another.
  for (const stop = end - 7; at < stop; at += 8) {
    crc ^=
      byteAt(bytes, at) | (byteAt(bytes, at + 1) << 8) | (byteAt(bytes, at + 2) << 16) | (byteAt(bytes, at + 3) << 24)
    crc =
      entry(table, 0x700 | (crc & 0xff)) ^
      entry(table, 0x600 | ((crc >>> 8) & 0xff)) ^
      entry(table, 0x500 | ((crc >>> 16) & 0xff)) ^
      entry(table, 0x400 | (crc >>> 24)) ^
      entry(table, 0x300 | byteAt(bytes, at + 4)) ^
      entry(table, 0x200 | byteAt(bytes, at + 5)) ^
      entry(table, 0x100 | byteAt(bytes, at + 6)) ^
      entry(table, byteAt(bytes, at + 7))
  }
  for (; at < end; at++) crc = (crc >>> 8) ^ entry(table, (crc ^ byteAt(bytes, at)) & 0xff)
  return ~crc >>> 0
}

// Within bounds by the loops above; the compiler drops the `?? 0`.
function byteAt(bytes: Uint8Array, at: number): number {
  return bytes[at] ?? 0
}

function entry(table: Int32Array, at: number): number {
  return table[at] ?? 0
}

/** Eight tables of 256 entries, one behind the other: table k advances a byte by k more zero bytes than table 0. */
function buildTables(): Int32Array {
  const tables = new Int32Array(8 * 256)
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte
    for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1
    tables[byte] = crc
  }
  for (let at = 256; at < tables.length; at++) {
    const previous = entry(tables, at - 256)
    tables[at] = (previous >>> 8) ^ entry(tables, previous & 0xff)
  }
  return tables
}

function loadNative(): NativeCrc32c | undefined {
  try {
    const module = createRequire(import.meta.url)('@node-rs/crc32') as { readonly crc32c?: NativeCrc32c }
    return typeof module.crc32c === 'function' ? module.crc32c : undefined
  } catch {
    // Not installed, or not built for this platform: whatever the reason, the table gives the same values.
    return undefined
  }
}
