// @platformatic/kafka behind the verbs of foreign-client.ts. An assignor that other clients know is handed in, as its
// applications may.

import {
  Admin,
  Consumer,
  ConfigResourceTypes,
  type GroupPartitionsAssigner,
  IncrementalAlterConfigOperationTypes,
  type Message,
  type MessagesStream,
  ProduceAcks,
  Producer,
} from '@platformatic/kafka'
import {
  type ForeignClient,
  LocalClient,
  type LocalVerbs,
  type PlacedRecord,
  type PlainRecord,
} from './foreign-client.ts'
import { pause } from '../setup/cluster-load.ts'
import { Load } from './load.ts'
import { MemberQueue, memberOf } from './member-queue.ts'
import { rangeOf } from './range-assignor.ts'
import { bytesOf, textOf } from './samples.ts'

type Stream = MessagesStream<Buffer, Buffer, Buffer, Buffer>
type Heard = Message

interface Member {
  readonly consumer: Consumer
  readonly queue: MemberQueue
  readonly topics: readonly string[]
  /** How many there have been. */
  streams: number
  isLeaving: boolean
  stream: Stream
}

const STREAMS_MAX = 40
const ATTEMPTS_MAX = 40

const range: GroupPartitionsAssigner = (_current, members, topics, metadata) => {
  const wishes = [...members].map(([member, wish]) => ({ member, topics: wish.topics ?? [] }))
  const partitions = [...topics].map((topic): [string, number[]] => {
    const count = metadata.topics.get(topic)?.partitionsCount ?? 0
    return [topic, Array.from({ length: count }, (_, index) => index)]
  })
  return [...rangeOf(wishes, new Map(partitions))].map(([memberId, share]) => ({
    memberId,
    assignments: new Map(Object.entries(share).map(([topic, some]) => [topic, { topic, partitions: some }])),
  }))
}

class PlatformaticDriver {
  readonly #common: { readonly clientId: string; readonly bootstrapBrokers: string[]; readonly retries: number }
  readonly #admin: Admin
  readonly #members = new Map<string, Member>()
  readonly #loads = new Map<string, Load>()
  #reads = 0

  constructor(brokers: string) {
    this.#common = { clientId: 'platformatic', bootstrapBrokers: brokers.split(','), retries: 60 }
    this.#admin = new Admin({ ...this.#common, retryDelay: 200 })
  }

