// Requests whose answers could be many thousand times as long as they are: asked for the same thing again and again, or for a lot at
// once, a real broker tells of everything once, and of some connection's questions only as many as it reads the answers of.

import { expect, it, onTestFinished } from 'vitest'
import { metadata } from '../../broker/protocols/kafka/03-metadata.ts'
import { offsetCommit } from '../../broker/protocols/kafka/08-offset-commit.ts'
import { offsetFetch } from '../../broker/protocols/kafka/09-offset-fetch.ts'
import { joinGroup } from '../../broker/protocols/kafka/11-join-group.ts'
import { findCoordinator } from '../../broker/protocols/kafka/10-find-coordinator.ts'
import { apiVersions } from '../../broker/protocols/kafka/18-api-versions.ts'
import { describeConfigs } from '../../broker/protocols/kafka/32-describe-configs.ts'
import { describeLogDirs } from '../../broker/protocols/kafka/35-describe-log-dirs.ts'
import { incrementalAlterConfigs } from '../../broker/protocols/kafka/44-incremental-alter-configs.ts'
import { NO_UUID } from '../../broker/protocols/kafka/primitives.ts'
import { startBroker, type TestBroker } from '../../broker/testing.ts'
import { ERRORS } from '../../shared/errors.ts'
import { framed, KafkaSocket, requestBytes } from './kafka-socket.ts'

const MANY = 60_000
const PARTITIONS = 500
const FLAGS = {
  allowAutoTopicCreation: false,
  includeClusterAuthorizedOperations: false,
  includeTopicAuthorizedOperations: false,
}

async function aBroker(): Promise<TestBroker> {
  const broker = await startBroker({ dataDir: 'memory' })
  onTestFinished(() => broker.stop())
  await broker
    .client()
    .admin()
    .createTopics({ topics: [{ topic: 'a', numPartitions: PARTITIONS }] })
  return broker
}

function times<Row>(count: number, row: (at: number) => Row): Row[] {
  return Array.from({ length: count }, (_, at) => row(at))
}

/** The group `g` with an offset of every partition. */
async function commitAll(client: KafkaSocket): Promise<void> {
  const where = { keyType: 0, key: '', coordinatorKeys: ['g'] }
  await expect
    .poll(async () => {
      await client.ask(findCoordinator, 4, where)
      const partitions = times(PARTITIONS, (partitionIndex) => {
        return { partitionIndex, committedOffset: 7, committedLeaderEpoch: -1, committedMetadata: '' }
      })
      const nobody = { groupId: 'g', generationIdOrMemberEpoch: -1, memberId: '', groupInstanceId: undefined }
      const topics = [{ name: 'a', partitions }]
      return (await client.ask(offsetCommit, 8, { ...nobody, retentionTimeMs: -1, topics })).topics[0]?.partitions[0]
    })
    .toMatchObject({ errorCode: 0 })
}

it('tells of a topic once, however often and by whatever it is asked for', async () => {
  const client = await KafkaSocket.connect((await aBroker()).port)
  const first = await client.ask(metadata, 12, { topics: [{ name: 'a', topicId: NO_UUID }], ...FLAGS })
  const topicId = first.topics[0]?.topicId ?? NO_UUID
  const unknown = '00000000-0000-4000-8000-000000000001'
  const topics = times(MANY, (at) => {
    if (at % 3 === 0) return { name: 'a', topicId: NO_UUID }
    return { name: undefined, topicId: at % 3 === 1 ? unknown : topicId }
  })
  const answer = await client.ask(metadata, 12, { topics, ...FLAGS })
  expect(answer.topics.map(({ name, errorCode }) => [name, errorCode])).toEqual([
    ['a', 0],
    [undefined, ERRORS.UNKNOWN_TOPIC_ID.kafkaCode],
  ])
  expect(answer.topics[0]?.partitions).toHaveLength(PARTITIONS)
  const native = (await aBroker()).client().admin()
  expect(await native.describeTopics(times(5_000, () => 'a'))).toHaveLength(1)
})

it('tells the settings of a topic once', async () => {
  const client = await KafkaSocket.connect((await aBroker()).port)
  const resources = times(MANY, () => ({ resourceType: 2, resourceName: 'a', configurationKeys: undefined }))
  const flags = { includeSynonyms: true, includeDocumentation: true }
  const { results } = await client.ask(describeConfigs, 4, { resources, ...flags })
  expect(results.map(({ resourceName, errorCode }) => [resourceName, errorCode])).toEqual([['a', 0]])
})

