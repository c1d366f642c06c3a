// How the leader of a group shares out partitions: range, round-robin and cooperative-sticky, under Kafka's names and with
// its meaning. Pure. Invariants: a partition goes to one member at most, and only to one that wants its topic; a
// cooperative member is given nothing that another still has.

import { must } from '../shared/assert.ts'
import { comparePartitions, type TopicPartition, TopicPartitionMap } from './topic-partitions.ts'

export interface GroupMember {
  readonly memberId: string
  readonly instanceId: string | undefined
  readonly topics: readonly string[]
  /** What it has, as it says, and in which generation it got it. */
  readonly owned: readonly TopicPartition[]
  readonly generation: number
}

/** How many partitions there are, by topic; a topic that is not here does not exist. */
export type PartitionCounts = ReadonlyMap<string, number>
/** By member id. Every member is in it. */
export type Shares = Map<string, TopicPartition[]>

export interface Assignor {
  /** What the group knows it by. */
  readonly name: string
  /** Whether members keep what they have while they join again. */
  readonly isCooperative: boolean
  assign(members: readonly GroupMember[], counts: PartitionCounts): Shares
}

/** As applications name them. */
export type AssignorName = 'cooperative-sticky' | 'range' | 'round-robin'

export const ASSIGNORS: Readonly<Record<AssignorName, Assignor>> = {
  'cooperative-sticky': { name: 'cooperative-sticky', isCooperative: true, assign: shareSticky },
  range: { name: 'range', isCooperative: false, assign: shareRanges },
  'round-robin': { name: 'roundrobin', isCooperative: false, assign: shareInTurn },
}

/** Each topic for itself: the first members get one partition more where it does not come out even. */
function shareRanges(members: readonly GroupMember[], counts: PartitionCounts): Shares {
  const sorted = [...members].sort(compareMembers)
  const shares = noShares(members)
  for (const [topic, count] of counts) {
    const takers = sorted.filter(({ topics }) => topics.includes(topic))
    let partition = 0
    for (const [index, { memberId }] of takers.entries()) {
      const quota = Math.floor(count / takers.length) + (index < count % takers.length ? 1 : 0)
      const share = must(shares.get(memberId), 'every member has a share')
      for (const end = partition + quota; partition < end; partition += 1) share.push({ topic, partition })
    }
  }
  return shares
}

/** All partitions in turn, one a member. */
function shareInTurn(members: readonly GroupMember[], counts: PartitionCounts): Shares {
  const sorted = [...members].sort(compareMembers)
  const shares = noShares(members)
  let turn = 0
  for (const { topic, partition } of allPartitions(counts)) {
    for (let tries = 0; tries < sorted.length; tries += 1) {
      const member = sorted[turn % sorted.length]
      turn += 1
      if (member?.topics.includes(topic) !== true) continue
      shares.get(member.memberId)?.push({ topic, partition })
      break
    }
  }
  return shares
}

/** Balanced, with as few moves as that takes; what moves is given to nobody until who has it has let it go (KIP-429). */
function shareSticky(members: readonly GroupMember[], counts: PartitionCounts): Shares {
  const board = new Board([...members].sort(compareMembers), counts)
  board.keepOwned()
  board.giveRest()
  board.balance()
  const shares = noShares(members)
  for (const seat of board.seats) {
    const share = must(shares.get(seat.member.memberId), 'every member has a share')
    for (const one of [...seat.partitions()].sort(comparePartitions)) {
      if (!board.isClaimedByOther(seat, one)) share.push(one)
    }
  }
  return shares
}

/** One member and what it is to have. */
class Seat {
  readonly member: GroupMember
  readonly topics: ReadonlySet<string>
  /** By topic; first what the member had before. */
  readonly held = new Map<string, number[]>()
  load = 0

  constructor(member: GroupMember) {
    this.member = member
    this.topics = new Set(member.topics)
  }

  add({ topic, partition }: TopicPartition): void {
    const numbers = this.held.get(topic)
    if (numbers === undefined) this.held.set(topic, [partition])
    else numbers.push(partition)
    this.load += 1
  }

  *partitions(): Generator<TopicPartition> {
    for (const [topic, numbers] of this.held) for (const partition of numbers) yield { topic, partition }
  }
}

/** A step of a chain: the seat was reached by taking a partition of the topic from the one before. */
interface Step {
  readonly from: Seat
  readonly topic: string
}

class Board {
  readonly seats: readonly Seat[]
  readonly #counts: PartitionCounts
  /** Members that want a topic, by topic. */
  readonly #takers = new Map<string, Seat[]>()
  /** Whoever says that it has a partition, whatever the generation. */
  readonly #claims = new TopicPartitionMap<Seat[]>()
  readonly #given = new TopicPartitionMap<Seat>()

