// Carries out what the rules of membership ask for: finds the coordinator, joins, syncs, says that the member lives, leaves.
// Owns the requests that are on their way and the timer; shares out when the member leads the group. Holds no rule of when.
// Heartbeats go on whatever the application does, as long as the event loop turns.

import { setMaxListeners } from 'node:events'
import { must } from '../shared/assert.ts'
import type { TidemarkError } from '../shared/errors.ts'
import type { ApiName, RequestOf, ResponseOf } from '../shared/protocol/api.ts'
import type { Timer } from '../shared/time.ts'
import { type Assignor, type GroupMember, type PartitionCounts } from './assignors.ts'
import type { Cluster } from './cluster.ts'
import {
  decodeAssignment,
  decodeSubscription,
  encodeAssignment,
  encodeSubscription,
  NO_SUBSCRIPTION,
  type Subscription,
} from './consumer-protocol.ts'
import { findCoordinator } from './coordinator-search.ts'
import { errorFromWire, errorOf, toTidemarkError } from './errors.ts'
import {
  isCoordinatorLost,
  type JoinedMember,
  type MemberIdentity,
  type MembershipEffect,
  type MembershipEvent,
  MembershipState,
} from './membership-state.ts'
import { inScope, Scope } from './scope.ts'
import { type TopicPartition, TopicPartitionMap } from './topic-partitions.ts'
import { TopicWatch } from './topic-watch.ts'
import type { Address } from './transport.ts'

export interface MembershipSettings {
  readonly groupId: string
  readonly instanceId: string | undefined
  readonly topics: readonly string[]
  /** The preferred one first. */
  readonly assignors: readonly Assignor[]
  readonly sessionTimeoutMs: number
  readonly rebalanceTimeoutMs: number
  readonly heartbeatIntervalMs: number
  /** Milliseconds after which the leader looks for new partitions and topics. */
  readonly topicsRefreshMs: number
}

export interface MembershipOwner {
  /** Partitions come in; those of before stay. */
  onAssigned(partitions: readonly TopicPartition[]): void
  /** They may be given to others when the promise is settled. Lost: others may have them already. */
  onRevoked(
    partitions: readonly TopicPartition[],
    how: { readonly isLost: boolean; readonly reason: string },
  ): Promise<void>
  /** The member is of no further use. */
  onFailed(error: TidemarkError): void
}

const PROTOCOL_TYPE = 'consumer'
/** While a join waits, its coordinator is asked this often whether it is one still: a join may wait for minutes. */
const PROBE_MS = 3_000
/** Milliseconds for saying that the member goes; who does not hear it finds out by the connection or the session. */
const LEAVE_TIMEOUT_MS = 1_000

export class GroupMembership {
  readonly #cluster: Cluster
  readonly #settings: MembershipSettings
  readonly #owner: MembershipOwner
  readonly #state: MembershipState
  readonly #topics: TopicWatch
  readonly #stopping = new AbortController()
  #coordinator: Address | undefined
  #timer: Timer | undefined
  #isStepping = false
  readonly #events: MembershipEvent[] = []
  readonly #listeners = new Set<() => void>()
  #leaving: Promise<void> = Promise.resolve()

