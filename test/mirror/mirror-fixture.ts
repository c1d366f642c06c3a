// Builds what the tests of the mirror need: brokers, topics with records, a run of the mirror. Judges nothing.

import type { Client } from '../../client/index.ts'
import type { MirrorOptions, MirrorReport } from '../../broker/mirror/mirror-options.ts'
import type { Address } from '../../client/transport.ts'
import { type ClientEnvironment, systemEnvironment } from '../../client/environment.ts'
import { mirror } from '../../broker/mirror/mirror.ts'
import { startBroker, type TestBroker } from '../../broker/testing.ts'

export interface Run {
  readonly report: MirrorReport
  readonly notes: readonly string[]
}

export function addressOf(brokers: string): Address {
  const at = brokers.lastIndexOf(':')
  return { host: brokers.slice(0, at), port: Number(brokers.slice(at + 1)) }
}

export async function runMirror(
  from: string,
  to: string,
  options: Partial<MirrorOptions> = {},
  environment: ClientEnvironment = systemEnvironment,
  onNote: () => void = () => undefined,
): Promise<Run> {
  const notes: string[] = []
  const note = (line: string): void => {
    notes.push(line)
    onNote()
  }
  const report = await mirror(
    environment,
    {
      from: [addressOf(from)],
      to: [addressOf(to)],
      topics: [],
      copiesGroups: false,
      verification: 'all',
      isDryRun: false,
      parallel: 3,
      bytesPerSecond: undefined,
      replicationFactor: undefined,
      requestTimeoutMs: 10_000,
      patienceMs: 20_000,
      signal: new AbortController().signal,
      ...options,
    },
    { note, progress: () => undefined },
  )
  return { report, notes }
}

export interface Found {
  readonly offset: number
  /** Time, key, value and headers, as text. */
  readonly record: string
}

/** Every record of a partition, with its offset. */
export async function recordsOf(client: Client, topic: string, partition = 0): Promise<readonly Found[]> {
  const found: Found[] = []
  for await (const one of client.read(topic, { partitions: [partition], to: 'end', onOutOfRange: 'earliest' })) {
    const { timestamp, key, value, headers } = one
    const texts = Object.entries(headers).map(([name, each]) => [name, String(each)])
    const content = [timestamp, key?.toString(), value?.toString(), texts]
    found.push({ offset: one.offset, record: JSON.stringify(content) })
  }
  return found
}

/** So young that no retention takes the records away. */
const FIRST_TIME = Date.now() - 3_600_000

/** Batches of so many records each, of different codecs, with keys, headers and nulls. */
export async function fill(
  client: Client,
  topic: string,
  batches: number,
  perBatch = 20,
  partitions = 1,
): Promise<void> {
  const codecs = ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const
  for (let batch = 0; batch < batches; batch += 1) {
    const producer = client.producer({ compression: codecs[batch % codecs.length] ?? 'none', lingerMs: 0 })
    const messages = Array.from({ length: perBatch }, (_, index) => ({
      key: index % 5 === 0 ? null : Buffer.from(`key ${index}`),
      value: index % 7 === 3 ? null : Buffer.from(`batch ${batch}, record ${index} `.padEnd(60, '.')),
      headers: index % 3 === 0 ? { trace: `${batch}-${index}`, empty: null } : {},
      timestamp: FIRST_TIME + batch * 1_000 + index,
      partition: batch % partitions,
    }))
    await producer.send({ topic, messages })
    await producer.close()
  }
}

export function memoryBroker(): Promise<TestBroker> {
  return startBroker({ dataDir: 'memory' })
}

export async function makeTopic(broker: TestBroker, topic: string, config = {}, numPartitions = 1): Promise<void> {
  await broker
    .client()
    .admin()
    .createTopics({ topics: [{ topic, numPartitions, config }] })
}

/** Resolves when the partition ends at the offset or behind it. */
export async function endsBehind(client: Client, topic: string, offset: number, partition = 0): Promise<void> {
  const controller = new AbortController()
  const from = { [partition]: offset - 1 }
  const reader = client.read(topic, {
    partitions: [partition],
    from,
    signal: controller.signal,
    onOutOfRange: 'latest',
  })
  for await (const record of reader) if (record.offset >= offset - 1) break
}
