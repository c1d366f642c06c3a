// One partition's truth on this broker: its log, its leader epoch, how far consumers may read, and who waits for what. Owns
// the order append -> write -> (sync) -> acknowledge -> wake; knows nothing of requests, protocols or other partitions.
//
// Appends of one turn of the event loop are staged in the log and become one write at its end. With one replica the high
// watermark is the end of what is written, or, in a topic with durability fsync, of what is on stable storage: a consumer
// never sees a record that a loss of power could take back. Where there are replicas elsewhere, theirs are the rules: this
// partition asks its replica whether it leads, tells it what has been written and synced, and is told the high watermark.
//
// Invariants: logStartOffset <= highWatermark <= logEndOffset, and the high watermark never falls; a produce is settled in
// the order of its append; nothing is acknowledged that has not been written.

import type { LeaderEpoch, Offset, TimestampMs } from '../../shared/ids.ts'
import type { Logger } from '../../shared/logger.ts'
import type { ReadSlice } from '../storage/hot-tail.ts'
import type { LogConfig } from '../storage/log-config.ts'
import type { ControlRecord } from '../storage/log-appender.ts'
import type { PartitionLog } from '../storage/partition-log.ts'
import type { PartitionRefusal, PendingAppend } from './pending-produce.ts'
import type { TopicTraffic } from './topic-traffic.ts'
import type { Flushable, TurnWriter } from './turn-writer.ts'
import { TidemarkError } from '../../shared/errors.ts'
import { leaderEpoch, offset } from '../../shared/ids.ts'
import { FetchWaiters } from './fetch-waiters.ts'

export interface AppendRequest {
  /** Whole batches; valid only during the call. */
  readonly records: Uint8Array
  readonly leaderEpoch: number | undefined
  readonly acks: number
  readonly now: TimestampMs
  /** Whether the batches are copies that keep their offsets. */
  readonly keepsOffsets?: boolean
  /** Whether a batch that a producer sends again may have other bytes than before. */
  readonly mayDiffer?: boolean
}

export type ReadOutcome =
  | { readonly kind: 'records'; readonly slice: ReadSlice }
  | { readonly kind: 'refused'; readonly refusal: PartitionRefusal }

export interface PartitionFacts {
  readonly logStartOffset: Offset
  readonly highWatermark: Offset
  readonly logEndOffset: Offset
  readonly recoveryPoint: Offset
  readonly segments: number
  readonly bytes: number
  readonly state: 'online' | 'read-only' | 'offline'
  readonly reason: string | undefined
  readonly quarantined: readonly { readonly startOffset: Offset; readonly endOffset: Offset }[]
}

/** The data directory, as far as an append concerns all of its partitions. */
export interface AppendSpace {
  /** Whether an append may be tried now. */
  admitsAppend(): boolean
  /** To be told of every failed write. */
  onAppendFailure(error: unknown): void
  /** To be told of every write. */
  noteAppended(bytes: number): void
}

/** Who decides about a partition that has replicas elsewhere. */
export interface PartitionReplica {
  /** Of the leadership that it has or has resigned from. */
  readonly leaderEpoch: LeaderEpoch | undefined
  /** Whether the high watermark is that of this leadership: before, nobody knows the latest offset. */
  readonly isLatestKnown: boolean
  /** Why it takes no part any more, for people. */
  readonly stopReason: string | undefined
  /** Why nothing may be appended now; undefined when it may. Looks at the lease. */
  whyNotAppend(acks: number): PartitionRefusal | undefined
  /** Why consumers are not served here. */
  whyNotRead(): PartitionRefusal | undefined
  /** Why consumers are to come again for what damage has taken here; undefined where nobody is about to have it. */
  whyNotReadYet(): PartitionRefusal | undefined
  /** The log end offset has grown. */
  onWritten(): void
  onSynced(): void
  onDiskFailed(error: TidemarkError): void
  /** The log takes no appends any more. */
  onLogFailed(error: TidemarkError): void
}

export interface PartitionOptions {
  readonly topic: string
  readonly partition: number
  readonly log: PartitionLog
  readonly turnWriter: TurnWriter
  readonly traffic: TopicTraffic
  readonly space: AppendSpace
  readonly logger: Logger
}

