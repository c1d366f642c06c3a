import { describe, expect, it } from 'vitest'
import { judge, type KnownState, type RedisHead } from '../../broker/coordination/redis-watch.ts'

const COUNTS = { topics: 2, names: 2, leaderships: 4, brokers: 3, indexed: 9 }
const HEAD: RedisHead = {
  life: 'run:data',
  role: 'master',
  historyLife: 'run:data',
  history: 'h1',
  version: 10,
  isRepublishing: false,
  clusterId: 'c1',
  formerClusterId: '',
  counts: COUNTS,
}
const KNOWN: KnownState = { history: 'h1', version: 10, counts: COUNTS }

const CASES: readonly (readonly [
  name: string,
  head: Partial<RedisHead>,
  known: Partial<KnownState>,
  verdict: string,
])[] = [
  ['that is as it was', {}, {}, 'trusted'],
  ['that has gone on', { version: 11, counts: { ...COUNTS, leaderships: 5, indexed: 10 } }, {}, 'trusted'],
  [
    'whose counts have not been seen yet',
    { counts: { ...COUNTS, leaderships: 5, indexed: 10 } },
    { counts: undefined },
    'trusted',
  ],
  ['that is read for the first time', {}, { history: undefined, version: 0, counts: undefined }, 'other-history'],
  ['in which somebody has begun another history', { history: 'h2', version: 3 }, {}, 'other-history'],
  ['that is empty', { history: '', historyLife: '', version: 0 }, {}, 'it holds nothing of this cluster'],
  ['that is empty at the first reading', { history: '' }, { history: undefined }, 'it holds nothing of this cluster'],
  ['of another process or data', { life: 'run2:data' }, {}, 'it was restarted, failed over or restored'],
  [
    'of another process at the first reading',
    { life: 'run2:data' },
    { history: undefined },
    'it was restarted, failed over or restored',
  ],
  ['that goes back', { version: 9 }, {}, 'it was rolled back'],
  ['that has lost leaderships', { counts: { ...COUNTS, leaderships: 0 } }, {}, 'a part of its records is missing'],
  ['that has lost brokers', { counts: { ...COUNTS, brokers: 0 } }, {}, 'a part of its records is missing'],
  [
    'that has lost leaderships while others changed',
    { version: 11, counts: { ...COUNTS, leaderships: 0 } },
    {},
    'a part of its records is missing',
  ],
  ['that has lost topics', { version: 11, counts: { ...COUNTS, topics: 0 } }, {}, 'a part of its topics is missing'],
]

describe('a Redis', () => {
  it.each(CASES)('%s', (_name, head, known, expected) => {
    const verdict = judge({ ...HEAD, ...head }, { ...KNOWN, ...known })
    expect(verdict.kind === 'doubtful' ? verdict.reason : verdict.kind).toBe(expected)
  })
})
