// What a broker of a cluster has and one that is alone has not: links to the others, replicas that follow and lead, and who
// tries to lead. Composes them in order and stops them in reverse; holds no rule of theirs.

import type { Logger } from '../shared/logger.ts'
import type { BrokerId, TopicId } from '../shared/ids.ts'
import type { Coordinator } from './coordination/coordinator.ts'
import type { Environment } from './environment.ts'
import type { Meter } from './metrics/meter.ts'
import { assertNever } from '../shared/assert.ts'
import type { Peers } from './replication/peers.ts'
import type { Replica } from './replication/replica.ts'
import type { LocalLeadership, LocalReplica } from './requests/request-services.ts'
import type { ReplicaRequests } from './requests/requests.ts'
import type { LogDirectory } from './storage/log-directory.ts'
import { PeerLinks, type PeerTrouble } from './peers/peer-links.ts'
import { DelayedOperations } from './replication/delayed-operations.ts'
import { LeaderElector } from './replication/leader-elector.ts'
import { LeadershipPublisher } from './replication/leadership-publisher.ts'
import { ReplicaFetchRequests } from './replication/replica-fetch.ts'
import { ReplicaFetcher } from './replication/replica-fetcher.ts'
import { ReplicationGauges } from './replication/replication-metrics.ts'
import type { VoterChange } from './replication/voter-changes.ts'
import { Replication } from './replication/replication.ts'

/** Fetches of followers that may wait: a few of each broker. They are apart from the consumers', however many of those wait. */
const FOLLOWERS_WAITING_MAX = 4_096

export interface ClusterParts {
  readonly brokerId: BrokerId
  readonly cluster: string
  readonly environment: Environment
  readonly directory: LogDirectory
  readonly coordinator: Coordinator
  readonly withoutLease: 'serve' | 'stop'
  readonly logger: Logger
  readonly meter: Meter
}

export class Cluster {
  readonly replication: Replication
  readonly requests: ReplicaRequests
  readonly #fetches: ReplicaFetchRequests
  readonly #peers: PeerLinks
  readonly #publisher: LeadershipPublisher
  readonly #fetcher: ReplicaFetcher
  readonly #elector: LeaderElector
  readonly #gauges: ReplicationGauges

