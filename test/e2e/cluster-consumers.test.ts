// Groups of consumers on three brokers in processes of their own and a real Redis: a member that hangs, brokers that die under
// a consumer. Needs the built command.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { OFFSETS_TOPIC, partitionOfGroup } from '../../broker/groups/offsets-topic.ts'
import { string } from '../../client/serializers.ts'
import { checkGroups } from '../chaos/group-checker.ts'
import { GroupMembers, SESSION_MS } from '../chaos/group-members.ts'
import { History } from '../chaos/history.ts'
import { Load, readAll } from '../setup/cluster-load.ts'
import { inSync, leaderOf } from '../setup/cluster-state.ts'
import { makeTopic, onStage, type Stage } from '../setup/cluster-stage.ts'
import { describeWithRedis } from '../setup/redis.ts'

const topic = 't'
const PARTITIONS = 4
/** Beyond its session: what a busy machine may need. The figure itself is scripts/bench-consumer.ts's. */
const GENEROUS_MS = 10_000

const coordinatorOf = ({ client }: Stage, group: string): Promise<number> =>
  leaderOf(client.admin(), OFFSETS_TOPIC, { partition: partitionOfGroup(group, 16) })

describeWithRedis('a group on a cluster', () => {
  it(
    'goes on without a member that hangs when its session is over; what that one says when it wakes up is refused',
    { timeout: 60_000 },
    () =>
      onStage(async (stage) => {
        const { client, cluster } = stage
        await makeTopic(stage, PARTITIONS)
        const root = await mkdtemp(join(tmpdir(), 'tidemark-members-'))
        const history = new History()
        const load = new Load(client, { topic, partitions: PARTITIONS, writers: PARTITIONS, burst: 2, pauseMs: 10 })
        const plan = { name: 'g', assignor: 'cooperative-sticky', kinds: ['message', 'batch'] } as const
        const place = { topic, partitions: PARTITIONS, addresses: cluster.addresses, root }
        await using members = new GroupMembers({ plan, history, ...place })
        try {
          await members.progress(20_000)
          const ownersNow = (): Set<string> => {
            members.gather()
            return new Set(history.events.flatMap((event) => (event.op === 'handle' ? [event.process] : [])))
          }
          await expect.poll(() => ownersNow().size, { timeout: 20_000 }).toBe(2)
          members.pause(0)
          // All of it, so what the sleeper had is handled by the other.
          await members.progress(SESSION_MS + GENEROUS_MS)
          await members.commitAsZombie(0, GENEROUS_MS)
          members.resume(0)
          await members.progress(GENEROUS_MS)
          await load.stop()
          for (const [partition, records] of await readAll(client, topic)) {
            const read = records.map(({ offset, value }) => [partition, offset, value] as const)
            history.add({ op: 'poll', process: 'final', records: read })
          }
          await members.finish(20_000)
          const { anomalies, groups } = checkGroups(history.events)
          expect(anomalies).toEqual([])
          expect(groups['g']).toMatchObject({ zombiesRefused: 1 })
          expect(groups['g']?.handled).toBeGreaterThanOrEqual(load.acknowledged.length)
        } finally {
          await load.stop()
          await rm(root, { recursive: true, force: true })
        }
      }),
  )

  it(
    'loses nothing to a coordinator that is killed, nor to a leader of its partitions that is',
    { timeout: 60_000 },
    () =>
      onStage(async (stage) => {
        const { client, cluster } = stage
        const admin = client.admin()
        await makeTopic(stage, PARTITIONS)
        const handled = new Set<string>()
        const options = { groupId: 'g', topics: topic, fromBeginning: true, deserializers: { value: string } }
        const consumers = [1, 2].map(() => client.consumer({ ...options, sessionTimeoutMs: 6_000 }))
        await Promise.all(
          consumers.map((one) => one.run({ eachMessage: ({ message }) => void handled.add(message.value ?? '') })),
        )
        const load = new Load(client, { topic, partitions: PARTITIONS, writers: PARTITIONS, burst: 3, pauseMs: 5 })
        const allHandled = (): string[] => load.acknowledged.flatMap(({ value }) => (handled.has(value) ? [] : [value]))
        await load.more(200)
        for (const find of [() => coordinatorOf(stage, 'g'), () => leaderOf(admin, topic)]) {
          await inSync(admin, OFFSETS_TOPIC, 3, partitionOfGroup('g', 16))
          for (let partition = 0; partition < PARTITIONS; partition += 1) await inSync(admin, topic, 3, partition)
          const broker = await find()
          await cluster.kill(broker)
          await load.more(300, 30_000)
          await cluster.restart(broker)
          await load.more(100)
        }
        await load.stop()
        await expect.poll(allHandled, { timeout: 20_000 }).toEqual([])
        await Promise.all(consumers.map((one) => one.close()))
        const { partitions } = await admin.describeGroup('g')
        expect(partitions.map(({ lag }) => lag)).toEqual(Array.from({ length: PARTITIONS }, () => 0))
      }),
  )
})
