// What clients do in a simulation: producers of every kind, readers that follow and readers that replay, and an
// administrator. All by the real client, each on a machine of its own; every acknowledgement and every record read is told
// to the oracle. Errors that a client may meet are part of the play, those it must not meet are faults.

import { type Client, connect } from '../../client/client.ts'
import type { Producer } from '../../client/producer.ts'
import type { ProducerOptions } from '../../client/producer-options.ts'
import type { ReadOptions } from '../../client/reader-options.ts'
import type { ErrorCode } from '../../shared/errors.ts'
import type { Message } from '../../client/record-chunk.ts'
import { TidemarkError } from '../../shared/errors.ts'
import type { Random } from '../../shared/random.ts'
import { sleep } from '../../shared/time.ts'
import type { ReaderModel, SentRecord, TopicModel, TopicSpec, WorkloadOracle } from './oracle.ts'
import { TopicModel as Model } from './oracle.ts'
import type { SimProcess } from './sim-process.ts'
import { clientEnvironment } from './sim-environment.ts'
import type { SimNetwork } from './sim-network.ts'

export interface WorkloadTopic extends TopicSpec {
  readonly config: Readonly<Record<string, string | number>>
  readonly isTrimmed: boolean
  readonly growsTo: number
  /** Bytes of a record, at most. */
  readonly recordBytesMax: number
  readonly batchBytes: number
}

export interface ProducerSpec {
  readonly name: string
  readonly topic: string
  readonly options: ProducerOptions<string, string>
  readonly isIdempotent: boolean
  readonly records: number
  /** Between bursts, on average. */
  readonly pauseMs: number
}

export interface WorkloadPlan {
  readonly topics: readonly WorkloadTopic[]
  readonly producers: readonly ProducerSpec[]
  readonly tails: number
  readonly replays: number
  readonly churns: boolean
  /** Readers wait so long for records that only being woken brings them to the end in time. */
  readonly waitsLong: boolean
}

/** Errors that say that the broker, the disk or the network has broken a promise, whatever happened. */
export const NEVER: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'CORRUPT_MESSAGE',
  'MALFORMED_FRAME',
  'QUARANTINED',
  'UNKNOWN_API',
  'UNSUPPORTED_VERSION',
  'INVALID_REQUEST',
  'INVALID_ARGUMENT',
  'DESERIALIZATION_FAILED',
  'HELLO_EXPECTED',
  'FRAME_TOO_LARGE',
])

const WAIT_LONG_MS = 300_000
export const TIMEOUTS = { connectTimeoutMs: 4_000, requestTimeoutMs: 8_000, callTimeoutMs: 30_000 }

export class ClientMachine {
  readonly host: string
  readonly process: SimProcess
  readonly client: Client

  constructor(host: string, process: SimProcess, parts: { network: SimNetwork; random: Random; brokers: string[] }) {
    this.host = host
    this.process = process
    const environment = clientEnvironment(host, process, parts.network, parts.random)
    this.client = connect({ brokers: parts.brokers, clientId: host, ...TIMEOUTS }, environment)
  }
}

export class Workload {
  readonly plan: WorkloadPlan
  readonly oracle: WorkloadOracle
  readonly models = new Map<string, TopicModel>()
  readonly outcomes = new Map<string, number>()
  producersLeft = 0
  isAdminDone = false
  isChurnDone = true
  /** Readers that follow go on until the end is theirs. */
  isEnding = false
  readonly tails: { readonly model: ReaderModel; isOver: boolean }[] = []
  readonly #machines: readonly ClientMachine[]
  readonly #random: Random
  readonly #fail: (fault: string) => void
  readonly #note: (who: string, what: string, details: string) => void

  constructor(parts: {
    readonly plan: WorkloadPlan
    readonly oracle: WorkloadOracle
    readonly machines: readonly ClientMachine[]
    readonly random: Random
    readonly fail: (fault: string) => void
    readonly note: (who: string, what: string, details: string) => void
  }) {
    this.plan = parts.plan
    this.oracle = parts.oracle
    this.#machines = parts.machines
    this.#random = parts.random
    this.#fail = parts.fail
    this.#note = parts.note
  }

