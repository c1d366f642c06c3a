// A leader that serves followers: what a fetch is answered, when, and what it costs while it waits.

import { describe, expect, it } from 'vitest'
import type { ReplicaFetchResult } from '../../broker/replication/replica-fetch.ts'
import { DelayedOperations } from '../../broker/replication/delayed-operations.ts'
import { ReplicaFetchRequests } from '../../broker/replication/replica-fetch.ts'
import { errorCodeOf } from '../../shared/errors.ts'
import { REPLICA_FETCH_ANSWERS } from '../../shared/protocol/peers.ts'
import { recordsIn } from '../storage/log-fixture.ts'
import { Brokers, type BrokersOptions, type FetchMessage, ONE, settle, TOPIC, TWO } from './replica-brokers.ts'

interface AskedOptions {
  readonly partitions?: readonly number[]
  readonly from?: number
  readonly maxWaitMs?: number
  readonly maxBytes?: number
  readonly leaderEpoch?: number
  readonly topicId?: string
  readonly highWatermark?: number
  readonly isSuspect?: boolean
}

/** A leader that is asked by the test, as broker 2, which itself asks for nothing. */
class Leader {
  readonly brokers: Brokers
  looks = 0
  readonly requests: ReplicaFetchRequests

  constructor(brokers: Brokers, waitsMax = 1_000) {
    this.brokers = brokers
    const { time } = brokers
    const broker = brokers.of(ONE)
    this.requests = new ReplicaFetchRequests({
      find: (topic, partition) => {
        this.looks += 1
        return topic === TOPIC ? broker.replicas[partition] : undefined
      },
      delayed: new DelayedOperations({ clock: time, timers: time, countMax: waitsMax }),
      clock: time,
    })
  }

  static async start(options: BrokersOptions & { readonly waitsMax?: number } = {}): Promise<Leader> {
    const brokers = await Brokers.start(options)
    await brokers.elect(ONE)
    const { fetcher, carrier } = brokers.of(TWO)
    fetcher.close()
    carrier.cut(ONE)
    carrier.connect(ONE)
    await settle()
    return new Leader(brokers, options.waitsMax)
  }

  get broker() {
    return this.brokers.of(ONE)
  }

  message(options: AskedOptions = {}): FetchMessage {
    const { partitions = [0], from = 1, maxWaitMs = 500, maxBytes = 1_000_000 } = options
    const { leaderEpoch = 0, topicId = TOPIC, highWatermark = 1, isSuspect = false } = options
    return {
      brokerId: TWO,
      directoryId: 'disk-2',
      incarnation: 1,
      maxWaitMs,
      maxBytes,
      partitions: partitions.map((partition) => ({
        topicId,
        partition,
        leaderEpoch,
        fetchOffset: from,
        lastFetchedEpoch: 0,
        heldEndOffset: from,
        highWatermark,
        isSuspect,
        hasHoles: undefined,
        copiedSince: undefined,
      })),
    }
  }

  ask(options: AskedOptions = {}): Asked {
    const asked = new Asked()
    asked.pending = this.requests.replicaFetch(
      this.message(options),
      (results) => asked.results.push(results),
      (isReading) => asked.reading.push(isReading),
    )
    return asked
  }
}

class Asked {
  readonly results: (readonly ReplicaFetchResult[])[] = []
  readonly reading: boolean[] = []
  pending: { cancel(): void } | undefined

  get isAnswered(): boolean {
    return this.results.length > 0
  }

  /** Place, kind and values of every partition that the answer names, in the order of their places. */
  get said(): [number, string, string[]][] {
    const results = (this.results[0] ?? []).toSorted((one, other) => one.answer.index - other.answer.index)
    return results.map(({ answer, records }) => {
      const kind = Object.entries(REPLICA_FETCH_ANSWERS).find(([, number]) => number === answer.answer)?.[0] ?? '?'
      const what = answer.error === 0 ? kind : errorCodeOf(answer.error)
      return [answer.index, what, recordsIn(records?.bytes ?? new Uint8Array(0)).map(([, value]) => value)]
    })
  }

  release(): void {
    for (const { records } of this.results[0] ?? []) records?.release()
  }
}