/** Staged bytes that are written before more is read: later they would have left the processor's caches. */
const HURRY_BYTES = 512 * 1024
/** Appends that may wait for a sync or for replicas: what hangs must not gather what clients give up on and send again. */
const UNSETTLED_APPENDS_MAX = 50_000

export class Partition implements Flushable {
  readonly topic: string
  readonly partition: number
  /**
   * Higher than that of any batch in the log: a restart begins a new epoch, or it could write a second batch at an offset
   * and epoch that somebody has seen. Only an append writes it down.
   */
  readonly #ownEpoch: LeaderEpoch
  /** The fetches that wait for records of this partition. */
  readonly waiters = new FetchWaiters()
  /** Followers that wait for records of this partition, shown or not. */
  readonly followers = new FetchWaiters()
  #replica: PartitionReplica | undefined
  readonly #log: PartitionLog
  readonly #turnWriter: TurnWriter
  readonly #traffic: TopicTraffic
  readonly #space: AppendSpace
  readonly #logger: Logger
  /** Exclusive. Never falls. */
  #highWatermark: Offset
  /** Appended in this turn, in order. */
  #staged: PendingAppend[] = []
  /** Written, and waiting for the sync that will cover them, in order. */
  #unsynced: PendingAppend[] = []
  /** Written, and waiting for the high watermark to pass them, in order. */
  #uncommitted: PendingAppend[] = []
  /** Bytes of what was appended in this turn. */
  #stagedBytes = 0
  /** Bytes that have been written and not yet been shown to consumers. */
  #hiddenBytes = 0
  #isRegistered = false
  #isSyncing = false
  #isClosed = false
  /** The broker's own reasoning failed here: what the log holds in memory is not to be trusted any more. */
  #broken: PartitionRefusal | undefined

  constructor(options: PartitionOptions) {
    this.topic = options.topic
    this.partition = options.partition
    this.#log = options.log
    this.#turnWriter = options.turnWriter
    this.#traffic = options.traffic
    this.#space = options.space
    this.#logger = options.logger
    this.#ownEpoch = leaderEpoch((options.log.latestEpoch ?? -1) + 1)
    const { recoveryPoint, logStartOffset, writtenEndOffset } = options.log
    // The recovery point may have been noted before records went that lay beyond it.
    this.#highWatermark = this.isSynced ? maxOffset(recoveryPoint, logStartOffset) : writtenEndOffset
  }

  /** From now on the replica decides. Before anything is appended. */
  follow(replica: PartitionReplica, highWatermark: Offset): void {
    this.#replica = replica
    this.#highWatermark = highWatermark
  }

  get leaderEpoch(): LeaderEpoch {
    return this.#replica?.leaderEpoch ?? this.#ownEpoch
  }

  get log(): PartitionLog {
    return this.#log
  }

