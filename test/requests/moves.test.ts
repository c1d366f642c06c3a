// What is legal to ask of the replicas of partitions, and what stands in the topic afterwards. That it comes about is the
// leaders' affair, of which there are none here.

import { beforeAll, describe, expect, it } from 'vitest'
import { placeReplicas, replaceReplica } from '../../broker/requests/placement.ts'
import { errorCodeOf } from '../../shared/errors.ts'
import { brokerId, offset } from '../../shared/ids.ts'
import type { PrivateRedis } from '../setup/private-redis.ts'
import { describeWithRedis, startRedis } from '../setup/redis.ts'
import { type Cluster, SELF, startCluster } from './one-of-a-cluster.ts'

const ids = (...numbers: number[]) => numbers.map((id) => brokerId(id))

/** 'ok' or why not, of each move. */
async function move(cluster: Cluster, moves: [partition: number, replicas: number[]][], validateOnly = false) {
  const asked = moves.map(([partition, replicas]) => ({ topic: 'a', partition, replicas }))
  const { partitions } = await cluster.ask('movePartitions', { moves: asked, validateOnly })
  return partitions.map(({ error, message }) => (error === 0 ? 'ok' : `${errorCodeOf(error)}: ${message}`))
}

function directoryOf({ coordinator }: Cluster, id: number): string | undefined {
  return coordinator.brokers().find((broker) => broker.brokerId === id)?.directoryId
}

/** The wanted brokers by partition. */
function wanted({ topic }: Cluster): Record<string, number[]> {
  return Object.fromEntries(
    Object.entries(topic().moves ?? {}).map(([partition, voters]) => [
      partition,
      voters.map((voter) => voter.brokerId),
    ]),
  )
}

