// Looks at the replicas of a cluster after every event, past everything that brokers say of themselves: what they think in
// memory, and what stands on their disks. Owns the oracles of replication:
//
// - An epoch of a partition has one leader.
// - In one life of a replica its high watermark and its log start never fall, and log start <= high watermark <= log end.
// - Nothing is appended behind a cut that a loss of power could undo.
// - Two logs that hold a batch at the same offset in the same epoch hold the same bytes, behind the same batch.
// - What is below the high watermark of any replica is the same everywhere below high watermarks, for ever.
// - What comes below a high watermark stands on as many disks as min.insync.replicas says, where no disk may lose it.
// - No leader counts replicas for records of older epochs.
// - Who leads has all that was committed in earlier epochs.
//
// Of compacted topics it is records that are the same, not batches; and besides:
// - Of each key the log of whoever leads has the newest committed record, or nothing, if that deletes it.
// - Nothing is compacted that no replica has held for committed.
//
// Knows nothing of clients; a promise to one of them is judged by the other oracle, with what is committed told from here.

import type { Replica } from '../../broker/replication/replica.ts'
import { crc32c } from '../../shared/crc32c.ts'
import { leaderEpoch, offset } from '../../shared/ids.ts'
import { baseOffsetAt, batchBytes, endOffsetAt, leaderEpochAt } from '../../shared/record-batch/header.ts'
import { CommittedKeys, compactedBatches, compactionMark, type FoundBatch } from './compacted-records.ts'
import { DATA_DIRECTORY, type SimBroker } from './sim-broker.ts'
import type { SimAppend, SimDisk } from './sim-disk.ts'

interface CommittedBatch {
  readonly base: number
  readonly end: number
  readonly epoch: number
  readonly crc: number
  /** Of the leader in whose time it was found committed. */
  readonly committedIn: number
}

/** What is known of a partition, of all its replicas together. */
interface PartitionHistory {
  readonly name: string
  /** By epoch. */
  readonly leaders: Map<number, string>
  /** By base offset. */
  readonly committed: Map<number, CommittedBatch>
  committedEnd: number
  /** Where the topic is compacted. */
  keys: CommittedKeys | undefined
  /** By epoch and base offset: the checksum, and the batch before it if that is known. */
  readonly batches: Map<string, { readonly crc: number; before: string | undefined }>
}

interface FreshBatch {
  readonly disk: SimDisk
  readonly path: string
  readonly position: number
  readonly history: PartitionHistory
  readonly key: string
}

/** One replica in one life of its broker. */
interface Watched {
  readonly replica: Replica
  readonly broker: SimBroker
  /** Of the broker, the replica's: what is known of it says nothing of the disk of a later one. */
  readonly life: number
  readonly history: PartitionHistory
  readonly directory: string
  highWatermark: number
  logStartOffset: number
  /** Up to here the committed part of the log has been held against the history. */
  checkedEnd: number
  leadsIn: number | undefined
  isSeen: boolean
}

const LOG_PATH = /^(.*\/logs\/([0-9a-f-]{36})-(\d+))\/\d+\.log$/

export class ReplicaWatch {
  readonly #fail: (fault: string) => void
  readonly #mayBeLost: (topic: string) => boolean
  readonly #histories = new Map<string, PartitionHistory>()
  readonly #watched = new Map<SimBroker, Watched[]>()
  readonly #dirty = new Set<SimBroker>()
  /** By disk and file: the last batch that was appended, if nothing else has changed the file since. */
  readonly #tails = new WeakMap<SimDisk, Map<string, { length: number; last: string }>>()
  /** Batches that nobody had before this event: nobody else can have seen them. */
  #fresh: FreshBatch[] = []
  /** Looks at replicas so far, for whoever wants to know that they took place. */
  looks = 0
  leaderEpochMax = 0
  /** How often a replica of a compacted topic gave up what it had, to copy it anew. */
  begunAnew = 0

