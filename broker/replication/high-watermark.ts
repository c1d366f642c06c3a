// How far a record is kept by enough replicas. Owns the rule; knows nothing of who reports what. Pure.
//
// Invariant: the high watermark never falls, and it does not move in an epoch before that epoch's first record is kept by
// enough replicas: until then a replica that counts here could still lose against one of an epoch between.

import type { Offset } from '../../shared/ids.ts'
import { assert } from '../../shared/assert.ts'
import { offset } from '../../shared/ids.ts'

/** What is known of the voters of one set. */
export interface HeldBySet {
  /** How far each voter is known to hold the leader's log, the leader included; one that has not reported counts as 0. */
  readonly heldEndOffsets: readonly Offset[]
  readonly minInSyncReplicas: number
}

export interface HighWatermarkFacts {
  readonly highWatermark: Offset
  /** Where the epoch-start record of this leadership stands. */
  readonly epochStartOffset: Offset
  /** Two while the voters change: what is shown is held by enough of both. */
  readonly sets: readonly HeldBySet[]
}

export function nextHighWatermark(facts: HighWatermarkFacts): Offset {
  const { highWatermark, epochStartOffset } = facts
  const held = heldByAll(facts.sets)
  if (held <= epochStartOffset) return highWatermark
  return held > highWatermark ? held : highWatermark
}

/** What enough voters of each set hold. */
export function heldByAll(sets: readonly HeldBySet[]): Offset {
  assert(sets.length > 0, 'some set of voters is in force')
  let lowest: number = Number.MAX_SAFE_INTEGER
  for (const { heldEndOffsets, minInSyncReplicas } of sets) {
    lowest = Math.min(lowest, quorumEndOffset(heldEndOffsets, minInSyncReplicas))
  }
  return offset(lowest)
}

/** The count-th highest of the offsets. There are few of them, so that counting is cheaper than sorting a copy. */
export function quorumEndOffset(endOffsets: readonly Offset[], count: number): Offset {
  assert(count >= 1, 'a quorum is at least one')
  assert(count <= endOffsets.length, 'a quorum is at most all')
  let best = 0
  for (const endOffset of endOffsets) {
    if (endOffset <= best) continue
    let holders = 0
    for (const other of endOffsets) if (other >= endOffset) holders += 1
    if (holders >= count) best = endOffset
  }
  return offset(best)
}
