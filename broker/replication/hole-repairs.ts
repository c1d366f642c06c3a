// Followers whose disk has lost records: gets these from the leader, and has them put back where they were. Owns when, how much
// at a time and what is tried again; what fits is the log's to say.
//
// Why the leader's bytes are the ones that were lost: the leader has answered, in the epoch that the follower has promised, that
// the follower's log up to its end is the beginning of its own, and that the range is committed. Logs that match are equal
// byte for byte. The range is asked for as any other fetch, in the same epoch and life; of a position below one that the leader
// has heard of it takes no note, as of a fetch that comes late. The follower's end, its epochs and its promise stay as they
// are, so that nobody else has to know. A compacted log is not equal to another, and is left alone.

import type { BrokerId, LeaderEpoch, Offset } from '../../shared/ids.ts'
import type { Logger } from '../../shared/logger.ts'
import type { Clock } from '../../shared/time.ts'
import type { QuarantinedRange } from '../storage/quarantine.ts'
import type { Peers } from './peers.ts'
import type { Replica } from './replica.ts'
import type { FetchPosition } from './replication-events.ts'
import { offset } from '../../shared/ids.ts'
import { BATCH_HEADER_BYTES } from '../../shared/record-batch/format.ts'
import { batchBytes, endOffsetAt, leaderEpochAt } from '../../shared/record-batch/header.ts'
import { frameBytes } from '../storage/batch-walk.ts'
import { positionMessage, readAnswers } from './replica-fetch-answer.ts'
import { ANSWER_BYTES_MAX } from './replica-fetch-batch.ts'

export interface HoleRepairsOptions {
  readonly peers: Peers
  readonly clock: Clock
  readonly logger: Logger
  readonly replicas: () => Iterable<Replica>
}

/** How often it looks whether there is something to repair. */
const EVERY_MS = 1_000
/** How many times as long as the last one has taken it rests. */
const REST_FACTOR = 4
const RETRY_MS_MIN = 5_000
const RETRY_MS_MAX = 600_000
/** Held in memory until all of it has come; a disk that has lost more should go. */
const HOLE_BYTES_MAX = 64 * 1024 * 1024
const ANSWER_MS_MAX = 10_000

interface Row {
  failures: number
  notBefore: number
  /** Already told to people. */
  why: string | undefined
}

interface LastBatch {
  readonly endOffset: Offset
  readonly epoch: LeaderEpoch
}

/** Why this time nothing came of it. */
class NotRepaired extends Error {}

export class HoleRepairs {
  readonly #options: HoleRepairsOptions
  readonly #rows = new WeakMap<Replica, Row>()
  #nextLook = 0
  #isRepairing = false
  #isStopped = false

  constructor(options: HoleRepairsOptions) {
    this.#options = options
  }

