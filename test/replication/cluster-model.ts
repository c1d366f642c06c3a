// Three to five replicas of one partition in memory: the rules of the product with a shell that does nothing but carry out
// their effects. Messages, writes of promises and cuts wait until somebody lets them happen, in whatever order: a seeded
// walk, or a script. Owns the replicas, the messages and the clock; the oracle looks after every step.

import type { SuspectPolicy } from '../../broker/replication/fence-quorum.ts'
import type { ReplicaRules } from '../../broker/replication/replica-rules.ts'
import { ReplicaState } from '../../broker/replication/replica-state.ts'
import type {
  FetchAnswer,
  FetchEcho,
  FetchPosition,
  ReplicaEffect,
  ReplicaEvent,
  ReplicaPromise,
  Role,
} from '../../broker/replication/replication-events.ts'
import { assertNever, must } from '../../shared/assert.ts'
import type { VoterSet } from '../../shared/voters.ts'
import type { LeaderEpoch } from '../../shared/ids.ts'
import { brokerId, offset } from '../../shared/ids.ts'
import { ClusterOracle, OracleError, type Watched } from './cluster-oracle.ts'
import { type Entry, ModelLog } from './model-log.ts'

export interface ModelOptions {
  /** Voters at the beginning. */
  readonly replicas: number
  /** Brokers that have no replica then, and may get one. */
  readonly spares?: number
  readonly minInSyncReplicas: number
  readonly durability: 'os' | 'fsync'
  readonly suspectPolicy: SuspectPolicy
  readonly rules: ReplicaRules
  /** Whether replicas compact their logs. */
  readonly isCompacted?: boolean
  /** Told of every step: by which replica, in which role, and what came of it. */
  readonly trace?: (node: ModelNode, role: Role, event: ReplicaEvent, effects: readonly ReplicaEffect[]) => void
}

export interface Message {
  readonly from: number
  readonly to: number
  readonly event: ReplicaEvent
  readonly entries: readonly Entry[]
  /** Of one that asks whether it may go: which time this is. */
  readonly leaving?: number | undefined
}

type Write = { readonly kind: 'promise'; readonly promise: ReplicaPromise } | { readonly kind: 'truncation' }

export class ModelNode implements Watched {
  readonly id: number
  directoryId: string
  log: ModelLog
  /** What the disk remembers besides the log. */
  promise: ReplicaPromise | undefined = undefined
  isSuspect = false
  isNewcomer: boolean
  incarnation = 0
  highWatermark = offset(0)
  hasLost = false
  /** Undefined while the process does not run. */
  replica: ReplicaState | undefined = undefined
  isPaused = false
  /** Under way to the disk, in order. */
  readonly writes: Write[] = []
  /** Appended for producers that wait: where each value stands. */
  readonly produces = new Map<number, number>()

  constructor(id: number, log: ModelLog, isNewcomer: boolean) {
    this.id = id
    this.isNewcomer = isNewcomer
    this.directoryId = `disk-${id}`
    this.log = log
  }

  /** How often the log was made anew on this disk. */
  retired = 0
  /** The last epoch that it was elected for. */
  elected: LeaderEpoch | undefined = undefined
  /** It waits for the answer to the question whether it may go; which one, of all that were ever asked. */
  leaving: number | undefined = undefined

  get life(): string {
    return `${this.id}.${this.directoryId}.${this.incarnation}.${this.retired}`
  }
}

const NOBODY: readonly Entry[] = []

export class ClusterModel {
  readonly nodes: readonly ModelNode[]
  readonly messages: Message[] = []
  readonly oracle: ClusterOracle
  readonly #options: ModelOptions
  readonly #initial: VoterSet
  /** The voters that somebody wants at the moment. */
  wanted: VoterSet | undefined = undefined
  /** Milliseconds. */
  now = 0
  /** Records in the answer to a fetch, at most; unless given, it varies. */
  batch: number | undefined = undefined
  #lastValue = 0
  #lastLeaving = 0
  #delivering: Message | undefined = undefined

