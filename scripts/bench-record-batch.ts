// Measures what record batches cost: encode and decode in records a second, checks and checksums in GB a second, codecs in
// MB a second. Run after a build: node dist/scripts/bench-record-batch.js [seconds]

import type { Codec } from '../shared/record-batch/format.ts'
import type { RecordToEncode } from '../shared/record-batch/encode.ts'
import { compress, decompress, prepareCodec } from '../shared/compression/codec.ts'
import { crc32c, crc32cByTable, isCrc32cNative } from '../shared/crc32c.ts'
import { decodeBatch } from '../shared/record-batch/decode.ts'
import { BatchBuilder, encodeBatch } from '../shared/record-batch/encode.ts'
import { CODECS } from '../shared/record-batch/format.ts'
import { checkBatch } from '../shared/record-batch/header.ts'
import { systemClock } from '../shared/time.ts'

const secondsPerCase = Number(process.argv[2] ?? 0.5)
const VALUE_BYTES = 100
const BATCH_BYTES = 64 * 1024

/** The best of five rounds, in nanoseconds a call: what the code costs when nothing else disturbs it. */
function nanosecondsPerCall(run: () => unknown): number {
  let calls = 1
  for (let spent = 0; spent < secondsPerCase * 100; calls *= 2) spent = millisecondsOf(run, calls)
  let best = Number.POSITIVE_INFINITY
  for (let round = 0; round < 5; round++) best = Math.min(best, (millisecondsOf(run, calls) * 1e6) / calls)
  return best
}

function millisecondsOf(run: () => unknown, calls: number): number {
  const start = systemClock.monotonic()
  for (let call = 0; call < calls; call++) run()
  return systemClock.monotonic() - start
}

function print(what: string, figure: string): void {
  console.log(`${what.padEnd(52)}${figure.padStart(24)}`)
}

function recordsPerSecond(count: number, nanoseconds: number): string {
  return `${((count * 1e3) / nanoseconds).toFixed(2)} M records/s`
}

function recordOf(keyBytes: number, headers: RecordToEncode['headers']): RecordToEncode {
  const value = new TextEncoder().encode('v'.repeat(VALUE_BYTES))
  const key = keyBytes === 0 ? null : new TextEncoder().encode('k'.repeat(keyBytes))
  return { key, value, timestamp: 1_700_000_000_000, headers }
}

function benchRecords(name: string, record: RecordToEncode): void {
  const builder = new BatchBuilder({ codec: 'none', initialBytes: 2 * BATCH_BYTES })
  const fill = (): Uint8Array => {
    builder.reset()
    while (builder.byteLength < BATCH_BYTES) builder.append(record)
    return builder.finish()
  }
  const batch = fill()
  const count = builder.recordCount
  print(`encode, ${name}`, recordsPerSecond(count, nanosecondsPerCall(fill)))
  let seen = 0
  const visit = (decoded: { readonly key: Uint8Array | null; readonly value: Uint8Array | null }): void => {
    seen += (decoded.value?.length ?? 0) + (decoded.key?.length ?? 0)
  }
  print(
    `decode by forEach, ${name}`,
    recordsPerSecond(
      count,
      nanosecondsPerCall(() => decodeBatch(batch).forEach(visit)),
    ),
  )
  const iterate = (): void => {
    for (const decoded of decodeBatch(batch)) visit(decoded)
  }
  print(`decode by iteration, ${name}`, recordsPerSecond(count, nanosecondsPerCall(iterate)))
  print(
    `decode by toArray, ${name}`,
    recordsPerSecond(
      count,
      nanosecondsPerCall(() => decodeBatch(batch).toArray()),
    ),
  )
  if (seen === 0) throw new Error('nothing was decoded')
}

function benchChecks(): void {
  for (const bytes of [64, 128, 256, 1_024, 65_536]) {
    const data = new Uint8Array(bytes).fill(7)
    const table = nanosecondsPerCall(() => crc32cByTable(data, 0, data.length, 0))
    const chosen = nanosecondsPerCall(() => crc32c(data))
    print(`crc32c of ${bytes} bytes, by table`, `${table.toFixed(0)} ns ${(bytes / table).toFixed(2)} GB/s`)
    print(`crc32c of ${bytes} bytes, as chosen`, `${chosen.toFixed(0)} ns ${(bytes / chosen).toFixed(2)} GB/s`)
  }
  for (const count of [1, 10, 600]) {
    const batch = encodeBatch(Array.from({ length: count }, () => recordOf(0, undefined)))
    const nanoseconds = nanosecondsPerCall(() => checkBatch(batch, 0, batch.length))
    print(
      `checkBatch of ${batch.length} bytes`,
      `${nanoseconds.toFixed(0)} ns ${(batch.length / nanoseconds).toFixed(2)} GB/s`,
    )
  }
}

function benchCodec(codec: Codec): void {
  const lines = Array.from(
    { length: 700 },
    (_, index) => `{"id":${index * 7919},"name":"user-${index % 97}","ok":true,"at":${1.7e9 + index * 31}}`,
  )
  const plain = new TextEncoder().encode(lines.join('\n'))
  const packed = compress(codec, plain)
  const megabytes = (nanoseconds: number): string => `${((plain.length * 1e3) / nanoseconds).toFixed(0)} MB/s`
  const packing = megabytes(nanosecondsPerCall(() => compress(codec, plain)))
  const unpacking = megabytes(nanosecondsPerCall(() => decompress(codec, packed, 1 << 26)))
  print(`${codec}: ${plain.length} to ${packed.length} bytes, pack / unpack`, `${packing} / ${unpacking}`)
}

print('crc32c', isCrc32cNative() ? 'native from 256 bytes on' : 'by table')
benchChecks()
benchRecords('100-byte values, no key', recordOf(0, undefined))
benchRecords('100-byte values, 10-byte keys', recordOf(10, undefined))
benchRecords(
  '100-byte values, keys, two headers',
  recordOf(10, [
    ['trace', new Uint8Array(16)],
    ['kind', new Uint8Array(4)],
  ]),
)
for (const codec of CODECS) {
  await prepareCodec(codec)
  if (codec !== 'none') benchCodec(codec)
}
