// What a group costs: records a second of 100 bytes through eachBatch and eachMessage beside a reader without a group, how
// long a partition stands still when a member comes, when one dies, and when one hangs. Against a real broker in a process of its own.
// node dist/scripts/bench-consumer.js [--records N] [--rounds N] [--only throughput|moves|hangs]

import { type ChildProcess, fork } from 'node:child_process'
import { parseArgs } from 'node:util'
import { startBroker } from '../broker/testing.ts'
import { type Client, connect } from '../client/client.ts'
import type { Consumer } from '../client/consumer.ts'
import { systemEnvironment } from '../client/environment.ts'
import { systemTransport, type Wire } from '../client/transport.ts'

const { values: flags } = parseArgs({
  options: {
    records: { type: 'string', default: '1000000' },
    rounds: { type: 'string', default: '5' },
    only: { type: 'string' },
    broker: { type: 'boolean', default: false },
    member: { type: 'string' },
  },
})
const RECORDS = Number(flags.records)
const ROUNDS = Number(flags.rounds)
const SIZE = 100
const MOVING_PARTITIONS = 60
/** Records a second over all partitions while members come and go: one in each partition every 20 ms. */
const TICK_MS = 20
/** Of members one of which hangs. */
const HANGING_SESSION_MS = 3_000

async function runBroker(): Promise<void> {
  const broker = await startBroker({ dataDir: 'memory' })
  process.send?.(broker.brokers)
  process.once('disconnect', () => {
    broker.stop().then(
      () => process.exit(0),
      () => process.exit(1),
    )
  })
}

async function fill(client: Client, topic: string, records: number): Promise<void> {
  const producer = client.producer()
  const value = Buffer.alloc(SIZE, 'x')
  for (let sent = 0; sent < records; sent += 1) {
    // Whoever waits is flush.
    producer.enqueue(topic, { value }).catch(() => undefined)
    if (sent % 256 === 0) await producer.ready()
  }
  await producer.flush()
  await producer.close()
}

interface Measured {
  readonly rate: number
  readonly cpuMicros: number
}

/** Runs work that counts records, and says how many a second it has counted. */
async function measure(work: (onRecords: (count: number) => boolean) => Promise<void>): Promise<Measured> {
  let count = 0
  const cpu = process.cpuUsage()
  const startedAt = performance.now()
  let endedAt = startedAt
  await work((records) => {
    count += records
    if (count < RECORDS) return false
    endedAt = performance.now()
    return true
  })
  const used = process.cpuUsage(cpu)
  return { rate: (count / (endedAt - startedAt)) * 1_000, cpuMicros: (used.user + used.system) / count }
}

function consumerOf(client: Client, groupId: string, topic: string, sessionTimeoutMs?: number): Consumer {
  return client.consumer({ groupId, topics: topic, fromBeginning: true, sessionTimeoutMs })
}

/** A member in this process, which is to hang: of the group and topic of that name. */
async function runMember(words: string): Promise<void> {
  const { brokers, topic } = JSON.parse(words) as { brokers: string; topic: string }
  process.once('disconnect', () => process.exit(0))
  await consumerOf(connect({ brokers }), topic, topic, HANGING_SESSION_MS).run({ eachMessage: () => undefined })
}

async function readAll(client: Client, topic: string): Promise<Measured> {
  return measure(async (onRecords) => {
    for await (const batch of client.read(topic, { to: 'end' }).batches()) onRecords(batch.length)
  })
}

async function eachBatch(client: Client, topic: string, groupId: string): Promise<Measured> {
  await using consumer = consumerOf(client, groupId, topic)
  return await measure(async (onRecords) => {
    await new Promise<void>((resolve, reject) => {
      const running = consumer.run({
        eachBatch: ({ batch }) => {
          if (onRecords(batch.messages.length)) resolve()
        },
      })
      running.catch(reject)
    })
  })
}

async function eachMessage(client: Client, topic: string, groupId: string): Promise<Measured> {
  await using consumer = consumerOf(client, groupId, topic)
  return await measure(async (onRecords) => {
    await new Promise<void>((resolve, reject) => {
      const running = consumer.run({
        // Empty but for the counting.
        eachMessage: async () => {
          if (onRecords(1)) resolve()
        },
      })
      running.catch(reject)
    })
  })
}

function median(all: readonly number[]): number {
  return all.toSorted((a, b) => a - b)[Math.floor(all.length / 2)] ?? 0
}

