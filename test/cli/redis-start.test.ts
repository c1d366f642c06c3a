// A broker that is to be a part of a cluster and cannot: one line that names the setting and says what to do, and no password
// anywhere. On a real redis-server, by the command as users call it.

import { afterEach, expect, it } from 'vitest'
import type { PrivateRedis } from '../setup/private-redis.ts'
import { describeWithRedis, startRedis } from '../setup/redis.ts'
import { type Daemon, run, startDaemon, temporaryDirectory, Tidemark } from './tidemark-process.ts'

const cleanups: (() => Promise<void> | void)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup()
})

function directory(): string {
  const made = temporaryDirectory()
  cleanups.push(() => made.remove())
  return made.path
}

async function redisWith(...args: string[]): Promise<PrivateRedis> {
  const redis = await startRedis({ args })
  cleanups.push(() => redis.stop())
  return redis
}

async function start(path: string, ...extra: string[]): Promise<Daemon> {
  const daemon = await startDaemon(path, extra)
  cleanups.push(async () => {
    daemon.process.child.kill('SIGKILL')
    await daemon.process.finished()
  })
  return daemon
}

async function stop(daemon: Daemon): Promise<void> {
  daemon.process.child.kill('SIGTERM')
  expect((await daemon.process.finished()).code).toBe(0)
}

/** How a start ends that is refused: its exit code, its last line, and all that it wrote. */
async function refusal(...words: string[]): Promise<{ code: number | null; line: string; all: string }> {
  const { code, stdout, stderr } = await run(['start', '--listen', '127.0.0.1:0', '--http', 'off', ...words])
  expect(stdout).toBe('')
  return { code, line: stderr.trimEnd().split('\n').at(-1) ?? '', all: stderr }
}

describeWithRedis('a start that cannot become a part of a cluster says', () => {
  it('that the address is none, before anything else', async () => {
    const { code, line, all } = await refusal('--data-dir', directory(), '--redis', 'redis:/u:hunter2@h')
    expect(code).toBe(2)
    expect(line).toMatch(/^tidemark: redis: .*write it as redis:\/\/127\.0\.0\.1:6379\/0 \(INVALID_OPTION\)$/)
    expect(all).not.toContain('hunter2')
  })

  it('that nobody answers there', async () => {
    const { code, line } = await refusal('--data-dir', directory(), '--redis', 'redis://127.0.0.1:1')
    expect(code).toBe(1)
    expect(line).toMatch(
      /^tidemark: redis: nothing answers at 127\.0\.0\.1:1\/0: connect ECONNREFUSED 127\.0\.0\.1:1; start Redis there, or correct the address/,
    )
  }, 20_000)

  it('that a password is missing, or wrong, without showing it', async () => {
    const redis = await redisWith('--requirepass', 'hunter2')
    const missing = await refusal('--data-dir', directory(), '--redis', redis.url)
    expect(missing).toMatchObject({ code: 1, line: expect.stringContaining('needs a password') as string })
    const wrongUrl = redis.url.replace('redis://', 'redis://:hunter3@')
    const wrong = await refusal('--data-dir', directory(), '--redis', wrongUrl)
    expect(wrong).toMatchObject({ code: 1, line: expect.stringContaining('does not take this') as string })
    expect(wrong.all).not.toContain('hunter')
  })

  it('that Redis evicts, or is a replica and of whom', async () => {
    const evicting = await redisWith('--maxmemory', '100mb', '--maxmemory-policy', 'allkeys-lru')
    const evicts = await refusal('--data-dir', directory(), '--redis', evicting.url)
    expect(evicts.code).toBe(1)
    expect(evicts.line).toMatch(/^tidemark: redis: .* set maxmemory-policy noeviction/)
    const replica = await redisWith('--replicaof', '127.0.0.1', '1')
    const reads = await refusal('--data-dir', directory(), '--redis', replica.url)
    expect(reads.code).toBe(1)
    expect(reads.line).toMatch(/^tidemark: redis: .* read-only replica .*name its master at 127\.0\.0\.1:1/)
  })

  it('that memory is no place for what must outlive a restart', async () => {
    const { code, line } = await refusal('--data-dir', 'memory', '--redis', 'redis://127.0.0.1:1')
    expect(code).toBe(2)
    expect(line).toMatch(/^tidemark: data-dir is memory and redis is given: .*name a directory, or leave redis out/)
  })

  it('that another broker has its number, and where it is', async () => {
    const redis = await redisWith()
    const cluster = ['--redis', redis.url, '--broker-id', '7', '--session-timeout-ms', '2s']
    const first = await start(directory(), ...cluster)
    const { code, line } = await refusal('--data-dir', directory(), ...cluster)
    expect(code).toBe(1)
    expect(line).toContain(
      `tidemark: broker-id: the broker at ${first.brokers} has number 7; stop that one, or give this one a broker-id of its own`,
    )
  })

  it('that the directory is of another cluster, or of one at all', async () => {
    const [redis, other] = [await redisWith(), await redisWith()]
    const mine = directory()
    await stop(await start(mine, '--redis', redis.url))
    const alone = await refusal('--data-dir', mine)
    expect(alone).toMatchObject({ code: 1, line: expect.stringContaining('name its Redis with redis') as string })
    await start(directory(), '--redis', other.url, '--broker-id', '2')
    const strange = await refusal('--data-dir', mine, '--redis', other.url)
    expect(strange.code).toBe(1)
    expect(strange.line).toMatch(/^tidemark: redis: .*name the Redis of that one, or start on an empty data-dir/)
  })
})

