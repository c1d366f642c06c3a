// What is wrong with what the members of groups did, as far as their own words and what others saw of them can say. Pure.
//
// What a member tells counts in the order in which it happened: that records are done before their commit can be asked for,
// that a partition has gone before anybody else can have it. So what breaks that order is wrong, however late it is told.
// A member that hangs, or whose partitions are lost, may handle what others handle too; it may not commit it.

import { type Anomaly, type AnomalyName, firstFrom } from './anomaly.ts'
import type {
  GroupHistoryEvent,
  GroupSeen,
  HistoryEvent,
  OffsetsCommitted,
  PartitionsGivenUp,
  PartitionsOwned,
  RecordsHandled,
} from './history.ts'

export interface GroupVerdict {
  /** Records that members handled, each time counted. */
  readonly handled: number
  /** Of them, those that had been handled before. */
  readonly again: number
  /** Generations that were seen, but for the first. */
  readonly rebalances: number
  /** How often another broker came to coordinate it. */
  readonly coordinatorChanges: number
  /** Commits in the name of members that were taken out. */
  readonly zombiesRefused: number
}

/** One partition with one process, from when it came to when it went. */
interface Hold {
  readonly process: string
  readonly since: number
  /** The next offset to be handled. */
  next: number
  end: number
  /** Lost: others may have had it before; gone: its process is. */
  how: 'held' | 'given-up' | 'lost' | 'gone'
}

const OPEN = Infinity

class GroupChecker {
  readonly anomalies: Anomaly[] = []
  readonly #group: string
  /** Offsets at which something stands, ascending; by partition. */
  readonly #known: ReadonlyMap<number, readonly number[]>
  readonly #instances = new Map<string, string>()
  /** By partition and generation. */
  readonly #owners = new Map<string, string>()
  readonly #holds = new Map<number, Hold[]>()
  readonly #handled = new Map<number, Set<number>>()
  /** Of each partition: before which known offset all are handled, as an index. */
  readonly #done = new Map<number, number>()
  readonly #committed = new Map<number, { readonly offset: number; readonly process: string }>()
  /** The last commit of a partition in a generation, by both. */
  readonly #committedIn = new Map<string, number>()
  readonly #generations = new Set<number>()
  readonly #generationOf = new Map<string, number>()
  readonly #seen: GroupSeen[] = []
  /** By leader epoch. */
  readonly #coordinators = new Map<number, number>()
  #count = 0
  #again = 0
  #refused = 0

  constructor(group: string, known: ReadonlyMap<number, readonly number[]>) {
    this.#group = group
    this.#known = known
  }

  get verdict(): GroupVerdict {
    const rebalances = Math.max(0, this.#generations.size - 1)
    return {
      handled: this.#count,
      again: this.#again,
      rebalances,
      coordinatorChanges: changesOf(this.#coordinators),
      zombiesRefused: this.#refused,
    }
  }

  on(event: GroupHistoryEvent): void {
    switch (event.op) {
      case 'member-up':
        if (event.instance !== undefined) this.#instances.set(event.process, event.instance)
        return
      case 'member-gone':
        return this.#onGone(event.process, event.at)
      case 'owns':
        return this.#onOwned(event)
      case 'gave-up':
        return this.#onGivenUp(event)
      case 'handle':
        return this.#onHandled(event)
      case 'commit':
        return this.#onCommitted(event)
      case 'group-seen':
        return this.#onSeen(event)
      case 'zombie':
        if (event.error !== undefined) this.#refused += 1
        else this.#note('zombie-commit', `a commit of ${event.process} in generation ${event.generation} was taken`)
        return
      case 'coordinates': {
        const { epoch, broker } = event
        const other = this.#coordinators.get(epoch) ?? broker
        if (other !== broker) this.#note('two-leaders', `brokers ${other} and ${broker} coordinated in epoch ${epoch}`)
        this.#coordinators.set(epoch, broker)
        return
      }
      case 'member-trouble':
        return this.#note('member-failed', `${event.process}: ${event.what}`)
    }
  }

  judgeEnd(): void {
    this.#judgeOverlaps()
    this.#judgeSeen()
    for (const [partition, known] of this.#known) {
      const handled = this.#handled.get(partition)
      const missing = known.filter((offset) => handled?.has(offset) !== true)
      if (missing.length === 0) continue
      const some = missing.slice(0, 5).join(', ')
      this.#note('group-skip', `${missing.length} records of partition ${partition} were never handled: ${some}`)
    }
  }

  #note(name: AnomalyName, what: string): void {
    this.anomalies.push({ name, what: `group ${this.#group}: ${what}` })
  }

  #onGeneration(process: string, generation: number): void {
    if (generation < 0) return
    this.#generations.add(generation)
    const before = this.#generationOf.get(process) ?? generation
    if (generation < before) this.#note('generation-back', `${process} was in ${before}, and then in ${generation}`)
    this.#generationOf.set(process, generation)
  }