  /** mayBeLost: what replicas of the topic have told that they hold may be gone a moment later. */
  constructor(fail: (fault: string) => void, mayBeLost: (topic: string) => boolean) {
    this.#fail = fail
    this.#mayBeLost = mayBeLost
  }

  /** Follows a broker through all of its lives. */
  follow(broker: SimBroker): void {
    this.#watched.set(broker, [])
    broker.onAppended = (append) => this.#onAppended(broker, append)
    broker.onCut = (path, size) => this.#onCut(broker, path, size)
  }

  /** A replica of a new life, or one that was opened again. */
  onReplica(broker: SimBroker, replica: Replica): void {
    const { topicId, topic, partition } = replica.identity
    const watched = (this.#watched.get(broker) ?? []).filter(
      (one) =>
        one.replica.identity.incarnation === replica.identity.incarnation &&
        !(one.replica.identity.topicId === topicId && one.replica.identity.partition === partition),
    )
    const directory = `${DATA_DIRECTORY}/logs/${topicId}-${partition}`
    const history = this.#historyOf(topicId, partition, `${topic}-${partition}`)
    if (replica.partition.log.config.compaction !== undefined) history.keys ??= new CommittedKeys()
    watched.push({
      replica,
      broker,
      life: broker.lives,
      history,
      directory,
      highWatermark: 0,
      logStartOffset: 0,
      checkedEnd: 0,
      leadsIn: undefined,
      isSeen: false,
    })
    this.#watched.set(broker, watched)
    this.#dirty.add(broker)
  }

  /** Up to where any replica has held records for committed. */
  committedEnd(topicId: string, partition: number): number {
    return this.#histories.get(`${topicId}-${partition}`)?.committedEnd ?? 0
  }

  onEnded(broker: SimBroker): void {
    this.#watched.set(broker, [])
    this.#dirty.delete(broker)
  }

  /** Something of the broker has run. */
  touch(broker: SimBroker): void {
    this.#dirty.add(broker)
  }

  afterEvent(): void {
    this.#fresh = []
    if (this.#dirty.size === 0) return
    for (const broker of this.#dirty) {
      if (!broker.process.isAlive) continue
      for (const watched of this.#watched.get(broker) ?? []) this.#look(watched)
    }
    this.#dirty.clear()
  }

  #historyOf(topicId: string, partition: number, name: string): PartitionHistory {
    const key = `${topicId}-${partition}`
    let history = this.#histories.get(key)
    if (history === undefined) {
      history = { name, leaders: new Map(), committed: new Map(), committedEnd: 0, keys: undefined, batches: new Map() }
      this.#histories.set(key, history)
    }
    return history
  }

  #look(watched: Watched): void {
    const { replica, history, broker } = watched
    if (replica.role === 'offline' || isBeingReplaced(replica)) return
    this.looks += 1
    const { partition, state } = replica
    const { log } = partition
    // What a leader tells its followers may be ahead of what it has told its consumers.
    const highWatermark = replica.role === 'leader' ? state.highWatermark : partition.highWatermark
    const { logStartOffset, writtenEndOffset } = log
    if (highWatermark !== watched.highWatermark || logStartOffset !== watched.logStartOffset || !watched.isSeen) {
      const isBegun = highWatermark < watched.highWatermark && isBegunAnew(watched)
      if (isBegun) {
        watched.checkedEnd = 0
        this.begunAnew += 1
      }
      if (watched.isSeen && highWatermark < watched.highWatermark && !isBegun) {
        this.#say(watched, `the high watermark falls from ${watched.highWatermark} to ${highWatermark}`)
      }
      if (watched.isSeen && logStartOffset < watched.logStartOffset) {
        this.#say(watched, `the log start falls from ${watched.logStartOffset} to ${logStartOffset}`)
      }
      if (watched.isSeen) this.#checkCommitOfOwn(watched, highWatermark)
      watched.isSeen = true
      watched.highWatermark = highWatermark
      watched.logStartOffset = logStartOffset
      this.#holdAgainst(watched, replica.leaderEpoch ?? replica.state.promise?.epoch ?? 0)
    }
    if (logStartOffset > highWatermark || highWatermark > writtenEndOffset) {
      const found = JSON.stringify({ logStartOffset, highWatermark, writtenEndOffset })
      this.#say(watched, `offsets are out of order: ${found}`)
    }
    const leadsIn = replica.role === 'leader' ? replica.leaderEpoch : undefined
    if (leadsIn === watched.leadsIn) return
    watched.leadsIn = leadsIn
    if (leadsIn === undefined) return
    this.leaderEpochMax = Math.max(this.leaderEpochMax, leadsIn)
    const who = broker.host
    const other = history.leaders.get(leadsIn)
    if (other !== undefined && other !== `${who} ${broker.lives}`) {
      this.#say(watched, `epoch ${leadsIn} has two leaders: ${other} and ${who} ${broker.lives}`)
    }
    history.leaders.set(leadsIn, `${who} ${broker.lives}`)
    this.#checkComplete(watched, leadsIn)
  }

