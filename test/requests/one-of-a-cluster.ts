// One broker of a cluster, as far as it serves requests: its catalogue, its partitions and its router, on a real Redis. The
// others are coordinators that only take part in what is agreed on, so that the test says what they do.

import { onTestFinished } from 'vitest'
import type { RequestOf } from '../../shared/protocol/api.ts'
import type { TopicDefinition } from '../../broker/coordination/coordinator.ts'
import { SlotMeter } from '../../broker/metrics/meter.ts'
import { DelayedOperations } from '../../broker/replication/delayed-operations.ts'
import { PartitionManager } from '../../broker/replication/partition-manager.ts'
import { TurnWriter } from '../../broker/replication/turn-writer.ts'
import type { LocalLeadership, LocalReplica, RequestServices } from '../../broker/requests/request-services.ts'
import { RequestRouter } from '../../broker/requests/request-router.ts'
import { LogDirectory } from '../../broker/storage/log-directory.ts'
import { MemoryDisk } from '../../broker/storage/memory-disk.ts'
import { redisCoordinator } from '../../broker/coordination/redis-coordinator.ts'
import { must } from '../../shared/assert.ts'
import { errorCodeOf } from '../../shared/errors.ts'
import type { TopicId } from '../../shared/ids.ts'
import { brokerId, timestampMs } from '../../shared/ids.ts'
import { silentLogger } from '../../shared/logger.ts'
import { seededRandom } from '../../shared/random.ts'
import { systemClock, systemTimers } from '../../shared/time.ts'
import { begin, DiskOfABroker, type Life } from '../coordination/redis-lives.ts'

export const SELF = brokerId(1)
const ids = seededRandom(77)
let clusters = 0

interface Options {
  /** How many brokers besides the one under test. */
  readonly others?: number
  readonly partitionsMax?: number
  readonly topicDefaults?: Readonly<Record<string, string>>
}

export async function startCluster(url: string, { others = 2, partitionsMax = 100, topicDefaults = {} }: Options = {}) {
  clusters += 1
  const cluster = `topics-${clusters}`
  const common = {
    clock: systemClock,
    timers: systemTimers,
    random: ids,
    logger: silentLogger,
    cluster,
    brokerId: SELF,
  }
  const directory = await LogDirectory.open({
    ...common,
    disk: new MemoryDisk(systemClock),
    path: '/d',
    reserveBytes: 0,
  })
  const { directoryId } = directory.identity
  const store = {
    list: () => directory.topics.list(),
    put: (topic: TopicDefinition) =>
      directory.topics.get(topic.topicId) === undefined ? directory.createTopic(topic) : directory.changeTopic(topic),
    remove: (id: TopicId) => directory.deleteTopic(id),
  }
  const options = { url, onDisk: new DiskOfABroker(), pollEveryMs: 20 }
  const coordinator = redisCoordinator(options)({ ...common, incarnation: ids.uuid(), store })
  await coordinator.start()
  const self = { brokerId: SELF, incarnation: ids.uuid(), host: '127.0.0.1', port: 9001, rack: undefined }
  await coordinator.join({ ...self, software: 'test', startedAt: timestampMs(1), directoryId })
  const partitions = new PartitionManager({
    directory,
    coordinator,
    turnWriter: new TurnWriter(systemTimers),
    meter: new SlotMeter(),
    logger: silentLogger,
    topicDefaults,
    partitionsMax,
    metricsPerTopic: false,
  })
  await partitions.start()
  const delayed = new DelayedOperations({ clock: systemClock, timers: systemTimers, countMax: 100 })
  const local = new Map<string, LocalLeadership>()
  const replicas = new Map<string, LocalReplica>()
  const services: RequestServices = {
    ...common,
    partitions,
    coordinator,
    delayed,
    isCluster: true,
    limits: { fetchMaxBytes: 1_000, autoCreateTopics: true, defaultPartitions: 1, defaultReplicationFactor: 3 },
    localLeadership: (id, partition) => local.get(`${id}:${partition}`),
    localReplica: (id, partition) => replicas.get(`${id}:${partition}`),
    checks: () => [],
  }
  const router = new RequestRouter(services)
  onTestFinished(async () => {
    router.stop()
    delayed.expireAll()
    partitions.stop()
    await coordinator.stop()
    await directory.stop()
  })
  const lives: Life[] = []
  for (let id = 2; id < 2 + others; id += 1) lives.push(await begin({ url, cluster, id, pollEveryMs: 20 }))
  const until = (condition: () => boolean): Promise<void> =>
    new Promise((resolve) => {
      const subscription = coordinator.subscribe(() => look())
      const look = (): void => {
        if (!condition()) return
        subscription.remove()
        resolve()
      }
      look()
    })
  await until(() => coordinator.brokers().length === 1 + others)
  const join = async (id: number): Promise<void> => {
    lives.push(await begin({ url, cluster, id, pollEveryMs: 20 }))
    await until(() => coordinator.brokers().some((broker) => broker.brokerId === id))
  }
  const context = { connectionId: 1, protocol: 'native', remote: 'test', clientId: '', software: '' } as const
  const ask = <Name extends Parameters<typeof router.ask>[0]>(name: Name, request: RequestOf<Name>) =>
    router.ask(name, request, context)
  const create = async (topic: Partial<NewTopic>, timeoutMs = 0) => {
    const all = { topic: 'a', partitions: 3, replicationFactor: undefined, config: [], ...topic }
    const answer = await ask('createTopics', { topics: [all], validateOnly: false, timeoutMs })
    const { error, message } = must(answer.topics[0], 'one was asked for')
    return error === 0 ? 'created' : `${errorCodeOf(error)}: ${message}`
  }
  const topic = (name = 'a') => must(coordinator.topics.byName(name), 'the topic is there')
  return {
    name: cluster,
    coordinator,
    directory,
    delayed,
    lives,
    until,
    join,
    ask,
    create,
    topic,
    local,
    replicas,
    directoryId,
  }
}

type NewTopic = RequestOf<'createTopics'>['topics'][number]
export type Cluster = Awaited<ReturnType<typeof startCluster>>
