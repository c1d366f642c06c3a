// How far one group has worked off the partitions of topics: what is committed, and what is on its way to be. Owns which
// offsets have expired (KIP-211). Pure; knows no log.
//
// Invariants: what is told as committed is in the log as safely as acks=all says; a partition whose commit is on its way
// never expires.

import type { GroupPhase } from './group-events.ts'

export interface CommittedOffset {
  /** The offset to go on from. */
  readonly offset: number
  readonly leaderEpoch: number | undefined
  readonly metadata: string
  /** Milliseconds since 1970. */
  readonly committedAt: number
  /** As old clients could ask for it; milliseconds since 1970. */
  readonly expiresAt: number | undefined
}

export interface OffsetKey {
  readonly topic: string
  readonly partition: number
}

/** What the expiry of offsets depends on besides their age. */
export interface GroupForExpiry {
  readonly phase: GroupPhase
  readonly protocolType: string | undefined
  /** Milliseconds since 1970 at which it came into its phase. */
  readonly stateSince: number
  /** Undefined where nobody can say. */
  readonly subscribed: ReadonlySet<string> | undefined
}

export class GroupOffsets {
  readonly #topics = new Map<string, Map<number, CommittedOffset>>()
  /** Commits and deletions on their way, by topic and partition. */
  readonly #pending = new Map<string, Map<number, number>>()
  #count = 0

  /** Committed offsets. */
  get count(): number {
    return this.#count
  }

  get isEmpty(): boolean {
    return this.#count === 0 && this.#pending.size === 0
  }

  get(topic: string, partition: number): CommittedOffset | undefined {
    return this.#topics.get(topic)?.get(partition)
  }

  *topics(): IterableIterator<readonly [topic: string, partitions: ReadonlyMap<number, CommittedOffset>]> {
    yield* this.#topics
  }

  /** All partitions that something is committed of, or may be soon. */
  keys(): OffsetKey[] {
    const keys: OffsetKey[] = []
    for (const [topic, partitions] of this.#topics) {
      for (const partition of partitions.keys()) keys.push({ topic, partition })
    }
    for (const [topic, partitions] of this.#pending) {
      for (const partition of partitions.keys()) {
        if (this.get(topic, partition) === undefined) keys.push({ topic, partition })
      }
    }
    return keys
  }

  /** A commit or a deletion is on its way; `settle` is told of each once. */
  begin({ topic, partition }: OffsetKey): void {
    const partitions = this.#pending.get(topic) ?? new Map<number, number>()
    this.#pending.set(topic, partitions)
    partitions.set(partition, (partitions.get(partition) ?? 0) + 1)
  }

  /** In the order of the log. `isDone`: it is in the log; if not, what was committed before stands. */
  settle(key: OffsetKey, committed: CommittedOffset | undefined, isDone: boolean): void {
    const { topic, partition } = key
    const partitions = this.#pending.get(topic)
    const left = (partitions?.get(partition) ?? 0) - 1
    if (left > 0) partitions?.set(partition, left)
    else partitions?.delete(partition)
    if (partitions?.size === 0) this.#pending.delete(topic)
    if (isDone) this.put(key, committed)
  }

  /** As it stands in the log; undefined: deleted. */
  put({ topic, partition }: OffsetKey, committed: CommittedOffset | undefined): void {
    const partitions = this.#topics.get(topic)
    const before = partitions?.has(partition) === true ? 1 : 0
    if (committed === undefined) {
      partitions?.delete(partition)
      if (partitions?.size === 0) this.#topics.delete(topic)
      this.#count -= before
      return
    }
    if (partitions === undefined) this.#topics.set(topic, new Map([[partition, committed]]))
    else partitions.set(partition, committed)
    this.#count += 1 - before
  }

  /** What is too old to be kept. */
  expired(now: number, retentionMs: number, group: GroupForExpiry): OffsetKey[] {
    const keys: OffsetKey[] = []
    for (const [topic, partitions] of this.#topics) {
      const since = agesFrom(group, topic)
      if (since === undefined) continue
      for (const [partition, committed] of partitions) {
        if ((this.#pending.get(topic)?.get(partition) ?? 0) > 0) continue
        const from = since === 'commit' ? committed.committedAt : Math.max(since, committed.committedAt)
        if (now >= (committed.expiresAt ?? from + retentionMs)) keys.push({ topic, partition })
      }
    }
    return keys
  }
}

/** From when on an offset of the topic ages: from its commit, or from a time; undefined: it does not. */
function agesFrom({ phase, protocolType, stateSince, subscribed }: GroupForExpiry, topic: string) {
  // Nobody's members: whoever commits does so by itself.
  if (protocolType === undefined) return 'commit'
  if (phase === 'Empty') return stateSince
  if (phase !== 'Stable' || protocolType !== 'consumer' || subscribed === undefined) return undefined
  return subscribed.has(topic) ? undefined : 'commit'
}
