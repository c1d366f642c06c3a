// Cuts a stream of bytes into records at a delimiter. Never decodes: what is between two delimiters is the record, byte by
// byte, also when it is empty. The bytes behind the last delimiter are a record only if there are any.
//
// Invariant: what it holds back is shorter than recordBytesMax plus one chunk.

import { UsageError } from './command.ts'

export class RecordTooLong extends Error {
  override readonly name = 'RecordTooLong'
}

export class RecordSplitter {
  readonly #delimiter: Uint8Array
  readonly #recordBytesMax: number
  /** What has come since the last delimiter. */
  #held: Buffer[] = []
  #heldBytes = 0
  #records = 0

  constructor(delimiter: Uint8Array, recordBytesMax: number) {
    this.#delimiter = delimiter
    this.#recordBytesMax = recordBytesMax
  }

  /** The records that end in this chunk. They are views of it, or copies where they began in an earlier one. */
  *feed(chunk: Buffer): Generator<Uint8Array> {
    // A delimiter of several bytes may be cut in two, so what is held has to be searched again with what has come.
    const isJoined = this.#delimiter.length > 1 && this.#heldBytes > 0
    const bytes = isJoined ? this.#take(chunk) : chunk
    let start = 0
    for (let end = this.#find(bytes, 0); end >= 0; end = this.#find(bytes, start)) {
      const piece = bytes.subarray(start, end)
      start = end + this.#delimiter.length
      this.#check(this.#heldBytes + piece.length)
      this.#records++
      yield this.#heldBytes === 0 ? piece : this.#take(piece)
    }
    if (start === bytes.length) return
    this.#check(this.#heldBytes + bytes.length - start)
    this.#held.push(bytes.subarray(start))
    this.#heldBytes += bytes.length - start
  }

  /** What stands behind the last delimiter; undefined when nothing does. */
  finish(): Uint8Array | undefined {
    return this.#heldBytes === 0 ? undefined : this.#take(Buffer.alloc(0))
  }

  #find(bytes: Buffer, from: number): number {
    return this.#delimiter.length === 1
      ? bytes.indexOf(this.#delimiter[0] ?? 0, from)
      : bytes.indexOf(this.#delimiter, from)
  }

  #take(last: Buffer): Buffer {
    const whole = Buffer.concat([...this.#held, last], this.#heldBytes + last.length)
    this.#held = []
    this.#heldBytes = 0
    return whole
  }

  #check(bytes: number): void {
    if (bytes > this.#recordBytesMax) {
      throw new RecordTooLong(`record ${this.#records + 1} has more than ${this.#recordBytesMax} bytes`)
    }
  }
}

/** The bytes of a text in which \n, \t, \r, \0, \\ and \xHH stand for one byte each. @throws UsageError */
export function unescape(text: string, flag: string): Buffer {
  const parts: Buffer[] = []
  for (const [piece] of text.matchAll(/\\x[0-9a-fA-F]{2}|\\.|[^\\]+|\\$/gs)) {
    if (!piece.startsWith('\\')) parts.push(Buffer.from(piece))
    else if (piece.startsWith('\\x') && piece.length === 4) parts.push(Buffer.from(piece.slice(2), 'hex'))
    else parts.push(Buffer.from(ESCAPES.get(piece.slice(1)) ?? noEscape(piece, flag)))
  }
  return Buffer.concat(parts)
}

const ESCAPES: ReadonlyMap<string, string> = new Map([
  ['n', '\n'],
  ['t', '\t'],
  ['r', '\r'],
  ['0', '\0'],
  ['\\', '\\'],
])

function noEscape(piece: string, flag: string): never {
  throw new UsageError(`${flag}: '${piece}' stands for nothing; there are \\n \\t \\r \\0 \\xHH and \\\\`)
}
