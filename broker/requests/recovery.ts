// When too few replicas of a partition are left to elect a leader, a person may decide that one of them goes on alone, with
// what it has. Owns what that person is told before, what has to be so, and which replicas the partition gets afterwards; that
// it is done in a way which no old replica can undo is the affair of the replica.

import type { BrokerId } from '../../shared/ids.ts'
import type { RequestOf, ResponseOf } from '../../shared/protocol/api.ts'
import type { Voter } from '../../shared/voters.ts'
import type { TopicDefinition } from '../coordination/coordinator.ts'
import type { LocalReplica, RequestServices } from './request-services.ts'
import { TidemarkError } from '../../shared/errors.ts'
import { votersOf as allVotersOf } from '../replication/voters.ts'
import { fenceQuorum } from '../replication/fence-quorum.ts'
import { candidates, loadOf } from './assignment.ts'
import { within } from './bounded-wait.ts'
import { leadershipOf, leadershipSeen, liveBrokers, minInSyncReplicas } from './leadership.ts'
import { replaceReplica } from './placement.ts'
import { directoriesNow } from './replaced-disks.ts'

type Recovery = ResponseOf<'recoverPartition'>

/** How long is waited for it to lead; it goes on afterwards. */
const LEADING_MS_MAX = 10_000
/** As far as placement goes: any number will do. */
const START_AT_END = 0x1_0000

/** @throws INVALID_REQUEST where it is not the one to be asked, or there is nothing to recover */
export async function recoverPartition(
  services: RequestServices,
  request: RequestOf<'recoverPartition'>,
): Promise<Recovery> {
  const { topic, replica } = find(services, request)
  const { partition, isLossAccepted } = request
  const refusal = whyNotRecover(services, topic, partition, replica)
  const notes = [...whatIsKnown(services, topic, partition, replica), refusal ?? howTo(request)]
  const { logStartOffset, highWatermark, logEndOffset } = replica
  const facts = { logStartOffset, highWatermark, logEndOffset }
  if (!isLossAccepted) return { isDone: false, ...facts, notes }
  if (refusal !== undefined) throw refused(refusal)
  const wanted = wantedAfterwards(services, topic, partition)
  services.logger.warn({ topic: topic.name, partition, notes, ...facts }, 'a partition is recovered with loss accepted')
  await want(services, topic, partition, wanted)
  if (!replica.recover()) throw refused(`${nameOf(request)} cannot be recovered at this moment; ask again`)
  const isDone = await whenLeading(services, topic, partition)
  const after = isDone
    ? `broker ${services.brokerId} leads ${nameOf(request)} with what it has; ${afterwards(topic, partition, wanted)}`
    : `broker ${services.brokerId} does not lead ${nameOf(request)} yet; \`tidemark topic describe ${topic.name} -p\` says why`
  return { isDone, ...facts, notes: [after] }
}

function howTo({ topic, partition, broker }: RequestOf<'recoverPartition'>): string {
  return `\`tidemark topic recover ${topic} -p ${partition} --broker ${broker} --accept-data-loss\` goes on with what broker ${broker} has`
}

/**
 * Voters that are all there elect by themselves, and lose nothing. And a broker that knows no leader may only be cut off from
 * it. Where a broker that is there can never take part, it is better away.
 */
function whyNotRecover(
  services: RequestServices,
  topic: TopicDefinition,
  partition: number,
  { voterSets, isLeading }: LocalReplica,
): string | undefined {
  if (isLeading) return undefined
  const name = `${topic.name}-${partition}`
  const leader = leadershipOf(services, topic.topicId, partition)?.leader
  if (leader !== undefined) {
    return `broker ${leader} is there and was the last to lead ${name}: recover it on broker ${leader}, or stop that one first`
  }
  const directories = directoriesNow(services.coordinator)
  const voters = allVotersOf(voterSets)
  if (voters.some(({ brokerId, directoryId }) => directories.get(brokerId) !== directoryId)) return undefined
  return `all voters of ${name} are there, and elect a leader by themselves: it is not recovered with a loss; if one of them can never take part, stop its broker first`
}