  constructor(parts: ClusterParts) {
    const { brokerId, environment, coordinator, directory, logger, meter } = parts
    const { clock, timers, random } = environment
    const { directoryId, incarnation = 0 } = directory.startFacts
    const common = { brokerId, clock, timers, random, logger, meter, coordinator }
    const links = { clock, timers, random, transport: environment.outgoing }
    const peers = new PeerLinks({ ...common, cluster: parts.cluster, environment: links })
    const publisher = new LeadershipPublisher(common)
    const onLeaderRefused = (replica: Replica, leader: BrokerId): void => elector.onLeaderRefused(replica, leader)
    const fetching = new ReplicaFetcher({ ...common, directoryId, incarnation, peers, onLeaderRefused })
    const { withoutLease } = parts
    const trial = environment.replicaTrial
    const replication = new Replication({
      ...common,
      ...(trial === undefined ? {} : { trial }),
      directory,
      peers,
      fetching,
      publisher,
      withoutLease,
    })
    const find = replication.find.bind(replication)
    const delayed = new DelayedOperations({ clock, timers, countMax: FOLLOWERS_WAITING_MAX })
    const fetches = new ReplicaFetchRequests({ find, delayed, clock })
    const elector = new LeaderElector({
      ...common,
      peers,
      find,
      replicas: () => replication.all(),
      onBrokerGone: (id) => replication.onBrokerGone(id),
      giveBack: (replicas) => publisher.giveBack(replicas),
    })
    this.replication = replication
    this.requests = {
      replicaFetch: (request, respond, onReading) => fetches.replicaFetch(request, respond, onReading),
      fence: (request) => replication.fence(request),
      announceLeaders: (request) => replication.announceLeaders(request),
      suggestLeader: (request) => replication.suggestLeader(request),
      probeBroker: (request) => elector.probeBroker(request),
      dismissReplicas: (request) => replication.dismissReplicas(request),
    }
    this.#gauges = new ReplicationGauges({ ...common, replicas: () => replication.all() })
    this.#fetches = fetches
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

  /** What this broker knows better than the coordinator: where it leads itself, or has just ceased to. */
  leadershipOf(topicId: TopicId, partition: number): LocalLeadership | undefined {
    const replica = this.replication.find(topicId, partition)
    const { leaderEpoch } = replica ?? {}
    if (replica === undefined || leaderEpoch === undefined) return undefined
    const leader = replica.role === 'leader' ? this.replication.brokerId : undefined
    return { leader, leaderEpoch, inSyncReplicas: replica.state.inSyncReplicas }
  }

  get peers(): Peers {
    return this.#peers
  }

  /** Of the members that this broker has no connection to. */
  peerTroubles(): readonly PeerTrouble[] {
    return this.#peers.troubles()
  }

  /** The replica here; undefined where there is none. */
  replicaOf(topicId: TopicId, partition: number): LocalReplica | undefined {
    const replica = this.replication.find(topicId, partition)
    return replica === undefined ? undefined : localReplica(replica)
  }

  /** Why the partition is not as it should be, as its replica here sees it; undefined when it is, or has none here. */
  explain(topicId: TopicId, partition: number): string | undefined {
    const replica = this.replication.find(topicId, partition)
    if (replica === undefined) return undefined
    const change = this.replication.voterChange(topicId, partition)
    const reasons = [explainReplica(replica), change === undefined ? undefined : explainChange(change)]
    return reasons.filter((reason) => reason !== undefined).join('; ') || undefined
  }

  /** Has the others lead what is led here; resolves when that is done, or has taken too long. */
  async handOver(): Promise<void> {
    await this.#elector.prepareStop()
  }

  /** Answers every follower that waits. */
  endWaits(): void {
    this.#fetches.endWaits()
  }

  /** After the partitions. */
  stop(): void {
    this.#gauges.stop()
    this.#elector.stop()
    this.replication.stop()
    this.#publisher.stop()
    this.#fetcher.close()
    this.#peers.stop()
  }
}

function localReplica(replica: Replica): LocalReplica {
  const { role, state, partition, leader } = replica
  const { logStartOffset, logEndOffset } = partition.log
  return {
    isOpen: role !== 'offline',
    isLeading: role === 'leader',
    isLeaderless: role === 'candidate' || (role === 'follower' && leader === undefined),
    voterSets: state.voterSets,
    isSuspect: state.isSuspect,
    logStartOffset,
    highWatermark: state.highWatermark,
    logEndOffset,
    handOver: (to) => replica.handOver(to),
    recover: () => replica.recover(),
  }
}

/** Of a move that is under way, as its leader sees it. */
function explainChange({ wanted, why, behind }: VoterChange): string {
  const ids = wanted.map(({ brokerId }) => brokerId).join(', ')
  const way = `on its way to brokers ${ids}`
  if (why !== 'newcomers-behind') return way
  return `${way}: ${behind.join(', ')} ${behind.length === 1 ? 'has' : 'have'} not caught up yet`
}

function explainReplica({ stopReason, role, state, identity, leader, partition }: Replica): string | undefined {
  if (stopReason !== undefined) return `out of service here: ${stopReason}`
  switch (role) {
    case 'offline':
      return 'the log here is not open'
    case 'candidate':
      return 'an election is under way'
    case 'resigned':
      return 'this broker has no lease of the coordinator, and too few followers that confirm it: it takes no records'
    case 'follower':
      return leader === undefined ? 'nobody is known to lead it' : undefined
    case 'leader': {
      const { inSyncReplicas, highWatermark } = state
      const missing = identity.assignment.filter((id) => !inSyncReplicas.includes(id))
      if (!state.hasEnoughInSync) {
        const { minInSyncReplicas } = identity
        return `${inSyncReplicas.length} in sync, min.insync.replicas is ${minInSyncReplicas}: ${laggards(missing)}`
      }
      const isStuck = !state.isLatestKnown && partition.log.logEndOffset > highWatermark
      if (isStuck) return `waiting for ${identity.minInSyncReplicas} replicas to hold what this leader begins with`
      return missing.length === 0 ? undefined : laggards(missing)
    }
    default:
      return assertNever(role)
  }
}

function laggards(missing: readonly number[]): string {
  return missing.length === 1 ? `broker ${missing[0]} does not keep up` : `brokers ${missing.join(', ')} do not keep up`
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
