// One group where it is coordinated: feeds what is asked to the rules (group-state.ts), one event at a time, runs their
// effects, and keeps its offsets. Owns who waits for which answer, and the one deadline of the group; holds no rule.
//
// Invariant: every request that is asked is answered once, at the latest when the leadership ends.

import type { ErrorCode } from '../../shared/errors.ts'
import type { Logger } from '../../shared/logger.ts'
import type { Clock } from '../../shared/time.ts'
import type { Delayed, DelayedOperations } from '../replication/delayed-operations.ts'
import type { GroupEffect, GroupEvent, GroupPhase, GroupRefusal, GroupSnapshot } from './group-events.ts'
import type { CommittedOffset, OffsetKey } from './group-offsets.ts'
import type { GroupRecord } from './group-records.ts'
import { assert } from '../../shared/assert.ts'
import { notDelayed } from '../replication/delayed-operations.ts'
import { GroupOffsets } from './group-offsets.ts'
import { groupKey, groupValue, offsetKey, offsetValue, subscribedTopics } from './group-records.ts'
import { metadataOf } from './group-members.ts'
import { type GroupOptions, GroupState } from './group-state.ts'

type AnswerEffect = Extract<GroupEffect, { readonly request: number }>
type AnswerKind = AnswerEffect['kind']
type AnswerOf<Kind extends AnswerKind> = Extract<AnswerEffect, { readonly kind: Kind }>
/** An event that asks for something, before it has a number and a time. */
type Question = Extract<GroupEvent, { readonly request: number }>
type Unasked<Event> = Event extends Question ? Omit<Event, 'now' | 'request'> : never

/** What is to be written down for a group. */
export interface GroupAppend {
  readonly records: readonly GroupRecord[]
  /** Called once, in the order of the log: it is written down (nothing), or is not, or may be. */
  onSettled(refusal: GroupRefusal | undefined): void
  /** It takes longer than anybody waits. May be called before it is settled. */
  onLate(): void
}

/** The leadership around a group. */
export interface GroupHost {
  readonly clock: Clock
  readonly logger: Logger
  /** Where deadlines are kept. */
  readonly delayed: DelayedOperations
  append(append: GroupAppend): void
  /** Nothing is left of it. */
  onBlank(group: Group): void
}

const NOBODY = { protocolType: undefined, protocol: undefined, leader: undefined, members: [] }

const LATE: GroupRefusal = {
  error: 'REQUEST_TIMED_OUT',
  message: 'the offsets topic has not taken it in time; it may still do so',
}

export class Group implements Delayed {
  readonly name: string
  readonly delay = notDelayed()
  readonly offsets = new GroupOffsets()
  readonly state: GroupState
  /** Connections that its members have been heard on, kept by whoever tells of their closing. */
  readonly connections = new Set<number>()
  /** Milliseconds since 1970. */
  #stateSince: number
  readonly #host: GroupHost
  readonly #answers = new Map<number, (answer: AnswerEffect) => void>()
  readonly #effects: GroupEffect[] = []
  #requests = 0
  #armedFor = Infinity
  #isStepping = false
  #rebalances = 0
  #onForgotten: (refusal: GroupRefusal | undefined) => void = () => undefined

  constructor(name: string, host: GroupHost, options: GroupOptions, stored?: GroupSnapshot & { stateSince: number }) {
    this.name = name
    this.#host = host
    this.#stateSince = stored?.stateSince ?? host.clock.now()
    const now = host.clock.monotonic()
    this.state = stored === undefined ? new GroupState(options) : GroupState.restore(options, stored, now)
    this.#arm()
  }

  get phase(): GroupPhase {
    return this.state.phase
  }

  get stateSince(): number {
    return this.#stateSince
  }

  /** Rounds that have begun under this leadership. */
  get rebalances(): number {
    return this.#rebalances
  }

