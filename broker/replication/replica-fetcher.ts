// Following leaders: for every replica here that follows somebody, a fetch at that broker, over and over; many partitions in
// one request. Owns what is asked when, and what comes after a failure; what an answer means is the replica's to say.
//
// Each partition is in one request at a time. At the end of a turn those that are in none go into requests
// (replica-fetch-batch.ts says which go together), and their positions are the acknowledgement of what the turn has written.
// What wakes up is answered alone and travels alone from then on, so that requests become many and small; therefore
// all requests to one leader wait until the same moments, twice a second, come back together, and are merged again.
//
// Where acknowledged means synced, a partition is asked for again when its sync is done: asked for earlier it would wait at
// the leader, its acknowledgement would stay behind, and produces with it.
//
// Invariants: a partition is idle, or in one request, or has one timer or sync that it waits for, until it is dropped; an answer
// that comes for one that was dropped is forgotten; an answer that is none to its request moves nothing.

import type { BrokerId } from '../../shared/ids.ts'
import type { Logger } from '../../shared/logger.ts'
import type { Random } from '../../shared/random.ts'
import type { Clock, Timers } from '../../shared/time.ts'
import type { PeerAnswer, Peers } from './peers.ts'
import type { Replica } from './replica.ts'
import type { FetchBatch } from './replica-fetch-batch.ts'
import type { FetchPosition } from './replication-events.ts'
import { must } from '../../shared/assert.ts'
import { type ErrorCode, TidemarkError } from '../../shared/errors.ts'
import { offset } from '../../shared/ids.ts'
import { CatchUpBudget } from './catch-up-budget.ts'
import { DelayedOperations } from './delayed-operations.ts'
import { FollowedPartition } from './followed-partition.ts'
import { type PartitionAnswer, positionMessage, readAnswers } from './replica-fetch-answer.ts'
import { planFetches } from './replica-fetch-batch.ts'

export interface ReplicaFetcherOptions {
  readonly brokerId: BrokerId
  readonly directoryId: string
  readonly incarnation: number
  readonly peers: Peers
  readonly clock: Clock
  readonly timers: Timers
  readonly random: Random
  readonly logger: Logger
  /** Told when the broker that a replica follows says that it does not lead. */
  readonly onLeaderRefused?: (replica: Replica, leader: BrokerId) => void
  /** Bytes a second of partitions that are far behind, of all leaders together; 0 for no bound. */
  readonly catchUpBytesPerSecond?: number
}

/** Leaves the better part of a common disk and network to those who serve clients. */
const CATCH_UP_BYTES_PER_SECOND = 64 * 1024 * 1024
/** A leader counts who has fetched within 2.5 s; and a high watermark is told by then at the latest. */
const WAIT_MS = 500
/** With this many requests at one leader they wait shorter, so that they are merged sooner. */
const CROWDED_REQUESTS = 64
const CROWDED_WAIT_MS = 50
/** A wait that would be over sooner goes on to the next of the common moments. */
const WAIT_MS_MIN = 10
/** Requests at one leader; what is to be asked for beyond waits for an answer. */
const REQUESTS_MAX = 192
/** Beyond the wait: then the leader, or the way to it, is taken for dead. */
const SILENCE_MS_MAX = 5_000
const NOTHING = new Uint8Array(0)
const BACK_OFF = { minMs: 50, maxMs: 1_000 }
/** What an election in progress makes leaders say; nobody needs to look. */
const ORDINARY: ReadonlySet<ErrorCode> = new Set([
  'NOT_LEADER_OR_FOLLOWER',
  'FENCED_LEADER_EPOCH',
  'UNKNOWN_LEADER_EPOCH',
  'UNKNOWN_TOPIC_OR_PARTITION',
])

interface Leader {
  readonly brokerId: BrokerId
  readonly followed: Set<FollowedPartition>
  idle: FollowedPartition[]
  isScheduled: boolean
  requests: number
  failures: number
  /** Until then failures count as one: all requests of a connection that breaks fail together. */
  retryAtMs: number
}

interface Request extends FetchBatch<FollowedPartition> {
  readonly positions: readonly FetchPosition[]
  readonly sentAtMs: number
  readonly waitMs: number
}

export class ReplicaFetcher {
  readonly #options: ReplicaFetcherOptions
  readonly #leaders = new Map<BrokerId, Leader>()
  readonly #followed = new Map<Replica, { readonly leader: Leader; readonly partition: FollowedPartition }>()
  readonly #delayed: DelayedOperations
  readonly #budget: CatchUpBudget
  readonly #subscription: { remove(): void }
  #isClosed = false

