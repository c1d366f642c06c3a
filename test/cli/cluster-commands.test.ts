// The commands of a cluster as their users call them, on real brokers and a real redis-server: what is shown of partitions that
// the asked broker has not, what is said of those that nobody leads, and taking away a broker that is gone.

import { afterEach, expect, it } from 'vitest'
import { describeWithRedis, startRedis } from '../setup/redis.ts'
import { type Daemon, type Finished, run, startDaemon, temporaryDirectory } from './tidemark-process.ts'

interface Described {
  readonly topic: string
  readonly partitions: readonly {
    readonly leader?: number
    readonly last?: { readonly leader: number }
    readonly replicas: readonly number[]
    readonly figuresOf?: number
    readonly logEndOffset: number | null
  }[]
}

const cleanups: (() => Promise<void> | void)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup()
})

async function startBrokers(count: number): Promise<ReadonlyMap<number, Daemon>> {
  const redis = await startRedis({ args: ['--appendonly', 'yes'] })
  cleanups.push(() => redis.stop())
  const ids = Array.from({ length: count }, (_, index) => index + 1)
  const started = ids.map(async (id) => {
    const directory = temporaryDirectory()
    cleanups.push(() => directory.remove())
    const daemon = await startDaemon(directory.path, [
      ...['--redis', redis.url, '--broker-id', `${id}`],
      // Who hangs is a member for long; who is dead is noticed nevertheless.
      ...['--session-timeout-ms', '60s'],
    ])
    cleanups.push(async () => {
      daemon.process.child.kill('SIGKILL')
      await daemon.process.finished()
    })
    return [id, daemon] as const
  })
  return new Map(await Promise.all(started))
}

describeWithRedis('the commands of a cluster', () => {
  it('tell what leaders know, what nobody knows, and take away a broker that is gone', async () => {
    const daemons = await startBrokers(4)
    const call = (at: number, ...words: string[]): Promise<Finished> =>
      run([...words, '-b', daemons.get(at)?.brokers ?? ''])
    const done = async (at: number, ...words: string[]): Promise<Finished> => {
      const finished = await call(at, ...words)
      expect(finished, finished.stderr).toMatchObject({ code: 0 })
      return finished
    }
    const described = async (at: number, topic: string): Promise<Described['partitions'][number] | undefined> => {
      const { stdout } = await done(at, 'topic', 'describe', topic, '--format', 'json')
      return (JSON.parse(stdout) as Described[])[0]?.partitions[0]
    }
    await done(1, 'topic', 'create', 'lone', '-p', '1', '-r', '1')
    await done(1, 'topic', 'create', 'grown', '-p', '1', '-r', '1')
    await done(1, 'topic', 'create', 'orders', '-p', '4', '-r', '3')

    const lost = (await described(1, 'lone'))?.leader ?? 0
    const asked = lost === 1 ? 2 : 1
    const third = [1, 2, 3, 4].find((id) => id !== lost && id !== asked) ?? 0
    expect(await described(asked, 'lone')).toMatchObject({ leader: lost, figuresOf: lost, logEndOffset: 0 })

    const to = `${asked},${third},${[1, 2, 3, 4].find((id) => ![lost, asked, third].includes(id))}`
    const moved = await done(asked, 'broker', 'move', '--topic', 'grown', '--partition', '0', '--to', to, '--wait')
    const warning =
      /^warning: grown-0: min\.insync\.replicas is 1, .* all 3 replicas are there; .*topic create NEW -r 3/m
    expect(moved.stderr).toMatch(warning)
    expect((await done(asked, 'topic', 'describe', 'grown', '-p')).stderr).toMatch(warning)

    daemons.get(lost)?.process.child.kill('SIGSTOP')
    const hung = await done(asked, 'topic', 'describe', 'lone', '-p')
    expect(hung.stdout).toMatch(new RegExp(` unknown \\(broker ${lost} leads, and does not answer\\)$`, 'm'))
    expect(hung.stderr).toContain(`broker ${lost} leads and did not answer in time`)
    daemons.get(lost)?.process.child.kill('SIGKILL')
    let row = ''
    // Until it is noticed, which is soon.
    while (!row.includes('none')) row = (await done(asked, 'topic', 'describe', 'lone', '-p')).stdout
    expect(row).toMatch(
      new RegExp(`^lone +0 +none \\(last ${lost}\\) +0 +${lost} +- +none \\(last ${lost}\\)( +-){6} +offline`, 'm'),
    )
    expect(await described(asked, 'lone')).toMatchObject({ last: { leader: lost }, logEndOffset: null })
    expect((await done(asked, 'topic', 'list')).stdout).toMatch(/^lone +1 +1 +- +- +os$/m)
    const info = await done(asked, 'cluster', 'info')
    expect(info.stderr).toContain(`3 there; away, with replicas: ${lost}`)

    await done(asked, 'topic', 'delete', 'lone')
    const gone = await done(asked, 'broker', 'decommission', `${lost}`, '--wait')
    expect(gone.stderr).toContain(`broker ${lost} holds nothing any more`)
    await done(asked, 'broker', 'balance', '--wait')
    const even = await done(asked, 'broker', 'balance', '--format', 'json')
    expect(even).toMatchObject({ stdout: '[]\n', stderr: 'nothing to do: the brokers are even\n' })
    const unknown = await call(asked, 'broker', 'decommission', `${lost}`)
    expect(unknown.code).toBe(1)
    expect(unknown.stderr).toMatch(/ refused to decommission broker: there is no broker /)
  }, 120_000)
})
