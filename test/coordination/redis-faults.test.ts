// What is done to Redis, and what brokers make of it: paused, killed, restarted with and without its files, emptied, put
// back to an older snapshot. Each test has a redis-server of its own.

import { copyFile, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { expect, it, onTestFinished } from 'vitest'
import { TidemarkError } from '../../shared/errors.ts'
import { RedisConnection } from '../../broker/coordination/redis-connection.ts'
import { READ } from '../../broker/coordination/redis-scripts.ts'
import { brokerId } from '../../shared/ids.ts'
import { sleep, systemClock, systemTimers } from '../../shared/time.ts'
import type { PrivateRedis, PrivateRedisOptions } from '../setup/private-redis.ts'
import { describeWithRedis, startRedis } from '../setup/redis.ts'
import { begin, DiskOfABroker, epoch, type Life, prepare, topicOf } from './redis-lives.ts'

const REPUBLISHED = 'Redis has been filled again and is believed'
const NOT_BELIEVED = 'Redis is not believed; the brokers republish what they know'

const HOMELESS = 'another topic has the name of this one in Redis; it stays on disk, unused'

async function redisWith(options?: PrivateRedisOptions): Promise<PrivateRedis> {
  const redis = await startRedis(options)
  onTestFinished(() => redis.stop())
  return redis
}

async function emptyDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'tidemark-redis-'))
  onTestFinished(() => rm(directory, { recursive: true, force: true }))
  return directory
}

function clientOf(redis: PrivateRedis): Redis {
  const client = new Redis(redis.url)
  onTestFinished(() => client.disconnect())
  return client
}

function countOf(life: Life, kind: string): number {
  return life.changes.filter((change) => change.kind === kind).length
}

describeWithRedis('a Redis that has used up its memory', () => {
  it('is warned of before something has to be changed, and goes on electing', async () => {
    const redis = await redisWith()
    const life = await begin({ url: redis.url, pollEveryMs: 5 })
    const client = clientOf(redis)
    const warned = async (isWarned: boolean): Promise<void> => {
      while ((life.coordinator.health().warning !== undefined) !== isWarned) await sleep(systemTimers, 5)
    }
    await client.config('SET', 'maxmemory', '1000')
    await warned(true)
    expect(life.coordinator.health()).toMatchObject({ isOk: true })
    expect(life.coordinator.health().warning).toContain('raise maxmemory')
    await expect(life.coordinator.topics.create('r1', topicOf('orders'))).rejects.toThrow('raise maxmemory')
    await client.config('SET', 'maxmemory', '0')
    await warned(false)
    expect(await life.coordinator.topics.create('r2', topicOf('orders'))).toMatchObject({ kind: 'done' })
  })
})

