// Whether the Redis that answers is the one this broker knows, or one that was restarted, failed over, rolled back or
// emptied. Owns the rule; pure. A history is what a Redis has gone through without a doubt: whoever doubts begins a new
// one, and all brokers then tell Redis again what they know.
//
// Redis says by itself which process and which data it serves (its life). Redis keeps, among the brokers' records, in
// which life the history began. Both come from one script, so they belong together.

/** What every reading begins with. */
export interface RedisHead {
  /** Of the process and the data it serves at the moment. */
  readonly life: string
  readonly role: string
  /** The life in which its history began; '' if there is none. */
  readonly historyLife: string
  /** '' if there is none: Redis is new or has been emptied. */
  readonly history: string
  /** Of the last change in this history. */
  readonly version: number
  readonly isRepublishing: boolean
  /** '' if there is none yet. */
  readonly clusterId: string
  /** Of the cluster without topics that has given way to this one; '' if there was none. */
  readonly formerClusterId: string
  /** undefined if they were not counted this time. */
  readonly counts: RedisCounts | undefined
}

export interface RedisCounts {
  readonly topics: number
  readonly names: number
  readonly leaderships: number
  readonly brokers: number
  /** How many topics, leaderships and brokers there must be: each stands in the order of changes once. */
  readonly indexed: number
}

/** What this broker has last seen and taken in. */
export interface KnownState {
  /** undefined before anything was read. */
  readonly history: string | undefined
  readonly version: number
  /** As they were at that version; undefined if that has not been seen. */
  readonly counts: RedisCounts | undefined
}

export type Verdict =
  /** What is new can be taken in. */
  | { readonly kind: 'trusted' }
  /** Somebody has begun another history, or this is the first reading: read everything, and tell what is missing. */
  | { readonly kind: 'other-history' }
  /** A new history must begin. */
  | { readonly kind: 'doubtful'; readonly reason: string }

export function judge(head: RedisHead, known: KnownState): Verdict {
  if (head.history === '') return doubtful('it holds nothing of this cluster')
  if (head.life !== head.historyLife) return doubtful('it was restarted, failed over or restored')
  if (head.history !== known.history) return { kind: 'other-history' }
  const { counts } = head
  if (counts !== undefined && counts.topics !== counts.names) return doubtful('a part of its topics is missing')
  if (counts !== undefined && counts.topics + counts.leaderships + counts.brokers !== counts.indexed) {
    return doubtful('a part of its records is missing')
  }
  if (head.version < known.version) return doubtful('it was rolled back')
  const isSame = head.version === known.version && known.counts !== undefined
  if (isSame && counts !== undefined && !areEqual(counts, known.counts))
    return doubtful('a part of its records is missing')
  return { kind: 'trusted' }
}

function doubtful(reason: string): Verdict {
  return { kind: 'doubtful', reason }
}

function areEqual(a: RedisCounts, b: RedisCounts): boolean {
  return a.topics === b.topics && a.names === b.names && a.leaderships === b.leaderships && a.brokers === b.brokers
}