  /** A static member is one owner, whichever process it is in. */
  #onOwner(process: string, partition: number, generation: number, how: string): void {
    if (generation < 0) return
    const key = `${partition} ${generation}`
    const owner = this.#instances.get(process) ?? process
    const other = this.#owners.get(key) ?? owner
    const text = `partition ${partition} was ${other}'s in generation ${generation}, and ${how} by ${owner}`
    if (other !== owner) this.#note('two-owners', text)
    this.#owners.set(key, owner)
  }

  #onOwned({ process, generation, from, at }: PartitionsOwned): void {
    this.#onGeneration(process, generation)
    for (const [key, offset] of Object.entries(from)) {
      const partition = Number(key)
      this.#onOwner(process, partition, generation, 'taken')
      const holds = this.#holds.get(partition) ?? []
      this.#holds.set(partition, holds)
      const isHeld = holds.some((hold) => hold.process === process && hold.end === OPEN)
      if (isHeld) this.#note('two-owners', `partition ${partition} came to ${process}, which had it`)
      holds.push({ process, since: at, next: offset, end: OPEN, how: 'held' })
      const { offset: committed = 0, process: by = '' } = this.#committed.get(partition) ?? {}
      const where = `${process} begins at ${partition}/${offset}`
      if (offset < committed) this.#note('redelivered', `${where}, although ${by} had committed ${committed}`)
      const open = this.#firstOpen(partition)
      if (open < offset) this.#note('group-skip', `${where}, and nobody has handled ${open}`)
    }
  }

  #onGivenUp({ process, partitions, isLost, at }: PartitionsGivenUp): void {
    for (const partition of partitions) {
      for (const hold of this.#holds.get(partition) ?? []) {
        if (hold.process !== process || hold.end !== OPEN) continue
        hold.end = at
        hold.how = isLost ? 'lost' : 'given-up'
      }
    }
  }

  #onGone(process: string, at: number): void {
    for (const holds of this.#holds.values()) {
      for (const hold of holds) {
        if (hold.process !== process || hold.end !== OPEN) continue
        hold.end = at
        hold.how = 'gone'
      }
    }
  }

  #onHandled({ process, generation, began, records }: RecordsHandled): void {
    this.#count += records.length
    for (const [partition, offset] of records) {
      this.#onOwner(process, partition, generation, 'handled')
      const handled = this.#handled.get(partition) ?? new Set()
      this.#handled.set(partition, handled)
      if (handled.has(offset)) this.#again += 1
      handled.add(offset)
      const hold = this.#holds.get(partition)?.findLast((one) => one.process === process)
      const where = `${process} handled ${partition}/${offset}`
      if (hold === undefined) {
        this.#note('not-owned', `${where}, which it did not have`)
        continue
      }
      const isLate = hold.how === 'lost' && began <= hold.end
      if (hold.end !== OPEN && !isLate) this.#note('not-owned', `${where}, which it had no more`)
      if (offset < hold.next) this.#note('redelivered', `${where}, when it had come to ${hold.next}`)
      const skipped = firstFrom(this.#known.get(partition) ?? [], hold.next)
      if (skipped !== undefined && skipped < offset) this.#note('group-skip', `${where}, and not ${skipped}`)
      hold.next = offset + 1
    }
  }

  #onCommitted({ process, generation, offsets }: OffsetsCommitted): void {
    this.#onGeneration(process, generation)
    for (const [partition, offset] of offsets) {
      const key = `${partition} ${generation}`
      const before = this.#committedIn.get(key) ?? 0
      const where = `${process} committed ${partition}/${offset} in generation ${generation}`
      if (offset < before) this.#note('commit-back', `${where}, after ${before}`)
      this.#committedIn.set(key, offset)
      this.#judgeAhead(partition, offset, where)
      const { offset: highest = 0 } = this.#committed.get(partition) ?? {}
      if (offset >= highest) this.#committed.set(partition, { offset, process })
    }
  }

  #onSeen(event: GroupSeen): void {
    this.#seen.push(event)
    if (event.isStable) this.#onGeneration(event.process, event.generation)
    for (const [partition, offset] of event.offsets) {
      this.#judgeAhead(partition, offset, `${partition}/${offset} is committed`)
      if (event.isEnd !== true) continue
      const left = firstFrom(this.#known.get(partition) ?? [], offset)
      const text = `${partition}/${offset} is committed in the end, and ${left} was handled`
      if (left !== undefined) this.#note('commit-behind', text)
    }
  }

  #judgeAhead(partition: number, offset: number, where: string): void {
    const open = this.#firstOpen(partition)
    if (open < offset) this.#note('commit-ahead', `${where}, and nobody has handled ${open}`)
  }

  /** The first known offset that nobody has handled yet. */
  #firstOpen(partition: number): number {
    const known = this.#known.get(partition) ?? []
    const handled = this.#handled.get(partition)
    let index = this.#done.get(partition) ?? 0
    for (let next = known[index]; next !== undefined && handled?.has(next) === true; next = known[index]) index += 1
    this.#done.set(partition, index)
    return known[index] ?? Infinity
  }

  /** Whoever gives a partition up has had it alone up to then. */
  #judgeOverlaps(): void {
    for (const [partition, holds] of this.#holds) {
      for (const [index, hold] of holds.entries()) {
        if (hold.how !== 'given-up') continue
        const early = holds.slice(index + 1).find(({ since, process }) => since < hold.end && process !== hold.process)
        if (early === undefined) continue
        const text = `partition ${partition} came to ${early.process} before ${hold.process} had given it up`
        this.#note('two-owners', text)
      }
    }
  }

  /** What was seen belongs to a generation if the next look was into the same one. */
  #judgeSeen(): void {
    const last = new Map<string, number>()
    for (const [index, { generation, offsets }] of this.#seen.entries()) {
      if (this.#seen[index + 1]?.generation !== generation) continue
      for (const [partition, offset] of offsets) {
        const key = `${partition} ${generation}`
        const before = last.get(key) ?? 0
        const text = `${partition}/${offset} was seen as committed in generation ${generation}, after ${before}`
        if (offset < before) this.#note('commit-back', text)
        last.set(key, offset)
      }
    }
  }
}

