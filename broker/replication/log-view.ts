// The log of a replica as its rules see it: what is written, and what is to be known of it. Owns where the first batch begins,
// which is looked for now and then, and what the newest epoch-start record says; everything else it asks the log.

import type { LeaderEpoch, Offset } from '../../shared/ids.ts'
import type { PartitionLog } from '../storage/partition-log.ts'
import type { VotersRecord } from '../storage/voters-history.ts'
import type { LogCompactionView, ReplicaLog } from './divergence.ts'
import { baseOffsetAt } from '../../shared/record-batch/header.ts'

export class LogView implements ReplicaLog {
  lossAcceptedIn: LeaderEpoch | undefined = undefined
  firstBatchOffset: Offset
  readonly #log: PartitionLog
  /** The log start that the first batch was looked for at. */
  #foundFor: Offset | undefined

  constructor(log: PartitionLog) {
    this.#log = log
    this.firstBatchOffset = log.logStartOffset
  }

  /**
   * A trim may end within a batch, and followers take whole ones. Until it is found again after a trim an older offset
   * stands: a follower that asks for less than there is takes nothing, and asks again. Looked for again if it cannot be read.
   */
  async findFirstBatch(): Promise<void> {
    const start = this.#log.logStartOffset
    if (start === this.#foundFor) return
    const slice = await this.#log.read(start, 1, this.#log.writtenEndOffset).catch(() => undefined)
    if (slice === undefined) return
    try {
      this.firstBatchOffset = slice.bytes.length === 0 ? start : baseOffsetAt(slice.bytes, 0)
      this.#foundFor = start
    } finally {
      slice.release()
    }
  }

  get logStartOffset(): Offset {
    return this.#log.logStartOffset
  }

  get logEndOffset(): Offset {
    return this.#log.writtenEndOffset
  }

  get heldEndOffset(): Offset {
    const { config, recoveryPoint, writtenEndOffset, heldEndOffset } = this.#log
    if (config.durability !== 'fsync') return heldEndOffset
    return recoveryPoint < writtenEndOffset ? recoveryPoint : writtenEndOffset
  }

  get latestEpoch(): LeaderEpoch | undefined {
    return this.#log.latestEpoch
  }

  get hasHoles(): boolean {
    return this.#log.quarantined.length > 0
  }

  get votersRecords(): readonly VotersRecord[] {
    return this.#log.votersRecords
  }

  /** Also of a topic that is compacted no more. */
  get compaction(): LogCompactionView | undefined {
    const { compaction, config } = this.#log
    return config.compaction !== undefined || compaction.hasMark ? compaction : undefined
  }

  epochAt(at: Offset): LeaderEpoch | undefined {
    return this.#log.epochAt(at)
  }

  endOffsetFor(epoch: LeaderEpoch): { readonly epoch: LeaderEpoch; readonly endOffset: Offset } | undefined {
    return this.#log.epochEndOffset(epoch)
  }
}
