// Clusters in virtual time: no figure here depends on how fast this machine is.

import { describe, expect, it } from 'vitest'
import { must } from '../../shared/assert.ts'
import { brokerId } from '../../shared/ids.ts'
import { ElectionCluster } from './election-cluster.ts'

const [one, two, three] = [1, 2, 3].map((id) => brokerId(id))

/** Three brokers, the preferred leaders taking turns. */
function rotating(partitions: number): number[][] {
  return Array.from({ length: partitions }, (_, at) => [0, 1, 2].map((step) => 1 + ((at + step) % 3)))
}

async function begun(seed: number, assignment: number[][], minInSyncReplicas = 2): Promise<ElectionCluster> {
  const cluster = new ElectionCluster(seed, assignment, minInSyncReplicas)
  cluster.fetchEveryMs = assignment.length > 100 ? 2_000 : 100
  await cluster.begin()
  return cluster
}

describe('a new topic', () => {
  it('is led by the first of each assignment, after one campaign each', async () => {
    const cluster = await begun(1, rotating(9))
    expect(cluster.leaders()).toEqual([one, two, three, one, two, three, one, two, three])
    await cluster.run(20_000)
    expect(cluster.campaigns).toHaveLength(9)
    const counted = cluster.broker(1).meter.seriesOf('tidemark_leader_campaigns_total')
    expect(counted.map((series) => [series.labels.reason, series.value()])).toEqual([['vacant', 3]])
  })
})

describe('a broker that is drained', () => {
  const drain = async (cluster: ElectionCluster, id: number, isDraining: boolean): Promise<void> => {
    const { coordinator } = cluster.broker(id)
    const self = coordinator.brokers().find((record) => record.brokerId === brokerId(id))
    const record = { ...must(self, 'it has joined'), isDraining }
    cluster.broker(id).process.run('drain', '', () => {
      coordinator.announce(record).catch((error: unknown) => expect(error).toBeUndefined())
    })
    await cluster.run(100)
  }

  it('leads nothing within seconds, and gets it back some time after that is over', async () => {
    const cluster = await begun(15, rotating(9))
    await cluster.run(5_000)
    await drain(cluster, 1, true)
    expect(await cluster.until(() => !cluster.leaders().includes(one))).toBeLessThan(2_500)
    await cluster.run(60_000)
    expect(cluster.leaders()).toEqual([two, two, three, two, two, three, two, two, three])
    await drain(cluster, 1, false)
    expect(await cluster.until(() => cluster.leaders().filter((id) => id === one).length === 3)).toBeLessThan(36_000)
  })

  it('leads nothing for long when another one dies', async () => {
    const cluster = await begun(16, rotating(9))
    await cluster.run(5_000)
    await drain(cluster, 1, true)
    await cluster.run(5_000)
    cluster.broker(2).kill()
    expect(await cluster.until(() => cluster.isLed())).toBeLessThan(300)
    await cluster.run(5_000)
    expect(new Set(cluster.leaders())).toEqual(new Set([three]))
  })

  it('leads what it is the only one to have', async () => {
    const cluster = await begun(17, [[1], [1, 2]], 1)
    await cluster.run(5_000)
    await drain(cluster, 1, true)
    await cluster.run(10_000)
    expect(cluster.leaders()).toEqual([one, two])
  })
})

describe('a leader whose process died', () => {
  it('is replaced long before its session is over', async () => {
    const cluster = await begun(2, rotating(9))
    await cluster.run(5_000)
    cluster.broker(1).kill()
    const tookMs = await cluster.until(() => cluster.isLed())
    expect(tookMs).toBeLessThan(200)
    expect(cluster.campaigns).toHaveLength(12)
    expect(cluster.broker(2).coordinator.sessionOf(brokerId(1))).toBeUndefined()
  })

  it('is replaced within 200 ms whatever the moment', async () => {
    const figures: number[] = []
    for (let seed = 100; seed < 140; seed += 1) {
      const cluster = await begun(seed, rotating(3))
      await cluster.run(1_000 + seed * 7)
      cluster.broker(1 + (seed % 3)).kill()
      figures.push(await cluster.until(() => cluster.isLed()))
    }
    expect(Math.max(...figures)).toBeLessThan(200)
  })

  it('that is back at once leads again', async () => {
    const cluster = await begun(3, [[1, 2, 3]])
    await cluster.run(5_000)
    cluster.broker(1).kill()
    cluster.broker(1).start()
    await cluster.until(() => cluster.isLed())
    await cluster.run(60_000)
    expect(cluster.leaders()).toEqual([one])
  })

  it('is not declared dead by one alone who cannot reach it', async () => {
    const cluster = await begun(4, [[1, 2, 3]])
    await cluster.run(5_000)
    cluster.cut(1, 2)
    await cluster.run(30_000)
    expect(cluster.leaders()).toEqual([one])
    expect(cluster.campaigns).toHaveLength(1)
  })
})

