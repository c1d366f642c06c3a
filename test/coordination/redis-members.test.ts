// Several brokers by one Redis: who is a member, who leads, and what each sees of the others.

import { Redis } from 'ioredis'
import { expect, it } from 'vitest'
import type { MetricName } from '../../broker/metrics/catalogue.ts'
import { SlotMeter } from '../../broker/metrics/meter.ts'
import { brokerId } from '../../shared/ids.ts'
import { sleep, systemClock, systemTimers } from '../../shared/time.ts'
import { describeWithRedis, startRedis } from '../setup/redis.ts'
import { begin, containing, DiskOfABroker, epoch, prepare, topicOf } from './redis-lives.ts'

const ONE = brokerId(1)
const TWO = brokerId(2)
const THREE = brokerId(3)

describeWithRedis('brokers by one Redis', () => {
  it('see each other come and go, and agree on who administers', async () => {
    await using redis = await startRedis()
    const one = await begin({ url: redis.url, id: 1 })
    const two = await begin({ url: redis.url, id: 2 })
    await one.until(() => one.coordinator.brokers().length === 2)
    expect(one.coordinator.brokers()).toEqual([one.record, two.record])
    expect(two.coordinator.brokers()).toEqual([one.record, two.record])
    expect([one, two].map(({ coordinator }) => coordinator.controller())).toEqual([ONE, ONE])
    await one.coordinator.stop()
    await two.until(() => two.coordinator.brokers().length === 1)
    expect(two.coordinator.controller()).toBe(TWO)
    expect(two.changes).toContainEqual({ kind: 'brokers-changed' })
  })

  it('hear what changes about one of them, also when Redis was away just then', async () => {
    await using redis = await startRedis()
    const one = await begin({ url: redis.url, id: 1 })
    const two = await begin({ url: redis.url, id: 2, sessionTtlMs: 10_000 })
    const isDraining = (): boolean =>
      one.coordinator.brokers().some(({ brokerId: id, isDraining: is }) => id === TWO && is === true)
    await two.coordinator.announce({ ...two.record, isDraining: true })
    await one.until(isDraining)
    redis.signal('SIGSTOP')
    await expect(two.coordinator.announce(two.record)).rejects.toMatchObject({ code: 'COORDINATOR_NOT_AVAILABLE' })
    redis.signal('SIGCONT')
    await one.until(() => !isDraining() && one.coordinator.brokers().length === 2)
    expect(two.changes.filter(({ kind }) => kind === 'session-lost')).toEqual([])
  })

  it('see the topics and leaderships that others have changed', async () => {
    await using redis = await startRedis()
    const one = await begin({ url: redis.url, id: 1 })
    const two = await begin({ url: redis.url, id: 2 })
    const assignment = [
      [ONE, TWO],
      [TWO, ONE],
    ]
    const directories = { '1': one.disk.directoryId, '2': two.disk.directoryId }
    const orders = { ...topicOf('orders', 2, assignment), directories }
    await one.coordinator.topics.create('r1', orders)
    await two.until(() => two.coordinator.topics.byName('orders') !== undefined)
    expect(two.disk.topics.get(orders.topicId)).toEqual(orders)
    await two.coordinator.leaderships.claim(orders.topicId, 1, epoch(0))
    await one.until(() => one.coordinator.leaderships.of(orders.topicId, 1)?.leader === TWO)
    expect(one.coordinator.leaderships.of(orders.topicId, 1)?.replicas).toEqual([TWO, ONE])
    expect(await two.coordinator.topics.delete('r2', orders.topicId)).toEqual({ kind: 'done', topic: orders })
    await one.until(() => one.coordinator.topics.byName('orders') === undefined)
    expect([...one.disk.deleted]).toEqual([orders.topicId])
    expect(one.coordinator.leaderships.of(orders.topicId, 1)).toBeUndefined()
  })

  it('give the leadership of an epoch to one of those who claim it at once', async () => {
    await using redis = await startRedis()
    const lives = [await begin({ url: redis.url, id: 1 }), await begin({ url: redis.url, id: 2 })]
    const orders = topicOf('orders', 1)
    await lives[0]?.coordinator.topics.create('r1', orders)
    const outcomes = await Promise.all(
      lives.map(({ coordinator }) => coordinator.leaderships.claim(orders.topicId, 0, epoch(1))),
    )
    expect(outcomes.map(({ kind }) => kind).sort()).toEqual(['done', 'fenced'])
    const leaders = outcomes.map((outcome) => (outcome.kind === 'missing' ? undefined : outcome.leadership.leader))
    expect(new Set(leaders).size).toBe(1)
  })

  it('let one suggest another, and only the leader of the epoch say who is in sync', async () => {
    await using redis = await startRedis()
    const one = await begin({ url: redis.url, id: 1 })
    const two = await begin({ url: redis.url, id: 2 })
    const orders = topicOf('orders', 1)
    const { topicId } = orders
    await one.coordinator.topics.create('r1', orders)
    const suggestion = { topicId, partition: 0, leaderEpoch: epoch(5), leader: TWO, inSyncReplicas: [ONE, TWO] }
    const [outcome] = await one.coordinator.leaderships.suggest('s1', [suggestion])
    expect(outcome).toMatchObject({ kind: 'done', leadership: { leader: TWO, inSyncReplicas: [ONE, TWO] } })
    expect((await one.coordinator.leaderships.setInSyncReplicas(topicId, 0, epoch(5), [ONE])).kind).toBe('fenced')
    expect((await two.coordinator.leaderships.setInSyncReplicas(topicId, 0, epoch(5), [TWO])).kind).toBe('done')
  })

  it('give back their leaderships and their session when they stop', async () => {
    await using redis = await startRedis()
    const one = await begin({ url: redis.url, id: 1 })
    const two = await begin({ url: redis.url, id: 2 })
    const orders = topicOf('orders', 2)
    await one.coordinator.topics.create('r1', orders)
    await one.coordinator.leaderships.claim(orders.topicId, 0, epoch(3))
    await one.coordinator.stop()
    await two.until(() => two.coordinator.leaderships.of(orders.topicId, 0)?.leaderEpoch !== undefined)
    await two.until(() => two.coordinator.leaderships.of(orders.topicId, 0)?.leader === undefined)
    expect(two.coordinator.leaderships.of(orders.topicId, 0)).toMatchObject({ leaderEpoch: 3 })
    await two.until(() => two.coordinator.brokers().length === 1)
  })
})