  constructor(members: readonly GroupMember[], counts: PartitionCounts) {
    this.seats = members.map((member) => new Seat(member))
    this.#counts = counts
    for (const seat of this.seats) {
      for (const topic of seat.topics) {
        const takers = this.#takers.get(topic)
        if (takers === undefined) this.#takers.set(topic, [seat])
        else takers.push(seat)
      }
      for (const { topic, partition } of seat.member.owned) {
        const claims = this.#claims.get(topic, partition)
        if (claims === undefined) this.#claims.set(topic, partition, [seat])
        else if (!claims.includes(seat)) claims.push(seat)
      }
    }
  }

  /** Everybody keeps what it has. Of two who say that they have it, the one that got it later. */
  keepOwned(): void {
    for (const { topic, partition, value: claims } of this.#claims.entries()) {
      if (partition < 0 || partition >= (this.#counts.get(topic) ?? 0)) continue
      const able = claims.filter((seat) => seat.topics.has(topic))
      const [newest] = able.toSorted((a, b) => b.member.generation - a.member.generation)
      if (newest !== undefined) this.#give({ topic, partition }, newest)
    }
  }

  /** What nobody has goes to whoever has least and wants it; first what few want. */
  giveRest(): void {
    const wanted = (topic: string): number => this.#takers.get(topic)?.length ?? 0
    const topics = [...this.#counts.keys()].sort((a, b) => wanted(a) - wanted(b) || (a < b ? -1 : 1))
    for (const topic of topics) {
      const takers = this.#takers.get(topic) ?? []
      for (let partition = 0; partition < (this.#counts.get(topic) ?? 0); partition += 1) {
        if (this.#given.has(topic, partition)) continue
        let least: Seat | undefined
        for (const seat of takers) if (least === undefined || seat.load < least.load) least = seat
        if (least !== undefined) this.#give({ topic, partition }, least)
      }
    }
  }

  /**
   * Moves single partitions, along chains of members where need be, until no move makes two loads more alike. Whoever has
   * most gives first, so that nobody gives more than it has too much.
   */
  balance(): void {
    const left = new Set(this.seats)
    for (;;) {
      let most: Seat | undefined
      for (const seat of left) if (most === undefined || seat.load > most.load) most = seat
      if (most === undefined) return
      const chain = this.#chainFrom(most)
      // Moves elsewhere never open a way that was not there.
      if (chain === undefined) left.delete(most)
      else for (const { to, step } of chain) this.#move(step.from, to, step.topic)
    }
  }

  isClaimedByOther(seat: Seat, { topic, partition }: TopicPartition): boolean {
    return this.#claims.get(topic, partition)?.some((claim) => claim !== seat) === true
  }

  /** The shortest way to somebody who has at least two less, the last step first; undefined when there is none. */
  #chainFrom(start: Seat): { to: Seat; step: Step }[] | undefined {
    const reachedBy = new Map<Seat, Step | undefined>([[start, undefined]])
    const seen = new Set<string>()
    const queue = [start]
    for (let seat = queue.shift(); seat !== undefined; seat = queue.shift()) {
      for (const [topic, numbers] of seat.held) {
        // Whoever wants the topic has been reached the first time that it was met.
        if (numbers.length === 0 || seen.has(topic)) continue
        seen.add(topic)
        let least: Seat | undefined
        for (const to of this.#takers.get(topic) ?? []) {
          if (reachedBy.has(to)) continue
          reachedBy.set(to, { from: seat, topic })
          queue.push(to)
          if (least === undefined || to.load < least.load) least = to
        }
        if (least !== undefined && least.load <= start.load - 2) return chainTo(least, reachedBy)
      }
    }
    return undefined
  }

  /** What a seat was given last: what it had before stands at the front. */
  #move(from: Seat, to: Seat, topic: string): void {
    const partition = must(from.held.get(topic)?.pop(), 'what is moved is held')
    from.load -= 1
    this.#give({ topic, partition }, to)
  }

  #give(one: TopicPartition, seat: Seat): void {
    this.#given.set(one.topic, one.partition, seat)
    seat.add(one)
  }
}

function chainTo(end: Seat, reachedBy: ReadonlyMap<Seat, Step | undefined>): { to: Seat; step: Step }[] {
  const chain: { to: Seat; step: Step }[] = []
  let to = end
  for (let step = reachedBy.get(to); step !== undefined; step = reachedBy.get(to)) {
    chain.push({ to, step })
    to = step.from
  }
  return chain
}

function noShares(members: readonly GroupMember[]): Shares {
  return new Map(members.map(({ memberId }) => [memberId, []]))
}

function allPartitions(counts: PartitionCounts): TopicPartition[] {
  const all: TopicPartition[] = []
  for (const [topic, count] of counts) {
    for (let partition = 0; partition < count; partition += 1) all.push({ topic, partition })
  }
  return all.sort(comparePartitions)
}

/** Static members first, by the name they keep; the others by the id that they were given. */
function compareMembers(a: GroupMember, b: GroupMember): number {
  if (a.instanceId !== undefined && b.instanceId !== undefined) return compareText(a.instanceId, b.instanceId)
  if (a.instanceId !== undefined) return -1
  if (b.instanceId !== undefined) return 1
  return compareText(a.memberId, b.memberId)
}

function compareText(a: string, b: string): number {
  return a === b ? 0 : a < b ? -1 : 1
}