/** Where records stand, as far as anybody has seen them or was told so for good. */
function knownOffsets(events: readonly HistoryEvent[]): Map<number, readonly number[]> {
  const known = new Map<number, Set<number>>()
  const add = (partition: number, offset: number): void => {
    const offsets = known.get(partition)
    if (offsets === undefined) known.set(partition, new Set([offset]))
    else offsets.add(offset)
  }
  const partitions = new Map<string, number>()
  for (const event of events) {
    if (event.op === 'send') {
      const op = `${event.process}/${event.id}`
      if (event.phase === 'invoke' && event.acks === -1) partitions.set(op, event.partition)
      if (event.phase !== 'ok') continue
      const partition = partitions.get(op)
      for (const offset of event.offsets ?? []) if (partition !== undefined && offset >= 0) add(partition, offset)
    } else if (event.op === 'poll' || event.op === 'handle') {
      for (const [partition, offset] of event.records) add(partition, offset)
    }
  }
  const sorted = [...known].map(([partition, offsets]) => {
    return [partition, Float64Array.from(offsets).sort()] as const
  })
  return new Map(sorted.map(([partition, offsets]) => [partition, [...offsets]]))
}

/** How often another broker came to coordinate the group. */
export function coordinatorChanges(events: readonly HistoryEvent[], group: string): number {
  const coordinators = new Map<number, number>()
  for (const event of events) {
    if (event.op === 'coordinates' && event.group === group) coordinators.set(event.epoch, event.broker)
  }
  return changesOf(coordinators)
}

/** Of brokers by their epochs. */
function changesOf(coordinators: ReadonlyMap<number, number>): number {
  const brokers = [...coordinators].toSorted(([a], [b]) => a - b).map(([, broker]) => broker)
  return brokers.filter((broker, index) => index > 0 && brokers[index - 1] !== broker).length
}

/** Whether everything that is known to stand in the topic has been handled by the group. */
export function isAllHandled(group: string, events: readonly HistoryEvent[]): boolean {
  const handled = new Map<number, Set<number>>()
  for (const event of events) {
    if (event.op !== 'handle' || event.group !== group) continue
    for (const [partition, offset] of event.records) {
      const offsets = handled.get(partition)
      if (offsets === undefined) handled.set(partition, new Set([offset]))
      else offsets.add(offset)
    }
  }
  for (const [partition, known] of knownOffsets(events)) {
    if (known.some((offset) => handled.get(partition)?.has(offset) !== true)) return false
  }
  return true
}

/** Answers anomalies, and what each group came to; nothing where there were no groups. */
export function checkGroups(events: readonly HistoryEvent[]): {
  readonly anomalies: readonly Anomaly[]
  readonly groups: Readonly<Record<string, GroupVerdict>>
} {
  const checkers = new Map<string, GroupChecker>()
  const known = knownOffsets(events)
  // Members' words come some time after they were said.
  for (const event of events.toSorted((a, b) => a.at - b.at)) {
    if (!('group' in event)) continue
    const checker = checkers.get(event.group) ?? new GroupChecker(event.group, known)
    checkers.set(event.group, checker)
    checker.on(event)
  }
  for (const checker of checkers.values()) checker.judgeEnd()
  return {
    anomalies: [...checkers.values()].flatMap(({ anomalies }) => anomalies),
    groups: Object.fromEntries([...checkers].map(([group, { verdict }]) => [group, verdict])),
  }
}
