// What is wrong with a history. Pure. What members of groups did is judged by group-checker.ts.
//
// Only what was written with acks all, by producers whose retries can neither repeat nor reorder, is held to everything;
// records of other producers must still stay where a consumer has once seen them.

import { type Anomaly, type AnomalyName, firstFrom } from './anomaly.ts'
import { checkGroups, type GroupVerdict } from './group-checker.ts'
import type { Acks, HistoryEvent, PolledRecord, SendDone, SendInvoked } from './history.ts'

export interface Verdict {
  readonly anomalies: readonly Anomaly[]
  /** Records with acks all, from producers that are judged. */
  readonly acknowledged: number
  readonly failed: number
  readonly unknown: number
  /** Records that consumers were given, each time counted. */
  readonly polled: number
  /** How often a partition was led by another broker than before. */
  readonly leaderChanges: number
  /** The longest time in which nothing was acknowledged in a partition that was written to all the time, milliseconds. */
  readonly longestGapMs: number
  /** By name; undefined where there were none. */
  readonly groups: Readonly<Record<string, GroupVerdict>>
  /** Of other producers, for information: acknowledged and never read, and read twice. */
  readonly relaxed: { readonly acknowledged: number; readonly lost: number; readonly repeated: number }
}

/** A value that somebody sent. */
interface Sent {
  readonly process: string
  readonly id: number
  readonly index: number
  readonly acks: Acks
  readonly partition: number
  readonly value: string
  phase: 'invoke' | SendDone['phase']
  /** As it was told when it was acknowledged; undefined if it was not. */
  offset: number | undefined
  /** Where it was read. */
  readonly readAt: Set<number>
}

class Checker {
  readonly anomalies: Anomaly[] = []
  readonly #sent = new Map<string, Sent>()
  readonly #ops = new Map<string, Sent[]>()
  /** What stands where, as far as it was read or acknowledged; by partition. */
  readonly #known = new Map<number, Map<number, string>>()
  readonly #lastRead = new Map<number, number>()
  polled = 0

  note(name: AnomalyName, what: string): void {
    this.anomalies.push({ name, what })
  }

  get sent(): Iterable<Sent> {
    return this.#sent.values()
  }

  onInvoked(event: SendInvoked): void {
    const { process, id, acks, partition } = event
    const op = event.values.map((value, index): Sent => {
      const one: Sent = {
        process,
        id,
        index,
        acks,
        partition,
        value,
        phase: 'invoke',
        offset: undefined,
        readAt: new Set(),
      }
      this.#sent.set(value, one)
      return one
    })
    this.#ops.set(`${process}/${id}`, op)
  }

  onDone({ process, id, phase, offsets }: SendDone): void {
    for (const [index, one] of (this.#ops.get(`${process}/${id}`) ?? []).entries()) {
      one.phase = phase
      const offset = offsets?.[index] ?? -1
      if (phase !== 'ok') continue
      one.offset = offset
      // What one broker alone has acknowledged may give way to something else.
      if (isJudged(one) && offset >= 0) this.#stands(one.partition, offset, one.value, 'acknowledged')
    }
  }

  onPolled(records: readonly PolledRecord[]): void {
    this.polled += records.length
    for (const [partition, offset, value] of records) {
      this.#stands(partition, offset, value, 'read')
      this.#lastRead.set(partition, Math.max(this.#lastRead.get(partition) ?? -1, offset))
      const one = this.#sent.get(value)
      const where = `${value} at ${partition}/${offset}`
      if (one === undefined) {
        this.note('phantom', `${where}, which nobody sent`)
        continue
      }
      if (one.readAt.has(offset)) continue
      one.readAt.add(offset)
      if (one.partition !== partition) this.note('phantom', `${where}, but it was sent to partition ${one.partition}`)
    }
  }

  /** What groups are given stands there, too; but it is not what is held against the writers. */
  onHandled(records: readonly PolledRecord[]): void {
    for (const [partition, offset, value] of records) this.#stands(partition, offset, value, 'handled')
  }

  #stands(partition: number, offset: number, value: string, how: string): void {
    let known = this.#known.get(partition)
    if (known === undefined) this.#known.set(partition, (known = new Map<number, string>()))
    const before = known.get(offset)
    if (before === undefined) known.set(offset, value)
    else if (before !== value)
      this.note('inconsistent-offsets', `${partition}/${offset} is ${before}, and ${value} was ${how} there`)
  }

