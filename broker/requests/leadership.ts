// Who leads a partition, as this broker tells it to clients, and why it is not as it should be. Owns which of two accounts is
// believed: what the brokers have agreed on, or what the replica on this broker knows itself. Decides nothing.

import type { BrokerId, TopicId } from '../../shared/ids.ts'
import type { Voter, VoterSet } from '../../shared/voters.ts'
import type { Leadership, TopicDefinition } from '../coordination/coordinator.ts'
import { fenceQuorum } from '../replication/fence-quorum.ts'
import { isHosted } from '../storage/hosted-partitions.ts'
import { minInSyncReplicasOf } from '../storage/log-config.ts'
import type { RequestServices } from './request-services.ts'
import { describeReplaced, directoriesNow, replacedDisks, votersOf } from './replaced-disks.ts'

export type KnownLeadership = Omit<Leadership, 'version'> & {
  /** Who led last as far as that is known, whether or not it leads now. */
  readonly named: BrokerId | undefined
}

type LiveBrokers = ReadonlySet<BrokerId>

/** To be asked for once where many partitions are looked at. */
export function liveBrokers({ coordinator }: RequestServices): LiveBrokers {
  return new Set(coordinator.brokers().map(({ brokerId }) => brokerId))
}

/**
 * The newer account of who leads; undefined for a partition that no live topic has. A leader that is no member at the moment
 * is left out: nobody could reach it, and soon there will be another.
 */
export function leadershipOf(
  services: RequestServices,
  id: TopicId,
  partition: number,
  live: LiveBrokers = liveBrokers(services),
): KnownLeadership | undefined {
  const agreed = services.coordinator.leaderships.of(id, partition)
  if (agreed === undefined) return undefined
  const { replicas } = agreed
  const local = services.localLeadership?.(id, partition)
  // An epoch has one leader, and nobody knows more of it than the replica that has won it.
  const isOlder = local === undefined || local.leaderEpoch < (agreed.leaderEpoch ?? -1)
  const { leader, leaderEpoch, inSyncReplicas } = isOlder ? agreed : local
  const isReachable = leader !== undefined && live.has(leader)
  // One that was started again is named until another one leads.
  const isNotAnyMore = leader === services.brokerId && services.localReplica?.(id, partition)?.isLeading === false
  const isBelieved = isReachable && !isNotAnyMore
  return {
    leader: isBelieved ? leader : undefined,
    named: leader ?? agreed.leader,
    leaderEpoch,
    replicas,
    inSyncReplicas,
  }
}

/**
 * As leadershipOf, for people: a leader of which the replica here knows nothing is left out as well. It may only be that
 * this broker is cut off, so clients are told nevertheless.
 */
export function leadershipSeen(
  services: RequestServices,
  id: TopicId,
  partition: number,
  live: LiveBrokers = liveBrokers(services),
): KnownLeadership | undefined {
  const known = leadershipOf(services, id, partition, live)
  const isUnseen = services.localReplica?.(id, partition)?.isLeaderless === true
  return known === undefined || !isUnseen ? known : { ...known, leader: undefined }
}

/** Why the partition cannot be used, or not through this broker; undefined where there is nothing to say. */
export function explainPartition(
  services: RequestServices,
  topic: TopicDefinition,
  partition: number,
  live: LiveBrokers = liveBrokers(services),
): string | undefined {
  if (
    topic.assignment !== undefined &&
    leadershipSeen(services, topic.topicId, partition, live)?.leader === undefined
  ) {
    const never = whyNoElection(services, topic, partition)
    if (never !== undefined) return never
  }
  const reason = explainReplicas(services, topic, partition, live)
  const replaced = replacedDisks(services, topic, partition, directoriesNow(services.coordinator))
  if (replaced.length === 0) return reason
  const about = describeReplaced(topic, partition, replaced)
  return reason === undefined ? about : `${reason}; ${about}`
}

function explainReplicas(
  services: RequestServices,
  topic: TopicDefinition,
  partition: number,
  live: LiveBrokers,
): string | undefined {
  const explained = services.explain?.(topic.topicId, partition)
  if (explained !== undefined || topic.assignment === undefined) return explained
  const known = leadershipSeen(services, topic.topicId, partition, live)
  if (known === undefined) return undefined
  const { leader, replicas, inSyncReplicas } = known
  const minimum = minInSyncReplicas(topic)
  if (leader === undefined) return noLeader(replicas, live, minimum)
  if (inSyncReplicas.length < minimum) {
    return `under min.insync.replicas: ${inSyncReplicas.length} of ${minimum} that must be are in sync`
  }
  if (!isHosted(topic, partition, services.brokerId)) return `broker ${leader} leads; this broker has no replica`
  return leader === services.brokerId ? undefined : `broker ${leader} leads`
}

/** Where an election has to wait for somebody who does not come by waiting; undefined if enough are there, or it is not known. */
function whyNoElection(services: RequestServices, topic: TopicDefinition, partition: number): string | undefined {
  const now = directoriesNow(services.coordinator)
  const isThere = ({ brokerId, directoryId }: Voter): boolean => now.get(brokerId) === directoryId
  for (const { voters, minInSyncReplicas: minimum } of voterSetsOf(services, topic, partition)) {
    const there = voters.filter(isThere)
    const needed = fenceQuorum(voters.length, minimum)
    if (there.length >= needed) continue
    const missing = voters.filter((voter) => !isThere(voter))
    const each = missing.map(
      ({ brokerId }) => `broker ${brokerId} ${now.has(brokerId) ? 'has another disk' : 'is away'}`,
    )
    const [one] = missing
    const isAway = missing.every(({ brokerId }) => !now.has(brokerId))
    const it = missing.length === 1 ? 'it' : 'them'
    const old = missing.length === 1 ? 'the old one' : 'the old ones'
    const what = isAway || one === undefined ? `start ${it}` : `start ${it} with ${old}`
    const few =
      there.length === 0
        ? `no voter is there, and an election needs ${needed}`
        : `only ${there.length} of the ${needed} voters that an election needs are there`
    return `${few}: ${each.join(', ')}; ${what}, or see tidemark topic recover ${topic.name} -p ${partition}`
  }
  return undefined
}

/** None where nobody here knows. */
function voterSetsOf(services: RequestServices, topic: TopicDefinition, partition: number): readonly VoterSet[] {
  const local = services.localReplica?.(topic.topicId, partition)
  if (local?.isOpen === true) return local.voterSets
  const voters = votersOf(services, topic, partition)
  return voters.length === 0 ? [] : [{ voters, minInSyncReplicas: Math.min(voters.length, minInSyncReplicas(topic)) }]
}

function noLeader(replicas: readonly BrokerId[], live: LiveBrokers, minimum: number): string {
  const reachable = replicas.filter((id) => live.has(id)).length
  const needed = fenceQuorum(replicas.length, minimum)
  if (reachable >= needed) return 'no leader: one is being elected'
  const there = `${reachable} of ${replicas.length} replicas ${reachable === 1 ? 'is' : 'are'} reachable`
  return `no leader: ${there}, ${needed} ${needed === 1 ? 'is' : 'are'} needed`
}

/** As the replicas count, whatever is written there: it is only told. */
export function minInSyncReplicas({ replicationFactor, config }: TopicDefinition): number {
  const text = config['min.insync.replicas']
  const value = text === undefined ? minInSyncReplicasOf({ replicationFactor, config: {} }) : Number(text)
  return Math.max(1, Math.min(replicationFactor, value))
}
