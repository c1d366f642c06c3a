// Why nothing comes, in a word for programs and a sentence for people, for each partition and for the membership. Pure: it
// is told what is so.

import { assertNever } from '../shared/assert.ts'
import type { ConsumerPartition } from './consumer-partition.ts'
import type { MembershipState } from './membership-state.ts'

export type WhyState =
  /** Records are handed out as they come. */
  | 'flowing'
  /** There is nothing to be had. */
  | 'caught-up'
  | 'paused'
  /** The handlers have not come back. */
  | 'handling'
  /** A handler has failed and is tried again later, or a dead letter could not be written. */
  | 'retrying'
  /** Nobody takes records: there is no run and no stream. */
  | 'unattended'
  | 'no-leader'
  | 'fetch-error'
  /** It is being found out where it begins. */
  | 'starting'
  /** It is to be given up. */
  | 'revoking'
  /** The membership: the group is sharing out, or this member is on its way in. */
  | 'rebalancing'
  /** The membership: the member is not in the group. */
  | 'out'
  /** The membership: the member is in, and has nothing. */
  | 'idle'
  | 'failed'

export interface Why {
  /** Absent: of the membership. */
  readonly topic: string | undefined
  readonly partition: number | undefined
  readonly state: WhyState
  /** One sentence. */
  readonly reason: string
  /** For how long it has been so, milliseconds; undefined when it does not matter. */
  readonly sinceMs: number | undefined
  /** The next offset to be done; undefined while it is not known. */
  readonly position: number | undefined
  /** What the group has committed, as far as this member knows. */
  readonly committed: number | undefined
  /** Records up to the end that were not handed out, as last heard. */
  readonly lag: number | undefined
}

export interface WhyFacts {
  /** By the monotonic clock. */
  readonly now: number
  readonly isAttended: boolean
  readonly leaderOf: (topic: string, partition: number) => number | undefined
}

export function whyPartition<K, V>(of: ConsumerPartition<K, V>, facts: WhyFacts): Why {
  const { topic, partition } = of
  const [state, reason, since] = reasonOf(of, facts)
  const sinceMs = since === undefined ? undefined : Math.max(0, Math.round(facts.now - since))
  const position = of.cursor === undefined ? undefined : of.tracker.position
  return { topic, partition, state, reason, sinceMs, position, committed: of.committed, lag: of.lag }
}

type Reason = readonly [state: WhyState, text: string, since?: number | undefined]

function reasonOf<K, V>(of: ConsumerPartition<K, V>, { now, isAttended, leaderOf }: WhyFacts): Reason {
  const { cursor, retrying } = of
  if (retrying !== undefined) {
    const { what, tries, at, error, offset } = retrying
    const next = `${what} has failed ${tries} times at offset ${offset}; next try ${inMs(at - now)}: ${error.message}`
    return ['retrying', next]
  }
  const oldest = oldestOf(of)
  if (of.isStale) {
    const wait = oldest === undefined ? 'for handlers of revoked' : `for the handler of offset ${oldest.offset}`
    const what = of.isLost ? 'it was lost' : 'it is to be given up'
    return ['revoking', `${what}, and waits ${wait}`, oldest?.since]
  }
  if (cursor === undefined) {
    const failure = of.startFailure === undefined ? '' : `: ${of.startFailure.message}`
    return ['starting', `it is being found out where it begins${failure}`, of.since]
  }
  if (oldest !== undefined && now - oldest.since >= 1) {
    const text = `waiting for the handler of offset ${oldest.offset} for ${span(now - oldest.since)}`
    return ['handling', text, oldest.since]
  }
  if (of.isPaused) return ['paused', 'it was paused by the application']
  if (of.hasWork) {
    return isAttended
      ? ['flowing', 'records are there, and wait for their turn']
      : ['unattended', 'records are there, and nobody takes them: neither run nor stream is active']
  }
  const leader = leaderOf(of.topic, of.partition)
  if (leader === undefined) return ['no-leader', `it has no leader${errorText(cursor)}`, cursor.answeredAt]
  if (cursor.failures > 0) {
    const next = `fetching from broker ${leader} fails; next try ${inMs(cursor.notBefore - now)}`
    return ['fetch-error', `${next}${errorText(cursor)}`, cursor.answeredAt]
  }
  const lag = of.lag ?? 0
  if (lag > 0) return ['flowing', `${lag} records are being fetched from broker ${leader}`]
  return ['caught-up', 'there is nothing more to be had']
}

/** Of the membership, when it holds something up or there is nothing else to be said; else undefined. */
export function whyMember(state: MembershipState, partitionCount: number, now: number): Why | undefined {
  const { phase, phaseSince, lastFailure, waitsFor } = state
  const failure = lastFailure === undefined ? '' : `; the last failure was: ${lastFailure.message}`
  const nothing = { topic: undefined, partition: undefined, position: undefined, committed: undefined, lag: undefined }
  const sinceMs = Math.round(now - phaseSince)
  switch (phase) {
    case 'out':
      return { ...nothing, state: 'out', sinceMs, reason: `the member is not in the group${outText(state)}${failure}` }
    case 'failed':
      return { ...nothing, state: 'failed', sinceMs, reason: `the member can do no more${failure}` }
    case 'joining':
    case 'syncing': {
      const reason = `rebalancing for ${span(now - phaseSince)}: it waits for ${waitsFor ?? 'the group'}${failure}`
      return { ...nothing, state: 'rebalancing', sinceMs, reason }
    }
    case 'stable': {
      if (waitsFor !== undefined) {
        return { ...nothing, state: 'rebalancing', sinceMs, reason: `it waits for ${waitsFor}${failure}` }
      }
      if (partitionCount > 0) return undefined
      const reason = 'the member has no partitions: there are no more than other members have, or no such topics'
      return { ...nothing, state: 'idle', sinceMs, reason }
    }
    default:
      return assertNever(phase)
  }
}

function oldestOf<K, V>({ running }: ConsumerPartition<K, V>): { offset: number; since: number } | undefined {
  let oldest: { offset: number; since: number } | undefined
  for (const one of running) {
    if (one.since !== Infinity && (oldest === undefined || one.since < oldest.since)) oldest = one
  }
  return oldest
}

function errorText({ lastFailure }: { readonly lastFailure: Error | undefined }): string {
  return lastFailure === undefined ? '' : `: ${lastFailure.message}`
}

function outText({ outReason }: MembershipState): string {
  return outReason === undefined ? '' : `: ${outReason}`
}

function inMs(ms: number): string {
  return ms <= 0 ? 'at once' : `in ${span(ms)}`
}

function span(ms: number): string {
  return ms < 1_000 ? `${Math.round(ms)} ms` : `${Math.round(ms / 1_000)} s`
}
