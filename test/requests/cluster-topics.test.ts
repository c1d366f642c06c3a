// Topics where brokers agree by one Redis, as one of them serves the requests: who gets the replicas, how long the answer
// waits, what metadata and descriptions say. The broker under test is number 1; the others are coordinators that only
// take part in what is agreed on, so that the test says what they do.

import { beforeAll, expect, it } from 'vitest'
import type { ResponseOf } from '../../shared/protocol/api.ts'
import { must } from '../../shared/assert.ts'
import { ERRORS, errorCodeOf } from '../../shared/errors.ts'
import { brokerId, offset } from '../../shared/ids.ts'
import { begin, DiskOfABroker, epoch } from '../coordination/redis-lives.ts'
import type { PrivateRedis } from '../setup/private-redis.ts'
import { describeWithRedis, startRedis } from '../setup/redis.ts'
import { type Cluster, SELF, startCluster } from './one-of-a-cluster.ts'

/** As placed: replicas of each partition. */
const assignmentOf = (cluster: Cluster, name = 'a') => cluster.topic(name).assignment

/** Every other broker leads what it should, unless this one has it. */
async function leadAll({ lives, topic, until, coordinator }: Cluster): Promise<void> {
  const { topicId: id, assignment = [] } = topic()
  for (const [partition, [leader]] of assignment.entries()) {
    const life = lives.find(({ record }) => record.brokerId === leader)
    await life?.until(() => life.coordinator.topics.get(id) !== undefined)
    await life?.coordinator.leaderships.claim(id, partition, epoch(5))
    if (life !== undefined) await until(() => coordinator.leaderships.of(id, partition)?.leader === leader)
  }
}

async function partitionsOf({ ask }: Cluster): Promise<ResponseOf<'metadata'>['topics'][number]['partitions']> {
  const { topics } = await ask('metadata', { topics: ['a'], createMissing: false })
  return must(topics[0], 'one was asked for').partitions
}