async function throughput(client: Client): Promise<void> {
  await client.admin().createTopics({ topics: [{ topic: 'bench', numPartitions: 4 }] })
  await fill(client, 'bench', RECORDS)
  const found: Record<'read' | 'eachBatch' | 'eachMessage', Measured[]> = { read: [], eachBatch: [], eachMessage: [] }
  // In turn, so that what else the machine does meets all of them alike. The first round warms up.
  for (let round = 0; round <= ROUNDS; round += 1) {
    const measured = {
      read: await readAll(client, 'bench'),
      eachBatch: await eachBatch(client, 'bench', `batch-${round}`),
      eachMessage: await eachMessage(client, 'bench', `message-${round}`),
    }
    if (round === 0) continue
    found.read.push(measured.read)
    found.eachBatch.push(measured.eachBatch)
    found.eachMessage.push(measured.eachMessage)
  }
  for (const [name, all] of Object.entries(found)) {
    const rate = Math.round(median(all.map((one) => one.rate))).toLocaleString('en')
    const best = Math.round(Math.max(...all.map((one) => one.rate))).toLocaleString('en')
    const cpu = median(all.map(({ cpuMicros }) => cpuMicros)).toFixed(3)
    console.log(
      `${name.padEnd(14)} ${rate.padStart(11)} /s (best ${best.padStart(11)})   ${cpu} µs of this process's CPU each`,
    )
  }
  const parts = found.eachBatch.map(({ rate }, round) => rate / (found.read[round]?.rate ?? Infinity))
  console.log(`eachBatch : read, round by round: ${parts.map((part) => part.toFixed(2)).join(' ')}`)
}

/** When each partition was handled, by whom. */
interface Seen {
  readonly at: number
  readonly member: number
}

/** A record into every partition again and again, until told to stop. */
function trickle(client: Client, topic: string): () => Promise<void> {
  const producer = client.producer({ lingerMs: 0 })
  const value = Buffer.alloc(SIZE, 'x')
  const timer = setInterval(() => {
    for (let partition = 0; partition < MOVING_PARTITIONS; partition += 1) {
      producer.enqueue(topic, { partition, value }).catch(() => undefined)
    }
  }, TICK_MS)
  return async () => {
    clearInterval(timer)
    await producer.close()
  }
}

/** The longest time between two records of one partition that were both handled after `from`, or before and after it. */
function longestGap(seen: readonly Seen[], from: number): number {
  let longest = 0
  for (const [index, { at }] of seen.entries()) {
    const before = seen[index - 1]?.at
    if (before !== undefined && at >= from) longest = Math.max(longest, at - before)
  }
  return longest
}

/** A client in this process whose sockets can be closed under it. */
function frailClient(brokers: string): { client: Client; die: () => void } {
  const wires = new Set<Wire>()
  let isDead = false
  const transport: typeof systemTransport = {
    open(address, events) {
      const wire = systemTransport.open(isDead ? { host: '127.0.0.1', port: 1 } : address, events)
      wires.add(wire)
      return wire
    },
  }
  const client = connect({ brokers }, { ...systemEnvironment, transport })
  const die = (): void => {
    isDead = true
    for (const wire of wires) wire.destroy()
  }
  return { client, die }
}

/** Resolves when a condition holds; for a bench, looking again and again is good enough. */
async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => setTimeout(resolve, 2))
}

function shown(all: readonly number[]): string {
  return all.map((ms) => `${Math.round(ms)}`).join(' ')
}

