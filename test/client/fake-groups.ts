// A coordinator for the fake brokers: the broker's own rules of membership over committed offsets in memory. Nothing is
// written down; a test moves it by telling where it is.

import { GroupState } from '../../broker/groups/group-state.ts'
import type { GroupEffect, GroupEvent, GroupRefusal } from '../../broker/groups/group-events.ts'
import { type ErrorCode, ERRORS } from '../../shared/errors.ts'
import type { ApiName, RequestOf, ResponseOf } from '../../shared/protocol/api.ts'

const GROUP_APIS: readonly ApiName[] = [
  'joinGroup',
  'syncGroup',
  'heartbeat',
  'leaveGroup',
  'commitOffsets',
  'fetchOffsets',
]

interface FakeGroup {
  readonly state: GroupState
  /** By topic and partition, 't-0'. */
  readonly offsets: Map<string, { topic: string; partition: number; offset: number; metadata: string }>
  timer: NodeJS.Timeout | undefined
}

type Refused = { error: number; message: string | undefined }
const NO_ERROR = { error: 0, message: undefined }

export class FakeGroups {
  /** Broker id; undefined while there is none. */
  coordinator: number | undefined = 0
  /** Why members went, in their order. */
  readonly left: string[] = []
  /** Of every commit that was taken: 't-0@5'. */
  readonly commits: string[] = []
  /** Names of groups longer than this, and empty ones, are refused. */
  readonly #groups = new Map<string, FakeGroup>()
  readonly #waiting = new Map<number, (effect: GroupEffect) => void>()
  #requests = 0
  #members = 0

  static isOf(api: ApiName): boolean {
    return GROUP_APIS.includes(api)
  }

  offsetOf(group: string, topic: string, partition: number): number | undefined {
    return this.#groupOf(group).offsets.get(`${topic}-${partition}`)?.offset
  }

  setOffset(group: string, topic: string, partition: number, offset: number): void {
    this.#groupOf(group).offsets.set(`${topic}-${partition}`, { topic, partition, offset, metadata: '' })
  }

  stateOf(group: string): GroupState {
    return this.#groupOf(group).state
  }

  onConnectionClosed(connection: number): void {
    for (const group of this.#groups.values()) {
      this.#step(group, { kind: 'connection-closed', now: performance.now(), connection })
    }
  }

