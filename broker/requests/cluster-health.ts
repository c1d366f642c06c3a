// What is looked at of the cluster as a whole, and not of the broker that is asked: whether every broker is there, every
// partition is led, and every replica keeps up. Owns the verdicts and their words; changes nothing.

import type { RequestServices } from './request-services.ts'
import { drained } from './assignment.ts'
import { leadershipOf, liveBrokers, minInSyncReplicas } from './leadership.ts'

export type ClusterCheck = ReturnType<RequestServices['checks']>[number]

/** Partitions that are named; of the others only their number is told. */
const NAMED_MAX = 5

/** Nothing where a broker is its own cluster. */
export function clusterChecks(services: RequestServices): readonly ClusterCheck[] {
  if (services.isCluster !== true) return []
  const { coordinator } = services
  const live = liveBrokers(services)
  const away = new Set<number>()
  const leaderless: string[] = []
  const behind: string[] = []
  const unwritable: string[] = []
  let partitions = 0
  for (const topic of coordinator.topics.list()) {
    const minimum = minInSyncReplicas(topic)
    partitions += topic.partitions
    for (const replicas of topic.assignment ?? []) for (const id of replicas) if (!live.has(id)) away.add(id)
    for (let partition = 0; partition < topic.partitions; partition += 1) {
      const {
        leader,
        replicas = [],
        inSyncReplicas = [],
      } = leadershipOf(services, topic.topicId, partition, live) ?? {}
      const name = `${topic.name}-${partition}`
      const inSync = inSyncReplicas.filter((id) => live.has(id)).length
      if (leader === undefined) leaderless.push(name)
      else if (inSync < minimum) unwritable.push(`${name} (${inSync} of ${minimum})`)
      if (leader !== undefined && inSync < replicas.length) behind.push(`${name} (${inSync} of ${replicas.length})`)
    }
  }
  return [
    { name: 'brokers', isOk: away.size === 0, detail: describeBrokers(live.size, away, drained(coordinator)) },
    { name: 'leaders', ...verdict(leaderless, partitions, 'have no leader') },
    { name: 'replicas', ...verdict(behind, partitions, 'have fewer replicas in sync than they should') },
    { name: 'writes', ...verdict(unwritable, partitions, 'have fewer replicas in sync than min.insync.replicas') },
  ]
}

function describeBrokers(there: number, away: ReadonlySet<number>, draining: readonly number[]): string {
  const drainedToo = draining.length === 0 ? '' : `; drained: ${draining.join(', ')}`
  if (away.size === 0) return `${there} there, none away${drainedToo}`
  const ids = [...away].sort((a, b) => a - b).join(', ')
  return `${there} there; away, with replicas: ${ids}${drainedToo}`
}

function verdict(bad: readonly string[], all: number, what: string): { isOk: boolean; detail: string } {
  if (bad.length === 0) return { isOk: true, detail: `${all} partitions, all well` }
  const named = bad.slice(0, NAMED_MAX).join(', ')
  const rest = bad.length > NAMED_MAX ? ' and others' : ''
  return { isOk: false, detail: `${bad.length} of ${all} partitions ${what}: ${named}${rest}` }
}
