// Having partitions led by whom they should be led: the first of their replicas. Owns who is asked for it, which is whoever
// leads now, on whatever broker that is; how a leader hands over is its replica's.

import type { RequestOf, ResponseOf } from '../../shared/protocol/api.ts'
import type { BrokerId, TopicId } from '../../shared/ids.ts'
import type { TopicDefinition } from '../coordination/coordinator.ts'
import { ERRORS } from '../../shared/errors.ts'
import { MOVES_MAX } from '../../shared/protocol/operations.ts'
import { whenLed } from './bounded-wait.ts'
import { leadershipOf, liveBrokers } from './leadership.ts'
import { NO_ERROR, outcomeOf, refused, type WireOutcome } from './outcome.ts'
import type { RequestServices } from './request-services.ts'

type Asked = NonNullable<RequestOf<'electLeaders'>['partitions']>[number]
type Elected = ResponseOf<'electLeaders'>['partitions'][number]

/** A partition that somebody else should lead. */
interface Vacancy {
  readonly asked: Asked
  readonly topicId: TopicId
  readonly from: BrokerId
  readonly to: BrokerId
}

const TIMEOUT_MS_MAX = 300_000

export async function electLeaders(
  services: RequestServices,
  request: RequestOf<'electLeaders'>,
): Promise<ResponseOf<'electLeaders'>> {
  const live = liveBrokers(services)
  const asked = request.partitions ?? allPartitions(services)
  const looked = asked.map((one) => look(services, one, live))
  const wanted = looked.filter((one): one is Vacancy => 'to' in one)
  const timeoutMs = Math.min(request.timeoutMs, TIMEOUT_MS_MAX)
  const failures = await begin(services, wanted, { ...request, timeoutMs })
  const begun = wanted.filter((one) => !failures.has(one))
  const isThere = (id: TopicId, partition: number, leader: BrokerId | undefined): boolean => {
    return begun.some((one) => one.topicId === id && one.asked.partition === partition && one.to === leader)
  }
  const awaited = new Map<TopicId, Set<number>>()
  for (const one of begun) {
    awaited.set(one.topicId, (awaited.get(one.topicId) ?? new Set()).add(one.asked.partition))
  }
  await whenLed(services, awaited, timeoutMs, (leader, id, partition) => isThere(id, partition, leader))
  const partitions = looked.map((one, index): Elected => {
    const { topic, partition } = asked[index] ?? { topic: '', partition: 0 }
    const { error, message } = 'to' in one ? (failures.get(one) ?? outcomeNow(services, one)) : one
    return { topic, partition, error, message }
  })
  if (request.partitions !== undefined) return { partitions }
  const news = partitions.filter(({ error }) => error !== ERRORS.ELECTION_NOT_NEEDED.number)
  return { partitions: news.slice(0, MOVES_MAX) }
}

function* partitionsOf(topic: TopicDefinition): Iterable<Asked> {
  for (let partition = 0; partition < topic.partitions; partition += 1) yield { topic: topic.name, partition }
}

function allPartitions(services: RequestServices): readonly Asked[] {
  const all: Asked[] = []
  for (const topic of services.coordinator.topics.list()) all.push(...partitionsOf(topic))
  return all
}

function look(services: RequestServices, asked: Asked, live: ReadonlySet<BrokerId>): Vacancy | WireOutcome {
  const { topic: name, partition } = asked
  const topic = services.coordinator.topics.byName(name)
  if (topic === undefined || partition >= topic.partitions) {
    return refused('UNKNOWN_TOPIC_OR_PARTITION', `there is no partition ${partition} of a topic ${name}`)
  }
  const known = leadershipOf(services, topic.topicId, partition, live)
  const to = topic.assignment?.[partition]?.[0]
  if (to === undefined || known?.leader === to) {
    return refused('ELECTION_NOT_NEEDED', `${name}-${partition} is led by whom it should be led`)
  }
  if (known?.leader === undefined) {
    return refused('PREFERRED_LEADER_NOT_AVAILABLE', `nobody leads ${name}-${partition}: an election is under way`)
  }
  if (!live.has(to) || !known.inSyncReplicas.includes(to)) {
    const why = live.has(to) ? 'does not keep up' : 'is away'
    return refused('PREFERRED_LEADER_NOT_AVAILABLE', `broker ${to}, which should lead ${name}-${partition}, ${why}`)
  }
  return { asked, topicId: topic.topicId, from: known.leader, to }
}

/** Tells the leaders; answers those that could not be told. */
async function begin(
  services: RequestServices,
  wanted: readonly Vacancy[],
  request: RequestOf<'electLeaders'>,
): Promise<ReadonlyMap<Vacancy, WireOutcome>> {
  const elsewhere = new Map<BrokerId, Vacancy[]>()
  for (const one of wanted) {
    if (one.from === services.brokerId) {
      services.localReplica?.(one.topicId, one.asked.partition)?.handOver(one.to)
    } else {
      elsewhere.set(one.from, [...(elsewhere.get(one.from) ?? []), one])
    }
  }
  const told = [...elsewhere].map(([leader, some]) => forward(services, leader, some, request))
  return new Map((await Promise.all(told)).flat())
}

async function forward(
  { peers, logger }: RequestServices,
  leader: BrokerId,
  some: readonly Vacancy[],
  { timeoutMs, isForwarded }: RequestOf<'electLeaders'>,
): Promise<(readonly [Vacancy, WireOutcome])[]> {
  const failAll = (outcome: WireOutcome) => some.map((one) => [one, outcome] as const)
  if (isForwarded || peers === undefined) {
    return failAll(refused('NOT_LEADER_OR_FOLLOWER', `broker ${leader} leads it, and is the one to ask`))
  }
  try {
    const partitions = some.map(({ asked }) => asked)
    const { body } = await peers.ask(leader, 'electLeaders', { partitions, timeoutMs, isForwarded: true })
    return some.flatMap((one, index) => {
      const { error = 0, message } = body.partitions[index] ?? {}
      return error === 0 ? [] : [[one, { error, message }] as const]
    })
  } catch (error) {
    return failAll(outcomeOf(error, logger))
  }
}

function outcomeNow(services: RequestServices, { asked, topicId, to }: Vacancy): WireOutcome {
  if (leadershipOf(services, topicId, asked.partition)?.leader === to) return NO_ERROR
  const text = `broker ${to} does not lead ${asked.topic}-${asked.partition} yet; it is being tried`
  return refused('REQUEST_TIMED_OUT', text)
}