  /** Records of older epochs become committed by one of the leader's own behind them, never by being counted themselves. */
  #checkCommitOfOwn({ replica, history, broker, leadsIn }: Watched, highWatermark: number): void {
    if (leadsIn === undefined || replica.leaderEpoch !== leadsIn || leadsIn === 0) return
    const start = replica.partition.log.epochEndOffset(leaderEpoch(leadsIn - 1))?.endOffset ?? 0
    if (highWatermark > start || highWatermark <= history.committedEnd) return
    const where = `${history.name} at ${broker.host} in life ${broker.lives}`
    this.#fail(`${where}: epoch ${leadsIn} begins at ${start}, and ${highWatermark} was committed by counting`)
  }

  /** What became committed in an earlier epoch is in the log of whoever leads. */
  #checkComplete(watched: Watched, epoch: number): void {
    const { log } = watched.replica.partition
    let last: CommittedBatch | undefined
    for (const batch of watched.history.committed.values()) {
      if (batch.committedIn < epoch && batch.end > (last?.end ?? 0)) last = batch
    }
    if (last === undefined || last.end <= log.logStartOffset) return
    const found = log.writtenEndOffset < last.end ? undefined : log.epochAt(offset(last.base))
    if (found === last.epoch) return this.#checkKeys(watched)
    const what = `the batch at ${last.base} of epoch ${last.epoch}, committed in epoch ${last.committedIn}`
    const has = found === undefined ? `ends at ${log.writtenEndOffset}` : `has one of epoch ${found} there`
    this.#say(watched, `leads in epoch ${epoch} without ${what}: ${has}`)
  }

  #checkKeys(watched: Watched): void {
    const { broker, directory, history, logStartOffset } = watched
    const fault = history.keys?.faultOf(compactedBatches(broker.disk, directory), logStartOffset)
    if (fault !== undefined) this.#say(watched, fault)
  }

  /** Whatever is newly below the high watermark is what it is everywhere. */
  #holdAgainst(watched: Watched, epoch: number): void {
    const { history, highWatermark, logStartOffset, broker } = watched
    if (history.keys !== undefined) return this.#holdKeysAgainst(watched, history.keys, epoch)
    let from = Math.max(watched.checkedEnd, logStartOffset)
    if (from >= highWatermark) return
    for (const batch of batchesOnDisk(broker.disk, watched.directory, from, highWatermark)) {
      from = batch.end
      const known = history.committed.get(batch.base)
      if (known === undefined) {
        if (batch.base < history.committedEnd && this.#isCovered(history, batch.base, batch.end)) {
          this.#say(watched, `the batch at ${batch.base} stands where others were committed`)
        }
        this.#countHolders(watched, batch)
        history.committed.set(batch.base, { ...batch, committedIn: epoch })
        history.committedEnd = Math.max(history.committedEnd, batch.end)
      } else if (known.crc !== batch.crc || known.end !== batch.end || known.epoch !== batch.epoch) {
        const here = `epoch ${batch.epoch} up to ${batch.end}`
        this.#say(watched, `committed at ${batch.base} is ${here}, and was epoch ${known.epoch} up to ${known.end}`)
      }
    }
    watched.checkedEnd = from
  }

  #holdKeysAgainst(watched: Watched, keys: CommittedKeys, epoch: number): void {
    const { history, highWatermark, logStartOffset, broker, directory } = watched
    let from = Math.max(watched.checkedEnd, logStartOffset)
    for (const batch of compactedBatches(broker.disk, directory, from)) {
      if (batch.end > highWatermark) break
      from = batch.end
      for (const record of batch.records) {
        const fault = record.offset < logStartOffset ? undefined : keys.add(record)
        if (fault !== undefined) this.#say(watched, fault)
      }
      if (batch.end <= history.committedEnd) continue
      this.#countReach(watched, batch)
      const last = { base: batch.end - 1, end: batch.end, epoch: batch.epoch, crc: 0, committedIn: epoch }
      history.committed.set(last.base, last)
      history.committedEnd = batch.end
    }
    watched.checkedEnd = from
    const touchedTo = compactionMark(broker.disk, directory)?.touchedTo ?? 0
    if (touchedTo <= history.committedEnd) return
    this.#say(
      watched,
      `is compacted up to ${touchedTo}, and nobody knows of more than ${history.committedEnd} committed`,
    )
  }

  /** Of compacted topics, the logs that have come as far as anybody: what leads later has to be right before. */
  lookAtKeys(): void {
    for (const watched of [...this.#watched.values()].flat()) {
      const { replica, broker, history, checkedEnd } = watched
      if (history.keys === undefined || checkedEnd < history.committedEnd || !broker.process.isAlive) continue
      if (watched.life !== broker.lives) continue
      if (replica.role !== 'offline' && !isBeingReplaced(replica)) this.#checkKeys(watched)
    }
  }

  /** Whether the topic is compacted. */
  isCompacted(topicId: string, partition: number): boolean {
    return this.#histories.get(`${topicId}-${partition}`)?.keys !== undefined
  }

  /** Of each key the newest record that was committed is there; for a log that has come past all of them. */
  keysFaultOf(disk: SimDisk, topicId: string, partition: number, startOffset: number): string | undefined {
    const directory = `${DATA_DIRECTORY}/logs/${topicId}-${partition}`
    return this.#histories.get(`${topicId}-${partition}`)?.keys?.faultOf(compactedBatches(disk, directory), startOffset)
  }

  /** Enough disks have come so far, in the same epoch. */
  #countReach(watched: Watched, { end, epoch }: FoundBatch): void {
    const { topic, minInSyncReplicas } = watched.replica.identity
    if (this.#mayBeLost(topic)) return
    let holders = 0
    for (const { disk } of this.#watched.keys()) {
      for (const found of compactedBatches(disk, watched.directory, end - 1)) {
        if (found.base < end && found.epoch === epoch) holders += 1
        break
      }
    }
    if (holders >= minInSyncReplicas) return
    this.#say(watched, `offset ${end - 1} is committed, and ${holders} of ${minInSyncReplicas} disks have it`)
  }

  #countHolders(watched: Watched, batch: Omit<CommittedBatch, 'committedIn'>): void {
    const { topic, minInSyncReplicas } = watched.replica.identity
    if (this.#mayBeLost(topic)) return
    let holders = 0
    for (const { disk } of this.#watched.keys()) {
      const [found] = batchesOnDisk(disk, watched.directory, batch.base, batch.end)
      if (found?.crc === batch.crc) holders += 1
    }
    if (holders >= minInSyncReplicas) return
    this.#say(watched, `the batch at ${batch.base} is committed, and ${holders} of ${minInSyncReplicas} disks have it`)
  }

  #isCovered(history: PartitionHistory, base: number, end: number): boolean {
    for (const batch of history.committed.values()) if (batch.base < end && batch.end > base) return true
    return false
  }

  #onAppended(broker: SimBroker, { path, position, bytes, isOverCut }: SimAppend): void {
    const [, , topicId, partition] = LOG_PATH.exec(path) ?? []
    if (topicId === undefined) return
    const history = this.#historyOf(topicId, Number(partition), `${topicId}-${partition}`)
    if (isOverCut) this.#fail(`${history.name} at ${broker.host}: appends at ${position} before a cut is synced`)
    // A batch may come to one replica as it was, and to another one as compaction has left it.
    if (history.keys !== undefined) return
    const tails = this.#tails.get(broker.disk) ?? new Map<string, { length: number; last: string }>()
    this.#tails.set(broker.disk, tails)
    const tail = tails.get(path)
    let before = tail?.length === position ? tail.last : undefined
    for (let at = 0; at < bytes.length;) {
      const size = batchBytes(bytes, at)
      if (size <= 0 || at + size > bytes.length) break
      const key = `${leaderEpochAt(bytes, at)}:${baseOffsetAt(bytes, at)}`
      const crc = crc32c(bytes.subarray(at, at + size))
      const known = history.batches.get(key)
      if (known === undefined) {
        history.batches.set(key, { crc, before })
        this.#fresh.push({ disk: broker.disk, path, position: position + at, history, key })
      } else {
        if (known.crc !== crc) this.#fail(`${history.name} at ${broker.host}: another batch of epoch:offset ${key}`)
        if (known.before !== undefined && before !== undefined && known.before !== before) {
          this.#fail(`${history.name} at ${broker.host}: ${key} stands behind ${before}, and behind ${known.before}`)
        }
        known.before ??= before
      }
      before = key
      at += size
    }
    if (before !== undefined) tails.set(path, { length: position + bytes.length, last: before })
  }

  /** A write that fails is taken back at once, and what it had written of a batch may come again as another one. */
  #onCut({ disk }: SimBroker, path: string, size: number): void {
    this.#fresh = this.#fresh.filter((batch) => {
      if (batch.disk !== disk || batch.path !== path || batch.position < size) return true
      batch.history.batches.delete(batch.key)
      return false
    })
  }

  #say({ history, broker }: Watched, what: string): void {
    this.#fail(`${history.name} at ${broker.host} in life ${broker.lives}: ${what}`)
  }
}

