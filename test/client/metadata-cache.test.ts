// What the client remembers of the cluster, without sockets.

import { describe, expect, it } from 'vitest'
import { type AskMetadata, MetadataCache } from '../../client/metadata-cache.ts'
import { ERRORS } from '../../shared/errors.ts'
import type { ResponseOf } from '../../shared/protocol/api.ts'
import { timestampMs } from '../../shared/ids.ts'

type Response = ResponseOf<'metadata'>

function responseOf(topics: readonly string[], leader: number | undefined = 0): Response {
  return {
    cluster: 'c',
    controllerId: 0,
    brokers: [{ brokerId: 0, host: 'h', port: 1, rack: undefined }],
    topics: topics.map((topic) => ({
      error: topic === 'none' ? ERRORS.UNKNOWN_TOPIC_OR_PARTITION.number : 0,
      message: undefined,
      topic,
      topicId: undefined,
      isInternal: false,
      partitions: topic === 'none' ? [] : [1, 0].map((partition) => partitionOf(partition, leader)),
      batchBytesMax: undefined,
    })),
  }
}

function partitionOf(partition: number, leader: number | undefined): Response['topics'][number]['partitions'][number] {
  return { error: 0, partition, leader, leaderEpoch: 3, replicas: [0], inSyncReplicas: [0] }
}

/** A cache over a broker that answers when it is told to. */
function make(maxAgeMs = 1_000): {
  cache: MetadataCache
  asked: {
    topics: readonly string[]
    createMissing: boolean
    answer: (response: Response) => void
    fail: (error: Error) => void
  }[]
  time: { now: number }
} {
  const time = { now: 0 }
  const asked: ReturnType<typeof make>['asked'] = []
  const ask: AskMetadata = (topics, createMissing) =>
    new Promise((resolve, reject) => asked.push({ topics, createMissing, answer: resolve, fail: reject }))
  const clock = { now: () => timestampMs(0), monotonic: () => time.now }
  return { cache: new MetadataCache(clock, maxAgeMs, ask), asked, time }
}