  /** Makes the topics; then everybody begins. */
  start(): void {
    this.producersLeft = this.plan.producers.length
    this.#go('workload', 0, async (machine) => {
      for (const topic of this.plan.topics) {
        this.models.set(topic.name, this.oracle.add(topic))
        await this.#insist(machine, async () => this.#create(machine, topic), ['TOPIC_ALREADY_EXISTS'])
      }
      for (const [index, spec] of this.plan.producers.entries()) {
        this.#go(spec.name, index + 1, async (own) => {
          await this.#produce(own, spec, this.#model(spec.topic))
          this.producersLeft -= 1
        })
      }
      for (let number = 0; number < this.plan.tails; number++) {
        const topic = this.#pick(this.plan.topics)
        this.#go(`tail ${number}`, number, (own) => this.#tail(own, `tail ${number}`, topic))
      }
      for (let number = 0; number < this.plan.replays; number++) {
        this.#go(`replay ${number}`, number + 1, (own) => this.#replay(own, `replay ${number}`))
      }
      this.#go('admin', 2, (own) => this.#administer(own))
      this.isChurnDone = !this.plan.churns
      if (this.plan.churns) this.#go('churn', 1, (own) => this.#churn(own))
    })
  }

  /** Reads everything there is and holds it against what is owed. */
  async judge(machine: ClientMachine): Promise<void> {
    for (const { name } of this.plan.topics) {
      const model = this.#model(name)
      const described = await machine.client.admin().describeTopic(name)
      const partitions = described.partitions.map(({ partition }) => partition)
      for (let tries = 1; ; tries++) {
        try {
          await this.#judgeTopic(machine, model, partitions)
          break
        } catch (error) {
          // Retention goes on while it is being read: what was the beginning may be gone by then.
          const mayHaveGone = model.spec.isRetained && tries < 10
          if (!mayHaveGone || !(error instanceof TidemarkError) || error.code !== 'OFFSET_OUT_OF_RANGE') throw error
        }
      }
    }
  }

  /** The readers that follow and have not read all there is, and how far they are. */
  whoIsBehind(ends: ReadonlyMap<string, ReadonlyMap<number, { start: number; end: number }>>): string[] {
    const behind: string[] = []
    for (const { model, isOver } of this.tails) {
      if (isOver) continue
      for (const [partition, { start, end }] of ends.get(model.topic.name) ?? []) {
        const next = model.next.get(partition) ?? start
        if (next < end) behind.push(`${model.name} is at ${next} of ${end} in ${model.topic.name}-${partition}`)
      }
    }
    return behind
  }

  async #judgeTopic(machine: ClientMachine, model: TopicModel, partitions: readonly number[]): Promise<void> {
    // Its end is settled when the reading begins. What a producer has still on its way may be known by the time it is over.
    const settled = new Map(partitions.map((partition) => [partition, knownEnd(model, partition)]))
    const starts = await machine.client.admin().offsets(model.name, { at: 'start' })
    const ends = await machine.client.admin().offsets(model.name, { at: 'end' })
    const found = new Map<number, Map<number, string>>(partitions.map((partition) => [partition, new Map()]))
    const reader = this.oracle.reader(`the judge`, model)
    for await (const message of machine.client.read(model.name, { from: 'start', to: 'end' })) {
      const value = valueOf(message)
      this.oracle.read(reader, message.partition, message.offset, value)
      found.get(message.partition)?.set(message.offset, value)
    }
    for (const partition of partitions) {
      const records = found.get(partition) ?? new Map<number, string>()
      const end = ends.find((one) => one.partition === partition)?.offset ?? 0
      const first = records.keys().next().value ?? end
      const start = starts.find((one) => one.partition === partition)?.offset ?? 0
      // A leader that has come meanwhile may not have heard of a trim, if that was not answered, or of retention.
      const isAlone = model.spec.replication === undefined
      if (isAlone && first < start) this.#fail(`${model.name}-${partition} begins at ${start}, and ${first} was read`)
      // Between the records of a replicated log stand those that the brokers write for themselves.
      if (isAlone && records.size < end - first) {
        this.#fail(`${model.name}-${partition}: ${records.size} records between ${first} and ${end}`)
      }
      this.oracle.judge(model, partition, { from: first, to: settled.get(partition) ?? 0 }, records)
    }
  }

  async #create(machine: ClientMachine, topic: WorkloadTopic): Promise<void> {
    const { name, partitions, durability, replication } = topic
    const config = { ...topic.config, durability }
    await machine.client.admin().createTopics({
      topics: [
        replication === undefined
          ? { topic: name, numPartitions: partitions, config }
          : {
              topic: name,
              numPartitions: partitions,
              replicationFactor: replication.factor,
              config: { ...config, 'min.insync.replicas': replication.minInSync },
            },
      ],
    })
  }

  async #produce(machine: ClientMachine, spec: ProducerSpec, model: TopicModel): Promise<void> {
    const { recordBytesMax } = this.#specOf(model)
    let producer: Producer<string, string> = machine.client.producer(spec.options)
    const pending: Promise<void>[] = []
    let isLost = false
    for (let number = 0; number < spec.records;) {
      await this.#pause(machine, spec.pauseMs)
      if (isLost) {
        // What is fatal to a producer is the application's to get over.
        await producer.close().catch(() => undefined)
        producer = machine.client.producer(spec.options)
        isLost = false
      }
      const burst = 1 + this.#random.integer(this.#random.integer(4) === 0 ? 12 : 2)
      for (let count = 0; count < burst && number < spec.records; count++, number++) {
        const value = `${spec.name}.${number}`
        const { isIdempotent } = spec
        const isForAll = spec.options.acks === undefined || spec.options.acks === 'all'
        const about = keyOf(model.spec, this.#random)
        const known = { value, topic: model, producer: spec.name, number, isIdempotent, isForAll, ...about }
        const sent = this.oracle.send(known)
        this.#note(spec.name, 'sends', value)
        const padding = '.'.repeat(this.#random.integer(recordBytesMax))
        const record =
          about === undefined
            ? {
                value: `${value}|${padding}`,
                key: this.#random.integer(2) === 0 ? null : `k${this.#random.integer(9)}`,
              }
            : {
                value: about.isTombstone ? null : `${value}|${padding}`,
                key: about.key,
                // A tombstone has nothing else to be known by.
                headers: { id: value },
              }
        const isSent = this.#random.integer(3) === 0
        const outcome = isSent
          ? producer.send({ topic: model.name, messages: [record] }).then(([one]) => one)
          : producer.enqueue(model.name, record)
        const settled = outcome.then(
          (metadata) => this.#onAcknowledged(sent, metadata?.partition ?? 0, metadata?.offset ?? -1),
          (error: unknown) => {
            this.#onError(spec.name, error)
            isLost ||= error instanceof TidemarkError && error.fatal
          },
        )
        pending.push(settled)
        // A send that has to wait for room is overtaken by what is called after it and fits: so nothing is, here.
        const mayWait = (spec.options.bufferBytes ?? Infinity) < 100_000
        if (isSent && (mayWait || this.#random.integer(3) === 0)) await settled
      }
      if (this.#random.integer(20) === 0)
        await producer.flush().catch((error: unknown) => this.#onError(spec.name, error))
    }
    await producer.close({ timeoutMs: 150_000 }).catch((error: unknown) => this.#onError(spec.name, error))
    await Promise.all(pending)
    if (producer.bufferedBytes !== 0) this.#fail(`${spec.name} holds ${producer.bufferedBytes} bytes after its end`)
  }

  #onAcknowledged(sent: SentRecord, partition: number, offset: number): void {
    this.#count('acknowledged')
    this.#note(sent.producer, 'acknowledged', `${sent.value} at ${sent.topic.name}-${partition} offset ${offset}`)
    this.oracle.acknowledge(sent, partition, offset)
  }

  async #tail(machine: ClientMachine, name: string, topic: WorkloadTopic): Promise<void> {
    const model = this.#model(topic.name)
    const reading = this.oracle.reader(name, model)
    const entry = { model: reading, isOver: false }
    this.tails.push(entry)
    const isSlow = this.#random.integer(3) === 0
    while (!this.isEnding) {
      const from = Object.fromEntries(
        Array.from({ length: topic.partitions }, (_, partition) => [partition, reading.next.get(partition) ?? 'start']),
      )
      try {
        for await (const message of machine.client.read(topic.name, { from, ...this.#readOptions(topic) })) {
          this.oracle.read(reading, message.partition, message.offset, valueOf(message))
          if (isSlow && !this.isEnding) await this.#pause(machine, 20)
        }
      } catch (error) {
        if (this.isEnding) break
        this.#onError(name, error)
      }
      await this.#pause(machine, 300)
    }
    entry.isOver = true
  }

  async #replay(machine: ClientMachine, name: string): Promise<void> {
    while (!this.isEnding) {
      await this.#pause(machine, 4_000)
      const topic = this.#pick(this.plan.topics)
      const reading = this.oracle.reader(name, this.#model(topic.name))
      const options: ReadOptions<Buffer, Buffer> = { from: 'start', to: 'end', ...this.#readOptions(topic) }
      try {
        for await (const batch of machine.client.read(topic.name, options).batches()) {
          for (const message of batch) {
            this.oracle.read(reading, message.partition, message.offset, valueOf(message))
          }
          if (this.#random.integer(10) === 0) await this.#pause(machine, 200)
          if (this.#random.integer(100) === 0) break
        }
      } catch (error) {
        if (!this.isEnding) this.#onError(name, error)
      }
    }
  }

  #readOptions(topic: WorkloadTopic): ReadOptions<Buffer, Buffer> {
    const isKept = topic.durability === 'fsync' || topic.replication !== undefined
    const isStrict = isKept && !topic.isRetained && !topic.isTrimmed
    return {
      onOutOfRange: isStrict ? 'error' : 'earliest',
      maxWaitMs: this.plan.waitsLong ? WAIT_LONG_MS : ([100, 1_000, 5_000][this.#random.integer(3)] ?? 0),
      maxBytes: [4_096, 65_536, 1_000_000][this.#random.integer(3)] ?? 65_536,
      unavailableTimeoutMs: 40_000,
    }
  }

  async #administer(machine: ClientMachine): Promise<void> {
    const admin = machine.client.admin()
    while (this.producersLeft > 0) {
      await this.#pause(machine, 3_000)
      const topic = this.#pick(this.plan.topics)
      const model = this.#model(topic.name)
      try {
        const kind = this.#random.integer(4)
        if (kind === 0 && topic.isTrimmed) await this.#trim(machine, model)
        else if (kind === 1 && topic.growsTo > model.partitions.length) {
          model.grow(model.partitions.length + 1)
          await admin.addPartitions({ topic: topic.name, partitions: model.partitions.length })
        } else if (kind === 2) {
          await admin.alterTopic({
            topic: topic.name,
            config: { 'index.interval.bytes': 200 + this.#random.integer(2_000) },
          })
        } else {
          await admin.offsets(topic.name, { at: 'max-timestamp' })
        }
      } catch (error) {
        this.#onError('admin', error, ['OFFSET_OUT_OF_RANGE'])
      }
    }
    this.isAdminDone = true
  }

  async #trim(machine: ClientMachine, model: TopicModel): Promise<void> {
    const number = this.#random.integer(model.spec.partitions)
    const partition = model.partitions[number]
    if (partition === undefined) return
    const end = Math.max(0, ...partition.known.keys())
    const beforeOffset = Math.floor(end * this.#random.fraction())
    partition.trimRequested = Math.max(partition.trimRequested, beforeOffset)
    await machine.client.admin().trim({ topic: model.name, partitions: [{ partition: number, beforeOffset }] })
    partition.trimAcknowledged = Math.max(partition.trimAcknowledged, beforeOffset)
  }

  /** A topic that is made, used, deleted and made again under its name, over and over. */
  async #churn(machine: ClientMachine): Promise<void> {
    const earlier = new Set<string>()
    for (let round = 1; this.producersLeft > 0; round++) {
      const { replication } = this.plan.topics[0] ?? CHURNED
      const topic: WorkloadTopic = {
        ...CHURNED,
        ...(replication === undefined ? {} : { replication }),
        partitions: 1 + this.#random.integer(2),
      }
      // Of its own: nobody else's records belong to it, those of the last round least of all.
      const model = new Model(topic)
      model.grow(2)
      await this.#insist(machine, () => this.#create(machine, topic), ['TOPIC_ALREADY_EXISTS'])
      try {
        const before = await machine.client.admin().describeTopic(topic.name)
        const isNew = !earlier.has(before.topicId ?? '')
        earlier.add(before.topicId ?? '')
        const spec = { name: `churn-${round}`, topic: topic.name, isIdempotent: true, records: 12, pauseMs: 100 }
        await this.#produce(machine, { ...spec, options: { deliveryTimeoutMs: 15_000 } }, model)
        const after = await machine.client.admin().describeTopic(topic.name)
        // A request that was given up may still have been on its way and have removed what was made since. And a broker
        // that is behind may not have known what was to be deleted: then it was not made anew.
        const isOfThisRound = before.topicId === after.topicId && isNew
        if (isOfThisRound) {
          await this.#judgeTopic(
            machine,
            model,
            after.partitions.map(({ partition }) => partition),
          )
        }
      } catch (error) {
        this.#onError('churn', error)
      }
      await this.#insist(machine, () => machine.client.admin().deleteTopics([topic.name]), [
        'UNKNOWN_TOPIC_OR_PARTITION',
      ])
      await this.#pause(machine, 2_000)
    }
    this.isChurnDone = true
  }

  /** Until it is done or was done before. */
  async #insist(machine: ClientMachine, act: () => Promise<void>, done: readonly ErrorCode[]): Promise<void> {
    for (;;) {
      try {
        await act()
        return
      } catch (error) {
        this.#onError('admin', error, done)
        if (error instanceof TidemarkError && done.includes(error.code)) return
      }
      await this.#pause(machine, 1_000)
    }
  }

  #go(name: string, machine: number, actor: (machine: ClientMachine) => Promise<void>): void {
    const own = this.#machines[machine % this.#machines.length]
    if (own === undefined) return
    actor(own).catch((error: unknown) => {
      this.#fail(`${name} threw ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`)
    })
  }

  #onError(who: string, error: unknown, allowed: readonly ErrorCode[] = []): void {
    if (!(error instanceof TidemarkError)) {
      this.#fail(`${who} met ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`)
      return
    }
    this.#count(error.code)
    this.#note(who, 'error', `${error.code} ${error.message}`)
    const isOutOfRange = error.code === 'OFFSET_OUT_OF_RANGE' && !allowed.includes(error.code)
    if (NEVER.has(error.code) || isOutOfRange) this.#fail(`${who} met ${error.code}: ${error.message}`)
  }

  #count(outcome: string): void {
    this.outcomes.set(outcome, (this.outcomes.get(outcome) ?? 0) + 1)
  }

  #model(name: string): TopicModel {
    const model = this.models.get(name)
    if (model === undefined) throw new Error(`there is no topic ${name}`)
    return model
  }

  #specOf(model: TopicModel): WorkloadTopic {
    return this.plan.topics.find(({ name }) => name === model.name) ?? CHURNED
  }

  #pick<T>(list: readonly T[]): T {
    const one = list[this.#random.integer(list.length)]
    if (one === undefined) throw new Error('nothing to pick from')
    return one
  }

  /** Around meanMs, often much less, seldom much more. */
  #pause(machine: ClientMachine, meanMs: number): Promise<void> {
    return sleep(machine.process, Math.min(5, -Math.log(1 - this.#random.fraction())) * meanMs)
  }
}

const CHURNED: WorkloadTopic = {
  name: 'churned',
  partitions: 1,
  durability: 'fsync',
  isRetained: false,
  config: { 'segment.bytes': 4_096 },
  isTrimmed: false,
  growsTo: 1,
  recordBytesMax: 100,
  batchBytes: 1_000,
}

function valueOf({ value, headers }: Pick<Message, 'value' | 'headers'>): string {
  if (value === null) return String(headers['id'] ?? '')
  const text = value.toString()
  return text.slice(0, text.indexOf('|'))
}

/** Of a record of a compacted topic. */
function keyOf({ isCompacted }: TopicSpec, random: Random): { key: string; isTombstone: boolean } | undefined {
  if (isCompacted === undefined) return undefined
  return { key: `k${random.integer(isCompacted.keys)}`, isTombstone: random.fraction() < isCompacted.tombstoneShare }
}

/** Up to where anybody has been told of records. */
function knownEnd(model: TopicModel, partition: number): number {
  return Math.max(0, ...[...(model.partitions[partition]?.known.keys() ?? [])].map((offset) => offset + 1))
}
