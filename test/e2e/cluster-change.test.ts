// Brokers in processes of their own whose work is given to others while records are written: drained, moved, taken away for
// good. Needs the built command.

import { expect, it, vi } from 'vitest'
import { anomaliesOf, Load, readAll } from '../setup/cluster-load.ts'
import { run } from '../cli/tidemark-process.ts'
import { makeTopic, onStage, type Stage } from '../setup/cluster-stage.ts'
import { inSync, leaderOf } from '../setup/cluster-state.ts'
import { describeWithRedis } from '../setup/redis.ts'

const topic = 't'
/** Brokers come, go and copy; on a machine with other work that takes its time. */
vi.setConfig({ testTimeout: 90_000 })

async function leadersOf({ client }: Stage): Promise<(number | undefined)[]> {
  const { partitions } = await client.admin().describeTopic(topic)
  return partitions.map(({ leader }) => leader)
}

/** Begins when the brokers have heard of one another. */
async function move({ client }: Stage, partition: number, replicas: readonly number[]): Promise<void> {
  const moves = [{ topic, partition, replicas }]
  const begin = () =>
    client
      .admin()
      .movePartitions({ moves })
      .then(() => 'begun', String)
  await expect.poll(begin, { timeout: 5_000 }).toBe('begun')
}

/** As one broker says; another one may hear of it a moment later. Where a move is under way, that stands behind it. */
async function rowOf({ client }: Stage, partition: number): Promise<string> {
  const { partitions } = await client.admin().describeTopic(topic)
  const { replicas = [], movingTo } = partitions[partition] ?? {}
  return movingTo === undefined ? replicas.join(',') : `${replicas.join(',')} to ${movingTo.join(',')}`
}

/** Resolves when the partition is there and nowhere else. */
async function untilAt(stage: Stage, partition: number, to: readonly number[]): Promise<void> {
  await expect.poll(() => rowOf(stage, partition), { timeout: 25_000 }).toBe(to.join(','))
}

/** Nothing that was acknowledged is gone, and nothing is there twice. */
async function expectWhole(stage: Stage, load: Load): Promise<void> {
  await load.more(100)
  await load.stop()
  expect(load.failed).toEqual([])
  expect(anomaliesOf(load, await readAll(stage.client, topic))).toEqual([])
}

function beginLoad({ client }: Stage, partitions: number): Load {
  return new Load(client, { topic, partitions, writers: 3, burst: 3, pauseMs: 2, valueBytes: 500 })
}

async function checkOf({ client }: Stage, name: string): Promise<string> {
  const { checks } = await client.admin().describeCluster()
  return checks.find((check) => check.name === name)?.detail ?? ''
}

describeWithRedis('a broker that is drained', () => {
  it('leads nothing soon, nothing is lost, and a restart does not change it', () =>
    onStage(async (stage) => {
      const { client, cluster } = stage
      const admin = client.admin()
      await makeTopic(stage, 6)
      const load = new Load(client, { topic, partitions: 6, writers: 6, burst: 3, pauseMs: 2 })
      await load.more(300)
      expect(await leadersOf(stage)).toContain(1)
      await admin.drainBroker(1)
      const areOthers = async (): Promise<boolean> => (await leadersOf(stage)).every((id) => id === 2 || id === 3)
      await expect.poll(areOthers, { timeout: 15_000 }).toBe(true)
      expect(await checkOf(stage, 'brokers')).toBe('3 there, none away; drained: 1')
      await load.more(300)
      await load.stop()
      expect(load.failed).toEqual([])
      expect(anomaliesOf(load, await readAll(client, topic))).toEqual([])

      // What is made now goes to the others, and no further than they reach.
      await admin.createTopics({ topics: [{ topic: 'u', numPartitions: 2, replicationFactor: 2 }] })
      const made = await admin.describeTopic('u')
      expect(made.partitions.map(({ replicas }) => replicas.toSorted((a, b) => a - b))).toEqual([
        [2, 3],
        [2, 3],
      ])
      await expect(
        admin.createTopics({ topics: [{ topic: 'v', numPartitions: 1, replicationFactor: 3 }] }),
      ).rejects.toThrow(
        'replication factor 3 is not possible: there are 2 brokers besides 1, which get none while they are drained',
      )

      expect(await cluster.stop(1)).toBe(0)
      await cluster.restart(1)
      await expect
        .poll(() => checkOf(stage, 'brokers'), { timeout: 10_000 })
        .toContain('3 there, none away; drained: 1')
      await admin.undrainBroker(1)
      await expect.poll(() => checkOf(stage, 'brokers'), { timeout: 10_000 }).toBe('3 there, none away')
    }))

  it('keeps what nobody else can lead', () =>
    onStage(async (stage) => {
      const admin = stage.client.admin()
      await admin.createTopics({ topics: [{ topic, numPartitions: 3, replicationFactor: 1 }] })
      const before = await leadersOf(stage)
      await admin.drainBroker(2)
      await expect.poll(() => checkOf(stage, 'brokers')).toContain('drained: 2')
      expect(await leadersOf(stage)).toEqual(before)
      await expect(admin.drainBroker(9)).rejects.toThrow('there is no broker 9 at the moment; there are: 1, 2, 3')
    }))
})