describeWithRedis('a Redis that stands still', () => {
  it('applies late what was given up, once, and answers the repeated request with it', async () => {
    const redis = await redisWith()
    const { coordinator, changes } = await begin({ url: redis.url })
    const topic = topicOf('orders')
    redis.signal('SIGSTOP')
    await expect(coordinator.topics.create('r1', topic)).rejects.toMatchObject({
      code: 'COORDINATOR_NOT_AVAILABLE',
      retriable: true,
    })
    expect(coordinator.topics.byName('orders')).toBeUndefined()
    redis.signal('SIGCONT')
    const again = await untilDone(() => coordinator.topics.create('r1', topic))
    expect(again).toEqual({ kind: 'done', topic })
    expect(await coordinator.topics.create('r2', topicOf('orders'))).toEqual({ kind: 'exists', topic })
    expect(changes.filter(({ kind }) => kind === 'topic-created')).toEqual([{ kind: 'topic-created', topic }])
  })

  it('ends a session by the clock of its broker, which takes a new one afterwards', async () => {
    const redis = await redisWith()
    const life = await begin({ url: redis.url })
    const { coordinator, record } = life
    const topic = topicOf('orders')
    await coordinator.topics.create('r1', topic)
    await coordinator.leaderships.claim(topic.topicId, 0, epoch(1))
    redis.signal('SIGSTOP')
    await life.until(() => countOf(life, 'session-lost') === 1)
    expect(coordinator.sessionValidUntil()).toBeLessThanOrEqual(systemClock.monotonic())
    expect(coordinator.health().isOk).toBe(false)
    // What was known last can be read on.
    expect(coordinator.topics.byName('orders')).toEqual(topic)
    expect(coordinator.leaderships.of(topic.topicId, 0)).toMatchObject({ leader: 1, leaderEpoch: 1 })
    expect(coordinator.brokers()).toEqual([record])
    redis.signal('SIGCONT')
    await life.until(() => coordinator.health().isOk)
    expect(coordinator.sessionValidUntil()).toBeGreaterThan(systemClock.monotonic())
    expect(coordinator.brokers()).toEqual([record])
    expect(countOf(life, 'session-lost')).toBe(1)
  })

  it('takes no broker for gone whose session expired while nobody could renew it', async () => {
    const redis = await redisWith()
    const one = await begin({ url: redis.url, id: 1 })
    const lives = [one, await begin({ url: redis.url, id: 2 })]
    await one.until(() => one.coordinator.brokers().length === 2)
    const membersSeen: number[] = []
    one.coordinator.subscribe(() => membersSeen.push(one.coordinator.brokers().length))
    const sessions = (): string[] => [1, 2].map((id) => String(one.coordinator.sessionOf(brokerId(id))))
    const before = sessions()
    redis.signal('SIGSTOP')
    // Redis counts on while it stands still: by its clock both have expired half a second after their brokers gave up.
    await one.until(() => lives.every((life) => countOf(life, 'session-lost') === 1))
    await sleep(systemTimers, 700)
    redis.signal('SIGCONT')
    await one.until(() => sessions().every((session, index) => session !== before[index]))
    expect(new Set(membersSeen)).toEqual(new Set([2]))
  })

  it('does not undo a newer set of in-sync replicas by a late older one', async () => {
    const redis = await redisWith()
    const { coordinator } = await begin({ url: redis.url, sessionTtlMs: 6_000 })
    const topic = topicOf('orders')
    await coordinator.topics.create('r1', topic)
    const { leaderships } = coordinator
    const { topicId: id } = topic
    await leaderships.claim(id, 0, epoch(1))
    redis.signal('SIGSTOP')
    const late = leaderships.setInSyncReplicas(id, 0, epoch(1), [])
    await expect(late).rejects.toMatchObject({ code: 'COORDINATOR_NOT_AVAILABLE' })
    redis.signal('SIGCONT')
    const self = coordinator.brokers().map(({ brokerId }) => brokerId)
    const newer = await untilDone(() => leaderships.setInSyncReplicas(id, 0, epoch(1), self))
    expect(newer).toMatchObject({ kind: 'done', leadership: { inSyncReplicas: [1] } })
    expect(leaderships.of(id, 0)).toMatchObject({ inSyncReplicas: [1] })
  })
})