describe('a fetch of a follower', () => {
  it('is answered at once with what is there, shown or not', async () => {
    const leader = await Leader.start({ minInSyncReplicas: 2 })
    leader.broker.append(['one'])
    leader.broker.append(['two'])
    await settle()
    const asked = leader.ask()
    expect(asked.said).toEqual([[0, 'records', ['one', 'two']]])
    expect(asked.results[0]?.[0]?.answer).toMatchObject({ highWatermark: 1, logStartOffset: 0, offset: 3 })
    asked.release()
    expect(leader.broker.slices).toBe(0)
  })

  it('waits when there is nothing, and is woken by one append', async () => {
    const leader = await Leader.start()
    const asked = leader.ask()
    await settle()
    expect(asked.isAnswered).toBe(false)
    leader.broker.append(['late'])
    await settle()
    expect(asked.said).toEqual([[0, 'records', ['late']]])
    expect(leader.broker.replica().partition.followers.isEmpty).toBe(true)
  })

  it('says nothing when the wait is over, and tells of a high watermark that has moved', async () => {
    const leader = await Leader.start({ minInSyncReplicas: 2 })
    const first = leader.ask({ highWatermark: 0 })
    leader.brokers.time.advance(499)
    expect(first.isAnswered).toBe(false)
    leader.brokers.time.advance(6)
    // The fetch itself has moved it: broker 2 holds the epoch's first record.
    expect(first.results[0]?.[0]?.answer).toMatchObject({ answer: 0, highWatermark: 1 })
    const second = leader.ask()
    leader.brokers.time.advance(505)
    expect(second.results).toEqual([[]])
  })

  it('counts as an acknowledgement', async () => {
    const leader = await Leader.start({ minInSyncReplicas: 2 })
    const append = leader.broker.produce(['kept'])
    await settle()
    expect(leader.broker.replica().partition.highWatermark).toBe(1)
    leader.ask({ from: 2 })
    expect((await append).refusal).toBeUndefined()
    expect(leader.broker.replica().partition.highWatermark).toBe(2)
  })

  it('counts from when it came, however late it is woken', async () => {
    const leader = await Leader.start({ minInSyncReplicas: 2 })
    const { time } = leader.brokers
    const replica = leader.broker.replica()
    const isFollowed = (): boolean => {
      replica.tick()
      return replica.state.isFollowed
    }
    time.advance(2_000)
    const asked = leader.ask({ from: 1, maxWaitMs: 2_000 })
    time.advance(1_900)
    expect(isFollowed()).toBe(true)
    leader.broker.append(['late'])
    await settle()
    expect(asked.isAnswered).toBe(true)
    time.advance(500)
    expect(isFollowed()).toBe(true)
    time.advance(200)
    expect(isFollowed()).toBe(false)
  })

  it('looks at what has been woken, not at a thousand partitions that wait beside it', async () => {
    const count = 1_000
    const leader = await Leader.start({ partitions: count })
    const partitions = Array.from({ length: count }, (_, index) => index)
    leader.looks = 0
    const asked = leader.ask({ partitions })
    expect(leader.looks).toBe(count)
    for (const index of [3, 997]) leader.broker.append([`to ${index}`], index)
    await settle()
    expect(asked.said).toEqual([
      [3, 'records', ['to 3']],
      [997, 'records', ['to 997']],
    ])
    expect(leader.looks).toBe(count + 2)
    for (const replica of leader.broker.replicas) expect(replica.partition.followers.isEmpty).toBe(true)
  })

  it('is refused for partitions that are not there, and only for these', async () => {
    const leader = await Leader.start()
    leader.broker.append(['here'])
    await settle()
    const asked = leader.ask({ partitions: [7, 0] })
    expect(asked.said).toEqual([
      [0, 'UNKNOWN_TOPIC_OR_PARTITION', []],
      [1, 'records', ['here']],
    ])
    for (const topicId of ['00000000-0000-4000-8000-00000000000f', 'no topic id']) {
      expect(leader.ask({ topicId }).said).toEqual([[0, 'UNKNOWN_TOPIC_OR_PARTITION', []]])
    }
  })

  it('is refused as a whole if what it says cannot be', async () => {
    const leader = await Leader.start()
    expect(() => leader.ask({ leaderEpoch: -1 })).toThrow(/a fetch of broker 2: leader epoch must be/)
    expect(leader.requests.unanswered).toBe(0)
  })

  it('is answered when its leader stands down while it waits', async () => {
    const leader = await Leader.start()
    const asked = leader.ask()
    await leader.brokers.elect(TWO)
    expect(asked.said).toEqual([[0, 'NOT_LEADER_OR_FOLLOWER', []]])
  })

  it('tells a follower of another epoch so at once', async () => {
    const leader = await Leader.start()
    expect(leader.ask({ leaderEpoch: 7 }).said).toEqual([[0, 'UNKNOWN_LEADER_EPOCH', []]])
    await leader.brokers.elect(TWO)
    await leader.brokers.elect(ONE)
    expect(leader.ask({ leaderEpoch: 0 }).said).toEqual([[0, 'FENCED_LEADER_EPOCH', []]])
  })

  it('tells a suspect at once that it holds everything again', async () => {
    const leader = await Leader.start()
    const asked = leader.ask({ isSuspect: true })
    expect(asked.results[0]?.[0]?.answer).toMatchObject({ answer: 0, clearsSuspect: true, highWatermark: 1 })
  })

  it('takes the first batch however long it is, and no further than its room', async () => {
    const leader = await Leader.start({ partitions: 2 })
    for (const partition of [0, 1]) {
      leader.broker.append(['x'.repeat(5_000)], partition)
      await settle()
      leader.broker.append(['y'.repeat(5_000)], partition)
      await settle()
    }
    const bytes = (maxBytes: number) => {
      const results = leader.ask({ partitions: [0, 1], maxBytes }).results[0] ?? []
      return results.flatMap(({ records }) => records?.bytes.length ?? [])
    }
    expect(bytes(100)).toEqual([5_070])
    expect(bytes(10_150)).toEqual([10_140])
    expect(bytes(15_300)).toEqual([10_140, 5_070])
  })

  it('begins with another partition each time, so that each gets its share', async () => {
    const leader = await Leader.start({ partitions: 3 })
    for (const partition of [0, 1, 2]) leader.broker.append(['x'.repeat(5_000)], partition)
    await settle()
    const first = [1, 2, 3].map(
      () => leader.ask({ partitions: [0, 1, 2], maxBytes: 5_070 }).results[0]?.[0]?.answer.index,
    )
    expect(new Set(first)).toEqual(new Set([0, 1, 2]))
  })

  it('reads what memory does not hold any more from the disk, and says that it does', async () => {
    const leader = await Leader.start({ partitions: 2, storage: { hotTailBytes: 0 } })
    for (const partition of [0, 1]) {
      for (const value of ['old', 'older']) {
        leader.broker.append([value], partition)
        await settle()
      }
    }
    const asked = leader.ask({ partitions: [0, 1] })
    expect(asked.reading).toEqual([true])
    await settle()
    expect(asked.said).toEqual([
      [0, 'records', ['old', 'older']],
      [1, 'records', ['old', 'older']],
    ])
    expect(asked.reading).toEqual([true, false])
    asked.release()
    expect(leader.broker.slices).toBe(0)
  })

  it('that was cancelled answers nothing and keeps nothing, be it waiting or reading', async () => {
    const leader = await Leader.start({ partitions: 2, storage: { hotTailBytes: 0 } })
    const waiting = leader.ask({ partitions: [0, 1] })
    waiting.pending?.cancel()
    for (const partition of [0, 1]) {
      leader.broker.append(['some'], partition)
      await settle()
    }
    const reading = leader.ask({ partitions: [0, 1] })
    reading.pending?.cancel()
    reading.pending?.cancel()
    await settle()
    leader.brokers.time.advance(1_000)
    expect([waiting.results, reading.results]).toEqual([[], []])
    expect(reading.reading).toEqual([true, false])
    expect(leader.broker.slices).toBe(0)
    expect(leader.requests.unanswered).toBe(0)
    for (const { partition } of leader.broker.replicas) expect(partition.followers.isEmpty).toBe(true)
  })

  it('gives nothing of another leader to a follower whose leader went while the disk was read', async () => {
    const leader = await Leader.start({ storage: { hotTailBytes: 0 } })
    leader.broker.append(['of the first leader'])
    await settle()
    const asked = leader.ask()
    leader.broker.replica().step({ kind: 'fence-received', candidate: TWO, epoch: 5 as never })
    await settle()
    expect(asked.said).toEqual([[0, 'NOT_LEADER_OR_FOLLOWER', []]])
    expect(leader.broker.slices).toBe(0)
  })

  it('is refused when too many wait already', async () => {
    const leader = await Leader.start({ waitsMax: 1 })
    leader.ask()
    expect(leader.ask().said).toEqual([[0, 'BROKER_OVERLOADED', []]])
  })

  it('waits no longer when the broker ends all waits', async () => {
    const leader = await Leader.start()
    const asked = leader.ask()
    leader.requests.endWaits()
    expect(asked.results).toEqual([[]])
    expect(leader.requests.unanswered).toBe(0)
  })
})
