// What foreign clients administer on one broker, and what ours sees of it. For each client one describe.

import { describe, expect, it } from 'vitest'
import type { ForeignVerb } from './foreign-client.ts'
import { nativeDriver } from './native-driver.ts'
import { numbered, toMessages } from './samples.ts'
import type { Stage } from './stage.ts'

export interface AdminSuite {
  /** What the client has no call for. */
  readonly lacks?: readonly ForeignVerb[]
  /** Whether it reads what shares the members of a group have. Default true. */
  readonly readsShares?: boolean
  /** Whether it can ask for the record with the highest timestamp. Default true. */
  readonly findsMaxTimestamp?: boolean
}

export function adminSuite(stage: Stage, suite: AdminSuite = {}): void {
  const { lacks = [], readsShares = true, findsMaxTimestamp = true } = suite
  const has = (...verbs: readonly ForeignVerb[]): boolean => !verbs.some((verb) => lacks.includes(verb))
  const settingOf = async (topic: string, name: string): Promise<string | undefined> => {
    const { config } = await stage.native.admin().describeTopic(topic)
    return config.find((one) => one.name === name)?.value
  }
  /** A topic with numbers in it. */
  const filled = async (count: number): Promise<string> => {
    const topic = await stage.newTopic()
    await stage.native.producer().send({ topic, messages: toMessages(numbered(count)) })
    return topic
  }

  describe('as an administrator', () => {
    it('makes, lists, describes, grows and deletes topics', async () => {
      const topic = stage.newName('made')
      const admin = stage.native.admin()
      await stage.ask('createTopics', { topics: [{ topic, partitions: 3, configs: { 'retention.ms': '123456' } }] })
      expect((await admin.describeTopic(topic)).partitions).toHaveLength(3)
      expect(await settingOf(topic, 'retention.ms')).toBe('123456')
      expect(await stage.ask('listTopics')).toContain(topic)
      const described = await stage.ask('describeTopic', { topic })
      expect(described).toEqual([0, 1, 2].map((partition) => ({ partition, leader: 1, replicas: [1], isr: [1] })))
      await stage.ask('createPartitions', { topic, total: 5 })
      expect((await admin.describeTopic(topic)).partitions).toHaveLength(5)
      await stage.ask('deleteTopics', { topics: [topic] })
      expect(await admin.listTopics()).not.toContain(topic)
    })

    it('names the broker of each partition', async () => {
      const topic = stage.newName('placed')
      await stage.ask('createTopics', { topics: [{ topic, assignments: [[1], [1]] }] })
      const { partitions } = await stage.native.admin().describeTopic(topic)
      expect(partitions.map(({ replicas }) => replicas)).toEqual([[1], [1]])
    })

    it('is told why a topic is not made', async () => {
      const topic = await stage.newTopic()
      await expect(stage.ask('createTopics', { topics: [{ topic, partitions: 1 }] })).rejects.toThrow(/exist/i)
    })

    it('reads the settings of topics and brokers', async () => {
      const topic = await stage.newTopic(1, { 'retention.ms': '777000' })
      const found = await stage.ask('describeConfigs', { topic })
      expect(found).toMatchObject({ 'retention.ms': '777000', 'cleanup.policy': 'delete' })
      expect(Object.keys(found).length).toBeGreaterThan(10)
    })

    it.runIf(has('alterConfigs'))('changes single settings of a topic', async () => {
      const topic = await stage.newTopic(1, { 'retention.ms': '777000', 'segment.bytes': '2000000' })
      await stage.ask('alterConfigs', { topic, set: { 'retention.ms': '888000' }, remove: ['segment.bytes'] })
      expect(await settingOf(topic, 'retention.ms')).toBe('888000')
      const found = await stage.ask('describeConfigs', { topic })
      expect(found['retention.ms']).toBe('888000')
      expect(found['segment.bytes']).not.toBe('2000000')
    })

    it.runIf(has('replaceConfigs'))('replaces all settings of a topic', async () => {
      const topic = await stage.newTopic(1, { 'retention.ms': '777000', 'segment.bytes': '2000000' })
      await stage.ask('replaceConfigs', { topic, configs: { 'retention.ms': '999000' } })
      const found = await stage.ask('describeConfigs', { topic })
      expect(found['retention.ms']).toBe('999000')
      expect(found['segment.bytes']).not.toBe('2000000')
    })

    it('describes the cluster', async () => {
      const known = await stage.native.admin().describeCluster()
      const { cluster, controller, nodes } = await stage.ask('describeCluster')
      expect({ cluster, controller, nodes }).toEqual({
        cluster: known.cluster,
        controller: 1,
        nodes: [{ id: 1, address: stage.broker.brokers }],
      })
    })

    it('lists and describes groups of its own members', async () => {
      const topic = await filled(5)
      const group = stage.newName('seen')
      const member = stage.newName('theirs')
      await stage.ask('join', { member, group, topics: [topic], assignor: 'range' })
      await stage.ask('assigned', { member, count: 1 })
      expect(await stage.ask('listGroups')).toContain(group)
      const { state, assignor, members } = await stage.ask('describeGroup', { group })
      expect({ state: state.toUpperCase(), assignor }).toEqual({ state: 'STABLE', assignor: 'range' })
      expect(members).toMatchObject([{ partitions: readsShares ? [`${topic}-0`] : null }])
      await stage.ask('leave', { member })
    })

    it('describes groups of our members', async () => {
      const topic = await filled(5)
      const group = stage.newName('seen')
      await using ours = nativeDriver(stage.native)
      await ours.ask('join', { member: 'ours', group, topics: [topic], assignor: 'range' })
      const { members } = await stage.ask('describeGroup', { group })
      const [described] = (await stage.native.admin().describeGroup(group)).members
      expect(members).toEqual([{ clientId: described?.clientId, partitions: readsShares ? [`${topic}-0`] : null }])
    })

    it.runIf(has('alterGroupOffsets'))('sets what a group has committed', async () => {
      const topic = await filled(5)
      const group = stage.newName('altered')
      await stage.ask('alterGroupOffsets', { group, topic, partition: 0, offset: 3 })
      expect(await stage.native.admin().fetchOffsets({ groupId: group })).toMatchObject([{ topic, offset: 3 }])
    })

    it.runIf(has('deleteGroupOffsets'))('deletes what a group has committed', async () => {
      const topic = await filled(5)
      const group = stage.newName('altered')
      await stage.native.admin().resetOffsets({ groupId: group, topic, to: 2 })
      await stage.ask('deleteGroupOffsets', { group, topic, partition: 0 })
      expect(await stage.native.admin().fetchOffsets({ groupId: group })).toEqual([])
    })

    it.runIf(has('deleteGroups'))('deletes groups', async () => {
      const topic = await filled(5)
      const group = stage.newName('deleted')
      await stage.native.admin().resetOffsets({ groupId: group, topic, to: 2 })
      await stage.ask('deleteGroups', { groups: [group] })
      const groups = await stage.native.admin().listGroups()
      expect(groups.map(({ groupId }) => groupId)).not.toContain(group)
    })

    it('deletes records', async () => {
      const topic = await filled(10)
      expect(await stage.ask('deleteRecords', { topic, partition: 0, before: 6 })).toBe(6)
      const [first] = await stage.native.admin().offsets(topic, { at: 'start' })
      expect(first?.offset).toBe(6)
    })

    it.runIf(has('logDirs'))('sees how much is stored', async () => {
      const topic = await filled(10)
      const found = await stage.ask('logDirs', { broker: 1 })
      expect(found[`${topic}-0`]).toBeGreaterThan(50)
    })

    it.runIf(has('producers'))('sees who writes', async () => {
      const topic = await stage.newTopic()
      await stage.native.producer({ idempotent: true }).send({ topic, messages: toMessages(numbered(3)) })
      const [one] = await stage.ask('producers', { topic, partition: 0 })
      expect(one).toMatchObject({ epoch: 0, lastSequence: 2 })
    })

    it.runIf(findsMaxTimestamp)('finds the record with the highest timestamp', async () => {
      const topic = await stage.newTopic()
      const [a, b, c] = numbered(3)
      if (a === undefined || b === undefined || c === undefined) throw new Error('three records')
      await stage.native.producer().send({ topic, messages: toMessages([a, c, b]) })
      expect(await stage.ask('offsets', { topic, partition: 0, at: 'max-timestamp' })).toBe(1)
    })

    it.runIf(has('electLeaders'))('asks for the preferred leader, who leads already', async () => {
      const topic = await stage.newTopic()
      expect(await stage.ask('electLeaders', { topic, partition: 0 })).toMatch(/election.?not.?needed/i)
    })
  })
}