it('refuses settings that are there twice, and many that are not there', async () => {
  const client = await KafkaSocket.connect((await aBroker()).port)
  const change = async (names: readonly string[]): Promise<string> => {
    const configs = names.map((name) => ({ name, configOperation: 0, value: '1' }))
    const resources = [{ resourceType: 2, resourceName: 'a', configs }]
    const { responses } = await client.ask(incrementalAlterConfigs, 1, { resources, validateOnly: true })
    return responses[0]?.errorMessage ?? ''
  }
  const names = times(MANY, (at) => `no-such-setting-${at}`)
  expect(await change(names)).toContain('no-such-setting-0')
  expect(await change([...names, 'no-such-setting-0'])).toBe('no-such-setting-0 is there twice')
})

it('finds those partitions in its directory that are asked for among many others', async () => {
  const client = await KafkaSocket.connect((await aBroker()).port)
  const partitions = times(MANY, (at) => at + 10)
  const topics = [
    { topic: 'a', partitions: [3] },
    { topic: 'b', partitions: [4] },
    { topic: 'a', partitions },
  ]
  const { results } = await client.ask(describeLogDirs, 1, { topics })
  const found = results[0]?.topics[0]?.partitions.map(({ partitionIndex }) => partitionIndex) ?? []
  expect(found.toSorted((a, b) => a - b)).toEqual([3, ...times(PARTITIONS - 10, (at) => at + 10)])
})

it('tells the offsets of as many partitions as a request names, and of one group not without end', async () => {
  const client = await KafkaSocket.connect((await aBroker()).port)
  await commitAll(client)
  const named = { groupId: 'g', topics: [{ name: 'a', partitionIndexes: times(MANY, (at) => at) }] }
  const one = await client.ask(offsetFetch, 7, { ...named, groups: [], requireStable: false })
  const offsets = one.topics[0]?.partitions.map(({ committedOffset }) => committedOffset) ?? []
  expect(offsets).toHaveLength(MANY)
  expect(offsets.filter((offset) => offset === 7)).toHaveLength(PARTITIONS)
  const groups = times(10_000, () => ({ groupId: 'g', memberId: undefined, memberEpoch: -1, topics: undefined }))
  // The answer is longer than what this client's reader takes, so that its bytes are what is looked at.
  const id = client.request(offsetFetch, 9, { groupId: '', topics: undefined, groups, requireStable: false })
  await client.until(() => client.isClosed || client.answers.some((answer) => answer.readInt32BE(0) === id))
  const answer = client.answers.find((some) => some.readInt32BE(0) === id)
  expect(answer?.length).toBeGreaterThan(250_000 * 10)
  expect(answer?.length).toBeLessThan(10_000 * PARTITIONS * 10)
})

it('lets nobody into a group who names more ways to share out than anybody has', async () => {
  const client = await KafkaSocket.connect((await aBroker()).port)
  await commitAll(client)
  const join = (count: number) =>
    client.ask(joinGroup, 3, {
      groupId: 'g',
      sessionTimeoutMs: 10_000,
      rebalanceTimeoutMs: 10_000,
      memberId: '',
      groupInstanceId: undefined,
      protocolType: 'consumer',
      protocols: times(count, (at) => ({ name: `way-${at}`, metadata: new Uint8Array(0) })),
      reason: undefined,
    })
  expect((await join(101)).errorCode).toBe(ERRORS.INCONSISTENT_GROUP_PROTOCOL.kafkaCode)
  expect((await join(100)).errorCode).toBe(0)
})

it('answers all questions that come at once, in their order', async () => {
  const broker = await aBroker()
  const client = await KafkaSocket.connect(broker.port)
  const all = { topics: undefined, ...FLAGS }
  const questions = times(200, (at) => framed(requestBytes(metadata, 9, at, all)))
  const last = requestBytes(apiVersions, 0, 200, { clientSoftwareName: '', clientSoftwareVersion: '' })
  client.send(Buffer.concat([...questions, framed(last)]))
  await client.until(() => client.isClosed || client.answers.length > 200)
  expect(client.answers.map((answer) => answer.readInt32BE(0))).toEqual(times(201, (at) => at))
})