describeWithRedis('a Redis that is killed', () => {
  it('rejects changes while it is gone, and is filled again when it comes back with nothing', async () => {
    const redis = await redisWith()
    const life = await begin({ url: redis.url })
    const { coordinator, record } = life
    const [orders, deleted] = [topicOf('orders'), topicOf('deleted')]
    await coordinator.topics.create('r1', orders)
    await coordinator.topics.create('r2', deleted)
    await coordinator.topics.delete('r3', deleted.topicId)
    await coordinator.leaderships.claim(orders.topicId, 1, epoch(4))
    await redis.stop()
    await expect(coordinator.topics.delete('r4', orders.topicId)).rejects.toMatchObject({
      code: 'COORDINATOR_NOT_AVAILABLE',
      retriable: true,
    })
    expect(coordinator.topics.byName('orders')).toEqual(orders)
    await redisWith({ port: redis.port })
    await life.until(() => life.warnings.includes(REPUBLISHED))
    await life.until(() => coordinator.health().isOk)
    expect(coordinator.brokers()).toEqual([record])
    // A stranger with an empty disk learns from Redis what the first one has put back.
    const other = await begin({ url: redis.url, id: 2 })
    expect([...other.coordinator.topics.list()]).toEqual([orders])
    expect(other.coordinator.leaderships.of(orders.topicId, 1)).toMatchObject({ leader: 1, leaderEpoch: 4 })
    expect(await coordinator.topics.delete('r5', orders.topicId)).toEqual({ kind: 'done', topic: orders })
  })

  it('knows everything by itself when it comes back with its files', async () => {
    const directory = await emptyDirectory()
    const args = ['--appendonly', 'yes', '--appendfsync', 'always']
    const redis = await redisWith({ directory, args })
    const life = await begin({ url: redis.url })
    const { coordinator } = life
    const orders = topicOf('orders')
    await coordinator.topics.create('r1', orders)
    await coordinator.leaderships.claim(orders.topicId, 0, epoch(2))
    redis.signal('SIGKILL')
    await redis.stop()
    await redisWith({ directory, args, port: redis.port })
    await life.until(() => life.warnings.includes(REPUBLISHED))
    expect(life.warnings).not.toContain('republished to Redis what it lacked')
    expect(await coordinator.topics.create('r1', orders)).toEqual({ kind: 'done', topic: orders })
    expect(coordinator.leaderships.of(orders.topicId, 0)).toMatchObject({ leaderEpoch: 2, version: 1 })
    expect(countOf(life, 'topic-created')).toBe(1)
  })

  it('gets back from a broker that starts anew what only its disk knows', async () => {
    const redis = await redisWith()
    const disk = new DiskOfABroker()
    const [orders, deleted] = [topicOf('orders'), topicOf('deleted')]
    const first = await begin({ url: redis.url, disk })
    await first.coordinator.topics.create('r1', orders)
    await first.coordinator.topics.create('r2', deleted)
    await first.coordinator.topics.delete('r3', deleted.topicId)
    await first.coordinator.stop()
    await redis.stop()
    await redisWith({ port: redis.port })
    disk.promises.push({ topicId: orders.topicId, partition: 1, leaderEpoch: epoch(9) })
    const second = await begin({ url: redis.url, disk })
    expect([...second.coordinator.topics.list()]).toEqual([orders])
    const { leaderships } = second.coordinator
    expect((await leaderships.claim(orders.topicId, 1, epoch(9))).kind).toBe('fenced')
    expect((await leaderships.claim(orders.topicId, 1, epoch(10))).kind).toBe('done')
  })
})