/** Who is away now is not waited for: it may never come. */
function afterwards({ name, replicationFactor }: TopicDefinition, partition: number, wanted: readonly Voter[]): string {
  const ids = wanted.map(({ brokerId }) => brokerId)
  const way = ids.length === 1 ? 'it has no other replica' : `it is on its way to brokers ${ids.join(', ')}`
  if (ids.length >= replicationFactor) return way
  const others = Array.from({ length: replicationFactor - ids.length }, (_, at) => `B${at + 1}`)
  const to = [...ids, ...others].join(',')
  return `${way}; when other brokers are there, give it its ${replicationFactor} replicas: tidemark broker move --topic ${name} --partition ${partition} --to ${to}`
}

function find(
  services: RequestServices,
  request: RequestOf<'recoverPartition'>,
): { readonly topic: TopicDefinition; readonly replica: LocalReplica } {
  const { coordinator, brokerId, localReplica } = services
  if (localReplica === undefined) throw refused('this broker is alone: it leads whatever it has')
  if (request.broker !== brokerId) throw refused(`this is broker ${brokerId}: ask broker ${request.broker} itself`)
  const name = nameOf(request)
  const topic = coordinator.topics.byName(request.topic)
  if (topic === undefined || request.partition >= topic.partitions) {
    throw new TidemarkError('UNKNOWN_TOPIC_OR_PARTITION', `there is no partition ${name}`)
  }
  const replica = localReplica(topic.topicId, request.partition)
  if (replica === undefined) throw refused(`broker ${brokerId} has no replica of ${name}`)
  if (!replica.isOpen) throw refused(`the log of ${name} on broker ${brokerId} is not open; its log says why`)
  const live = liveBrokers(services)
  const { leader, inSyncReplicas = [] } = leadershipSeen(services, topic.topicId, request.partition, live) ?? {}
  if (leader === undefined) return { topic, replica }
  const inSync = inSyncReplicas.filter((id) => live.has(id)).length
  if (inSync >= minInSyncReplicas(topic)) throw refused(`broker ${leader} leads ${name}: there is nothing to recover`)
  if (leader === brokerId) return { topic, replica }
  throw refused(`broker ${leader} leads ${name}, and nothing is missing but others to confirm it: ask broker ${leader}`)
}

/** What would be lost, as far as anybody here can know. */
function whatIsKnown(
  services: RequestServices,
  topic: TopicDefinition,
  partition: number,
  replica: LocalReplica,
): readonly string[] {
  const { coordinator, brokerId: self } = services
  const directories = directoriesNow(coordinator)
  const voters = allVotersOf(replica.voterSets).toSorted((one, other) => one.brokerId - other.brokerId)
  const missing = voters.filter(({ brokerId, directoryId }) => directories.get(brokerId) !== directoryId)
  const notes: string[] = []
  notes.push(
    missing.length === 0
      ? `all voters are there: ${listOf(voters)}`
      : `of the voters ${listOf(voters)} these are missing: ${missing.map((one) => describeMissing(one, directories)).join(', ')}`,
  )
  const canElect = replica.voterSets.every(({ voters: set, minInSyncReplicas: minimum }) => {
    const there = set.filter(({ brokerId, directoryId }) => directories.get(brokerId) === directoryId)
    return there.length >= fenceQuorum(set.length, minimum)
  })
  if (canElect && missing.length > 0)
    notes.push('enough voters are there to elect a leader by themselves: wait, unless waiting has not helped')
  const agreed = coordinator.leaderships.of(topic.topicId, partition)
  if (replica.isLeading) {
    notes.push(
      `broker ${self} leads, so that it has all that was acknowledged; too few others are there to confirm more`,
    )
  } else if (missing.some(({ brokerId }) => brokerId === self)) {
    // Who was in sync is known by the number of the broker, and that was its former disk.
    notes.push(
      `broker ${self} has another data directory than this replica was made in: it has only what it has copied since, which may be nothing`,
    )
  } else if (agreed?.leaderEpoch !== undefined) {
    const { inSyncReplicas, leaderEpoch } = agreed
    notes.push(
      inSyncReplicas.includes(self)
        ? `broker ${self} was in sync with the last leader that is known (epoch ${leaderEpoch}): it should have all that was acknowledged, but for the last moments`
        : `broker ${self} was NOT in sync with the last leader that is known (epoch ${leaderEpoch}; in sync: ${inSyncReplicas.join(', ') || 'nobody'}): records that were acknowledged are missing here`,
    )
  }
  if (replica.isSuspect)
    notes.push(
      'this replica may have lost records itself: its last life ended with a loss of power, or it was made anew',
    )
  const others = (topic.assignment?.[partition] ?? []).filter((id) => id !== self && directories.has(id))
  if (others.length > 0)
    notes.push(`brokers ${others.join(', ')} are there, too: ask the same of them, and take the one that has more`)
  notes.push(
    `what it has ends at offset ${replica.logEndOffset}; whatever others have behind that, or instead of it, is lost`,
  )
  return notes
}

