// Who leads a partition, as this broker tells it to clients, and why it is not as it should be. Owns which of two accounts is
// believed: what the brokers have agreed on, or what the replica on this broker knows itself. Decides nothing.

import type { BrokerId, TopicId } from '../../shared/ids.ts'
import type { Leadership, TopicDefinition } from '../coordination/coordinator.ts'
import { fenceQuorum } from '../replication/fence-quorum.ts'
import { isHosted } from '../storage/hosted-partitions.ts'
import { minInSyncReplicasOf } from '../storage/log-config.ts'
import type { LocalLeadership, RequestServices } from './request-services.ts'
import { describeReplaced, directoriesNow, replacedDisks } from './replaced-disks.ts'

export type KnownLeadership = Omit<Leadership, 'version'>

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
  const isLocalNewer = local !== undefined && isNewer(local, agreed, services.brokerId)
  const { leader, leaderEpoch, inSyncReplicas } = isLocalNewer ? local : agreed
  const isReachable = leader !== undefined && live.has(leader)
  return { leader: isReachable ? leader : undefined, leaderEpoch, replicas, inSyncReplicas }
}

/** Of its own leadership nobody knows more than the replica that has it. */
function isNewer(local: LocalLeadership, agreed: Leadership, self: BrokerId): boolean {
  if (agreed.leaderEpoch === undefined || local.leaderEpoch > agreed.leaderEpoch) return true
  return local.leaderEpoch === agreed.leaderEpoch && agreed.leader === self
}

/** Why the partition cannot be used, or not through this broker; undefined where there is nothing to say. */
export function explainPartition(
  services: RequestServices,
  topic: TopicDefinition,
  partition: number,
  live: LiveBrokers = liveBrokers(services),
): string | undefined {
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
  const known = leadershipOf(services, topic.topicId, partition, live)
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
