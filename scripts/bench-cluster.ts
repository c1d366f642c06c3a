// How a cluster of three brokers does on this machine: throughput and what it costs, latency, and for how long writing
// stops when brokers die, hang or stop, or Redis goes. Real processes, a private redis-server, the client in this process;
// everything on 127.0.0.1. Run from the checkout after a build:
//
//   node dist/scripts/bench-cluster.js [--json] [--kills 30] [--redis-seconds 60] [--only throughput,serial,kills,...]
//
// The row of a leader that is cut off needs network namespaces (on Linux, as root); without them it is left out.

import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { connect as connectSocket } from 'node:net'
import { promisify } from 'node:util'
import yargs from 'yargs'
import { type Client, connect } from '../client/index.ts'
import { canMakeNetworks, insideOwnNetwork, Network } from '../test/chaos/network.ts'
import { type BrokerPlace, ProcessCluster } from '../test/setup/cluster.ts'
import { Load, pause } from '../test/setup/cluster-load.ts'
import { inSync, leaderOf } from '../test/setup/cluster-state.ts'
import { type PrivateRedis, startPrivateRedis } from '../test/setup/private-redis.ts'
import { findRedis } from './ensure-redis.ts'

interface Row {
  readonly work: string
  readonly figure: number
  readonly unit: string
  /** The figure that is asked for, at most or at least. */
  readonly reach?: { readonly atMost: number } | { readonly atLeast: number }
  readonly note?: string
}

interface Bench {
  readonly cluster: ProcessCluster
  readonly redis: PrivateRedis
  readonly client: Client
  readonly network: Network | undefined
  /** A topic of three replicas whose followers keep up. */
  topic(name: string, numPartitions?: number): Promise<string>
}

/** Said to the process that measures in a network of its own. */
const INSIDE = 'TIDEMARK_BENCH_INSIDE'
const NEEDS_NETWORK = new Set(['cut'])
/** Clock ticks a second, as /proc counts them. */
const TICKS = 100
const LEASE_MS = 6_000
const REDIS_ARGS = [
  ...['--appendonly', 'yes', '--appendfsync', 'always', '--maxmemory-policy', 'noeviction'],
  // Reached from other hosts than the loopback, it would ask for a password.
  ...['--protected-mode', 'no'],
]
/** After so long a new cluster with many partitions has come to rest. */
const REST_MS = 15_000

