// What a group owes its members and its application, as they know it: from what coordinators answered them, and from what
// was handed to handlers.
//
// - A partition has one owner in a generation, and a generation one set of members.
// - Once a generation was shared out, no lower one is, nor is anybody told that he has joined one. One that was told and not
//   shared out, when its coordinator went, is as if it had never been.
// - Commits of an older generation, or of a static member whose place was taken, are never acknowledged.
// - What was acknowledged as committed never goes back: no later answer is lower, no later commit is acknowledged below it.
// - Nothing of a partition is handed to a handler before it is assigned nor after it was said to be revoked or lost; who is
//   told that it is revoked has no handler that runs; two members of one generation never handle one partition at once.
// - Who was assigned a partition after a commit is handed nothing below it, and nobody is handed again what he committed.
// - No offset is sent as committed behind a record that nobody has handled; in the end every record has been.
//
// A member that was paused may go on with what it has until it hears of it: what it is handed is held against what had been
// acknowledged when it asked where to begin.

import { decodeAssignment } from '../../client/consumer-protocol.ts'
import type { TopicPartition } from '../../client/topic-partitions.ts'
import type { RequestOf, ResponseOf } from '../../shared/protocol/api.ts'
import type { GroupListener } from './group-wire.ts'

/** The generations of one leader epoch, as long as there was no recovery. */
const EPOCH = 4_096

/** What is known of one partition in one group. */
interface Progress {
  /** The highest offset that anybody was told to be committed; undefined while none was. */
  committed: number | undefined
  /** The first that was: what lies below it may have been before the group began. */
  begin: number | undefined
  /** By offset: when it was handled first. */
  readonly handled: Map<number, number>
  /** Offsets that were sent as committed, each higher than all before, and when. */
  readonly sent: { readonly offset: number; readonly at: number }[]
}

interface Place {
  readonly member: string
  readonly askedAt: number
  readonly answeredAt: number
}

class GroupModel {
  readonly name: string
  readonly fromBeginning: boolean
  /** The highest that was shared out. */
  generation = -1
  /** By generation and partition. */
  readonly owners = new Map<string, string>()
  /** Generations that were shared out. */
  readonly shared = new Set<number>()
  /** By generation: its members, as the leader was told. */
  readonly rounds = new Map<number, string>()
  /** By static name: who was told to have it. */
  readonly places = new Map<string, Place[]>()
  readonly partitions = new Map<string, Progress>()
  readonly members = new Set<MemberModel>()
  /** The broker that answered last. */
  coordinator: string | undefined

  constructor(name: string, fromBeginning: boolean) {
    this.name = name
    this.fromBeginning = fromBeginning
  }

  progress(partition: string): Progress {
    let progress = this.partitions.get(partition)
    if (progress === undefined) {
      progress = { committed: undefined, begin: undefined, handled: new Map(), sent: [] }
      this.partitions.set(partition, progress)
    }
    return progress
  }
}

/** A partition that a member has, as its application was told. */
interface Tenure {
  /** In which it was given to it. */
  readonly generation: number
  /** Nothing below it is to come. */
  floor: number
}

/** A handler at work. */
export interface Handling {
  readonly partition: string
  readonly offset: number
  /** It is at work on a batch already: nothing is handed to it. */
  readonly isGoingOn: boolean
  /** Whether its result is wanted no more. */
  readonly isOver: () => boolean
}

/** One life of a member. */
export class MemberModel {
  readonly name: string
  readonly group: GroupModel
  /** Of a static member: its name. */
  readonly instance: string | undefined
  readonly tenures = new Map<string, Tenure>()
  /** With the generation in which it was given the partition. */
  readonly running = new Map<Handling, number>()
  /** That it was told to have joined, and that it was given its share in. */
  generation = -1
  synced = -1
  /** What had been acknowledged when it asked where to begin. */
  readonly floors = new Map<string, number>()

  constructor(name: string, group: GroupModel, instance: string | undefined) {
    this.name = name
    this.group = group
    this.instance = instance
  }
}

export class GroupOracle {
  readonly groups = new Map<string, GroupModel>()
  handledCount = 0
  committedCount = 0
  /** That were shared out. */
  generations = 0
  refusedCommits = 0
  /** Grows when anything has changed that is waited for. */
  changes = 0
  #moments = 0
  readonly #fail: (fault: string) => void

  constructor(fail: (fault: string) => void) {
    this.#fail = fail
  }

  group(name: string, fromBeginning: boolean): GroupModel {
    const model = new GroupModel(name, fromBeginning)
    this.groups.set(name, model)
    return model
  }

  /** A member begins a life. */
  enter(name: string, group: string, instance: string | undefined): MemberModel {
    const model = this.groups.get(group)
    if (model === undefined) throw new Error(`there is no group ${group}`)
    const member = new MemberModel(name, model, instance)
    model.members.add(member)
    return member
  }

  /** The life is over. */
  leave(member: MemberModel): void {
    this.changes += 1
    member.group.members.delete(member)
  }

