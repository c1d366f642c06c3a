// Brokers in processes of their own whose work is given to others while records are written: drained, moved, taken away for
// good. Needs the built command.

import { expect, it } from 'vitest'
import { anomaliesOf, Load, readAll } from '../setup/cluster-load.ts'
import { makeTopic, onStage, type Stage } from '../setup/cluster-stage.ts'
import { describeWithRedis } from '../setup/redis.ts'

const topic = 't'

async function leadersOf({ client }: Stage): Promise<(number | undefined)[]> {
  const { partitions } = await client.admin().describeTopic(topic)
  return partitions.map(({ leader }) => leader)
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
      await expect.poll(() => leadersOf(stage), { timeout: 15_000 }).not.toContain(1)
      expect(await leadersOf(stage)).not.toContain(undefined)
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
        .toMatch(/has another data directory than t-0 .*`tidemark broker move --topic t --partition 0 --to /)
    }))
})