describeWithRedis('a Redis that is emptied or put back', () => {
  it('is filled again by all brokers, and takes no change of topics until they have', async () => {
    const redis = await redisWith()
    const client = clientOf(redis)
    const one = await begin({ url: redis.url, id: 1 })
    const two = await begin({ url: redis.url, id: 2 })
    const orders = topicOf('orders')
    await one.coordinator.topics.create('r1', orders)
    await two.until(() => two.coordinator.topics.byName('orders') !== undefined)
    await one.until(() => one.coordinator.brokers().length === 2)
    const membersSeen: number[] = []
    one.coordinator.subscribe(() => membersSeen.push(one.coordinator.brokers().length))
    await client.flushall()
    await one.until(() => [one, two].some(({ warnings }) => warnings.includes(REPUBLISHED)))
    expect([one, two].some(({ warnings }) => warnings.includes(NOT_BELIEVED))).toBe(true)
    await one.until(() => one.coordinator.health().isOk && two.coordinator.health().isOk)
    expect(await untilDone(() => two.coordinator.topics.create('r2', topicOf('orders')))).toEqual({
      kind: 'exists',
      topic: orders,
    })
    // Their sessions were lost with Redis; nobody was taken for dead by the other because of it.
    expect(Math.min(2, ...membersSeen)).toBe(2)
  })

  it('does not do what was meant for it before, even if nobody has looked at it since', async () => {
    const redis = await redisWith()
    const client = clientOf(redis)
    // It looks once a minute and renews its session every 15 s: what it knows, it knows from its own changes.
    const { coordinator, warnings } = await begin({ url: redis.url, pollEveryMs: 60_000, sessionTtlMs: 60_000 })
    const orders = topicOf('orders')
    const { topicId } = orders
    await coordinator.topics.create('r1', orders)
    await coordinator.leaderships.claim(topicId, 0, epoch(8))
    await client.flushall()
    expect(await coordinator.topics.create('r2', topicOf('orders'))).toEqual({ kind: 'exists', topic: orders })
    await client.flushall()
    expect(await coordinator.topics.delete('r3', topicId)).toEqual({ kind: 'done', topic: orders })
    await client.flushall()
    expect(await coordinator.topics.create('r4', orders).catch(String)).toContain('its id is that of a deleted topic')
    expect(warnings.filter((warning) => warning === NOT_BELIEVED)).toHaveLength(3)
  })

  it('does not get a deleted topic back from a broker that was away', async () => {
    const redis = await redisWith()
    const client = clientOf(redis)
    const one = await begin({ url: redis.url, id: 1 })
    const two = await begin({ url: redis.url, id: 2 })
    const orders = topicOf('orders')
    await one.coordinator.topics.create('r1', orders)
    await two.until(() => two.disk.topics.size === 1)
    await two.coordinator.stop()
    await one.coordinator.topics.delete('r2', orders.topicId)
    await client.flushall()
    await one.until(() => one.warnings.includes(REPUBLISHED))
    const back = await begin({ url: redis.url, id: 2, disk: two.disk })
    expect(back.coordinator.topics.byName('orders')).toBeUndefined()
    expect([...back.disk.deleted]).toEqual([orders.topicId])
    expect(one.coordinator.topics.byName('orders')).toBeUndefined()
  })

  it('lets a broker come back that still has a topic which was deleted and made anew under its name', async () => {
    const redis = await redisWith()
    const client = clientOf(redis)
    const one = await begin({ url: redis.url, id: 1 })
    const two = await begin({ url: redis.url, id: 2 })
    const [old, anew] = [topicOf('orders'), topicOf('orders')]
    await one.coordinator.topics.create('r1', old)
    await two.until(() => two.disk.topics.size === 1)
    await two.coordinator.stop()
    await one.coordinator.topics.delete('r2', old.topicId)
    await one.coordinator.topics.create('r3', anew)
    // What is told of the deletion comes behind the new topic from now on.
    await client.flushall()
    await one.until(() => one.warnings.includes(REPUBLISHED))
    const back = await begin({ url: redis.url, id: 2, disk: two.disk })
    expect(back.coordinator.topics.byName('orders')).toEqual(anew)
    expect([...back.disk.topics.keys()]).toEqual([anew.topicId])
    expect([...back.disk.deleted]).toEqual([old.topicId])
  })

  it('has the newer topic of a name again after an old snapshot that has the deleted one', async () => {
    const redis = await redisWith()
    const client = clientOf(redis)
    const one = await begin({ url: redis.url, pollEveryMs: 60_000, sessionTtlMs: 60_000 })
    const { topics } = one.coordinator
    const [old, anew] = [topicOf('orders'), topicOf('orders')]
    await topics.create('r1', old)
    const snapshot = await snapshotOf(client)
    await topics.delete('r2', old.topicId)
    await topics.create('r3', anew)
    await snapshot.putBack()
    // Any change looks at Redis first, and finds that it was put back.
    await topics.create('r4', topicOf('other')).catch(() => undefined)
    await one.until(() => one.warnings.includes(NOT_BELIEVED))
    await untilDone(() => topics.create('r5', topicOf('another')))
    expect(one.warnings).not.toContain(HOMELESS)
    expect(topics.byName('orders')).toEqual(anew)
    const other = await begin({ url: redis.url, id: 2 })
    expect(other.coordinator.topics.byName('orders')).toEqual(anew)
  })

  it('settles two topics of one name for the one that it has, and lets the broker of the other one work', async () => {
    const redis = await redisWith()
    const client = clientOf(redis)
    const one = await begin({ url: redis.url, id: 1 })
    const first = topicOf('orders')
    await one.coordinator.topics.create('r1', first)
    await one.coordinator.stop()
    await client.flushall()
    const two = await begin({ url: redis.url, id: 2, disk: withClusterOf(one) })
    const second = topicOf('orders')
    await untilDone(() => two.coordinator.topics.create('r2', second))
    const back = await begin({ url: redis.url, id: 1, disk: one.disk })
    expect(back.warnings).toContain(HOMELESS)
    expect(back.coordinator.topics.byName('orders')).toEqual(second)
    expect([...back.coordinator.topics.list()]).toEqual([second])
    expect([...back.disk.topics.keys()]).toEqual([first.topicId])
    const more = topicOf('more')
    await untilDone(() => two.coordinator.topics.create('r3', more))
    await back.until(() => back.coordinator.topics.byName('more') !== undefined)
    await untilDone(() => two.coordinator.topics.change('r4', second.topicId, 1, { partitions: 3 }))
    await back.until(() => back.coordinator.topics.byName('orders')?.partitions === 3)
    expect(back.coordinator.health().isOk).toBe(true)
  })

  it('is put right by whoever knows better when it has older records again', async () => {
    const redis = await redisWith()
    const client = clientOf(redis)
    const one = await begin({ url: redis.url, id: 1 })
    const { topics, leaderships } = one.coordinator
    const [orders, deleted] = [topicOf('orders'), topicOf('deleted')]
    const { topicId: id } = orders
    for (const topic of [orders, deleted]) await topics.create(`create ${topic.name}`, topic)
    await leaderships.claim(id, 0, epoch(3))
    const records = await Promise.all(['topics', 'leaders'].map((name) => client.hgetall(`{tidemark:lives}:${name}`)))
    const [oldTopics = {}, oldLeaders = {}] = records
    await topics.change('change', id, 1, { partitions: 5 })
    await topics.delete('delete', deleted.topicId)
    await leaderships.claim(id, 0, epoch(4))
    // As when it had lost them, and a broker has put back what it knew that was away when they were changed.
    const version = Number(await client.hget('{tidemark:lives}:meta', 'version'))
    const members = [`t:${id}`, `t:${deleted.topicId}`, `p:${id}:0`].flatMap((name, at) => [version + 1 + at, name])
    await client
      .multi()
      .hset('{tidemark:lives}:topics', oldTopics)
      .hset('{tidemark:lives}:names', { deleted: deleted.topicId })
      .zrem('{tidemark:lives}:tombstones', deleted.topicId)
      .hset('{tidemark:lives}:leaders', oldLeaders)
      .zadd('{tidemark:lives}:changed', ...members)
      .hincrby('{tidemark:lives}:meta', 'version', 3)
      .exec()
    await one.until(() => one.warnings.includes('Redis had older records; they are put right'))
    const two = await begin({ url: redis.url, id: 2 })
    expect([...two.coordinator.topics.list()]).toEqual([{ ...orders, partitions: 5, version: 2 }])
    expect(two.coordinator.leaderships.of(id, 0)).toMatchObject({ leader: 1, leaderEpoch: 4 })
    expect(one.warnings).not.toContain(NOT_BELIEVED)
  })

  it('does not lead in an old epoch after Redis has forgotten the newer one', async () => {
    const redis = await redisWith()
    const client = clientOf(redis)
    const life = await begin({ url: redis.url, pollEveryMs: 60_000, sessionTtlMs: 60_000 })
    const { coordinator } = life
    const orders = topicOf('orders')
    const { topicId } = orders
    await coordinator.topics.create('r1', orders)
    await coordinator.leaderships.claim(topicId, 0, epoch(8))
    const old = await client.hgetall('{tidemark:lives}:leaders')
    await coordinator.leaderships.claim(topicId, 0, epoch(9))
    // An older record and an older counter, as from a replica that was behind.
    await client.multi().hset('{tidemark:lives}:leaders', old).hincrby('{tidemark:lives}:meta', 'version', -1).exec()
    await expect(coordinator.leaderships.claim(topicId, 0, epoch(9))).resolves.toMatchObject({ kind: 'fenced' })
    expect(life.warnings).toContain(NOT_BELIEVED)
    await expect(coordinator.leaderships.claim(topicId, 0, epoch(10))).resolves.toMatchObject({ kind: 'done' })
  })

  it('does not wait for brokers that have gone and have left nothing', async () => {
    const redis = await redisWith()
    const client = clientOf(redis)
    const one = await begin({ url: redis.url, id: 1 })
    const others = await Promise.all([2, 3, 4].map((id) => begin({ url: redis.url, id })))
    await one.coordinator.topics.create('r0', topicOf('own', 1, [[brokerId(1)]]))
    await one.until(() => one.coordinator.brokers().length === 4)
    for (const { coordinator } of others) await coordinator.stop()
    await one.until(() => one.coordinator.brokers().length === 1)
    await client.flushall()
    await one.until(() => one.warnings.includes(REPUBLISHED))
    expect((await one.coordinator.topics.create('r1', topicOf('orders'))).kind).toBe('done')
  })

  it('refuses changes of topics while a broker that is known has not republished', async () => {
    const redis = await redisWith()
    const client = clientOf(redis)
    const one = await begin({ url: redis.url, id: 1 })
    const two = await begin({ url: redis.url, id: 2 })
    await one.until(() => one.coordinator.brokers().length === 2)
    await one.coordinator.topics.create('r0', topicOf('shared', 1, [[brokerId(1), brokerId(2)]]))
    await two.coordinator.stop()
    await client.flushall()
    await one.until(() => one.warnings.includes(NOT_BELIEVED))
    await one.until(() => one.coordinator.health().detail.includes('filled again'))
    await expect(one.coordinator.topics.create('r1', topicOf('orders'))).rejects.toMatchObject({
      code: 'COORDINATOR_NOT_AVAILABLE',
    })
    // Half of them is enough after a while, since one that is away must not keep the others from working for ever.
    await one.until(() => one.warnings.includes(REPUBLISHED))
    expect((await one.coordinator.topics.create('r1', topicOf('orders'))).kind).toBe('done')
  })

  it('does not bring back what was deleted, nor undo what was changed, after an old snapshot', async () => {
    const directory = await emptyDirectory()
    const redis = await redisWith({ directory })
    const life = await begin({ url: redis.url })
    const { coordinator } = life
    const [kept, deleted] = [topicOf('kept'), topicOf('deleted')]
    await coordinator.topics.create('r1', kept)
    await coordinator.topics.create('r2', deleted)
    await coordinator.leaderships.claim(kept.topicId, 0, epoch(1))
    await clientOf(redis).save()
    await copyFile(join(directory, 'dump.rdb'), join(directory, 'old.rdb'))
    const later = topicOf('later')
    await coordinator.topics.create('r3', later)
    await coordinator.topics.change('r4', kept.topicId, 1, { partitions: 5 })
    await coordinator.topics.delete('r5', deleted.topicId)
    await coordinator.leaderships.claim(kept.topicId, 0, epoch(7))
    await redis.stop()
    await copyFile(join(directory, 'old.rdb'), join(directory, 'dump.rdb'))
    await redisWith({ directory, port: redis.port })
    await life.until(() => life.warnings.includes(REPUBLISHED))
    expect(life.warnings).toContain('republished to Redis what it lacked')
    const other = await begin({ url: redis.url, id: 2 })
    const names = [...other.coordinator.topics.list()].map(({ name }) => name)
    expect(names.sort()).toEqual(['kept', 'later'])
    expect(other.coordinator.topics.byName('kept')).toMatchObject({ version: 2, partitions: 5 })
    expect(other.coordinator.leaderships.of(kept.topicId, 0)).toMatchObject({ leaderEpoch: 7 })
    expect(countOf(life, 'topic-deleted')).toBe(1)
  })

  it('is noticed when its data are those of another, though its process and connections stay', async () => {
    const redis = await redisWith()
    const client = clientOf(redis)
    const life = await begin({ url: redis.url })
    const orders = topicOf('orders')
    await life.coordinator.topics.create('r1', orders)
    const stranger = await redisWith({ args: ['--repl-diskless-sync-delay', '0'] })
    await client.replicaof('127.0.0.1', stranger.port)
    await life.until(() => life.coordinator.health().detail.includes('read-only replica'))
    await expect(life.coordinator.topics.delete('r2', orders.topicId)).rejects.toThrow(TidemarkError)
    await untilDone(async () => {
      const info = await client.info('replication')
      if (!info.includes('master_link_status:up')) throw new TidemarkError('COORDINATOR_NOT_AVAILABLE')
    })
    await client.replicaof('NO', 'ONE')
    await life.until(() => life.warnings.includes(REPUBLISHED))
    await life.until(() => life.coordinator.health().isOk)
    expect(life.coordinator.topics.byName('orders')).toEqual(orders)
    expect(await life.coordinator.topics.create('r3', topicOf('orders'))).toEqual({ kind: 'exists', topic: orders })
  })

  it('is noticed when it has lost a part of its records only', async () => {
    const redis = await redisWith()
    const client = clientOf(redis)
    const life = await begin({ url: redis.url })
    const orders = topicOf('orders')
    await life.coordinator.topics.create('r1', orders)
    const key = (await client.keys('*')).find((one) => one.endsWith(':topics'))
    await client.del(key ?? '')
    await life.until(() => life.warnings.includes(REPUBLISHED))
    expect(await client.hkeys(key ?? '')).toEqual([orders.topicId])
  })
})

