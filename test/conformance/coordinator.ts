// What every coordinator must do, as one suite: run it with a factory. `open` gives a coordinator over a store, as a broker
// that starts has it; opening again over the same store is the next life of that broker.

import { describe, expect, it } from 'vitest'
import type {
  BrokerRecord,
  CatalogueStore,
  ClusterChange,
  Coordinator,
  CoordinatorContext,
  TopicDefinition,
} from '../../broker/coordination/coordinator.ts'
import type { Voter } from '../../shared/voters.ts'
import { brokerId, leaderEpoch, timestampMs, topicId } from '../../shared/ids.ts'
import { silentLogger } from '../../shared/logger.ts'
import { seededRandom } from '../../shared/random.ts'
import { systemClock, systemTimers } from '../../shared/time.ts'

const SELF = brokerId(1)
const ids = seededRandom(20_261)

export type OpenCoordinator = (context: CoordinatorContext) => Promise<Coordinator>

/** A store in memory that can be told to fail. Each belongs to a cluster of its own. */
class MapStore implements CatalogueStore {
  readonly cluster = `conformance-${ids.uuid()}`
  readonly topics = new Map<string, TopicDefinition>()
  failure: Error | undefined

  list(): Iterable<TopicDefinition> {
    return [...this.topics.values()]
  }

  put(topic: TopicDefinition): Promise<void> {
    if (this.failure !== undefined) return Promise.reject(this.failure)
    this.topics.set(topic.topicId, topic)
    return Promise.resolve()
  }

  remove(id: string): Promise<void> {
    if (this.failure !== undefined) return Promise.reject(this.failure)
    this.topics.delete(id)
    return Promise.resolve()
  }
}

function contextOver(store: MapStore): CoordinatorContext {
  return {
    cluster: store.cluster,
    brokerId: SELF,
    incarnation: ids.uuid(),
    store,
    clock: systemClock,
    timers: systemTimers,
    random: ids,
    logger: silentLogger,
  }
}

function selfRecord(incarnation: string): BrokerRecord {
  return {
    brokerId: SELF,
    incarnation,
    host: '127.0.0.1',
    port: 9092,
    rack: undefined,
    software: 'test',
    startedAt: timestampMs(1),
    directoryId: 'disk',
    starts: 7,
  }
}

function topicOf(name: string, partitions = 2): TopicDefinition {
  const id = topicId(ids.uuid())
  return { topicId: id, name, partitions, replicationFactor: 1, config: {}, version: 1, createdAt: timestampMs(1) }
}

async function createOrders(coordinator: Coordinator): Promise<TopicDefinition> {
  const topic = topicOf('orders')
  await coordinator.topics.create('create-orders', topic)
  return topic
}

