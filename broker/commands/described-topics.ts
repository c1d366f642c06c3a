// Topics as their leaders describe them. Any broker knows who leads, but offsets and sizes only of what it has itself, so the
// leaders are asked for theirs. Owns whose word is taken.

import type { ResponseOf } from '../../shared/protocol/api.ts'
import type { BrokerSession } from './broker-session.ts'
import { electionQuorum } from '../../shared/voters.ts'
import { askEach } from './each-broker.ts'

export type Topic = ResponseOf<'describeTopics'>['topics'][number]
export type Partition = Topic['partitions'][number]

const NAMED_MAX = 5

/** All topics when none are named. Who leads and does not answer soon is told to onSilent; of it is known what others know. */
export async function describedByLeaders(
  session: BrokerSession,
  names: readonly string[] | undefined,
  onSilent: (broker: number) => void = () => undefined,
): Promise<readonly Topic[]> {
  const request = { topics: names }
  const { topics } = await session.ask('describeTopics', request)
  const leaders = topics.flatMap(({ partitions }) => partitions.flatMap((one) => leaderToAsk(one) ?? []))
  const asked = [...new Set(leaders)]
  const answers = await askEach(session, asked, 'describeTopics', request)
  const silent = asked.filter((broker) => !answers.has(broker))
  for (const broker of silent) onSilent(broker)
  return withWordOfLeaders(topics, answers, new Set(silent))
}

/** Pure. What the leaders that were asked say of what they lead, in the place of what others know of it. */
export function withWordOfLeaders(
  topics: readonly Topic[],
  answers: ReadonlyMap<number, ResponseOf<'describeTopics'>>,
  silent: ReadonlySet<number>,
): readonly Topic[] {
  const named = new Map<string, number | undefined>()
  for (const { topicId, partitions } of topics) {
    for (const { partition, leader } of partitions) named.set(`${topicId}:${partition}`, leader)
  }
  const told = new Map<string, Partition>()
  for (const [broker, answer] of answers) {
    for (const { topicId, partitions } of answer.topics) {
      for (const one of partitions) {
        const key = `${topicId}:${one.partition}`
        if (isOwn(one, broker) || (named.get(key) === broker && isDisclaimed(one, broker))) told.set(key, one)
      }
    }
  }
  return topics.map((topic) => {
    const partitions = topic.partitions.map((partition) => {
      const better = told.get(`${topic.topicId}:${partition.partition}`)
      if (better !== undefined && isNewer(better, partition)) return better
      const { leader } = partition
      return leader !== undefined && silent.has(leader) ? ofSilentLeader(partition, leader) : partition
    })
    return Object.assign(topic, { partitions })
  })
}

function leaderToAsk({ leader, figuresOf }: Partition): number | undefined {
  return leader === figuresOf ? undefined : leader
}

/** Whether it serves only its leader could say; others call it online until they know better. */
function ofSilentLeader(partition: Partition, leader: number): Partition {
  return { ...partition, state: 'unknown', reason: `broker ${leader} leads, and does not answer` }
}

/** Whoever tells it leads it, by its own account. */
function isOwn({ leader, figuresOf }: Partition, broker: number): boolean {
  return leader === broker && figuresOf === broker
}

/** Whoever the others name as its leader cannot open its log, or knows of nobody who leads. */
function isDisclaimed({ leader, figuresOf }: Partition, broker: number): boolean {
  return leader === undefined || (leader === broker && figuresOf === undefined)
}

function isNewer(told: Partition, before: Partition): boolean {
  return (told.leaderEpoch ?? -1) >= (before.leaderEpoch ?? -1)
}

/** Where a leader is elected only with more replicas than the majority; one line of it all. */
export function electionWarnings(topics: readonly Topic[]): readonly string[] {
  return topics.flatMap(({ topic, config, partitions }) => {
    const minimum = minInSyncOf(config)
    const bad = partitions.filter(({ replicas }) => {
      return minimum !== undefined && isElectionHard(replicas.length, minimum)
    })
    const [first] = bad
    if (first === undefined || minimum === undefined) return []
    const names = bad.slice(0, NAMED_MAX).map(({ partition }) => `${topic}-${partition}`)
    const what = `${names.join(', ')}${bad.length > NAMED_MAX ? ' and others' : ''}`
    return [electionWarning(what, topic, first.replicas.length, minimum)]
  })
}

/** Undefined where all is as it should be. A second replica without a third needs both, too. */
export function growthWarning({ topic, config }: Topic, partition: number, replicas: number): string | undefined {
  const minimum = minInSyncOf(config)
  if (minimum === undefined) return undefined
  const isPair = replicas === 2 && minimum === 1
  if (!isPair && !isElectionHard(replicas, minimum)) return undefined
  return electionWarning(`${topic}-${partition}`, topic, replicas, minimum)
}

function electionWarning(what: string, topic: string, replicas: number, minimum: number): string {
  const needed = electionQuorum(replicas, Math.min(minimum, replicas))
  const all = needed === replicas ? `all ${replicas} replicas are` : `${needed} of ${replicas} replicas are`
  const better = Math.max(3, replicas)
  const majority = Math.floor(better / 2) + 1
  return (
    `warning: ${what}: min.insync.replicas is ${minimum}, so after its leader is lost another one is elected only when ` +
    `${all} there; it cannot be changed once a topic has replicas: \`tidemark topic create NEW -r ${better} ` +
    `-c min.insync.replicas=${majority}\` makes one that needs ${electionQuorum(better, majority)} of ${better}, to copy ${topic} to`
  )
}

function isElectionHard(replicas: number, minimum: number): boolean {
  return electionQuorum(replicas, Math.min(minimum, replicas)) > Math.floor(replicas / 2) + 1
}

function minInSyncOf(config: Topic['config']): number | undefined {
  const value = config.find(({ name }) => name === 'min.insync.replicas')?.value
  return value === undefined ? undefined : Number(value)
}