describeWithRedis('moving partitions', () => {
  let redis: PrivateRedis
  beforeAll(async () => {
    redis = await startRedis()
    return () => redis.stop()
  })

  /** Topic a: three partitions on brokers 1, 2 and 3 of five. */
  async function fiveBrokers(): Promise<Cluster> {
    const cluster = await startCluster(redis.url, { others: 2 })
    expect(await cluster.create({ partitions: 3, replicationFactor: 3 })).toBe('created')
    await cluster.join(4)
    await cluster.join(5)
    return cluster
  }

  it('writes the wanted brokers, and their disks, into the topic, and leaves everything else', async () => {
    const cluster = await fiveBrokers()
    const before = cluster.topic()
    expect(
      await move(cluster, [
        [0, [4, 2, 1]],
        [2, [5, 4, 3]],
      ]),
    ).toEqual(['ok', 'ok'])
    const { moves = {}, ...after } = cluster.topic()
    expect(moves['0']).toEqual([4, 2, 1].map((id) => ({ brokerId: id, directoryId: directoryOf(cluster, id) })))
    expect(wanted(cluster)).toEqual({ 0: [4, 2, 1], 2: [5, 4, 3] })
    expect(after).toEqual({ ...before, version: before.version + 1 })
    const { topics } = await cluster.ask('describeTopics', { topics: ['a'] })
    expect(topics[0]?.partitions.map(({ movingTo }) => movingTo)).toEqual([[4, 2, 1], undefined, [5, 4, 3]])
  })

  it('may have more replicas afterwards, or fewer', async () => {
    const cluster = await fiveBrokers()
    expect(
      await move(cluster, [
        [0, [1, 2]],
        [1, [1, 2, 3, 4, 5]],
      ]),
    ).toEqual(['ok', 'ok'])
    expect(wanted(cluster)).toEqual({ 0: [1, 2], 1: [1, 2, 3, 4, 5] })
  })

  it('keeps as many replicas as must hold what is acknowledged, unless it has fewer already', async () => {
    const cluster = await fiveBrokers()
    expect(await move(cluster, [[0, [1]]])).toEqual([
      'INVALID_REPLICA_ASSIGNMENT: 1 replica is too few for a-0: min.insync.replicas of topic a is 2, and cannot be lowered; name at least 2 brokers',
    ])
    expect(wanted(cluster)).toEqual({})
    const { topicId, assignment: [alone = []] = [] } = cluster.topic()
    const voters = alone.slice(0, 1).map((id) => ({ brokerId: id, directoryId: directoryOf(cluster, id) ?? '' }))
    const facts = { logStartOffset: offset(0), highWatermark: offset(0), logEndOffset: offset(0) }
    const voterSets = [{ voters, minInSyncReplicas: 1 }]
    const replica = {
      isOpen: true,
      isLeading: true,
      isLeaderless: false,
      voterSets,
      isSuspect: false,
      ...facts,
      handOver: () => undefined,
      recover: () => false,
    }
    cluster.replicas.set(`${topicId}:0`, replica)
    expect(await move(cluster, [[0, [alone[0] ?? 1]]], true)).toEqual(['ok'])
    expect(await move(cluster, [[0, [1, 2]]])).toEqual(['ok'])
  })

  it('only checks when it is told so', async () => {
    const cluster = await fiveBrokers()
    expect(await move(cluster, [[0, [4, 5, 1]]], true)).toEqual(['ok'])
    expect(wanted(cluster)).toEqual({})
  })

  it('says of each that is refused why, and begins the others', async () => {
    const cluster = await fiveBrokers()
    const [, , three] = cluster.lives
    await three?.coordinator.announce({ ...three.record, isDraining: true })
    await cluster.until(() => cluster.coordinator.brokers().some(({ isDraining }) => isDraining === true))
    expect(
      await move(cluster, [
        [0, [9, 1]],
        [1, [2, 3, 2]],
        [2, [3, 2, 5]],
        [7, [1]],
      ]),
    ).toEqual([
      'INVALID_REPLICA_ASSIGNMENT: there is no broker 9 at the moment; there are: 1, 2, 3, 4, 5',
      'INVALID_REPLICA_ASSIGNMENT: broker 2 is there twice for a-1',
      'ok',
      'UNKNOWN_TOPIC_OR_PARTITION: there is no partition a-7 with replicas',
    ])
    expect(
      await move(cluster, [
        [0, [1, 2, 4]],
        [1, [1]],
        [1, [2]],
      ]),
    ).toEqual([
      'INVALID_REPLICA_ASSIGNMENT: broker 4 is drained, so a-0 cannot go there; `tidemark broker drain 4 --undo` ends that',
      'INVALID_REPLICA_ASSIGNMENT: a-1 is there twice',
      'INVALID_REPLICA_ASSIGNMENT: a-1 is there twice',
    ])
    expect(wanted(cluster)).toEqual({ 2: [3, 2, 5] })
  })

  it('takes no second move of a partition before the first is over or called off', async () => {
    const cluster = await fiveBrokers()
    expect(await move(cluster, [[0, []]])).toEqual([
      'NO_REASSIGNMENT_IN_PROGRESS: no move of a-0 is under way that could be called off',
    ])
    await move(cluster, [[0, [4, 2, 1]]])
    const { version } = cluster.topic()
    expect(await move(cluster, [[0, [4, 2, 1]]])).toEqual(['ok'])
    expect(cluster.topic().version).toBe(version)
    expect(await move(cluster, [[0, [5, 2, 1]]])).toEqual([
      'INVALID_REPLICA_ASSIGNMENT: a-0 is on its way to brokers 4, 2, 1; wait until it is there, or call that off first',
    ])
    expect(await move(cluster, [[0, []]])).toEqual(['ok'])
    expect(cluster.topic().moves ?? {}).toEqual({})
    expect(await move(cluster, [[0, [5, 2, 1]]])).toEqual(['ok'])
  })

  it('has nothing to do where all is as wanted, and something where a disk is another one', async () => {
    const cluster = await fiveBrokers()
    const row = [...(cluster.topic().assignment?.[0] ?? [])]
    const asked = { moves: [{ topic: 'a', partition: 0, replicas: row }], validateOnly: false }
    expect((await cluster.ask('movePartitions', asked)).partitions).toMatchObject([{ error: 0, isThere: true }])
    expect(wanted(cluster)).toEqual({})
    const [two] = cluster.lives
    await two?.coordinator.announce({ ...two.record, directoryId: 'another' })
    await cluster.until(() => directoryOf(cluster, 2) === 'another')
    expect((await cluster.ask('movePartitions', asked)).partitions).toMatchObject([{ error: 0, isThere: false }])
    expect(cluster.topic().moves?.['0']).toContainEqual({ brokerId: 2, directoryId: 'another' })
    const { checks } = await cluster.ask('clusterInfo', {})
    expect(checks.find(({ name }) => name === 'disks')?.detail).not.toContain('a-0')
  })

  it('may leave a broker that is away where it is', async () => {
    const cluster = await fiveBrokers()
    const before = directoryOf(cluster, 2)
    await cluster.lives[0]?.coordinator.stop()
    await cluster.until(() => cluster.coordinator.brokers().length === 4)
    expect(await move(cluster, [[0, [4, 2, 1]]])).toEqual(['ok'])
    expect(cluster.topic().moves?.['0']?.[1]).toEqual({ brokerId: 2, directoryId: before })
  })

  it('takes a broker out of everything, also one that is away, and out of moves that are under way', async () => {
    const cluster = await fiveBrokers()
    await move(cluster, [[0, [4, 2, 1]]])
    await cluster.lives[0]?.coordinator.stop()
    await cluster.until(() => cluster.coordinator.brokers().length === 4)
    const planned = await cluster.ask('decommissionBroker', { broker: 2, validateOnly: true })
    expect(planned.partitions).toHaveLength(3)
    expect(wanted(cluster)).toEqual({ 0: [4, 2, 1] })
    const { partitions, left } = await cluster.ask('decommissionBroker', { broker: 2, validateOnly: false })
    expect(partitions.map(({ error }) => error)).toEqual([0, 0, 0])
    expect(left).toBe(3)
    expect(Object.values(wanted(cluster)).flat()).not.toContain(2)
    expect(Object.values(wanted(cluster)).map((row) => new Set(row).size)).toEqual([3, 3, 3])
    const again = await cluster.ask('decommissionBroker', { broker: 2, validateOnly: false })
    expect(again).toEqual({ partitions: [], left: 3 })
  })

  it('gives a broker that has come in its share, and leaves alone what is on its way', async () => {
    const cluster = await fiveBrokers()
    const before = cluster.topic().assignment ?? []
    await move(cluster, [[0, [4, 2, 1]]])
    const planned = await cluster.ask('balanceReplicas', { movesMax: 100, validateOnly: true })
    expect(planned.underWay).toBe(1)
    expect(wanted(cluster)).toEqual({ 0: [4, 2, 1] })
    const { partitions } = await cluster.ask('balanceReplicas', { movesMax: 100, validateOnly: false })
    expect(partitions.map(({ error }) => error)).toEqual(partitions.map(() => 0))
    expect(partitions.map(({ to }) => to)).toEqual(planned.partitions.map(({ to }) => to))
    const rows = before.map((row, at) => wanted(cluster)[at] ?? row)
    const counts = ids(1, 2, 3, 4, 5).map((id) => rows.filter((row) => row.includes(id)).length)
    expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1)
    expect(await cluster.ask('balanceReplicas', { movesMax: 100, validateOnly: false })).toMatchObject({
      partitions: [],
    })
  })

  it('says when too few brokers would be left, and when there is no such broker', async () => {
    const cluster = await startCluster(redis.url, { others: 2 })
    await cluster.create({ partitions: 1, replicationFactor: 3 })
    await expect(cluster.ask('decommissionBroker', { broker: 3, validateOnly: false })).rejects.toThrow(
      'broker 3 cannot be left out: a-0 has 3 replicas, and there is no broker that has none of it; add a broker first, or move the partition to fewer',
    )
    await expect(cluster.ask('decommissionBroker', { broker: 9, validateOnly: false })).rejects.toThrow(
      'there is no broker 9, and no replica is assigned to it',
    )
    expect(wanted(cluster)).toEqual({})
    expect(cluster.coordinator.controller()).toBe(SELF)
  })

  it('advises no move to fewer replicas than must hold what is acknowledged', async () => {
    const cluster = await startCluster(redis.url, { others: 2 })
    await cluster.create({ partitions: 1, config: [['min.insync.replicas', '3']], replicationFactor: 3 })
    await expect(cluster.ask('decommissionBroker', { broker: 3, validateOnly: false })).rejects.toThrow(
      /add a broker first$/,
    )
  })
})