/** A broker's disk that has seen nothing but which cluster it is in. */
function withClusterOf({ disk }: Life): DiskOfABroker {
  const other = new DiskOfABroker()
  other.clusterId = disk.clusterId
  return other
}

/** All keys but the sessions, to be put back as from an old file. */
async function snapshotOf(client: Redis): Promise<{ putBack(): Promise<void> }> {
  const keys = (await client.keys('*')).filter((key) => !key.includes('session:'))
  const dumps = await Promise.all(keys.map(async (key) => [key, await client.dumpBuffer(key)] as const))
  return {
    async putBack() {
      const present = (await client.keys('*')).filter((key) => !key.includes('session:'))
      const work = client.multi().del(...present)
      for (const [key, dump] of dumps) if (dump !== null) work.restore(key, 0, dump)
      await work.exec()
    },
  }
}

/** Tries again what may be tried again. */
async function untilDone<T>(work: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await work()
    } catch (error) {
      if (!(error instanceof TidemarkError) || !error.retriable) throw error
    }
  }
}

describeWithRedis('a Redis that is emptied while it is read anew', () => {
  // It then had no id of a cluster, which the broker took for that of its own, for good.
  it('does not make a broker forget which cluster it belongs to', async () => {
    const redis = await redisWith()
    const client = clientOf(redis)
    const disk = new DiskOfABroker()
    let isToBeEmptied = false
    const life = await begin({
      url: redis.url,
      disk,
      connect: (options) => {
        const link = new RedisConnection(options)
        const run = link.run.bind(link)
        link.run = async (script, keys, args) => {
          // From the beginning on: the whole of another history is read.
          if (isToBeEmptied && script === READ && args[0] === 0) {
            isToBeEmptied = false
            await client.flushall()
          }
          return run(script, keys, args)
        }
        return link
      },
    })
    const { clusterId } = disk
    expect(clusterId).toMatch(/^[0-9a-f-]{36}$/)
    await life.coordinator.topics.create('r1', topicOf('orders'))
    isToBeEmptied = true
    await client.hset('{tidemark:lives}:meta', 'history', 'another')
    await life.until(() => life.warnings.includes(NOT_BELIEVED))
    await life.until(() => life.coordinator.health().isOk)
    expect(isToBeEmptied).toBe(false)
    expect(disk.clusterId).toBe(clusterId)
    expect(await client.hget('{tidemark:lives}:meta', 'clusterId')).toBe(clusterId)
  })
})