  constructor(options: ReplicaFetcherOptions) {
    const { clock, timers, peers, catchUpBytesPerSecond = CATCH_UP_BYTES_PER_SECOND } = options
    this.#options = options
    this.#delayed = new DelayedOperations({ clock, timers, countMax: Number.POSITIVE_INFINITY })
    this.#budget = new CatchUpBudget(catchUpBytesPerSecond, clock)
    this.#subscription = peers.subscribe(({ kind, peer }) => {
      if (kind === 'connected') this.#onConnected(peer)
    })
  }

  /** Requests that wait for their answers. */
  get requests(): number {
    let requests = 0
    for (const leader of this.#leaders.values()) requests += leader.requests
    return requests
  }

  /**
   * Fetches for the replica from this leader, from where the replica then stands, until `stop`, or until the replica says
   * that there is nothing to fetch. A fetch under way goes on if it is still the right one. At once after a failure.
   */
  start(replica: Replica, leader: BrokerId): void {
    if (this.#isClosed) return
    const known = this.#followed.get(replica)
    if (known !== undefined) {
      const { partition } = known
      const isSame = known.leader.brokerId === leader
      if (isSame && (partition.place === 'idle' || (partition.place === 'asked' && partition.isAsAsked))) return
      this.stop(replica)
    }
    const at = this.#leaderOf(leader)
    const partition = new FollowedPartition(replica, (due) => this.#makeIdle(at, due))
    at.followed.add(partition)
    this.#followed.set(replica, { leader: at, partition })
    this.#makeIdle(at, partition)
  }

  /** What is under way for the replica is forgotten. Idempotent. */
  stop(replica: Replica): void {
    const known = this.#followed.get(replica)
    if (known === undefined) return
    const { leader, partition } = known
    partition.place = 'gone'
    this.#delayed.cancel(partition)
    this.#followed.delete(replica)
    leader.followed.delete(partition)
  }

  /** Fetches nothing any more. Idempotent. */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#subscription.remove()
    for (const replica of [...this.#followed.keys()]) this.stop(replica)
    this.#leaders.clear()
  }

  #leaderOf(brokerId: BrokerId): Leader {
    const known = this.#leaders.get(brokerId)
    if (known !== undefined) return known
    const leader: Leader = {
      brokerId,
      followed: new Set(),
      idle: [],
      isScheduled: false,
      requests: 0,
      failures: 0,
      retryAtMs: 0,
    }
    this.#leaders.set(brokerId, leader)
    return leader
  }

  #onConnected(peer: BrokerId): void {
    const leader = this.#leaders.get(peer)
    if (leader === undefined) return
    leader.failures = 0
    leader.retryAtMs = 0
    for (const partition of leader.followed) {
      if (partition.place !== 'backing-off') continue
      this.#delayed.cancel(partition)
      this.#makeIdle(leader, partition)
    }
  }

  // Asking

  #makeIdle(leader: Leader, partition: FollowedPartition): void {
    if (partition.place === 'gone') return
    partition.place = 'idle'
    leader.idle.push(partition)
    this.#schedule(leader)
  }

  #schedule(leader: Leader): void {
    if (leader.isScheduled) return
    leader.isScheduled = true
    this.#options.timers.atEndOfTurn(() => {
      leader.isScheduled = false
      if (!this.#isClosed) this.#askForIdle(leader)
    })
  }

  #askForIdle(leader: Leader): void {
    const ready = leader.idle.filter((partition) => this.#isReady(leader, partition))
    leader.idle = []
    for (const batch of planFetches(ready, leader.followed.size)) {
      if (leader.requests < REQUESTS_MAX) this.#ask(leader, batch)
      else leader.idle.push(...batch.members)
    }
  }

  /** Whether it is to be asked for now; notes the position. */
  #isReady(leader: Leader, partition: FollowedPartition): boolean {
    if (partition.place !== 'idle') return false
    const { replica } = partition
    const position = replica.fetchPosition()
    if (position === undefined || replica.leader !== leader.brokerId) {
      // It follows nobody, or somebody else, or cuts its log: whoever knows when that has changed starts it again.
      this.stop(replica)
      return false
    }
    const { fetchOffset, heldEndOffset } = position
    if (heldEndOffset < fetchOffset && partition.syncedEndOffset !== fetchOffset) {
      partition.syncedEndOffset = fetchOffset
      this.#awaitSync(leader, partition)
      return false
    }
    const waitMs = partition.pace === 'far' ? this.#budget.waitMs() : 0
    if (waitMs > 0) {
      this.#pause(partition, 'held-back', waitMs)
      return false
    }
    partition.position = position
    partition.shown = replica.partition.highWatermark
    return true
  }

  #awaitSync(leader: Leader, partition: FollowedPartition): void {
    partition.place = 'held-back'
    const goOn = (): void => {
      if (partition.place === 'held-back') this.#makeIdle(leader, partition)
    }
    // A failed sync is told by the partition, and ends the following; if it does not, asking does no harm.
    partition.replica.partition.log.sync().then(goOn, goOn)
  }

  #ask(leader: Leader, batch: FetchBatch<FollowedPartition>): void {
    const { brokerId, directoryId, incarnation, peers, clock } = this.#options
    const sentAtMs = clock.monotonic()
    const waitMs = waitMsAt(sentAtMs, leader.requests)
    const positions: FetchPosition[] = []
    const partitions = batch.members.map((partition) => {
      partition.place = 'asked'
      const position = must(partition.position, 'who is asked for has a position')
      positions.push(position)
      const { topicId, partition: number } = partition.replica.identity
      return positionMessage(topicId, number, position, partition.shown)
    })
    const { maxBytes } = batch
    const message = { brokerId, directoryId, incarnation, maxWaitMs: waitMs, maxBytes, partitions }
    const request: Request = { ...batch, positions, sentAtMs, waitMs }
    leader.requests += 1
    // Taken where it lies: the log copies what it appends.
    const read = (answer: PeerAnswer<'replicaFetch'>): void => this.#onAnswer(leader, request, answer)
    peers
      .ask(leader.brokerId, 'replicaFetch', message, { timeoutMs: waitMs + SILENCE_MS_MAX, read })
      .catch((error: unknown) => this.#onFailure(leader, request, error))
  }

  // Being answered

  #onAnswer(leader: Leader, request: Request, { body, tail }: PeerAnswer<'replicaFetch'>): void {
    let answers: readonly PartitionAnswer[]
    try {
      answers = readAnswers(body, tail, request.members.length)
    } catch (error) {
      return this.#onFailure(leader, request, error)
    }
    leader.requests -= 1
    if (this.#isClosed) return
    leader.failures = 0
    leader.retryAtMs = 0
    if (leader.idle.length > 0) this.#schedule(leader)
    for (const answer of answers) this.#onPartitionAnswer(leader, request, answer)
    // A leader that is stopping answers everything at once with nothing; asked again at once it would do so again.
    const isEarly = this.#options.clock.monotonic() - request.sentAtMs < request.waitMs / 2
    const isNothing = isEarly && answers.every((answer) => !isNews(request, answer))
    for (const [place, partition] of request.members.entries()) {
      if (partition.place !== 'asked') continue
      this.#hearQuiet(leader, partition, request.positions[place])
      if (this.#isGone(partition)) continue
      partition.noteQuiet()
      if (isNothing) this.#pause(partition, 'backing-off', this.#backOffMs(1))
      else this.#onGood(leader, partition)
    }
  }

  #onPartitionAnswer(leader: Leader, request: Request, answer: PartitionAnswer): void {
    const partition = must(request.members[answer.index], 'an answer that was read fits its request')
    const position = must(request.positions[answer.index], 'an answer that was read fits its request')
    if (partition.place !== 'asked' || (answer.records.length === 0 && !isNews(request, answer))) return
    const refusal = partition.take(position, leader.brokerId, answer)
    // Being told may have made it follow somebody else, or nobody.
    if (this.#isGone(partition)) return
    if (refusal !== undefined) return this.#onRefused(leader, partition, refusal)
    if (partition.pace === 'far') this.#budget.take(answer.records.length)
    this.#followLogStart(partition, answer)
    this.#onGood(leader, partition)
  }

  /** Nothing is new, and that the leader leads is said by its not refusing: where nobody writes, nothing else would say it. */
  #hearQuiet(leader: Leader, { replica, shown }: FollowedPartition, position: FetchPosition | undefined): void {
    if (replica.state.hasHeardLeader || position === undefined) return
    const { leaderEpoch, incarnation, fetchOffset, lastFetchedEpoch, copiedSince } = position
    const echo = { from: leader.brokerId, leaderEpoch, incarnation, fetchOffset, lastFetchedEpoch, copiedSince }
    const { logStartOffset } = replica.partition
    replica.onFetched(echo, { kind: 'records', highWatermark: shown, logStartOffset, clearsSuspect: false }, NOTHING)
  }

  #isGone({ place }: FollowedPartition): boolean {
    return place === 'gone'
  }

  #onGood(leader: Leader, partition: FollowedPartition): void {
    partition.failures = 0
    partition.lastError = undefined
    this.#makeIdle(leader, partition)
  }

  #onRefused(leader: Leader, partition: FollowedPartition, error: TidemarkError): void {
    if (error.code === 'NOT_LEADER_OR_FOLLOWER') this.#options.onLeaderRefused?.(partition.replica, leader.brokerId)
    const isNew = partition.lastError?.code !== error.code
    partition.lastError = error
    partition.failures += 1
    partition.noteQuiet()
    const delayMs = this.#backOffMs(partition.failures)
    this.#pause(partition, 'backing-off', delayMs)
    const { topic, partition: number } = partition.replica.identity
    const fields = { topic, partition: number, error: error.code, failures: partition.failures, delayMs }
    if (isNew && !ORDINARY.has(error.code)) this.#options.logger.warn(fields, error.message)
    else this.#options.logger.debug(fields, error.message)
  }

  #onFailure(leader: Leader, request: Request, error: unknown): void {
    leader.requests -= 1
    if (this.#isClosed) return
    const { clock, logger } = this.#options
    const nowMs = clock.monotonic()
    if (nowMs >= leader.retryAtMs) {
      leader.failures += 1
      leader.retryAtMs = nowMs + this.#backOffMs(leader.failures)
      const fields = { leader: leader.brokerId, failures: leader.failures, error: textOf(error) }
      const text = `a fetch from broker ${leader.brokerId} has failed`
      // Of connections that break, whoever makes them has said enough.
      const isTold = error instanceof TidemarkError && error.code === 'CONNECTION_FAILED'
      if (leader.failures === 1 && !isTold) logger.warn(fields, text)
      else logger.debug(fields, text)
    }
    for (const partition of request.members) {
      if (partition.place === 'asked') this.#pause(partition, 'backing-off', leader.retryAtMs - nowMs)
    }
    if (leader.idle.length > 0) this.#schedule(leader)
  }

  #pause(partition: FollowedPartition, place: 'backing-off' | 'held-back', delayMs: number): void {
    partition.place = place
    this.#delayed.tryPark(partition, delayMs)
  }

  #backOffMs(failures: number): number {
    const fullMs = Math.min(BACK_OFF.maxMs, BACK_OFF.minMs * 2 ** Math.min(failures, 10))
    return fullMs * (0.5 + this.#options.random.fraction() / 2)
  }

  /** What its leader has trimmed goes here as well, as far as it is known to be held by enough replicas. */
  #followLogStart(followed: FollowedPartition, { answer }: PartitionAnswer): void {
    if (answer.kind !== 'records') return
    const { partition, identity } = followed.replica
    const to = Math.min(answer.logStartOffset, partition.highWatermark)
    if (to <= partition.logStartOffset || to <= followed.trimmedTo) return
    followed.trimmedTo = to
    partition.log.advanceLogStartOffset(offset(to)).catch((error: unknown) => {
      const fields = { topic: identity.topic, partition: identity.partition, logStartOffset: to, error: textOf(error) }
      this.#options.logger.warn(fields, 'a log could not be trimmed as its leader is')
    })
  }
}

/** Until the next moment at which all requests to a leader come back. */
function waitMsAt(nowMs: number, requests: number): number {
  const periodMs = requests < CROWDED_REQUESTS ? WAIT_MS : CROWDED_WAIT_MS
  const waitMs = periodMs - (nowMs % periodMs)
  return Math.ceil(waitMs < WAIT_MS_MIN ? waitMs + periodMs : waitMs)
}

/** Whether the answer says anything that was not known when it was asked for. */
function isNews(request: Request, { index, answer, records }: PartitionAnswer): boolean {
  if (answer.kind !== 'records' || records.length > 0 || answer.clearsSuspect) return true
  const shown = request.members[index]?.shown ?? 0
  return answer.highWatermark > shown
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