  constructor(cluster: Cluster, settings: MembershipSettings, owner: MembershipOwner) {
    this.#cluster = cluster
    this.#settings = settings
    this.#owner = owner
    setMaxListeners(0, this.#stopping.signal)
    const { groupId, instanceId, heartbeatIntervalMs, assignors } = settings
    const isCooperative = assignors.every((assignor) => assignor.isCooperative)
    const { retry } = cluster.settings
    const options = { groupId, instanceId, isCooperative, heartbeatIntervalMs, retry }
    this.#state = new MembershipState(options, cluster.environment.random)
    this.#topics = new TopicWatch(cluster, settings.topicsRefreshMs, (reason) => this.#step({ kind: 'rejoin', reason }))
  }

  get state(): MembershipState {
    return this.#state
  }

  get identity(): MemberIdentity {
    return this.#state.identity
  }

  /** Comes in, or comes in again after `go`. */
  begin(): void {
    this.#step({ kind: 'begin' })
  }

  /** Goes at once; what it has is lost to it. May begin again. */
  go(reason: string): void {
    this.#step({ kind: 'go', reason, hasGivenUp: false })
  }

  /** For good, after its partitions have been given up. A static member says nothing, since it may come back. */
  async close(reason: string): Promise<void> {
    if (this.#settings.instanceId === undefined) this.#step({ kind: 'go', reason, hasGivenUp: true })
    this.#topics.close()
    await this.#leaving
    this.#stopping.abort(errorOf('CLIENT_CLOSED', 'the consumer was closed'))
    // What was released meanwhile may have set it anew.
    this.#timer?.cancel()
  }

  /** The coordinator has refused what the member said in a generation. */
  onForgotten(generation: number, error: TidemarkError): void {
    this.#step({ kind: 'forgotten', generation, error })
  }

  /** Calls back when something about the membership has changed, until the function that is answered is called. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  /** Asks the coordinator. One attempt. @throws what it refused; COORDINATOR_NOT_AVAILABLE while none is known. */
  async ask<Name extends ApiName>(
    api: Name,
    request: RequestOf<Name>,
    scope: Scope,
    timeoutMs?: number,
  ): Promise<ResponseOf<Name>> {
    const address = this.#coordinator
    if (address === undefined) {
      throw errorOf('COORDINATOR_NOT_AVAILABLE', `the coordinator of group ${this.#settings.groupId} is not known`)
    }
    // One that is gone without a word is not waited for: another may coordinate by now, and the session goes on meanwhile.
    const what = `connect to the coordinator of group ${this.#settings.groupId}, ${address.host}:${address.port}`
    const limits = { signal: scope.signal, timeoutMs: this.#silenceMs, what }
    const connection = await inScope(this.#cluster.environment, limits, (connecting) =>
      this.#cluster.connectionAt(address, 'group', connecting),
    )
    const { body } = await connection.ask(api, request, { signal: scope.signal, timeoutMs })
    return body
  }

  #now(): number {
    return this.#cluster.environment.clock.monotonic()
  }

  /** Events that come while one is handled wait for it. */
  #step(event: MembershipEvent): void {
    this.#events.push(event)
    if (this.#isStepping) return
    this.#isStepping = true
    try {
      for (let next = this.#events.shift(); next !== undefined; next = this.#events.shift()) {
        const effects: MembershipEffect[] = []
        this.#state.step(next, this.#now(), effects)
        for (const effect of effects) this.#carryOut(effect)
      }
    } finally {
      this.#isStepping = false
    }
    this.#setTimer()
    for (const listener of [...this.#listeners]) listener()
  }

  #setTimer(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    const at = this.#state.nextDeadline
    if (at === Infinity || this.#stopping.signal.aborted) return
    const delayMs = Math.max(0, Math.ceil(at - this.#now()))
    this.#timer = this.#cluster.environment.timers.after(delayMs, () => this.#step({ kind: 'tick' }))
  }

  #carryOut(effect: MembershipEffect): void {
    switch (effect.kind) {
      case 'find':
        return this.#run(effect.attempt, 'find the coordinator', (scope) => this.#find(effect, scope))
      case 'join':
        return this.#run(effect.attempt, 'join', (scope) => this.#join(effect, scope))
      case 'sync':
        return this.#run(effect.attempt, 'sync', (scope) => this.#sync(effect, scope))
      case 'heartbeat':
        return this.#run(effect.attempt, 'heartbeat', (scope) => this.#heartbeat(effect, scope))
      case 'revoke': {
        const released = (): void => this.#step({ kind: 'released', release: effect.release })
        return void this.#owner.onRevoked(effect.partitions, effect).then(released, released)
      }
      case 'assign':
        return this.#owner.onAssigned(effect.partitions)
      case 'leave':
        this.#leaving = this.#leave(effect)
        return
      case 'fail':
        return this.#owner.onFailed(effect.error)
      default:
        must<never>(effect, 'every effect is carried out')
    }
  }

  /** One request, and what came of it as an event. */
  #run(attempt: number, what: string, work: (scope: Scope) => Promise<MembershipEvent>): void {
    const { environment, closing } = this.#cluster
    const options = { signal: this.#stopping.signal, closing, what: `${what}: group ${this.#settings.groupId}` }
    inScope(environment, options, work)
      .catch((thrown: unknown): MembershipEvent => {
        const error = toTidemarkError(thrown, 'UNKNOWN_SERVER_ERROR', options.what)
        if (isCoordinatorLost(error.code)) this.#cluster.logger.debug({ reason: error.message }, `${what} failed`)
        return { kind: 'refused', attempt, error }
      })
      .then((event) => {
        if (!this.#stopping.signal.aborted) this.#step(event)
      })
      .catch((error: unknown) => this.#owner.onFailed(toTidemarkError(error, 'UNKNOWN_SERVER_ERROR', what)))
  }

  async #find({ attempt }: { readonly attempt: number }, scope: Scope): Promise<MembershipEvent> {
    this.#coordinator = await findCoordinator(this.#cluster, this.#settings.groupId, scope)
    return { kind: 'found', attempt }
  }

  async #join(
    { attempt, member, reason }: { readonly attempt: number; readonly member: string; readonly reason: string },
    scope: Scope,
  ): Promise<MembershipEvent> {
    const { groupId, instanceId, topics, assignors, sessionTimeoutMs, rebalanceTimeoutMs } = this.#settings
    const { claims, identity } = this.#state
    const metadata = encodeSubscription({ topics, owned: claims, generation: identity.generation })
    const request: RequestOf<'joinGroup'> = {
      group: groupId,
      member,
      instance: instanceId,
      protocolType: PROTOCOL_TYPE,
      sessionTimeoutMs,
      rebalanceTimeoutMs,
      protocols: assignors.map(({ name }) => ({ name, metadata })),
      reason,
    }
    const timeoutMs = rebalanceTimeoutMs + this.#cluster.settings.requestTimeoutMs
    const answer = await this.#askProbing('joinGroup', request, scope, timeoutMs)
    if (answer.error !== 0) {
      return { kind: 'refused', attempt, error: this.#errorOf(answer), member: answer.member }
    }
    const { generation, leader, protocol = '', members, skipAssignment } = answer
    return { kind: 'joined', attempt, generation, member: answer.member, leader, protocol, members, skipAssignment }
  }

  async #sync(effect: Extract<MembershipEffect, { readonly kind: 'sync' }>, scope: Scope): Promise<MembershipEvent> {
    const { attempt, protocol, members } = effect
    const { groupId, instanceId, rebalanceTimeoutMs } = this.#settings
    const { member, generation } = this.#state.identity
    const assignments = members === undefined ? [] : await this.#shareOut(protocol, members, scope)
    const request: RequestOf<'syncGroup'> = {
      group: groupId,
      member,
      instance: instanceId,
      generation,
      protocolType: PROTOCOL_TYPE,
      protocol,
      assignments,
    }
    const timeoutMs = rebalanceTimeoutMs + this.#cluster.settings.requestTimeoutMs
    const answer = await this.#askProbing('syncGroup', request, scope, timeoutMs)
    if (answer.error !== 0) return { kind: 'refused', attempt, error: this.#errorOf(answer) }
    if (!this.#state.isLeader) this.#topics.follow([])
    else if (members === undefined) this.#followShared()
    return { kind: 'synced', attempt, assignment: decodeAssignment(answer.assignment) }
  }

  async #shareOut(
    protocol: string,
    joined: readonly JoinedMember[],
    scope: Scope,
  ): Promise<RequestOf<'syncGroup'>['assignments']> {
    const assignor = this.#settings.assignors.find(({ name }) => name === protocol)
    if (assignor === undefined) {
      throw errorOf('INCONSISTENT_GROUP_PROTOCOL', `the group shares out by ${protocol}, which was not offered`)
    }
    const members: GroupMember[] = joined.map(({ member, instance, metadata }) => {
      return { memberId: member, instanceId: instance, ...this.#subscriptionOf(member, metadata) }
    })
    const wanted = [...new Set(members.flatMap(({ topics }) => topics))]
    const counts: PartitionCounts = await this.#topics.look(wanted, scope)
    const shares = assignor.assign(members, counts)
    return members.map(({ memberId }) => {
      return { member: memberId, assignment: encodeAssignment(shares.get(memberId) ?? []) }
    })
  }

  /** A member that nobody understands gets nothing; it must not keep the others from their work. */
  #subscriptionOf(member: string, metadata: Uint8Array): Subscription {
    try {
      return decodeSubscription(metadata)
    } catch (error) {
      const { groupId: group } = this.#settings
      this.#cluster.logger.warn(
        { group, member, reason: String(error) },
        'a member gets nothing: what it wants cannot be read',
      )
      return NO_SUBSCRIPTION
    }
  }

  /**
   * A static member that comes back to lead is spared sharing out, and knows neither what was shared out nor whether partitions
   * have come since: it looks.
   */
  #followShared(): void {
    const { environment, closing } = this.#cluster
    const { groupId, topics } = this.#settings
    const options = { signal: this.#stopping.signal, closing, what: `what group ${groupId} has shared out` }
    inScope(environment, options, (scope) => this.#compareShared(scope)).catch((error: unknown) => {
      this.#cluster.logger.debug({ group: groupId, reason: String(error) }, 'could not see what was shared out')
      if (!this.#stopping.signal.aborted) this.#topics.follow(topics)
    })
  }

  async #compareShared(scope: Scope): Promise<void> {
    const { groupId } = this.#settings
    const { groups } = await this.ask('describeGroups', { groups: [groupId] }, scope, this.#silenceMs)
    const members = groups[0]?.members ?? []
    const shared = new TopicPartitionMap<true>()
    for (const { assignment } of members) {
      for (const { topic, partition } of decodeAssignment(assignment)) shared.set(topic, partition, true)
    }
    const wanted = new Set(members.flatMap(({ member, metadata }) => this.#subscriptionOf(member, metadata).topics))
    for (const [topic, count] of await this.#topics.look([...wanted], scope)) {
      for (let partition = 0; partition < count; partition += 1) {
        if (shared.has(topic, partition)) continue
        return this.#step({ kind: 'rejoin', reason: `nobody has ${topic}-${partition}` })
      }
    }
  }

  async #heartbeat(
    { attempt, maxWaitMs }: { readonly attempt: number; readonly maxWaitMs: number },
    scope: Scope,
  ): Promise<MembershipEvent> {
    const { groupId, instanceId } = this.#settings
    const { member, generation } = this.#state.identity
    const request = { group: groupId, member, instance: instanceId, generation, maxWaitMs }
    const answer = await this.ask('heartbeat', request, scope, maxWaitMs + this.#silenceMs)
    if (answer.error !== 0) return { kind: 'refused', attempt, error: this.#errorOf(answer) }
    return { kind: 'heard', attempt }
  }

  async #leave({ member, reason }: { readonly member: string; readonly reason: string }): Promise<void> {
    const { groupId, instanceId } = this.#settings
    const request = { group: groupId, members: [{ member, instance: instanceId, reason }] }
    const { environment, closing } = this.#cluster
    const options = { closing, timeoutMs: LEAVE_TIMEOUT_MS, what: `leave group ${groupId}` }
    try {
      await inScope(environment, options, (scope) => this.ask('leaveGroup', request, scope))
    } catch (error) {
      this.#cluster.logger.debug({ group: groupId, reason: String(error) }, 'could not say that the member goes')
    }
  }

  /** A broker that has been silent for so long, in milliseconds, is given up. */
  get #silenceMs(): number {
    const { sessionTimeoutMs } = this.#settings
    return Math.min(this.#cluster.settings.requestTimeoutMs, Math.max(1_000, sessionTimeoutMs / 3))
  }

  /** What may wait for minutes. Meanwhile the broker is asked whether it lives and still coordinates. */
  async #askProbing<Name extends 'joinGroup' | 'syncGroup'>(
    api: Name,
    request: RequestOf<Name>,
    scope: Scope,
    timeoutMs: number,
  ): Promise<ResponseOf<Name>> {
    const { environment } = this.#cluster
    const attempt = new Scope(environment, { signal: scope.signal, what: api })
    const asked = this.ask(api, request, attempt, timeoutMs)
    this.#probe(attempt).catch((thrown: unknown) => {
      attempt.cancel(toTidemarkError(thrown, 'CONNECTION_FAILED', 'the coordinator'))
    })
    try {
      return await asked
    } finally {
      attempt.cancel(errorOf('ABORTED', 'it has been answered'))
    }
  }

  async #probe(attempt: Scope): Promise<void> {
    const { groupId } = this.#settings
    for (;;) {
      try {
        await attempt.sleep(Math.min(PROBE_MS, this.#settings.sessionTimeoutMs / 3))
      } catch {
        return
      }
      const { coordinators } = await this.ask('findCoordinator', { groups: [groupId] }, attempt, this.#silenceMs)
      if (attempt.isOver) return
      const [one] = coordinators
      const isThere = one?.host === this.#coordinator?.host && one?.port === this.#coordinator?.port
      if (one === undefined || one.error !== 0 || isThere) continue
      throw errorOf('NOT_COORDINATOR', `the coordinator of group ${groupId} has moved to ${one.host}:${one.port}`)
    }
  }

  #errorOf({ error, message }: { readonly error: number; readonly message?: string | undefined }): TidemarkError {
    const text = message === undefined ? undefined : `group ${this.#settings.groupId}: ${message}`
    return errorFromWire(error, text)
  }
}
