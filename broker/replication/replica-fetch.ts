// Serving followers: whole batches up to what is written, shown or not, and the long poll when there is nothing to say. Owns
// how the bytes of an answer are shared out and when a fetch is answered; what a follower is told is its replica's to say.
//
// A pass goes round the partitions once, beginning one further each time, so that no busy one keeps the others from filling
// the answer. The newest records come from memory, within the turn; older ones are waited for, one partition after the other.
//
// A fetch that waits costs a place in the list of each of its partitions. Being woken costs as much as there are woken
// partitions, not as there are in the request. They are looked at in a microtask: an append wakes in the middle of a
// replica's own work, and the partitions that one turn has written to go into one answer.
//
// Invariant: `respond` is called once or the fetch was cancelled; every slice is handed to it or released here.

import type { ErrorCode } from '../../shared/errors.ts'
import type { TopicId } from '../../shared/ids.ts'
import type { Clock } from '../../shared/time.ts'
import type { ReadSlice } from '../storage/hot-tail.ts'
import type { Delayed, DelayedOperations } from './delayed-operations.ts'
import type { WaitingFetch } from './fetch-waiters.ts'
import type { Replica } from './replica.ts'
import type { AnswerHead, ReplicaFetchMessage } from './replica-fetch-answer.ts'
import type { FetchAnswer, FetchPosition } from './replication-events.ts'
import { TidemarkError } from '../../shared/errors.ts'
import { offset, topicId as toTopicId } from '../../shared/ids.ts'
import { notDelayed } from './delayed-operations.ts'
import { FetchWaiter } from './fetch-waiters.ts'
import { unlessGarbage } from './peers.ts'
import { answerMessage, positionsOf, recordsMessage, refusedMessage } from './replica-fetch-answer.ts'

/** What one partition is answered with. */
export interface ReplicaFetchResult {
  readonly answer: AnswerHead
  readonly records: ReadSlice | undefined
}

/** A fetch that may still be waiting. */
export interface PendingReplicaFetch {
  /** The connection is gone: nothing will be answered. Idempotent. */
  cancel(): void
}

export interface ReplicaFetchServices {
  readonly find: (topicId: TopicId, partition: number) => Replica | undefined
  readonly delayed: DelayedOperations
  readonly clock: Clock
}

type Respond = (results: readonly ReplicaFetchResult[]) => void
type OnReading = (isReading: boolean) => void
type RecordsAnswer = Extract<FetchAnswer, { readonly kind: 'records' }>

/** No follower is kept waiting for longer, whatever it asks for: its silence is what a leader takes for its death. */
const WAIT_MS_MAX = 2_000
/** A pass that found nothing where there should be something: the log has changed under it. Then it looks again. */
const PASSES_MAX = 3

interface FetchHost extends ReplicaFetchServices {
  readonly onAnswered: (fetch: ReplicaFetch) => void
}

export class ReplicaFetchRequests {
  readonly #host: FetchHost
  readonly #unanswered = new Set<ReplicaFetch>()
  #rotation = 0

  constructor(services: ReplicaFetchServices) {
    const { find, delayed, clock } = services
    this.#host = { find, delayed, clock, onAnswered: (fetch) => this.#unanswered.delete(fetch) }
  }

  get unanswered(): number {
    return this.#unanswered.size
  }

