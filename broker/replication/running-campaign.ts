// One campaign of one replica, from its own durable promise to its end. Owns who has granted and who has refused; who wins is
// decided by the rules.

import type { BrokerId } from '../../shared/ids.ts'
import type { CampaignSet, CampaignVerdict, SuspectPolicy } from './fence-quorum.ts'
import type { ReplicaRules } from './replica-rules.ts'
import type { FenceGrant } from './replication-events.ts'

/** A campaign that has not won by then is over: somebody else may try. */
const CAMPAIGN_MS_MAX = 2_000

export class RunningCampaign {
  readonly #candidate: BrokerId
  readonly #policy: SuspectPolicy
  readonly #deadline: number
  /** It asks nobody: an operator has said that it is won. */
  readonly isRecovery: boolean
  readonly #grants = new Map<BrokerId, FenceGrant>()
  readonly #refusedBy = new Set<BrokerId>()

  constructor(candidate: BrokerId, policy: SuspectPolicy, now: number, isRecovery = false) {
    this.#candidate = candidate
    this.#policy = policy
    this.isRecovery = isRecovery
    this.#deadline = now + CAMPAIGN_MS_MAX
  }

  get grantedBy(): readonly BrokerId[] {
    return [...this.#grants.keys()]
  }

  isOver(now: number): boolean {
    return now >= this.#deadline
  }

  onGrant(grant: FenceGrant, sets: readonly CampaignSet[], rules: ReplicaRules): CampaignVerdict {
    this.#grants.set(grant.from, grant)
    const grants = [...this.#grants.values()]
    return rules.judgeCampaign({ candidate: this.#candidate, sets, policy: this.#policy, grants })
  }

  /** Whether it cannot be won any more: of some set too few are left. */
  onRefusal(from: BrokerId, sets: readonly CampaignSet[]): boolean {
    this.#refusedBy.add(from)
    return sets.some(
      ({ voters, quorum }) => voters.filter(({ brokerId }) => !this.#refusedBy.has(brokerId)).length < quorum,
    )
  }
}