  onAssigned(member: MemberModel, partitions: readonly (TopicPartition & { readonly offset: number })[]): void {
    this.changes += 1
    for (const { topic, partition, offset } of partitions) {
      const name = `${topic}-${partition}`
      if (member.tenures.has(name)) this.#say(member, `${name} is assigned a second time`)
      const floor = member.floors.get(name) ?? 0
      if (offset < floor) this.#say(member, `${name} is assigned from ${offset}; ${floor} had been committed`)
      member.tenures.set(name, { generation: member.synced, floor })
    }
  }

  onRevoked(member: MemberModel, partitions: readonly TopicPartition[], isLost: boolean): void {
    this.changes += 1
    for (const { topic, partition } of partitions) {
      const name = `${topic}-${partition}`
      member.tenures.delete(name)
      for (const handling of member.running.keys()) {
        if (isLost || handling.partition !== name || handling.isOver()) continue
        this.#say(member, `${name} is revoked while its handler is at offset ${handling.offset}`)
      }
    }
  }

  /** A handler begins with a record. */
  begin(member: MemberModel, handling: Handling): void {
    const { partition, offset } = handling
    this.handledCount += 1
    const tenure = member.tenures.get(partition)
    if (tenure === undefined && !handling.isGoingOn) {
      this.#say(member, `is handed offset ${offset} of ${partition}, which it does not have`)
    }
    if (tenure !== undefined && offset < tenure.floor) {
      this.#say(member, `is handed offset ${offset} of ${partition} again: ${tenure.floor} was committed`)
    }
    const since = tenure?.generation ?? -1
    if (tenure !== undefined) this.#checkAlone(member, handling, since)
    member.running.set(handling, since)
  }

