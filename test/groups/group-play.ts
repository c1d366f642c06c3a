// One group and its members, played by a test: asks, lets time pass, settles what is to be stored, and gathers the answers.
// Judges nothing, but for what must always hold: a request is answered once.

import type {
  GroupEffect,
  GroupEvent,
  GroupSnapshot,
  JoinAnswer,
  SyncAnswer,
} from '../../broker/groups/group-events.ts'
import type { ErrorCode } from '../../shared/errors.ts'
import { type GroupOptions, GroupState } from '../../broker/groups/group-state.ts'

type Answer = Extract<GroupEffect, { readonly request: number }>
type Question = Extract<GroupEvent, { readonly request: number }>
type Unasked<Event> = Event extends Question ? Omit<Event, 'now' | 'request'> : never

/** A question, and what has come of it. */
export interface Asked {
  readonly request: number
  readonly kind: Question['kind']
  answer: Answer | undefined
}

export interface Voice {
  readonly member?: string
  readonly instance?: string
  readonly generation?: number
  readonly connection?: number
}

export interface JoinWish extends Voice {
  /** What the member says for each; bytes, where text will not do. */
  readonly protocols?: Readonly<Record<string, string | Uint8Array>>
  readonly protocolType?: string
  readonly sessionTimeoutMs?: number
  readonly rebalanceTimeoutMs?: number
  readonly needsNoId?: boolean
  readonly isHeardByBeats?: boolean
}

const OPTIONS: GroupOptions = {
  leaderEpoch: 0,
  generationBase: 0,
  sessionTimeoutMsMin: 100,
  sessionTimeoutMsMax: 60_000,
  initialRebalanceDelayMs: 0,
  membersMax: 5,
  bytesMax: 10_000,
}

export class GroupPlay {
  state: GroupState
  now = 0
  /** Whether what is to be stored is stored at once. */
  isStoring = true
  readonly options: GroupOptions
  readonly asked: Asked[] = []
  readonly effects: GroupEffect[] = []
  readonly unsettled: { readonly store: number; readonly snapshot: GroupSnapshot }[] = []
  readonly stored: GroupSnapshot[] = []
  /** Every way that was taken: phase, event, phase. */
  readonly ways = new Set<string>()
  #newMembers = 0

  constructor(options: Partial<GroupOptions> = {}) {
    this.options = { ...OPTIONS, ...options }
    this.state = new GroupState(this.options)
  }

