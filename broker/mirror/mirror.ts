// Copies topics of one cluster to another, over Kafka's protocol at both ends. Owns the order of things: topics are made, all
// partitions copied, both sides compared, settings that were held back are set, and what groups have committed goes last,
// when the offsets that it names are there. Keeps nothing: what was done is seen at the target.

import type { ClientEnvironment } from '../../client/environment.ts'
import type { CommittedOffset, GroupOutcome } from './group-offsets.ts'
import type { KnownTopic } from './kafka-cluster.ts'
import type {
  MirrorEvents,
  MirrorOptions,
  MirrorReport,
  PartitionReport,
  SideReport,
  TopicReport,
} from './mirror-options.ts'
import type { Range } from './partition-compare.ts'
import { prepareCodec } from '../../shared/compression/codec.ts'
import { TidemarkError } from '../../shared/errors.ts'
import { CODECS } from '../../shared/record-batch/format.ts'
import { KEPT_OFFSETS } from '../protocols/kafka/18-api-versions.ts'
import { commitAtTarget, committedOffsets, groupNames } from './group-offsets.ts'
import { KafkaCluster } from './kafka-cluster.ts'
import { PartitionCopy, type PartitionCopied } from './partition-copy.ts'
import { offsetAt } from './partition-offsets.ts'
import { verifyPartition } from './partition-verification.ts'
import { RateLimit } from './rate-limit.ts'
import { chosenTopics } from './topic-choice.ts'
import {
  addPartitions,
  createHeld,
  differingSettings,
  isCompacted,
  isHeld,
  type RefusedSetting,
  setAtFirst,
  setAtLast,
  topicSettings,
  type TopicSettings,
  trim,
} from './topic-settings.ts'

/** A topic on its way. */
interface Work {
  readonly topic: KnownTopic
  readonly settings: TopicSettings
  readonly isCompacted: boolean
  /** Whether the target has it for this copy, with settings held back. */
  readonly isHeld: boolean
  readonly refused: readonly RefusedSetting[]
  readonly partitions: PartitionWork[]
  /** Why there is nothing to be done for any of its partitions: a side has it no more, after all the patience. */
  gone?: string
}

interface PartitionWork {
  readonly work: Work
  readonly partition: number
  copied?: PartitionCopied
  report?: PartitionReport
  /** Why it could not be copied. */
  failure?: string
}

const CLIENT_ID = 'tidemark-mirror'

/** @throws TidemarkError when nothing can be done at all; what fails for single topics is in the report. */
export async function mirror(
  environment: ClientEnvironment,
  options: MirrorOptions,
  events: MirrorEvents,
): Promise<MirrorReport> {
  const run = new Mirror(environment, options, events)
  try {
    return await run.run()
  } finally {
    run.close()
  }
}

class Mirror {
  readonly #environment: ClientEnvironment
  readonly #options: MirrorOptions
  readonly #events: MirrorEvents
  readonly #clusters: { readonly source: KafkaCluster; readonly target: KafkaCluster }
  readonly #translated = new Map<string, ReadonlyMap<number, number>>()