describe('a replica that has lost records to damage', () => {
  const damage = (cluster: ElectionCluster, id: number, hasHoles = true): void => {
    cluster.broker(id).diskOf(0).log.hasHoles = hasHoles
  }

  it('hands over to one that has them, and leads again some time after it has them back', async () => {
    const cluster = await begun(21, [[1, 2, 3]])
    await cluster.run(5_000)
    damage(cluster, 1)
    damage(cluster, 2)
    expect(await cluster.until(() => cluster.agreedLeaders(1)[0] === three)).toBeLessThan(3_000)
    await cluster.run(120_000)
    expect(cluster.leaders()).toEqual([three])
    expect(cluster.campaigns).toHaveLength(2)
    damage(cluster, 1, false)
    await cluster.until(() => cluster.leaders()[0] === one)
  })

  it('goes on leading when all others lack some, too', async () => {
    const cluster = await begun(22, [[1, 2, 3]])
    for (const id of [1, 2, 3]) damage(cluster, id)
    await cluster.run(120_000)
    expect(cluster.leaders()).toEqual([one])
    expect(cluster.campaigns).toHaveLength(1)
  })

  it('lets others try first where a leader has died, and leads when there is none', async () => {
    const cluster = await begun(23, [[3, 1, 2]])
    await cluster.run(5_000)
    damage(cluster, 1)
    cluster.broker(3).kill()
    await cluster.until(() => cluster.isLed())
    expect(cluster.leaders()).toEqual([two])
    cluster.broker(3).start()
    await cluster.until(() => cluster.broker(3).hasJoined)
    await cluster.run(5_000)
    damage(cluster, 3)
    cluster.broker(2).kill()
    await cluster.until(() => cluster.isLed())
    expect(cluster.leaders()[0]).not.toBe(two)
  })
})

describe('a leader that hangs', () => {
  it('is replaced when its session is over, after the lock delay', async () => {
    const cluster = await begun(5, rotating(9))
    await cluster.run(5_000)
    cluster.broker(1).process.pause(30_000)
    const isReplaced = (): boolean => cluster.agreedLeaders(2).every((leader) => leader !== one)
    const tookMs = await cluster.until(isReplaced)
    expect(tookMs).toBeGreaterThan(4_500 + 1_000)
    expect(tookMs).toBeLessThan(6_000 + 200 + 1_000 + 200 + 300 + 200)
    await cluster.run(60_000)
    expect(cluster.isLed()).toBe(true)
  })

  it('and its hundreds of partitions are led again within the lease and five seconds', async () => {
    const cluster = await begun(6, rotating(400))
    await cluster.run(2_000)
    cluster.fences.length = 0
    cluster.broker(1).process.pause(60_000)
    const isReplaced = (): boolean => cluster.agreedLeaders(2).every((leader) => leader !== one)
    expect(await cluster.until(isReplaced)).toBeLessThan(6_000 + 5_000)
    // 134 partitions, half of them tried by each of the other two, in few turns.
    const turns = new Set(cluster.fences.map(({ from, to, atMs }) => `${from} ${to} ${atMs}`))
    expect(turns.size).toBeLessThan(20)
  })
})

describe('a leader whose disk failed', () => {
  it('is replaced though its broker lives, once it has said often enough that it does not lead', async () => {
    const cluster = await begun(14, rotating(3))
    await cluster.run(5_000)
    cluster.broker(1).replicas.get(0)?.step({ kind: 'disk-failed' })
    const tookMs = await cluster.until(() => cluster.isLed())
    expect(tookMs).toBeGreaterThan(1_000)
    expect(tookMs).toBeLessThan(4_000)
    await cluster.run(60_000)
    expect(cluster.campaigns).toHaveLength(4)
  })
})

describe('a thousand leaders in a process that died', () => {
  it('are replaced within a second, in few turns', async () => {
    const cluster = await begun(7, rotating(1_000))
    await cluster.run(2_000)
    cluster.fences.length = 0
    cluster.broker(1).kill()
    expect(await cluster.until(() => cluster.isLed())).toBeLessThan(1_000)
    const turns = new Set(cluster.fences.map(({ from, to, atMs }) => `${from} ${to} ${atMs}`))
    expect(turns.size).toBeLessThan(20)
  })
})

