// Who leads what, as last heard. Owns the age of what it knows and sees to it that one request at a time asks. Pure but
// for the asking, which is handed in. Invariants: a topic that is here was answered without an error; while a topic stays
// the same, the leader epoch of a partition never goes back, whatever a broker that has missed something answers.

import type { ErrorCode, TidemarkError } from '../shared/errors.ts'
import type { ResponseOf } from '../shared/protocol/api.ts'
import type { Clock } from '../shared/time.ts'
import { errorFromWire, errorOf } from './errors.ts'
import type { Address } from './transport.ts'

export interface PartitionMetadata {
  readonly partition: number
  /** Broker id; absent while there is none. */
  readonly leader: number | undefined
  readonly leaderEpoch: number | undefined
}

export interface TopicMetadata {
  readonly topic: string
  readonly topicId: string | undefined
  /** By partition number, without gaps. */
  readonly partitions: readonly PartitionMetadata[]
  /** Bytes that a batch may have; undefined where the broker does not say. */
  readonly batchBytesMax: number | undefined
  /** By the monotonic clock, milliseconds. */
  readonly learnedAt: number
}

export type AskMetadata = (topics: readonly string[], createMissing: boolean) => Promise<ResponseOf<'metadata'>>

interface Round {
  readonly topics: Set<string>
  createMissing: boolean
  readonly done: Promise<void>
}

/** Topics that are kept, at most; the one that was learned first goes. */
const TOPICS_MAX = 10_000
/** Addresses of brokers that are named no more; the one that was learned first goes. */
const FORMER_ADDRESSES_MAX = 64

export class MetadataCache {
  readonly #clock: Clock
  readonly #maxAgeMs: number
  readonly #ask: AskMetadata
  readonly #topics = new Map<string, TopicMetadata>()
  readonly #brokers = new Map<number, Address>()
  /** Of every broker that was ever named: when the last answer came from one that is cut off, these are the way out. */
  readonly #formerAddresses = new Map<string, Address>()
  readonly #listeners = new Set<() => void>()
  /** The error that the broker answered for a topic the last time. */
  readonly #refusals = new Map<string, TidemarkError>()
  #controllerId: number | undefined
  #running: Round | undefined
  #next: Round | undefined
  #version = 0

  constructor(clock: Clock, maxAgeMs: number, ask: AskMetadata) {
    this.#clock = clock
    this.#maxAgeMs = maxAgeMs
    this.#ask = ask
  }

  /** Grows with every answer; who keeps something derived compares it. */
  get version(): number {
    return this.#version
  }

  get controllerId(): number | undefined {
    return this.#controllerId
  }

  addressOf(brokerId: number): Address | undefined {
    return this.#brokers.get(brokerId)
  }