  client(): ForeignClient {
    return new LocalClient({ ...this.#records(), ...this.#groups(), ...this.#administration() }, () => this.#close())
  }

  #records(): LocalVerbs {
    return {
      produce: async ({ topic, codec, idempotent, records }) => {
        const producer = this.#producer(idempotent)
        await producer.send({ compression: codec, messages: records.map((record) => toMessage(topic, record)) })
        await producer.close()
      },
      read: async ({ topic, partition, from, count }) => {
        // There is no consumer without a group here.
        const member = `reads-${(this.#reads += 1)}-${topic}`
        await this.#join(member, member, [topic], [{ topic, partition, offset: BigInt(from) }])
        const found = await memberOf(this.#members, member).queue.take(count)
        await this.#leave(member)
        return found
      },
      offsets: async ({ topic, partition, at }) => {
        const timestamp = typeof at === 'number' ? BigInt(at) : { earliest: -2n, latest: -1n, 'max-timestamp': -3n }[at]
        const partitions = [{ partitionIndex: partition, timestamp }]
        const [found] = await this.#admin.listOffsets({ topics: [{ name: topic, partitions }] })
        return Number(found?.partitions[0]?.offset ?? -1n)
      },
      load: ({ name, topic }) => {
        const producer = new Producer({
          ...this.#common,
          idempotent: true,
          acks: ProduceAcks.ALL,
          retries: 3,
          retryDelay: 200,
        })
        const send = async (values: readonly string[], attempt = 1): Promise<number> => {
          const messages = values.map((value) => ({ topic, partition: 0, value: Buffer.from(value) }))
          try {
            const { offsets } = await producer.send({ messages })
            return Number(offsets?.[0]?.offset)
          } catch (error) {
            // Its own retries go to the leader that it knew. The sequence numbers stay, so that sending again is safe.
            if (attempt === ATTEMPTS_MAX) throw error
            producer.clearMetadata()
            await pause(200)
            return send(values, attempt + 1)
          }
        }
        this.#loads.set(name, new Load(name, send, () => producer.close()))
      },
      loaded: ({ name, count }) => memberOf(this.#loads, name).more(count),
      endLoad: ({ name }) => memberOf(this.#loads, name).end(),
    }
  }

  #groups(): LocalVerbs {
    return {
      join: ({ member, group, topics }) => this.#join(member, group, topics),
      assigned: ({ member, count }) => memberOf(this.#members, member).queue.assigned(count),
      take: ({ member, count }) => memberOf(this.#members, member).queue.take(count),
      commit: async ({ member }) => {
        const { consumer, queue } = memberOf(this.#members, member)
        const offsets = queue.taken.map(({ topic, partition, offset }) => {
          return { topic, partition, offset: BigInt(offset), leaderEpoch: -1 }
        })
        await consumer.commit({ offsets })
      },
      seek: async ({ member, topic, partition, offset }) => {
        // By another stream: one cannot be told to go elsewhere.
        const one = memberOf(this.#members, member)
        await one.stream.close()
        one.queue.forget((spot) => spot.topic === topic && spot.partition === partition)
        one.stream = await this.#stream(one, [{ topic, partition, offset: BigInt(offset) }])
      },
      leave: ({ member }) => this.#leave(member),
      listGroups: async () => [...(await this.#admin.listGroups()).keys()],
      describeGroup: async ({ group }) => {
        const found = (await this.#admin.describeGroups({ groups: [group] })).get(group)
        const members = [...(found?.members.values() ?? [])].map(({ clientId, assignments }) => {
          const shares = [...(assignments?.values() ?? [])]
          const partitions = shares.flatMap(({ topic, partitions: some }) => some.map((at) => `${topic}-${at}`))
          return { clientId, partitions: partitions.toSorted() }
        })
        return { state: (found?.state ?? '').toUpperCase(), assignor: found?.protocol ?? '', members }
      },
      deleteGroups: ({ groups }) => this.#admin.deleteGroups({ groups: [...groups] }),
      groupOffsets: async ({ group }) => {
        const [found] = await this.#admin.listConsumerGroupOffsets({ groups: [group] })
        const rows: [string, number][] = (found?.topics ?? []).flatMap(({ name, partitions }) =>
          partitions.map(({ partitionIndex, committedOffset }) => [
            `${name}-${partitionIndex}`,
            Number(committedOffset),
          ]),
        )
        return Object.fromEntries(rows)
      },
      alterGroupOffsets: ({ group, topic, partition, offset }) => {
        const partitionOffsets = [{ partition, offset: BigInt(offset) }]
        return this.#admin.alterConsumerGroupOffsets({ groupId: group, topics: [{ name: topic, partitionOffsets }] })
      },
      deleteGroupOffsets: async ({ group, topic, partition }) => {
        const topics = [{ name: topic, partitionIndexes: [partition] }]
        await this.#admin.deleteConsumerGroupOffsets({ groupId: group, topics })
      },
    }
  }

  #administration(): LocalVerbs {
    return {
      createTopics: async ({ topics }) => {
        for (const { topic, partitions = 1, assignments, configs = {} } of topics) {
          const how =
            assignments === undefined
              ? { partitions }
              : { partitions: -1, replicas: -1, assignments: assignments.map(toAssignment) }
          const entries = Object.entries(configs).map(([name, value]) => ({ name, value }))
          await this.#admin.createTopics({ topics: [topic], configs: entries, ...how })
        }
      },
      listTopics: () => this.#admin.listTopics(),
      describeTopic: async ({ topic }) => {
        const { topics } = await this.#admin.metadata({ topics: [topic], forceUpdate: true })
        return (topics.get(topic)?.partitions ?? []).map(({ leader, replicas, isr }, partition) => {
          return { partition, leader, replicas, isr }
        })
      },
      createPartitions: async ({ topic, total }) => {
        // It cannot leave it to the brokers where the new ones go.
        const { topics } = await this.#admin.metadata({ topics: [topic], forceUpdate: true })
        const known = topics.get(topic)?.partitions ?? []
        const brokerIds = known[0]?.replicas ?? []
        const assignments = Array.from({ length: total - known.length }, () => ({ brokerIds }))
        await this.#admin.createPartitions({ topics: [{ name: topic, count: total, assignments }] })
      },
      deleteTopics: ({ topics }) => this.#admin.deleteTopics({ topics: [...topics] }),
      describeConfigs: async (which) => {
        const resource =
          'topic' in which
            ? { resourceType: ConfigResourceTypes.TOPIC, resourceName: which.topic }
            : { resourceType: ConfigResourceTypes.BROKER, resourceName: `${which.broker}` }
        const [found] = await this.#admin.describeConfigs({ resources: [resource] })
        return Object.fromEntries((found?.configs ?? []).map(({ name, value }) => [name, value ?? null]))
      },
      alterConfigs: ({ topic, set, remove = [] }) => {
        const { SET, DELETE } = IncrementalAlterConfigOperationTypes
        const configs = [
          ...Object.entries(set).map(([name, value]) => ({ name, value, configOperation: SET })),
          ...remove.map((name) => ({ name, value: null, configOperation: DELETE })),
        ]
        const resource = { resourceType: ConfigResourceTypes.TOPIC, resourceName: topic, configs }
        return this.#admin.incrementalAlterConfigs({ resources: [resource] })
      },
      replaceConfigs: ({ topic, configs }) => {
        const entries = Object.entries(configs).map(([name, value]) => ({ name, value }))
        const resource = { resourceType: ConfigResourceTypes.TOPIC, resourceName: topic, configs: entries }
        return this.#admin.alterConfigs({ resources: [resource] })
      },
      describeCluster: async () => {
        const { id, controllerId, brokers } = await this.#admin.metadata({ topics: [], forceUpdate: true })
        const nodes = [...brokers].map(([node, { host, port }]) => ({ id: node, address: `${host}:${port}` }))
        return { cluster: id, controller: controllerId, nodes }
      },
      deleteRecords: async ({ topic, partition, before }) => {
        const topics = [{ name: topic, partitions: [{ partition, offset: BigInt(before) }] }]
        const [found] = await this.#admin.deleteRecords({ topics })
        return Number(found?.partitions[0]?.lowWatermark)
      },
      logDirs: async ({ broker }) => {
        const topics = await this.#admin.listTopics()
        const { topics: known } = await this.#admin.metadata({ topics })
        const asked = [...known].map(([name, { partitionsCount }]) => {
          return { name, partitions: Array.from({ length: partitionsCount }, (_, index) => index) }
        })
        const found = await this.#admin.describeLogDirs({ topics: asked })
        const dirs = found.find((one) => one.broker === broker)?.results ?? []
        const rows: [string, number][] = dirs.flatMap((dir) =>
          dir.topics.flatMap(({ name, partitions }) =>
            partitions.map(({ partitionIndex, partitionSize }) => [`${name}-${partitionIndex}`, Number(partitionSize)]),
          ),
        )
        return Object.fromEntries(rows)
      },
    }
  }

  #producer(idempotent: boolean): Producer {
    return new Producer({ ...this.#common, idempotent, acks: ProduceAcks.ALL, retryDelay: 200 })
  }

  async #join(
    member: string,
    group: string,
    topics: readonly string[],
    offsets?: { topic: string; partition: number; offset: bigint }[],
  ): Promise<void> {
    const consumer = new Consumer({
      ...this.#common,
      clientId: member,
      retries: 5,
      retryDelay: 200,
      metadataMaxAge: 1_000,
      groupId: group,
      autocommit: false,
      maxWaitTime: 200,
      sessionTimeout: 6_000,
      heartbeatInterval: 300,
      protocols: [{ name: 'range', version: 1 }],
      partitionAssigner: range,
    })
    const queue = new MemberQueue()
    consumer.on('consumer:group:join', ({ assignments = [] }) => {
      queue.assign(
        assignments.flatMap(({ topic, partitions }) => partitions.map((partition) => ({ topic, partition }))),
      )
    })
    consumer.on('consumer:group:rebalance', () => queue.assign([]))
    const one = { consumer, queue, topics, streams: 1, isLeaving: false }
    this.#members.set(member, Object.assign(one, { stream: await this.#stream(one, offsets) }))
  }

  async #stream(
    one: Omit<Member, 'stream'> & { stream?: Stream },
    offsets?: { topic: string; partition: number; offset: bigint }[],
  ): Promise<Stream> {
    const { consumer, queue, topics } = one
    const where =
      offsets === undefined
        ? ({ mode: 'committed', fallbackMode: 'earliest' } as const)
        : ({ mode: 'manual', offsets } as const)
    const stream = await consumer.consume({ topics: [...topics], ...where })
    stream.on('data', (message) => queue.push(toPlaced(message)))
    // A stream ends with an error when the leader of a partition is gone: whoever reads begins another.
    stream.on('error', (error) => void this.#another(one, error))
    return stream
  }

  async #another(one: Omit<Member, 'stream'> & { stream?: Stream }, why: Error): Promise<void> {
    one.streams += 1
    if (one.streams > STREAMS_MAX) return one.queue.fail(why)
    await pause(500)
    if (one.isLeaving) return
    one.consumer.clearMetadata()
    try {
      one.stream = await this.#stream(one)
    } catch (error) {
      await this.#another(one, error instanceof Error ? error : new Error(String(error)))
    }
  }

  async #leave(member: string): Promise<void> {
    const one = memberOf(this.#members, member)
    one.isLeaving = true
    const { consumer } = one
    this.#members.delete(member)
    await new Promise<void>((resolve, reject) => {
      consumer.close(true, (error) => (error === null ? resolve() : reject(error)))
    })
  }

  async #close(): Promise<void> {
    for (const load of this.#loads.values()) await load.end()
    for (const member of this.#members.keys()) await this.#leave(member)
    await this.#admin.close()
  }
}

export function startPlatformatic(brokers: string): ForeignClient {
  return new PlatformaticDriver(brokers).client()
}

function toAssignment(brokers: readonly number[], partition: number): { partition: number; brokers: number[] } {
  return { partition, brokers: [...brokers] }
}

function toMessage(topic: string, { key, value, headers, timestamp, partition }: PlainRecord) {
  const bytes = { key: bytesOf(key) ?? undefined, value: bytesOf(value) ?? undefined }
  return {
    topic,
    ...(bytes.key === undefined ? {} : { key: bytes.key }),
    ...(bytes.value === undefined ? {} : { value: bytes.value }),
    // A map whose keys are buffers holds a name as often as one likes.
    headers: new Map(headers.map(([name, text]) => [Buffer.from(name), bytesOf(text) ?? Buffer.alloc(0)])),
    timestamp: BigInt(timestamp),
    ...(partition === undefined ? {} : { partition }),
  }
}

function toPlaced(message: Heard): PlacedRecord {
  return {
    topic: message.topic,
    partition: message.partition,
    offset: Number(message.offset),
    timestamp: Number(message.timestamp),
    key: textOf(message.key),
    value: textOf(message.value),
    headers: [...message.headers].map(([name, value]) => [name.toString(), textOf(value)] as const),
  }
}
