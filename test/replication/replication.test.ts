// What a broker answers to the others for its replicas: over a real data directory.

import { describe, expect, it, onTestFinished } from 'vitest'
import { InProcessCoordinator } from '../../broker/coordination/in-process-coordinator.ts'
import { SlotMeter } from '../../broker/metrics/meter.ts'
import { LeadershipPublisher } from '../../broker/replication/leadership-publisher.ts'
import { Partition } from '../../broker/replication/partition.ts'
import { Replication } from '../../broker/replication/replication.ts'
import { TopicTraffic } from '../../broker/replication/topic-traffic.ts'
import { TurnWriter } from '../../broker/replication/turn-writer.ts'
import { LogDirectory } from '../../broker/storage/log-directory.ts'
import { MemoryDisk } from '../../broker/storage/memory-disk.ts'
import { must } from '../../shared/assert.ts'
import { TidemarkError } from '../../shared/errors.ts'
import { leaderEpoch } from '../../shared/ids.ts'
import { silentLogger } from '../../shared/logger.ts'
import { FENCE_ANSWERS } from '../../shared/protocol/peers.ts'
import { seededRandom } from '../../shared/random.ts'
import { SimTime } from '../simulation/sim-time.ts'
import { Brokers, ONE, settle, THREE, TOPIC, TWO } from './replica-brokers.ts'

const none = (): void => undefined

/** Broker 1, which has a replica of partition 1 from the beginning, and gets one of partition 0. */
async function startBroker() {
  const time = new SimTime()
  const meter = new SlotMeter()
  const common = { clock: time, timers: time, random: seededRandom(1), logger: silentLogger }
  const directory = await LogDirectory.open({
    ...common,
    disk: new MemoryDisk(time),
    path: '/data',
    cluster: 'test',
    brokerId: ONE,
  })
  onTestFinished(() => directory.stop())
  const [self, two, three] = [directory.identity.directoryId, 'disk-2', 'disk-3']
  const topic = {
    topicId: TOPIC,
    name: 't',
    partitions: 2,
    replicationFactor: 2,
    config: {},
    assignment: [
      [TWO, THREE],
      [ONE, TWO],
    ],
    directories: { '1': self, '2': two, '3': three },
    version: 1,
    createdAt: time.now(),
  }
  await directory.createTopic(topic)
  const moves = {
    '0': [
      { brokerId: ONE, directoryId: self },
      { brokerId: TWO, directoryId: two },
      { brokerId: THREE, directoryId: three },
    ],
  }
  const moving = { ...topic, moves, version: 2 }
  await directory.changeTopic(moving)
  const store = { list: () => [moving], put: () => Promise.resolve(), remove: () => Promise.resolve() }
  const coordinator = new InProcessCoordinator({
    ...common,
    cluster: 'test',
    brokerId: ONE,
    incarnation: 'life',
    store,
  })
  const replication = new Replication({
    ...common,
    brokerId: ONE,
    directory,
    coordinator,
    peers: new Brokers({ brokers: 1 }).of(ONE).carrier,
    fetching: { start: () => undefined, stop: () => undefined },
    publisher: new LeadershipPublisher({ ...common, coordinator }),
    withoutLease: 'serve',
    meter,
  })
  onTestFinished(() => replication.stop())
  const open = async (number: number): Promise<void> => {
    const partition = new Partition({
      topic: 't',
      partition: number,
      log: must(directory.log(TOPIC, number), 'the log is there'),
      turnWriter: new TurnWriter(time),
      traffic: new TopicTraffic(meter, 't'),
      space: { admitsAppend: () => true, onAppendFailure: () => undefined, noteAppended: () => undefined },
      logger: silentLogger,
    })
    await replication.open(moving, partition, 2)
  }
  return { directory, replication, time, open }
}

async function startReplicas() {
  const broker = await startBroker()
  for (const number of [0, 1]) await broker.open(number)
  return broker
}

function fenceOf(partitions: readonly { topicId: string; partition: number; epoch: number }[]) {
  return { brokerId: TWO, partitions }
}