  stop(): void {
    for (const { timer } of this.#groups.values()) clearTimeout(timer)
  }

  find(request: RequestOf<'findCoordinator'>, ports: ReadonlyMap<number, number>): ResponseOf<'findCoordinator'> {
    return {
      coordinators: request.groups.map((group) => {
        const nowhere = { broker: -1, host: '', port: -1 }
        if (group === '' || group.length > 255) return { ...refused('INVALID_GROUP_ID', 'the name'), ...nowhere }
        const port = this.coordinator === undefined ? undefined : ports.get(this.coordinator)
        if (port === undefined) return { ...refused('COORDINATOR_NOT_AVAILABLE', 'nobody'), ...nowhere }
        return { ...NO_ERROR, broker: this.coordinator ?? -1, host: '127.0.0.1', port }
      }),
    }
  }

  /** The answer of a broker to one of the requests above. */
  async answer(api: ApiName, body: unknown, connection: number, broker: number): Promise<unknown> {
    const denied = broker === this.coordinator ? undefined : refused('NOT_COORDINATOR', 'another one coordinates')
    const now = performance.now()
    switch (api) {
      case 'joinGroup':
        return this.#join(body as RequestOf<'joinGroup'>, connection, denied)
      case 'syncGroup': {
        const request = body as RequestOf<'syncGroup'>
        const { group, member, instance, generation, protocolType, protocol, assignments } = request
        if (denied !== undefined) return { ...denied, assignment: new Uint8Array(0) }
        const effect = await this.#ask(group, {
          ...{ kind: 'sync', now, connection, member, instance, generation, protocolType, protocol, assignments },
        })
        if (effect.kind !== 'answer-sync') throw new Error(effect.kind)
        return { ...shown(effect.answer.refusal), ...effect.answer }
      }
      case 'heartbeat': {
        const { group, member, instance, generation, maxWaitMs } = body as RequestOf<'heartbeat'>
        if (denied !== undefined) return denied
        const effect = await this.#ask(group, {
          kind: 'heartbeat',
          now,
          connection,
          member,
          instance,
          generation,
          maxWaitMs,
        })
        return effect.kind === 'answer-heartbeat' ? shown(effect.refusal) : denied
      }
      case 'leaveGroup': {
        const { group, members } = body as RequestOf<'leaveGroup'>
        if (denied !== undefined) return { ...denied, members: [] }
        this.left.push(...members.map(({ reason = '' }) => reason))
        const effect = await this.#ask(group, { kind: 'leave', now, members })
        if (effect.kind !== 'answer-leave') throw new Error(effect.kind)
        const outcomes = members.map(({ member }, index) => {
          const error = effect.errors[index]
          return { member, error: error === undefined ? 0 : ERRORS[error].number }
        })
        return { ...shown(effect.refusal), members: outcomes }
      }
      case 'commitOffsets':
        return this.#commit(body as RequestOf<'commitOffsets'>, connection, denied)
      case 'fetchOffsets': {
        const { group, partitions } = body as RequestOf<'fetchOffsets'>
        const { offsets } = this.#groupOf(group)
        const wanted = partitions ?? [...offsets.values()]
        const nothing = { offset: undefined, leaderEpoch: undefined, metadata: '', committedAt: undefined }
        const found = wanted.map(({ topic, partition }) => {
          return Object.assign({ topic, partition }, nothing, offsets.get(`${topic}-${partition}`))
        })
        return { ...NO_ERROR, ...denied, partitions: denied === undefined ? found : [] }
      }
      default:
        throw new Error(`the fake coordinator does not know ${api}`)
    }
  }

  async #join(
    request: RequestOf<'joinGroup'>,
    connection: number,
    denied: Refused | undefined,
  ): Promise<ResponseOf<'joinGroup'>> {
    const { group, member, instance, protocolType, sessionTimeoutMs, rebalanceTimeoutMs, protocols, reason } = request
    if (denied !== undefined) {
      const nothing = { generation: -1, protocolType: undefined, protocol: undefined, leader: '', member: '' }
      return { ...denied, ...nothing, skipAssignment: false, members: [] }
    }
    this.#members += 1
    const effect = await this.#ask(group, {
      kind: 'join',
      now: performance.now(),
      connection,
      newMember: `member-${this.#members}`,
      clientId: 'test',
      host: '127.0.0.1',
      ...{ member, instance, protocolType, sessionTimeoutMs, rebalanceTimeoutMs, protocols, reason },
    })
    if (effect.kind !== 'answer-join') throw new Error(effect.kind)
    return { ...shown(effect.answer.refusal), ...effect.answer }
  }

  async #commit(
    request: RequestOf<'commitOffsets'>,
    connection: number,
    denied: Refused | undefined,
  ): Promise<ResponseOf<'commitOffsets'>> {
    const { group, member, instance, generation, partitions } = request
    let refusal = denied
    if (refusal === undefined) {
      const now = performance.now()
      const effect = await this.#ask(group, { kind: 'commit', now, connection, member, instance, generation })
      if (effect.kind === 'answer-commit' && effect.refusal !== undefined) refusal = shown(effect.refusal)
    }
    if (refusal === undefined) {
      for (const { topic, partition, offset, metadata } of partitions) {
        this.#groupOf(group).offsets.set(`${topic}-${partition}`, { topic, partition, offset, metadata })
        this.commits.push(`${topic}-${partition}@${offset}`)
      }
    }
    return { partitions: partitions.map(() => refusal ?? NO_ERROR) }
  }

  #ask(group: string, event: DistributiveOmit<GroupEvent, 'request'>): Promise<GroupEffect> {
    this.#requests += 1
    const request = this.#requests
    return new Promise((resolve) => {
      this.#waiting.set(request, resolve)
      this.#step(this.#groupOf(group), { ...event, request } as GroupEvent)
    })
  }

  #step(group: FakeGroup, event: GroupEvent): void {
    const effects: GroupEffect[] = []
    group.state.step(event, effects)
    for (const effect of effects) {
      if ('request' in effect) {
        this.#waiting.get(effect.request)?.(effect)
        this.#waiting.delete(effect.request)
      } else if (effect.kind === 'store') {
        const { store } = effect
        queueMicrotask(() => this.#step(group, { kind: 'stored', now: performance.now(), store, error: undefined }))
      }
    }
    clearTimeout(group.timer)
    const { nextDeadline } = group.state
    if (nextDeadline === Infinity) return
    const tick = (): void => this.#step(group, { kind: 'tick', now: performance.now() })
    group.timer = setTimeout(tick, Math.max(1, Math.ceil(nextDeadline - performance.now()))).unref()
  }

  #groupOf(name: string): FakeGroup {
    let group = this.#groups.get(name)
    if (group === undefined) {
      const state = new GroupState({
        leaderEpoch: 1,
        generationBase: 0,
        isEpochKept: () => true,
        initialRebalanceDelayMs: 0,
        membersMax: 100,
        sessionTimeoutMsMin: 100,
        sessionTimeoutMsMax: 1_800_000,
        bytesMax: 1024 * 1024,
      })
      group = { state, offsets: new Map(), timer: undefined }
      this.#groups.set(name, group)
    }
    return group
  }
}

type DistributiveOmit<Union, Key extends string> = Union extends unknown ? Omit<Union, Key> : never

function refused(error: ErrorCode, message: string): Refused {
  return { error: ERRORS[error].number, message }
}

function shown(refusal: GroupRefusal | undefined): Refused {
  return refusal === undefined ? NO_ERROR : refused(refusal.error, refusal.message)
}
