// What a leader does when the coordinator does not take what it is told.

import { expect, it } from 'vitest'
import { InProcessCoordinator } from '../../broker/coordination/in-process-coordinator.ts'
import { LeadershipPublisher } from '../../broker/replication/leadership-publisher.ts'
import { leaderEpoch, timestampMs } from '../../shared/ids.ts'
import { silentLogger } from '../../shared/logger.ts'
import { seededRandom } from '../../shared/random.ts'
import { Brokers, ONE, settle, TOPIC } from './replica-brokers.ts'

/** One broker that leads, and a coordinator that knows the topic. */
async function startLeader() {
  const brokers = await Brokers.start({ brokers: 1 })
  const replica = brokers.of(ONE).replica()
  await brokers.elect(ONE)
  const topic = { topicId: TOPIC, name: 't', partitions: 1, replicationFactor: 1, config: {}, version: 1 }
  const common = { timers: brokers.time, random: seededRandom(1), logger: silentLogger }
  const coordinator = new InProcessCoordinator({
    ...common,
    cluster: 'test',
    brokerId: ONE,
    incarnation: 'a life',
    clock: brokers.time,
    store: {
      list: () => [{ ...topic, createdAt: timestampMs(1) }],
      put: () => Promise.resolve(),
      remove: () => Promise.resolve(),
    },
  })
  await coordinator.start()
  const publisher = new LeadershipPublisher({ ...common, coordinator })
  const publish = async (): Promise<void> => {
    publisher.publish(replica, replica.leaderEpoch ?? leaderEpoch(0))
    await settle()
  }
  return { brokers, replica, coordinator, publisher, publish }
}

it('a leader whose epoch is known, but not whose it is, goes above it to be found', async () => {
  const { brokers, replica, coordinator, publish } = await startLeader()
  // As after a loss of all it had: the brokers' promises say which epochs are over, and not who came to lead.
  const mine = { topicId: TOPIC, partition: 0, leaderEpoch: replica.leaderEpoch ?? leaderEpoch(0) }
  await coordinator.leaderships.suggest('s1', [mine])
  await coordinator.leaderships.resign('r1', [mine])
  await publish()
  brokers.time.advance(1_000)
  await settle()
  expect([replica.role, (replica.leaderEpoch ?? 0) > mine.leaderEpoch]).toEqual(['leader', true])
  await publish()
  const { leaderEpoch: epoch } = replica
  expect(coordinator.leaderships.of(TOPIC, 0)).toMatchObject({ leader: ONE, leaderEpoch: epoch })
  // And then it is content.
  brokers.time.advance(1_000)
  await settle()
  expect(replica.leaderEpoch).toBe(epoch)
  brokers.close()
})

it('a leader whose own word is repeated stays in its epoch', async () => {
  const { brokers, replica, publish } = await startLeader()
  const { leaderEpoch: epoch } = replica
  for (let times = 0; times < 2; times += 1) {
    await publish()
    brokers.time.advance(1_000)
    await settle()
  }
  expect([replica.role, replica.leaderEpoch]).toEqual(['leader', epoch])
  brokers.close()
})

it('a publisher that has stopped leaves no timer behind, whatever it still hears', async () => {
  const { brokers, replica, coordinator, publisher } = await startLeader()
  await coordinator.leaderships.claim(TOPIC, 0, leaderEpoch(9))
  publisher.publish(replica, replica.leaderEpoch ?? leaderEpoch(0))
  await Promise.resolve()
  publisher.stop()
  await settle()
  brokers.time.advance(1_000)
  await settle()
  expect(replica.leaderEpoch).toBeLessThan(9)
  brokers.close()
})