describe('a replica that cannot be opened', () => {
  it('is none, and can be opened later', async () => {
    const { directory, replication, open } = await startBroker()
    const log = must(directory.log(TOPIC, 1), 'the log is there')
    const sync = log.sync.bind(log)
    log.sync = () => Promise.reject(new TidemarkError('STORAGE_ERROR', 'cannot be synced'))
    await expect(open(1)).rejects.toMatchObject({ code: 'STORAGE_ERROR' })
    expect([...replication.all()]).toEqual([])
    expect(replication.find(TOPIC, 1)).toBeUndefined()
    log.sync = sync
    await open(1)
    expect(replication.find(TOPIC, 1)?.role).toBe('follower')
  })
})

describe('promises that go to the disk together', () => {
  it('are kept but for the one that the disk has promised away already', async () => {
    const { directory, replication } = await startReplicas()
    const other = { topicId: TOPIC, partition: 0, epoch: leaderEpoch(9), leaderId: THREE }
    await directory.promises.record([other])
    const request = fenceOf([0, 1].map((partition) => ({ topicId: TOPIC, partition, epoch: 3 })))
    const { partitions } = await replication.fence(request)
    expect(partitions.map(({ answer }) => answer)).toEqual([FENCE_ANSWERS.none, FENCE_ANSWERS.granted])
    expect([0, 1].map((partition) => directory.promises.get(TOPIC, partition)?.epoch)).toEqual([9, 3])
  })

  it('are tried again when the disk was full, and wait for nothing once the broker stops', async () => {
    const { directory, replication, time } = await startReplicas()
    const before = time.pendingTimers
    replication.start({ onReplicaOpened: none, onReplicaClosed: none, onCampaignAbandoned: none })
    const { promises } = directory
    const record = promises.record.bind(promises)
    promises.record = () => Promise.reject(new TidemarkError('DISK_FULL', 'no space'))
    const fence = fenceOf([{ topicId: TOPIC, partition: 1, epoch: 3 }])
    expect((await replication.fence(fence)).partitions[0]?.answer).toBe(FENCE_ANSWERS.none)
    promises.record = record
    for (let ms = 0; ms < 2_000; ms += 50) {
      time.advance(50)
      await settle()
    }
    expect((await replication.fence(fence)).partitions[0]?.answer).toBe(FENCE_ANSWERS.granted)
    promises.record = () => Promise.reject(new TidemarkError('DISK_FULL', 'no space'))
    await replication.fence(fenceOf([{ topicId: TOPIC, partition: 1, epoch: 5 }]))
    replication.stop()
    expect(time.pendingTimers).toBe(before)
  })
})

describe('a request of a peer with something in it that makes no sense', () => {
  const garbage = [
    { topicId: 'no topic', partition: 1, epoch: 3 },
    { topicId: TOPIC, partition: 1, epoch: -3 },
  ]

  it('is followed for all the rest', async () => {
    const { replication } = await startReplicas()
    const good = { topicId: TOPIC, partition: 1, epoch: 3 }
    const { partitions } = await replication.fence(fenceOf([...garbage, good]))
    const { none: nothing, granted } = FENCE_ANSWERS
    expect(partitions.map(({ answer }) => answer)).toEqual([nothing, nothing, granted])
    const promise = () => replication.find(TOPIC, 1)?.state.promise
    const announced = { ...fenceOf([...garbage, { ...good, epoch: 5 }]), brokerId: THREE }
    expect(await replication.announceLeaders(announced)).toEqual({ refused: [] })
    expect(promise()).toEqual({ epoch: 5, leader: THREE })
    const suggested = [...garbage, { ...good, epoch: 7 }].map(({ topicId, partition, epoch }) => {
      return { topicId, partition, epochSeen: epoch }
    })
    await replication.suggestLeader({ brokerId: TWO, partitions: suggested })
    expect(promise()).toEqual({ epoch: 8, leader: ONE })
  })
})

describe('a fence of several partitions', () => {
  it('is answered for all of them, though a newcomer grants nothing', async () => {
    const { directory, replication } = await startReplicas()
    expect([0, 1].map((partition) => directory.isNewcomer(TOPIC, partition))).toEqual([true, false])
    const request = fenceOf([0, 1].map((partition) => ({ topicId: TOPIC, partition, epoch: 3 })))
    // The promise is new the first time, and known the second.
    for (let times = 0; times < 2; times += 1) {
      const { partitions } = await replication.fence(request)
      expect(partitions.map(({ answer }) => answer)).toEqual([FENCE_ANSWERS.none, FENCE_ANSWERS.granted])
    }
    expect(directory.promises.get(TOPIC, 0)).toMatchObject({ epoch: 3, leaderId: TWO })
  })
})
