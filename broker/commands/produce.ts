// `tidemark produce`: lines of files or of the input stream become records. Bytes are cut and handed on, never decoded. The
// first record that is not acknowledged ends it: what is read from then on is not sent, and which records failed is said.

import type { Readable } from 'node:stream'
import type { Producer } from '../../client/producer.ts'
import type { ProducerRecord } from '../../client/producer-record.ts'
import type { Codec } from '../../shared/record-batch/format.ts'
import type { CommandContext } from './command.ts'
import { createReadStream } from 'node:fs'
import { BATCH_BYTES_MAX } from '../../shared/limits.ts'
import { refusalOf, withBrokers } from './broker-session.ts'
import { splitPair, UsageError } from './command.ts'
import { describeError } from './error-lines.ts'
import { FailedRecords } from './failed-records.ts'
import { RecordSplitter, RecordTooLong, unescape } from './record-splitter.ts'

type BytesProducer = Producer<Uint8Array, Uint8Array>
type BytesRecord = ProducerRecord<Uint8Array, Uint8Array>

const READ_BYTES = 1024 * 1024
const RECORD_BYTES_MAX = BATCH_BYTES_MAX - 64 * 1024
const BUFFER_BYTES = 64 * 1024 * 1024

interface Source {
  readonly name: string
  readonly open: () => Readable
}

export async function produce(context: CommandContext): Promise<number> {
  const { arguments: args } = context
  const topic = args.required('topic')
  const toRecord = recordMaker(context)
  const delimiter = unescape(args.required('delimiter'), '--delimiter')
  if (delimiter.length === 0) throw new UsageError('--delimiter must not be empty')
  const sources = sourcesOf(args.list('files'))
  return await withBrokers(context, async (session) => {
    // Known before anything is read, so that a wrong name is said at once and not after a file of records.
    const { topics } = await session.ask('metadata', { topics: [topic], createMissing: true })
    const refusal = topics[0] === undefined ? undefined : refusalOf(topics[0], `topic ${topic}`)
    if (refusal !== undefined && refusal.code !== 'LEADER_NOT_AVAILABLE') throw refusal
    const acks = args.required('acks')
    const producer = session.producer({
      acks: acks === 'all' ? 'all' : acks === '1' ? 1 : 0,
      compression: args.required('compression') as Codec,
      batchBytes: args.number('batch-bytes'),
      bufferBytes: BUFFER_BYTES,
      deliveryTimeoutMs: Math.max(args.number('timeout'), 1_000),
    })
    const run = new ProduceRun(context, producer, topic, toRecord)
    try {
      for (const source of sources) await run.send(source, new RecordSplitter(delimiter, RECORD_BYTES_MAX))
    } finally {
      await run.finish()
    }
    return run.report()
  })
}

class ProduceRun {
  readonly #context: CommandContext
  readonly #producer: BytesProducer
  readonly #topic: string
  readonly #toRecord: (line: Uint8Array) => BytesRecord
  readonly #failed = new FailedRecords()
  #sent = 0
  /** Whether there may be more input than was read. */
  #isCutShort = false
  /** What ended the reading before the end of the input, other than a failed record. */
  #stopped: string | undefined

  constructor(
    context: CommandContext,
    producer: BytesProducer,
    topic: string,
    toRecord: (line: Uint8Array) => BytesRecord,
  ) {
    this.#context = context
    this.#producer = producer
    this.#topic = topic
    this.#toRecord = toRecord
  }

