// kafkajs behind the verbs of foreign-client.ts. Snappy, LZ4 and Zstandard are plugged in, as its applications do, and so
// is an assignor that other clients know.

import kafkajs from 'kafkajs'
import { compress, decompress, prepareCodec } from '../../shared/compression/codec.ts'
import { BATCH_BYTES_MAX } from '../../shared/limits.ts'
import type { Codec } from '../../shared/record-batch/format.ts'
import {
  type ForeignClient,
  LocalClient,
  type LoadOutcome,
  type LocalVerbs,
  type PlacedRecord,
  type PlainRecord,
} from './foreign-client.ts'
import { Load } from './load.ts'
import { MemberQueue, memberOf } from './member-queue.ts'
import { rangeOf } from './range-assignor.ts'
import { bytesOf, textOf } from './samples.ts'

const { AssignerProtocol, CompressionCodecs, CompressionTypes, Kafka, logLevel, Partitioners } = kafkajs

const TYPES: Readonly<Record<Codec, number>> = {
  none: CompressionTypes.None,
  gzip: CompressionTypes.GZIP,
  snappy: CompressionTypes.Snappy,
  lz4: CompressionTypes.LZ4,
  zstd: CompressionTypes.ZSTD,
}

const PLUGGED_IN = [
  ['snappy', 2],
  ['lz4', 3],
  ['zstd', 4],
] as const

interface Member {
  readonly consumer: kafkajs.Consumer
  readonly queue: MemberQueue
}

type Heard = Pick<kafkajs.KafkaMessage, 'offset' | 'timestamp' | 'key' | 'value' | 'headers'>

/** With `range` as others do it: leaders of other clients and of this one come to the same. */
const range: kafkajs.PartitionAssigner = ({ cluster }) => ({
  name: 'range',
  version: 1,
  assign: ({ members, topics }) => {
    const wishes = members.map(({ memberId, memberMetadata }) => {
      return { member: memberId, topics: AssignerProtocol.MemberMetadata.decode(memberMetadata)?.topics ?? [] }
    })
    const partitionsOf = (topic: string): number[] => {
      return cluster.findTopicPartitionMetadata(topic).map(({ partitionId }) => partitionId)
    }
    const shares = rangeOf(wishes, new Map(topics.map((topic) => [topic, partitionsOf(topic)])))
    const encode = (assignment: Record<string, number[]>): Buffer =>
      AssignerProtocol.MemberAssignment.encode({ version: 1, assignment, userData: Buffer.alloc(0) })
    return Promise.resolve([...shares].map(([memberId, share]) => ({ memberId, memberAssignment: encode(share) })))
  },
  protocol: ({ topics }) => ({
    name: 'range',
    metadata: AssignerProtocol.MemberMetadata.encode({ version: 1, topics, userData: Buffer.alloc(0) }),
  }),
})

class KafkajsDriver {
  readonly #kafka: kafkajs.Kafka
  readonly #admin: kafkajs.Admin
  readonly #members = new Map<string, Member>()
  readonly #loads = new Map<string, Load>()
  #reads = 0