  judgeSent(): void {
    for (const one of this.#sent.values()) {
      const { value, partition, offset, readAt } = one
      if (one.phase === 'fail' && readAt.size > 0)
        this.note('G1a', `${value} was refused, and read at ${partition}/${[...readAt].join(' and ')}`)
      if (!isJudged(one)) continue
      const places = new Set(readAt)
      if (offset !== undefined && offset >= 0) places.add(offset)
      if (places.size > 1) this.note('duplicate', `${value} stands at ${partition}/${[...places].join(' and ')}`)
      if (one.phase !== 'ok' || readAt.size > 0) continue
      const isPassed = (this.#lastRead.get(partition) ?? -1) > (offset ?? -1)
      const text = `${value}, acknowledged at ${partition}/${offset ?? -1}, was never read`
      this.note(isPassed ? 'lost-write' : 'unseen', text)
    }
  }

  /** In the order in which they were sent, what a process sent to a partition must stand there. */
  judgeOrderOfSends(): void {
    const last = new Map<string, { one: Sent; offset: number }>()
    for (const one of this.#sent.values()) {
      if (!isJudged(one)) continue
      const [offset] = one.offset !== undefined && one.offset >= 0 ? [one.offset] : one.readAt
      if (offset === undefined) continue
      const lane = `${one.process}/${one.partition}`
      const before = last.get(lane)
      if (before !== undefined && before.offset >= offset) {
        const name = before.one.id === one.id ? 'int-nonmonotonic-send' : 'nonmonotonic-send'
        const text = `${one.value} at ${one.partition}/${offset}, behind ${before.one.value} at ${before.offset}`
        this.note(name, text)
      } else {
        last.set(lane, { one, offset })
      }
    }
  }

  /** Every consumer, from where it began: no step back, and nothing left out that is known to be there. */
  judgePolls(events: readonly HistoryEvent[]): void {
    const offsets = new Map<number, readonly number[]>()
    for (const [partition, known] of this.#known) {
      offsets.set(
        partition,
        [...known.keys()].sort((a, b) => a - b),
      )
    }
    /** The next offset of each consumer in each partition. */
    const next = new Map<string, Map<number, number>>()
    for (const event of events) {
      if (event.op === 'assign') {
        next.set(event.process, new Map(Object.entries(event.from).map(([one, from]) => [Number(one), from])))
      }
      if (event.op !== 'poll') continue
      const positions = next.get(event.process) ?? new Map<number, number>()
      next.set(event.process, positions)
      const touched = new Set<number>()
      for (const [partition, offset, value] of event.records) {
        const expected = positions.get(partition)
        const prefix = touched.has(partition) ? 'int-' : ''
        touched.add(partition)
        positions.set(partition, offset + 1)
        if (expected === undefined) continue
        const where = `${event.process} was given ${value} at ${partition}/${offset}`
        if (offset < expected) this.note(`${prefix}nonmonotonic-poll`, `${where} when it had read up to ${expected}`)
        const skipped = firstFrom(offsets.get(partition) ?? [], expected)
        if (skipped !== undefined && skipped < offset) {
          const what = this.#known.get(partition)?.get(skipped)
          this.note(`${prefix}poll-skip`, `${where}, and not ${what} at ${skipped}`)
        }
      }
    }
  }
}

/** Of a producer with acks all; those of this workload are idempotent. */
function isJudged({ acks }: { readonly acks: Acks }): boolean {
  return acks === -1
}

export function check(events: readonly HistoryEvent[]): Verdict {
  const checker = new Checker()
  const ends = new Map<string, number>()
  const sums = new Map<number, { broker: number; text: string }>()
  for (const event of events) {
    switch (event.op) {
      case 'send':
        if (event.phase === 'invoke') checker.onInvoked(event)
        else checker.onDone(event)
        break
      case 'poll':
        checker.onPolled(event.records)
        break
      case 'poll-failed':
        checker.note('unreadable', `${event.process}: ${event.error}`)
        break
      case 'ends':
        for (const [partition, end] of event.ends) {
          const lane = `${event.process}/${partition}`
          const before = ends.get(lane) ?? 0
          const text = `${event.process} was told that partition ${partition} ends at ${end}, after ${before}`
          if (end < before) checker.note('nonmonotonic-end', text)
          ends.set(lane, Math.max(end, before))
        }
        break
      case 'holds': {
        const text = `${event.bytes} bytes, ${event.sum}`
        const other = sums.get(event.partition)
        if (other === undefined) sums.set(event.partition, { broker: event.broker, text })
        else if (other.text !== text) {
          const both = `broker ${other.broker} has ${other.text}, broker ${event.broker} has ${text}`
          checker.note('replicas-differ', `partition ${event.partition}: ${both}`)
        }
        break
      }
      case 'trouble':
        checker.note(event.kind, event.what)
        break
      case 'handle':
        checker.onHandled(event.records)
        break
      default:
    }
  }
  judgeLeaders(events, checker)
  checker.judgeSent()
  checker.judgeOrderOfSends()
  checker.judgePolls(events)
  const { anomalies, groups } = checkGroups(events)
  return {
    anomalies: [...checker.anomalies, ...anomalies],
    groups,
    leaderChanges: leaderChanges(events),
    longestGapMs: longestGapMs(events),
    ...counts(checker),
  }
}

function judgeLeaders(events: readonly HistoryEvent[], checker: Checker): void {
  const leaders = new Map<string, number>()
  for (const event of events) {
    if (event.op !== 'leads') continue
    const { partition, epoch, broker } = event
    const other = leaders.get(`${partition} ${epoch}`)
    const text = `brokers ${other} and ${broker} led partition ${partition} in epoch ${epoch}`
    if (other !== undefined && other !== broker) checker.note('two-leaders', text)
    leaders.set(`${partition} ${epoch}`, broker)
  }
}

/** How often another broker led than in the epoch before. */
export function leaderChanges(events: readonly HistoryEvent[]): number {
  const leads = events.filter((event) => event.op === 'leads')
  leads.sort((a, b) => a.partition - b.partition || a.epoch - b.epoch)
  const changes = leads.filter(({ partition, broker }, index) => {
    const before = leads[index - 1]
    return before?.partition === partition && before.broker !== broker
  })
  return changes.length
}

function longestGapMs(events: readonly HistoryEvent[]): number {
  const partitions = new Map<string, number>()
  const before = new Map<number, number>()
  let longest = 0
  for (const event of events) {
    if (event.op !== 'send') continue
    const op = `${event.process}/${event.id}`
    if (event.phase === 'invoke') {
      if (isJudged(event)) partitions.set(op, event.partition)
      continue
    }
    const partition = partitions.get(op)
    if (partition === undefined || event.phase !== 'ok') continue
    longest = Math.max(longest, event.at - (before.get(partition) ?? event.at))
    before.set(partition, event.at)
  }
  return longest
}

function counts(checker: Checker): Omit<Verdict, 'anomalies' | 'groups' | 'leaderChanges' | 'longestGapMs'> {
  let [acknowledged, failed, unknown] = [0, 0, 0]
  const relaxed = { acknowledged: 0, lost: 0, repeated: 0 }
  for (const one of checker.sent) {
    if (isJudged(one)) {
      if (one.phase === 'ok') acknowledged += 1
      else if (one.phase === 'fail') failed += 1
      else unknown += 1
      continue
    }
    if (one.phase === 'ok') relaxed.acknowledged += 1
    if (one.phase === 'ok' && one.readAt.size === 0) relaxed.lost += 1
    if (one.readAt.size > 1) relaxed.repeated += 1
  }
  return { acknowledged, failed, unknown, polled: checker.polled, relaxed }
}