describe('a metadata cache', () => {
  it('knows leaders and addresses by number, whatever the order of the answer', async () => {
    const { cache, asked } = make()
    const refreshed = cache.refresh(['t'], false)
    await expect.poll(() => asked.length).toBe(1)
    asked[0]?.answer(responseOf(['t']))
    await refreshed
    expect(cache.topic('t')?.partitions.map(({ partition }) => partition)).toEqual([0, 1])
    expect(cache.leaderOf('t', 1)).toEqual({ partition: 1, leader: 0, leaderEpoch: 3 })
    expect(cache.leaderOf('t', 2)).toBeUndefined()
    expect(cache.addressOf(0)).toEqual({ host: 'h', port: 1 })
    expect(cache.controllerId).toBe(0)
  })

  it('asks one request at a time, and gathers what is wanted meanwhile into the next', async () => {
    const { cache, asked } = make()
    const first = cache.refresh(['a'], false)
    const others = [cache.refresh(['b'], false), cache.refresh(['c'], true), cache.refresh(['b'], false)]
    await expect.poll(() => asked.length).toBe(1)
    asked[0]?.answer(responseOf(['a']))
    await first
    await expect.poll(() => asked.length).toBe(2)
    expect(asked[1]).toMatchObject({ topics: ['b', 'c'], createMissing: true })
    asked[1]?.answer(responseOf(['b', 'c']))
    await Promise.all(others)
    expect(asked).toHaveLength(2)
    expect(cache.topic('c')).toBeDefined()
  })

  it('tells all who waited of a failure, and asks again after it', async () => {
    const { cache, asked } = make()
    const first = cache.refresh(['a'], false)
    const second = cache.refresh(['b'], false)
    second.catch(() => undefined)
    await expect.poll(() => asked.length).toBe(1)
    asked[0]?.fail(new Error('broken'))
    await expect(first).rejects.toThrow('broken')
    await expect.poll(() => asked.length).toBe(2)
    asked[1]?.answer(responseOf(['b']))
    await second
    expect(cache.topic('b')).toBeDefined()
  })

  it('forgets a topic that the broker denies, and says why', async () => {
    const { cache, asked } = make()
    const refreshed = cache.refresh(['none'], false)
    await expect.poll(() => asked.length).toBe(1)
    asked[0]?.answer(responseOf(['none']))
    await refreshed
    expect(cache.topic('none')).toBeUndefined()
    expect(cache.refusalOf('none')).toMatchObject({ code: 'UNKNOWN_TOPIC_OR_PARTITION', topic: 'none' })
  })

  it('is stale after its age, and about what it never heard of', async () => {
    const { cache, asked, time } = make(1_000)
    expect(cache.isStale('t')).toBe(true)
    const refreshed = cache.refresh(['t'], false)
    await expect.poll(() => asked.length).toBe(1)
    asked[0]?.answer(responseOf(['t']))
    await refreshed
    time.now = 1_000
    expect(cache.isStale('t')).toBe(false)
    time.now = 1_001
    expect(cache.isStale('t')).toBe(true)
    expect(cache.topic('t')).toBeDefined()
  })

  it('refuses an answer whose partitions have gaps', async () => {
    const { cache, asked } = make()
    const refreshed = cache.refresh(['t'], false)
    refreshed.catch(() => undefined)
    await expect.poll(() => asked.length).toBe(1)
    const response = responseOf(['t'])
    const [topic] = response.topics
    if (topic !== undefined) asked[0]?.answer({ ...response, topics: [{ ...topic, partitions: [partitionOf(7, 0)] }] })
    await expect(refreshed).rejects.toMatchObject({ code: 'MALFORMED_FRAME' })
  })

  it('does not go back to an older leader, unless it is another topic of that name', async () => {
    const { cache, asked } = make()
    const learn = async (leader: number, leaderEpoch: number, topicId: string): Promise<void> => {
      const before = asked.length
      const refreshed = cache.refresh(['t'], false)
      await expect.poll(() => asked.length).toBe(before + 1)
      const response = responseOf(['t'], leader)
      const topics = response.topics.map((topic) => ({
        ...topic,
        topicId,
        partitions: topic.partitions.map((partition) => ({ ...partition, leaderEpoch })),
      }))
      asked[before]?.answer({ ...response, topics })
      await refreshed
    }
    const [one, other] = ['00000000-0000-4000-a000-000000000001', '00000000-0000-4000-a000-000000000002']
    await learn(1, 5, one)
    await learn(2, 4, one)
    expect(cache.leaderOf('t', 0)).toMatchObject({ leader: 1, leaderEpoch: 5 })
    await learn(2, 6, one)
    expect(cache.leaderOf('t', 0)).toMatchObject({ leader: 2, leaderEpoch: 6 })
    await learn(0, 1, other)
    expect(cache.leaderOf('t', 0)).toMatchObject({ leader: 0, leaderEpoch: 1 })
  })

  it('loses no added partition to a broker that has not heard of it yet', async () => {
    const { cache, asked } = make()
    const answerOf = (topicId: string, count: number): Response => {
      const [described, ...others] = responseOf(['t']).topics
      if (described === undefined) throw new Error('a topic was asked for')
      const partitions = Array.from({ length: count }, (_, partition) => partitionOf(partition, 0))
      return { ...responseOf([]), topics: [{ ...described, topicId, partitions }, ...others] }
    }
    const answers = [answerOf('a', 3), answerOf('a', 2), answerOf('b', 2)]
    const counts: (number | undefined)[] = []
    for (const [index, answer] of answers.entries()) {
      const refreshed = cache.refresh(['t'], false)
      await expect.poll(() => asked.length).toBe(index + 1)
      asked[index]?.answer(answer)
      await refreshed
      counts.push(cache.topic('t')?.partitions.length)
    }
    expect(counts).toEqual([3, 3, 2])
  })

  it('remembers the addresses of brokers that are named no more, and tells who listens of every answer', async () => {
    const { cache, asked } = make()
    let heard = 0
    const unlisten = cache.onLearned(() => (heard += 1))
    const learn = async (port: number): Promise<void> => {
      const before = asked.length
      const refreshed = cache.refresh([], false)
      await expect.poll(() => asked.length).toBe(before + 1)
      const brokers = [{ brokerId: 0, host: 'h', port, rack: undefined }]
      asked[before]?.answer({ ...responseOf([]), brokers })
      await refreshed
    }
    await learn(1)
    expect(cache.formerAddresses()).toEqual([])
    await learn(2)
    unlisten()
    await learn(2)
    expect(cache.addresses()).toEqual([{ host: 'h', port: 2 }])
    expect(cache.formerAddresses()).toEqual([{ host: 'h', port: 1 }])
    expect(heard).toBe(2)
  })
})