describeWithRedis('a broker of a cluster', () => {
  it('takes its number back at once after it was killed', async () => {
    const redis = await redisWith()
    const path = directory()
    const cluster = ['--redis', redis.url, '--session-timeout-ms', '5m']
    const first = await start(path, ...cluster)
    first.process.child.kill('SIGKILL')
    await first.process.finished()
    const second = await start(path, ...cluster, '--listen', first.brokers)
    expect(second.brokers).toBe(first.brokers)
    expect(second.process.stderr).not.toContain('waiting for the session')
  })

  it('shows who is there and what each leads, and what is not well while one is away', async () => {
    const redis = await redisWith('--appendonly', 'yes')
    const paths = [directory(), directory()]
    const startAs = (id: number, ...extra: string[]): Promise<Daemon> =>
      start(paths[id - 1] ?? '', '--redis', redis.url, '--broker-id', `${id}`, '--rack', `r${id}`, ...extra)
    const one = await startAs(1)
    const two = await startAs(2)
    const ask = async (...words: string[]): Promise<unknown> => {
      const { stdout } = await run([...words, '-b', one.brokers, '--format', 'json'])
      return JSON.parse(stdout)
    }
    await ask('topic', 'create', 'orders', '-p', '4', '-r', '2')
    const healthy = ['cluster', 'health', '--exit-when-healthy', '-b', one.brokers]
    expect((await run(healthy)).code).toBe(0)
    expect(await ask('cluster', 'info')).toMatchObject({
      controllerId: 1,
      brokers: [
        { brokerId: 1, rack: 'r1', topics: 1, partitions: 4, leaders: 2 },
        { brokerId: 2, rack: 'r2', topics: 1, partitions: 4, leaders: 2 },
      ],
    })

    // The second one is asked when the first is gone, and not in turn with it.
    const watch = new Tidemark(['cluster', 'health', '--watch', '-b', `${one.brokers},${two.brokers}`])
    cleanups.push(async () => {
      watch.child.kill('SIGKILL')
      await watch.finished()
    })
    await watch.saw(/^healthy at 20\d\d-.*Z$/m)
    two.process.child.kill('SIGKILL')
    await watch.saw(/^brokers +bad +1 there; away, with replicas: 2$/m)
    const { code, stdout } = await run(['cluster', 'health', '-b', one.brokers])
    expect(code).toBe(1)
    expect(stdout).toMatch(/^not healthy\n/)
    expect(stdout).toMatch(/^coordinator +ok +redis 127\.0\.0\.1:\d+\/0$/m)
    // Two of two must have a record, and so must vote for a leader: one is too few.
    expect(stdout).toMatch(/^(leaders|writes) +bad +\d of 4 partitions have .*orders-\d/m)

    await startAs(2, '--listen', two.brokers)
    expect((await run(healthy)).code).toBe(0)
  })
})
