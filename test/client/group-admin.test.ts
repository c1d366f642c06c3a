// Groups from outside, on a real broker: listed, described, deleted, and sent elsewhere.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startBroker, type TestBroker } from '../../broker/testing.ts'
import type { Admin } from '../../client/admin.ts'
import { connect } from '../../client/client.ts'
import type { ResetOffsetsRequest } from '../../client/group-admin.ts'
import { ConsumerStage, FAST } from './consumer-stage.ts'

let broker: TestBroker
let stage: ConsumerStage
let admin: Admin

beforeAll(async () => {
  broker = await startBroker({ dataDir: 'memory', groupMinSessionTimeoutMs: 50 })
  stage = new ConsumerStage(connect({ brokers: broker.brokers, clientId: 'app', ...FAST }))
  admin = stage.client.admin()
})

afterAll(async () => {
  await stage.client.close()
  await broker.stop()
})

const noWork = { eachMessage: () => undefined }

/** A group without members that stands at offset 4 of both partitions of a topic with ten records each. */
async function groupAt(offset: number): Promise<{ groupId: string; topic: string }> {
  const topic = await stage.topicWith(2, 10)
  const consumer = stage.consumerOf(topic, { autoCommit: false })
  await consumer.run(noWork)
  await consumer.commit([0, 1].map((partition) => ({ topic, partition, offset, metadata: 'm' })))
  await consumer.close()
  return { groupId: consumer.groupId, topic }
}

describe('the admin', () => {
  it('lists and describes groups: members, what they have, and how far the group is', async () => {
    const topic = await stage.topicWith(2, 10)
    const consumer = stage.consumerOf(topic, { instanceId: 'one', autoCommit: false })
    await consumer.run(noWork)
    await consumer.commit({ topic, partition: 1, offset: 3, metadata: 'here' })
    const { groupId } = consumer
    expect(await admin.listGroups()).toContainEqual({ groupId, protocolType: 'consumer', state: 'Stable', members: 1 })
    expect(await admin.listGroups({ states: ['Empty'] })).not.toContainEqual(expect.objectContaining({ groupId }))
    const described = await admin.describeGroup(groupId)
    expect(described).toMatchObject({
      groupId,
      state: 'Stable',
      protocolType: 'consumer',
      protocol: 'cooperative-sticky',
      members: [
        {
          instanceId: 'one',
          clientId: 'app',
          sessionTimeoutMs: 45_000,
          topics: [topic],
          partitions: [
            { topic, partition: 0 },
            { topic, partition: 1 },
          ],
        },
      ],
    })
    const memberId = described.members[0]?.memberId
    expect(described.partitions).toMatchObject([
      { topic, partition: 0, offset: undefined, endOffset: 10, lag: undefined, memberId },
      { topic, partition: 1, offset: 3, endOffset: 10, lag: 7, metadata: 'here', memberId },
    ])
    await consumer.close()
  })

  it('says that there is no such group', async () => {
    await expect(admin.describeGroup('nobody')).rejects.toMatchObject({ code: 'GROUP_ID_NOT_FOUND' })
    await expect(admin.deleteGroups(['nobody'])).rejects.toMatchObject({ code: 'GROUP_ID_NOT_FOUND' })
    await expect(admin.describeGroup('')).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    await expect(admin.describeGroup('g'.repeat(1_000))).rejects.toThrow('1 to 255 characters')
  })

  it('tells and forgets what is committed, and deletes groups without members', async () => {
    const { groupId, topic } = await groupAt(4)
    expect(await admin.fetchOffsets({ groupId })).toMatchObject([
      { topic, partition: 0, offset: 4, metadata: 'm' },
      { topic, partition: 1, offset: 4, metadata: 'm' },
    ])
    expect(await admin.deleteOffsets({ groupId, topic, partitions: [0] })).toEqual([{ topic, partition: 0 }])
    expect(await admin.deleteOffsets({ groupId, topic: 'another' })).toEqual([])
    expect(await admin.fetchOffsets({ groupId, topic })).toMatchObject([{ partition: 1 }])
    await expect(admin.fetchOffsets({ groupId, partitions: [0] })).rejects.toThrow('topic must be given')
    await admin.deleteGroups({ groups: [groupId] })
    expect((await admin.listGroups()).some((one) => one.groupId === groupId)).toBe(false)
  })

  it.each<[string, ResetOffsetsRequest['to'], number]>([
    ['the first record', 'earliest', 2],
    ['the end', 'latest', 10],
    ['an offset', 7, 7],
    ['an offset before the first record', 0, 2],
    ['an offset past the end', 1_000, 10],
    ['so many records back', { shift: -1 }, 3],
    ['so many records on', { shift: 3 }, 7],
    ['more records back than there are', { shift: -100 }, 2],
    ['a time before all records', new Date(0), 2],
    ['a time after all records', new Date('2100-01-01'), 10],
  ])('sends a group to %s, after telling where that is', async (_, to, expected) => {
    const { groupId, topic } = await groupAt(4)
    await admin.trim({ topic, partitions: [0, 1].map((partition) => ({ partition, beforeOffset: 2 })) })
    const request = { groupId, topic, to }
    const plan = [0, 1].map((partition) => ({ topic, partition, from: 4, to: expected }))
    expect(await admin.resetOffsets({ ...request, dryRun: true })).toEqual(plan)
    expect(await admin.fetchOffsets({ groupId })).toMatchObject([{ offset: 4 }, { offset: 4 }])
    expect(await admin.resetOffsets(request)).toEqual(plan)
    expect(await admin.fetchOffsets({ groupId })).toMatchObject([{ offset: expected }, { offset: expected }])
  })

  it('refuses to send a group elsewhere that has members, or from where it is not', async () => {
    const topic = await stage.topicWith(1, 5)
    const consumer = stage.consumerOf(topic, { autoCommit: false })
    await consumer.run(noWork)
    const { groupId } = consumer
    await expect(admin.resetOffsets({ groupId, topic, to: 'latest' })).rejects.toMatchObject({
      code: 'NON_EMPTY_GROUP',
      message: expect.stringContaining(`group ${groupId} has members`) as string,
    })
    expect(await admin.resetOffsets({ groupId, topic, to: 'latest', dryRun: true })).toMatchObject([{ to: 5 }])
    await expect(admin.deleteGroups([groupId])).rejects.toMatchObject({ code: 'NON_EMPTY_GROUP' })
    await expect(admin.deleteOffsets({ groupId, topic })).resolves.toEqual([])
    await consumer.commit({ topic, partition: 0, offset: 1 })
    await expect(admin.deleteOffsets({ groupId, topic })).rejects.toMatchObject({ code: 'GROUP_SUBSCRIBED_TO_TOPIC' })
    await consumer.close()
    const other = { groupId: stage.name('group'), topic }
    await expect(admin.resetOffsets({ ...other, to: { shift: 1 } })).rejects.toThrow('nothing is committed')
    await expect(admin.resetOffsets({ ...other, to: 'somewhere' })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    await expect(admin.resetOffsets({ ...other, to: 1, partitions: [3] })).rejects.toThrow('not 3')
    expect(await admin.resetOffsets({ ...other, to: 3 })).toEqual([{ topic, partition: 0, from: undefined, to: 3 }])
    expect(await admin.fetchOffsets(other)).toMatchObject([{ offset: 3 }])
  })
})
