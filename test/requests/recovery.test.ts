// What a person is told before one replica of a partition goes on alone, when that is refused, and what is wanted of the
// partition afterwards. The replica itself is made of plain values here.

import { beforeAll, expect, it } from 'vitest'
import type { LocalReplica } from '../../broker/requests/request-services.ts'
import { must } from '../../shared/assert.ts'
import { offset } from '../../shared/ids.ts'
import { epoch } from '../coordination/redis-lives.ts'
import type { PrivateRedis } from '../setup/private-redis.ts'
import { describeWithRedis, startRedis } from '../setup/redis.ts'
import { type Cluster, SELF, startCluster } from './one-of-a-cluster.ts'

function recover({ ask }: Cluster, options: { broker?: number; isLossAccepted?: boolean; partition?: number } = {}) {
  const asked = { topic: 'a', partition: 0, broker: 1, isLossAccepted: false, ...options }
  return ask('recoverPartition', asked).then(({ notes, isDone }) => ({ notes: notes.join('; '), isDone }), String)
}

/** A replica here, by the voters that the topic began with. */
function replicaOf(cluster: Cluster, options: Partial<LocalReplica> = {}): LocalReplica {
  const { topicId: id, assignment = [], directories = {} } = cluster.topic()
  const voters = must(assignment[0], 'there is a partition').map((brokerId) => {
    return { brokerId, directoryId: directories[String(brokerId)] ?? '' }
  })
  const facts = { logStartOffset: offset(0), highWatermark: offset(90), logEndOffset: offset(100) }
  const replica: LocalReplica = {
    isOpen: true,
    isLeading: false,
    isLeaderless: false,
    voterSets: [{ voters, minInSyncReplicas: 2 }],
    isSuspect: false,
    ...facts,
    handOver: () => undefined,
    recover: () => false,
    ...options,
  }
  cluster.replicas.set(`${id}:0`, replica)
  return replica
}

