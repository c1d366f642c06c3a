// Copies one partition from where its copy ends to where the source ended when it began. Owns the order of the requests: one
// at a time, each appended as a whole or not at all; why that loses and doubles nothing is partition-position.ts.

import type { ClientEnvironment } from '../../client/environment.ts'
import type { DataBatch } from './data-batches.ts'
import type { KafkaCluster, PartitionName } from './kafka-cluster.ts'
import type { Range } from './partition-compare.ts'
import { toTidemarkError } from '../../client/errors.ts'
import { backoffMs } from '../../client/retry.ts'
import { type ErrorCode, TidemarkError } from '../../shared/errors.ts'
import { sleep } from '../../shared/time.ts'
import { recordCountAt } from '../../shared/record-batch/header.ts'
import { produce } from '../protocols/kafka/00-produce.ts'
import { KEPT_OFFSETS } from '../protocols/kafka/18-api-versions.ts'
import { initProducerId } from '../protocols/kafka/22-init-producer-id.ts'
import { keptCopy, MIRROR_EPOCH, producedCopy, type ProducerStamp, SEQUENCES } from './batch-copy.ts'
import { checkCode } from './kafka-cluster.ts'
import { offsetAt } from './partition-offsets.ts'
import { findPosition, type Position } from './partition-position.ts'
import { PartitionStream } from './partition-stream.ts'
import type { RateLimit } from './rate-limit.ts'

export interface PartitionCopyOptions {
  readonly environment: ClientEnvironment
  readonly clusters: { readonly source: KafkaCluster; readonly target: KafkaCluster }
  readonly name: PartitionName
  /** Whether the target takes batches with the offsets that they have. */
  readonly keepsOffsets: boolean
  readonly mayBeCompacted: boolean
  readonly patienceMs: number
  readonly requestTimeoutMs: number
  readonly rate: RateLimit
  readonly signal: AbortSignal
  /** How many more offsets of the source are done with. */
  readonly onProgress: (offsets: number) => void
}

export interface PartitionCopied {
  readonly source: Range
  readonly target: Range
  /** Where this run has begun, at both sides. */
  readonly begun: { readonly source: number; readonly target: number }
  readonly records: number
  readonly bytes: number
  /** Records of transactions that were given up, which are no data. */
  readonly abortedRecords: number
  /** Offsets that the source dropped before they could be read. */
  readonly skippedOffsets: number
}

const REQUEST_BYTES_MAX = 1024 * 1024
const RETRY = { minMs: 50, maxMs: 2_000 }
const ALL = -1
const PRODUCE_VERSION_MAX = 9
/** What may have come of a request that was lost sight of; the end of the target tells. */
const PASSING: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'OFFSET_OUT_OF_RANGE',
  'OUT_OF_ORDER_SEQUENCE_NUMBER',
  'UNKNOWN_SERVER_ERROR',
])

export class PartitionCopy {
  readonly #options: PartitionCopyOptions
  #records = 0
  #bytes = 0
  #abortedRecords = 0
  #skippedOffsets = 0
  #producer: ProducerStamp | undefined
  /** Where the target ends, as far as it is known. */
  #targetEnd = 0
  /** Up to where this run knows both sides to be the same. */
  #acknowledged: { readonly source: number; readonly target: number } | undefined
  /** Offsets of the source that were told as progress. */
  #told: number | undefined

  constructor(options: PartitionCopyOptions) {
    this.#options = options
  }

  /** @throws MIRROR_DIVERGED, or what has kept it from getting on for longer than the patience */
  async run(): Promise<PartitionCopied> {
    const { clusters, name, environment, patienceMs, signal } = this.#options
    const source: Range = [
      await offsetAt(clusters.source, name, 'earliest'),
      await offsetAt(clusters.source, name, 'latest'),
    ]
    let begun: Position | undefined
    let furthest = -1
    let giveUpAt = environment.clock.monotonic() + patienceMs
    for (let failures = 1; ; failures += 1) {
      signal.throwIfAborted()
      const target = await this.#targetRange()
      const position = await this.#position(source, target)
      begun ??= position
      if (position.source > furthest) {
        furthest = position.source
        giveUpAt = environment.clock.monotonic() + patienceMs
        failures = 1
      }
      try {
        await this.#copy(position, source)
        return this.#copied(source, target[0], begun)
      } catch (thrown) {
        const error = toTidemarkError(thrown, 'UNKNOWN_SERVER_ERROR', `${name.topic}-${name.partition}`)
        const mayPass = error.retriable || PASSING.has(error.code)
        if (signal.aborted || !mayPass || environment.clock.monotonic() >= giveUpAt) throw error
        await sleep(environment.timers, backoffMs(failures, RETRY, environment.random), signal)
      }
    }
  }

  /** What this run has seen acknowledged is not looked at again, unless the target has lost it. */
  async #position(source: Range, target: Range): Promise<Position> {
    const sure = this.#acknowledged
    const isThere = sure !== undefined && sure.target >= target[0] && sure.target <= target[1]
    const rest = isThere
      ? { source: [Math.max(sure.source, source[0]), source[1]] as const, target: [sure.target, target[1]] as const }
      : { source, target }
    const position = await findPosition({ ...this.#options, ...rest })
    this.#acknowledged = { source: position.source, target: position.target }
    return position
  }

  #copied(source: Range, targetStart: number, begun: Position): PartitionCopied {
    return {
      begun: { source: begun.source, target: begun.target },
      source,
      target: [targetStart, this.#targetEnd],
      records: this.#records,
      bytes: this.#bytes,
      abortedRecords: this.#abortedRecords,
      skippedOffsets: this.#skippedOffsets,
    }
  }

  async #targetRange(): Promise<Range> {
    const { clusters, name } = this.#options
    return [await offsetAt(clusters.target, name, 'earliest'), await offsetAt(clusters.target, name, 'latest')]
  }

