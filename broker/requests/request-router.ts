// The one object that protocols talk to: every request a client may make, by name. Owns that nothing is begun any more
// once the broker stops; knows no wire format.

import type { RequestOf, ResponseOf } from '../../shared/protocol/api.ts'
import type { RequestServices } from './request-services.ts'
import type {
  FetchOutcome,
  FetchRequest,
  GroupRequests,
  PendingFetch,
  PlainRequest,
  ProduceOutcome,
  ProduceRequest,
  ReplicaFetchOutcome,
  ReplicaRequests,
  RequestContext,
} from './requests.ts'
import { TidemarkError } from '../../shared/errors.ts'
import { topicId } from '../../shared/ids.ts'
import { clusterInfo } from './cluster-info.ts'
import { describeConfigs } from './configs.ts'
import { describeTopics } from './describe-topics.ts'
import { drainBroker } from './drain.ts'
import { electLeaders } from './elections.ts'
import { epochEnds } from './epoch-ends.ts'
import { FetchRequests } from './fetch.ts'
import { GroupHandlers } from './groups.ts'
import { listOffsets } from './list-offsets.ts'
import { describeLogDirectory } from './log-directories.ts'
import { metadata } from './metadata.ts'
import { MoveRequests } from './moves.ts'
import type { AllRequests, OtherRequests } from './other-requests.ts'
import { PartitionTroubles } from './partition-troubles.ts'
import { ProduceRequests } from './produce.ts'
import { describeProducers } from './producers.ts'
import { listReassignments } from './reassignments.ts'
import { recoverPartition } from './recovery.ts'
import { TopicRequests } from './topics.ts'

type Handlers = {
  readonly [Name in PlainRequest]: (
    request: RequestOf<Name>,
    context: RequestContext,
  ) => ResponseOf<Name> | Promise<ResponseOf<Name>>
}

const STOPPING = { error: 'SHUTTING_DOWN', message: 'the broker is stopping' } as const
const NOTHING_PENDING: PendingFetch = { cancel: () => undefined }

export class RequestRouter implements AllRequests {
  readonly other: OtherRequests
  readonly #services: RequestServices
  readonly #produces: ProduceRequests
  readonly #fetches: FetchRequests
  readonly #handlers: Handlers
  readonly #replicaRequests: ReplicaRequests | undefined
  readonly #groupRequests: GroupRequests | undefined = undefined
  readonly #troubles: PartitionTroubles
  #asked = 0
  readonly #onIdle: (() => void)[] = []
  #isStopping = false

