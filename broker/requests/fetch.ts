// Reading for consumers: whole batches from any number of partitions, and the long poll when there is too little. Owns how
// the bytes of a response are shared out and when a fetch is answered; what may be read is the partition's to say.
//
// One pass goes round the partitions once, from a random one on, so that no partition starves behind others that always
// fill the response. The newest records come from memory, within the turn; older ones are waited for one after the other,
// so a fetch never holds more than its own maxBytes.
//
// A fetch that waits costs a place in the list of each of its partitions and nothing else: the append that completes it
// wakes it in the same turn.

import type { Offset } from '../../shared/ids.ts'
import type { Random } from '../../shared/random.ts'
import type { Clock } from '../../shared/time.ts'
import type { Delayed, DelayedOperations } from '../replication/delayed-operations.ts'
import type { WaitingFetch } from '../replication/fetch-waiters.ts'
import type { Partition, ReadOutcome } from '../replication/partition.ts'
import type { PartitionManager } from '../replication/partition-manager.ts'
import type { PartitionRefusal } from '../replication/pending-produce.ts'
import type { ReadSlice } from '../storage/hot-tail.ts'
import type { RequestServices } from './request-services.ts'
import type { FetchOutcome, FetchPartition, FetchRequest, PendingFetch } from './requests.ts'
import { offset } from '../../shared/ids.ts'
import { notDelayed } from '../replication/delayed-operations.ts'
import { FetchWaiter } from '../replication/fetch-waiters.ts'

/** Nobody's connection is kept quiet for longer than this. */
const WAIT_MS_MAX = 300_000

type Respond = (outcomes: readonly FetchOutcome[]) => void
type OnReading = (isReading: boolean) => void

interface ReadPlan {
  readonly fetchOffset: Offset
  /** Bytes that the response has left for it. */
  readonly room: number
}

interface FetchServices {
  readonly partitions: PartitionManager
  readonly delayed: DelayedOperations
  readonly clock: Clock
  readonly random: Random
  readonly fetchMaxBytes: number
  readonly onAnswered: (fetch: Fetch) => void
}

export class FetchRequests {
  readonly #services: FetchServices
  readonly #unanswered = new Set<Fetch>()

