// A cluster that speaks Kafka's protocol, as seen from outside: who its brokers are, who leads what, and asking the right one
// again until it answers. Owns the connections and what is known of leaders; knows nothing of what is copied.
//
// Invariant: what is asked again does no harm when it was done already; whoever asks for more has to see to it.

import type { ClientEnvironment } from '../../client/environment.ts'
import type { Address } from '../../client/transport.ts'
import { errorFromWire, toTidemarkError } from '../../client/errors.ts'
import { backoffMs } from '../../client/retry.ts'
import { TidemarkError } from '../../shared/errors.ts'
import { sleep } from '../../shared/time.ts'
import { metadata } from '../protocols/kafka/03-metadata.ts'
import { findCoordinator } from '../protocols/kafka/10-find-coordinator.ts'
import type { AnswerOf, AnyApi, QuestionOf } from '../protocols/kafka/api.ts'
import { NO_UUID } from '../protocols/kafka/primitives.ts'
import { KafkaConnection } from './kafka-connection.ts'

export interface KafkaClusterOptions {
  /** For messages: which of the two it is. */
  readonly name: string
  readonly bootstrap: readonly Address[]
  readonly clientId: string
  readonly requestTimeoutMs: number
  /** How long something is tried again that may pass, in milliseconds. */
  readonly patienceMs: number
  readonly signal: AbortSignal
}

export interface KnownTopic {
  readonly name: string
  readonly isInternal: boolean
  readonly partitionCount: number
  readonly replicationFactor: number
}

export interface PartitionName {
  readonly topic: string
  readonly partition: number
  /** Which connection to the leader: work that goes on side by side does not wait for each other. */
  readonly lane: number
}

/** Which broker is asked: any, the controller, a node, the leader of a partition, or the coordinator of a group. */
export type Target = 'any' | 'controller' | { readonly node: number } | PartitionName | { readonly group: string }

const CONNECT_MS_MAX = 10_000
const RETRY = { minMs: 50, maxMs: 2_000 }
/** From the next version on topics have ids, which nothing here needs. */
const METADATA_VERSION_MAX = 9
const FIND_COORDINATOR_VERSION_MAX = 3
const GROUP = 0

export class KafkaCluster {
  readonly name: string
  readonly #environment: ClientEnvironment
  readonly #options: KafkaClusterOptions
  readonly #connections = new Map<string, Promise<KafkaConnection>>()
  readonly #leaders = new Map<string, readonly number[]>()
  #addresses = new Map<number, Address>()
  #controller = -1
  #id = ''
  #isClosed = false

  constructor(environment: ClientEnvironment, options: KafkaClusterOptions) {
    this.#environment = environment
    this.#options = options
    this.name = options.name
  }

  /** What the cluster calls itself; empty until it has been asked for its topics. */
  get id(): string {
    return this.#id
  }

