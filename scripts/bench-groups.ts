// What groups cost a coordinator: commits a second of 1,000 groups, and 1,000 groups of 5 members each that do nothing but
// live, against a real broker in a process of its own. Run after a build: node dist/scripts/bench-groups.js [--groups N]
// [--members N] [--partitions N] [--seconds N] [--connections N] [--memory] [--json]

import { type ChildProcess, fork } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { startBroker } from '../broker/testing.ts'
import { Connection } from '../client/connection.ts'
import { systemEnvironment } from '../client/environment.ts'
import { connect } from '../client/client.ts'
import { errorCodeOf } from '../shared/errors.ts'
import type { ResponseOf } from '../shared/protocol/api.ts'

const { values: flags } = parseArgs({
  options: {
    groups: { type: 'string', default: '1000' },
    members: { type: 'string', default: '5' },
    partitions: { type: 'string', default: '1' },
    seconds: { type: 'string', default: '10' },
    connections: { type: 'string', default: '500' },
    memory: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    broker: { type: 'boolean', default: false },
  },
})
const GROUPS = Number(flags.groups)
const MEMBERS = Number(flags.members)
const PARTITIONS = Number(flags.partitions)
const SECONDS = Number(flags.seconds)
const CONNECTIONS = Number(flags.connections)
const SESSION_MS = 45_000
/** As the client has it: a third of the session. */
const HEARTBEAT_MS = 15_000

interface Member {
  readonly group: string
  readonly connection: Connection
  member: string
  generation: number
}

async function runBroker(): Promise<void> {
  const broker = await startBroker(flags.memory ? { dataDir: 'memory' } : {})
  process.on('message', () => process.send?.(process.cpuUsage()))
  process.send?.(broker.brokers)
  process.once('disconnect', () => {
    broker.stop().then(
      () => process.exit(0),
      () => process.exit(1),
    )
  })
}

function next<T>(child: ChildProcess): Promise<T> {
  return new Promise((resolve) => child.once('message', (message) => resolve(message as T)))
}

/** Microseconds of CPU that the broker has used so far. */
async function cpuOf(child: ChildProcess): Promise<number> {
  const answer = next<NodeJS.CpuUsage>(child)
  child.send('cpu')
  const { user, system } = await answer
  return user + system
}

async function openConnections(brokers: string): Promise<Connection[]> {
  const [host = '', port = ''] = brokers.split(':')
  const options = { clientId: 'bench', connectTimeoutMs: 10_000, requestTimeoutMs: 120_000 }
  const address = { host, port: Number(port) }
  const connections = Array.from(
    { length: CONNECTIONS },
    () => new Connection(systemEnvironment, { address, ...options }),
  )
  await Promise.all(connections.map(({ opened }) => opened))
  return connections
}

async function joinOnce(one: Member): Promise<ResponseOf<'joinGroup'>> {
  const { group, member, connection } = one
  const { body } = await connection.ask('joinGroup', {
    group,
    member,
    instance: undefined,
    protocolType: 'consumer',
    sessionTimeoutMs: SESSION_MS,
    rebalanceTimeoutMs: 60_000,
    protocols: [{ name: 'range', metadata: new Uint8Array(40) }],
    reason: undefined,
  })
  if (body.member !== '') one.member = body.member
  if (body.error === 0) one.generation = body.generation
  return body
}

/** All members get their ids, and then come in together: one round. */
async function settleGroup(members: readonly Member[]): Promise<void> {
  for (const member of members) await joinOnce(member)
  const joined = await Promise.all(members.map(joinOnce))
  await Promise.all(
    members.map(async (one, at) => {
      const answer = joined[at]
      if (answer === undefined || answer.error !== 0) throw new Error(`not in: ${answer?.message ?? ''}`)
      const assignments = answer.members.map(({ member }) => ({ member, assignment: new Uint8Array(40) }))
      const { group, member, generation } = one
      const nothing = { instance: undefined, protocolType: undefined, protocol: undefined }
      const { body } = await one.connection.ask('syncGroup', { group, member, generation, assignments, ...nothing })
      if (body.error !== 0) throw new Error(`no share: ${body.message ?? ''}`)
    }),
  )
}

