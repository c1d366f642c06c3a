// Whose word counts, by one replica's log at this moment. Owns the reading of the log's voters records: what is in force, and
// what may come back. Holds nothing but what it has worked out last; knows nothing of roles or messages.

import type { BrokerId, Offset } from '../../shared/ids.ts'
import type { Voter, VoterSet } from '../../shared/voters.ts'
import type { VotersRecord } from '../storage/voters-history.ts'
import type { ReplicaLog } from './divergence.ts'
import type { CampaignSet } from './fence-quorum.ts'
import type { ReplicaRules } from './replica-rules.ts'
import { must } from '../../shared/assert.ts'
import { isVoter } from '../../shared/voters.ts'
import { setsSince, votersOf } from './voters.ts'

const NO_RECORDS: readonly VotersRecord[] = []

interface InForce {
  readonly record: VotersRecord | undefined
  readonly sets: readonly VoterSet[]
  readonly campaignSets: readonly CampaignSet[]
  readonly all: readonly Voter[]
}

export class VotersInForce {
  readonly #log: ReplicaLog
  readonly #rules: ReplicaRules
  readonly #initial: VoterSet
  #known: InForce | undefined

  /** `initial` counts until the log says otherwise. */
  constructor(log: ReplicaLog, initial: VoterSet, rules: ReplicaRules) {
    this.#log = log
    this.#rules = rules
    this.#initial = initial
  }

  /** The newest of the log; undefined while those of the beginning are in force. */
  get record(): VotersRecord | undefined {
    return this.#inForce().record
  }

  /** The sets that must agree, the older one first. The same list as long as the record is the same. */
  get sets(): readonly VoterSet[] {
    return this.#inForce().sets
  }

  get campaignSets(): readonly CampaignSet[] {
    return this.#inForce().campaignSets
  }

  /** The voters of all sets, each once. */
  get all(): readonly Voter[] {
    return this.#inForce().all
  }

  /** What a change would begin with: that of the record, or of the beginning. */
  get current(): VoterSet {
    return must(this.sets.at(-1), 'some set is in force')
  }

  /** The set that is in force alone, by a record below the high watermark, or from the beginning. */
  settledAt(highWatermark: Offset): VoterSet | undefined {
    const { record } = this
    if (record === undefined) return this.#initial
    return record.next === undefined && record.offset < highWatermark ? record.set : undefined
  }

  isNamed(broker: BrokerId): boolean {
    return this.all.some(({ brokerId }) => brokerId === broker)
  }

  /**
   * The sets that are in force, and those that may still come back, because the record that has replaced them is not below
   * the high watermark.
   */
  setsSince(highWatermark: Offset): readonly VoterSet[] {
    return setsSince(this.#records, highWatermark, this.#initial)
  }

  /** Whether the replica has a voice by a set that is in force, or by one that may still come back. */
  mayBeVoter(broker: BrokerId, directoryId: string, highWatermark: Offset): boolean {
    return this.setsSince(highWatermark).some(({ voters }) => isVoter(voters, broker, directoryId))
  }

  /** The record that is in force where a log begins at the offset. */
  recordAt(at: Offset): { readonly votersRecord?: VotersRecord } {
    const votersRecord = this.#records.findLast((record) => record.offset < at)
    return votersRecord === undefined ? {} : { votersRecord }
  }

  get #records(): readonly VotersRecord[] {
    return this.#log.votersRecords ?? NO_RECORDS
  }

  #inForce(): InForce {
    const record = this.#rules.votersInForce(this.#records.at(-1), this.#known?.record)
    if (this.#known === undefined || this.#known.record !== record) {
      const sets = this.#rules.setsInForce(record?.set ?? this.#initial, record?.next)
      const campaignSets = sets.map(({ voters, minInSyncReplicas }) => {
        return { voters, quorum: this.#rules.fenceQuorum(voters.length, minInSyncReplicas) }
      })
      this.#known = { record, sets, campaignSets, all: votersOf(sets) }
    }
    return this.#known
  }
}