  constructor(options: ModelOptions) {
    this.#options = options
    const { replicas, spares = 0, minInSyncReplicas } = options
    this.nodes = Array.from({ length: replicas + spares }, (_, at) => {
      return new ModelNode(at + 1, this.#newLog(), at >= replicas)
    })
    this.#initial = this.setOf(this.nodes.slice(0, replicas), minInSyncReplicas)
    this.oracle = new ClusterOracle(this.#initial)
    for (const node of this.nodes) this.start(node)
  }

  node(id: number): ModelNode {
    return must(this.nodes[id - 1], 'the model has such a node')
  }

  /** These nodes on the disks that they have now. */
  setOf(nodes: readonly ModelNode[], minInSyncReplicas: number): VoterSet {
    return {
      voters: nodes.map(({ id, directoryId }) => ({ brokerId: brokerId(id), directoryId })),
      minInSyncReplicas,
    }
  }

  #newLog(): ModelLog {
    const { durability, isCompacted } = this.#options
    return new ModelLog(durability, isCompacted)
  }

  /** As far as the replica knows of committed records. */
  compact(node: ModelNode): void {
    node.log.compact(node.replica?.highWatermark ?? 0)
  }

  /** Their time has come; with `isPatient` not those that somebody who reads along has not come to. */
  dropTombstones(node: ModelNode, isPatient: boolean): void {
    const { replica, log } = node
    const end = replica?.highWatermark ?? 0
    const readAlong = isPatient ? (replica?.readAlongEnd(this.now) ?? end) : end
    log.dropTombstones(Math.min(end, readAlong))
  }

  start(node: ModelNode): void {
    const { durability, suspectPolicy, rules } = this.#options
    if (node.replica !== undefined) return
    node.leaving = undefined
    node.incarnation += 1
    // Whatever the last process has left is durable before anything is built on it.
    node.log.sync()
    if (node.hasLost && durability === 'os') node.isSuspect = true
    const { promise, highWatermark, isSuspect, isNewcomer, incarnation, directoryId, log } = node
    node.replica = new ReplicaState({
      self: brokerId(node.id),
      directoryId,
      incarnation,
      ...this.#initial,
      log,
      promise,
      highWatermark,
      isSuspect,
      isNewcomer,
      suspectPolicy,
      rules,
    })
    this.step(node, { kind: 'lease-held', now: this.now })
    this.step(node, { kind: 'log-opened' })
  }

  /** The process ends; what it has written stays in the cache. */
  kill(node: ModelNode, isPromiseKept = false): void {
    const write = node.writes.findLast(({ kind }) => kind === 'promise')
    if (isPromiseKept && write?.kind === 'promise') node.promise = write.promise
    node.replica = undefined
    node.isPaused = false
    node.writes.length = 0
    node.produces.clear()
  }

  losePower(node: ModelNode, share: number, isCutLost: boolean): void {
    const before = node.log.logEndOffset
    this.kill(node)
    node.log.losePower(share, isCutLost)
    if (node.log.logEndOffset < before || isCutLost) node.hasLost = true
    this.oracle.onRecovered(node.log)
  }

  /** Another disk, with nothing on it. */
  replaceDisk(node: ModelNode): void {
    this.kill(node)
    node.directoryId = `${node.directoryId}'`
    node.log = this.#newLog()
    node.promise = undefined
    node.isSuspect = false
    node.isNewcomer = true
    node.hasLost = false
    node.incarnation = 0
    node.highWatermark = offset(0)
  }

  /**
   * The replica is not wanted any more, and its leader is asked whether it may go. Until it is answered it takes part in
   * nothing; it may also begin again without an answer, in the same life of its broker or in another.
   */
  leave(node: ModelNode, isSameLife = false, to = node.replica?.following): void {
    const { replica, directoryId, log } = node
    if (replica === undefined || to === undefined) return
    this.kill(node, isSameLife)
    if (isSameLife) {
      node.incarnation -= 1
      node.highWatermark = replica.highWatermark
    }
    node.leaving = this.#lastLeaving += 1
    const before = log.compaction?.floor?.latestEpoch
    const latestEpoch = before !== undefined && before > (log.latestEpoch ?? -1) ? before : log.latestEpoch
    const event = { kind: 'dismissal-asked', from: brokerId(node.id), directoryId, latestEpoch, now: 0 } as const
    this.messages.push({ from: node.id, to, event, entries: NOBODY, leaving: node.leaving })
  }

  #dismiss(leader: ModelNode, node: ModelNode): void {
    // The same question may come twice, or when it is not waited for any more.
    if (this.#delivering?.leaving === undefined || node.leaving !== this.#delivering.leaving) return
    node.leaving = undefined
    this.oracle.onDismissed(node, leader, this.nodes)
    this.retire(node)
  }

  /**
   * Its log is deleted, what it has promised is not. It may be made anew, within the same life of its broker, whose
   * connections bring nothing of the old replica behind that of the new one.
   */
  retire(node: ModelNode): void {
    this.kill(node)
    node.retired += 1
    const kept = this.messages.filter(({ from, event }) => from !== node.id || event.kind !== 'replica-fetched')
    this.messages.splice(0, this.messages.length, ...kept)
    node.log = this.#newLog()
    node.isSuspect = false
    node.isNewcomer = true
    // Whoever counts on it now counts on what is not there.
    node.hasLost = false
    node.highWatermark = offset(0)
  }

  /** A producer that waits for its replicas. */
  produce(node: ModelNode): number | undefined {
    if (node.replica?.role !== 'leader') return undefined
    const value = (this.#lastValue += 1)
    node.produces.set(value, node.log.logEndOffset)
    this.#append(node, { epoch: must(node.replica.leaderEpoch, 'a leader has an epoch'), value })
    this.step(node, { kind: 'records-appended' })
    return value
  }

  fetch(node: ModelNode): boolean {
    const fetch = node.replica?.fetchPosition()
    const leader = node.replica?.following
    if (fetch === undefined || leader === undefined) return false
    this.#send(node, leader, {
      kind: 'replica-fetched',
      fetch,
      now: 0,
    })
    return true
  }