  async send(source: Source, splitter: RecordSplitter): Promise<void> {
    if (!this.#mayGoOn()) {
      this.#isCutShort = true
      return
    }
    const stream = source.open()
    // A terminal says nothing by itself when the person at it has pressed Ctrl-C.
    this.#context.signal.addEventListener('abort', () => stream.destroy(), { once: true })
    const first = this.#sent + 1
    try {
      for await (const chunk of stream) {
        for (const line of splitter.feed(chunk as Buffer)) {
          this.#enqueue(line)
          if (this.#producer.bufferedBytes > BUFFER_BYTES / 2)
            await this.#producer.ready({ signal: this.#context.signal })
        }
        if (!this.#mayGoOn()) {
          this.#isCutShort = true
          return
        }
      }
      const last = splitter.finish()
      if (last !== undefined) this.#enqueue(last)
    } catch (error) {
      if (this.#context.signal.aborted) return
      this.#stopped = whyUnreadable(source, error, first)
    } finally {
      stream.destroy()
    }
  }

  /** Waits for what is on its way. */
  async finish(): Promise<void> {
    try {
      await this.#producer.close()
    } catch (error) {
      // Every record's own promise has told of its failure; what is left is that closing took too long.
      if (this.#failed.count === 0) this.#stopped ??= describeError(error).line
    }
  }

  report(): number {
    const { count } = this.#failed
    const acknowledged = this.#sent - count
    const records = `${acknowledged} record${acknowledged === 1 ? '' : 's'}`
    const isAnswered = this.#context.arguments.required('acks') !== '0'
    this.#context.note(
      isAnswered ? `${records} acknowledged` : `${records} sent; with acks 0 nobody said whether they came`,
    )
    if (this.#stopped !== undefined) console.error(`tidemark: ${this.#stopped}`)
    if (count > 0) {
      const reason = describeError(this.#failed.reason).line
      const rest = this.#isCutShort ? `; nothing behind record ${this.#sent} was sent` : ''
      console.error(`tidemark: not acknowledged: ${this.#failed.ranges()}: ${reason}${rest}`)
    }
    return count > 0 || this.#stopped !== undefined ? 1 : 0
  }

  #enqueue(line: Uint8Array): void {
    this.#sent++
    const number = this.#sent
    this.#producer.enqueue(this.#topic, this.#toRecord(line)).catch((error: unknown) => this.#failed.add(number, error))
  }

  #mayGoOn(): boolean {
    return this.#failed.count === 0 && this.#stopped === undefined && !this.#context.signal.aborted
  }
}

/** How a line becomes a record. @throws UsageError */
function recordMaker({ arguments: args }: CommandContext): (line: Uint8Array) => BytesRecord {
  const headers = args.list('header').map((pair) => splitPair(pair, '--header'))
  const partition = args.integer('partition')
  const key = args.text('key')
  const separatorText = args.text('key-separator')
  if (key !== undefined && separatorText !== undefined) {
    throw new UsageError('--key and --key-separator exclude each other: the key is one of all records, or in the line')
  }
  const common = { ...(headers.length === 0 ? {} : { headers }), ...(partition === undefined ? {} : { partition }) }
  if (separatorText === undefined) {
    const keyBytes = key === undefined ? null : Buffer.from(key)
    return (value) => ({ ...common, key: keyBytes, value })
  }
  const separator = unescape(separatorText, '--key-separator')
  if (separator.length === 0) throw new UsageError('--key-separator must not be empty')
  return (line) => {
    const at = Buffer.from(line.buffer, line.byteOffset, line.length).indexOf(separator)
    // As kcat does: a line without a separator is a value without a key.
    if (at < 0) return { ...common, key: null, value: line }
    return { ...common, key: line.subarray(0, at), value: line.subarray(at + separator.length) }
  }
}

function sourcesOf(files: readonly string[]): readonly Source[] {
  const names = files.length === 0 ? ['-'] : files
  return names.map((name) => ({
    name: name === '-' ? 'the input stream' : name,
    open: () => (name === '-' ? process.stdin : createReadStream(name, { highWaterMark: READ_BYTES })),
  }))
}

function whyUnreadable(source: Source, error: unknown, first: number): string {
  if (error instanceof RecordTooLong) {
    return `${source.name}: ${error.message}; records of this input count from ${first}; is the --delimiter right?`
  }
  const code = error instanceof Error && 'code' in error ? String(error.code) : undefined
  if (code === 'ENOENT') return `${source.name}: there is no such file`
  if (code === 'EISDIR') return `${source.name} is a directory`
  return `${source.name}: ${describeError(error).line}`
}
