// What is said of topics whose leaders are hard to replace, and of figures that nobody has told.

import { describe, expect, it } from 'vitest'
import {
  electionWarnings,
  growthWarning,
  type Partition,
  type Topic,
  withWordOfLeaders,
} from '../../broker/commands/described-topics.ts'
import { offset } from '../../shared/ids.ts'
import { totalsOf, withKnownFigures } from '../../shared/partition-figures.ts'

const PARTITION: Partition = {
  partition: 0,
  leader: 1,
  leaderEpoch: 1,
  replicas: [1, 2, 3],
  inSyncReplicas: [1, 2, 3],
  logStartOffset: offset(2),
  highWatermark: offset(12),
  logEndOffset: offset(13),
  recoveryPoint: offset(10),
  segments: 1,
  bytes: 640,
  state: 'online',
  reason: undefined,
  quarantined: [],
  movingTo: undefined,
  figuresOf: 1,
  last: undefined,
}

function topic(minimum: number, ...replicas: readonly number[][]): Topic {
  return {
    topic: 'orders',
    error: 0,
    message: undefined,
    topicId: 'id',
    replicationFactor: undefined,
    config: [{ name: 'min.insync.replicas', value: `${minimum}`, isDefault: false, about: '' }],
    partitions: replicas.map((row, partition) => Object.assign({}, PARTITION, { partition, replicas: row })),
  }
}

const THREE = [1, 2, 3]

describe('a warning about elections', () => {
  it.each([
    ['three replicas of which two hold what is acknowledged', 2, THREE],
    ['one replica', 1, [1]],
    ['two replicas that both hold it', 2, [1, 2]],
    ['two of four', 2, [1, 2, 3, 4]],
  ])('is not given for %s', (_what, minimum, replicas) => {
    expect(electionWarnings([topic(minimum, replicas)])).toEqual([])
    expect(growthWarning(topic(minimum, replicas), 0, replicas.length)).toBeUndefined()
  })

  it('names the partitions that need more than the majority, once a topic, and what to do', () => {
    const [warning, ...others] = electionWarnings([topic(1, [1], THREE, THREE), topic(2, THREE)])
    expect(others).toEqual([])
    expect(warning).toMatch(
      /^warning: orders-1, orders-2: min\.insync\.replicas is 1, .* only when all 3 replicas are there; .*`tidemark topic create NEW -r 3 -c min\.insync\.replicas=2` makes one that needs 2 of 3/,
    )
    expect(electionWarnings([topic(2, [1, 2, 3, 4, 5])])[0]).toContain('4 of 5 replicas are there')
  })

  it('comes before a partition is grown to a pair, which needs both', () => {
    expect(growthWarning(topic(1, [1]), 0, 2)).toContain('all 2 replicas are there')
    expect(growthWarning(topic(1, [1]), 0, 3)).toContain('all 3 replicas are there')
    expect(growthWarning(topic(1, [1]), 0, 1)).toBeUndefined()
  })
})

describe('figures', () => {
  it('of nobody are null for programs, and not 0', () => {
    const nobodys = { ...PARTITION, figuresOf: undefined }
    expect(withKnownFigures(nobodys)).toMatchObject({ leader: 1, logEndOffset: null, segments: null, bytes: null })
    expect(withKnownFigures(PARTITION)).toEqual(PARTITION)
    expect(totalsOf([PARTITION, PARTITION])).toEqual({ offsets: 20, bytes: 1280 })
    expect(totalsOf([PARTITION, nobodys])).toEqual({ offsets: undefined, bytes: undefined })
  })
})

describe('what is said of a partition', () => {
  const asSeen = (more: Partial<Partition>): Topic => ({
    ...topic(2),
    partitions: [{ ...PARTITION, figuresOf: undefined, leader: 2, reason: 'broker 2 leads', ...more }],
  })
  const wordOf = (broker: number, more: Partial<Partition>) => new Map([[broker, { topics: [asSeen(more)] }]])
  const stateAfter = (answers: Parameters<typeof withWordOfLeaders>[1], ...silent: number[]) =>
    withWordOfLeaders([asSeen({})], answers, new Set(silent))[0]?.partitions[0]

  it('is the word of its leader, with the figures', () => {
    expect(stateAfter(wordOf(2, { figuresOf: 2, bytes: 7 }))).toMatchObject({ leader: 2, bytes: 7, state: 'online' })
  })

  it('is that it is offline where its leader cannot open the log, or leads it no more', () => {
    const lost = { state: 'offline', reason: 'its log is missing' } as const
    expect(stateAfter(wordOf(2, lost))).toMatchObject(lost)
    expect(stateAfter(wordOf(2, { ...lost, leader: undefined }))).toMatchObject({ ...lost, leader: undefined })
  })

  it('is not the word of a broker that neither leads it nor is said to', () => {
    const gone = { state: 'offline', leader: undefined } as const
    expect(stateAfter(wordOf(3, gone))).toMatchObject({ leader: 2, state: 'online' })
    expect(stateAfter(wordOf(2, { ...gone, leaderEpoch: 0 }))).toMatchObject({ leader: 2, state: 'online' })
  })

  it('is that nothing is known where its leader does not answer', () => {
    expect(stateAfter(new Map(), 2)).toMatchObject({ state: 'unknown', reason: 'broker 2 leads, and does not answer' })
  })
})