describeWithRedis('a broker that has come back with an empty disk', () => {
  it('is named at once, with what to do', () =>
    onStage(async (stage) => {
      const { cluster, client } = stage
      await makeTopic(stage)
      await cluster.kill(2)
      await cluster.wipe(2)
      await cluster.restart(2)
      const reason = async (): Promise<string> => {
        const { partitions } = await client.admin().describeTopic(topic)
        return partitions[0]?.reason ?? ''
      }
      const said = 'broker 2 has another data directory than t-0 was made with'
      await expect.poll(() => checkOf(stage, 'disks'), { timeout: 2_000 }).toContain(said)
      await expect
        .poll(reason, { timeout: 2_000 })
        .toMatch(/has another data directory than t-0 .*`tidemark broker readmit 2`/)
    }))
})

describeWithRedis('a partition that moves', () => {
  it('is on a new broker soon, and its records are gone from the old one', () =>
    onStage(async (stage) => {
      const { client, cluster } = stage
      const id = await makeTopic(stage, 3)
      const load = beginLoad(stage, 3)
      await load.more(300)
      await cluster.add(4)
      const { partitions } = await client.admin().describeTopic(topic)
      const [first = 0, second = 0, third = 0] = partitions[0]?.replicas ?? []
      // The leader is the one that goes.
      const to = [4, second, third]
      await move(stage, 0, to)
      await untilAt(stage, 0, to)
      await expect.poll(() => cluster.logBytes(first, id, 0), { timeout: 15_000 }).toBeUndefined()
      expect(await leaderOf(client.admin(), topic, { besides: first })).not.toBe(first)
      await inSync(client.admin(), topic, 3)
      await expectWhole(stage, load)
      await expect.poll(() => checkOf(stage, 'moves')).toBe('none under way')
    }))

  it.each(['leader', 'newcomer'] as const)('comes about although the %s is killed meanwhile', (who) =>
    onStage(async (stage) => {
      const { client, cluster } = stage
      await makeTopic(stage)
      const load = beginLoad(stage, 1)
      await load.more(2_000)
      await cluster.add(4)
      const leader = await leaderOf(client.admin(), topic)
      const to = [1, 2, 3, 4].filter((id) => id !== (leader % 3) + 1)
      await move(stage, 0, to)
      const killed = who === 'leader' ? leader : 4
      await load.more(50)
      await cluster.kill(killed)
      await load.more(200)
      await cluster.restart(killed)
      await untilAt(stage, 0, to)
      await inSync(client.admin(), topic, 3)
      await expectWhole(stage, load)
    }),
  )

  it('is where it was, or where it was to go, when it is called off', () =>
    onStage(async (stage) => {
      const { client, cluster } = stage
      const admin = client.admin()
      await makeTopic(stage)
      const before = (await admin.describeTopic(topic)).partitions[0]?.replicas
      const load = beginLoad(stage, 1)
      await cluster.add(4)
      await move(stage, 0, [1, 2, 4])
      // It may be too late for it.
      await admin.movePartitions({ moves: [{ topic, partition: 0, replicas: [] }] }).catch(() => undefined)
      const ends = [before?.join(','), '1,2,4']
      await expect.poll(async () => ends.includes(await rowOf(stage, 0)), { timeout: 25_000 }).toBe(true)
      await expectWhole(stage, load)
      await inSync(admin, topic, 3)
    }))
})

