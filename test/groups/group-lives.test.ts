// Random lives of a group: whatever members, connections, logs and coordinators do, what must hold holds. Coordinators follow
// one another, each with what the log has kept of the ones before; what they had told and not written down is lost.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { generationFloor, isToBeStoredFirst } from '../../broker/groups/group-generation.ts'
import { GROUP_TRANSITIONS } from '../../broker/groups/group-transitions.ts'
import { GroupState } from '../../broker/groups/group-state.ts'
import { type Asked, fateOf, GroupPlay } from './group-play.ts'

const STEPS = [
  'join',
  'join',
  'sync',
  'heartbeat',
  'commit',
  'leave',
  'close',
  'pass',
  'settle',
  'move',
  'delete',
  'expire',
  // All that have come in do as they should.
  'round',
  'round',
  'share',
  'share',
] as const

interface Step {
  readonly what: (typeof STEPS)[number]
  /** Which of the actors does it. */
  readonly who: number
  readonly size: number
}

/** Somebody who would be a member, as far as it knows. */
interface Actor {
  member: string
  readonly instance: string | undefined
  generation: number
  joining: Asked | undefined
  connection: number
}

const step = fc.record({
  what: fc.constantFrom(...STEPS),
  who: fc.integer({ min: 0, max: 5 }),
  size: fc.integer({ min: 0, max: 9 }),
})

class Life {
  play: GroupPlay
  readonly actors: Actor[]
  /** By generation: who was told it with whom, however many coordinators ago. */
  readonly told = new Map<number, string>()
  readonly ways = new Set<string>()
  /** What did not hold. */
  readonly faults: string[] = []
  #epoch = 0
  /** The highest generation that a group which was forgotten has left behind. */
  #left = 0
  #connections = 100
  readonly #isStoring: boolean

  constructor(isStoring: boolean, generationBase: number) {
    this.#isStoring = isStoring
    this.play = new GroupPlay({ membersMax: 4, generationBase })
    this.play.isStoring = isStoring
    this.actors = Array.from({ length: 6 }, (_, at) => ({
      member: '',
      instance: at < 2 ? `static-${at}` : undefined,
      generation: -1,
      joining: undefined,
      connection: at,
    }))
  }

  do({ what, who, size }: Step): void {
    const actor = this.actors[who]
    if (actor === undefined) return
    const { play } = this
    const voice = voiceOf(actor)
    const { connection } = actor
    switch (what) {
      case 'join':
        this.#join(actor, size > 7 ? 'else' : '', 500 + 500 * (size % 3))
        break
      case 'sync':
        this.#sync(actor)
        break
      case 'heartbeat':
        play.heartbeat({ ...voice, maxWaitMs: size * 100 })
        break
      case 'commit':
        play.commit(voice)
        break
      case 'leave':
        play.leave(voice)
        break
      case 'close':
        play.disconnect(connection)
        this.#connections += 1
        actor.connection = this.#connections
        break
      case 'pass':
        play.pass(size * size * 20)
        break
      case 'settle':
        if (play.unsettled.length > 0) play.settle(size > 7 ? 'REQUEST_TIMED_OUT' : undefined)
        break
      case 'round':
        for (const one of this.actors.filter((other) => other.member !== '')) this.#join(one, '')
        break
      case 'share':
        for (const one of this.actors.filter((other) => other.generation === play.state.generation)) this.#sync(one)
        break
      case 'delete':
        if (size > 6) play.delete()
        break
      case 'expire':
        if (size > 6) play.expire()
        break
      case 'move':
        if (size > 7) this.#move()
    }
    this.#hear()
    if (this.play.state.phase === 'Dead') this.#move()
  }

