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
import { silentLogger } from '../../shared/logger.ts'
import { FENCE_ANSWERS } from '../../shared/protocol/peers.ts'
import { seededRandom } from '../../shared/random.ts'
import { SimTime } from '../simulation/sim-time.ts'
import { Brokers, ONE, THREE, TOPIC, TWO } from './replica-brokers.ts'

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
  for (const number of [0, 1]) {
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
  return { directory, replication }
}

describe('a fence of several partitions', () => {
  it('is answered for all of them, though a newcomer grants nothing', async () => {
    const { directory, replication } = await startBroker()
    expect([0, 1].map((partition) => directory.isNewcomer(TOPIC, partition))).toEqual([true, false])
    const request = { brokerId: TWO, partitions: [0, 1].map((partition) => ({ topicId: TOPIC, partition, epoch: 3 })) }
    // The promise is new the first time, and known the second.
    for (let times = 0; times < 2; times += 1) {
      const { partitions } = await replication.fence(request)
      expect(partitions.map(({ answer }) => answer)).toEqual([FENCE_ANSWERS.none, FENCE_ANSWERS.granted])
    }
    expect(directory.promises.get(TOPIC, 0)).toMatchObject({ epoch: 3, leaderId: TWO })
  })
})
