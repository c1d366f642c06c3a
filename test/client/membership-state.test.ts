// The rules of membership, told what happens: which request comes next, and what becomes of partitions.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { errorOf } from '../../client/errors.ts'
import {
  type MembershipEffect,
  type MembershipEvent,
  type MembershipOptions,
  MembershipState,
} from '../../client/membership-state.ts'
import { minus, type TopicPartition } from '../../client/topic-partitions.ts'
import type { ErrorCode } from '../../shared/errors.ts'
import { seededRandom } from '../../shared/random.ts'

const OPTIONS: MembershipOptions = {
  groupId: 'g',
  instanceId: undefined,
  isCooperative: true,
  heartbeatIntervalMs: 100,
  retry: { minMs: 10, maxMs: 100 },
}

const parts = (...numbers: number[]): TopicPartition[] => numbers.map((partition) => ({ topic: 't', partition }))

type Omitting<Union, Key extends string> = Union extends unknown ? Omit<Union, Key> : never

class Member {
  readonly state: MembershipState
  now = 0
  effects: MembershipEffect[] = []
  readonly releases: number[] = []
  readonly #attempts = new Map<string, number>()

  constructor(options: Partial<MembershipOptions> = {}) {
    this.state = new MembershipState({ ...OPTIONS, ...options }, seededRandom(1))
  }

  /** The kinds of what comes of an event. */
  step(event: MembershipEvent): string[] {
    this.effects = []
    this.state.step(event, this.now, this.effects)
    for (const effect of this.effects) {
      if ('attempt' in effect) this.#attempts.set(effect.kind, effect.attempt)
      if (effect.kind === 'revoke') this.releases.push(effect.release)
    }
    return this.effects.map(({ kind }) => kind)
  }