  /** Begins to serve: what the log holds beyond the high watermark is synced and then shown. */
  open(): void {
    if (this.#highWatermark === this.#log.writtenEndOffset) return
    // No more than this: whoever is woken by it looks for itself.
    this.#hiddenBytes = this.#log.bytes
    this.#sync()
  }

  /** Whether acknowledged means: on stable storage. */
  get isSynced(): boolean {
    return this.#log.config.durability === 'fsync'
  }

  /** Whether an append may be settled later than at the end of its turn. */
  mayWait(acks: number): boolean {
    return this.isSynced || (this.#replica !== undefined && acks === -1)
  }

  get config(): LogConfig {
    return this.#log.config
  }

  /** Exclusive end of what consumers may read. */
  get highWatermark(): Offset {
    return this.#highWatermark
  }

  /** Whether the high watermark may be told as the latest offset. */
  get isLatestKnown(): boolean {
    return this.#replica?.isLatestKnown ?? true
  }

  get logStartOffset(): Offset {
    return this.#log.logStartOffset
  }

  get bytes(): number {
    return this.#log.bytes
  }

  /**
   * Appends in memory and gives the records their offsets; the end of the turn writes them. The append is settled then, or
   * when they are on stable storage, or at once if it is refused.
   */
  append(request: AppendRequest, append: PendingAppend): void {
    const { records, now } = request
    const notLeader = this.#broken ?? this.#whyNotAppend(request.acks) ?? this.checkLeader(request.leaderEpoch)
    const refusal = notLeader ?? this.#whyNoRoom()
    if (refusal !== undefined) {
      this.#log.noteRefused(records, now)
      return append.refuse(refusal.error, refusal.message)
    }
    const result =
      request.keepsOffsets === true
        ? this.#log.appendKept(records, this.leaderEpoch, now)
        : this.#log.append(records, this.leaderEpoch, now, request.mayDiffer)
    if (result.kind === 'refused') {
      append.refuse(result.error, `${this.#name}: ${result.message}`)
      return this.#tellOfFailedLog()
    }
    append.baseOffset = result.baseOffset
    append.logStartOffset = this.#log.logStartOffset
    if (result.kind === 'appended') {
      append.logAppendTime = result.logAppendTime
      this.#stagedBytes += request.records.byteLength
      this.#traffic.onAppended(request.records.byteLength, result.endOffset - result.baseOffset)
    }
    // A duplicate waits like the rest: what it repeats may have been staged in this very turn.
    append.endOffset = request.acks === -1 ? this.#log.logEndOffset : undefined
    this.#staged.push(append)
    if (this.#stagedBytes >= HURRY_BYTES) this.#turnWriter.hurry()
    if (this.#isRegistered) return
    this.#isRegistered = true
    this.#turnWriter.register(this)
  }

  /** Writes what is staged now instead of at the end of the turn: before the replica changes its mind about anything. */
  flush(): void {
    this.#isRegistered = false
    const staged = this.#staged
    if (staged.length === 0) return
    this.#staged = []
    const bytes = this.#stagedBytes
    this.#stagedBytes = 0
    let failure: TidemarkError | undefined
    try {
      failure = this.#log.write()
    } catch (error) {
      return this.#onBroken(staged, error)
    }
    if (failure !== undefined) return this.#onWriteFailed(staged, failure)
    this.#hiddenBytes += bytes
    if (bytes > 0) this.#space.noteAppended(bytes)
    if (this.#replica !== undefined) return this.#awaitReplicas(this.#replica, staged, bytes)
    if (this.isSynced) {
      for (const append of staged) this.#unsynced.push(append)
      if (!this.#isSyncing) this.#sync()
      return
    }
    this.#settle(staged, this.#log.writtenEndOffset, this.#takeHiddenBytes())
  }

  /** Of the replica: what is below the offset is held by enough of them; `isLeader`: consumers read it here. */
  advanceHighWatermark(to: Offset): void {
    this.#highWatermark = to
    // All that is hidden: whoever is woken by it looks for itself.
    this.waiters.onReadable(this.#takeHiddenBytes())
  }

  /** Of the replica: an election has accepted the loss of what lies above. */
  lowerHighWatermark(to: Offset): void {
    this.#highWatermark = to
  }

  /** Produces that end at or below the offset are kept. */
  settleProduces(endOffset: Offset): void {
    const waiting = this.#uncommitted
    let count = 0
    for (const append of waiting) {
      if ((append.endOffset ?? 0) > endOffset) break
      count += 1
    }
    if (count === 0) return
    this.#uncommitted = waiting.slice(count)
    for (let index = 0; index < count; index += 1) waiting[index]?.acknowledge()
  }

  /** This replica leads no more. What waits may stay or go; a producer must not take it for refused. */
  refuseProduces(): void {
    const waiting = [...this.#uncommitted, ...this.#unsynced]
    this.#uncommitted = []
    this.#unsynced = []
    for (const append of waiting) this.#refuseUncertain(append)
    this.waiters.onPartitionGone()
    this.followers.onPartitionGone()
  }

  #refuseUncertain(append: PendingAppend): void {
    const text = `${this.#name} has lost its leader; the records were appended there, and may stay or go`
    append.refuse('REQUEST_TIMED_OUT', text)
  }

  checkLeader(epoch: number | undefined): PartitionRefusal | undefined {
    if (epoch === undefined || epoch === this.leaderEpoch) return undefined
    const isOld = epoch < this.leaderEpoch
    const message = `${this.#name} is in leader epoch ${this.leaderEpoch}, the request is for ${epoch}`
    return { error: isOld ? 'FENCED_LEADER_EPOCH' : 'UNKNOWN_LEADER_EPOCH', message }
  }

  /** Why this broker does not lead it at the moment; undefined when it does. One that has resigned serves readers still. */
  checkLeading(): PartitionRefusal | undefined {
    return this.#broken ?? this.#replica?.whyNotAppend(1)
  }

  /** Why consumers are not served here; undefined when they are. */
  checkServing(): PartitionRefusal | undefined {
    return this.#broken ?? this.#replica?.whyNotRead()
  }

  /** Whether the offset may be asked for in this epoch, be there records or not. */
  checkRead(fetchOffset: number, epoch: number | undefined): PartitionRefusal | undefined {
    const refusal = this.checkServing()
    if (refusal !== undefined) return refusal
    if (epoch !== undefined && epoch !== this.leaderEpoch) return this.checkLeader(epoch)
    const { logStartOffset, logEndOffset } = this.#log
    if (fetchOffset >= logStartOffset && fetchOffset <= logEndOffset) return undefined
    const message = `offset ${fetchOffset} is out of range: ${this.#name} begins at ${logStartOffset} and ends at ${logEndOffset}`
    return { error: 'OFFSET_OUT_OF_RANGE', message }
  }

  /** What memory holds from the offset on, at once; undefined when it must be read from the disk. */
  readTail(fetchOffset: Offset, maxBytes: number): ReadOutcome | undefined {
    try {
      const slice = this.#log.readTail(fetchOffset, maxBytes, this.#highWatermark)
      return slice === undefined ? undefined : { kind: 'records', slice }
    } catch (error) {
      return { kind: 'refused', refusal: this.#refusalOfRead(error) }
    }
  }

  /** Whole batches from the offset on: at least one, then as many as fit maxBytes (bytes); none past the high watermark. */
  async read(fetchOffset: Offset, maxBytes: number): Promise<ReadOutcome> {
    try {
      return { kind: 'records', slice: await this.#log.read(fetchOffset, maxBytes, this.#highWatermark) }
    } catch (error) {
      return { kind: 'refused', refusal: this.#refusalOfRead(error) }
    }
  }

  #refusalOfRead(error: unknown): PartitionRefusal {
    const refusal = refusalOf(error)
    return refusal.error === 'QUARANTINED' ? (this.#replica?.whyNotReadYet() ?? refusal) : refusal
  }

  /** To be told what has been handed to a consumer. */
  onRead(bytes: number, records: number): void {
    this.#traffic.onRead(bytes, records)
  }

  /** The first record that is not older; undefined when all are. @throws STORAGE_ERROR */
  offsetForTimestamp(timestamp: TimestampMs): Promise<OffsetAndTime | undefined> {
    return this.#log.offsetForTimestamp(timestamp, this.#highWatermark)
  }

  /** The youngest record; undefined when none has a time. @throws STORAGE_ERROR */
  youngestRecord(): Promise<OffsetAndTime | undefined> {
    return this.#log.youngestRecord()
  }

  /**
   * Gives up all records below the offset, or below the high watermark when none is given; durable when it resolves with
   * the new log start offset. @throws OFFSET_OUT_OF_RANGE, NOT_LEADER_OR_FOLLOWER, STORAGE_ERROR
   */
  async trim(beforeOffset: number | undefined): Promise<Offset> {
    const refusal = this.checkServing()
    if (refusal !== undefined) throw new TidemarkError(refusal.error, refusal.message)
    const to = beforeOffset ?? this.#highWatermark
    if (to > this.#highWatermark) {
      const text = `offset ${to} is past the high watermark of ${this.#name}, ${this.#highWatermark}`
      throw new TidemarkError('OFFSET_OUT_OF_RANGE', text)
    }
    await this.#log.advanceLogStartOffset(offset(to))
    return this.#log.logStartOffset
  }

  describe(): PartitionFacts {
    const facts = this.#log.describe()
    return {
      logStartOffset: facts.logStartOffset,
      highWatermark: this.#highWatermark,
      logEndOffset: facts.logEndOffset,
      recoveryPoint: facts.recoveryPoint,
      segments: facts.segments.length,
      bytes: facts.bytes,
      state: this.state,
      reason: this.#broken?.message ?? facts.reason ?? this.#replica?.stopReason,
      quarantined: facts.quarantined.map(({ startOffset, endOffset }) => ({ startOffset, endOffset })),
    }
  }

  get state(): PartitionFacts['state'] {
    if (this.#broken !== undefined || this.#replica?.stopReason !== undefined) return 'offline'
    return this.#log.state.kind
  }

  get quarantinedRanges(): number {
    return this.#log.quarantined.length
  }

  setConfig(config: LogConfig): void {
    this.#log.config = config
  }

  /** Serves nobody any more; whoever waits here is told. The log stays as it is. */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    const [unsynced, staged] = [[...this.#uncommitted, ...this.#unsynced], this.#staged]
    this.#uncommitted = []
    this.#unsynced = []
    this.#staged = []
    const text = `${this.#name} is not served here any more`
    // What is written may be found again: a producer must not take it for refused and send it as something new.
    for (const append of unsynced) append.refuse('REQUEST_TIMED_OUT', `${text}; the records were appended, not synced`)
    for (const append of staged) append.refuse('NOT_LEADER_OR_FOLLOWER', text)
    this.waiters.onPartitionGone()
    this.followers.onPartitionGone()
  }

  get #name(): string {
    return `partition ${this.partition} of ${this.topic}`
  }

  #whyNotAppend(acks: number): PartitionRefusal | undefined {
    if (this.#replica !== undefined) return this.#replica.whyNotAppend(acks)
    const { minInSyncReplicas } = this.#log.config
    if (acks !== -1 || minInSyncReplicas <= 1) return undefined
    return {
      error: 'NOT_ENOUGH_REPLICAS',
      message: `min.insync.replicas is ${minInSyncReplicas}, and 1 replica is in sync`,
    }
  }

  #whyNoRoom(): PartitionRefusal | undefined {
    if (!this.#space.admitsAppend()) {
      return { error: 'DISK_FULL', message: `${this.#name}: the disk has too little space left` }
    }
    if (this.#unsynced.length + this.#uncommitted.length < UNSETTLED_APPENDS_MAX) return undefined
    const message = `${this.#name}: too many appends are waiting for disks or replicas`
    return { error: 'BROKER_OVERLOADED', message }
  }

  /** Written here: those that ask for no more are answered, the others wait for the high watermark. */
  #awaitReplicas(replica: PartitionReplica, staged: readonly PendingAppend[], bytes: number): void {
    for (const append of staged) {
      // Appended in this turn, and the leadership is over: a later one must not take it for its own, it may be cut off.
      if (append.endOffset !== undefined && replica.leaderEpoch === undefined) this.#refuseUncertain(append)
      else if (append.endOffset !== undefined) this.#uncommitted.push(append)
      else if (this.isSynced) this.#unsynced.push(append)
      else append.acknowledge()
    }
    if (this.isSynced && !this.#isSyncing) this.#syncForReplica(replica)
    replica.onWritten()
    // A duplicate may repeat what has been passed long ago.
    this.settleProduces(this.#highWatermark)
    this.followers.onReadable(bytes)
  }

  #syncForReplica(replica: PartitionReplica): void {
    const covered = this.#unsynced
    this.#unsynced = []
    this.#isSyncing = true
    const endOffset = this.#log.writtenEndOffset
    this.#log.sync().then(
      () => {
        this.#isSyncing = false
        // Duplicates of what was being synced wait, too, and have written nothing themselves.
        const isMore = this.#log.writtenEndOffset > endOffset || this.#unsynced.length > 0
        if (isMore && !this.#isClosed) this.#syncForReplica(replica)
        for (const append of covered) append.acknowledge()
        if (!this.#isClosed) replica.onSynced()
      },
      (error: unknown) => {
        this.#isSyncing = false
        const { error: code, message } = refusalOf(error)
        for (const append of covered) append.refuse(code, `${this.#name}: ${message}`)
        replica.onDiskFailed(new TidemarkError(code, message))
      },
    )
  }

  /** Syncs what is written, though nobody waits for it; the replica hears of it. */
  syncSoon(): void {
    if (this.#replica !== undefined && !this.#isSyncing && !this.#isClosed) this.#syncForReplica(this.#replica)
  }

  /** Appends what the leader has sent, as it is, and writes it. @throws what the log refuses it with */
  appendReplicated(records: Uint8Array, epoch: LeaderEpoch, now: TimestampMs): void {
    if (!this.#space.admitsAppend()) throw new TidemarkError('DISK_FULL', `${this.#name}: too little space is left`)
    const result = this.#log.appendReplicated(records, now, { epoch })
    if (result.kind === 'refused') throw new TidemarkError(result.error, `${this.#name}: ${result.message}`)
    this.#writeNow(records.byteLength)
  }

  /** Appends and writes a record of the broker's own. @throws what the log refuses it with */
  appendControl(record: ControlRecord, epoch: LeaderEpoch, now: TimestampMs): void {
    const result = this.#log.appendControl(record, epoch, now)
    if (result.kind === 'refused') throw new TidemarkError(result.error, `${this.#name}: ${result.message}`)
    this.#writeNow(0)
  }

  #writeNow(bytes: number): void {
    const failure = this.#log.write()
    if (failure !== undefined) {
      this.#space.onAppendFailure(failure.cause)
      this.syncSoon()
      throw failure
    }
    this.#hiddenBytes += bytes
    if (bytes > 0) this.#space.noteAppended(bytes)
    if (this.isSynced && this.#replica !== undefined && !this.#isSyncing) this.#syncForReplica(this.#replica)
  }

  /** A bug stops the partition that it is in, and no other. */
  #onBroken(staged: readonly PendingAppend[], error: unknown): void {
    const what = error instanceof Error ? (error.stack ?? error.message) : String(error)
    this.#logger.error({ topic: this.topic, partition: this.partition, error: what }, 'a partition is out of service')
    const message = `${this.#name} is out of service after an error of the broker; its log has the details`
    this.#broken = { error: 'UNKNOWN_SERVER_ERROR', message }
    for (const append of staged) append.refuse('UNKNOWN_SERVER_ERROR', message)
    this.waiters.onPartitionGone()
  }

  #takeHiddenBytes(): number {
    const bytes = this.#hiddenBytes
    this.#hiddenBytes = 0
    return bytes
  }

  /** What is below the offset is kept as promised: producers are told first, then whoever waits to read it. */
  #settle(appends: readonly PendingAppend[], endOffset: Offset, bytes: number): void {
    if (endOffset > this.#highWatermark) this.#highWatermark = endOffset
    for (const append of appends) append.acknowledge()
    this.waiters.onReadable(bytes)
  }

  #onWriteFailed(staged: readonly PendingAppend[], failure: TidemarkError): void {
    this.#space.onAppendFailure(failure.cause)
    for (const append of staged) append.refuse(failure.code, `${this.#name}: ${failure.message}`)
    // Space comes again, and others may lack it as well. What the disk refuses for any other reason may never end, and
    // would hold up all who write as long as this replica leads.
    if (failure.code !== 'DISK_FULL') this.#replica?.onLogFailed(failure)
    this.#tellOfFailedLog()
    // What was taken back is being synced; whether that fails is to be known.
    this.syncSoon()
  }

  #tellOfFailedLog(): void {
    const { state } = this.#log
    if (state.kind !== 'online') this.#replica?.onLogFailed(state.reason)
  }

  /** One sync at a time; whoever comes while it runs is covered by the next. */
  #sync(): void {
    const covered = this.#unsynced
    const endOffset = this.#log.writtenEndOffset
    this.#unsynced = []
    this.#isSyncing = true
    const bytes = this.#takeHiddenBytes()
    this.#log.sync().then(
      () => {
        this.#isSyncing = false
        if (this.#unsynced.length > 0) this.#sync()
        this.#settle(covered, endOffset, bytes)
      },
      (error: unknown) => {
        this.#isSyncing = false
        const waiting = [...covered, ...this.#unsynced]
        this.#unsynced = []
        const { error: code, message } = refusalOf(error)
        for (const append of waiting) append.refuse(code, `${this.#name}: ${message}`)
      },
    )
  }
}

export interface OffsetAndTime {
  readonly offset: Offset
  readonly timestamp: TimestampMs
}

function maxOffset(one: Offset, other: Offset): Offset {
  return one > other ? one : other
}

function refusalOf(error: unknown): PartitionRefusal {
  if (error instanceof TidemarkError) return { error: error.code, message: error.message }
  return { error: 'UNKNOWN_SERVER_ERROR', message: String(error) }
}
