// The load of a measurement: a topic of its own, records of a given size, and a producer that sends them as fast as they
// go or at a rate. A record's latency counts from when it was due, not from when there was time to send it: a stall is
// felt by every record that should have been sent meanwhile.

import type { Producer } from '../../client/producer.ts'
import type { Codec } from '../../shared/record-batch/format.ts'
import type { BrokerSession } from './broker-session.ts'
import type { CommandContext } from './command.ts'
import { seededRandom, systemRandom } from '../../shared/random.ts'
import { sleep, systemClock, systemTimers } from '../../shared/time.ts'
import { partitionNumbers } from './topic.ts'
import { refusalOf } from './broker-session.ts'

export interface Load {
  readonly topic: string
  readonly records: number
  readonly size: number
  /** Records a second; undefined for as many as go. */
  readonly rate: number | undefined
}

type BytesProducer = Producer<Uint8Array, Uint8Array>

/**
 * What is held while as many records are sent as go: enough to keep the broker busy, and no more, since all above that is
 * only waiting. 4 to 64 MiB give the same throughput; the median latency grows from 1 to 60 ms.
 */
const BUFFER_BYTES = 8 * 1024 * 1024
/** Different values that go round, so that compression has something real to do. */
const VALUES = 64
/** Records after which the event loop gets its turn. */
const BURST = 256

/** Runs work with the topic that was asked for, or with one that is there only meanwhile. */
export async function withBenchTopic<T>(
  context: CommandContext,
  session: BrokerSession,
  work: (topic: string) => Promise<T>,
): Promise<T> {
  const { arguments: args } = context
  const given = args.text('topic')
  if (given !== undefined) {
    await partitionNumbers(session, given)
    return await work(given)
  }
  const topic = `tidemark-bench-${systemRandom.uuid().slice(0, 8)}`
  const made = { topic, partitions: args.number('partitions'), replicationFactor: undefined, config: [] }
  const timeoutMs = args.number('timeout')
  const answer = await session.ask('createTopics', { topics: [made], validateOnly: false, timeoutMs })
  const refusal = answer.topics[0] === undefined ? undefined : refusalOf(answer.topics[0], `topic ${topic}`)
  if (refusal !== undefined) throw refusal
  try {
    return await work(topic)
  } finally {
    await session.askEvenIfInterrupted('deleteTopics', { topics: [topic], timeoutMs })
  }
}

export function benchProducer(context: CommandContext, session: BrokerSession, lingerMs: number): BytesProducer {
  const { arguments: args } = context
  const acks = args.required('acks')
  return session.producer({
    acks: acks === 'all' ? 'all' : acks === '1' ? 1 : 0,
    compression: args.required('compression') as Codec,
    batchBytes: args.number('batch-bytes'),
    lingerMs: args.integer('linger') ?? lingerMs,
    bufferBytes: bufferBytesOf(context),
  })
}

/**
 * Sends the load; resolves when every record has its outcome. `onAcknowledged` hears of each with the time at which it was
 * due (milliseconds, monotonic), which also stands in the first eight bytes of its value where there is room.
 * @throws the first failure
 */
export async function sendLoad(
  context: CommandContext,
  producer: BytesProducer,
  load: Load,
  onAcknowledged: (dueMs: number) => void,
): Promise<void> {
  const values = makeValues(load.size)
  const bufferedBytesMax = bufferBytesOf(context) / 2
  const failures: Error[] = []
  const startedMs = systemClock.monotonic()
  for (let sent = 0; sent < load.records && failures.length === 0; sent++) {
    let dueMs = systemClock.monotonic()
    if (load.rate !== undefined) {
      dueMs = startedMs + (sent * 1000) / load.rate
      // Shorter waits than a timer can count are turns of the event loop.
      for (let ahead = dueMs - systemClock.monotonic(); ahead > 0; ahead = dueMs - systemClock.monotonic()) {
        await (ahead > 2 ? sleep(systemTimers, ahead - 1, context.signal) : endOfTurn())
      }
    } else if (sent % BURST === BURST - 1) {
      await endOfTurn()
    }
    context.signal.throwIfAborted()
    if (producer.bufferedBytes > bufferedBytesMax) await producer.ready({ signal: context.signal })
    const value = values[sent % VALUES] ?? new Uint8Array(load.size)
    if (value.length >= 8) new DataView(value.buffer, value.byteOffset).setFloat64(0, dueMs)
    producer.enqueue(load.topic, { value }).then(
      () => onAcknowledged(dueMs),
      (error: unknown) => {
        if (failures.length === 0) failures.push(error instanceof Error ? error : new Error(String(error)))
      },
    )
  }
  await producer.flush({ signal: context.signal })
  // The promises of the last batch are told in the order in which they were asked.
  await endOfTurn()
  if (failures[0] !== undefined) throw failures[0]
}

/** When the record was due, as sendLoad has written it. */
export function dueTimeOf(value: Uint8Array): number {
  return new DataView(value.buffer, value.byteOffset, 8).getFloat64(0)
}

function bufferBytesOf({ arguments: args }: CommandContext): number {
  return Math.max(BUFFER_BYTES, 16 * args.number('batch-bytes'), 4 * args.number('size'))
}

/** Letters by chance, the same every time: nearly as hard to compress as text is. */
function makeValues(size: number): readonly Uint8Array[] {
  const random = seededRandom(1)
  return Array.from({ length: VALUES }, () => {
    const value = new Uint8Array(size)
    for (let index = 0; index < size; index++) value[index] = 65 + random.integer(26)
    return value
  })
}

function endOfTurn(): Promise<void> {
  return new Promise((resolve) => systemTimers.atEndOfTurn(resolve))
}