/**
 * Between the decision to begin anew where the leader's log begins, or to cut what the leader has not, and its end the log is
 * not what it says; the high watermark may be the leader's already.
 */
function isBeingReplaced({ role, state }: Replica): boolean {
  return role === 'follower' && state.following !== undefined && state.fetchPosition() === undefined
}

/** Its leader had it give up what it had, and it is not as far again. */
function isBegunAnew({ replica, broker, directory }: Watched): boolean {
  const { role, partition } = replica
  const floorEnd = compactionMark(broker.disk, directory)?.floorEnd
  return role === 'follower' && floorEnd !== undefined && partition.log.writtenEndOffset <= floorEnd
}

/** The whole batches of a log from an offset on, up to another one, as they stand on the disk. */
function* batchesOnDisk(
  disk: SimDisk,
  directory: string,
  from: number,
  to: number,
): IterableIterator<Omit<CommittedBatch, 'committedIn'>> {
  const bases = disk
    .peekNames(directory)
    .filter((name) => name.endsWith('.log'))
    .toSorted()
  for (const [index, name] of bases.entries()) {
    const next = bases[index + 1]
    if (next !== undefined && Number.parseInt(next, 10) <= from) continue
    const bytes = disk.peekFile(`${directory}/${name}`)
    if (bytes === undefined) continue
    for (let at = 0; at < bytes.length;) {
      const size = batchBytes(bytes, at)
      if (size <= 0 || at + size > bytes.length) break
      const end = endOffsetAt(bytes, at)
      if (end > to) return
      if (end > from) {
        const crc = crc32c(bytes.subarray(at, at + size))
        yield { base: baseOffsetAt(bytes, at), end, epoch: leaderEpochAt(bytes, at), crc }
      }
      at += size
    }
  }
}