describe('the replacement of one replica', () => {
  const racks = new Map([1, 2, 3, 4, 5].map((id) => [brokerId(id), id <= 2 ? 'x' : id === 3 ? 'y' : 'z'] as const))
  const brokers = [...racks].map(([id, rack]) => ({ brokerId: id, rack }))

  it('stays in as many racks as there were, and goes to who has the least', () => {
    const load = new Map([[brokerId(4), { replicas: 9, leaders: 0 }]])
    const to = replaceReplica({ row: ids(1, 3, 4), leaving: brokerId(4), brokers, racks, load, startAt: 0 })
    expect(to).toEqual(ids(1, 3, 5))
    expect(replaceReplica({ row: ids(1, 3, 5), leaving: brokerId(1), brokers, racks, load, startAt: 0 })).toHaveLength(
      3,
    )
    expect(replaceReplica({ row: ids(3, 1, 5), leaving: brokerId(1), brokers, racks, load, startAt: 0 })).toEqual(
      ids(3, 5, 2),
    )
  })

  it('has the one lead that leads the least, where the preferred leader leaves', () => {
    const load = new Map([
      [brokerId(3), { replicas: 1, leaders: 2 }],
      [brokerId(5), { replicas: 1, leaders: 1 }],
      [brokerId(2), { replicas: 1, leaders: 3 }],
    ])
    expect(replaceReplica({ row: ids(1, 3, 5), leaving: brokerId(1), brokers, racks, load, startAt: 0 })).toEqual(
      ids(5, 3, 2),
    )
  })

  it('is another one of those that could have been placed', () => {
    for (let startAt = 0; startAt < 5; startAt += 1) {
      const [row = []] = placeReplicas({ brokers, load: new Map(), partitions: 1, replicationFactor: 3, startAt })
      for (const leaving of row) {
        const to = replaceReplica({ row, leaving, brokers, racks, load: new Map(), startAt })
        expect(new Set(to).size).toBe(3)
        expect(to).not.toContain(leaving)
        expect(new Set(to.map((id) => racks.get(id))).size).toBeGreaterThanOrEqual(2)
      }
    }
  })
})
