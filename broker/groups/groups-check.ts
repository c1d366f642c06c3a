// What is looked at of groups to tell whether all is well: whether they are kept as safely as was asked for, and whether all
// of them can be answered for. Pure.

import type { TopicDefinition } from '../coordination/coordinator.ts'
import type { GroupCoordinator } from './group-coordinator.ts'
import { OFFSETS_TOPIC } from './offsets-topic.ts'

export interface GroupsCheck {
  readonly name: string
  readonly isOk: boolean
  readonly detail: string
}

/** What is looked at of the brokers and what they agree on. */
interface Cluster {
  readonly topics: { byName(name: string): Pick<TopicDefinition, 'replicationFactor'> | undefined }
  brokers(): readonly unknown[]
}

/** Fewer replicas than asked for are a trouble only where there are brokers for more by now. */
export function groupsCheck(
  coordinator: Cluster,
  groups: Pick<GroupCoordinator, 'groupCount' | 'loading'>,
  replicasAsked: number,
): GroupsCheck {
  const topic = coordinator.topics.byName(OFFSETS_TOPIC)
  if (topic === undefined) return { name: 'groups', isOk: true, detail: 'none has been asked for yet' }
  const { replicationFactor } = topic
  const brokers = coordinator.brokers().length
  const isOk = replicationFactor >= Math.min(replicasAsked, brokers)
  const few = `, and ${replicationFactor} of the ${replicasAsked} replicas asked for (brokers: ${brokers})`
  const more = isOk ? '' : `; give ${OFFSETS_TOPIC} more replicas`
  const loading = groups.loading === 0 ? '' : `, ${groups.loading} partitions being read`
  const detail = `${groups.groupCount} coordinated here${loading}${replicationFactor < replicasAsked ? few : ''}${more}`
  return { name: 'groups', isOk, detail }
}