  join(wish: JoinWish = {}): Asked {
    this.#newMembers += 1
    const { member = '', instance, connection, protocols = { range: '' }, protocolType = 'consumer' } = wish
    return this.#ask({
      kind: 'join',
      member,
      instance,
      connection,
      protocolType,
      newMember: this.#newMember,
      clientId: 'client',
      host: 'host',
      sessionTimeoutMs: wish.sessionTimeoutMs ?? 1_000,
      rebalanceTimeoutMs: wish.rebalanceTimeoutMs ?? 3_000,
      protocols: Object.entries(protocols).map(([name, text]) => ({
        name,
        metadata: typeof text === 'string' ? Buffer.from(text) : text,
      })),
      needsNoId: wish.needsNoId ?? false,
      isHeardByBeats: wish.isHeardByBeats ?? false,
      reason: undefined,
    })
  }

  /** A new member that comes in with the id that it is given first; answers both. */
  enter(wish: JoinWish = {}): { readonly member: string; readonly joining: Asked } {
    if (wish.instance !== undefined || wish.needsNoId === true) {
      const joining = this.join(wish)
      return { member: this.#newMember, joining }
    }
    const member = joinOf(this.join(wish)).member
    return { member, joining: this.join({ ...wish, member }) }
  }

  sync(voice: Voice & { readonly shares?: Readonly<Record<string, string>>; readonly protocol?: string }): Asked {
    const { member = '', instance, generation = this.state.generation, connection, shares = {}, protocol } = voice
    const assignments = Object.entries(shares).map(([to, text]) => ({ member: to, assignment: Buffer.from(text) }))
    return this.#ask({
      kind: 'sync',
      member,
      instance,
      generation,
      connection,
      protocolType: undefined,
      protocol,
      assignments,
    })
  }

  heartbeat(voice: Voice & { readonly maxWaitMs?: number }): Asked {
    const { member = '', instance, generation = this.state.generation, connection, maxWaitMs = 0 } = voice
    return this.#ask({ kind: 'heartbeat', member, instance, generation, connection, maxWaitMs })
  }

  commit(voice: Voice): Asked {
    const { member = '', instance, generation = this.state.generation, connection } = voice
    return this.#ask({ kind: 'commit', member, instance, generation, connection })
  }

  leave(...members: readonly Voice[]): Asked {
    const who = members.map(({ member = '', instance }) => ({ member, instance, reason: undefined }))
    return this.#ask({ kind: 'leave', members: who })
  }

  delete(): Asked {
    return this.#ask({ kind: 'delete' })
  }

  expire(): void {
    this.#step({ kind: 'expire', now: this.now })
  }

  lose(): void {
    this.#step({ kind: 'coordinator-lost', now: this.now })
  }

  disconnect(connection: number): void {
    this.#step({ kind: 'connection-closed', connection, now: this.now })
  }

  /** Settles what waits longest to be stored. */
  settle(error?: ErrorCode): void {
    const next = this.unsettled.shift()
    if (next === undefined) throw new Error('nothing is to be stored')
    if (error === undefined) this.stored.push(next.snapshot)
    this.#step({ kind: 'stored', store: next.store, error, now: this.now })
  }

  /** Time passes; whatever is due in it happens at its time. */
  pass(ms: number): void {
    const end = this.now + ms
    for (let ticks = 0; this.state.nextDeadline <= end; ticks += 1) {
      if (ticks > 10_000) throw new Error('something is due for ever')
      this.now = Math.max(this.now, this.state.nextDeadline)
      this.#step({ kind: 'tick', now: this.now })
    }
    this.now = end
  }

  /** Never given out twice, not by the next coordinator either. */
  get #newMember(): string {
    const { leaderEpoch } = this.options
    return leaderEpoch === 0 ? `m${this.#newMembers}` : `m${leaderEpoch}.${this.#newMembers}`
  }

  get unanswered(): Asked[] {
    return this.asked.filter(({ answer }) => answer === undefined)
  }

  kinds(): GroupEffect['kind'][] {
    return this.effects.map(({ kind }) => kind)
  }

  #ask(question: Unasked<Question>): Asked {
    const asked: Asked = { request: this.asked.length, kind: question.kind, answer: undefined }
    this.asked.push(asked)
    this.#step({ ...question, request: asked.request, now: this.now })
    return asked
  }

  #step(event: GroupEvent): void {
    const effects: GroupEffect[] = []
    const from = this.state.phase
    this.state.step(event, effects)
    this.ways.add(`${from} ${event.kind} ${this.state.phase}`)
    for (const effect of effects) {
      this.effects.push(effect)
      if (effect.kind === 'store') this.unsettled.push(effect)
      if ('request' in effect) this.#answer(effect)
    }
    while (this.isStoring && this.unsettled.length > 0) this.settle()
  }

  #answer(answer: Answer): void {
    const asked = this.asked[answer.request]
    if (asked === undefined) throw new Error('an answer to nothing')
    if (asked.answer !== undefined) throw new Error(`request ${answer.request} is answered twice`)
    if (answer.kind !== `answer-${asked.kind}`) throw new Error(`a ${asked.kind} is answered with ${answer.kind}`)
    asked.answer = answer
  }
}

export function joinOf(asked: Asked): JoinAnswer {
  if (asked.answer?.kind !== 'answer-join') throw new Error('the join has not been answered')
  return asked.answer.answer
}

export function syncOf(asked: Asked): SyncAnswer & { readonly share: string } {
  if (asked.answer?.kind !== 'answer-sync') throw new Error('the sync has not been answered')
  return { ...asked.answer.answer, share: Buffer.from(asked.answer.answer.assignment).toString() }
}

/** The error of an answer; 'ok' without one, 'waits' where there is no answer yet. */
export function fateOf({ answer }: Asked): ErrorCode | 'ok' | 'waits' {
  if (answer === undefined) return 'waits'
  const { refusal } = answer.kind === 'answer-join' || answer.kind === 'answer-sync' ? answer.answer : answer
  return refusal?.error ?? 'ok'
}

/** A group of so many members that have their shares, m and its number; the first leads. */
export function settled(count: number, options: Partial<GroupOptions> = {}, wish: JoinWish = {}) {
  const play = new GroupPlay(options)
  const members: string[] = []
  for (let index = 0; index < count; index += 1) {
    const { member, joining } = play.enter({ ...wish, connection: index + 1 })
    for (const [at, one] of members.entries()) play.join({ ...wish, member: one, connection: at + 1 })
    members.push(member)
    if (fateOf(joining) !== 'ok') throw new Error('a member did not come in')
  }
  const [leader = ''] = members
  play.sync({ member: leader, connection: 1, shares: Object.fromEntries(members.map((one) => [one, `of ${one}`])) })
  for (const [at, one] of members.slice(1).entries()) play.sync({ member: one, connection: at + 2 })
  return { play, members, leader }
}