  async #copy(position: Position, [start, end]: Range): Promise<void> {
    const { clusters, name } = this.#options
    this.#targetEnd = position.target
    this.#producer = position.producer ?? this.#producer
    this.#tell(position.source, start)
    const stream = new PartitionStream(clusters.source, name, { from: position.source, end })
    for (let part = await stream.next(); part !== undefined; part = await stream.next()) {
      let at = position.source
      for (const batches of inRequests(part.batches, this.#options.keepsOffsets)) {
        await this.#send(batches, position.source)
        at = batches.at(-1)?.endOffset ?? at
        this.#acknowledged = { source: at, target: this.#targetEnd }
        this.#tell(Math.min(at, end), start)
      }
      this.#abortedRecords += part.abortedRecords
      this.#tell(Math.min(part.nextOffset, end), start)
    }
    this.#skippedOffsets += stream.skippedOffsets
  }

  async #send(batches: readonly DataBatch[], from: number): Promise<void> {
    const { rate, signal, keepsOffsets } = this.#options
    const bytes = batches.reduce((sum, batch) => sum + batch.bytes.length, 0)
    await rate.pass(bytes, signal)
    signal.throwIfAborted()
    if (keepsOffsets) await this.#sendKept(batches)
    else for (const batch of batches) await this.#sendProduced(batch, from)
    this.#bytes += bytes
  }

  async #sendKept(batches: readonly DataBatch[]): Promise<void> {
    let end = this.#targetEnd
    const copies = batches.map((batch) => {
      // The target may have records of its own: what they have taken away is given back by the next gap of the source.
      const baseOffset = Math.max(batch.baseOffset, end)
      end = baseOffset + batch.endOffset - batch.baseOffset
      return keptCopy(batch, baseOffset)
    })
    const { clusters, name } = this.#options
    if (!(await clusters.target.hasAt(name, KEPT_OFFSETS))) {
      // It would take the copies for records of anybody, and number them anew.
      const what = `the leader of ${name.topic}-${name.partition} is of a version that keeps no offsets`
      throw new TidemarkError('UNSUPPORTED_VERSION', `${what}: upgrade all brokers of ${clusters.target.name} first`)
    }
    await this.#produce(copies.length === 1 ? (copies[0] ?? NOTHING) : Buffer.concat(copies))
    this.#targetEnd = end
    for (const { recordCount } of batches) this.#records += recordCount
  }

  async #sendProduced(batch: DataBatch, from: number): Promise<void> {
    const producer = (this.#producer ??= await this.#newProducer())
    const copy = producedCopy(batch, from, producer)
    const count = recordCountAt(copy, 0)
    const baseOffset = await this.#produce(copy)
    // A request that was lost sight of, and taken meanwhile, is answered with the offset that it got: this one.
    if (baseOffset >= 0 && baseOffset !== this.#targetEnd) {
      const { topic, partition } = this.#options.name
      const what = `${topic}-${partition} of ${this.#options.clusters.target.name} is written by others at the same time`
      throw new TidemarkError('MIRROR_DIVERGED', `${what}: ${baseOffset} instead of ${this.#targetEnd}`, {
        topic,
        partition,
      })
    }
    this.#producer = { ...producer, baseSequence: (producer.baseSequence + count) % SEQUENCES }
    this.#targetEnd += count
    this.#records += count
  }

  /** Answers the offset that it got. @throws TidemarkError */
  async #produce(records: Uint8Array): Promise<number> {
    const { clusters, name, requestTimeoutMs, keepsOffsets } = this.#options
    const { topic, partition } = name
    const question = {
      acks: ALL,
      timeoutMs: requestTimeoutMs,
      topicData: [{ name: topic, partitionData: [{ index: partition, records }] }],
      keepsOffsets,
    }
    const answer = await clusters.target.askOnce(name, produce, question, PRODUCE_VERSION_MAX)
    const found = answer.responses[0]?.partitionResponses[0]
    if (found === undefined) throw new TidemarkError('UNKNOWN_SERVER_ERROR', `no answer for ${topic}-${partition}`)
    if (found.errorCode === DUPLICATE) return -1
    checkCode(found.errorCode, `${clusters.target.name}, ${topic}-${partition}`, found.errorMessage)
    return found.baseOffset
  }

  async #newProducer(): Promise<ProducerStamp> {
    const { target } = this.#options.clusters
    return await target.persist('an identity for a producer', async () => {
      const question = { transactionalId: undefined, transactionTimeoutMs: 60_000 }
      const { errorCode, producerId } = await target.askOnce('any', initProducerId, question)
      checkCode(errorCode, 'an identity for a producer')
      return { producerId, producerEpoch: MIRROR_EPOCH, baseSequence: 0 }
    })
  }

  #tell(offset: number, start: number): void {
    const told = this.#told ?? start
    if (offset <= told) return
    this.#told = offset
    this.#options.onProgress(offset - told)
  }
}

const NOTHING = new Uint8Array(0)
const DUPLICATE = 46

/** As many batches as go together: one, where the target gives the offsets, since Kafka takes no more. */
function* inRequests(batches: readonly DataBatch[], mayBeMany: boolean): Iterable<readonly DataBatch[]> {
  let together: DataBatch[] = []
  let bytes = 0
  for (const batch of batches) {
    const isFull = bytes + batch.bytes.length > REQUEST_BYTES_MAX || !mayBeMany
    if (together.length > 0 && isFull) {
      yield together
      together = []
      bytes = 0
    }
    together.push(batch)
    bytes += batch.bytes.length
  }
  if (together.length > 0) yield together
}