  /** One at a time, so that it is never more than one hole that is in memory. */
  tick(): void {
    const now = this.#options.clock.monotonic()
    if (this.#isStopped || this.#isRepairing || now < this.#nextLook) return
    this.#nextLook = now + EVERY_MS
    for (const replica of this.#options.replicas()) {
      if (!replica.hasHoles) continue
      const { notBefore, failures } = this.#rowOf(replica)
      if (now < notBefore) continue
      const ranges = replica.partition.log.quarantined.filter((one) => mayAskFor(replica, one))
      // One that cannot be had must not keep the others away.
      const range = ranges[failures % ranges.length]
      if (range === undefined) continue
      // It says itself what it has failed of.
      this.#repair(replica, range).catch(() => undefined)
      return
    }
  }

  /** Nothing is begun any more. Idempotent. */
  stop(): void {
    this.#isStopped = true
  }

  async #repair(replica: Replica, range: QuarantinedRange): Promise<void> {
    const { clock, logger } = this.#options
    this.#isRepairing = true
    const startedAt = clock.monotonic()
    const row = this.#rowOf(replica)
    const { topic, partition } = replica.identity
    const { startOffset, endOffset, bytes } = range
    const fields = { topic, partition, startOffset, endOffset, bytes, leader: replica.leader }
    try {
      await this.#getAndPutBack(replica, range)
      row.failures = 0
      row.why = undefined
      logger.info(fields, 'records that damage had taken are back, from the leader')
    } catch (error) {
      row.notBefore = clock.monotonic() + Math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ** Math.min(row.failures, 10))
      row.failures += 1
      const why = error instanceof Error ? error.message : String(error)
      const text = 'records that damage has taken could not be put back from the leader'
      if (row.why === why) logger.debug({ ...fields, why }, text)
      else logger.warn({ ...fields, why }, text)
      row.why = why
    } finally {
      this.#isRepairing = false
      // Each may write a whole segment: the better part of the disk is for others.
      const now = clock.monotonic()
      this.#nextLook = now + Math.max(EVERY_MS, REST_FACTOR * (now - startedAt))
    }
  }

  async #getAndPutBack(replica: Replica, range: QuarantinedRange): Promise<void> {
    const position = replica.fetchPosition()
    const { leader } = replica
    if (position === undefined || leader === undefined) throw new NotRepaired('there is no leader')
    if (range.bytes > HOLE_BYTES_MAX) throw new NotRepaired(`${range.bytes} bytes are more than are put back`)
    const records = await this.#get(replica, leader, position, range)
    // What it followed then may not be what it follows now.
    const isSame = replica.fetchPosition()?.leaderEpoch === position.leaderEpoch && replica.leader === leader
    if (this.#isStopped || !isSame || !mayAskFor(replica, range))
      throw new NotRepaired('it follows somebody else by now')
    const why = await replica.partition.log.putBack(range, records)
    if (why !== undefined) throw new NotRepaired(why)
  }

  async #get(
    replica: Replica,
    leader: BrokerId,
    position: FetchPosition,
    range: QuarantinedRange,
  ): Promise<Uint8Array> {
    const { log } = replica.partition
    const parts: Uint8Array[] = []
    let bytes = 0
    let at = range.startOffset
    let epoch = at === 0 ? undefined : (log.epochAt(offset(at - 1)) ?? log.epochAt(at))
    while (at < range.endOffset) {
      const asked = { ...position, fetchOffset: at, lastFetchedEpoch: epoch }
      const part = await this.#ask(replica, leader, asked, Math.min(ANSWER_BYTES_MAX, range.bytes - bytes))
      const last = lastBatch(part)
      bytes += part.length
      if (last === undefined || last.endOffset <= at || bytes > range.bytes) {
        throw new NotRepaired('what the leader has there is not what was here')
      }
      parts.push(part)
      at = last.endOffset
      epoch = last.epoch
    }
    return Buffer.concat(parts)
  }

  async #ask(replica: Replica, leader: BrokerId, position: FetchPosition, maxBytes: number): Promise<Uint8Array> {
    const { from: brokerId, directoryId, incarnation } = position
    const { topicId, partition } = replica.identity
    const partitions = [positionMessage(topicId, partition, position, replica.partition.highWatermark)]
    const message = { brokerId, directoryId, incarnation, maxWaitMs: 0, maxBytes: Math.max(1, maxBytes), partitions }
    const { body, tail } = await this.#options.peers.ask(leader, 'replicaFetch', message, { timeoutMs: ANSWER_MS_MAX })
    const [found] = readAnswers(body, tail, 1)
    if (found?.answer.kind === 'refused') throw new NotRepaired(`the leader has refused: ${found.answer.error}`)
    if (found?.answer.kind !== 'records') throw new NotRepaired('the leader has nothing there')
    return found.records
  }

  #rowOf(replica: Replica): Row {
    const known = this.#rows.get(replica)
    if (known !== undefined) return known
    const row: Row = { failures: 0, notBefore: 0, why: undefined }
    this.#rows.set(replica, row)
    return row
  }
}

/** Whether what its leader has there is what was here. */
function mayAskFor(replica: Replica, range: QuarantinedRange): boolean {
  const { state, partition } = replica
  if (state.isSuspect || partition.log.config.compaction !== undefined) return false
  return range.startOffset >= partition.logStartOffset && range.endOffset <= state.matchedEndOffset
}

/** Where whole batches end, and of which epoch the last one is; undefined where they are none. */
function lastBatch(records: Uint8Array): LastBatch | undefined {
  let last: LastBatch | undefined
  for (let at = 0; at < records.length; at += batchBytes(records, at)) {
    if (records.length - at < BATCH_HEADER_BYTES || frameBytes(records, at) === 0) return undefined
    last = { endOffset: endOffsetAt(records, at), epoch: leaderEpochAt(records, at) }
  }
  return last
}