  get nodes(): readonly number[] {
    return [...this.#addresses.keys()]
  }

  /** HOST:PORT of its brokers, as far as they are known. */
  get addresses(): readonly string[] {
    return [...this.#addresses.values()].map(({ host, port }) => `${host}:${port}`)
  }

  /** All its topics, or those that are named and there. @throws TidemarkError */
  async topics(names?: readonly string[]): Promise<readonly KnownTopic[]> {
    const found = await this.persist('its topics', () => this.#learn(names))
    return found.topics.flatMap(({ errorCode, name = '', isInternal, partitions }) => {
      // A topic whose partitions have no leader for now is there all the same.
      if (errorCode === UNKNOWN_TOPIC || (errorCode !== 0 && partitions.length === 0)) return []
      const replicationFactor = partitions[0]?.replicaNodes.length ?? 1
      return [{ name, isInternal, partitionCount: partitions.length, replicationFactor }]
    })
  }

  /** Whether the broker says that it has the feature. @throws TidemarkError */
  async has(feature: string): Promise<boolean> {
    return await this.persist('its features', () => this.hasAt('any', feature))
  }

  /** As `has`, asked once. @throws TidemarkError */
  async hasAt(to: Target, feature: string): Promise<boolean> {
    return (await this.#connectionTo(to)).has(feature)
  }

  /** Asks once. @throws TidemarkError */
  async askOnce<A extends AnyApi>(
    to: Target,
    api: A,
    request: QuestionOf<A>,
    versionMax?: number,
  ): Promise<AnswerOf<A>> {
    const connection = await this.#connectionTo(to)
    return await connection.ask(api, request, versionMax)
  }

  /**
   * Does the work again until it succeeds, fails for a reason that will not pass, or has failed for longer than the patience.
   * @throws TidemarkError
   */
  async persist<T>(what: string, work: () => Promise<T>): Promise<T> {
    const { clock, timers, random } = this.#environment
    const { patienceMs, signal } = this.#options
    const giveUpAt = clock.monotonic() + patienceMs
    for (let failures = 1; ; failures += 1) {
      signal.throwIfAborted()
      try {
        return await work()
      } catch (thrown) {
        const error = toTidemarkError(thrown, 'UNKNOWN_SERVER_ERROR', `${this.name}: ${what}`)
        if (!error.retriable || this.#isClosed || clock.monotonic() >= giveUpAt) throw this.#told(what, error)
        this.#leaders.clear()
        await sleep(timers, backoffMs(failures, RETRY, random), signal)
      }
    }
  }

  /** Idempotent. */
  close(): void {
    this.#isClosed = true
    for (const opening of this.#connections.values()) {
      opening.then(
        (connection) => connection.close(),
        () => undefined,
      )
    }
    this.#connections.clear()
  }

  #told(what: string, error: TidemarkError): TidemarkError {
    return new TidemarkError(error.code, `${this.name}, ${what}: ${error.message}`, { cause: error })
  }

  async #connectionTo(to: Target): Promise<KafkaConnection> {
    if (to === 'any') return await this.#anyConnection()
    if (to === 'controller') {
      if (this.#controller < 0) await this.#learn([])
      return this.#controller < 0 ? await this.#anyConnection() : await this.#connectionToNode(this.#controller)
    }
    if ('node' in to) return await this.#connectionToNode(to.node)
    if ('group' in to) return await this.#coordinatorOf(to.group)
    return await this.#connectionToNode(await this.#leaderOf(to.topic, to.partition), to.lane)
  }

  async #leaderOf(topic: string, partition: number): Promise<number> {
    if (!this.#leaders.has(topic)) {
      const { topics } = await this.#learn([topic])
      if (topics[0]?.errorCode === UNKNOWN_TOPIC) {
        this.#leaders.delete(topic)
        throw new TidemarkError('UNKNOWN_TOPIC_OR_PARTITION', `there is no topic ${topic}`, { topic })
      }
    }
    const leader = this.#leaders.get(topic)?.[partition] ?? -1
    if (leader >= 0) return leader
    this.#leaders.delete(topic)
    throw new TidemarkError('LEADER_NOT_AVAILABLE', `${topic}-${partition} has no leader`, { topic, partition })
  }

  async #coordinatorOf(group: string): Promise<KafkaConnection> {
    const connection = await this.#anyConnection()
    const question = { key: group, keyType: GROUP, coordinatorKeys: [] }
    const found = await connection.ask(findCoordinator, question, FIND_COORDINATOR_VERSION_MAX)
    checkCode(found.errorCode, `the coordinator of group ${group}`)
    this.#addresses.set(found.nodeId, { host: found.host, port: found.port })
    return await this.#connectionToNode(found.nodeId)
  }

  async #learn(names: readonly string[] | undefined): Promise<AnswerOf<typeof metadata>> {
    const connection = await this.#anyConnection()
    const topics = names?.map((name) => ({ name, topicId: NO_UUID }))
    const question = {
      topics,
      allowAutoTopicCreation: false,
      includeClusterAuthorizedOperations: false,
      includeTopicAuthorizedOperations: false,
    }
    const found = await connection.ask(metadata, question, METADATA_VERSION_MAX)
    this.#id = found.clusterId ?? ''
    this.#controller = found.controllerId
    this.#addresses = new Map(found.brokers.map(({ nodeId, host, port }) => [nodeId, { host, port }]))
    for (const { name, partitions } of found.topics) {
      const leaders: number[] = []
      for (const { partitionIndex, leaderId } of partitions) leaders[partitionIndex] = leaderId
      if (name !== undefined) this.#leaders.set(name, leaders)
    }
    return found
  }

  async #connectionToNode(node: number, lane = 0): Promise<KafkaConnection> {
    if (!this.#addresses.has(node)) await this.#learn([])
    const address = this.#addresses.get(node)
    if (address === undefined)
      throw new TidemarkError('LEADER_NOT_AVAILABLE', `there is no broker ${node} at the moment`)
    return await this.#connect(address, `${address.host}:${address.port}/${lane}`)
  }

  /** One that is open, or the first that can be opened. @throws the error of the last one that could not */
  async #anyConnection(): Promise<KafkaConnection> {
    const addresses = [...this.#addresses.values(), ...this.#options.bootstrap]
    let failure: unknown
    for (const address of addresses) {
      try {
        return await this.#connect(address, `${address.host}:${address.port}/0`)
      } catch (error) {
        failure = error
      }
    }
    throw failure
  }

  async #connect(address: Address, key: string): Promise<KafkaConnection> {
    this.#options.signal.throwIfAborted()
    const known = this.#connections.get(key)
    if (known !== undefined) {
      const connection = await known
      if (!connection.isClosed) return connection
      if (this.#connections.get(key) === known) this.#connections.delete(key)
      return await this.#connect(address, key)
    }
    const { clientId, requestTimeoutMs } = this.#options
    const connectTimeoutMs = Math.min(requestTimeoutMs, CONNECT_MS_MAX)
    const opening = KafkaConnection.open(this.#environment, { address, clientId, connectTimeoutMs, requestTimeoutMs })
    this.#connections.set(key, opening)
    try {
      return await opening
    } catch (error) {
      if (this.#connections.get(key) === opening) this.#connections.delete(key)
      throw error
    }
  }
}

const UNKNOWN_TOPIC = 3

/** @throws TidemarkError for a number that is not 0 */
export function checkCode(number: number, what: string, message?: string): void {
  if (number === 0) return
  const error = errorFromWire(number, message)
  const detail = error.code === 'UNKNOWN_SERVER_ERROR' ? `Kafka's error ${number}` : error.message
  throw errorFromWire(number, `${what}: ${detail}`)
}
