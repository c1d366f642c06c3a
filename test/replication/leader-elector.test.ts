// Clusters in virtual time: no figure here depends on how fast this machine is.

import { describe, expect, it } from 'vitest'
import { brokerId } from '../../shared/ids.ts'
import { ElectionCluster } from './election-cluster.ts'

const [one, two, three] = [1, 2, 3].map((id) => brokerId(id))

/** Three brokers, the preferred leaders taking turns. */
function rotating(partitions: number): number[][] {
  return Array.from({ length: partitions }, (_, at) => [0, 1, 2].map((step) => 1 + ((at + step) % 3)))
}

async function begun(seed: number, assignment: number[][], minInSyncReplicas = 2): Promise<ElectionCluster> {
  const cluster = new ElectionCluster(seed, assignment, minInSyncReplicas)
  await cluster.begin()
  return cluster
}

describe('a new topic', () => {
  it('is led by the first of each assignment, after one campaign each', async () => {
    const cluster = await begun(1, rotating(9))
    expect(cluster.leaders()).toEqual([one, two, three, one, two, three, one, two, three])
    await cluster.run(20_000)
    expect(cluster.campaigns).toHaveLength(9)
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
