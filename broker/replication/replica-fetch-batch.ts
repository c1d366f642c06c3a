// Which of the partitions that are to be fetched now go into one request. Owns the sizes; knows nothing of replicas. Pure.
//
// A request is answered as soon as one of its partitions has records, and then all of them have to be asked for again. So
// those that had records just now go together: they will have some again, in the same answers. The quiet ones wait in small
// groups of their own: whatever stirs one of ten thousand moves a few dozen, and none of them rides along with every answer
// to a busy one. Those that are far behind go apart from both: they are read from the leader's disk, and nobody who keeps
// up should wait for that.

import { PEER_PARTITIONS_MAX } from '../../shared/protocol/peers.ts'
import { assert } from '../../shared/assert.ts'

/** What a batch is made of: how a partition has been lately. */
export interface Fetchable {
  readonly pace: 'quiet' | 'busy' | 'far'
  /** Bytes that its next answer may have. */
  readonly wantedBytes: number
}

export interface FetchBatch<Member> {
  readonly members: readonly Member[]
  readonly maxBytes: number
}

/**
 * What a quiet partition wakes up with, and what a busy one may ask for at least. A request that waits takes this much of
 * what the leader lets one connection expect, so that those that bring megabytes find room.
 */
export const ANSWER_BYTES_MIN = 64 * 1024
/** Taking in a megabyte keeps the broker from everything else for a few milliseconds; more would be felt by clients. */
export const ANSWER_BYTES_MAX = 1024 * 1024

const BUSY_MAX = 512
const FAR_MAX = 32
/** Quiet partitions in a request; more if there would otherwise be more than QUIET_REQUESTS_MAX such requests. */
const QUIET_MIN = 32
const QUIET_REQUESTS_MAX = 32

assert(BUSY_MAX <= PEER_PARTITIONS_MAX, 'what goes together fits a request')

/** Of a leader, `followed` partitions in all. */
export function planFetches<Member extends Fetchable>(
  ready: readonly Member[],
  followed: number,
): FetchBatch<Member>[] {
  const quietMax = Math.min(PEER_PARTITIONS_MAX, Math.max(QUIET_MIN, Math.ceil(followed / QUIET_REQUESTS_MAX)))
  return [
    ...inBatches(ready, 'busy', BUSY_MAX),
    ...inBatches(ready, 'quiet', quietMax),
    ...inBatches(ready, 'far', FAR_MAX),
  ]
}

/** What to ask for after an answer of so many bytes: four times as much, so that few answers lead to the full size. */
export function nextWantedBytes(bytes: number): number {
  return Math.min(ANSWER_BYTES_MAX, Math.max(ANSWER_BYTES_MIN, 4 * bytes))
}

function inBatches<Member extends Fetchable>(
  ready: readonly Member[],
  pace: Fetchable['pace'],
  countMax: number,
): FetchBatch<Member>[] {
  const batches: FetchBatch<Member>[] = []
  let members: Member[] = []
  let maxBytes = 0
  for (const member of ready) {
    if (member.pace !== pace) continue
    members.push(member)
    maxBytes = pace === 'quiet' ? ANSWER_BYTES_MIN : Math.min(ANSWER_BYTES_MAX, maxBytes + member.wantedBytes)
    if (members.length < countMax) continue
    batches.push({ members, maxBytes })
    members = []
    maxBytes = 0
  }
  if (members.length > 0) batches.push({ members, maxBytes })
  return batches
}