  /** An event about the last request of a kind. */
  answer(to: 'find' | 'join' | 'sync' | 'heartbeat', event: Omitting<MembershipEvent, 'attempt'>): string[] {
    return this.step({ attempt: this.#attempts.get(to) ?? -1, ...event } as MembershipEvent)
  }

  /** What was revoked first, and is not given up yet, has been. */
  release(): string[] {
    const [release] = this.releases.splice(0, 1)
    return this.step({ kind: 'released', release: release ?? -1 })
  }

  refuse(to: 'find' | 'join' | 'sync' | 'heartbeat', code: ErrorCode, member?: string): string[] {
    return this.answer(to, { kind: 'refused', error: errorOf(code), member })
  }

  joined(generation: number): string[] {
    const nothing = { protocol: 'p', members: [], skipAssignment: false }
    return this.answer('join', { kind: 'joined', generation, member: 'm', leader: 'other', ...nothing })
  }
}

/** One that has partitions in generation 5, its heartbeat waiting. */
function stable(owned: readonly TopicPartition[], options: Partial<MembershipOptions> = {}): Member {
  const member = new Member(options)
  member.step({ kind: 'begin' })
  member.answer('find', { kind: 'found' })
  member.refuse('join', 'MEMBER_ID_REQUIRED', 'm')
  member.joined(5)
  member.answer('sync', { kind: 'synced', assignment: owned })
  return member
}

describe('a member', () => {
  it('comes in by finding, joining with the id that it is given, and syncing, and then lets its heartbeat wait', () => {
    const member = new Member()
    expect(member.step({ kind: 'begin' })).toEqual(['find'])
    expect(member.answer('find', { kind: 'found' })).toEqual(['join'])
    expect(member.refuse('join', 'MEMBER_ID_REQUIRED', 'm')).toEqual(['join'])
    expect(member.effects[0]).toMatchObject({ member: 'm' })
    expect(member.joined(5)).toEqual(['sync'])
    expect(member.answer('sync', { kind: 'synced', assignment: parts(0, 1) })).toEqual(['assign', 'heartbeat'])
    expect(member.effects[0]).toEqual({ kind: 'assign', partitions: parts(0, 1) })
    expect(member.effects[1]).toMatchObject({ maxWaitMs: 100 })
    expect(member.state.identity).toEqual({ member: 'm', generation: 5 })
    member.now = 40
    expect(member.answer('heartbeat', { kind: 'heard' })).toEqual([])
    expect(member.state.nextDeadline).toBe(100)
    member.now = 100
    expect(member.step({ kind: 'tick' })).toEqual(['heartbeat'])
  })

  it('is well again as soon as its new coordinator has answered, and then lets its heartbeat wait again', () => {
    const member = stable(parts(0))
    member.now = 50
    expect(member.refuse('heartbeat', 'NOT_COORDINATOR')).toEqual(['find'])
    expect(member.state.failingSince).toBe(50)
    member.now = 60
    expect(member.answer('find', { kind: 'found' })).toEqual(['heartbeat'])
    expect(member.effects[0]).toMatchObject({ maxWaitMs: 0 })
    expect(member.answer('heartbeat', { kind: 'heard' })).toEqual(['heartbeat'])
    expect(member.effects[0]).toMatchObject({ maxWaitMs: 100 })
    expect(member.state.failingSince).toBeUndefined()
  })

  it('keeps what it has while it joins again, and gives up only what it is not given again, before it joins once more', () => {
    const member = stable(parts(0, 1, 2))
    expect(member.refuse('heartbeat', 'REBALANCE_IN_PROGRESS')).toEqual(['join'])
    expect(member.state.owned).toEqual(parts(0, 1, 2))
    expect(member.joined(6)).toEqual(['sync'])
    expect(member.answer('sync', { kind: 'synced', assignment: parts(0, 1, 3) })).toEqual([
      'revoke',
      'assign',
      'heartbeat',
    ])
    expect(member.effects[0]).toMatchObject({ partitions: parts(2), isLost: false })
    expect(member.effects[1]).toMatchObject({ partitions: parts(3) })
    expect(member.state.owned).toEqual(parts(0, 1, 3))
    expect(member.release()).toEqual(['join'])
    expect(member.effects[0]).toMatchObject({ reason: 'it has given up t 2' })
  })

  it('gives everything up before it joins again when it is not cooperative, and goes on saying that it lives', () => {
    const member = stable(parts(0, 1), { isCooperative: false })
    member.now = 50
    expect(member.refuse('heartbeat', 'REBALANCE_IN_PROGRESS')).toEqual(['revoke'])
    expect(member.effects[0]).toMatchObject({ partitions: parts(0, 1), isLost: false })
    member.now = 100
    expect(member.step({ kind: 'tick' })).toEqual(['heartbeat'])
    expect(member.effects[0]).toMatchObject({ maxWaitMs: 0 })
    expect(member.refuse('heartbeat', 'REBALANCE_IN_PROGRESS')).toEqual([])
    expect(member.release()).toEqual(['join'])
  })

  it('does not keep others waiting for what it is giving up: it joins with it, and once more without', () => {
    const member = stable(parts(0, 1))
    member.refuse('heartbeat', 'REBALANCE_IN_PROGRESS')
    member.joined(6)
    expect(member.answer('sync', { kind: 'synced', assignment: parts(0) })).toEqual(['revoke', 'assign', 'heartbeat'])
    expect(member.refuse('heartbeat', 'REBALANCE_IN_PROGRESS')).toEqual(['join'])
    expect(member.state.claims).toEqual(parts(0, 1))
    expect(member.release()).toEqual([])
    expect(member.state.claims).toEqual(parts(0))
    expect(member.joined(7)).toEqual(['sync'])
    expect(member.answer('sync', { kind: 'synced', assignment: parts(0) })).toEqual(['assign', 'join'])
  })

  it('is given again what it was giving up, and then has it', () => {
    const member = stable(parts(0, 1))
    member.refuse('heartbeat', 'REBALANCE_IN_PROGRESS')
    member.joined(6)
    member.answer('sync', { kind: 'synced', assignment: parts(0) })
    member.refuse('heartbeat', 'REBALANCE_IN_PROGRESS')
    member.joined(7)
    expect(member.answer('sync', { kind: 'synced', assignment: parts(0, 1) })).toEqual(['assign', 'heartbeat'])
    expect(member.effects[0]).toMatchObject({ partitions: parts(1) })
    expect(member.release()).toEqual([])
    expect(member.state.owned).toEqual(parts(0, 1))
  })

  it.each([['UNKNOWN_MEMBER_ID'], ['ILLEGAL_GENERATION']] as const)('has lost everything when it hears %s', (code) => {
    const member = stable(parts(0, 1))
    expect(member.refuse('heartbeat', code)).toEqual(['revoke'])
    expect(member.effects[0]).toMatchObject({ partitions: parts(0, 1), isLost: true })
    expect(member.state.owned).toEqual([])
    expect(member.release()).toEqual(['join'])
    expect(member.effects[0]).toMatchObject({ member: code === 'UNKNOWN_MEMBER_ID' ? '' : 'm' })
  })

  it('has lost what it is giving up too, when it is forgotten meanwhile', () => {
    const member = stable(parts(0))
    member.refuse('heartbeat', 'REBALANCE_IN_PROGRESS')
    member.joined(6)
    member.answer('sync', { kind: 'synced', assignment: [] })
    expect(member.refuse('heartbeat', 'UNKNOWN_MEMBER_ID')).toEqual(['revoke'])
    expect(member.effects[0]).toMatchObject({ partitions: [], isLost: true })
    expect(member.release()).toEqual([])
    expect(member.release()).toEqual(['join'])
  })

  it('ends when another has its name, and asks nothing more', () => {
    const member = stable(parts(0), { instanceId: 'a' })
    expect(member.refuse('heartbeat', 'FENCED_INSTANCE_ID')).toEqual(['revoke', 'fail'])
    expect(member.effects[1]).toMatchObject({ error: { code: 'FENCED_INSTANCE_ID', fatal: true } })
    expect(member.release()).toEqual([])
    expect(member.state.nextDeadline).toBe(Infinity)
  })

  it.each([['NOT_COORDINATOR'], ['CONNECTION_FAILED'], ['COORDINATOR_NOT_AVAILABLE'], ['TIMEOUT']] as const)(
    'keeps what it has and looks for the coordinator at once when a heartbeat ends in %s',
    (code) => {
      const member = stable(parts(0))
      expect(member.refuse('heartbeat', code)).toEqual(['find'])
      expect(member.answer('find', { kind: 'found' })).toEqual(['heartbeat'])
      expect(member.state.phase).toBe('stable')
      expect(member.state.owned).toEqual(parts(0))
    },
  )

  it('waits longer with every failure, and asks the same one while it loads', () => {
    const member = new Member()
    member.step({ kind: 'begin' })
    member.answer('find', { kind: 'found' })
    expect(member.refuse('join', 'COORDINATOR_LOAD_IN_PROGRESS')).toEqual(['join'])
    expect(member.refuse('join', 'COORDINATOR_LOAD_IN_PROGRESS')).toEqual([])
    const first = member.state.nextDeadline
    expect(first).toBeGreaterThan(0)
    member.now = first
    expect(member.step({ kind: 'tick' })).toEqual(['join'])
    member.refuse('join', 'COORDINATOR_LOAD_IN_PROGRESS')
    expect(member.state.nextDeadline - first).toBeGreaterThan(first / 2)
    expect(member.state.lastFailure).toMatchObject({ code: 'COORDINATOR_LOAD_IN_PROGRESS' })
  })

  it('ends when what it asks for is refused for good', () => {
    const member = new Member()
    member.step({ kind: 'begin' })
    member.answer('find', { kind: 'found' })
    expect(member.refuse('join', 'INVALID_SESSION_TIMEOUT')).toEqual(['fail'])
    expect(member.state.phase).toBe('failed')
  })

  it('joins again when topics change, once it is in', () => {
    const member = stable(parts(0))
    expect(member.step({ kind: 'rejoin', reason: 'topic t has 2 partitions' })).toEqual(['join'])
    expect(member.step({ kind: 'rejoin', reason: 'topic t has 3 partitions' })).toEqual([])
    expect(member.joined(6)).toEqual(['sync'])
    expect(member.answer('sync', { kind: 'synced', assignment: parts(0, 1) })).toEqual(['assign', 'join'])
    expect(member.effects[1]).toMatchObject({ reason: 'topic t has 3 partitions' })
  })

  it('leaves with a reason and comes back', () => {
    const member = stable(parts(0))
    expect(member.step({ kind: 'go', reason: 'too slow', hasGivenUp: false })).toEqual(['revoke', 'leave'])
    expect(member.effects[1]).toEqual({ kind: 'leave', member: 'm', reason: 'too slow' })
    expect(member.step({ kind: 'begin' })).toEqual([])
    expect(member.release()).toEqual(['join'])
    expect(member.effects[0]).toMatchObject({ member: '' })
  })

  it('takes no notice of answers that it does not wait for any more', () => {
    const member = stable(parts(0))
    const { effects } = member
    const beat = effects.find(({ kind }) => kind === 'heartbeat')
    const attempt = beat !== undefined && 'attempt' in beat ? beat.attempt : -1
    member.refuse('heartbeat', 'REBALANCE_IN_PROGRESS')
    expect(member.step({ kind: 'refused', attempt, error: errorOf('UNKNOWN_MEMBER_ID') })).toEqual([])
    expect(member.step({ kind: 'forgotten', generation: 5, error: errorOf('ILLEGAL_GENERATION') })).toEqual([])
    expect(member.state.owned).toEqual(parts(0))
  })

  it('hears from a commit that it is forgotten', () => {
    const member = stable(parts(0))
    expect(member.step({ kind: 'forgotten', generation: 4, error: errorOf('ILLEGAL_GENERATION') })).toEqual([])
    expect(member.step({ kind: 'forgotten', generation: 5, error: errorOf('UNKNOWN_MEMBER_ID') })).toEqual(['revoke'])
  })

  it('never asks two things at once, joins with nothing half given up, and always knows what it has', () => {
    const codes: ErrorCode[] = [
      'REBALANCE_IN_PROGRESS',
      'UNKNOWN_MEMBER_ID',
      'ILLEGAL_GENERATION',
      'NOT_COORDINATOR',
      'CONNECTION_FAILED',
      'COORDINATOR_LOAD_IN_PROGRESS',
      'MEMBER_ID_REQUIRED',
    ]
    const choice = fc.record({
      what: fc.nat(9),
      code: fc.constantFrom(...codes),
      mask: fc.nat(15),
      stale: fc.boolean(),
    })
    fc.assert(
      fc.property(fc.boolean(), fc.array(choice, { maxLength: 120 }), (isCooperative, story) => {
        expect(() => new Story(isCooperative).play(story)).not.toThrow()
      }),
      { numRuns: 400 },
    )
  })
})

interface Choice {
  readonly what: number
  readonly code: ErrorCode
  readonly mask: number
  readonly stale: boolean
}

/** A member that meets anything at any time, and what must hold all the same. */
class Story {
  readonly #member: Member
  readonly #isCooperative: boolean
  /** By attempt. */
  readonly #open = new Map<number, string>()
  /** By number: what is being given up, and whether it has to be before the next join. */
  readonly #releases = new Map<number, { partitions: readonly TopicPartition[]; isBlocking: boolean }>()
  #generation = 0
  #owned: readonly TopicPartition[] = []

  constructor(isCooperative: boolean) {
    this.#isCooperative = isCooperative
    this.#member = new Member({ isCooperative })
    this.#step({ kind: 'begin' })
  }

  play(story: readonly Choice[]): void {
    for (const choice of story) {
      this.#member.now += 7
      const asked = [...this.#open]
      const [attempt, kind] = asked[choice.mask % Math.max(1, asked.length)] ?? [-1, 'none']
      if (choice.what >= 8) this.#step({ kind: 'tick' })
      else if (choice.what === 7 && this.#releases.size > 0) {
        const releases = [...this.#releases.keys()]
        const release = releases[choice.mask % releases.length] ?? -1
        this.#releases.delete(release)
        this.#step({ kind: 'released', release })
      } else if (choice.what === 6) this.#step({ kind: 'rejoin', reason: 'topics' })
      else if (choice.what === 5 && choice.stale) {
        this.#step({ kind: 'go', reason: 'slow', hasGivenUp: false })
        this.#step({ kind: 'begin' })
      } else if (attempt >= 0) this.#answer(attempt, kind, choice)
    }
  }

  #answer(attempt: number, kind: string, { what, code, mask }: Choice): void {
    this.#open.delete(attempt)
    if (what < 2) return this.#step({ kind: 'refused', attempt, error: errorOf(code), member: 'm' })
    if (kind === 'find') return this.#step({ kind: 'found', attempt })
    if (kind === 'heartbeat') return this.#step({ kind: 'heard', attempt })
    if (kind === 'sync') {
      const assignment = parts(...[0, 1, 2, 3].filter((bit) => (mask & (1 << bit)) !== 0))
      return this.#step({ kind: 'synced', attempt, assignment })
    }
    this.#generation += 1
    const { generation } = { generation: this.#generation }
    const nothing = { protocol: 'p', members: [], skipAssignment: false }
    this.#step({ kind: 'joined', attempt, generation, member: 'm', leader: 'm', ...nothing })
  }

  #step(event: MembershipEvent): void {
    this.#member.step(event)
    for (const effect of this.#member.effects) {
      if ('attempt' in effect) this.#open.set(effect.attempt, effect.kind)
      switch (effect.kind) {
        case 'join':
          for (const { partitions, isBlocking } of this.#releases.values()) {
            check(!isBlocking, 'a join is sent when nothing has to be given up before')
            check(minus(partitions, this.#member.state.claims).length === 0, 'what is being given up is claimed')
          }
          if (!this.#isCooperative) check(this.#owned.length === 0, 'an eager member joins with nothing')
          break
        case 'revoke':
          if (effect.isLost) for (const one of this.#releases.values()) one.partitions = []
          this.#releases.set(effect.release, {
            partitions: effect.isLost ? [] : effect.partitions,
            isBlocking: effect.isLost || !this.#isCooperative,
          })
          check(minus(effect.partitions, this.#owned).length === 0, 'it gives up what it has')
          this.#owned = minus(this.#owned, effect.partitions)
          break
        case 'assign':
          check(
            minus(effect.partitions, this.#owned).length === effect.partitions.length,
            'it is given what it has not',
          )
          this.#owned = [...this.#owned, ...effect.partitions]
          break
        default:
          break
      }
    }
    const { state } = this.#member
    check(minus(this.#owned, state.owned).length === 0, 'it knows what it was given')
    check(minus(state.owned, this.#owned).length === 0, 'it has nothing that it was not given')
    // Something is waited for, due, or to be given up: it never just stands there.
    const isWaiting = [...this.#open.keys()].length > 0
    const isDue = state.nextDeadline < Infinity
    check(isWaiting || isDue || this.#releases.size > 0 || state.phase === 'out', 'it never just stands there')
  }
}

function check(isSo: boolean, rule: string): void {
  if (!isSo) throw new Error(rule)
}