  constructor(environment: ClientEnvironment, options: MirrorOptions, events: MirrorEvents) {
    this.#environment = environment
    this.#options = options
    this.#events = events
    const { from, to, requestTimeoutMs, patienceMs, signal } = options
    // What is under way is not waited for.
    signal.addEventListener('abort', () => this.close(), { once: true })
    const common = { clientId: CLIENT_ID, requestTimeoutMs, patienceMs, signal }
    this.#clusters = {
      source: new KafkaCluster(environment, { ...common, name: 'the source', bootstrap: from }),
      target: new KafkaCluster(environment, { ...common, name: 'the target', bootstrap: to }),
    }
  }

  close(): void {
    this.#clusters.source.close()
    this.#clusters.target.close()
  }

  async run(): Promise<MirrorReport> {
    const { source, target } = this.#clusters
    for (const codec of CODECS) await prepareCodec(codec)
    const chosen = chosenTopics(await source.topics(), this.#options.topics)
    const there = new Map((await target.topics()).map((topic) => [topic.name, topic]))
    this.#checkApart()
    if (this.#options.isDryRun) return await this.#plan(chosen, there)
    const failed: TopicReport[] = []
    const works: Work[] = []
    for (const topic of chosen) {
      try {
        works.push(await this.#prepare(topic, there.get(topic.name)))
      } catch (error) {
        this.#noteFailure(`topic ${topic.name}`, error)
        failed.push({ topic: topic.name, outcome: 'failed', partitions: [], refusedSettings: [] })
      }
    }
    await this.#copyAll(works)
    const committed = this.#options.copiesGroups ? await this.#committed(works) : new Map<string, CommittedOffset[]>()
    await this.#compareAll(works, [...committed.values()].flat())
    const topics: TopicReport[] = []
    for (const work of works) {
      try {
        topics.push(await this.#complete(work))
      } catch (error) {
        this.#noteFailure(`topic ${work.topic.name}`, error)
        topics.push({ ...reportOf(work), outcome: 'failed' })
      }
    }
    const groups: GroupOutcome[] = []
    for (const [group, offsets] of committed) groups.push(await this.#commit(group, offsets, works))
    const all = [...topics, ...failed]
    const isComplete =
      all.every(({ outcome }) => outcome !== 'failed') && groups.every(({ refusal }) => refusal === undefined)
    return { topics: all, groups, isComplete }
  }

  /** @throws INVALID_REQUEST when both are one: whatever is there would be found to be the same. */
  #checkApart(): void {
    const { source, target } = this.#clusters
    const shared = target.addresses.find((address) => source.addresses.includes(address))
    if (source.id !== target.id || shared === undefined) return
    throw new TidemarkError('INVALID_REQUEST', `source and target are the same cluster: ${shared} is a broker of both`)
  }

  async #plan(chosen: readonly KnownTopic[], there: ReadonlyMap<string, KnownTopic>): Promise<MirrorReport> {
    const topics: TopicReport[] = []
    for (const { name, partitionCount } of chosen) {
      const partitions: PartitionReport[] = []
      for (let partition = 0; partition < partitionCount; partition += 1) {
        const place = { topic: name, partition, lane: 0 }
        const side = async (cluster: KafkaCluster) => ({
          logStartOffset: await offsetAt(cluster, place, 'earliest'),
          endOffset: await offsetAt(cluster, place, 'latest'),
          records: undefined,
          checksum: undefined,
        })
        const known = (there.get(name)?.partitionCount ?? 0) > partition
        const nothing = { logStartOffset: 0, endOffset: 0, records: undefined, checksum: undefined }
        partitions.push({
          ...NOTHING_DONE,
          partition,
          source: await side(this.#clusters.source),
          target: known ? await side(this.#clusters.target) : nothing,
        })
      }
      const outcome = there.has(name) ? 'would be continued' : 'would be created'
      topics.push({ topic: name, outcome, partitions, refusedSettings: [] })
    }
    return { topics, groups: [], isComplete: true }
  }

  async #prepare(topic: KnownTopic, found: KnownTopic | undefined): Promise<Work> {
    const { source, target } = this.#clusters
    const { name, partitionCount } = topic
    const settings = await topicSettings(source, name)
    if (found !== undefined && found.partitionCount < partitionCount) {
      await addPartitions(target, name, partitionCount)
    } else if (found !== undefined && found.partitionCount > partitionCount) {
      const what = `${name} has ${partitionCount} partitions at the source and ${found.partitionCount} at the target`
      throw new TidemarkError('INVALID_PARTITIONS', `${what}: keys would be in other partitions`, { topic: name })
    }
    let refused: readonly RefusedSetting[] = []
    const there = found === undefined ? undefined : await topicSettings(target, name)
    let held = there !== undefined && isHeld(there)
    if (found === undefined || there === undefined) {
      const replicas = this.#options.replicationFactor ?? Math.min(topic.replicationFactor, target.nodes.length)
      await createHeld(target, topic, replicas)
      held = true
      refused = await setAtFirst(target, name, settings, replicas)
    } else if (held) {
      refused = await setAtFirst(target, name, settings, found.replicationFactor)
    } else {
      const others = differingSettings(settings, there)
      if (others.length > 0) {
        this.#events.note(
          `topic ${name} is there already and keeps its own settings, which are others: ${others.join(', ')}`,
        )
      }
    }
    for (const { name: key, value, why } of refused) {
      this.#events.note(`topic ${name}: ${key}=${value} is not taken by the target: ${why}`)
    }
    const mayBeCompacted = isCompacted(settings)
    const work: Work = { topic, settings, isCompacted: mayBeCompacted, isHeld: held, refused, partitions: [] }
    for (let partition = 0; partition < partitionCount; partition += 1) work.partitions.push({ work, partition })
    return work
  }

  async #copyAll(works: readonly Work[]): Promise<void> {
    const { signal, requestTimeoutMs, patienceMs, bytesPerSecond } = this.#options
    const keepsOffsets = this.#options.keepsOffsets !== false && (await this.#clusters.target.has(KEPT_OFFSETS))
    const rate = new RateLimit(this.#environment, bytesPerSecond)
    const all = works.flatMap(({ partitions }) => partitions)
    const progress = this.#progressOver('copying', await this.#offsetsOf(works))
    await this.#inLanes(all, async (part, lane) => {
      const { topic, isCompacted: mayBeCompacted } = part.work
      const copy = new PartitionCopy({
        environment: this.#environment,
        clusters: this.#clusters,
        name: { topic: topic.name, partition: part.partition, lane },
        keepsOffsets,
        mayBeCompacted,
        patienceMs,
        requestTimeoutMs,
        rate,
        signal,
        onProgress: progress,
      })
      part.copied = await copy.run()
      const [start] = part.copied.source
      const [targetStart, targetEnd] = part.copied.target
      // A copy that begins behind a gap begins where its source does.
      const mayBegin = part.work.isHeld && keepsOffsets && start > targetStart && start <= targetEnd
      if (!mayBegin) return
      await trim(this.#clusters.target, topic.name, part.partition, start)
      part.copied = { ...part.copied, target: [start, targetEnd] }
    })
  }

  async #compareAll(works: readonly Work[], committed: readonly CommittedOffset[]): Promise<void> {
    const all = works.flatMap(({ partitions }) => partitions).filter(({ copied }) => copied !== undefined)
    const { verification } = this.#options
    const total = all.reduce((sum, { copied }) => sum + (copied === undefined ? 0 : lengthOf(copied.source)), 0)
    const progress = this.#progressOver('verifying', verification === 'all' ? total : 0)
    await this.#inLanes(all, async (part, lane) => {
      const { work, partition, copied } = part
      if (copied === undefined) return
      const { topic } = work
      const mine = committed.filter((one) => one.topic === topic.name && one.partition === partition)
      const wanted = [...new Set(mine.map(({ offset }) => offset))].toSorted((a, b) => a - b)
      if (verification === 'none' && wanted.length === 0) {
        part.report = partitionReport(partition, copied)
        return
      }
      const { begun } = copied
      const result = await verifyPartition({
        clusters: this.#clusters,
        name: { topic: topic.name, partition, lane },
        copied,
        // An offset is found by the record that has it, which may be one that was copied long ago.
        isNewOnly: verification === 'new' && wanted.every((offset) => offset >= begun.source),
        // A target that is held cleans nothing up; the source goes on doing so.
        mayLack: !work.isCompacted ? [] : work.isHeld ? ['source'] : ['source', 'target'],
        wanted,
        onRecords: progress,
      })
      this.#translated.set(`${topic.name}-${partition}`, result.translations)
      const { difference } = result
      const text = difference === undefined ? undefined : `offset ${difference.offset}: ${difference.what}`
      if (text !== undefined) this.#events.note(`${topic.name}-${partition} is not the same, from ${text}`)
      const report = partitionReport(partition, copied)
      part.report = {
        ...report,
        offsets: result.order === 'by-offset' ? 'equal' : 'moved',
        source: { ...report.source, records: result.sourceRecords, checksum: hex(result.sourceChecksum) },
        target: { ...report.target, records: result.targetRecords, checksum: hex(result.targetChecksum) },
        difference: text,
      }
    })
  }

  async #complete(work: Work): Promise<TopicReport> {
    const { topic, isHeld: held, settings, partitions } = work
    const isSame = partitions.every(({ failure, report }) => failure === undefined && report?.difference === undefined)
    const refusedSettings = [...work.refused]
    if (isSame && held) {
      const late = await setAtLast(this.#clusters.target, topic.name, settings)
      for (const { name, value, why } of late) {
        this.#events.note(`topic ${topic.name}: ${name}=${value} is not taken by the target: ${why}`)
      }
      refusedSettings.push(...late)
    }
    const outcome = !isSame ? 'failed' : this.#options.verification === 'none' ? 'copied' : 'verified'
    return { ...reportOf(work), outcome, refusedSettings }
  }

  /** By group, in the topics that are copied. */
  async #committed(works: readonly Work[]): Promise<ReadonlyMap<string, CommittedOffset[]>> {
    const { source } = this.#clusters
    const names = new Set(works.map(({ topic }) => topic.name))
    const found = new Map<string, CommittedOffset[]>()
    for (const group of await groupNames(source)) {
      const offsets = (await committedOffsets(source, group)).filter(({ topic }) => names.has(topic))
      if (offsets.length > 0) found.set(group, offsets)
    }
    return found
  }

  async #commit(group: string, offsets: readonly CommittedOffset[], works: readonly Work[]): Promise<GroupOutcome> {
    const sound = new Set(
      works.flatMap(({ topic, partitions }) =>
        partitions
          .filter(({ report }) => report !== undefined && report.difference === undefined)
          .map(({ partition }) => `${topic.name}-${partition}`),
      ),
    )
    const translated = offsets.flatMap((one) => {
      const place = `${one.topic}-${one.partition}`
      const offset = this.#translated.get(place)?.get(one.offset)
      return offset === undefined || !sound.has(place) ? [] : [{ ...one, offset }]
    })
    const outcome = await commitAtTarget(this.#clusters.target, group, translated)
    if (outcome.refusal !== undefined) this.#events.note(`group ${group} is not committed: ${outcome.refusal}`)
    return outcome
  }

  /** So many at a time; what fails for one partition ends no other. */
  async #inLanes(
    parts: readonly PartitionWork[],
    work: (part: PartitionWork, lane: number) => Promise<void>,
  ): Promise<void> {
    const { parallel, signal } = this.#options
    const queue = [...parts]
    const lanes = Array.from({ length: Math.min(parallel, parts.length) }, async (_, lane) => {
      for (let part = queue.shift(); part !== undefined; part = queue.shift()) {
        if (part.work.gone !== undefined) {
          part.failure = part.work.gone
          continue
        }
        try {
          await work(part, lane)
        } catch (error) {
          if (signal.aborted) throw error
          part.failure = this.#noteFailure(`${part.work.topic.name}-${part.partition}`, error)
          const isGone = error instanceof TidemarkError && error.code === 'UNKNOWN_TOPIC_OR_PARTITION'
          if (isGone) part.work.gone = part.failure
        }
      }
    })
    const outcomes = await Promise.allSettled(lanes)
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason
  }

  #progressOver(what: 'copying' | 'verifying', total: number): (count: number) => void {
    let done = 0
    return (count) => {
      done += count
      this.#events.progress(what, Math.min(done, total), total)
    }
  }

  /** How much there is, for people. A topic that cannot be asked for it fails when it is copied. */
  async #offsetsOf(works: readonly Work[]): Promise<number> {
    const { source } = this.#clusters
    let total = 0
    for (const { topic, partitions } of works) {
      try {
        for (const { partition } of partitions) {
          const place = { topic: topic.name, partition, lane: 0 }
          total += (await offsetAt(source, place, 'latest')) - (await offsetAt(source, place, 'earliest'))
        }
      } catch (error) {
        if (!(error instanceof TidemarkError) || this.#options.signal.aborted) throw error
      }
    }
    return total
  }

  #noteFailure(what: string, error: unknown): string {
    if (!(error instanceof TidemarkError)) throw error
    const text = `${error.message} (${error.code})`
    this.#events.note(text.includes(what) ? text : `${what}: ${text}`)
    return text
  }
}

const NO_SIDE = { logStartOffset: 0, endOffset: 0, records: undefined, checksum: undefined }
const NOTHING_DONE = {
  records: 0,
  bytes: 0,
  abortedRecords: 0,
  skippedOffsets: 0,
  offsets: 'unknown',
  source: NO_SIDE,
  target: NO_SIDE,
  difference: undefined,
} as const

function reportOf({ topic, partitions, refused }: Work): Omit<TopicReport, 'outcome'> {
  const reports = partitions.map(({ report, partition }) => report ?? { ...NOTHING_DONE, partition })
  return { topic: topic.name, partitions: reports, refusedSettings: refused }
}

function partitionReport(partition: number, copied: PartitionCopied): PartitionReport {
  const { source, target, begun: _begun, ...counts } = copied
  return { ...NOTHING_DONE, ...counts, partition, source: sideOf(source), target: sideOf(target) }
}

function lengthOf([from, end]: Range): number {
  return end - from
}

function sideOf([logStartOffset, endOffset]: Range): SideReport {
  return { ...NO_SIDE, logStartOffset, endOffset }
}

function hex(checksum: number): string {
  return checksum.toString(16).padStart(8, '0')
}
