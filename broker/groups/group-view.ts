// Groups as the admin port shows them: plain values for JSON. Owns their shape; what of members can be read is read, and what
// cannot is left out.

import type { Clock } from '../../shared/time.ts'
import type { GroupFigures } from './group-metrics.ts'
import type { Group } from './group.ts'
import { topicLags } from './group-lag.ts'
import { assignedPartitions } from './group-records.ts'

/** One line of a list. */
export function groupSummary({ group, state, protocolType, members, lags }: GroupFigures): object {
  const topics = topicLags(lags)
  const known = topics.filter(({ records }) => records !== undefined)
  const seconds = topics.flatMap((one) => (one.seconds === undefined ? [] : [one.seconds]))
  return {
    group,
    state,
    protocolType: protocolType ?? null,
    members,
    topics: topics.map(({ topic }) => topic),
    lagRecords: known.length === 0 ? null : known.reduce((sum, { records = 0 }) => sum + records, 0),
    lagSeconds: seconds.length === 0 ? null : Math.max(...seconds),
  }
}

/** Everything about one group. */
export function groupDetails(group: Group, figures: GroupFigures, clock: Clock): object {
  const { state } = group
  const owners = new Map<string, string>()
  const members = [...state.members()].map((member) => {
    const isConsumer = state.protocolType === 'consumer'
    const assigned = isConsumer ? assignedPartitions(member.assignment) : undefined
    for (const [topic, partitions] of assigned ?? []) {
      for (const partition of partitions) owners.set(`${topic}/${partition}`, member.id)
    }
    const assignment = [...(assigned ?? [])].map(([topic, partitions]) => ({ topic, partitions }))
    return {
      member: member.id,
      instance: member.instance ?? null,
      clientId: member.clientId,
      host: member.host,
      sessionTimeoutMs: member.sessionTimeoutMs,
      silentMs: Math.max(0, Math.round(clock.monotonic() - member.lastHeardAt)),
      assignment: assigned === undefined ? null : assignment,
    }
  })
  const offsets = figures.lags.map(({ topic, partition, offset, records, seconds }) => {
    const { metadata = '', committedAt } = group.offsets.get(topic, partition) ?? {}
    const lag = { lagRecords: records ?? null, lagSeconds: seconds ?? null }
    const member = owners.get(`${topic}/${partition}`) ?? null
    return { topic, partition, offset, metadata, committedAt: committedAt ?? null, ...lag, member }
  })
  return {
    group: group.name,
    state: group.phase,
    stateSince: group.stateSince,
    protocolType: state.protocolType ?? null,
    protocol: state.protocol ?? null,
    generation: state.generation,
    leader: state.leader ?? null,
    rebalances: group.rebalances,
    members,
    offsets,
  }
}