  constructor(brokers: string) {
    this.#kafka = new Kafka({
      clientId: 'kafkajs',
      brokers: brokers.split(','),
      logLevel: logLevel.NOTHING,
      requestTimeout: 3_000,
      retry: { initialRetryTime: 50, maxRetryTime: 1_000, retries: 60 },
    })
    this.#admin = this.#kafka.admin()
  }

  async open(): Promise<ForeignClient> {
    for (const [codec, type] of PLUGGED_IN) {
      await prepareCodec(codec)
      CompressionCodecs[type] = () => ({
        compress: ({ buffer }: { readonly buffer: Buffer }) => Promise.resolve(Buffer.from(compress(codec, buffer))),
        decompress: (bytes: Buffer) => Promise.resolve(Buffer.from(decompress(codec, bytes, BATCH_BYTES_MAX))),
      })
    }
    await this.#admin.connect()
    return new LocalClient({ ...this.#records(), ...this.#groups(), ...this.#administration() }, () => this.#close())
  }

  #records(): LocalVerbs {
    return {
      produce: async ({ topic, codec, idempotent, records }) => {
        const producer = this.#producer(idempotent)
        await producer.connect()
        await producer.send({ topic, compression: TYPES[codec], messages: records.map(toMessage) })
        await producer.disconnect()
      },
      read: async ({ topic, partition, from, count }) => {
        // There is no consumer without a group here.
        const member = `reads-${(this.#reads += 1)}-${topic}`
        await this.#join(member, member, [topic])
        const { queue, consumer } = memberOf(this.#members, member)
        await queue.assigned(1)
        consumer.seek({ topic, partition, offset: `${from}` })
        queue.forget(() => true)
        const found = await queue.take(count)
        await this.#leave(member)
        return found
      },
      offsets: async ({ topic, partition, at }) => {
        const offsets =
          typeof at === 'number'
            ? await this.#admin.fetchTopicOffsetsByTimestamp(topic, at)
            : await this.#admin.fetchTopicOffsets(topic)
        const found = offsets.find((one) => one.partition === partition)
        if (found === undefined) return -1
        return Number(at === 'earliest' && 'low' in found ? found.low : found.offset)
      },
      load: async ({ name, topic }) => {
        const producer = this.#producer(true)
        await producer.connect()
        const send = async (values: readonly string[]): Promise<number> => {
          const messages = values.map((value) => ({ value, partition: 0 }))
          const [sent] = await producer.send({ topic, messages, acks: -1 })
          return Number(sent?.baseOffset)
        }
        this.#loads.set(name, new Load(name, send, () => producer.disconnect()))
      },
      loaded: ({ name, count }) => memberOf(this.#loads, name).more(count),
      endLoad: ({ name }): Promise<LoadOutcome> => memberOf(this.#loads, name).end(),
    }
  }

  #groups(): LocalVerbs {
    return {
      join: ({ member, group, topics }) => this.#join(member, group, topics),
      assigned: ({ member, count }) => memberOf(this.#members, member).queue.assigned(count),
      take: ({ member, count }) => memberOf(this.#members, member).queue.take(count),
      commit: async ({ member }) => {
        const { consumer, queue } = memberOf(this.#members, member)
        await consumer.commitOffsets(
          queue.taken.map(({ topic, partition, offset }) => ({ topic, partition, offset: `${offset}` })),
        )
      },
      seek: ({ member, topic, partition, offset }) => {
        const { consumer, queue } = memberOf(this.#members, member)
        consumer.seek({ topic, partition, offset: `${offset}` })
        queue.forget((spot) => spot.topic === topic && spot.partition === partition)
      },
      leave: ({ member }) => this.#leave(member),
      listGroups: async () => (await this.#admin.listGroups()).groups.map(({ groupId }) => groupId),
      describeGroup: async ({ group }) => {
        const [found] = (await this.#admin.describeGroups([group])).groups
        const { state = '', protocol = '', members = [] } = found ?? {}
        const described = members.map(({ clientId, memberAssignment }) => {
          const assignment = AssignerProtocol.MemberAssignment.decode(memberAssignment)?.assignment ?? {}
          const partitions = Object.entries(assignment).flatMap(([topic, some]) => some.map((at) => `${topic}-${at}`))
          return { clientId, partitions: partitions.toSorted() }
        })
        return { state: state.toUpperCase(), assignor: protocol, members: described }
      },
      deleteGroups: async ({ groups }) => void (await this.#admin.deleteGroups([...groups])),
      groupOffsets: async ({ group }) => {
        const topics = await this.#admin.fetchOffsets({ groupId: group })
        return Object.fromEntries(
          topics.flatMap(({ topic, partitions }) =>
            partitions.map(({ partition, offset }) => [`${topic}-${partition}`, Number(offset)]),
          ),
        )
      },
      alterGroupOffsets: ({ group, topic, partition, offset }) => {
        return this.#admin.setOffsets({ groupId: group, topic, partitions: [{ partition, offset: `${offset}` }] })
      },
    }
  }

  #administration(): LocalVerbs {
    return {
      createTopics: async ({ topics }) => {
        const wishes = topics.map(({ topic, partitions, assignments, configs = {} }) => ({
          topic,
          configEntries: Object.entries(configs).map(([name, value]) => ({ name, value })),
          ...(assignments === undefined
            ? { numPartitions: partitions ?? 1 }
            : {
                replicaAssignment: assignments.map((replicas, partition) => ({ partition, replicas: [...replicas] })),
              }),
        }))
        const isMade = await this.#admin.createTopics({ topics: wishes, waitForLeaders: true })
        if (!isMade) throw new Error('the topic exists already, as false says')
      },
      listTopics: () => this.#admin.listTopics(),
      describeTopic: async ({ topic }) => {
        const { topics } = await this.#admin.fetchTopicMetadata({ topics: [topic] })
        const partitions = topics[0]?.partitions ?? []
        return partitions
          .map(({ partitionId: partition, leader, replicas, isr }) => ({ partition, leader, replicas, isr }))
          .toSorted((a, b) => a.partition - b.partition)
      },
      createPartitions: async ({ topic, total }) => {
        await this.#admin.createPartitions({ topicPartitions: [{ topic, count: total }] })
      },
      deleteTopics: ({ topics }) => this.#admin.deleteTopics({ topics: [...topics] }),
      describeConfigs: async (which) => {
        const resource =
          'topic' in which
            ? { type: kafkajs.ConfigResourceTypes.TOPIC, name: which.topic }
            : { type: kafkajs.ConfigResourceTypes.BROKER, name: `${which.broker}` }
        const { resources } = await this.#admin.describeConfigs({ resources: [resource], includeSynonyms: false })
        const entries = resources[0]?.configEntries ?? []
        return Object.fromEntries(entries.map(({ configName, configValue }) => [configName, configValue]))
      },
      replaceConfigs: async ({ topic, configs }) => {
        const configEntries = Object.entries(configs).map(([name, value]) => ({ name, value }))
        const resource = { type: kafkajs.ConfigResourceTypes.TOPIC, name: topic, configEntries }
        await this.#admin.alterConfigs({ validateOnly: false, resources: [resource] })
      },
      describeCluster: async () => {
        const { clusterId, controller, brokers } = await this.#admin.describeCluster()
        const nodes = brokers.map(({ nodeId, host, port }) => ({ id: nodeId, address: `${host}:${port}` }))
        return { cluster: clusterId, controller: controller ?? -1, nodes }
      },
      deleteRecords: async ({ topic, partition, before }) => {
        // Or else it does not know the topic, and finds no leader.
        await this.#admin.fetchTopicOffsets(topic)
        await this.#admin.deleteTopicRecords({ topic, partitions: [{ partition, offset: `${before}` }] })
        return before
      },
      reassignments: async () => {
        const { topics } = await this.#admin.listPartitionReassignments({})
        // Its types call the partition otherwise than it does.
        const rows = topics.flatMap(({ topic, partitions }) =>
          partitions.map((row): [string, number[]] => {
            return [`${topic}-${String(Reflect.get(row, 'partition'))}`, row.addingReplicas ?? []]
          }),
        )
        return Object.fromEntries(rows)
      },
      reassign: ({ topic, partition, replicas }) => {
        const partitionAssignment = [{ partition, replicas: [...(replicas ?? [])] }]
        return this.#admin.alterPartitionReassignments({ topics: [{ topic, partitionAssignment }] })
      },
    }
  }

  #producer(idempotent: boolean): kafkajs.Producer {
    const createPartitioner = Partitioners.DefaultPartitioner
    return this.#kafka.producer({ idempotent, maxInFlightRequests: 1, createPartitioner })
  }

  async #join(member: string, group: string, topics: readonly string[]): Promise<void> {
    const kafka = this.#kafka
    const consumer = kafka.consumer({
      groupId: group,
      partitionAssigners: [range],
      sessionTimeout: 6_000,
      heartbeatInterval: 300,
      maxWaitTimeInMs: 200,
      metadataMaxAge: 2_000,
    })
    const queue = new MemberQueue()
    this.#members.set(member, { consumer, queue })
    consumer.on('consumer.group_join', ({ payload: { memberAssignment } }) => {
      const entries = Object.entries(memberAssignment)
      queue.assign(entries.flatMap(([topic, some]) => some.map((partition) => ({ topic, partition }))))
    })
    consumer.on('consumer.rebalancing', () => queue.assign([]))
    await consumer.connect()
    await consumer.subscribe({ topics: [...topics], fromBeginning: true })
    await consumer.run({
      autoCommit: false,
      eachMessage: ({ topic, partition, message }) => {
        queue.push(toPlaced(topic, partition, message))
        return Promise.resolve()
      },
    })
  }

  async #leave(member: string): Promise<void> {
    const { consumer } = memberOf(this.#members, member)
    this.#members.delete(member)
    await consumer.disconnect()
  }

  async #close(): Promise<void> {
    for (const load of this.#loads.values()) await load.end()
    for (const member of this.#members.keys()) await this.#leave(member)
    await this.#admin.disconnect()
  }
}

export function startKafkajs(brokers: string): Promise<ForeignClient> {
  return new KafkajsDriver(brokers).open()
}

function toMessage({ key, value, headers, timestamp, partition }: PlainRecord): kafkajs.Message {
  const grouped: Record<string, (Buffer | string)[]> = {}
  for (const [name, text] of headers) (grouped[name] ??= []).push(bytesOf(text) ?? '')
  return {
    key: bytesOf(key),
    value: bytesOf(value),
    headers: grouped,
    timestamp: `${timestamp}`,
    ...(partition === undefined ? {} : { partition }),
  }
}

function toPlaced(topic: string, partition: number, message: Heard): PlacedRecord {
  const headers = Object.entries(message.headers ?? {}).flatMap(([name, found]) => {
    const values = Array.isArray(found) ? found : [found]
    return values.map((one) => [name, textOf(typeof one === 'string' ? Buffer.from(one) : one)] as const)
  })
  return {
    topic,
    partition,
    offset: Number(message.offset),
    timestamp: Number(message.timestamp),
    key: textOf(message.key),
    value: textOf(message.value),
    headers,
  }
}