  constructor(services: RequestServices) {
    this.#services = {
      partitions: services.partitions,
      delayed: services.delayed,
      clock: services.clock,
      random: services.random,
      fetchMaxBytes: services.limits.fetchMaxBytes,
      onAnswered: (fetch) => this.#unanswered.delete(fetch),
    }
  }

  get unanswered(): number {
    return this.#unanswered.size
  }

  fetch(request: FetchRequest, respond: Respond, onReading?: OnReading): PendingFetch {
    const fetch = new Fetch(this.#services, request, respond, onReading)
    this.#unanswered.add(fetch)
    fetch.begin()
    return fetch
  }

  /** Answers every fetch that waits with what there is. */
  endWaits(): void {
    for (const fetch of this.#unanswered) fetch.endWait()
  }
}

class Fetch implements PendingFetch, WaitingFetch, Delayed {
  readonly delay = notDelayed()
  readonly #services: FetchServices
  readonly #request: FetchRequest
  readonly #respond: Respond
  readonly #onReading: OnReading | undefined
  readonly #maxBytes: number
  readonly #minBytes: number
  readonly #deadlineMs: number
  /** The waiters are made when the fetch first waits, one a partition of the request. */
  readonly #waiters: FetchWaiter[] = []
  /** The pass under way: where it began, how many partitions it has seen, what it has found. */
  #start = 0
  #seen = 0
  #bytes = 0
  #outcomes: FetchOutcome[] = []
  #hasRefusal = false
  /** High watermarks as this pass has seen them; only kept when it had to wait for the disk. */
  #watermarks: (Offset | undefined)[] | undefined
  /** Bytes that could be read by the last pass, and those that have come since. */
  #availableBytes = 0
  #waitIsOver = false
  #isDone = false
  #isReading = false

  constructor(services: FetchServices, request: FetchRequest, respond: Respond, onReading: OnReading | undefined) {
    this.#services = services
    this.#request = request
    this.#respond = respond
    this.#onReading = onReading
    this.#maxBytes = Math.min(request.maxBytes, services.fetchMaxBytes)
    this.#minBytes = Math.min(request.minBytes, this.#maxBytes)
    this.#deadlineMs = services.clock.monotonic() + Math.min(request.maxWaitMs, WAIT_MS_MAX)
    this.#waitIsOver = request.maxWaitMs === 0
  }

  begin(): void {
    const count = this.#request.partitions.length
    this.#start = count > 1 ? this.#services.random.integer(count) : 0
    this.#seen = 0
    this.#bytes = 0
    this.#outcomes = []
    this.#hasRefusal = false
    this.#watermarks = undefined
    this.#continue()
  }

  cancel(): void {
    if (this.#isDone) return
    this.#finish()
    this.#releaseAll()
  }

  endWait(): void {
    this.#waitIsOver = true
    if (this.#isWaiting) this.#wake()
  }

  onReadable(bytes: number): void {
    this.#availableBytes += bytes
    if (this.#availableBytes >= this.#minBytes) this.#wake()
  }

  onPartitionGone(): void {
    this.#wake()
  }

  onDeadline(): void {
    this.#waitIsOver = true
    this.#wake()
  }

  get #isWaiting(): boolean {
    return this.delay.bucket !== undefined
  }

  #wake(): void {
    this.#leave()
    this.begin()
  }

  /** Goes on with the pass until it is complete or has to wait for the disk. */
  #continue(): void {
    const { partitions } = this.#request
    while (this.#seen < partitions.length) {
      const index = (this.#start + this.#seen) % partitions.length
      const part = partitions[index]
      this.#seen += 1
      if (part !== undefined && this.#visit(index, part)) return
    }
    this.#complete()
  }

  /** Answers whether the pass goes on later, when the disk has answered. */
  #visit(index: number, part: FetchPartition): boolean {
    const { partitions } = this.#services
    const partition = partitions.find(part.topic, part.topicId, part.partition)
    if (partition === undefined) {
      this.#refuse(index, undefined, partitions.whyNotFound(part.topic, part.topicId, part.partition))
      return false
    }
    const refusal = partition.checkRead(part.fetchOffset, part.leaderEpoch)
    if (refusal !== undefined) {
      this.#refuse(index, partition, refusal)
      return false
    }
    if (this.#watermarks !== undefined) this.#watermarks[index] = partition.highWatermark
    const fetchOffset = offset(part.fetchOffset)
    const room = Math.min(part.maxBytes, this.#maxBytes - this.#bytes)
    if (fetchOffset >= partition.highWatermark || (room <= 0 && this.#bytes > 0)) return false
    const outcome = partition.readTail(fetchOffset, room)
    if (outcome === undefined) {
      this.#readFromDisk(index, partition, fetchOffset, room)
      return true
    }
    if (outcome.kind === 'records') this.#take(index, partition, outcome.slice, { fetchOffset, room })
    else this.#refuse(index, partition, outcome.refusal)
    return false
  }

  #readFromDisk(index: number, partition: Partition, fetchOffset: Offset, room: number): void {
    this.#watermarks ??= this.#request.partitions.map((part) => {
      return this.#services.partitions.find(part.topic, part.topicId, part.partition)?.highWatermark
    })
    this.#setReading(true)
    partition.read(fetchOffset, room).then(
      (outcome) => this.#onRead(index, partition, { fetchOffset, room }, outcome),
      (error: unknown) => {
        const refusal: PartitionRefusal = { error: 'UNKNOWN_SERVER_ERROR', message: String(error) }
        this.#onRead(index, partition, { fetchOffset, room }, { kind: 'refused', refusal })
      },
    )
  }

  #onRead(index: number, partition: Partition, read: ReadPlan, outcome: ReadOutcome): void {
    if (this.#isDone) {
      if (outcome.kind === 'records') outcome.slice.release()
      return
    }
    if (outcome.kind === 'records') this.#take(index, partition, outcome.slice, read)
    else this.#refuse(index, partition, outcome.refusal)
    this.#continue()
  }

  #take(index: number, partition: Partition, slice: ReadSlice, { fetchOffset, room }: ReadPlan): void {
    const bytes = slice.bytes.byteLength
    // A batch that is longer than the room left is sent only if it is all there would be.
    if (bytes === 0 || (bytes > room && this.#bytes > 0)) {
      slice.release()
      return
    }
    this.#bytes += bytes
    const { highWatermark, logStartOffset } = partition
    this.#outcomes.push({ index, refusal: undefined, highWatermark, logStartOffset, records: slice })
    partition.onRead(bytes, slice.endOffset - fetchOffset)
  }

  #refuse(index: number, partition: Partition | undefined, refusal: PartitionRefusal): void {
    this.#hasRefusal = true
    this.#outcomes.push({
      index,
      refusal,
      highWatermark: partition?.highWatermark,
      logStartOffset: partition?.logStartOffset,
      records: undefined,
    })
  }

  #complete(): void {
    const isEnough = this.#bytes >= this.#minBytes && (this.#bytes > 0 || this.#request.minBytes === 0)
    const isWoken = this.#availableBytes >= this.#minBytes && this.#bytes > 0
    if (isEnough || isWoken || this.#hasRefusal || this.#waitIsOver) return this.#answer()
    if (this.#hasMoved()) {
      this.#releaseAll()
      return this.begin()
    }
    this.#wait()
  }

  /** Whether there is something new at a partition that the pass had left behind when it waited for the disk. */
  #hasMoved(): boolean {
    return (
      this.#watermarks?.some((watermark, index) => {
        const part = this.#request.partitions[index]
        if (part === undefined) return false
        return this.#services.partitions.find(part.topic, part.topicId, part.partition)?.highWatermark !== watermark
      }) === true
    )
  }

  #setReading(isReading: boolean): void {
    if (this.#isReading === isReading) return
    this.#isReading = isReading
    this.#onReading?.(isReading)
  }

  #wait(): void {
    this.#setReading(false)
    const remainingMs = this.#deadlineMs - this.#services.clock.monotonic()
    this.#availableBytes = this.#bytes
    this.#releaseAll()
    if (remainingMs <= 0) {
      this.#waitIsOver = true
      return this.begin()
    }
    if (!this.#services.delayed.tryPark(this, remainingMs)) {
      this.#refuseAll({ error: 'BROKER_OVERLOADED', message: 'too many requests are waiting already' })
      return this.#answer()
    }
    const { partitions } = this.#request
    for (let index = 0; index < partitions.length; index += 1) {
      const part = partitions[index]
      if (part === undefined) continue
      const waiter = (this.#waiters[index] ??= new FetchWaiter(this))
      this.#services.partitions.find(part.topic, part.topicId, part.partition)?.waiters.add(waiter)
    }
  }

  #refuseAll(refusal: PartitionRefusal): void {
    for (let index = 0; index < this.#request.partitions.length; index += 1) this.#refuse(index, undefined, refusal)
  }

  #answer(): void {
    this.#finish()
    if (this.#request.tellsAll === true) this.#tellRest()
    this.#respond(this.#outcomes)
  }

  #tellRest(): void {
    const { partitions } = this.#request
    if (this.#outcomes.length === partitions.length) return
    const told = new Set(this.#outcomes.map(({ index }) => index))
    for (const [index, part] of partitions.entries()) {
      if (told.has(index)) continue
      const found = this.#services.partitions.find(part.topic, part.topicId, part.partition)
      const { highWatermark, logStartOffset } = found ?? {}
      this.#outcomes.push({ index, refusal: undefined, highWatermark, logStartOffset, records: undefined })
    }
  }

  #finish(): void {
    this.#isDone = true
    this.#setReading(false)
    this.#leave()
    this.#services.onAnswered(this)
  }

  #leave(): void {
    this.#services.delayed.cancel(this)
    for (const waiter of this.#waiters) waiter.leave()
  }

  #releaseAll(): void {
    for (const { records } of this.#outcomes) records?.release()
    this.#outcomes = []
    this.#bytes = 0
  }
}