describe('while Redis is away', () => {
  it('leaders stay, however long it takes, and when it is back', async () => {
    const cluster = await begun(8, rotating(9))
    await cluster.run(5_000)
    cluster.redis.goDown()
    await cluster.run(60_000)
    cluster.redis.comeUp()
    await cluster.run(60_000)
    expect(cluster.leaders()).toEqual([one, two, three, one, two, three, one, two, three])
    expect(cluster.campaigns.slice(9)).toEqual([])
  })

  it('nobody is elected in place of a dead leader; soon after it is back somebody is', async () => {
    const cluster = await begun(9, rotating(9))
    await cluster.run(5_000)
    cluster.redis.goDown()
    await cluster.run(3_000)
    cluster.broker(1).kill()
    await cluster.run(30_000)
    expect(cluster.campaigns).toHaveLength(9)
    cluster.redis.comeUp()
    expect(await cluster.until(() => cluster.isLed())).toBeLessThan(15_000)
  })

  it('and forgets everything, leaders stay', async () => {
    const cluster = await begun(10, rotating(9))
    await cluster.run(5_000)
    cluster.redis.goDown()
    await cluster.run(10_000)
    cluster.redis.comeUp(new Map())
    await cluster.run(60_000)
    expect(cluster.leaders()).toEqual([one, two, three, one, two, three, one, two, three])
    expect(cluster.campaigns.length).toBeLessThan(12)
  })
})

describe('a planned stop', () => {
  it('hands everything over before it is done', async () => {
    const cluster = await begun(11, rotating(30))
    await cluster.run(5_000)
    let isDone = false
    const broker = cluster.broker(1)
    broker.process.run('stop', '', () => void broker.elector.prepareStop().then(() => (isDone = true)))
    expect(await cluster.until(() => isDone)).toBeLessThan(500)
    expect(cluster.leaders()).not.toContain(one)
    expect(cluster.isLed()).toBe(true)
    const campaigns = cluster.campaigns.length
    broker.kill()
    await cluster.run(20_000)
    expect(cluster.campaigns).toHaveLength(campaigns)
  })

  it('leaves what nobody can take over', async () => {
    const cluster = await begun(12, [[1, 2, 3], [1]], 1)
    await cluster.run(5_000)
    let isDone = false
    const broker = cluster.broker(1)
    broker.process.run('stop', '', () => void broker.elector.prepareStop().then(() => (isDone = true)))
    expect(await cluster.until(() => isDone)).toBeLessThan(5_500)
    expect(cluster.leaderOf(1)).toBe(one)
  })
})

describe('the preferred leader', () => {
  it('leads again some time after it has come back, and then nothing moves any more', async () => {
    const cluster = await begun(13, rotating(9))
    await cluster.run(5_000)
    cluster.broker(1).kill()
    await cluster.until(() => cluster.isLed())
    cluster.broker(1).start()
    await cluster.run(25_000)
    expect(cluster.leaders()).not.toContain(one)
    await cluster.run(60_000)
    expect(cluster.leaders()).toEqual([one, two, three, one, two, three, one, two, three])
    const { length } = cluster.campaigns
    await cluster.run(300_000)
    expect(cluster.campaigns).toHaveLength(length)
  })
})

describe('whatever happens', () => {
  it.each(Array.from({ length: 8 }, (_, at) => 1_000 + at))(
    'everything is led in the end, and nothing moves any more (seed %i)',
    async (seed) => {
      const cluster = await begun(seed, [...rotating(6), [2, 3], seed % 2 === 0 ? [3] : [3, 1]], seed % 2 === 0 ? 1 : 2)
      const { random } = cluster
      for (let step = 0; step < 12; step += 1) {
        await cluster.run(random.integer(8_000))
        const broker = cluster.broker(1 + random.integer(3))
        const what = random.integer(6)
        if (what === 0 && broker.process.isAlive) broker.process.pause(random.integer(12_000))
        else if (what === 1) cluster.redis.goDown()
        else if (what === 2) cluster.redis.comeUp()
        else if (broker.process.isAlive) broker.kill()
        else broker.start()
      }
      cluster.redis.healAll()
      for (const broker of cluster.brokers.values()) if (!broker.process.isAlive) broker.start()
      await cluster.until(() => cluster.isLed())
      await cluster.run(120_000)
      const { length } = cluster.campaigns
      await cluster.run(60_000)
      expect(cluster.campaigns).toHaveLength(length)
      expect(cluster.isLed()).toBe(true)
    },
  )
})