export function describeCoordinator(name: string, open: OpenCoordinator): void {
  describe(`${name} as a coordinator`, () => {
    const start = async (store = new MapStore()) => {
      const context = contextOver(store)
      const coordinator = await open(context)
      const changes: ClusterChange[] = []
      coordinator.subscribe((change) => changes.push(change))
      await coordinator.start()
      await coordinator.join(selfRecord(context.incarnation))
      return { coordinator, store, changes, context }
    }

    it('has nobody in it before this broker joins and after it has stopped', async () => {
      const context = contextOver(new MapStore())
      const coordinator = await open(context)
      await coordinator.start()
      expect(coordinator.brokers()).toEqual([])
      expect(coordinator.lastLifeOf(SELF)).toBeUndefined()
      expect(coordinator.health().isOk).toBe(false)
      await coordinator.join(selfRecord(context.incarnation))
      expect(coordinator.brokers()).toEqual([selfRecord(context.incarnation)])
      expect(coordinator.lastLifeOf(SELF)).toEqual(selfRecord(context.incarnation))
      expect(coordinator.controller()).toBe(SELF)
      expect(coordinator.health().isOk).toBe(true)
      expect(coordinator.sessionValidUntil()).toBeGreaterThan(systemClock.monotonic())
      await coordinator.stop()
      await coordinator.stop()
      expect(coordinator.brokers()).toEqual([])
    })

    it('tells what has changed about this broker, and what is taken back', async () => {
      const { coordinator, changes, context } = await start()
      const self = selfRecord(context.incarnation)
      const told = changes.length
      await coordinator.announce({ ...self, isDraining: true })
      expect(coordinator.brokers()).toEqual([{ ...self, isDraining: true }])
      expect(changes.slice(told)).toContainEqual({ kind: 'brokers-changed' })
      expect(coordinator.sessionValidUntil()).toBeGreaterThan(systemClock.monotonic())
      await coordinator.announce(self)
      expect(coordinator.brokers()).toEqual([self])
      expect(coordinator.health().isOk).toBe(true)
      await coordinator.stop()
      expect(coordinator.brokers()).toEqual([])
    })

    it('makes a topic durable before it tells of it', async () => {
      const { coordinator, store, changes } = await start()
      const topic = topicOf('orders')
      expect(await coordinator.topics.create('r1', topic)).toEqual({ kind: 'done', topic })
      expect(store.topics.get(topic.topicId)).toEqual(topic)
      expect(coordinator.topics.byName('orders')).toEqual(topic)
      expect(coordinator.topics.get(topic.topicId)).toEqual(topic)
      expect([...coordinator.topics.list()]).toEqual([topic])
      expect(changes).toContainEqual({ kind: 'topic-created', topic })
      await coordinator.stop()
    })

    it('refuses a second topic of the same name, also when both come at once', async () => {
      const { coordinator } = await start()
      const [first, second] = [topicOf('orders'), topicOf('orders')]
      const outcomes = await Promise.all([
        coordinator.topics.create('r1', first),
        coordinator.topics.create('r2', second),
      ])
      expect(outcomes).toEqual([
        { kind: 'done', topic: first },
        { kind: 'exists', topic: first },
      ])
      await coordinator.stop()
    })

    it('does a request that is repeated once', async () => {
      const { coordinator, changes } = await start()
      const topic = topicOf('orders')
      const outcomes = [await coordinator.topics.create('r1', topic), await coordinator.topics.create('r1', topic)]
      expect(outcomes).toEqual([
        { kind: 'done', topic },
        { kind: 'done', topic },
      ])
      expect(changes.filter(({ kind }) => kind === 'topic-created')).toHaveLength(1)
      await coordinator.stop()
    })

    it('changes a topic only from the version that was expected', async () => {
      const { coordinator, store, changes } = await start()
      const topic = topicOf('orders')
      await coordinator.topics.create('r1', topic)
      const changed = { ...topic, partitions: 4, version: 2 }
      const { topicId: id } = topic
      expect(await coordinator.topics.change('r2', id, 1, { partitions: 4 })).toEqual({ kind: 'done', topic: changed })
      expect(await coordinator.topics.change('r3', id, 1, { partitions: 5 })).toEqual({
        kind: 'conflict',
        topic: changed,
      })
      expect(store.topics.get(id)).toEqual(changed)
      expect(changes).toContainEqual({ kind: 'topic-changed', topic: changed })
      const config = { 'retention.ms': '1' }
      const outcome = await coordinator.topics.change('r4', id, 2, { config })
      expect(outcome).toEqual({ kind: 'done', topic: { ...changed, config, version: 3 } })
      await coordinator.stop()
    })

    it('deletes a topic for good, and lets its name be used again', async () => {
      const { coordinator, store, changes } = await start()
      const topic = topicOf('orders')
      await coordinator.topics.create('r1', topic)
      expect(await coordinator.topics.delete('r2', topic.topicId)).toEqual({ kind: 'done', topic })
      expect(changes).toContainEqual({ kind: 'topic-deleted', topic })
      expect(store.topics.size).toBe(0)
      expect(coordinator.topics.byName('orders')).toBeUndefined()
      expect(await coordinator.topics.delete('r3', topic.topicId)).toEqual({ kind: 'missing' })
      expect(await coordinator.topics.change('r4', topic.topicId, 1, { partitions: 3 })).toEqual({ kind: 'missing' })
      const again = topicOf('orders')
      expect(await coordinator.topics.create('r5', again)).toEqual({ kind: 'done', topic: again })
      await coordinator.stop()
    })

    it('changes nothing when the store fails, and does the same request when it is asked again', async () => {
      const { coordinator, store, changes } = await start()
      const topic = topicOf('orders')
      store.failure = new Error('the disk is full')
      await expect(coordinator.topics.create('r1', topic)).rejects.toThrow('the disk is full')
      expect(coordinator.topics.byName('orders')).toBeUndefined()
      store.failure = undefined
      expect(await coordinator.topics.create('r1', topic)).toEqual({ kind: 'done', topic })
      store.failure = new Error('the disk is full')
      await expect(coordinator.topics.change('r2', topic.topicId, 1, { partitions: 3 })).rejects.toThrow(
        'the disk is full',
      )
      await expect(coordinator.topics.delete('r3', topic.topicId)).rejects.toThrow('the disk is full')
      expect(coordinator.topics.byName('orders')).toEqual(topic)
      expect(changes.filter(({ kind }) => kind === 'topic-deleted')).toEqual([])
      await coordinator.stop()
    })

    it('knows its topics again in the next life', async () => {
      const first = await start()
      const topic = topicOf('orders')
      await first.coordinator.topics.create('r1', topic)
      await first.coordinator.stop()
      const second = await start(first.store)
      expect(second.coordinator.topics.byName('orders')).toEqual(topic)
      await second.coordinator.stop()
    })

    it('keeps who the replicas are, through changes and the next life', async () => {
      const first = await start()
      const assignment = [
        [SELF, brokerId(2)],
        [brokerId(2), SELF],
      ]
      const directories = { '1': 'one', '2': 'two' }
      const topic = { ...topicOf('orders'), replicationFactor: 2, assignment, directories }
      const { topicId: id } = topic
      expect(await first.coordinator.topics.create('r1', topic)).toEqual({ kind: 'done', topic })
      const config = { 'retention.ms': '1' }
      const altered = { ...topic, config, version: 2 }
      expect(await first.coordinator.topics.change('r2', id, 1, { config })).toEqual({ kind: 'done', topic: altered })
      const more = {
        partitions: 3,
        assignment: [...assignment, [brokerId(3), SELF]],
        directories: { ...directories, '3': 'three' },
      }
      const grown = { ...altered, ...more, version: 3 }
      expect(await first.coordinator.topics.change('r3', id, 2, more)).toEqual({ kind: 'done', topic: grown })
      expect(first.store.topics.get(id)).toEqual(grown)
      expect(first.changes).toContainEqual({ kind: 'topic-changed', topic: grown })
      await first.coordinator.stop()
      const second = await start(first.store)
      expect(second.coordinator.topics.byName('orders')).toEqual(grown)
      await second.coordinator.stop()
    })

    it('keeps where a partition moves, and who its voters were at the beginning', async () => {
      const first = await start()
      const voter = (id: number): Voter => ({ brokerId: brokerId(id), directoryId: `disk-${id}` })
      const topic = { ...topicOf('orders'), replicationFactor: 2, assignment: [[SELF, brokerId(2)]] }
      const { topicId: id } = topic
      const { topics } = first.coordinator
      await topics.create('r1', topic)
      const moves = { '0': [voter(2), voter(3)] }
      const moving = { ...topic, moves, version: 2 }
      expect(await topics.change('r2', id, 1, { moves })).toEqual({ kind: 'done', topic: moving })
      expect(first.store.topics.get(id)).toEqual(moving)
      const origins = { '0': [voter(1), voter(2)] }
      const change = { assignment: [[brokerId(2), brokerId(3)]], origins, moves: {} }
      const moved = { ...topic, assignment: change.assignment, origins, version: 3 }
      expect(await topics.change('r3', id, 2, change)).toEqual({ kind: 'done', topic: moved })
      await first.coordinator.stop()
      const second = await start(first.store)
      expect(second.coordinator.topics.byName('orders')).toEqual(moved)
      await second.coordinator.stop()
    })

    it('lets a broker lead a partition in epochs that only grow', async () => {
      const { coordinator, changes } = await start()
      const topic = topicOf('orders')
      await coordinator.topics.create('r1', topic)
      const { leaderships } = coordinator
      const { topicId: id } = topic
      expect(leaderships.of(id, 0)?.leader).toBeUndefined()
      const led = await leaderships.claim(id, 0, leaderEpoch(3))
      expect(led).toMatchObject({ kind: 'done', leadership: { leader: SELF, leaderEpoch: 3, inSyncReplicas: [SELF] } })
      expect(leaderships.of(id, 0)).toMatchObject({ leader: SELF, leaderEpoch: 3, replicas: [SELF] })
      expect(leaderships.of(id, 1)?.leader).toBeUndefined()
      expect(changes).toContainEqual({ kind: 'leadership-changed', topicId: id, partition: 0 })
      expect((await leaderships.claim(id, 0, leaderEpoch(3))).kind).toBe('fenced')
      expect((await leaderships.claim(id, 0, leaderEpoch(2))).kind).toBe('fenced')
      expect((await leaderships.claim(id, 0, leaderEpoch(4))).kind).toBe('done')
      await coordinator.stop()
    })

    it('counts the changes of a leadership, so that the newer of two is known', async () => {
      const { coordinator } = await start()
      const { topicId: id } = await createOrders(coordinator)
      const { leaderships } = coordinator
      const versions = [leaderships.of(id, 0)?.version]
      await leaderships.claim(id, 0, leaderEpoch(1))
      versions.push(leaderships.of(id, 0)?.version)
      await leaderships.claim(id, 0, leaderEpoch(2))
      versions.push(leaderships.of(id, 0)?.version)
      expect(versions).toEqual([0, 1, 2])
      await coordinator.stop()
    })

    it('answers many suggestions at once, each by itself', async () => {
      const { coordinator } = await start()
      const { topicId: id } = await createOrders(coordinator)
      const { leaderships } = coordinator
      await leaderships.claim(id, 0, leaderEpoch(5))
      const outcomes = await leaderships.suggest('s1', [
        { topicId: id, partition: 0, leaderEpoch: leaderEpoch(5) },
        { topicId: id, partition: 1, leaderEpoch: leaderEpoch(7) },
        { topicId: id, partition: 2, leaderEpoch: leaderEpoch(0) },
      ])
      expect(outcomes).toMatchObject([
        { kind: 'fenced', leadership: { leader: SELF, leaderEpoch: 5 } },
        { kind: 'done', leadership: { leader: SELF, leaderEpoch: 7, version: 1 } },
        { kind: 'missing' },
      ])
      expect(leaderships.of(id, 1)).toMatchObject({ leader: SELF, leaderEpoch: 7 })
      await coordinator.stop()
    })

    it('makes a suggestion that is repeated once', async () => {
      const { coordinator } = await start()
      const { topicId: id } = await createOrders(coordinator)
      const suggestion = { topicId: id, partition: 0, leaderEpoch: leaderEpoch(1) }
      const first = await coordinator.leaderships.suggest('s1', [suggestion])
      expect(first).toMatchObject([{ kind: 'done', leadership: { version: 1 } }])
      expect(await coordinator.leaderships.suggest('s1', [suggestion])).toEqual(first)
      expect(await coordinator.leaderships.suggest('s2', [suggestion])).toMatchObject([{ kind: 'fenced' }])
      await coordinator.stop()
    })

    it('refuses a suggestion that was made for another version', async () => {
      const { coordinator } = await start()
      const { topicId: id } = await createOrders(coordinator)
      await coordinator.leaderships.claim(id, 0, leaderEpoch(1))
      const stale = { topicId: id, partition: 0, leaderEpoch: leaderEpoch(2), expectedVersion: 0 }
      expect(await coordinator.leaderships.suggest('s1', [stale])).toMatchObject([{ kind: 'fenced' }])
      const fresh = { ...stale, expectedVersion: 1 }
      expect(await coordinator.leaderships.suggest('s2', [fresh])).toMatchObject([{ kind: 'done' }])
      await coordinator.stop()
    })

    it('keeps the epoch of a leadership that was given back', async () => {
      const { coordinator } = await start()
      const { topicId: id } = await createOrders(coordinator)
      const { leaderships } = coordinator
      await leaderships.claim(id, 0, leaderEpoch(3))
      const own = { topicId: id, partition: 0, leaderEpoch: leaderEpoch(3) }
      const older = { ...own, leaderEpoch: leaderEpoch(2) }
      expect(await leaderships.resign('q1', [older])).toMatchObject([{ kind: 'fenced' }])
      expect(await leaderships.resign('q2', [own])).toMatchObject([{ kind: 'done' }])
      expect(leaderships.of(id, 0)).toMatchObject({ leader: undefined, leaderEpoch: 3, version: 2 })
      expect(await leaderships.resign('q2', [own])).toMatchObject([{ kind: 'done' }])
      expect((await leaderships.setInSyncReplicas(id, 0, leaderEpoch(3), [SELF])).kind).toBe('fenced')
      expect((await leaderships.claim(id, 0, leaderEpoch(3))).kind).toBe('fenced')
      expect((await leaderships.claim(id, 0, leaderEpoch(4))).kind).toBe('done')
      await coordinator.stop()
    })

    it('names the session of a member, and leaves one alone that has moved on', async () => {
      const { coordinator } = await start()
      const session = coordinator.sessionOf(SELF)
      expect(session).toBeTypeOf('string')
      expect(coordinator.sessionOf(brokerId(9))).toBeUndefined()
      expect(await coordinator.endSession(brokerId(9), 'nobody/1')).toBe('done')
      expect(coordinator.brokers()).toHaveLength(1)
      await coordinator.stop()
    })

    it('takes in-sync replicas only from the leader of the epoch', async () => {
      const { coordinator } = await start()
      const topic = topicOf('orders')
      await coordinator.topics.create('r1', topic)
      const { leaderships } = coordinator
      await leaderships.claim(topic.topicId, 0, leaderEpoch(2))
      expect((await leaderships.setInSyncReplicas(topic.topicId, 0, leaderEpoch(2), [SELF])).kind).toBe('done')
      expect((await leaderships.setInSyncReplicas(topic.topicId, 0, leaderEpoch(1), [SELF])).kind).toBe('fenced')
      await coordinator.stop()
    })

    it('has no leaders where there is no partition', async () => {
      const { coordinator } = await start()
      const topic = topicOf('orders', 2)
      await coordinator.topics.create('r1', topic)
      const { leaderships } = coordinator
      await leaderships.claim(topic.topicId, 1, leaderEpoch(0))
      expect(leaderships.of(topic.topicId, 2)).toBeUndefined()
      expect((await leaderships.claim(topic.topicId, 2, leaderEpoch(0))).kind).toBe('missing')
      await coordinator.topics.delete('r2', topic.topicId)
      expect(leaderships.of(topic.topicId, 1)).toBeUndefined()
      await coordinator.stop()
    })

    it('tells a listener nothing more once it has been removed', async () => {
      const { coordinator } = await start()
      const heard: ClusterChange[] = []
      const subscription = coordinator.subscribe((change) => heard.push(change))
      await coordinator.topics.create('r1', topicOf('a'))
      subscription.remove()
      await coordinator.topics.create('r2', topicOf('b'))
      expect(heard.filter(({ kind }) => kind === 'topic-created')).toHaveLength(1)
      await coordinator.stop()
    })
  })
}