/** CPU seconds that the brokers have used so far, user and system. */
function cpuSeconds(cluster: ProcessCluster): number {
  let ticks = 0
  for (const id of cluster.living) {
    const stat = readFileSync(`/proc/${cluster.pid(id)}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    ticks += Number(fields[11]) + Number(fields[12])
  }
  return ticks / TICKS
}

async function redisCommands(redis: PrivateRedis): Promise<number> {
  const text = await new Promise<string>((resolve, reject) => {
    const socket = connectSocket(redis.port, '127.0.0.1', () => socket.write('INFO stats\r\n'))
    let said = ''
    socket.setEncoding('utf8').on('data', (chunk: string) => {
      said += chunk
      if (!/total_commands_processed:\d+\r\n/.test(said)) return
      socket.destroy()
      resolve(said)
    })
    socket.on('error', reject)
  })
  return Number(/total_commands_processed:(\d+)/.exec(text)?.[1])
}

async function withCluster<T>(work: (bench: Bench) => Promise<T>, hasNetwork: boolean): Promise<T> {
  const server = await findRedis()
  if (server === undefined) throw new Error('there is no redis-server; node dist/scripts/ensure-redis.js gets one')
  await using network = hasNetwork ? await Network.make([1, 2, 3, 'redis']) : undefined
  const place = (one: number | 'redis'): BrokerPlace =>
    network === undefined ? { host: '127.0.0.1', within: [] } : { host: network.host(one), within: network.within(one) }
  await using redis = await startPrivateRedis(server, { args: REDIS_ARGS, ...place('redis') })
  await using cluster = await ProcessCluster.start({ redis: redis.url, place })
  const client = connect({ brokers: cluster.addresses })
  try {
    const topic = async (name: string, numPartitions = 1): Promise<string> => {
      await client.admin().createTopics({ topics: [{ topic: name, numPartitions, replicationFactor: 3 }] })
      await inSync(client.admin(), name, 3)
      return name
    }
    return await work({ cluster, redis, client, network, topic })
  } finally {
    await client.close({ timeoutMs: 1_000 }).catch(() => undefined)
  }
}

function quantile(ascending: readonly number[], part: number): number {
  return ascending[Math.min(ascending.length - 1, Math.floor(ascending.length * part))] ?? Number.NaN
}

const round = (figure: number, digits = 0): number => Math.round(figure * 10 ** digits) / 10 ** digits

/** Until the partition is led again by all three. */
async function whole({ client }: Bench, topic: string): Promise<void> {
  await inSync(client.admin(), topic, 3)
}

/** Nobody hears of the leader any more, nor that it is gone. */
async function unreachable(
  bench: Bench,
  how: string,
  fault: (id: number) => Promise<void>,
  heal: (id: number) => Promise<void>,
): Promise<Row[]> {
  const { client } = bench
  const topic = await bench.topic('unreachable')
  const load = new Load(client, { topic, writers: 1, burst: 2, pauseMs: 1 })
  const times: number[] = []
  for (let time = 0; time < 3; time += 1) {
    await whole(bench, topic)
    await load.more(200)
    const leader = await leaderOf(client.admin(), topic)
    const at = performance.now()
    await fault(leader)
    while (load.firstAfter(at + 100) === undefined) await load.more(1, 40_000)
    times.push(load.longestGapMs(at))
    await heal(leader)
  }
  await load.stop()
  const note = `${times.map((time) => round(time)).join(', ')} ms; ${load.failed.length} failed`
  const figure = round(Math.max(...times))
  return [{ work: `leader ${how}: no write for`, figure, unit: 'ms', reach: { atMost: LEASE_MS + 2_000 }, note }]
}

type Work = (bench: Bench, flags: { kills: number; redisSeconds: number; megabytes: number }) => Promise<Row[]>

const WORK: Record<string, Work> = {
  async throughput(bench, { megabytes }) {
    const topic = await bench.topic('throughput')
    const producer = bench.client.producer({ batchBytes: 65_536, maxInFlight: 5 })
    const value = new Uint8Array(1_024).fill(7)
    const send = async (bytes: number): Promise<void> => {
      for (let sent = 0; sent < bytes; sent += value.length) {
        if (sent % 65_536 === 0) await producer.ready()
        producer.enqueue(topic, { value }).catch(() => undefined)
      }
      await producer.flush()
    }
    await send(100e6)
    const [cpu, from] = [cpuSeconds(bench.cluster), performance.now()]
    await send(megabytes * 1e6)
    const seconds = (performance.now() - from) / 1_000
    const spent = cpuSeconds(bench.cluster) - cpu
    const work = 'RF 3, acks=all, 64 KB batches of 1 KB records, 5 in flight'
    return [
      { work, figure: round(megabytes / seconds), unit: 'MB/s', reach: { atLeast: 90 } },
      {
        work: 'CPU of the three brokers',
        figure: round((spent / megabytes) * 1e3, 1),
        unit: 's/GB',
        reach: { atMost: 12 },
      },
    ]
  },

  async serial(bench) {
    const topic = await bench.topic('serial')
    const producer = bench.client.producer()
    const times: number[] = []
    for (let count = 0; count < 6_000; count += 1) {
      const from = performance.now()
      await producer.send({ topic, messages: [{ value: 'x'.repeat(100) }] })
      if (count >= 1_000) times.push(performance.now() - from)
    }
    times.sort((a, b) => a - b)
    const note = `p99 ${round(quantile(times, 0.99), 2)} ms`
    const figure = round(quantile(times, 0.5), 2)
    return [{ work: 'RF 3, acks=all, one record, serial: p50', figure, unit: 'ms', reach: { atMost: 0.6 }, note }]
  },

  async kills(bench, { kills }) {
    const { cluster, client } = bench
    const topic = await bench.topic('kills')
    const load = new Load(client, { topic, writers: 1, burst: 2, pauseMs: 1 })
    await load.more(200)
    const times: number[] = []
    for (let kill = 0; kill < kills; kill += 1) {
      await whole(bench, topic)
      await load.more(100)
      const leader = await leaderOf(client.admin(), topic)
      const at = performance.now()
      await cluster.kill(leader)
      while (load.firstAfter(at + 5) === undefined) await load.more(1, 30_000)
      times.push(Math.max(load.firstAfter(at + 5) ?? 0, load.longestGapMs(at)))
      await cluster.restart(leader)
    }
    await load.stop()
    times.sort((a, b) => a - b)
    const note = `p50 ${round(quantile(times, 0.5))} ms, most ${round(times.at(-1) ?? 0)} ms, ${load.failed.length} failed`
    const work = `kill -9 of the leader to the next acknowledged write, ${kills} times: p99`
    return [{ work, figure: round(quantile(times, 0.99)), unit: 'ms', reach: { atMost: 1_500 }, note }]
  },

  async followers(bench) {
    const { cluster, client } = bench
    const topic = await bench.topic('followers')
    const load = new Load(client, { topic, writers: 2, burst: 2, pauseMs: 1 })
    await load.more(500)
    const measure = async (name: string, fault: (id: number) => Promise<void>, heal: (id: number) => Promise<void>) => {
      await whole(bench, topic)
      const leader = await leaderOf(client.admin(), topic)
      const follower = cluster.living.find((id) => id !== leader)
      if (follower === undefined) throw new Error('a follower')
      const before = performance.now()
      await pause(1_000)
      const at = performance.now()
      await fault(follower)
      await pause(8_000)
      const figure = round(load.durations(at - 500).at(-1) ?? 0)
      const note = `${round(load.durations(before, at - 500).at(-1) ?? 0)} ms before; ${load.failed.length} failed`
      await heal(follower)
      return {
        work: `a follower is ${name}: longest wait of a write`,
        figure,
        unit: 'ms',
        reach: { atMost: 100 },
        note,
      }
    }
    const rows = [
      await measure(
        'killed',
        (id) => cluster.kill(id),
        (id) => cluster.restart(id),
      ),
      await measure(
        'hung',
        async (id) => cluster.pause(id),
        async (id) => cluster.resume(id),
      ),
    ]
    await load.stop()
    return rows
  },

  async hung(bench) {
    const { cluster } = bench
    const pauseOne = async (id: number): Promise<void> => cluster.pause(id)
    const resumeOne = async (id: number): Promise<void> => cluster.resume(id)
    return unreachable(bench, 'hung (SIGSTOP)', pauseOne, resumeOne)
  },

  async cut(bench) {
    const { cluster, network } = bench
    if (network === undefined) throw new Error('a leader can be cut off only in a network of its own')
    const cutOff = async (id: number): Promise<void> => {
      const others = cluster.ids.filter((other) => other !== id)
      for (const place of [...others, 'redis', 'clients'] as const) await network.cut(id, place)
    }
    return unreachable(bench, 'cut off from everything', cutOff, () => network.heal())
  },

  async stops(bench) {
    const { cluster, client } = bench
    const topic = await bench.topic('stops')
    const load = new Load(client, { topic, writers: 2, burst: 2, pauseMs: 1 })
    await load.more(500)
    const stops: number[] = []
    for (let stop = 0; stop < 3; stop += 1) {
      await whole(bench, topic)
      const leader = await leaderOf(client.admin(), topic)
      const at = performance.now()
      await cluster.stop(leader)
      await load.more(50)
      stops.push(load.longestGapMs(at))
      await cluster.restart(leader)
    }
    const failedInStops = load.failed.length
    const from = performance.now()
    for (const id of cluster.ids) {
      await whole(bench, topic)
      await cluster.stop(id)
      await load.more(20)
      await cluster.restart(id)
    }
    await whole(bench, topic)
    await load.more(100)
    const rolling = load.longestGapMs(from)
    await load.stop()
    const note = `${stops.map((time) => round(time)).join(', ')} ms`
    return [
      {
        work: 'planned stop of the leader: no write for',
        figure: round(Math.max(...stops)),
        unit: 'ms',
        reach: { atMost: 500 },
        note,
      },
      { work: 'rolling restart: no write for', figure: round(rolling), unit: 'ms', reach: { atMost: 500 } },
      {
        work: 'failed writes meanwhile',
        figure: load.failed.length,
        unit: '',
        reach: { atMost: 0 },
        note: `${failedInStops} by stops of the leader`,
      },
    ]
  },

  async thousand(bench) {
    const { cluster, client, redis } = bench
    const admin = client.admin()
    const topics = Array.from({ length: 30 }, (_, index) => `many-${index}`)
    for (const topic of topics) {
      await admin.createTopics({ topics: [{ topic, numPartitions: 100, replicationFactor: 3 }] })
    }
    const led = async (): Promise<Map<number | undefined, number>> => {
      const counts = new Map<number | undefined, number>()
      for (const { partitions } of await admin.describeTopics(topics)) {
        for (const { leader } of partitions) counts.set(leader, (counts.get(leader) ?? 0) + 1)
      }
      return counts
    }
    // Many of them are led by whoever heard of them first; they go to their preferred leaders over the next minutes.
    const areSettled = async (): Promise<boolean> => {
      const described = await admin.describeTopics(topics)
      return described.every(({ partitions }) => partitions.every(({ leader, replicas }) => leader === replicas[0]))
    }
    for (let polls = 0; polls < 60 && !(await areSettled()); polls += 1) await pause(5_000)
    await pause(REST_MS)
    const commands = await redisCommands(redis)
    await pause(10_000)
    const rate = (await redisCommands(redis)) - commands
    const victim = cluster.ids[0] ?? 1
    const count = (await led()).get(victim) ?? 0
    const from = performance.now()
    await cluster.kill(victim)
    for (;;) {
      const counts = await led()
      if ((counts.get(victim) ?? 0) + (counts.get(undefined) ?? 0) === 0) break
      if (performance.now() - from > 60_000)
        throw new Error(`not all led after a minute: ${JSON.stringify([...counts])}`)
      await pause(50)
    }
    const figure = round(performance.now() - from)
    return [
      {
        work: `${count} partitions led by a broker that dies: all led again`,
        figure,
        unit: 'ms',
        reach: { atMost: LEASE_MS + 5_000 },
      },
      {
        work: 'Redis in steady state, 3,000 partitions, for each broker',
        figure: round(rate / 10 / 3, 1),
        unit: 'commands/s',
        reach: { atMost: 20 },
      },
    ]
  },

  async redis(bench, { redisSeconds }) {
    const { client, redis } = bench
    const topic = await bench.topic('redis')
    const load = new Load(client, { topic, writers: 1, burst: 1, pauseMs: 1 })
    await load.more(1_000)
    const from = performance.now()
    await pause(Math.min(redisSeconds, 20) * 1_000)
    const at = performance.now()
    redis.signal('SIGKILL')
    await pause(redisSeconds * 1_000)
    await load.stop()
    const before = quantile(load.durations(from, at), 0.99)
    const after = quantile(load.durations(at), 0.99)
    const failed = load.failed.length
    return [
      { work: `Redis gone for ${redisSeconds} s: failed writes`, figure: failed, unit: '', reach: { atMost: 0 } },
      {
        work: `Redis gone for ${redisSeconds} s: p99 against before`,
        figure: round(after / before, 2),
        unit: 'times',
        reach: { atMost: 1.5 },
        note: `${round(before, 2)} to ${round(after, 2)} ms`,
      },
    ]
  },
}

function show({ work, figure, unit, reach, note }: Row): string {
  const asked =
    reach === undefined ? undefined : 'atMost' in reach ? `at most ${reach.atMost}` : `at least ${reach.atLeast}`
  const isMet = reach === undefined || ('atMost' in reach ? figure <= reach.atMost : figure >= reach.atLeast)
  const verdict = asked === undefined ? '' : ` (${asked}: ${isMet ? 'reached' : 'MISSED'})`
  return `${work}: ${figure} ${unit}${verdict}${note === undefined ? '' : `  ${note}`}`
}

const flags = await yargs(process.argv.slice(2))
  .option('json', { type: 'boolean', default: false, describe: 'All rows as one array' })
  .option('kills', { type: 'number', default: 30, describe: 'How often the leader is killed' })
  .option('redis-seconds', { type: 'number', default: 60, describe: 'How long Redis is gone' })
  .option('megabytes', { type: 'number', default: 1_000, describe: 'What is written for the throughput' })
  .option('only', {
    type: 'string',
    default: Object.keys(WORK).join(','),
    describe: 'Some of the works, in this order',
  })
  .strict()
  .parseAsync()

/** What another process of this program has measured in a network of its own. */
async function rowsInside(name: string): Promise<Row[]> {
  const [program = '', ...words] = insideOwnNetwork([process.execPath, process.argv[1] ?? '', '--json', '--only', name])
  const { stdout } = await promisify(execFile)(program, words, { env: { ...process.env, [INSIDE]: '1' } })
  return JSON.parse(stdout) as Row[]
}

async function rowsOf(name: string, work: Work): Promise<Row[]> {
  const isInside = process.env[INSIDE] !== undefined
  const needsNetwork = NEEDS_NETWORK.has(name)
  if (!needsNetwork || isInside) return withCluster((bench) => work(bench, flags), needsNetwork)
  if (canMakeNetworks()) return rowsInside(name)
  console.error(`${name}: SKIPPED, network namespaces cannot be made here (on Linux they need root)`)
  return []
}

const rows: Row[] = []
for (const name of flags.only.split(',')) {
  const work = WORK[name]
  if (work === undefined) throw new Error(`--only knows ${Object.keys(WORK).join(', ')}, not ${name}`)
  try {
    for (const row of await rowsOf(name, work)) {
      rows.push(row)
      if (!flags.json) console.log(show(row))
    }
  } catch (error) {
    // The others may still be measured.
    console.error(`${name}: ${error instanceof Error ? error.message : String(error)}`)
    process.exitCode = 1
  }
}
if (flags.json) console.log(JSON.stringify(rows))
