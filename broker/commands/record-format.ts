// How `consume` prints a record: by a format in kcat's letters, as JSON, or just its value. A format is compiled once;
// values go to the output as the bytes they are.

import { isUtf8 } from 'node:buffer'
import type { Message } from '../../client/record-chunk.ts'
import { UsageError } from './command.ts'
import { unescape } from './record-splitter.ts'

export interface PrintableRecord {
  readonly topic: string
  readonly partition: number
  readonly offset: number
  /** Milliseconds; -1 when the producer gave none. */
  readonly timestamp: number
  readonly key: Uint8Array | null
  readonly value: Uint8Array | null
  readonly headers: readonly (readonly [name: string, value: Uint8Array | null])[]
}

/** A header that came several times is several pairs. */
export function fieldsOf({ topic, partition, offset, timestamp, key, value, headers }: Message): PrintableRecord {
  const pairs = Object.entries(headers).flatMap(([name, one]) =>
    Array.isArray(one)
      ? one.map((each: Buffer | null) => [name, each] as const)
      : [[name, one as Buffer | null] as const],
  )
  return { topic, partition, offset, timestamp, key, value, headers: pairs }
}

/** The bytes that are printed for a record. */
export type RecordPrinter = (record: PrintableRecord) => Uint8Array

const NEWLINE = Buffer.from('\n')
const NOTHING = Buffer.alloc(0)
const LENIENT = new TextDecoder('utf-8', { ignoreBOM: true })

export const printValueLine: RecordPrinter = ({ value }) => Buffer.concat([value ?? NOTHING, NEWLINE])

/** kcat's names; what is no UTF-8 is given in base64 as well. */
export const printJson: RecordPrinter = ({ topic, partition, offset, timestamp, key, value, headers }) =>
  Buffer.from(
    `${JSON.stringify({
      topic,
      partition,
      offset,
      ts: timestamp,
      ...(headers.length === 0 ? {} : { headers: headers.flatMap(([name, one]) => [name, textOf(one)]) }),
      key: textOf(key),
      ...base64Of('keyBase64', key),
      payload: textOf(value),
      ...base64Of('payloadBase64', value),
    })}\n`,
  )

type Piece = Buffer | ((record: PrintableRecord) => Uint8Array)

const TOKENS: Readonly<Record<string, (record: PrintableRecord) => Uint8Array>> = {
  t: ({ topic }) => Buffer.from(topic),
  p: ({ partition }) => Buffer.from(String(partition)),
  o: ({ offset }) => Buffer.from(String(offset)),
  k: ({ key }) => key ?? NOTHING,
  s: ({ value }) => value ?? NOTHING,
  // As kcat counts: -1 for what is not there, which is not the same as being empty.
  K: ({ key }) => Buffer.from(String(key?.length ?? -1)),
  S: ({ value }) => Buffer.from(String(value?.length ?? -1)),
  T: ({ timestamp }) => Buffer.from(String(timestamp)),
  h: ({ headers }) => Buffer.from(headers.map(([name, value]) => `${name}=${textOf(value) ?? 'NULL'}`).join(',')),
  '%': () => Buffer.from('%'),
}

/** @throws UsageError for a letter that stands for nothing */
export function compileFormat(format: string): RecordPrinter {
  const pieces: Piece[] = []
  for (const [piece] of format.matchAll(/%.?|[^%]+/gs)) {
    if (!piece.startsWith('%')) {
      pieces.push(unescape(piece, '--format'))
      continue
    }
    const token = TOKENS[piece.slice(1)]
    if (token === undefined) {
      throw new UsageError(`--format: '${piece}' stands for nothing; there are %t %p %o %k %s %h %T %K %S and %%`)
    }
    pieces.push(token)
  }
  return (record) => Buffer.concat(pieces.map((piece) => (Buffer.isBuffer(piece) ? piece : piece(record))))
}

function textOf(bytes: Uint8Array | null): string | null {
  return bytes === null ? null : LENIENT.decode(bytes)
}

function base64Of(name: string, bytes: Uint8Array | null): Readonly<Record<string, string>> {
  if (bytes === null || isUtf8(bytes)) return {}
  return { [name]: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64') }
}
