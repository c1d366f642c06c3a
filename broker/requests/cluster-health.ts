// What is looked at of the cluster as a whole, and not of the broker that is asked: whether every broker is there, on the disk
// that is known of it, every partition is led, and every replica keeps up. Owns the verdicts and their words; changes nothing.

import type { TopicDefinition } from '../coordination/coordinator.ts'
import type { RequestServices } from './request-services.ts'
import { drained } from './assignment.ts'
import { liveBrokers } from './leadership.ts'
import { type PartitionTroubles, type Trouble, troublesOf } from './partition-troubles.ts'
import { directoriesNow, replacedDisks } from './replaced-disks.ts'

export type ClusterCheck = ReturnType<RequestServices['checks']>[number]

/** Partitions that are named; of the others only their number is told. */
const NAMED_MAX = 5

/** Nothing where a broker is its own cluster. */
export function clusterChecks(services: RequestServices, troubles: PartitionTroubles): readonly ClusterCheck[] {
  if (services.isCluster !== true) return []
  const { coordinator } = services
  const live = liveBrokers(services)
  const directories = directoriesNow(coordinator)
  const away = new Set<number>()
  const found: Record<Trouble, string[]> = { leaderless: [], behind: [], unwritable: [] }
  const strange = new Map<number, string[]>()
  let partitions = 0
  for (const topic of coordinator.topics.list()) {
    partitions += topic.partitions
    for (const replicas of topic.assignment ?? []) for (const id of replicas) if (!live.has(id)) away.add(id)
    for (let partition = 0; partition < topic.partitions; partition += 1) {
      const name = `${topic.name}-${partition}`
      const health = troubles.look(topic, partition, live)
      for (const trouble of troublesOf(health)) {
        const since = troubles.since(topic.topicId, partition, trouble)
        const wanted = trouble === 'unwritable' ? health.minimum : health.replicas
        const count = trouble === 'leaderless' ? '' : `${health.inSync} of ${wanted}, `
        found[trouble].push(`${name} (${count}since ${timeOf(since ?? services.clock.now())})`)
      }
      for (const id of replacedDisks(services, topic, partition, directories)) {
        const names = strange.get(id)
        if (names === undefined) strange.set(id, [name])
        else names.push(name)
      }
    }
  }
  return [
    { name: 'brokers', isOk: away.size === 0, detail: describeBrokers(live.size, away, drained(coordinator)) },
    { name: 'connections', ...describeConnections(services) },
    { name: 'leaders', ...verdict(found.leaderless, partitions, 'have no leader') },
    { name: 'replicas', ...verdict(found.behind, partitions, 'have fewer replicas in sync than they should') },
    {
      name: 'writes',
      ...verdict(found.unwritable, partitions, 'have fewer replicas in sync than min.insync.replicas'),
    },
    { name: 'moves', isOk: true, detail: describeMoves(coordinator.topics.list()) },
    { name: 'disks', isOk: strange.size === 0, detail: describeDisks(strange) },
    { name: 'records', ...describeDamage(services) },
  ]
}

/**
 * Replicas on the broker that is asked whose disk has lost records of them. They keep up and count like all others, so that
 * nothing else tells. What they lack they get back from their leader within seconds, where that can be; the rest is for people.
 */
function describeDamage({ brokerId, coordinator, partitions }: RequestServices): { isOk: boolean; detail: string } {
  const damaged: string[] = []
  for (const { name, topicId, assignment = [] } of coordinator.topics.list()) {
    for (const [partition, replicas] of assignment.entries()) {
      // A log without others has nowhere to get them from.
      const found = replicas.length > 1 ? partitions.find(name, topicId, partition) : undefined
      if (found === undefined || found.quarantinedRanges === 0) continue
      const [first, ...others] = found.describe().quarantined
      if (first === undefined) continue
      const more = others.length === 0 ? '' : ` and ${others.length} more`
      damaged.push(`${name}-${partition} (offsets ${first.startOffset} to ${first.endOffset - 1}${more})`)
    }
  }
  if (damaged.length === 0) return { isOk: true, detail: `no replica of broker ${brokerId} is known to lack any` }
  const remedy =
    'they come back from the leader within seconds if it has them and the topic is not compacted; if they stay away while ' +
    `other replicas have them, start it with an empty data-dir, then \`tidemark broker readmit ${brokerId}\``
  return { isOk: false, detail: `broker ${brokerId} has lost records of ${namedOf(damaged)} to damage: ${remedy}` }
}

function describeBrokers(there: number, away: ReadonlySet<number>, draining: readonly number[]): string {
  const drainedToo = draining.length === 0 ? '' : `; drained: ${draining.join(', ')}`
  if (away.size === 0) return `${there} there, none away${drainedToo}`
  const ids = [...away].sort((a, b) => a - b).join(', ')
  return `${there} there; away, with replicas: ${ids}${drainedToo}`
}

/** As the broker sees it that is asked. */
function describeConnections({ brokerId, peerTroubles }: RequestServices): { isOk: boolean; detail: string } {
  const troubles = peerTroubles?.() ?? []
  if (troubles.length === 0) return { isOk: true, detail: `broker ${brokerId} is connected to all others` }
  const each = troubles.map(({ peer, address, trouble }) => `to broker ${peer} at ${address}: ${trouble}`)
  const say = `is that where it listens for the others (advertise), and does it run?`
  return { isOk: false, detail: `broker ${brokerId} has no connection ${each.join('; ')}; ${say}` }
}

/** They are no trouble; who waits for one wants to see it. */
function describeMoves(topics: Iterable<TopicDefinition>): string {
  const moves: string[] = []
  for (const { name, moves: wanted = {} } of topics) {
    for (const [partition, to] of Object.entries(wanted)) {
      moves.push(`${name}-${partition} to ${to.map(({ brokerId }) => brokerId).join(',')}`)
    }
  }
  return moves.length === 0 ? 'none under way' : `${moves.length} under way: ${namedOf(moves)}`
}

/** A broker that comes with another data directory is not the replica that it was. */
function describeDisks(strange: ReadonlyMap<number, readonly string[]>): string {
  if (strange.size === 0) return 'every broker is on the data directory that its replicas were made in'
  const each = [...strange].map(([id, names]) => {
    return `broker ${id} has another data directory than ${namedOf(names)} ${names.length === 1 ? 'was' : 'were'} made with`
  })
  const calls = [...strange.keys()].map((id) => `\`tidemark broker readmit ${id}\``)
  return `${each.join('; ')}: its copies count for nothing until ${calls.join(', ')}`
}

function verdict(bad: readonly string[], all: number, what: string): { isOk: boolean; detail: string } {
  if (bad.length === 0) return { isOk: true, detail: `${all} partitions, all well` }
  return { isOk: false, detail: `${bad.length} of ${all} partitions ${what}: ${namedOf(bad)}` }
}

function namedOf(names: readonly string[]): string {
  return `${names.slice(0, NAMED_MAX).join(', ')}${names.length > NAMED_MAX ? ' and others' : ''}`
}

/** To the second. */
function timeOf(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`
}