describeWithRedis('a recovery', () => {
  let redis: PrivateRedis
  beforeAll(async () => {
    redis = await startRedis()
    return () => redis.stop()
  })

  async function oneOfThree(): Promise<Cluster> {
    const cluster = await startCluster(redis.url, { others: 2 })
    expect(await cluster.create({ partitions: 1, replicationFactor: 3 })).toBe('created')
    return cluster
  }

  async function loseOthers(cluster: Cluster): Promise<void> {
    for (const life of cluster.lives) await life.coordinator.stop()
    await cluster.until(() => cluster.coordinator.brokers().length === 1)
  }

  it('is refused where there is a leader, no replica, or another broker to ask', async () => {
    const cluster = await oneOfThree()
    expect(await recover(cluster, { broker: 2 })).toContain('this is broker 1: ask broker 2 itself')
    expect(await recover(cluster, { partition: 5 })).toContain('there is no partition a-5')
    expect(await recover(cluster)).toContain('broker 1 has no replica of a-0')
    replicaOf(cluster, { isOpen: false })
    expect(await recover(cluster)).toContain('the log of a-0 on broker 1 is not open')
    replicaOf(cluster)
    const { topicId: id } = cluster.topic()
    const [two] = cluster.lives
    await two?.coordinator.leaderships.claim(id, 0, epoch(3))
    await cluster.until(() => cluster.coordinator.leaderships.of(id, 0)?.leader === 2)
    expect(await recover(cluster)).toContain('broker 2 leads a-0, and nothing is missing but others to confirm it')
    await two?.coordinator.leaderships.setInSyncReplicas(id, 0, epoch(3), [
      SELF,
      ...(two === undefined ? [] : [two.record.brokerId]),
    ])
    await cluster.until(() => cluster.coordinator.leaderships.of(id, 0)?.inSyncReplicas.length === 2)
    expect(await recover(cluster, { isLossAccepted: true })).toContain(
      'broker 2 leads a-0: there is nothing to recover',
    )
    expect(cluster.topic().moves).toBeUndefined()
  })

  it('only tells what is missing and what may be lost, unless the loss is accepted', async () => {
    const cluster = await oneOfThree()
    replicaOf(cluster, { isSuspect: true })
    const before = await recover(cluster)
    expect(before).toMatchObject({ isDone: false })
    expect(before).toHaveProperty('notes', expect.stringContaining('all voters of a-0 are there, and elect a leader'))
    expect(before).toHaveProperty('notes', expect.not.stringContaining('--accept-data-loss'))
    expect(await recover(cluster, { isLossAccepted: true })).toContain('all voters of a-0 are there')
    const { topicId: id } = cluster.topic()
    const [two] = cluster.lives
    await two?.coordinator.leaderships.claim(id, 0, epoch(3))
    await cluster.until(() => cluster.coordinator.leaderships.of(id, 0)?.leader === 2)
    await cluster.lives[1]?.coordinator.stop()
    await cluster.until(() => cluster.coordinator.brokers().length === 2)
    replicaOf(cluster, { isSuspect: true, isLeaderless: true })
    expect(await recover(cluster)).toHaveProperty('notes', expect.stringContaining('recover it on broker 2, or stop'))
    expect(await recover(cluster, { isLossAccepted: true })).toContain('broker 2 is there and was the last to lead a-0')
    await loseOthers(cluster)
    const told = await recover(cluster)
    const notes = typeof told === 'string' ? told : told.notes
    expect(notes).toMatch(/these are missing: \d \(away\), \d \(away\)/)
    expect(notes).toContain('broker 1 was NOT in sync with the last leader that is known (epoch 3')
    expect(notes).toContain('this replica may have lost records itself')
    expect(notes).toContain('what it has ends at offset 100')
    expect(notes).toMatch(
      /`tidemark topic recover a -p 0 --broker 1 --accept-data-loss` goes on with what broker 1 has$/,
    )
    expect(cluster.topic().moves).toBeUndefined()
  })

  it('does not say of a broker with another disk that it has what its former disk had', async () => {
    const cluster = await oneOfThree()
    const { topicId: id } = cluster.topic()
    const [two] = cluster.lives
    await two?.coordinator.leaderships.claim(id, 0, epoch(3))
    await two?.coordinator.leaderships.setInSyncReplicas(id, 0, epoch(3), [SELF, must(two, 'it is').record.brokerId])
    await cluster.until(() => cluster.coordinator.leaderships.of(id, 0)?.inSyncReplicas.length === 2)
    await loseOthers(cluster)
    const replica = replicaOf(cluster)
    expect(await recover(cluster)).toHaveProperty('notes', expect.stringContaining('it should have all that was'))
    const voters = must(replica.voterSets[0], 'it is').voters.map(({ brokerId, directoryId }) => {
      return { brokerId, directoryId: brokerId === SELF ? 'the former' : directoryId }
    })
    replicaOf(cluster, { voterSets: [{ voters, minInSyncReplicas: 2 }] })
    const told = await recover(cluster)
    expect(told).toHaveProperty('notes', expect.stringContaining('broker 1 has another data directory than'))
    expect(told).not.toHaveProperty('notes', expect.stringContaining('it should have all that was'))
  })

  it('wants the brokers that are there for the partition, and others in place of those that are not', async () => {
    const cluster = await oneOfThree()
    await loseOthers(cluster)
    await cluster.join(4)
    const { topicId: id } = cluster.topic()
    let calls = 0
    const replica = replicaOf(cluster, {
      recover: () => {
        calls += 1
        cluster.replicas.set(`${id}:0`, { ...replica, isLeading: true })
        return true
      },
    })
    const outcome = await recover(cluster, { isLossAccepted: true })
    expect(calls).toBe(1)
    expect(outcome).toMatchObject({ isDone: true })
    // One of three is not there yet.
    expect(outcome).toHaveProperty(
      'notes',
      expect.stringMatching(/its 3 replicas: tidemark broker move --topic a --partition 0 --to \d,\d,B1$/),
    )
    const wanted = cluster.topic().moves?.['0']?.map(({ brokerId }) => brokerId) ?? []
    expect(wanted.toSorted((a, b) => a - b)).toEqual([1, 4])
  })
})