describeWithRedis('a session', () => {
  it('keeps a second broker with the same number out, also when both come at once', async () => {
    await using redis = await startRedis()
    const lives = [prepare({ url: redis.url, port: 9001 }), prepare({ url: redis.url, port: 9002 })]
    await Promise.all(lives.map(({ coordinator }) => coordinator.start()))
    const joins = await Promise.allSettled(lives.map(({ coordinator, record }) => coordinator.join(record)))
    expect(joins.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
    const refused = joins.findIndex(({ status }) => status === 'rejected')
    const port = refused === 0 ? 9002 : 9001
    expect(joins[refused]).toMatchObject({
      reason: {
        code: 'BROKER_ID_IN_USE',
        message: containing(`broker-id: the broker at 127.0.0.1:${port}`),
      },
    })
    expect(lives[1 - refused]?.coordinator.health().isOk).toBe(true)
  })

  it('passes at once to the next life of the same broker at the same place', async () => {
    await using redis = await startRedis()
    const disk = new DiskOfABroker()
    const first = await begin({ url: redis.url, disk, sessionTtlMs: 60_000 })
    const second = await begin({ url: redis.url, disk, sessionTtlMs: 60_000 })
    expect(second.coordinator.brokers()).toEqual([second.record])
    // The first one is no more in truth; were it alive, it would not take the number back.
    await first.until(() => first.coordinator.brokers()[0]?.incarnation === second.record.incarnation)
  })

  it('is not taken back from another life that has replaced it', async () => {
    await using redis = await startRedis()
    const disk = new DiskOfABroker()
    const first = await begin({ url: redis.url, disk })
    const second = await begin({ url: redis.url, disk })
    await first.until(() => first.changes.some(({ kind }) => kind === 'session-lost'))
    await first.until(() => first.coordinator.health().detail.includes('has taken the number of this one'))
    const losses = first.changes.filter((change) => change.kind === 'session-lost')
    expect(losses.map(({ isTaken }) => isTaken)).toEqual([false, true])
    expect(first.coordinator.sessionValidUntil()).toBe(0)
    expect(second.coordinator.health().isOk).toBe(true)
    const orders = topicOf('orders')
    await second.coordinator.topics.create('r1', orders)
    await expect(first.coordinator.leaderships.claim(orders.topicId, 0, epoch(1))).rejects.toMatchObject({
      code: 'COORDINATOR_NOT_AVAILABLE',
    })
  })

  it('can be ended by a peer, and is taken anew by a broker that lives', async () => {
    await using redis = await startRedis()
    const one = await begin({ url: redis.url, id: 1 })
    const two = await begin({ url: redis.url, id: 2 })
    await one.until(() => one.coordinator.sessionOf(TWO) !== undefined)
    const session = one.coordinator.sessionOf(TWO) ?? ''
    expect(await one.coordinator.endSession(TWO, session)).toBe('done')
    expect(await one.coordinator.endSession(TWO, session)).toBe('done')
    await two.until(() => two.changes.some(({ kind }) => kind === 'session-lost'))
    await one.until(() => ![undefined, session].includes(one.coordinator.sessionOf(TWO)))
    expect(await one.coordinator.endSession(TWO, session)).toBe('moved-on')
    expect(two.changes.filter((change) => change.kind === 'session-lost' && change.isTaken)).toEqual([])
    expect(two.coordinator.sessionValidUntil()).toBeGreaterThan(systemClock.monotonic())
  })

  it('is taken anew as soon as it is seen to be over, and not only when it would be renewed', async () => {
    await using redis = await startRedis()
    const [one, two] = [
      await begin({ url: redis.url, id: 1 }),
      await begin({ url: redis.url, id: 2, sessionTtlMs: 600_000 }),
    ]
    await one.until(() => one.coordinator.sessionOf(TWO) !== undefined)
    const session = one.coordinator.sessionOf(TWO) ?? ''
    await one.coordinator.endSession(TWO, session)
    await one.until(() => ![undefined, session].includes(one.coordinator.sessionOf(TWO)))
    await two.until(() => two.coordinator.health().isOk)
    await two.until(() => two.coordinator.sessionOf(TWO) === one.coordinator.sessionOf(TWO))
    expect(two.coordinator.sessionOf(TWO)).not.toBe(session)
  })

  it('expires when its broker has gone without a word', async () => {
    await using redis = await startRedis()
    const two = await begin({ url: redis.url, id: 2 })
    const client = new Redis(redis.url)
    await client.set('{tidemark:lives}:session:3', 'gone/1', 'PX', 500)
    const record = { ...two.record, brokerId: THREE }
    const run = client
      .multi()
      .hset('{tidemark:lives}:brokers', 3, JSON.stringify({ broker: record, session: 'gone/1' }))
    await run.zadd('{tidemark:lives}:changed', 3, 'b:3').hset('{tidemark:lives}:meta', 'version', 3).exec()
    await two.until(() => two.coordinator.brokers().length === 2)
    await two.until(() => two.coordinator.brokers().length === 1)
    expect(two.coordinator.brokers()).toEqual([two.record])
    client.disconnect()
  })
})

describeWithRedis('a change', () => {
  it('is told to the others, who need not look for it', async () => {
    await using redis = await startRedis()
    const one = await begin({ url: redis.url, id: 1, pollEveryMs: 3_600_000 })
    const two = await begin({ url: redis.url, id: 2, pollEveryMs: 3_600_000 })
    await one.until(() => one.coordinator.brokers().length === 2)
    const orders = topicOf('orders', 1)
    await one.coordinator.topics.create('r1', orders)
    await two.until(() => two.coordinator.topics.byName('orders') !== undefined)
    await two.coordinator.leaderships.claim(orders.topicId, 0, epoch(1))
    await one.until(() => one.coordinator.leaderships.of(orders.topicId, 0)?.leader === TWO)
    await two.coordinator.stop()
    await one.until(() => one.coordinator.brokers().length === 1)
    expect(one.coordinator.controller()).toBe(ONE)
  })

  it('is found by looking where the user of Redis may neither tell nor listen', async () => {
    await using redis = await startRedis()
    const client = new Redis(redis.url)
    await client.call('ACL', 'SETUSER', 'mute', 'on', '>word', '~*', 'resetchannels', '+@all')
    client.disconnect()
    const url = redis.url.replace('redis://', 'redis://mute:word@')
    const one = await begin({ url, id: 1 })
    const two = await begin({ url, id: 2 })
    const orders = topicOf('orders')
    await one.coordinator.topics.create('r1', orders)
    await two.until(() => two.coordinator.topics.byName('orders') !== undefined)
    expect(two.coordinator.topics.get(orders.topicId)).toEqual(orders)
  })
})

describeWithRedis('what is counted', () => {
  it('are renewals, errors, lost sessions, and whether Redis answers', async () => {
    await using redis = await startRedis()
    const meter = new SlotMeter()
    const value = (name: MetricName): number | undefined => meter.seriesOf(name)[0]?.value()
    const one = await begin({ url: redis.url, id: 1, meter })
    const renewals = (): number =>
      (meter.seriesOf('tidemark_lease_renew_duration_seconds')[0]?.bucketCounts() ?? []).reduce((a, b) => a + b, 0)
    await one.until(() => renewals() > 1)
    expect(value('tidemark_redis_up')).toBe(1)
    expect([value('tidemark_lease_losses_total'), value('tidemark_redis_errors_total')]).toEqual([0, 0])
    await redis.stop()
    await one.until(() => value('tidemark_lease_losses_total') === 1)
    expect(value('tidemark_redis_up')).toBe(0)
    expect(value('tidemark_redis_errors_total')).toBeGreaterThan(0)
    const { isOk, detail } = one.coordinator.health()
    expect(isOk).toBe(false)
    expect(detail).toMatch(/^redis: 127\.0\.0\.1:\d+\/0 not answering for \d+ s, the session is over \(.+\)$/)
    await one.coordinator.stop()
    expect(value('tidemark_redis_up')).toBeUndefined()
  })
})

describeWithRedis('many partitions', () => {
  it('are led after one script, and cost little while nothing changes', async () => {
    await using redis = await startRedis()
    const client = new Redis(redis.url)
    const one = await begin({ url: redis.url, id: 1, sessionTtlMs: 6_000, pollEveryMs: 500 })
    const two = await begin({ url: redis.url, id: 2, sessionTtlMs: 6_000, pollEveryMs: 500 })
    const three = await begin({ url: redis.url, id: 3, sessionTtlMs: 6_000, pollEveryMs: 500 })
    await three.until(() => three.coordinator.brokers().length === 3)
    const wide = topicOf('wide', 1_000)
    const { topicId } = wide
    await one.coordinator.topics.create('r1', wide)
    // Also those that scripts run.
    const calls = async (): Promise<number> => {
      const stats = await client.info('commandstats')
      return [...stats.matchAll(/^cmdstat_[^:]+:calls=(\d+)/gm)].reduce((sum, [, count]) => sum + Number(count), 0)
    }
    const suggestions = Array.from({ length: 1_000 }, (_, partition) => ({ topicId, partition, leaderEpoch: epoch(1) }))
    const outcomes = await one.coordinator.leaderships.suggest('s1', suggestions)
    expect(outcomes.filter(({ kind }) => kind === 'done')).toHaveLength(1_000)
    const led = (): number =>
      suggestions.filter(({ partition }) => two.coordinator.leaderships.of(topicId, partition)?.leader === ONE).length
    await two.until(() => led() === 1_000)
    const again = await one.coordinator.leaderships.suggest('s2', suggestions)
    expect(again.every(({ kind }) => kind === 'fenced')).toBe(true)
    const before = await calls()
    const startMs = systemClock.monotonic()
    await sleep(systemTimers, 3_000)
    const seconds = (systemClock.monotonic() - startMs) / 1000
    const perBroker = ((await calls()) - before) / seconds / 3
    expect(perBroker).toBeGreaterThan(1)
    expect(perBroker).toBeLessThan(20)
    client.disconnect()
  })
})