  /** Asks the leader for the voters that are wanted. */
  changeVoters(node: ModelNode): void {
    if (this.wanted !== undefined) this.step(node, { kind: 'change-voters-asked', to: this.wanted, now: this.now })
  }

  announce(node: ModelNode): void {
    const epoch = node.replica?.leaderEpoch
    if (epoch === undefined) return
    for (const other of this.nodes) {
      if (other !== node) this.#send(node, other.id, { kind: 'leader-announced', leader: brokerId(node.id), epoch })
    }
  }

  sync(node: ModelNode): void {
    node.log.sync()
    this.step(node, { kind: 'records-synced' })
  }

  /** The oldest write reaches the disk. */
  finishWrite(node: ModelNode): void {
    const write = node.writes.shift()
    if (write === undefined) return
    if (write.kind === 'promise') {
      node.promise = write.promise
      return this.step(node, { kind: 'promise-persisted', promise: write.promise })
    }
    node.log.sync()
    this.step(node, { kind: 'log-truncated' })
  }

  deliver(message: Message): void {
    const { event } = message
    this.#delivering = message
    this.step(this.node(message.to), 'now' in event ? { ...event, now: this.now } : event, message.entries)
    this.#delivering = undefined
  }

  step(node: ModelNode, event: ReplicaEvent, entries: readonly Entry[] = NOBODY): void {
    const { replica } = node
    if (replica === undefined) return
    const { trace } = this.#options
    const effects: ReplicaEffect[] = []
    const { role } = replica
    replica.step(event, effects)
    trace?.(node, role, event, effects)
    const endOffset = node.log.logEndOffset
    for (const effect of effects) this.#run(node, effect, entries)
    this.oracle.onStepped(node, node.life, this.nodes)
    if (node.log.logEndOffset > endOffset) this.step(node, { kind: 'records-appended' })
  }