describeWithRedis('topics of a cluster', () => {
  let redis: PrivateRedis
  beforeAll(async () => {
    redis = await startRedis()
    return () => redis.stop()
  })

  it('say of a broker that has come with another disk what it means and what to do, and since when who is missing', async () => {
    const cluster = await startCluster(redis.url, { others: 2 })
    expect(await cluster.create({ partitions: 1 })).toBe('created')
    const { topicId: id } = cluster.topic()
    await cluster.coordinator.leaderships.claim(id, 0, epoch(1))
    cluster.local.set(`${id}:0`, { leader: SELF, leaderEpoch: epoch(1), inSyncReplicas: [SELF] })
    const [two] = cluster.lives
    await two?.coordinator.announce({ ...two.record, directoryId: 'another' })
    await cluster.until(() => cluster.coordinator.brokers().some(({ directoryId }) => directoryId === 'another'))
    const { checks } = await cluster.ask('clusterInfo', {})
    const [disks, , behind] = ['disks', 'leaders', 'replicas'].map((name) =>
      checks.find((check) => check.name === name),
    )
    expect(disks?.isOk).toBe(false)
    expect(disks?.detail).toMatch(
      /^broker 2 has another data directory than a-0 was made with: .*`tidemark broker readmit 2`$/,
    )
    expect(behind?.detail).toMatch(/: a-0 \(1 of 3, since 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ\)$/)
    const { topics } = await cluster.ask('describeTopics', { topics: ['a'] })
    expect(topics[0]?.partitions[0]?.reason).toContain(
      `broker 2 has another data directory than a-0 was made with, so its copy counts for nothing; \`tidemark broker readmit 2\` makes it count`,
    )
    const again = await cluster.ask('clusterInfo', {})
    expect(again.checks).toEqual(checks)
  })

  it('of which a replica here has lost records are named, with what to do, where other replicas may have them', async () => {
    const cluster = await startCluster(redis.url, { others: 2 })
    expect(await cluster.create({ partitions: 2 })).toBe('created')
    expect(await cluster.create({ topic: 'single', partitions: 3, replicationFactor: 1 })).toBe('created')
    const records = async () => (await cluster.ask('clusterInfo', {})).checks.find(({ name }) => name === 'records')
    expect(await records()).toMatchObject({ isOk: true })
    const ranges = [0, 5].map((start) => ({ startOffset: offset(start), endOffset: offset(start + 3) }))
    const lose = (name: string, partition: number): void => {
      const log = must(cluster.directory.log(cluster.topic(name).topicId, partition), 'it has a replica here')
      Object.defineProperty(log, 'quarantined', { get: () => ranges })
      const describeLog = log.describe.bind(log)
      log.describe = () => Object.assign(describeLog(), { quarantined: ranges })
    }
    const own = assignmentOf(cluster, 'single')?.findIndex(([id]) => id === SELF) ?? -1
    lose('single', own)
    expect(await records()).toMatchObject({ isOk: true })
    lose('a', 1)
    expect(await records()).toEqual({
      name: 'records',
      isOk: false,
      detail:
        'broker 1 has lost records of a-1 (offsets 0 to 2 and 1 more) to damage: they come back from the leader within ' +
        'seconds if it has them and the topic is not compacted; if they stay away while other replicas have them, start it with an empty data-dir, then `tidemark broker readmit 1`',
    })
  })

  it('go to no broker that is drained, and say so where too few are left', async () => {
    const cluster = await startCluster(redis.url, { others: 2 })
    const [two] = cluster.lives
    await two?.coordinator.announce({ ...two.record, isDraining: true })
    await cluster.until(() => cluster.coordinator.brokers().some(({ isDraining }) => isDraining === true))
    expect(await cluster.create({ replicationFactor: 2 })).toBe('created')
    expect(assignmentOf(cluster)?.map((replicas) => replicas.toSorted((a, b) => a - b))).toEqual([
      [1, 3],
      [1, 3],
      [1, 3],
    ])
    expect(await cluster.create({ topic: 'b', replicationFactor: 3 })).toBe(
      'INVALID_REPLICATION_FACTOR: replication factor 3 is not possible: there are 2 brokers besides 2, which get none while they are drained; ask for fewer replicas, or start more brokers',
    )
    const { brokers, checks } = await cluster.ask('clusterInfo', {})
    expect(brokers.map(({ isDraining }) => isDraining)).toEqual([false, true, false])
    expect(checks.find(({ name }) => name === 'brokers')?.detail).toBe('3 there, none away; drained: 2')
  })

  it('have replicas on as many brokers as they shall, and the directories of those', async () => {
    const cluster = await startCluster(redis.url, { others: 3 })
    expect(await cluster.create({ partitions: 8, replicationFactor: 2 })).toBe('created')
    const { assignment = [], directories = {}, config } = cluster.topic()
    expect(assignment.map((row) => new Set(row).size)).toEqual(Array.from({ length: 8 }, () => 2))
    const counts = [1, 2, 3, 4].map((id) => assignment.flat().filter((one) => one === id).length)
    expect(counts).toEqual([4, 4, 4, 4])
    const expected = Object.fromEntries(cluster.lives.map(({ record, disk }) => [record.brokerId, disk.directoryId]))
    expect(directories).toEqual({ 1: cluster.directoryId, ...expected })
    expect(config).toEqual({ 'min.insync.replicas': '2' })
    expect(cluster.directory.partitionCount).toBe(4)
    expect((await partitionsOf(cluster)).map(({ replicas }) => replicas)).toEqual(assignment)
    const { brokers } = await cluster.ask('clusterInfo', {})
    expect(brokers.map(({ topics, partitions }) => [topics, partitions])).toEqual(brokers.map(() => [1, 4]))
  })

  it('are refused when there are too few brokers, or fewer replicas than must hold a record', async () => {
    const cluster = await startCluster(redis.url, { topicDefaults: { 'min.insync.replicas': '2' } })
    expect(await cluster.create({ replicationFactor: 4 })).toBe(
      'INVALID_REPLICATION_FACTOR: replication factor 4 is not possible: there are 3 brokers; ask for fewer replicas, or start more brokers',
    )
    expect(await cluster.create({ replicationFactor: 2, config: [['min.insync.replicas', '3']] })).toBe(
      'INVALID_CONFIG: min.insync.replicas=3 is above the replication factor, which is 2; lower it, or ask for more replicas',
    )
    expect(await cluster.create({ replicationFactor: 1 })).toMatch(/^INVALID_CONFIG: .* the broker sets for all topics/)
    expect(await cluster.create({})).toBe('created')
    expect(cluster.topic()).toMatchObject({ replicationFactor: 3, config: { 'min.insync.replicas': '2' } })
  })

  it('are refused when this broker would hold too much, whatever the others have', async () => {
    const cluster = await startCluster(redis.url, { partitionsMax: 4 })
    expect(await cluster.create({ partitions: 6, replicationFactor: 1 })).toBe('created')
    expect(await cluster.create({ topic: 'b', partitions: 2, replicationFactor: 3 })).toBe('created')
    expect(cluster.directory.partitionCount).toBe(4)
    expect(await cluster.create({ topic: 'c', partitions: 1, replicationFactor: 3 })).toBe(
      'TOO_MANY_PARTITIONS: the broker holds 4 partitions and may hold 4: there is no room for 1 more',
    )
  })

  it('keep the number of replicas that must hold a record', async () => {
    const cluster = await startCluster(redis.url)
    await cluster.create({})
    const alter = (set: [string, string][], remove: string[] = []) =>
      cluster.ask('alterTopic', { topic: 'a', set, remove, validateOnly: false })
    const refusal = {
      code: 'INVALID_CONFIG',
      message: 'min.insync.replicas of topic a cannot be changed once the topic has replicas',
    }
    await expect(alter([['min.insync.replicas', '1']])).rejects.toMatchObject(refusal)
    await expect(alter([], ['min.insync.replicas'])).rejects.toMatchObject(refusal)
    await alter([
      ['min.insync.replicas', '2'],
      ['retention.ms', '5'],
    ])
    expect(cluster.topic().config).toEqual({ 'min.insync.replicas': '2', 'retention.ms': '5' })
  })

  it('are answered when all partitions are led', async () => {
    const cluster = await startCluster(redis.url)
    let isAnswered = false
    const answer = cluster.create({ partitions: 3, replicationFactor: 1 }, 60_000).finally(() => (isAnswered = true))
    await cluster.until(() => cluster.coordinator.topics.byName('a') !== undefined)
    const { topicId: id, assignment = [] } = cluster.topic()
    const own = assignment.findIndex(([leader]) => leader === SELF)
    await cluster.until(() => cluster.coordinator.leaderships.of(id, own)?.leader === SELF)
    await new Promise((resolve) => setImmediate(resolve))
    expect(isAnswered).toBe(false)
    await leadAll(cluster)
    expect(await answer).toBe('created')
    expect((await partitionsOf(cluster)).map(({ leader }) => leader)).toEqual(assignment.map(([leader]) => leader))
    expect(cluster.delayed.count).toBe(0)
  })

  it('are answered as made when the time is up without a leader, or when they have been deleted meanwhile', async () => {
    const cluster = await startCluster(redis.url)
    expect(await cluster.create({ partitions: 3, replicationFactor: 1 }, 20)).toBe('created')
    expect((await partitionsOf(cluster)).filter(({ leader }) => leader === undefined)).toHaveLength(2)
    const answer = cluster.create({ topic: 'b', partitions: 3, replicationFactor: 1 }, 60_000)
    await cluster.until(() => cluster.coordinator.topics.byName('b') !== undefined)
    const { topics } = await cluster.ask('deleteTopics', { topics: ['b', 'c'], timeoutMs: 60_000 })
    expect(topics.map(({ error }) => error)).toEqual([0, ERRORS.UNKNOWN_TOPIC_OR_PARTITION.number])
    expect(await answer).toBe('created')
    expect(cluster.delayed.count).toBe(0)
  })

  it('get more partitions on the brokers that have the fewest, on the disks that they have now', async () => {
    const cluster = await startCluster(redis.url)
    await cluster.create({ partitions: 2, replicationFactor: 1 })
    const { assignment = [], directories = {} } = cluster.topic()
    const add = (partitions: number) => cluster.ask('addPartitions', { topic: 'a', partitions, validateOnly: true })
    await add(3)
    const unused = must(
      [1, 2, 3].find((id) => !assignment.flat().includes(brokerId(id))),
      'one broker has none',
    )
    const adding = cluster.ask('addPartitions', { topic: 'a', partitions: 3, validateOnly: false })
    await cluster.until(() => cluster.topic().partitions === 3)
    await leadAll(cluster)
    await adding
    expect(cluster.topic().assignment).toEqual([...assignment, [unused]])
    expect(Object.keys(cluster.topic().directories ?? {})).toEqual(['1', '2', '3'])
    expect(cluster.topic().directories).toMatchObject(directories)
    const [second] = cluster.lives
    await second?.coordinator.stop()
    await begin({ url: redis.url, cluster: cluster.name, id: 2, disk: new DiskOfABroker() })
    const newId = (): string | undefined => cluster.coordinator.brokers().find((one) => one.brokerId === 2)?.directoryId
    await cluster.until(() => newId() !== undefined && newId() !== second?.disk.directoryId)
    const { topicId: id, version } = cluster.topic()
    await cluster.coordinator.topics.change('rf', id, version, {
      partitions: 9,
      assignment: [...(cluster.topic().assignment ?? []), ...Array.from({ length: 6 }, () => [SELF])],
    })
    const began = cluster.topic()
    const onTwo = [...(began.assignment ?? []).entries()].find(([, row]) => row.includes(brokerId(2)))?.[0] ?? -1
    expect(await placedOn(cluster, 12)).toContain(2)
    const after = cluster.topic()
    expect(after.directories?.['2']).toBe(newId())
    // The one that was there before goes by the voter that it began with.
    expect(after.origins).toEqual({
      [onTwo]: [{ brokerId: 2, directoryId: began.directories?.['2'] }],
    })
  })

  it('have no leader while the one that was agreed on is away', async () => {
    const cluster = await startCluster(redis.url)
    await cluster.create({ partitions: 3, replicationFactor: 1 })
    await leadAll(cluster)
    const partition = cluster.topic().assignment?.findIndex(([leader]) => leader === 2) ?? -1
    expect((await partitionsOf(cluster))[partition]).toMatchObject({ error: 0, leader: 2, leaderEpoch: 5 })
    await cluster.lives[0]?.coordinator.stop({ immediately: true })
    await cluster.until(() => cluster.coordinator.brokers().length === 2)
    const told = (await partitionsOf(cluster))[partition]
    expect(told).toMatchObject({ leader: undefined, leaderEpoch: 5, replicas: [2] })
    expect(errorCodeOf(told?.error ?? 0)).toBe('LEADER_NOT_AVAILABLE')
    const described = await describeOne(cluster)
    expect(described[partition]).toMatchObject({
      state: 'offline',
      leader: undefined,
      inSyncReplicas: [],
      last: { leader: 2, inSyncReplicas: [2] },
      reason: `no voter is there, and an election needs 1: broker 2 is away; start it, or see tidemark topic recover a -p ${partition}`,
    })
  })

  it('have no leader where the one that is named does not lead, or knows of none, and say what an election waits for', async () => {
    const cluster = await startCluster(redis.url, { others: 2 })
    await cluster.create({ partitions: 1, replicationFactor: 3 })
    const { topicId: id, assignment: [row = []] = [], directories = {} } = cluster.topic()
    await cluster.coordinator.leaderships.claim(id, 0, epoch(5))
    await cluster.until(() => cluster.coordinator.leaderships.of(id, 0)?.leader === SELF)
    const voters = row.map((one) => ({ brokerId: one, directoryId: directories[one] ?? '' }))
    const facts = { logStartOffset: offset(0), highWatermark: offset(0), logEndOffset: offset(0) }
    const is = (isLeading: boolean, isLeaderless: boolean): void => {
      const replica = {
        isOpen: true,
        isLeading,
        isLeaderless,
        isSuspect: false,
        ...facts,
        handOver: () => undefined,
        recover: () => false,
      }
      cluster.replicas.set(`${id}:0`, { ...replica, voterSets: [{ voters, minInSyncReplicas: 2 }] })
    }
    const leaders = async () => (await cluster.ask('clusterInfo', {})).checks.find(({ name }) => name === 'leaders')
    is(true, false)
    expect(await leaders()).toMatchObject({ isOk: true })
    expect((await describeOne(cluster))[0]).toMatchObject({ leader: SELF, state: 'online' })
    is(false, true)
    expect(await leaders()).toMatchObject({ isOk: false })
    expect((await partitionsOf(cluster))[0]).toMatchObject({ leader: undefined })
    expect((await describeOne(cluster))[0]).toMatchObject({ leader: undefined, state: 'offline' })

    const [two] = cluster.lives
    await two?.coordinator.leaderships.claim(id, 0, epoch(6))
    await cluster.until(() => cluster.coordinator.leaderships.of(id, 0)?.leader === 2)
    expect(await leaders()).toMatchObject({ isOk: false })
    // Clients may know better.
    expect((await partitionsOf(cluster))[0]).toMatchObject({ leader: 2 })
    is(false, false)
    expect(await leaders()).toMatchObject({ isOk: true })

    is(false, true)
    await two?.coordinator.announce({ ...two.record, directoryId: 'another' })
    await cluster.lives[1]?.coordinator.stop({ immediately: true })
    await cluster.until(() => cluster.coordinator.brokers().length === 2)
    await cluster.until(() => cluster.coordinator.brokers().some(({ directoryId }) => directoryId === 'another'))
    const [described] = await describeOne(cluster)
    expect(described).toMatchObject({ leader: undefined, state: 'offline' })
    expect(described?.reason).toMatch(
      /^only 1 of the 2 voters that an election needs are there: (broker 2 has another disk, broker 3 is away|broker 3 is away, broker 2 has another disk); start them with the old ones, or see tidemark topic recover a -p 0$/,
    )
  })

  it('are led as the replica here knows, where that is newer', async () => {
    const cluster = await startCluster(redis.url)
    await cluster.create({ partitions: 3, replicationFactor: 3 })
    const { topicId: id } = cluster.topic()
    await cluster.until(() => cluster.coordinator.leaderships.of(id, 0)?.leader === SELF)
    const agreed = cluster.coordinator.leaderships.of(id, 0)
    const at = (leaderEpoch: number, leader: number | undefined, ...inSync: number[]) =>
      cluster.local.set(`${id}:0`, {
        leader: leader === undefined ? undefined : brokerId(leader),
        leaderEpoch: epoch(leaderEpoch),
        inSyncReplicas: inSync.map(brokerId),
      })
    const epochNow = agreed?.leaderEpoch ?? 0
    at(epochNow, 1, 1, 3)
    expect((await partitionsOf(cluster))[0]).toMatchObject({ leader: 1, inSyncReplicas: [1, 3] })
    at(epochNow, undefined)
    expect((await partitionsOf(cluster))[0]).toMatchObject({ leader: undefined })
    at(epochNow + 1, 3, 3)
    expect((await partitionsOf(cluster))[0]).toMatchObject({
      leader: 3,
      leaderEpoch: epochNow + 1,
      inSyncReplicas: [3],
    })
    expect((await describeOne(cluster))[0]?.reason).toBe('under min.insync.replicas: 1 of 2 that must be are in sync')
    at(epochNow + 1, 3, 3, 2)
    expect((await describeOne(cluster))[0]?.reason).toBe('broker 3 leads')
  })

  it('are led as the replica here knows, where only its epoch has become known', async () => {
    const cluster = await startCluster(redis.url)
    await cluster.create({ partitions: 1, replicationFactor: 3 })
    const { topicId: id } = cluster.topic()
    const agreed = () => cluster.coordinator.leaderships.of(id, 0)
    await cluster.until(() => agreed()?.leader === SELF)
    const leaderEpoch = epoch(agreed()?.leaderEpoch ?? 0)
    await cluster.coordinator.leaderships.resign('r', [{ topicId: id, partition: 0, leaderEpoch }])
    await cluster.until(() => agreed()?.leader === undefined)
    expect(agreed()?.leaderEpoch).toBe(leaderEpoch)
    cluster.local.set(`${id}:0`, { leader: SELF, leaderEpoch, inSyncReplicas: [SELF, brokerId(3)] })
    expect((await partitionsOf(cluster))[0]).toMatchObject({ leader: SELF, inSyncReplicas: [SELF, 3] })
  })

  it('are described from afar by the broker that has no log of them', async () => {
    const cluster = await startCluster(redis.url)
    await cluster.create({ partitions: 3, replicationFactor: 1 })
    await leadAll(cluster)
    const partition = cluster.topic().assignment?.findIndex(([leader]) => leader === 3) ?? -1
    expect((await describeOne(cluster))[partition]).toMatchObject({
      leader: 3,
      replicas: [3],
      state: 'online',
      reason: 'broker 3 leads; this broker has no replica',
      logEndOffset: 0,
      figuresOf: undefined,
      last: undefined,
    })
    const own = cluster.topic().assignment?.findIndex(([leader]) => leader === SELF) ?? -1
    expect((await describeOne(cluster))[own]).toMatchObject({ leader: SELF, figuresOf: SELF })
  })
})

async function describeOne({ ask }: Cluster) {
  return must((await ask('describeTopics', { topics: ['a'] })).topics[0], 'one was asked for').partitions
}

/** The brokers of the partitions that are added. */
async function placedOn(cluster: Cluster, partitions: number): Promise<readonly number[]> {
  const before = cluster.topic().partitions
  const adding = cluster.ask('addPartitions', { topic: 'a', partitions, validateOnly: false })
  await cluster.until(() => cluster.topic().partitions === partitions)
  while (cluster.delayed.count === 0) await new Promise((resolve) => setImmediate(resolve))
  cluster.delayed.expireAll()
  await adding
  return cluster.topic().assignment?.slice(before).flat() ?? []
}