  /**
   * Calls `respond` once: at once where there is something to say, or when there is, or when the wait is over. Every slice in
   * it must be released. `onReading` is told when the fetch begins and when it ceases to wait for the disk.
   * @throws INVALID_REQUEST
   */
  replicaFetch(request: ReplicaFetchMessage, respond: Respond, onReading?: OnReading): PendingReplicaFetch {
    const fetch = new ReplicaFetch(this.#host, request, { respond, onReading })
    this.#unanswered.add(fetch)
    this.#rotation = (this.#rotation + 1) % Math.max(1, request.partitions.length)
    fetch.begin(this.#rotation)
    return fetch
  }

  /** Answers every fetch that waits with what there is. */
  endWaits(): void {
    for (const fetch of this.#unanswered) fetch.endWait()
  }
}

class ReplicaFetch implements PendingReplicaFetch, Delayed {
  readonly delay = notDelayed()
  readonly #host: FetchHost
  readonly #request: ReplicaFetchMessage
  readonly #positions: readonly FetchPosition[]
  readonly #respond: Respond
  readonly #onReading: OnReading | undefined
  readonly #cameAtMs: number
  readonly #deadlineMs: number
  /** As the last look has found them, by their places in the request. */
  readonly #replicas: (Replica | undefined)[] = []
  #interests: readonly Interest[] = []
  /** Places of those that have been woken and not looked at. */
  #woken: number[] = []
  #results: ReplicaFetchResult[] = []
  #bytes = 0
  /** The pass under way: the places it goes to, and how far it is. */
  #places: readonly number[] = []
  #seen = 0
  #passes = 0
  #isPassing = false
  /** Something did not fit any more: what comes behind would be read for nothing. */
  #isFull = false
  #hasReadDisk = false
  #isLookScheduled = false
  #waitIsOver: boolean
  #isReading = false
  #isDone = false

  constructor(
    host: FetchHost,
    request: ReplicaFetchMessage,
    to: { readonly respond: Respond; readonly onReading: OnReading | undefined },
  ) {
    this.#host = host
    this.#request = request
    this.#positions = positionsOf(request)
    this.#respond = to.respond
    this.#onReading = to.onReading
    this.#cameAtMs = host.clock.monotonic()
    this.#deadlineMs = this.#cameAtMs + Math.min(request.maxWaitMs, WAIT_MS_MAX)
    this.#waitIsOver = request.maxWaitMs === 0
  }

  begin(start: number): void {
    const count = this.#positions.length
    this.#pass(Array.from({ length: count }, (_, index) => (start + index) % count))
  }

  cancel(): void {
    if (this.#isDone) return
    this.#finish()
    for (const { records } of this.#results) records?.release()
    this.#results = []
  }

  endWait(): void {
    this.#waitIsOver = true
    if (!this.#isDone && !this.#isPassing) this.#answer()
  }

  onDeadline(): void {
    this.endWait()
  }

  /** The partition at this place has records, or is not what it was. */
  onWoken(interest: Interest): void {
    if (interest.isWoken) return
    interest.isWoken = true
    this.#woken.push(interest.place)
    if (this.#isLookScheduled) return
    this.#isLookScheduled = true
    queueMicrotask(() => {
      this.#isLookScheduled = false
      if (!this.#isDone && !this.#isPassing) this.#passWoken()
    })
  }

  #passWoken(): void {
    const places = this.#woken
    this.#woken = []
    for (const place of places) {
      const interest = this.#interests[place]
      if (interest !== undefined) interest.isWoken = false
    }
    this.#pass(places)
  }

  #pass(places: readonly number[]): void {
    this.#places = places
    this.#seen = 0
    this.#passes += 1
    this.#isPassing = true
    this.#hasReadDisk = false
    this.#continue()
  }

  /** Goes on with the pass until it is complete or has to wait for the disk. */
  #continue(): void {
    while (this.#seen < this.#places.length) {
      const place = this.#places[this.#seen]
      const position = place === undefined ? undefined : this.#positions[place]
      this.#seen += 1
      if (place !== undefined && position !== undefined && this.#visit(place, position)) return
    }
    this.#isPassing = false
    this.#complete()
  }

  /** Answers whether the pass goes on later, when the disk has answered. */
  #visit(place: number, position: FetchPosition): boolean {
    const replica = this.#find(place)
    this.#replicas[place] = replica
    if (replica === undefined) {
      this.#refuse(place, 'UNKNOWN_TOPIC_OR_PARTITION')
      return false
    }
    const answer = replica.fetch(position, this.#cameAtMs)
    if (answer.kind === 'records') return this.#read(place, replica, position, answer)
    this.#results.push({ answer: answerMessage(place, answer), records: undefined })
    return false
  }

  #find(place: number): Replica | undefined {
    const part = this.#request.partitions[place]
    return part === undefined
      ? undefined
      : unlessGarbage(() => this.#host.find(toTopicId(part.topicId), part.partition))
  }

  #read(place: number, replica: Replica, position: FetchPosition, answer: RecordsAnswer): boolean {
    const { log } = replica.partition
    const { fetchOffset } = position
    const endOffset = log.writtenEndOffset
    const room = this.#request.maxBytes - this.#bytes
    // The batch that holds the log start goes out as a whole.
    const from = offset(Math.max(fetchOffset, log.logStartOffset))
    if (fetchOffset >= endOffset || this.#isFull) {
      if (answer.clearsSuspect) this.#say(place, replica, true, undefined)
      return false
    }
    try {
      const slice = log.readTail(from, room, endOffset)
      if (slice !== undefined) {
        this.#take(place, replica, answer, { slice, room })
        return false
      }
    } catch (error) {
      this.#refuse(place, codeOf(error))
      return false
    }
    this.#setReading(true)
    this.#hasReadDisk = true
    const { drops } = log.compaction
    log.read(from, room, endOffset).then(
      (slice) => this.#onRead(place, replica, answer, { slice, room, drops }),
      (error: unknown) => {
        if (this.#isDone) return
        this.#refuse(place, codeOf(error))
        this.#continue()
      },
    )
    return true
  }

  #onRead(place: number, replica: Replica, answer: RecordsAnswer, read: Read & { readonly drops: number }): void {
    if (this.#isDone) return read.slice.release()
    // Tombstones may be gone by now that the follower has not come to: whether it may take these has to be judged anew.
    if (replica.partition.log.compaction.drops !== read.drops) {
      read.slice.release()
      return this.#continue()
    }
    // Who leads no more may have cut its log meanwhile: these may be another leader's records.
    if (replica.leaderEpoch === this.#positions[place]?.leaderEpoch) this.#take(place, replica, answer, read)
    else {
      read.slice.release()
      this.#refuse(place, 'NOT_LEADER_OR_FOLLOWER')
    }
    this.#continue()
  }

  #take(place: number, replica: Replica, answer: RecordsAnswer, { slice, room }: Read): void {
    const bytes = slice.bytes.byteLength
    // A batch that is longer than the room left is sent only if it is all there would be.
    const isTaken = bytes > 0 && (bytes <= room || this.#bytes === 0)
    if (isTaken) this.#bytes += bytes
    else slice.release()
    this.#isFull = (bytes > 0 && !isTaken) || this.#bytes >= this.#request.maxBytes
    if (isTaken || answer.clearsSuspect) this.#say(place, replica, answer.clearsSuspect, isTaken ? slice : undefined)
  }

  #say(place: number, { partition }: Replica, clearsSuspect: boolean, records: ReadSlice | undefined): void {
    // The high watermark is that after the fetch has been counted, which the rules' answer is not.
    const { highWatermark, logStartOffset, log } = partition
    const facts = { highWatermark, logStartOffset, logEndOffset: log.writtenEndOffset, clearsSuspect }
    this.#results.push({ answer: recordsMessage(place, facts), records })
  }

  #refuse(place: number, error: ErrorCode): void {
    this.#results.push({ answer: refusedMessage(place, error), records: undefined })
  }

  #complete(): void {
    if (this.#results.length > 0 || this.#waitIsOver) return this.#answer()
    if (this.#woken.length > 0) return this.#passWoken()
    if (!this.#hasReadDisk) return this.#wait()
    if (this.#passes >= PASSES_MAX) return this.#answer()
    this.begin(0)
  }

  #wait(): void {
    this.#setReading(false)
    if (this.delay.bucket !== undefined) return
    const remainingMs = this.#deadlineMs - this.#host.clock.monotonic()
    if (remainingMs <= 0) return this.#answer()
    if (!this.#host.delayed.tryPark(this, remainingMs)) {
      for (let place = 0; place < this.#positions.length; place += 1) this.#refuse(place, 'BROKER_OVERLOADED')
      return this.#answer()
    }
    this.#interests = this.#replicas.map((replica, place) => {
      const interest = new Interest(this, place)
      replica?.partition.followers.add(interest.waiter)
      return interest
    })
  }

  #answer(): void {
    this.#sayHighWatermarks()
    this.#finish()
    const results = this.#results
    this.#results = []
    this.#respond(results)
  }

  /** Where nothing else is to be said, and the leader shows more than the follower does. */
  #sayHighWatermarks(): void {
    const said = new Uint8Array(this.#positions.length)
    for (const { answer } of this.#results) said[answer.index] = 1
    const { partitions } = this.#request
    for (let place = 0; place < partitions.length; place += 1) {
      const part = partitions[place]
      const replica = this.#replicas[place]
      if (said[place] === 1 || part === undefined || replica === undefined) continue
      if (replica.partition.highWatermark <= part.highWatermark || replica.leaderEpoch !== part.leaderEpoch) continue
      this.#say(place, replica, false, undefined)
    }
  }

  #finish(): void {
    this.#isDone = true
    this.#setReading(false)
    this.#host.delayed.cancel(this)
    for (const { waiter } of this.#interests) waiter.leave()
    this.#host.onAnswered(this)
  }

  #setReading(isReading: boolean): void {
    if (this.#isReading === isReading) return
    this.#isReading = isReading
    this.#onReading?.(isReading)
  }
}

/** What has been read, and how much of the answer was left for it. */
interface Read {
  readonly slice: ReadSlice
  readonly room: number
}

/** A fetch at one of its partitions. */
class Interest implements WaitingFetch {
  readonly waiter: FetchWaiter
  readonly place: number
  isWoken = false
  readonly #fetch: ReplicaFetch

  constructor(fetch: ReplicaFetch, place: number) {
    this.#fetch = fetch
    this.place = place
    this.waiter = new FetchWaiter(this)
  }

  onReadable(): void {
    this.#fetch.onWoken(this)
  }

  onPartitionGone(): void {
    this.#fetch.onWoken(this)
  }
}

function codeOf(error: unknown): ErrorCode {
  return error instanceof TidemarkError ? error.code : 'UNKNOWN_SERVER_ERROR'
}