  constructor(services: RequestServices) {
    this.#services = services
    this.other = {
      epochEnds: (request) => epochEnds(services, request),
      describeProducers: (request) => describeProducers(services, request),
      describeLogDirectory: (request) => describeLogDirectory(services, request),
      describeConfigs: (request) => describeConfigs(services, request),
      listReassignments: (request) => listReassignments(services, request),
    }
    const topics = new TopicRequests(services)
    const moves = new MoveRequests(services)
    const troubles = new PartitionTroubles(services)
    this.#troubles = troubles
    this.#produces = new ProduceRequests(services, () => this.#checkIdle())
    this.#fetches = new FetchRequests(services)
    this.#handlers = {
      metadata: (request, context) => metadata(services, topics, request, context),
      listOffsets: (request) => listOffsets(services, request),
      // A counter could be set back by a lost file, and a producer id that is given out twice is a lost write.
      initProducerId: () => ({ producerId: services.random.identity(), producerEpoch: 0 }),
      createTopics: (request) => topics.createTopics(request),
      deleteTopics: (request) => topics.deleteTopics(request),
      async alterTopic(request) {
        await topics.alterTopic(request)
        return {}
      },
      async addPartitions(request) {
        await topics.addPartitions(request)
        return {}
      },
      trim: (request) => topics.trim(request),
      describeTopics: (request) => describeTopics(services, request),
      clusterInfo: (_request, context) => clusterInfo(services, troubles, context),
      async drainBroker(request) {
        await drainBroker(services, request)
        return {}
      },
      movePartitions: (request) => moves.movePartitions(request),
      decommissionBroker: (request) => moves.decommissionBroker(request),
      balanceReplicas: (request) => moves.balanceReplicas(request),
      recoverPartition: (request) => recoverPartition(services, request),
      electLeaders: (request) => electLeaders(services, request),
      findCoordinator: (request, context) => this.#groups().ask('findCoordinator', request, context),
      joinGroup: (request, context) => this.#groups().ask('joinGroup', request, context),
      syncGroup: (request, context) => this.#groups().ask('syncGroup', request, context),
      heartbeat: (request, context) => this.#groups().ask('heartbeat', request, context),
      leaveGroup: (request, context) => this.#groups().ask('leaveGroup', request, context),
      commitOffsets: (request, context) => this.#groups().ask('commitOffsets', request, context),
      fetchOffsets: (request, context) => this.#groups().ask('fetchOffsets', request, context),
      listGroups: (request, context) => this.#groups().ask('listGroups', request, context),
      describeGroups: (request, context) => this.#groups().ask('describeGroups', request, context),
      deleteGroups: (request, context) => this.#groups().ask('deleteGroups', request, context),
      deleteOffsets: (request, context) => this.#groups().ask('deleteOffsets', request, context),
      fence: (request) => this.#replicas().fence(request),
      announceLeaders: (request) => this.#replicas().announceLeaders(request),
      suggestLeader: (request) => this.#replicas().suggestLeader(request),
      probeBroker: (request) => this.#replicas().probeBroker(request),
      dismissReplicas: (request) => this.#replicas().dismissReplicas(request),
    }
    this.#replicaRequests = services.replicas
    if (services.groups !== undefined) this.#groupRequests = new GroupHandlers(services, topics, services.groups)
  }

  #groups(): GroupRequests {
    if (this.#groupRequests !== undefined) return this.#groupRequests
    throw new TidemarkError('COORDINATOR_NOT_AVAILABLE', 'this broker coordinates no groups')
  }

  #replicas(): ReplicaRequests {
    if (this.#replicaRequests !== undefined) return this.#replicaRequests
    throw new TidemarkError('INVALID_REQUEST', 'this broker is alone: it has no replicas of partitions of others')
  }

  replicaFetch(
    request: RequestOf<'replicaFetch'>,
    _context: RequestContext,
    respond: (outcomes: readonly ReplicaFetchOutcome[]) => void,
    onReading?: (isReading: boolean) => void,
  ): PendingFetch {
    if (this.#isStopping) throw new TidemarkError(STOPPING.error, STOPPING.message)
    return this.#replicas().replicaFetch(request, respond, onReading)
  }

  onConnectionClosed({ connectionId }: RequestContext): void {
    this.#groupRequests?.onConnectionClosed(connectionId)
  }

  topicName(id: string): string | undefined {
    return this.#services.coordinator.topics.get(topicId(id))?.name
  }

  /** Requests that are begun and not answered, fetches that wait for records not counted. */
  get unanswered(): number {
    return this.#produces.unanswered + this.#asked
  }

  get waitingFetches(): number {
    return this.#fetches.unanswered
  }

  produce(
    request: ProduceRequest,
    _context: RequestContext,
    respond: (outcomes: readonly ProduceOutcome[]) => void,
  ): void {
    if (this.#isStopping) {
      respond(request.partitions.map(refuseProduce))
      return
    }
    this.#produces.produce(request, respond)
  }

  fetch(
    request: FetchRequest,
    _context: RequestContext,
    respond: (outcomes: readonly FetchOutcome[]) => void,
    onReading?: (isReading: boolean) => void,
  ): PendingFetch {
    if (!this.#isStopping) return this.#fetches.fetch(request, respond, onReading)
    respond(request.partitions.map((_, index) => refuseFetch(index)))
    return NOTHING_PENDING
  }

  async ask<Name extends PlainRequest>(
    name: Name,
    request: RequestOf<Name>,
    context: RequestContext,
  ): Promise<ResponseOf<Name>> {
    if (this.#isStopping) throw new TidemarkError('SHUTTING_DOWN', STOPPING.message)
    this.#asked += 1
    try {
      return await this.#handlers[name](request, context)
    } finally {
      this.#asked -= 1
      this.#checkIdle()
    }
  }

  /** Resolves when everything that was begun has been answered; fetches that wait for records are not waited for. */
  whenIdle(): Promise<void> {
    if (this.unanswered === 0) return Promise.resolve()
    return new Promise((resolve) => {
      this.#onIdle.push(resolve)
    })
  }

  /** Begins nothing any more, and answers the fetches that wait with what there is. */
  stop(): void {
    this.#isStopping = true
    this.#fetches.endWaits()
    this.#troubles.stop()
    this.#groupRequests?.stop()
  }

  #checkIdle(): void {
    if (this.#onIdle.length === 0 || this.unanswered > 0) return
    for (const resolve of this.#onIdle.splice(0)) resolve()
  }
}

function refuseProduce(): ProduceOutcome {
  return { refusal: STOPPING, baseOffset: undefined, logStartOffset: undefined, logAppendTime: undefined }
}

function refuseFetch(index: number): FetchOutcome {
  return { index, refusal: STOPPING, highWatermark: undefined, logStartOffset: undefined, records: undefined }
}