async function makeGroups(connections: readonly Connection[]): Promise<Member[][]> {
  const names = Array.from({ length: GROUPS }, (_, number) => `group-${number}`)
  for (const group of names.slice(0, 1)) await connections[0]?.ask('findCoordinator', { groups: [group] })
  const groups = names.map((group, number) =>
    Array.from({ length: MEMBERS }, (_, at): Member => {
      const connection = connections[(number * MEMBERS + at) % connections.length]
      if (connection === undefined) throw new Error('there is no connection')
      return { group, connection, member: '', generation: -1 }
    }),
  )
  for (let at = 0; at < groups.length; at += 100) await Promise.all(groups.slice(at, at + 100).map(settleGroup))
  return groups
}

/** Every group has one commit under way, all the time. */
async function commitAll(groups: readonly (readonly Member[])[], seconds: number): Promise<number> {
  const deadline = performance.now() + seconds * 1_000
  let commits = 0
  await Promise.all(
    groups.map(async ([one]) => {
      if (one === undefined) return
      const { group, member, generation, connection } = one
      for (let offset = 0; performance.now() < deadline; offset += 1) {
        const partitions = Array.from({ length: PARTITIONS }, (_, partition) => {
          return { topic: 'orders', partition, offset, leaderEpoch: 0, metadata: '' }
        })
        const { body } = await connection.ask('commitOffsets', {
          group,
          member,
          instance: undefined,
          generation,
          partitions,
        })
        const failed = body.partitions.find(({ error }) => error !== 0)
        if (failed !== undefined) throw new Error(`${errorCodeOf(failed.error)}: ${failed.message ?? ''}`)
        commits += 1
      }
    }),
  )
  return commits
}

/** Every member lives, by heartbeats that wait. Resolves with how many were answered. */
async function idle(groups: readonly (readonly Member[])[], seconds: number): Promise<number> {
  const end = { isOver: false }
  let beats = 0
  for (const one of groups.flat()) {
    const beat = async (): Promise<void> => {
      const { group, member, generation, connection } = one
      while (!end.isOver) {
        // As members come at different times.
        const maxWaitMs = Math.round(HEARTBEAT_MS * (0.75 + 0.25 * Math.random()))
        const request = { group, member, instance: undefined, generation, maxWaitMs }
        const { body } = await connection.ask('heartbeat', request)
        if (body.error !== 0) throw new Error(`${errorCodeOf(body.error)}: ${body.message ?? ''}`)
        beats += 1
      }
    }
    beat().catch((error: unknown) => {
      if (!end.isOver) console.error(String(error))
    })
  }
  await sleep(seconds * 1_000)
  end.isOver = true
  return beats
}

async function measure(child: ChildProcess): Promise<void> {
  const brokers = await next<string>(child)
  const client = connect({ brokers })
  await client.admin().createTopics({ topics: [{ topic: 'orders', numPartitions: Math.max(1, PARTITIONS) }] })
  const connections = await openConnections(brokers)
  const madeAt = performance.now()
  const groups = await makeGroups(connections)
  const made = performance.now() - madeAt
  await commitAll(groups, 2)
  const cpuBefore = await cpuOf(child)
  const startedAt = performance.now()
  const commits = await commitAll(groups, SECONDS)
  const took = (performance.now() - startedAt) / 1_000
  const cpuOfCommits = (await cpuOf(child)) - cpuBefore
  // The heartbeats that begin all at once are not what idle means.
  const beating = idle(groups, SECONDS * 3 + 16)
  await sleep(16_000)
  const cpuBeforeIdle = await cpuOf(child)
  const idleAt = performance.now()
  await beating
  const idleSeconds = (performance.now() - idleAt) / 1_000
  const idleCpu = (await cpuOf(child)) - cpuBeforeIdle
  const result = {
    groups: GROUPS,
    members: GROUPS * MEMBERS,
    madeInSeconds: Number((made / 1_000).toFixed(2)),
    commitsPerSecond: Math.round(commits / took),
    offsetsPerSecond: Math.round((commits * PARTITIONS) / took),
    brokerMicrosecondsPerCommit: Number((cpuOfCommits / commits).toFixed(1)),
    idlePercentOfACore: Number((idleCpu / idleSeconds / 10_000).toFixed(2)),
  }
  console.log(flags.json ? JSON.stringify(result) : result)
  for (const connection of connections) connection.close()
  await client.close()
}

if (flags.broker) {
  await runBroker()
} else {
  const child = fork(new URL(import.meta.url), [...process.argv.slice(2), '--broker'])
  try {
    await measure(child)
  } finally {
    child.disconnect()
  }
}