/** The replicas that are there, and others in place of those that are not, as far as there are any. */
function wantedAfterwards(services: RequestServices, topic: TopicDefinition, partition: number): readonly Voter[] {
  const { coordinator, brokerId: self, random } = services
  const directories = directoriesNow(coordinator)
  const racks = new Map(coordinator.brokers().map(({ brokerId, rack }) => [brokerId, rack]))
  const load = loadOf(coordinator)
  const live = liveBrokers(services)
  const assigned = topic.moves?.[partition]?.map(({ brokerId }) => brokerId) ?? topic.assignment?.[partition] ?? []
  let row: readonly BrokerId[] = assigned.includes(self) ? assigned : [self, ...assigned.slice(1)]
  for (const away of row.filter((id) => !live.has(id))) {
    const brokers = candidates(coordinator).filter(({ brokerId }) => !row.includes(brokerId))
    const startAt = random.integer(START_AT_END)
    row =
      brokers.length === 0
        ? row.filter((id) => id !== away)
        : replaceReplica({ row, leaving: away, brokers, racks, load, startAt })
  }
  return row.flatMap((brokerId) => {
    const directoryId = directories.get(brokerId)
    return directoryId === undefined ? [] : [{ brokerId, directoryId }]
  })
}

/** Whether it leads, after some time at the latest. What was agreed on before may name it still. */
async function whenLeading(services: RequestServices, topic: TopicDefinition, partition: number): Promise<boolean> {
  const isLeading = (): boolean => services.localReplica?.(topic.topicId, partition)?.isLeading === true
  let subscription: { remove(): void } | undefined
  const led = new Promise<void>((resolve) => {
    subscription = services.coordinator.subscribe(() => {
      if (isLeading()) resolve()
    })
    if (isLeading()) resolve()
  })
  await within(services.delayed, LEADING_MS_MAX, led)
  subscription?.remove()
  return isLeading()
}

async function want(
  { coordinator, random }: RequestServices,
  topic: TopicDefinition,
  partition: number,
  wanted: readonly Voter[],
): Promise<void> {
  const moves = { ...topic.moves, [partition]: wanted }
  const outcome = await coordinator.topics.change(random.uuid(), topic.topicId, topic.version, { moves })
  if (outcome.kind !== 'done') throw refused(`topic ${topic.name} has just been changed by somebody else; ask again`)
}

function describeMissing({ brokerId }: Voter, directories: ReadonlyMap<BrokerId, string>): string {
  return directories.has(brokerId) ? `${brokerId} (there, with another data directory)` : `${brokerId} (away)`
}

function listOf(voters: readonly Voter[]): string {
  return voters.map(({ brokerId }) => brokerId).join(', ')
}

function nameOf({ topic, partition }: { readonly topic: string; readonly partition: number }): string {
  return `${topic}-${partition}`
}

function refused(text: string): TidemarkError {
  return new TidemarkError('INVALID_REQUEST', text)
}
