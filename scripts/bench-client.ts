// What the client costs: records a second of 100 bytes written by enqueue and read back, and sends a second that are
// awaited one by one, against a real broker in a process of its own. node dist/scripts/bench-client.js [--records N]
// [--size BYTES] [--compression CODEC] [--memory]

import { type ChildProcess, fork } from 'node:child_process'
import { parseArgs } from 'node:util'
import { startBroker } from '../broker/testing.ts'
import { connect } from '../client/client.ts'
import type { Client } from '../client/client.ts'
import { type Codec, CODECS } from '../shared/record-batch/format.ts'

const { values: flags } = parseArgs({
  options: {
    records: { type: 'string', default: '2000000' },
    size: { type: 'string', default: '100' },
    compression: { type: 'string', default: 'none' },
    memory: { type: 'boolean', default: false },
    broker: { type: 'boolean', default: false },
  },
})
const RECORDS = Number(flags.records)
const SIZE = Number(flags.size)
const COMPRESSION: Codec = CODECS.find((codec) => codec === flags.compression) ?? 'none'

function report(name: string, count: number, startedAt: number, cpuBefore: NodeJS.CpuUsage): void {
  const seconds = (performance.now() - startedAt) / 1_000
  const cpu = process.cpuUsage(cpuBefore)
  const perRecord = (cpu.user + cpu.system) / count
  const rate = Math.round(count / seconds).toLocaleString('en')
  console.log(`${name.padEnd(34)} ${rate.padStart(12)} /s   ${perRecord.toFixed(3)} µs of this process's CPU each`)
}

async function runBroker(): Promise<void> {
  const broker = await startBroker(flags.memory ? { dataDir: 'memory' } : {})
  process.send?.(broker.brokers)
  process.once('disconnect', () => {
    broker.stop().then(
      () => process.exit(0),
      () => process.exit(1),
    )
  })
}

async function produce(client: Client, name: string, key: Buffer | null, isAwaited: boolean): Promise<void> {
  const producer = client.producer({ compression: COMPRESSION })
  const value = Buffer.alloc(SIZE, 'x')
  await producer.send({ topic: 'bench', messages: [{ value }] })
  let pending: Promise<unknown>[] = []
  const cpu = process.cpuUsage()
  const startedAt = performance.now()
  for (let sent = 0; sent < RECORDS; sent += 1) {
    const record = producer.enqueue('bench', { key, value })
    if (isAwaited) pending.push(record)
    if (sent % 256 === 0) await producer.ready()
    if (pending.length >= 50_000) {
      await Promise.all(pending)
      pending = []
    }
  }
  await Promise.all(pending)
  await producer.flush()
  report(name, RECORDS, startedAt, cpu)
  await producer.close()
}

async function read(client: Client): Promise<void> {
  let cpu = process.cpuUsage()
  let startedAt = performance.now()
  let count = 0
  let bytes = 0
  for await (const message of client.read('bench', { to: 'end' })) {
    count += 1
    bytes += message.value?.length ?? 0
  }
  report(`read, for await (${Math.round(bytes / 1e6)} MB)`, count, startedAt, cpu)
  cpu = process.cpuUsage()
  startedAt = performance.now()
  count = 0
  for await (const batch of client.read('bench', { to: 'end' }).batches()) count += batch.length
  report('read, batches()', count, startedAt, cpu)
}

async function sendOneByOne(client: Client): Promise<void> {
  const producer = client.producer()
  const value = Buffer.alloc(SIZE, 'x')
  await producer.send({ topic: 'bench', messages: [{ value }] })
  const count = Math.min(20_000, RECORDS)
  const cpu = process.cpuUsage()
  const startedAt = performance.now()
  for (let sent = 0; sent < count; sent += 1) await producer.send({ topic: 'bench', messages: [{ value }] })
  report('send, awaited one by one', count, startedAt, cpu)
  const lanes = Array.from({ length: 100 }, async () => {
    for (let sent = 0; sent < count / 20; sent += 1) await producer.send({ topic: 'bench', messages: [{ value }] })
  })
  const lanesCpu = process.cpuUsage()
  const lanesStartedAt = performance.now()
  await Promise.all(lanes)
  report('send, awaited by 100 at once', count * 5, lanesStartedAt, lanesCpu)
  await producer.close()
}

async function main(): Promise<void> {
  const child: ChildProcess = fork(process.argv[1] ?? '', ['--broker', ...(flags.memory ? ['--memory'] : [])])
  try {
    const brokers = await new Promise<string>((resolve, reject) => {
      child.once('message', (message) => resolve(typeof message === 'string' ? message : ''))
      child.once('exit', (code) => reject(new Error(`the broker ended with ${String(code)}`)))
    })
    await using client = connect({ brokers })
    await client.admin().createTopics({ topics: [{ topic: 'bench', numPartitions: 1 }] })
    await produce(client, 'enqueue, nobody waits', null, false)
    await read(client)
    await produce(client, 'enqueue, every promise awaited', null, true)
    await produce(client, 'enqueue, with a key', Buffer.from('user-17'), false)
    await sendOneByOne(client)
  } finally {
    child.disconnect()
  }
}

await (flags.broker ? runBroker() : main())