describeWithRedis('a Redis that was emptied, and met first by a broker whose disk was replaced', () => {
  it('is given back to the cluster that has topics, and that broker goes with it', async () => {
    const redis = await redisWith()
    const client = clientOf(redis)
    const one = await begin({ url: redis.url, id: 1 })
    const orders = topicOf('orders')
    await one.coordinator.topics.create('r1', orders)
    await one.coordinator.stop({ immediately: true })
    await client.flushall()
    const two = await begin({ url: redis.url, id: 2 })
    expect(two.disk.clusterId).not.toBe(one.disk.clusterId)
    const again = await begin({ url: redis.url, id: 1, disk: one.disk })
    await two.until(() => two.coordinator.topics.byName('orders') !== undefined)
    await two.until(() => two.coordinator.health().isOk)
    expect(two.disk.clusterId).toBe(one.disk.clusterId)
    await again.until(() => again.coordinator.brokers().length === 2)
  })

  it('stays with that broker once it has topics, and the others say so', async () => {
    const redis = await redisWith()
    const client = clientOf(redis)
    const one = await begin({ url: redis.url, id: 1 })
    await one.coordinator.topics.create('r1', topicOf('orders'))
    await one.coordinator.stop({ immediately: true })
    await client.flushall()
    const two = await begin({ url: redis.url, id: 2 })
    await two.coordinator.topics.create('r2', topicOf('payments'))
    const { coordinator } = prepare({ url: redis.url, id: 1, disk: one.disk })
    await expect(coordinator.start()).rejects.toMatchObject({ code: 'COORDINATOR_NOT_USABLE' })
    expect(two.coordinator.topics.byName('payments')).toBeDefined()
  })
})
