// Encodes the cases of record-batches.json with every codec, for read-record-batches.py. Needs a build.
import { readFileSync } from 'node:fs'
import { prepareCodec } from '../../../dist/shared/compression/codec.js'
import { encodeLz4FrameStored } from '../../../dist/shared/compression/lz4-frame.js'
import { encodeBatch } from '../../../dist/shared/record-batch/encode.js'
import { CODECS } from '../../../dist/shared/record-batch/format.js'
import { computeCrc } from '../../../dist/shared/record-batch/header.js'

const { cases } = JSON.parse(readFileSync(new URL('record-batches.json', import.meta.url), 'utf8'))

function bytesOf(text) {
  if (text === null) return null
  const [encoded, count = '1'] = text.split('*')
  return Buffer.concat(Array.from({ length: Number(count) }, () => Buffer.from(encoded, 'base64')))
}

/** The batch that a producer without the native lz4 package sends. */
function withStoredLz4(plain) {
  const batch = Buffer.concat([plain.subarray(0, 61), encodeLz4FrameStored(plain.subarray(61))])
  batch.writeInt32BE(batch.length - 12, 8)
  batch.writeInt16BE(3, 21)
  batch.writeUInt32BE(computeCrc(batch, 0, batch.length), 17)
  return batch
}

const entries = []
for (const codec of CODECS) {
  await prepareCodec(codec)
  for (const [name, records] of Object.entries(cases)) {
    const decoded = records.map((record) => ({
      key: bytesOf(record.key),
      value: bytesOf(record.value),
      timestamp: record.timestamp,
      headers: record.headers.map(([header, value]) => [header, bytesOf(value)]),
    }))
    const batch = encodeBatch(decoded, { codec })
    entries.push({ case: name, codec, batch: Buffer.from(batch).toString('base64'), records })
    if (codec !== 'none') continue
    const stored = withStoredLz4(batch).toString('base64')
    entries.push({ case: name, codec: 'lz4, stored', batch: stored, records })
  }
}
process.stdout.write(JSON.stringify(entries))