  /** Of two that have heard of the generations in which both were given the partition, one has it. */
  #checkAlone(member: MemberModel, { partition, offset }: Handling, since: number): void {
    for (const other of member.group.members) {
      // Who has its name was fenced, and may not have heard of it.
      const isSame = other === member || (member.instance !== undefined && other.instance === member.instance)
      if (isSame) continue
      for (const [one, otherSince] of other.running) {
        const latest = Math.max(since, otherSince)
        const isKnown = member.generation >= latest && other.generation >= latest
        if (one.partition !== partition || one.isOver() || !isKnown) continue
        const where = `offset ${one.offset} in generation ${other.generation}`
        this.#say(member, `is handed offset ${offset} of ${partition} while ${other.name} handles ${where}`)
      }
    }
  }

  /** The handler is done with it, well or not. */
  end(member: MemberModel, handling: Handling, isHandled: boolean): void {
    member.running.delete(handling)
    if (!isHandled) return
    const { handled } = member.group.progress(handling.partition)
    if (!handled.has(handling.offset)) handled.set(handling.offset, this.#moment())
  }

  /** What a member says to coordinators and hears from them. */
  listener(member: MemberModel): GroupListener {
    return {
      joinGroup: (request, broker) => this.#onJoin(member, request, broker),
      syncGroup: (request, broker) => this.#onSync(member, request, broker),
      commitOffsets: (request, broker) => this.#onCommit(member, request, broker),
      fetchOffsets: (request) => this.#onFetch(member, request),
    }
  }

  /** What the group has when all is over, by partition, as its coordinator says. */
  judgeCommitted(group: string, offsets: ReadonlyMap<string, number>): void {
    for (const [partition, { committed }] of this.groups.get(group)?.partitions ?? []) {
      const offset = offsets.get(partition)
      if (committed === undefined || (offset ?? -1) >= committed) continue
      this.#fail(`group ${group}: ${partition} is committed up to ${offset}; ${committed} was acknowledged`)
    }
  }

  /** A record that stands in the topic: somebody has handled it before anybody said that it was done. */
  judgeRecord(group: string, partition: string, offset: number, value: string): void {
    const model = this.groups.get(group)
    const progress = model?.partitions.get(partition)
    if (model === undefined) return
    if (!model.fromBeginning && offset < (progress?.begin ?? Infinity)) return
    const where = `group ${group}: ${value} at offset ${offset} of ${partition}`
    const handledAt = progress?.handled.get(offset)
    if (handledAt === undefined) return this.#fail(`${where} was handled by nobody`)
    const passed = progress?.sent.find((sent) => sent.offset > offset)
    if (passed !== undefined && passed.at < handledAt) {
      this.#fail(`${where} was handled after ${passed.offset} had been committed`)
    }
  }

  #onJoin(member: MemberModel, { instance }: RequestOf<'joinGroup'>, broker: string) {
    const { group } = member
    const before = group.generation
    const askedAt = this.#moment()
    return (answer: ResponseOf<'joinGroup'>): void => {
      if (answer.error !== 0) return
      const { generation } = answer
      group.coordinator = broker
      // Who coordinates no more and has not heard of it may begin a round; nothing can come of it.
      const isOfEarlierEpoch = Math.floor(generation / EPOCH) < Math.floor(before / EPOCH)
      if (generation < before && !isOfEarlierEpoch) {
        this.#say(member, `joins generation ${generation}; ${before} was before`)
      }
      member.generation = generation
      if (answer.members.length > 0) {
        const names = answer.members.map((one) => one.instance ?? one.member).toSorted()
        const known = group.rounds.get(generation) ?? names.join(' ')
        if (known !== names.join(' '))
          this.#say(member, `generation ${generation} is of ${names.join(' ')}, and ${known}`)
        group.rounds.set(generation, known)
      }
      if (instance === undefined) return
      const places = group.places.get(instance) ?? []
      group.places.set(instance, places)
      places.push({ member: answer.member, askedAt, answeredAt: this.#moment() })
    }
  }

  #onSync(member: MemberModel, request: RequestOf<'syncGroup'>, broker: string) {
    const { group } = member
    const { generation, instance, member: id } = request
    const before = group.generation
    return (answer: ResponseOf<'syncGroup'>): void => {
      if (answer.error !== 0) return
      group.coordinator = broker
      if (!group.shared.has(generation)) {
        // The answer to who has shared out may be on its way to a member that hears of others first.
        if (generation < before && request.assignments.length > 0) {
          this.#say(member, `shares out in generation ${generation}; ${before} was before`)
        }
        group.shared.add(generation)
        this.generations += 1
      }
      group.generation = Math.max(group.generation, generation)
      const names = decodeAssignment(answer.assignment).map(({ topic, partition }) => `${topic}-${partition}`)
      for (const name of names) {
        const key = `${generation} ${name}`
        const owner = group.owners.get(key) ?? instance ?? id
        if (owner !== (instance ?? id))
          this.#say(member, `has ${name} in generation ${generation}, and so has ${owner}`)
        group.owners.set(key, owner)
      }
      member.synced = Math.max(member.synced, generation)
    }
  }

  #onCommit(member: MemberModel, request: RequestOf<'commitOffsets'>, broker: string) {
    const { group } = member
    const { generation, instance, partitions } = request
    const sentAt = this.#moment()
    const generationBefore = group.generation
    const isReplaced = instance !== undefined && this.#isReplaced(group, instance, request.member, sentAt)
    const asked = partitions.map(({ topic, partition, offset }) => {
      const name = `${topic}-${partition}`
      const progress = group.progress(name)
      if (offset > (progress.sent.at(-1)?.offset ?? -1)) progress.sent.push({ offset, at: sentAt })
      return { name, progress, offset, before: progress.committed, tenure: member.tenures.get(name) }
    })
    return (answer: ResponseOf<'commitOffsets'>): void => {
      for (const [index, { name, progress, offset, before, tenure }] of asked.entries()) {
        if (answer.partitions[index]?.error !== 0) {
          this.refusedCommits += 1
          continue
        }
        group.coordinator = broker
        this.committedCount += 1
        const what = `offset ${offset} of ${name} is acknowledged`
        if (generation < generationBefore) {
          this.#say(member, `${what}, of generation ${generation} when ${generationBefore} had begun`)
        }
        if (isReplaced) this.#say(member, `${what}, though another member has come in as ${instance}`)
        if (before !== undefined && offset < before) this.#say(member, `${what} when ${before} had been`)
        this.changes += 1
        progress.begin ??= offset
        progress.committed = Math.max(progress.committed ?? 0, offset)
        if (tenure !== undefined) tenure.floor = Math.max(tenure.floor, offset)
      }
    }
  }

  #onFetch(member: MemberModel, { partitions = [] }: RequestOf<'fetchOffsets'>) {
    const { group } = member
    const asked = partitions.map(({ topic, partition }) => {
      const name = `${topic}-${partition}`
      const before = group.progress(name).committed
      member.floors.set(name, before ?? 0)
      return { name, before }
    })
    return (answer: ResponseOf<'fetchOffsets'>): void => {
      if (answer.error !== 0) return
      for (const [index, { name, before }] of asked.entries()) {
        const offset = answer.partitions[index]?.offset
        if (before !== undefined && (offset ?? -1) < before) {
          this.#say(member, `is told that ${offset} is committed of ${name}; it was ${before} before it asked`)
        }
        if (offset === undefined) continue
        // Whoever had committed it need not have heard of it.
        this.changes += 1
        const progress = group.progress(name)
        progress.begin ??= offset
        progress.committed = Math.max(progress.committed ?? 0, offset)
      }
    }
  }

  /** Whether somebody who asked after it had been answered was answered since. */
  #isReplaced(group: GroupModel, instance: string, member: string, at: number): boolean {
    const places = group.places.get(instance) ?? []
    const own = places.find((place) => place.member === member)
    return (
      own !== undefined &&
      places.some((one) => one.member !== member && one.askedAt > own.answeredAt && one.answeredAt < at)
    )
  }

  #moment(): number {
    this.#moments += 1
    return this.#moments
  }

  #say({ name, group }: MemberModel, what: string): void {
    this.#fail(`${name} of ${group.name} ${what}`)
  }
}
