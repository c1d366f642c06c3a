// Which led partitions to give back because nobody follows them: their leader holds its session, so that nobody else would
// try, and can acknowledge nothing, since the other replicas do not reach it. Owns since when each is alone; what it sees is
// given to it. Synchronous.
//
// Safety is not concerned: who is given a partition back still needs a quorum of promises. What is given back without need
// costs an election.

import type { BrokerId, LeaderEpoch } from '../../shared/ids.ts'

/** A partition that this broker leads. */
export interface LedAlone {
  readonly epoch: LeaderEpoch
  /** Whose replicas count, this broker's included. */
  readonly voters: readonly BrokerId[]
  /** Whether so many of them fetch as could elect another leader. */
  readonly isFollowed: boolean
  /** How many of the others must be there to elect one. */
  readonly quorum: number
}

interface Row {
  readonly epoch: LeaderEpoch
  readonly since: number
}

/**
 * Besides the time that it takes to see that nobody fetches: together longer than a session lasts by default, so that
 * followers that are gone or hang are seen to be no members. Then what can be read is better than nobody.
 */
const ALONE_MS = 4_000

export class IsolatedLeaders<Key> {
  readonly #self: BrokerId
  #rows = new Map<Key, Row>()

  constructor(self: BrokerId) {
    this.#self = self
  }

  /**
   * Looks at all that are led; answers those that are to be given back now. `isMember` says which brokers the coordinator
   * sees: only where these are enough for an election is anything won by it. Followers that are busy with one partition fetch
   * another: then they are not out of reach.
   */
  take(led: Iterable<readonly [Key, LedAlone]>, isMember: (id: BrokerId) => boolean, now: number): readonly Key[] {
    const all = [...led]
    const reached = new Set(all.filter(([, { isFollowed }]) => isFollowed).map(([, { voters }]) => nameOf(voters)))
    const rows = new Map<Key, Row>()
    const taken: Key[] = []
    for (const [key, { epoch, voters, isFollowed, quorum }] of all) {
      const others = voters.filter((id) => id !== this.#self && isMember(id))
      if (isFollowed || reached.has(nameOf(voters)) || others.length < quorum) continue
      const before = this.#rows.get(key)
      const row = before?.epoch === epoch ? before : { epoch, since: now }
      rows.set(key, row)
      if (now - row.since >= ALONE_MS) taken.push(key)
    }
    // What is given back stays here: if it comes to nothing, it is told again, which changes nothing.
    this.#rows = rows
    return taken
  }
}

function nameOf(voters: readonly BrokerId[]): string {
  return voters.toSorted((a, b) => a - b).join(' ')
}
