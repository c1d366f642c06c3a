// Which Redis is refused, which one is warned of, and in which words; by the rules alone and on real servers.

import { once } from 'node:events'
import { createServer } from 'node:net'
import { Redis } from 'ioredis'
import { describe, expect, it, onTestFinished } from 'vitest'
import { checkContract, type RedisFacts } from '../../broker/coordination/deployment-contract.ts'
import { describeWithRedis, startRedis } from '../setup/redis.ts'
import { begin, containing, DiskOfABroker, prepare } from './redis-lives.ts'

const SOUND: RedisFacts = {
  info: 'redis_version:7.0.15\r\nrole:master\r\nconnected_slaves:0\r\naof_enabled:1\r\nmaxmemory:0\r\n',
  settings: {
    appendonly: 'yes',
    appendfsync: 'always',
    maxmemory: '0',
    'maxmemory-policy': 'noeviction',
    'min-replicas-to-write': '0',
  },
}

function withSettings(settings: Partial<RedisFacts['settings']>, info = SOUND.info): RedisFacts {
  return { info, settings: { ...SOUND.settings, ...settings } }
}

function findings(facts: RedisFacts): string[] {
  return checkContract(facts).map(({ severity, message }) => `${severity}: ${message}`)
}

describe('the deployment contract', () => {
  it('has nothing against a Redis that keeps everything', () => {
    expect(findings(SOUND)).toEqual([])
  })

  it.each([
    [
      'no persistence',
      withSettings({ appendonly: 'no' }, SOUND.info.replace('aof_enabled:1', 'aof_enabled:0')),
      'appendonly yes',
    ],
    ['a lazy log', withSettings({ appendfsync: 'everysec' }), 'appendfsync is everysec'],
    [
      'eviction that waits for a limit',
      withSettings({ 'maxmemory-policy': 'allkeys-lru' }),
      'set maxmemory-policy noeviction',
    ],
    ['settings it may not see', withSettings({ appendfsync: undefined }), 'appendfsync cannot be seen'],
    [
      'replicas that nobody waits for',
      withSettings({}, SOUND.info.replace('connected_slaves:0', 'connected_slaves:1')),
      'set min-replicas-to-write 1',
    ],
  ])('warns of %s', (_name, facts, words) => {
    expect(findings(facts)).toEqual([expect.stringMatching(`^warning: .*${words}`)])
  })

  it.each([
    [
      'eviction',
      withSettings({ 'maxmemory-policy': 'volatile-ttl', maxmemory: '1000000' }),
      'maxmemory-policy is volatile-ttl',
    ],
    ['a replica', withSettings({}, SOUND.info.replace('role:master', 'role:slave')), 'read-only replica'],
    ['an old version', withSettings({}, SOUND.info.replace('7.0.15', '6.0.16')), 'its version is 6.0.16'],
  ])('refuses %s', (_name, facts, words) => {
    expect(findings(facts)).toEqual([expect.stringMatching(`^refused: .*${words}`)])
  })
})

