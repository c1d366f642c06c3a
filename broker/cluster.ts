// What a broker of a cluster has and one that is alone has not: links to the others, replicas that follow and lead, and who
// tries to lead. Composes them in order and stops them in reverse; holds no rule of theirs.

import type { Logger } from '../shared/logger.ts'
import type { BrokerId, TopicId } from '../shared/ids.ts'
import type { Coordinator } from './coordination/coordinator.ts'
import type { Environment } from './environment.ts'
import type { Meter } from './metrics/meter.ts'
import type { DelayedOperations } from './replication/delayed-operations.ts'
import type { ReplicaRequests } from './requests/requests.ts'
import type { LogDirectory } from './storage/log-directory.ts'
import { PeerLinks } from './peers/peer-links.ts'
import { LeaderElector } from './replication/leader-elector.ts'
import { LeadershipPublisher } from './replication/leadership-publisher.ts'
import { ReplicaFetchRequests } from './replication/replica-fetch.ts'
import { ReplicaFetcher } from './replication/replica-fetcher.ts'
import { Replication } from './replication/replication.ts'

export interface ClusterParts {
  readonly brokerId: BrokerId
  readonly cluster: string
  readonly environment: Environment
  readonly directory: LogDirectory
  readonly coordinator: Coordinator
  readonly delayed: DelayedOperations
  readonly withoutLease: 'serve' | 'stop'
  readonly logger: Logger
  readonly meter: Meter
}

export class Cluster {
  readonly replication: Replication
  readonly requests: ReplicaRequests
  readonly #peers: PeerLinks
  readonly #publisher: LeadershipPublisher
  readonly #fetcher: ReplicaFetcher
  readonly #elector: LeaderElector

  constructor(parts: ClusterParts) {
    const { brokerId, environment, coordinator, directory, delayed, logger, meter } = parts
    const { clock, timers, random } = environment
    const { directoryId, incarnation = 0 } = directory.startFacts
    const common = { brokerId, clock, timers, random, logger, meter, coordinator }
    const links = { clock, timers, random, transport: environment.outgoing }
    const peers = new PeerLinks({ ...common, cluster: parts.cluster, environment: links })
    const publisher = new LeadershipPublisher(common)
    const fetching = new ReplicaFetcher({ ...common, directoryId, incarnation, peers })
    const { withoutLease } = parts
    const replication = new Replication({ ...common, directory, peers, fetching, publisher, withoutLease })
    const find = replication.find.bind(replication)
    const fetches = new ReplicaFetchRequests({ find, delayed, clock })
    const elector = new LeaderElector({ ...common, peers, find, replicas: () => replication.all() })
    this.replication = replication
    this.requests = {
      replicaFetch: (request, respond, onReading) => fetches.replicaFetch(request, respond, onReading),
      fence: (request) => replication.fence(request),
      announceLeaders: (request) => replication.announceLeaders(request),
      suggestLeader: (request) => replication.suggestLeader(request),
      probeBroker: (request) => elector.probeBroker(request),
    }
    this.#peers = peers
    this.#publisher = publisher
    this.#fetcher = fetching
    this.#elector = elector
  }

  start(): void {
    this.#peers.start()
    this.replication.start(this.#elector)
    this.#elector.start()
  }

  /** What this broker knows better than the coordinator: where it leads itself. */
  leadershipOf(topicId: TopicId, partition: number) {
    const replica = this.replication.find(topicId, partition)
    if (replica === undefined || replica.role !== 'leader' || replica.leaderEpoch === undefined) return undefined
    return {
      leader: this.replication.brokerId,
      leaderEpoch: replica.leaderEpoch,
      inSyncReplicas: replica.state.inSyncReplicas,
    }
  }

  /** Has the others lead what is led here; resolves when that is done, or has taken too long. */
  async handOver(): Promise<void> {
    await this.#elector.prepareStop()
  }

  /** After the partitions. */
  async stop(): Promise<void> {
    this.#elector.stop()
    this.replication.stop()
    this.#publisher.stop()
    this.#fetcher.close()
    await this.#peers.stop()
  }
}

/** The topics of a broker that was alone until now have one replica each: here. @throws DISK_FULL, STORAGE_ERROR */
export async function adoptTopics(directory: LogDirectory, self: BrokerId): Promise<void> {
  const { directoryId } = directory.startFacts
  for (const topic of directory.topics.list()) {
    if (topic.assignment !== undefined) continue
    const assignment = Array.from({ length: topic.partitions }, () => [self])
    const directories = { [String(self)]: directoryId }
    await directory.changeTopic({ ...topic, replicationFactor: 1, assignment, directories, version: topic.version + 1 })
  }
}
