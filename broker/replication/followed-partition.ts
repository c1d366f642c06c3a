// A partition that is fetched from its leader: where it stands with that, and what its last answers were like. Owns the
// judgement of an answer's consequences for the next fetch; knows nothing of requests and time.

import type { Offset } from '../../shared/ids.ts'
import type { Delayed } from './delayed-operations.ts'
import type { Replica } from './replica.ts'
import type { PartitionAnswer } from './replica-fetch-answer.ts'
import type { Fetchable } from './replica-fetch-batch.ts'
import type { FetchPosition } from './replication-events.ts'
import { TidemarkError } from '../../shared/errors.ts'
import { notDelayed } from './delayed-operations.ts'
import { ANSWER_BYTES_MAX, ANSWER_BYTES_MIN, nextWantedBytes } from './replica-fetch-batch.ts'

/** Further behind than this its catching up goes by a budget. Several answers: who keeps up is never as far behind. */
const FAR_BYTES = 16 * ANSWER_BYTES_MAX

/**
 * `idle` it goes with the next requests; `asked` it is in one; `backing-off` after a failure; `held-back` by the budget or by a
 * sync; `gone` nothing that comes for it matters any more.
 */
export type Place = 'idle' | 'asked' | 'backing-off' | 'held-back' | 'gone'

export class FollowedPartition implements Delayed, Fetchable {
  readonly delay = notDelayed()
  readonly replica: Replica
  readonly #onDue: (partition: FollowedPartition) => void
  place: Place = 'idle'
  pace: Fetchable['pace'] = 'quiet'
  wantedBytes = ANSWER_BYTES_MIN
  /** As it was asked for last. */
  position: FetchPosition | undefined
  /** What it showed then. */
  shown: Offset
  /** Failures one after the other, and the last of them. */
  failures = 0
  lastError: TidemarkError | undefined
  /** Up to where a sync has been waited for: a log whose sync does not count for all of it is asked for all the same. */
  syncedEndOffset: Offset | undefined
  /** Where the log was last asked to begin, by its leader. */
  trimmedTo = -1

  constructor(replica: Replica, onDue: (partition: FollowedPartition) => void) {
    this.replica = replica
    this.shown = replica.partition.highWatermark
    this.#onDue = onDue
  }

  onDeadline(): void {
    this.#onDue(this)
  }

  /** Whether it would be asked for now just as it was. */
  get isAsAsked(): boolean {
    const now = this.replica.fetchPosition()
    const { position } = this
    return (
      now !== undefined &&
      position !== undefined &&
      now.leaderEpoch === position.leaderEpoch &&
      now.fetchOffset === position.fetchOffset &&
      now.lastFetchedEpoch === position.lastFetchedEpoch &&
      now.copiedSince === position.copiedSince
    )
  }

  /** Gives the replica what its leader has said. Answers why it is not worth asking again at once. */
  take(position: FetchPosition, leader: FetchPosition['from'], answered: PartitionAnswer): TidemarkError | undefined {
    const { leaderEpoch, incarnation, fetchOffset, lastFetchedEpoch, copiedSince } = position
    const echo = { from: leader, leaderEpoch, incarnation, fetchOffset, lastFetchedEpoch, copiedSince }
    const { answer, records } = answered
    const refusal = this.replica.onFetched(echo, answer, records)
    if (refusal !== undefined || this.place === 'gone') return refusal
    this.#notePace(position, answered)
    const isMoved = answer.kind !== 'records' || records.length > 0
    if (!isMoved || !this.isAsAsked) return undefined
    return new TidemarkError(
      'INVALID_RECORD',
      `${this.replica.name}: an answer of broker ${leader} has changed nothing`,
    )
  }

  /** The wait is over and nothing has come. */
  noteQuiet(): void {
    this.pace = 'quiet'
    this.wantedBytes = ANSWER_BYTES_MIN
  }

  #notePace({ fetchOffset }: FetchPosition, { records, leaderEndOffset }: PartitionAnswer): void {
    if (records.length === 0) return this.noteQuiet()
    this.wantedBytes = nextWantedBytes(records.length)
    const { writtenEndOffset } = this.replica.partition.log
    const taken = writtenEndOffset - fetchOffset
    const missing = (leaderEndOffset ?? writtenEndOffset) - writtenEndOffset
    const missingBytes = taken > 0 ? (missing * records.length) / taken : 0
    this.pace = missingBytes > FAR_BYTES ? 'far' : 'busy'
  }
}