  #run(node: ModelNode, effect: ReplicaEffect, entries: readonly Entry[]): void {
    const from = brokerId(node.id)
    switch (effect.kind) {
      case 'persist-promise':
        node.writes.push({ kind: 'promise', promise: effect.promise })
        return
      case 'persist-suspect':
        node.isSuspect = effect.isSuspect
        node.isNewcomer = false
        if (!effect.isSuspect) node.hasLost = false
        return
      case 'send-fence':
        return this.#send(node, effect.to, { kind: 'fence-received', candidate: from, epoch: effect.epoch })
      case 'grant-fence':
        return this.#send(node, effect.to, { kind: 'fence-granted', grant: effect.grant, now: 0 })
      case 'refuse-fence': {
        const { epoch, promisedEpoch, leader } = effect
        return this.#send(node, effect.to, { kind: 'fence-refused', from, epoch, promisedEpoch, leader })
      }
      case 'append-epoch-start': {
        const { epoch, lossAcceptedIn } = effect
        this.#noteElected(node, epoch, lossAcceptedIn === epoch)
        return this.#append(node, { epoch, value: 0, lossAcceptedIn })
      }
      case 'append-voters': {
        const { epoch, set, next } = effect
        return this.#append(node, { epoch, value: (this.#lastValue += 1), voters: { set, next } })
      }
      case 'voters-settled':
        if (node.replica?.leaderEpoch !== undefined) this.oracle.onSettled(effect.offset)
        return
      case 'publish-leadership':
        // Its epoch-start record may be left for later.
        this.#noteElected(node, effect.epoch, false)
        return this.announce(node)
      case 'suggest-leader':
        return this.#send(node, effect.to, { kind: 'campaign-suggested', epochHint: effect.epochSeen, now: 0 })
      case 'answer-fetch':
        return this.#answer(node, effect.fetch, effect.answer)
      case 'answer-dismissal':
        if (effect.isDismissed) this.#dismiss(node, this.node(effect.to))
        return
      case 'append-records':
        for (const entry of entries) this.#append(node, entry)
        return this.oracle.onCopied(node, node.life)
      case 'truncate-to':
        node.log.truncate(effect.offset)
        node.writes.push({ kind: 'truncation' })
        return
      case 'restart-log-at':
        this.#restart(node, effect)
        node.writes.push({ kind: 'truncation' })
        return
      case 'settle-produces':
        return this.#settle(node, effect.endOffset)
      case 'refuse-produces':
        node.produces.clear()
        return
      case 'propose-in-sync-replicas':
        if (!effect.replicas.includes(from)) throw new OracleError('a leader is in sync with itself')
        return
      case 'stop-partition':
        if (!this.oracle.isLossAccepted) throw new OracleError(`${node.life} was asked to cut off what it has shown`)
        return
      case 'abandon-campaign':
      case 'start-fetching':
      case 'stop-fetching':
      case 'advance-high-watermark':
      case 'report-possible-loss':
      case 'refuse-voters-change':
        return
      default:
        return assertNever(effect)
    }
  }

  #noteElected(node: ModelNode, epoch: LeaderEpoch, isLossAccepted: boolean): void {
    if (node.elected === epoch) return
    node.elected = epoch
    this.oracle.onElected(node, epoch, node.life, isLossAccepted)
  }

  #restart(node: ModelNode, effect: ReplicaEffect & { readonly kind: 'restart-log-at' }): void {
    const { offset: at, epoch, votersRecord, anew } = effect
    if (anew === undefined) return node.log.restart(at, epoch, votersRecord)
    this.oracle.onBegunAnew(node.life)
    node.log.beginAnew(at, epoch, votersRecord, anew)
  }

  #settle(node: ModelNode, endOffset: number): void {
    // What is settled is shown first: the oracle compares the two.
    this.oracle.onStepped(node, node.life, this.nodes)
    for (const [value, at] of node.produces) {
      if (at >= endOffset) continue
      node.produces.delete(value)
      this.oracle.onAcknowledged(value, at)
    }
  }

  #answer(node: ModelNode, fetch: FetchPosition, answer: FetchAnswer): void {
    const { leaderEpoch, incarnation, fetchOffset, lastFetchedEpoch, copiedSince } = fetch
    const echo: FetchEcho = {
      from: brokerId(node.id),
      leaderEpoch,
      incarnation,
      fetchOffset,
      lastFetchedEpoch,
      copiedSince,
    }
    switch (answer.kind) {
      case 'records': {
        const { highWatermark, clearsSuspect } = answer
        const entries = node.log.read(fetchOffset, this.batch ?? 1 + ((fetchOffset + node.id) % 3))
        const isEmpty = entries.length === 0
        const event = { kind: 'records-received', echo, highWatermark, clearsSuspect, isEmpty } as const
        return this.#send(node, fetch.from, event, entries)
      }
      case 'diverging':
        return this.#send(node, fetch.from, { ...answer, kind: 'divergence-received', echo })
      case 'log-start':
        return this.#send(node, fetch.from, { ...answer, kind: 'log-start-received', echo })
      case 'refused':
        return undefined
      default:
        return assertNever(answer)
    }
  }

  #append(
    node: ModelNode,
    entry: Pick<Entry, 'epoch' | 'value' | 'voters' | 'gone'> & { readonly lossAcceptedIn?: LeaderEpoch | undefined },
  ): void {
    const { logEndOffset, lossAcceptedIn } = node.log
    node.log.append({ lossAcceptedIn, ...entry })
    this.oracle.onWritten(node.log, logEndOffset)
  }

  #send(node: ModelNode, to: number, event: ReplicaEvent, entries: readonly Entry[] = NOBODY): void {
    this.messages.push({ from: node.id, to, event, entries })
  }
}
