// `tidemark bench …`: how fast a running broker takes, gives and passes on records, as a client of this machine sees it.

import type { CommandContext } from './command.ts'
import type { BrokerSession } from './broker-session.ts'
import { UsageError } from './command.ts'
import { withBrokers } from './broker-session.ts'
import { benchProducer, dueTimeOf, sendLoad, withBenchTopic } from './bench-load.ts'
import { Measurement, printReport } from './bench-report.ts'
import { startProgress } from './progress.ts'
import { systemClock } from '../../shared/time.ts'

const RECORDS_DEFAULT = 100_000
const END_TO_END_RECORDS_DEFAULT = 10_000
const END_TO_END_RATE_DEFAULT = 1_000
const END_TO_END_WARMUP_SECONDS = 2
const LINGER_DEFAULT_MS = 5
/** Bytes that a record needs to carry the time at which it was due. */
const TIME_BYTES = 8

/** The latency of a record is from when it was due to be sent to its acknowledgement. */
export async function benchProduce(context: CommandContext): Promise<number> {
  const { arguments: args } = context
  const records = args.integer('records') ?? RECORDS_DEFAULT
  const size = args.number('size')
  const report = await withBrokers(context, (session) =>
    withBenchTopic(context, session, async (topic) => {
      const producer = benchProducer(context, session, LINGER_DEFAULT_MS)
      const progress = await startProgress(context, 'producing', records)
      const measurement = new Measurement()
      try {
        measurement.start()
        await sendLoad(context, producer, { topic, records, size, rate: args.integer('rate') }, (dueMs) => {
          measurement.add(1, size, systemClock.monotonic() - dueMs)
          if (measurement.records % 1000 === 0) progress.update(measurement.records)
        })
        measurement.stop()
      } finally {
        progress.stop()
        await producer.close({ timeoutMs: 1_000 })
      }
      return measurement.report()
    }),
  )
  await printReport(context, report)
  return 0
}

/** The latency of a batch is how long was waited for it. Without a topic of its own, one is filled first, unmeasured. */
export async function benchConsume(context: CommandContext): Promise<number> {
  const { arguments: args } = context
  const records = args.integer('records') ?? RECORDS_DEFAULT
  const report = await withBrokers(context, (session) =>
    withBenchTopic(context, session, async (topic) => {
      if (args.text('topic') === undefined) await fill(context, session, topic, records)
      const progress = await startProgress(context, 'consuming', records)
      const measurement = new Measurement()
      const reader = session.read(topic, { from: 'start', to: 'end', signal: context.signal })
      try {
        measurement.start()
        let waitingSinceMs = systemClock.monotonic()
        for await (const batch of reader.batches()) {
          const waitedMs = systemClock.monotonic() - waitingSinceMs
          let bytes = 0
          for (const { value } of batch) bytes += value?.length ?? 0
          measurement.add(batch.length, bytes, waitedMs)
          progress.update(measurement.records)
          if (measurement.records >= records) break
          waitingSinceMs = systemClock.monotonic()
        }
        measurement.stop()
      } finally {
        progress.stop()
        reader.close()
      }
      return measurement.report()
    }),
  )
  await printReport(context, report)
  return 0
}

/**
 * The latency of a record is from when it was due to be sent to when it has been received. The warm-up goes before and does
 * not count: a process that has just started spends its first two seconds compiling itself, which no user of it sees again.
 */
export async function benchEndToEnd(context: CommandContext): Promise<number> {
  const { arguments: args } = context
  const records = args.integer('records') ?? END_TO_END_RECORDS_DEFAULT
  const size = args.number('size')
  if (size < TIME_BYTES)
    throw new UsageError(`bench e2e: --size must be at least ${TIME_BYTES}: a record carries a time`)
  const rate = args.integer('rate') ?? END_TO_END_RATE_DEFAULT
  const warmup = args.integer('warmup') ?? rate * END_TO_END_WARMUP_SECONDS
  const report = await withBrokers(context, (session) =>
    withBenchTopic(context, session, async (topic) => {
      const measurement = new Measurement()
      const failed = new AbortController()
      const signal = AbortSignal.any([context.signal, failed.signal])
      const reader = session.read(topic, { from: 'end', signal })
      const producer = benchProducer(context, session, 0)
      const progress = await startProgress(context, 'end to end', records)
      const receive = async (): Promise<void> => {
        let ahead = warmup
        for await (const { value } of reader) {
          // Records of that length are ours; a topic that is shared with others has more.
          if (value?.length !== size) continue
          if (ahead > 0) {
            ahead -= 1
            if (ahead === 0) measurement.start()
            continue
          }
          measurement.add(1, size, systemClock.monotonic() - dueTimeOf(value))
          if (measurement.records % 100 === 0) progress.update(measurement.records)
          if (measurement.records >= records) return
        }
      }
      try {
        await reader.ready()
        measurement.start()
        const received = receive()
        const sent = sendLoad(context, producer, { topic, records: warmup + records, size, rate }, () => undefined)
        sent.catch((error: unknown) => failed.abort(error))
        await Promise.all([sent, received])
        measurement.stop()
      } finally {
        progress.stop()
        reader.close()
        await producer.close({ timeoutMs: 1_000 })
      }
      return measurement.report()
    }),
  )
  await printReport(context, report)
  return 0
}

async function fill(context: CommandContext, session: BrokerSession, topic: string, records: number): Promise<void> {
  const producer = benchProducer(context, session, LINGER_DEFAULT_MS)
  const size = context.arguments.number('size')
  await sendLoad(context, producer, { topic, records, size, rate: undefined }, () => undefined)
  await producer.close()
}