describeWithRedis('a broker that is taken away for good', () => {
  it('holds nothing in the end, and may be stopped', () =>
    onStage(async (stage) => {
      const { client, cluster } = stage
      await makeTopic(stage, 3)
      const load = beginLoad(stage, 3)
      await load.more(200)
      await cluster.add(4)
      await expect.poll(() => checkOf(stage, 'brokers')).toContain('4 there')
      const { code, stderr } = await run(['broker', 'decommission', '2', '--wait', '-b', cluster.address(1)])
      expect(stderr).toContain('broker 2 holds nothing any more: it may be stopped for good')
      expect(code).toBe(0)
      await cluster.stop(2)
      await load.more(200)
      await expectWhole(stage, load)
      const { partitions } = await client.admin().describeTopic(topic)
      for (const { replicas } of partitions) expect(replicas.toSorted((a, b) => a - b)).toEqual([1, 3, 4])
    }))

  it('may be dead already', () =>
    onStage(async (stage) => {
      const { client, cluster } = stage
      const admin = client.admin()
      await makeTopic(stage, 3)
      const load = beginLoad(stage, 3)
      await load.more(200)
      await cluster.kill(2)
      await cluster.add(4)
      await expect.poll(() => checkOf(stage, 'brokers'), { timeout: 10_000 }).toBe('3 there; away, with replicas: 2')
      expect((await admin.decommissionBroker(2)).left).toBe(3)
      await expect.poll(() => checkOf(stage, 'brokers'), { timeout: 25_000 }).toBe('3 there, none away')
      await expectWhole(stage, load)
    }))
})

describeWithRedis('a disk that was replaced', () => {
  it('counts again when the partition has been moved to it', () =>
    onStage(async (stage) => {
      const { client, cluster } = stage
      const admin = client.admin()
      await makeTopic(stage)
      const load = beginLoad(stage, 1)
      await load.more(200)
      await cluster.kill(2)
      await cluster.wipe(2)
      await cluster.restart(2)
      const disks = () => checkOf(stage, 'disks')
      await expect.poll(disks, { timeout: 5_000 }).toContain('broker 2 has another data directory')
      const { code, stdout } = await run(['broker', 'readmit', '2', '--wait', '-b', cluster.address(1)])
      expect(stdout).toMatch(/^t +0 +\d,\d,\d +done$/m)
      expect(code).toBe(0)
      await expect.poll(disks, { timeout: 5_000 }).toContain('every broker is on')
      const again = await run(['broker', 'readmit', '2', '--wait', '-b', cluster.address(1)])
      expect(again.stderr).toContain('nothing to do')
      expect(again.code).toBe(0)
      await inSync(admin, topic, 3)
      // What is added begins on the new disk.
      await admin.addPartitions({ topic, partitions: 2 })
      await inSync(admin, topic, 3, 1)
      // Two of three: the new one is needed.
      await cluster.kill(3)
      await load.more(100)
      await expectWhole(stage, load)
    }))
})

describeWithRedis('a partition whose other replicas are gone for good', () => {
  it('goes on with what one replica has when somebody says so, and gets its others back', () =>
    onStage(async (stage) => {
      const { client, cluster } = stage
      await makeTopic(stage)
      const load = beginLoad(stage, 1)
      await load.more(200)
      await load.stop()
      await inSync(client.admin(), topic, 3)
      for (const id of [1, 2]) {
        await cluster.kill(id)
        await cluster.wipe(id)
      }
      const recover = ['topic', 'recover', topic, '-p', '0', '-b', cluster.address(3)]
      const preview = async () => (await run(recover)).stderr
      await expect
        .poll(preview, { timeout: 15_000, interval: 500 })
        .toMatch(/these are missing: 1 \(away\), 2 \(away\)/)
      const { stderr, stdout } = await run(recover)
      expect(stderr).toContain('nothing was changed')
      expect(stdout).toMatch(/^3 +0 +\d+ +\d+ +false$/m)
      const accepted = await run([...recover, '--broker', '3', '--accept-data-loss'])
      expect(accepted.stdout).toMatch(/^3 +0 +\d+ +\d+ +true$/m)
      const again = new Load(client, { topic, writers: 1, name: 'after' })
      await again.more(20)
      for (const id of [1, 2]) await cluster.restart(id)
      await expect.poll(() => checkOf(stage, 'brokers'), { timeout: 10_000 }).toContain('3 there')
      await untilAt(stage, 0, [3])
      await move(stage, 0, [3, 1, 2])
      await untilAt(stage, 0, [3, 1, 2])
      await inSync(client.admin(), topic, 3)
      await again.stop()
      const content = await readAll(client, topic)
      expect(anomaliesOf(again, content).filter(({ kind }) => kind === 'lost')).toEqual([])
      expect(anomaliesOf(load, content).filter(({ kind }) => kind === 'lost')).toEqual([])
    }))
})