  #join(actor: Actor, wish: string, rebalanceTimeoutMs = 2_000): void {
    actor.joining = this.play.join({ ...voiceOf(actor), rebalanceTimeoutMs, protocols: { range: wish } })
    this.#hear()
  }

  #sync(actor: Actor): void {
    this.play.sync({ ...voiceOf(actor), shares: { [actor.member]: 'mine' } })
  }

  /** Another broker leads: it knows what was written down, whether or not the one before had heard so. */
  #move(): void {
    const { play } = this
    play.lose()
    for (const ask of [play.join, play.sync, play.heartbeat, play.commit, play.leave] as const) {
      const fate = fateOf(ask.call(play, { member: 'm' }))
      if (fate !== 'COORDINATOR_NOT_AVAILABLE') this.faults.push(`a dead group answers ${fate}`)
    }
    play.delete()
    this.#checkAnswered()
    this.#epoch += 1
    for (const way of play.ways) this.ways.add(way)
    const left = play.effects.find((effect) => effect.kind === 'forget')
    this.#left = Math.max(this.#left, left?.generation ?? 0)
    const next = new GroupPlay({
      membersMax: 4,
      leaderEpoch: this.#epoch,
      generationBase: Math.max(this.#left, generationFloor(this.#epoch)),
    })
    next.isStoring = this.#isStoring
    next.now = play.now
    next.stored.push(...play.stored, ...play.unsettled.slice(0, 1).map(({ snapshot }) => snapshot))
    // Of one that was deleted nothing is left but a generation, if that.
    const last = left === undefined ? next.stored.at(-1) : undefined
    if (last !== undefined) next.state = GroupState.restore(next.options, last, next.now)
    for (const actor of this.actors) actor.joining = undefined
    this.play = next
  }

  /** What the actors are answered; a generation is of one set of members. */
  #hear(): void {
    for (const actor of this.actors) {
      const { joining } = actor
      if (joining?.answer?.kind !== 'answer-join') continue
      actor.joining = undefined
      const { answer } = joining.answer
      const fate = fateOf(joining)
      if (fate === 'MEMBER_ID_REQUIRED') actor.member = answer.member
      if (fate === 'UNKNOWN_MEMBER_ID' || fate === 'FENCED_INSTANCE_ID') actor.member = ''
      if (fate !== 'ok') continue
      actor.member = answer.member
      actor.generation = answer.generation
      if (answer.members.length === 0) continue
      const members = answer.members.map(({ member, instance }) => instance ?? member).join(' ')
      const before = this.told.get(answer.generation) ?? members
      if (before !== members) this.faults.push(`generation ${answer.generation} is of ${before} and of ${members}`)
      this.told.set(answer.generation, members)
    }
  }

  /** Everything that is to be written down is, and time passes: nobody waits for ever, and who says nothing is out. */
  end(): void {
    const { play } = this
    for (let turn = 0; turn < 50; turn += 1) {
      while (play.unsettled.length > 0) play.settle()
      play.pass(1_000)
    }
    const { phase, memberCount, nextDeadline } = play.state
    if (phase !== 'Empty' || memberCount > 0) this.faults.push(`${memberCount} are in for ever, it is ${phase}`)
    if (nextDeadline !== Infinity) this.faults.push('something is due for ever')
    this.#checkAnswered()
  }

  #checkAnswered(): void {
    for (const { kind } of this.play.unanswered) this.faults.push(`a ${kind} waits for ever`)
  }
}

/** A static member's return is being written down, and whoever else is there goes: all that are left have joined. */
function waysOfReturning(how: 'leave' | 'tick'): ReadonlySet<string> {
  const play = new GroupPlay()
  const wish = { instance: 'a', sessionTimeoutMs: 60_000 }
  const { member } = play.enter(wish)
  const other = play.enter()
  play.join({ ...wish, member })
  for (const one of [other.member, member]) play.sync({ member: one })
  play.isStoring = false
  const back = play.join(wish)
  if (how === 'leave') play.leave({ member: other.member })
  else play.pass(1_000)
  if (fateOf(back) !== 'ok') throw new Error('who has come back is not answered')
  return play.ways
}

function voiceOf({ member, instance, generation, connection }: Actor) {
  return { member, generation, connection, ...(instance === undefined ? {} : { instance }) }
}

describe('a group', () => {
  it('answers every request once, and has one set of members a generation, whatever happens', () => {
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 120, size: 'max' }),
        fc.boolean(),
        fc.constantFrom(0, 4_090),
        (steps, isStoring, base) => {
          const life = new Life(isStoring, base)
          for (const one of steps) life.do(one)
          // A join that waits lives by its connection; now all of them close.
          for (const actor of life.actors) life.do({ what: 'close', who: life.actors.indexOf(actor), size: 0 })
          for (let connection = 0; connection < 300; connection += 1) life.play.disconnect(connection)
          life.end()
          expect(life.faults).toEqual([])
        },
      ),
      { numRuns: 400 },
    )
  })

  it('goes every way that its table knows, in one life or another', () => {
    const taken = new Set<string>()
    fc.assert(
      fc.property(fc.array(step, { minLength: 50, maxLength: 120, size: 'max' }), fc.boolean(), (steps, isStoring) => {
        const life = new Life(isStoring, 4_090)
        for (const one of steps) life.do(one)
        life.play.lose()
        expect(life.faults).toEqual([])
        for (const way of [...life.ways, ...life.play.ways]) taken.add(way)
      }),
      { numRuns: 400, seed: 7 },
    )
    for (const way of waysOfReturning('leave')) taken.add(way)
    for (const way of waysOfReturning('tick')) taken.add(way)
    const known = Object.entries(GROUP_TRANSITIONS).flatMap(([from, row]) =>
      Object.entries(row).flatMap(([event, to]) => to.map((phase) => `${from} ${event} ${phase}`)),
    )
    expect(known.filter((way) => !taken.has(way))).toEqual([])
  })
})

describe('the ranges of generations', () => {
  it('grow with the leader epoch, fit an int32, and leave none to two epochs that was not written down', () => {
    const epoch = fc.oneof(fc.integer({ min: 0, max: 1 << 19 }), fc.integer({ min: 0, max: 0x7fff_fffe }))
    fc.assert(
      fc.property(epoch, fc.integer({ min: 1, max: 0x7fff_ffff }), (older, more) => {
        const newer = Math.min(older + more, 0x7fff_ffff)
        expect(generationFloor(newer)).toBeGreaterThanOrEqual(generationFloor(older))
        expect(generationFloor(newer)).toBeLessThan(0x7fff_0000)
        // The highest that the older one tells without writing it down is below the first of the newer one.
        const first = generationFloor(newer) + 1
        expect(isToBeStoredFirst(first, older)).toBe(true)
      }),
      { numRuns: 2_000 },
    )
  })
})