async function moves(brokers: string, client: Client): Promise<void> {
  const joined: { moved: number; stayed: number }[] = []
  const died: number[] = []
  for (let round = 0; round < ROUNDS; round += 1) {
    const topic = `moving-${round}`
    await client.admin().createTopics({ topics: [{ topic, numPartitions: MOVING_PARTITIONS }] })
    const stop = trickle(client, topic)
    const seen = Array.from({ length: MOVING_PARTITIONS }, (): Seen[] => [])
    const frail = [0, 1, 2, 3].map(() => frailClient(brokers))
    const consumers = frail.map((one) => consumerOf(one.client, topic, topic))
    const start = async (member: number): Promise<void> =>
      consumers[member]?.run({
        eachMessage: async ({ partition }) => void seen[partition]?.push({ at: performance.now(), member }),
      })
    const sizes = (): (number | undefined)[] => consumers.map((one) => one.assignment().length)
    await Promise.all([0, 1, 2].map(start))
    await until(() =>
      sizes()
        .slice(0, 3)
        .every((size) => size === 20),
    )
    await new Promise((resolve) => setTimeout(resolve, 500))
    const firstOf = (partition: number, member: number, since: number): number =>
      seen[partition]?.find((one) => one.member === member && one.at >= since)?.at ?? Infinity
    const from = performance.now()
    await start(3)
    await until(() => sizes().every((size) => size === 15))
    const mine = new Set(consumers[3]?.assignment().map(({ partition }) => partition))
    await until(() => [...mine].every((partition) => firstOf(partition, 3, from) < Infinity))
    await new Promise((resolve) => setTimeout(resolve, 300))
    joined.push({
      moved: Math.max(...[...mine].map((partition) => firstOf(partition, 3, from) - from)),
      stayed: Math.max(...seen.map((all, partition) => (mine.has(partition) ? 0 : longestGap(all, from)))),
    })
    const diedAt = performance.now()
    frail[3]?.die()
    await until(() =>
      [...mine].every(
        (partition) => (seen[partition]?.at(-1)?.at ?? 0) > diedAt + 50 && seen[partition]?.at(-1)?.member !== 3,
      ),
    )
    died.push(
      Math.max(
        ...[...mine].map(
          (partition) =>
            (seen[partition]?.find(({ at, member }) => at > diedAt && member !== 3)?.at ?? Infinity) - diedAt,
        ),
      ),
    )
    await stop()
    await Promise.allSettled(frail.map((one) => one.client.close({ timeoutMs: 200 })))
  }
  console.log(
    `a 4th member over ${MOVING_PARTITIONS} partitions, ms from run() to the first record of its last partition: ${shown(joined.map(({ moved }) => moved))}`,
  )
  console.log(
    `   longest pause of a partition that stays, ms (a record every ${TICK_MS} ms): ${shown(joined.map(({ stayed }) => stayed))}`,
  )
  console.log(
    `a member whose sockets close, ms until the last of its 15 partitions is handled elsewhere: ${shown(died)}`,
  )
}

/** A member stops as a process does that gets no time any more: its connections stay open, and it says nothing. */
async function hangs(brokers: string, client: Client): Promise<void> {
  const took: number[] = []
  for (let round = 0; round < ROUNDS; round += 1) {
    const topic = `hanging-${round}`
    await client.admin().createTopics({ topics: [{ topic, numPartitions: MOVING_PARTITIONS }] })
    const stop = trickle(client, topic)
    const last = Array.from({ length: MOVING_PARTITIONS }, () => -Infinity)
    const consumers = [0, 1, 2].map(() => consumerOf(client, topic, topic, HANGING_SESSION_MS))
    const work = { eachMessage: (one: { partition: number }) => void (last[one.partition] = performance.now()) }
    await Promise.all(consumers.map((one) => one.run(work)))
    const child = fork(process.argv[1] ?? '', ['--member', JSON.stringify({ brokers, topic })])
    await until(() => consumers.every((one) => one.assignment().length === 15))
    await new Promise((resolve) => setTimeout(resolve, 1_000))
    const kept = new Set(consumers.flatMap((one) => one.assignment().map(({ partition }) => partition)))
    const gone = [...last.keys()].filter((partition) => !kept.has(partition))
    const from = performance.now()
    child.kill('SIGSTOP')
    const first = new Map<number, number>()
    await until(() => {
      for (const partition of gone) {
        const at = last[partition] ?? -Infinity
        if (at > from && !first.has(partition)) first.set(partition, at - from)
      }
      return first.size === gone.length
    })
    took.push(Math.max(...first.values()))
    child.kill('SIGKILL')
    await stop()
    await Promise.all(consumers.map((one) => one.close()))
  }
  console.log(
    `a member that is stopped (SIGSTOP), session ${HANGING_SESSION_MS} ms, ms until the last of its 15 partitions is handled elsewhere: ${shown(took)}`,
  )
}

async function main(): Promise<void> {
  const child: ChildProcess = fork(process.argv[1] ?? '', ['--broker'])
  try {
    const brokers = await new Promise<string>((resolve, reject) => {
      child.once('message', (message) => resolve(typeof message === 'string' ? message : ''))
      child.once('exit', (code) => reject(new Error(`the broker ended with ${String(code)}`)))
    })
    await using client = connect({ brokers })
    if (flags.only === undefined || flags.only === 'throughput') await throughput(client)
    if (flags.only === undefined || flags.only === 'moves') await moves(brokers, client)
    if (flags.only === undefined || flags.only === 'hangs') await hangs(brokers, client)
  } finally {
    child.disconnect()
  }
}

if (flags.broker) await runBroker()
else if (flags.member !== undefined) await runMember(flags.member)
else await main()