  /** Asks the rules; `onAnswer` is called once, at once or later. */
  ask<Kind extends AnswerKind>(
    question: Unasked<Question>,
    kind: Kind,
    onAnswer: (answer: AnswerOf<Kind>) => void,
  ): void {
    this.#requests += 1
    const request = this.#requests
    this.#answers.set(request, (answer) => {
      assert(answer.kind === kind, 'a request is answered in kind')
      onAnswer(answer as AnswerOf<Kind>)
    })
    this.#step({ ...question, request, now: this.#now })
  }

  onConnectionClosed(connection: number): void {
    this.connections.delete(connection)
    this.#step({ kind: 'connection-closed', connection, now: this.#now })
  }

  /** The leadership is over. Whoever waits is answered. */
  onCoordinatorLost(): void {
    this.#step({ kind: 'coordinator-lost', now: this.#now })
    this.#host.delayed.cancel(this)
    this.#armedFor = Infinity
  }

  onDeadline(): void {
    this.#armedFor = Infinity
    this.#step({ kind: 'tick', now: this.#now })
  }

  /** Commits offsets; nobody is asked any more whether that is allowed. */
  commit(
    commits: readonly (OffsetKey & { readonly committed: CommittedOffset | undefined })[],
    onSettled: (refusal: GroupRefusal | undefined) => void,
  ): void {
    const records = commits.map(({ topic, partition, committed }) => ({
      key: offsetKey(this.name, topic, partition),
      value: committed === undefined ? null : offsetValue(committed),
    }))
    for (const key of commits) this.offsets.begin(key)
    let isAnswered = false
    const answer = (refusal: GroupRefusal | undefined): void => {
      if (isAnswered) return
      isAnswered = true
      onSettled(refusal)
    }
    this.#host.append({
      records,
      onSettled: (refusal) => {
        for (const key of commits) this.offsets.settle(key, key.committed, refusal === undefined)
        answer(refusal)
        this.#checkBlank()
      },
      onLate: () => answer(LATE),
    })
  }

  /** Forgets committed offsets. */
  forget(keys: readonly OffsetKey[], onSettled: (refusal: GroupRefusal | undefined) => void): void {
    this.commit(
      keys.map(({ topic, partition }) => ({ topic, partition, committed: undefined })),
      onSettled,
    )
  }

  /** Forgets the group and all its offsets, unless it has members; resolves when that is written down. */
  delete(): Promise<GroupRefusal | undefined> {
    return new Promise((resolve) => {
      this.ask({ kind: 'delete' }, 'answer-delete', ({ refusal }) => {
        if (refusal !== undefined) return resolve(refusal)
        // Only whoever is granted it waits: a second one must not take its place.
        this.#onForgotten = resolve
      })
    })
  }

  /** Deletes what has expired, and the group with its last offset if nobody is in it. */
  expire(now: number, retentionMs: number): void {
    if (this.phase === 'Dead') return
    const { phase, state } = this
    const subscribed = this.subscribedTopics()
    const group = { phase, protocolType: state.protocolType, stateSince: this.#stateSince, subscribed }
    const keys = this.offsets.expired(now, retentionMs, group)
    if (keys.length > 0) {
      this.#host.logger.info({ group: this.name, offsets: keys.length }, 'committed offsets have expired')
      return this.forget(keys, (refusal) => {
        if (refusal === undefined) this.#maybeExpire()
      })
    }
    this.#maybeExpire()
  }

  #maybeExpire(): void {
    if (this.phase === 'Empty' && this.offsets.isEmpty) this.#step({ kind: 'expire', now: this.#now })
  }

  /** Of all members; undefined where they say nothing that can be read. */
  subscribedTopics(): ReadonlySet<string> | undefined {
    if (this.state.protocolType !== 'consumer') return undefined
    const topics = new Set<string>()
    for (const member of this.state.members()) {
      const read = subscribedTopics(metadataOf(member, this.state.protocol))
      if (read === undefined) return undefined
      for (const topic of read) topics.add(topic)
    }
    return topics
  }

  get #now(): number {
    return this.#host.clock.monotonic()
  }

  #step(event: GroupEvent): void {
    assert(!this.#isStepping, 'one event at a time')
    this.#isStepping = true
    try {
      this.state.step(event, this.#effects)
      for (const effect of this.#effects.splice(0)) this.#run(effect)
    } finally {
      this.#isStepping = false
    }
    this.#arm()
    this.#checkBlank()
  }

  #run(effect: GroupEffect): void {
    switch (effect.kind) {
      case 'store':
        return this.#store(effect.store, effect.snapshot)
      case 'forget':
        return this.#forget(effect)
      case 'phase-changed':
        this.#stateSince = this.#host.clock.now()
        return
      case 'rebalance-begun': {
        const { generation, memberCount } = this.state
        this.#rebalances += 1
        const facts = { group: this.name, generation, members: memberCount, reason: effect.reason }
        return this.#host.logger.info(facts, 'a group rebalances')
      }
      case 'member-out':
        return this.#host.logger.info(
          { group: this.name, member: effect.member, reason: effect.reason },
          'a member is out',
        )
      default: {
        const answer = this.#answers.get(effect.request)
        this.#answers.delete(effect.request)
        assert(answer !== undefined, 'a request is answered once')
        return answer(effect)
      }
    }
  }

  #store(store: number, snapshot: GroupSnapshot): void {
    let isTold = false
    const tell = (error: ErrorCode | undefined, message: string | undefined): void => {
      if (isTold) return
      isTold = true
      this.#step({ kind: 'stored', store, error, message, now: this.#now })
    }
    const value = groupValue({ ...snapshot, stateSince: this.#host.clock.now() })
    this.#host.append({
      records: [{ key: groupKey(this.name), value }],
      onSettled: (refusal) => tell(refusal?.error, refusal?.message),
      onLate: () => tell(LATE.error, LATE.message),
    })
  }

  #forget({ wasStored, generation }: Extract<GroupEffect, { readonly kind: 'forget' }>): void {
    const keys = this.offsets.keys()
    for (const key of keys) this.offsets.begin(key)
    const records = keys.map(({ topic, partition }) => ({ key: offsetKey(this.name, topic, partition), value: null }))
    const left = generation === undefined ? null : groupValue({ ...NOBODY, generation, stateSince: this.#stateSince })
    const own = wasStored ? [{ key: groupKey(this.name), value: left }] : []
    this.#host.append({
      records: [...records, ...own],
      onSettled: (refusal) => {
        for (const key of keys) this.offsets.settle(key, undefined, true)
        this.#onForgotten(refusal)
        this.#checkBlank()
      },
      onLate: () => this.#onForgotten(LATE),
    })
  }

  #arm(): void {
    const { nextDeadline } = this.state
    if (nextDeadline >= this.#armedFor) return
    this.#host.delayed.cancel(this)
    this.#armedFor = nextDeadline
    this.#host.delayed.tryPark(this, Math.max(0, nextDeadline - this.#now))
  }

  #checkBlank(): void {
    if (!this.offsets.isEmpty || (this.phase !== 'Dead' && !this.state.isBlank)) return
    this.#host.delayed.cancel(this)
    this.#host.onBlank(this)
  }
}