  /** All brokers known, ascending. */
  brokerIds(): number[] {
    return [...this.#brokers.keys()].toSorted((a, b) => a - b)
  }

  /** All brokers known, in no order. */
  addresses(): Address[] {
    return [...this.#brokers.values()]
  }

  /** Brokers that were named once and are named no more, as far as they are remembered. */
  formerAddresses(): Address[] {
    const named = new Set(this.addresses().map(keyOf))
    return [...this.#formerAddresses.values()].filter((address) => !named.has(keyOf(address)))
  }

  /** Calls back after every answer, until the function that is answered is called. */
  onLearned(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  /** As last heard, however old; undefined when it was never heard of or the last answer was an error. */
  topic(name: string): TopicMetadata | undefined {
    return this.#topics.get(name)
  }

  /** What the broker said instead of describing the topic. */
  refusalOf(name: string): TidemarkError | undefined {
    return this.#refusals.get(name)
  }

  isStale(name: string): boolean {
    const known = this.#topics.get(name)
    return known === undefined || this.#clock.monotonic() - known.learnedAt > this.#maxAgeMs
  }

  leaderOf(topic: string, partition: number): PartitionMetadata | undefined {
    return this.#topics.get(topic)?.partitions[partition]
  }

  /**
   * Asks again. Calls while a request is on its way share the next one, which asks for the topics of all. @throws what
   * asking throws; a topic that was refused is no error here, see refusalOf.
   */
  refresh(topics: readonly string[], createMissing: boolean): Promise<void> {
    if (this.#running === undefined) {
      this.#running = this.#start(new Set(topics), createMissing, Promise.resolve())
      return this.#running.done
    }
    if (this.#next === undefined) {
      const before = this.#running.done.catch(() => undefined)
      this.#next = this.#start(new Set(topics), createMissing, before)
    } else {
      for (const topic of topics) this.#next.topics.add(topic)
      this.#next.createMissing ||= createMissing
    }
    return this.#next.done
  }

  #start(topics: Set<string>, createMissing: boolean, before: Promise<void>): Round {
    const run = async (): Promise<void> => {
      await before
      try {
        // Read only now: until here others may have added to the round.
        this.#learn(await this.#ask([...round.topics], round.createMissing))
      } finally {
        this.#running = this.#next
        this.#next = undefined
      }
    }
    const round: { topics: Set<string>; createMissing: boolean; done: Promise<void> } = {
      topics,
      createMissing,
      done: Promise.resolve(),
    }
    round.done = run()
    round.done.catch(() => undefined)
    return round
  }

  #learn(response: ResponseOf<'metadata'>): void {
    this.#version += 1
    this.#controllerId = response.controllerId
    this.#brokers.clear()
    for (const { brokerId, host, port } of response.brokers) {
      this.#brokers.set(brokerId, { host, port })
      this.#formerAddresses.set(keyOf({ host, port }), { host, port })
    }
    const learnedAt = this.#clock.monotonic()
    for (const described of response.topics) {
      const { topic, topicId, error, batchBytesMax } = described
      const before = this.#topics.get(topic)
      this.#topics.delete(topic)
      this.#refusals.delete(topic)
      if (error !== 0) {
        this.#refusals.set(topic, errorFromWire(error, described.message ?? `topic ${topic}`, { topic }))
        continue
      }
      const partitions: PartitionMetadata[] = []
      for (const { partition, leader, leaderEpoch } of described.partitions) {
        if (partition >= described.partitions.length) {
          throw errorOf('MALFORMED_FRAME', `metadata of ${topic}: partition ${partition} is out of range`)
        }
        const known = before?.topicId === topicId ? before?.partitions[partition] : undefined
        const heard = { partition, leader, leaderEpoch }
        partitions[partition] = known !== undefined && isOlder(heard, known) ? known : heard
      }
      // A broker that has not heard of added partitions yet takes none of them away.
      if (before?.topicId !== undefined && before.topicId === topicId) {
        partitions.push(...before.partitions.slice(partitions.length))
      }
      this.#topics.set(topic, { topic, topicId, partitions, batchBytesMax, learnedAt })
    }
    forget(this.#topics, TOPICS_MAX)
    forget(this.#refusals, TOPICS_MAX)
    forget(this.#formerAddresses, FORMER_ADDRESSES_MAX)
    for (const listener of this.#listeners) listener()
  }
}

/** Takes away what was put in first until no more than `sizeMax` are left. */
function forget(map: Map<string, unknown>, sizeMax: number): void {
  for (const name of map.keys()) {
    if (map.size <= sizeMax) return
    map.delete(name)
  }
}

/** Whether what was heard is from before what is known. */
function isOlder(heard: PartitionMetadata, known: PartitionMetadata): boolean {
  if (known.leaderEpoch === undefined) return false
  return heard.leaderEpoch === undefined ? heard.leader === undefined : heard.leaderEpoch < known.leaderEpoch
}

function keyOf({ host, port }: Address): string {
  return `${host}:${port}`
}

/** Errors about a topic that another moment may answer otherwise. */
export function isPassing(code: ErrorCode): boolean {
  return code === 'LEADER_NOT_AVAILABLE' || code === 'UNKNOWN_TOPIC_OR_PARTITION' || code === 'BROKER_OVERLOADED'
}
