// What one seed means for consumer groups in a simulated cluster: who is in them, how its members work and commit, and what
// goes wrong with them. Each seed takes a few kinds of everything. Pure.

import type { AssignorName } from '../../client/assignors.ts'
import type { Random } from '../../shared/random.ts'
import type { ClusterPlan } from './cluster-plan.ts'

export const GROUP_FAULTS = [
  'member-killed',
  'member-without-power',
  'member-paused',
  'member-replaced',
  'member-cut',
  'dies-handling',
  'storm',
  'coordinator-killed',
  'coordinator-paused',
  'coordinator-restarted',
  'coordinator-cut',
  'coordinator-isolated',
] as const

export type GroupFault = (typeof GROUP_FAULTS)[number]

export const HANDLINGS = ['message', 'batch', 'key', 'stream'] as const
export const COMMITS = ['auto', 'inside', 'timer'] as const

export interface MemberSpec {
  readonly host: string
  /** Of a static member. */
  readonly instanceId: string | undefined
  readonly assignors: readonly AssignorName[]
  /** How records are handed to it: eachMessage, eachBatch, eachMessage in the order of keys, or an iterator. */
  readonly handling: (typeof HANDLINGS)[number]
  /** By itself, by its handler after each record, or by a timer of the application's. */
  readonly commits: (typeof COMMITS)[number]
  readonly commitEveryMs: number
  readonly concurrency: number
  /** Of one record, on average. */
  readonly handleMs: number
  /** Handlers that take longer than they may, and that fail. */
  readonly longShare: number
  readonly failShare: number
  /** Whether a handler leaves off when its result is not wanted any more. */
  readonly listens: boolean
}

export interface GroupSpec {
  readonly name: string
  readonly topics: readonly string[]
  readonly fromBeginning: boolean
  readonly sessionTimeoutMs: number
  readonly maxPollIntervalMs: number
  readonly topicsRefreshMs: number
  readonly members: readonly MemberSpec[]
}

export interface GroupsPlan {
  readonly groups: readonly GroupSpec[]
  readonly faults: readonly GroupFault[]
  /** Between two faults, on average. */
  readonly faultEveryMs: number
}

type Chooser = <T>(...choices: [T, ...T[]]) => T

export function groupsPlanOf(plan: ClusterPlan, random: Random): GroupsPlan {
  const pick: Chooser = (...choices) => choices[random.integer(choices.length)] ?? choices[0]
  const names = plan.workload.topics.map(({ name }) => name)
  const groups = Array.from({ length: pick(1, 1, 2) }, (_, index): GroupSpec => {
    const some = names.filter(() => random.integer(3) > 0)
    const name = `group-${index}`
    const ways = pick<readonly AssignorName[]>(
      ['cooperative-sticky'],
      ['cooperative-sticky'],
      ['range'],
      ['round-robin'],
      ['cooperative-sticky', 'range'],
    )
    const mayBeStatic = random.integer(2) === 0
    const members = Array.from({ length: 2 + random.integer(4) }, (__, number) => {
      const host = `member-${index}-${number}`
      const instanceId = mayBeStatic && random.integer(2) === 0 ? `static-${number}` : undefined
      return memberOf({ host, instanceId, assignors: ways }, random, pick)
    })
    return {
      name,
      topics: some.length === 0 ? names : some,
      fromBeginning: random.integer(4) > 0,
      sessionTimeoutMs: pick(1_000, 2_000, 4_000),
      maxPollIntervalMs: pick(3_000, 10_000, 30_000),
      topicsRefreshMs: pick(500, 3_000),
      members,
    }
  })
  const faults = random.integer(20) === 0 ? [] : GROUP_FAULTS.filter(() => random.integer(3) === 0)
  return { groups, faults, faultEveryMs: pick(300, 1_000, 3_000) }
}

/** Where keys are handled at once no handler knows how far all is done; of a stream nothing is but what it commits. */
const SENSELESS: Partial<Record<MemberSpec['handling'], MemberSpec['commits']>> = { key: 'inside', stream: 'timer' }

function memberOf(
  fixed: Pick<MemberSpec, 'host' | 'instanceId' | 'assignors'>,
  random: Random,
  pick: Chooser,
): MemberSpec {
  const handling = pick(...HANDLINGS)
  return {
    ...fixed,
    handling,
    commits: pick('auto', ...COMMITS.filter((one) => one !== SENSELESS[handling])),
    commitEveryMs: pick(50, 300, 2_000),
    concurrency: handling === 'stream' ? 1 : pick(1, 1, 2, 8),
    handleMs: pick(0, 1, 10, 40),
    longShare: pick(0, 0, 0.002, 0.01),
    failShare: pick(0, 0, 0.02),
    listens: random.integer(2) === 0,
  }
}

/** What the cluster is like when groups are played in it. */
export function withGroups(plan: ClusterPlan, random: Random): ClusterPlan {
  return {
    ...plan,
    // Readers without a group are judged elsewhere; one shows what stands in the topics.
    workload: { ...plan.workload, tails: 1, replays: 0 },
    settings: { ...plan.settings, offsetsTopicNumPartitions: 1 + random.integer(3) },
    // The topic of groups has three replicas, and of what it holds no disk waits for a sync.
    lossesMax: Math.min(plan.lossesMax, 1),
    diskLossesMax: Math.min(plan.diskLossesMax, 1),
  }
}