describeWithRedis('a broker that starts', () => {
  it('warns of a Redis that neither persists nor would keep its records under pressure, and works', async () => {
    await using redis = await startRedis({ args: ['--appendonly', 'no', '--maxmemory-policy', 'allkeys-lru'] })
    const { warnings, coordinator } = await begin({ url: redis.url })
    expect(warnings).toContainEqual(containing('appendonly is no'))
    expect(warnings).toContainEqual(containing('maxmemory-policy is allkeys-lru'))
    expect(coordinator.health().isOk).toBe(true)
  })

  it('has nothing to say about a Redis that keeps the contract', async () => {
    await using redis = await startRedis({ args: ['--appendonly', 'yes', '--appendfsync', 'always'] })
    const { warnings } = await begin({ url: redis.url })
    expect(warnings).toEqual([])
  })

  it.each([
    ['evicts', ['--maxmemory', '100mb', '--maxmemory-policy', 'allkeys-lru'], 'set maxmemory-policy noeviction'],
    ['is a read-only replica', ['--replicaof', '127.0.0.1', '1'], 'name its master at 127.0.0.1:1'],
    [
      'needs a password',
      ['--requirepass', 'secret'],
      'needs a password; write it into the address, as redis://user:password@host:port',
    ],
  ])('refuses a Redis that %s, and says what to do', async (_name, args, words) => {
    await using redis = await startRedis({ args })
    const { coordinator } = prepare({ url: redis.url })
    await expect(coordinator.start()).rejects.toMatchObject({
      code: 'COORDINATOR_NOT_USABLE',
      message: containing(words),
    })
  })

  it('refuses a wrong password without showing it', async () => {
    await using redis = await startRedis({ args: ['--requirepass', 'secret'] })
    const { coordinator } = prepare({ url: redis.url.replace('redis://', 'redis://default:wrong-word@') })
    const failure: unknown = await coordinator.start().catch((error: unknown) => error)
    expect(failure).toMatchObject({ code: 'COORDINATOR_NOT_USABLE', message: containing('does not take') })
    expect(String(failure)).not.toContain('wrong-word')
  })

  it('refuses a number that Redis has no database for', async () => {
    await using redis = await startRedis({ args: ['--databases', '2'] })
    const { coordinator } = prepare({ url: redis.url.replace(/0$/, '7') })
    await expect(coordinator.start()).rejects.toMatchObject({
      code: 'COORDINATOR_NOT_USABLE',
      message: containing('has no database with this number'),
    })
  })

  it('refuses what is no Redis', async () => {
    const other = createServer((socket) => void socket.on('error', () => undefined).end('HTTP/1.1 400 Bad Request'))
    await once(other.listen(0, '127.0.0.1'), 'listening')
    onTestFinished(() => void other.close())
    const address = other.address()
    const port = typeof address === 'object' ? address?.port : undefined
    const { coordinator } = prepare({ url: `redis://127.0.0.1:${port}/0`, startTimeoutMs: 200 })
    await expect(coordinator.start()).rejects.toMatchObject({
      code: 'COORDINATOR_NOT_USABLE',
      message: containing(`redis: 127.0.0.1:${port}/0 is no Redis; correct the address`),
    })
  })

  it('says where nobody answers', async () => {
    const redis = await startRedis()
    await redis.stop()
    const { coordinator } = prepare({ url: redis.url, startTimeoutMs: 200 })
    await expect(coordinator.start()).rejects.toMatchObject({
      code: 'COORDINATOR_NOT_USABLE',
      message: containing(`redis: nothing answers at 127.0.0.1:${redis.port}/0: connect ECONNREFUSED`),
    })
  })

  it.each([
    ['localhost', 'redis: it is not an address'],
    ['http://127.0.0.1', 'begins with neither redis:// nor rediss://'],
    ['redis://127.0.0.1/tide', 'not the number of a database'],
    ['redis://127.0.0.1/0?enableOfflineQueue=true', 'nothing may follow the number'],
    ['redis://user:50%@127.0.0.1/0', 'write % as %25'],
  ])('refuses the address %s', (url, words) => {
    expect(() => prepare({ url })).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTION', message: containing(words) }),
    )
  })

  it('refuses a cluster name that would not make a plain key', () => {
    expect(() => prepare({ url: 'redis://127.0.0.1', cluster: 'a}b' })).toThrow(/cluster: "a}b"/)
  })

  it('refuses the Redis of another cluster', async () => {
    await using redis = await startRedis()
    await begin({ url: redis.url })
    const disk = new DiskOfABroker()
    disk.clusterId = '00000000-0000-4000-8000-000000000000'
    const { coordinator } = prepare({ url: redis.url, id: 2, disk })
    await expect(coordinator.start()).rejects.toMatchObject({
      code: 'COORDINATOR_NOT_USABLE',
      message: containing('name the Redis of that one, or start on an empty data-dir'),
    })
  })

  it('works as a user that may do no more than it must', async () => {
    await using redis = await startRedis()
    const client = new Redis(redis.url)
    const rules = [
      'on',
      '>word',
      '~{tidemark:lives}:*',
      '+@read',
      '+@write',
      '+eval',
      '+evalsha',
      '+info',
      '+time',
      '+hello',
    ]
    await client.call('ACL', 'SETUSER', 'tidemark', ...rules, '-flushall', '-flushdb', '-keys')
    client.disconnect()
    const { coordinator, warnings } = await begin({ url: redis.url.replace('redis://', 'redis://tidemark:word@') })
    expect(coordinator.health().isOk).toBe(true)
    expect(warnings).toContainEqual(containing('appendonly is no'))
  })
})
