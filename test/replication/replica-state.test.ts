// One replica's rules, step by step, and the whole of its transition table: in every role every event, and the same table for
// people in SPEC.md.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeEach, describe, expect, it } from 'vitest'
import type { ReplicaOptions } from '../../broker/replication/replica-options.ts'
import { REPLICA_RULES } from '../../broker/replication/replica-rules.ts'
import { ReplicaState } from '../../broker/replication/replica-state.ts'
import { TRANSITIONS } from '../../broker/replication/replica-transitions.ts'
import type {
  EventKind,
  FetchEcho,
  FetchPosition,
  ReplicaEffect,
  ReplicaEvent,
  Role,
} from '../../broker/replication/replication-events.ts'
import { brokerId, leaderEpoch, offset } from '../../shared/ids.ts'
import type { VoterSet } from '../../shared/voters.ts'
import { ModelLog } from './model-log.ts'
import { walk } from './random-walk.ts'
import { STARTING_RULES } from './starting.ts'

/** Ways that random lives take too seldom, or not at all as long as the rules hold; each has a test or a play of its own. */
const SELDOM = [
  'follower divergence-received offline',
  'follower log-start-received offline',
  'leader fence-refused follower',
  'resigned fence-refused follower',
  'resigned lease-lost leader',
  'resigned campaign-suggested resigned',
  'follower recovery-asked follower',
]

const ROLES: readonly Role[] = ['offline', 'follower', 'candidate', 'leader', 'resigned']
const VOTERS = [1, 2, 3].map((id) => ({ brokerId: brokerId(id), directoryId: `disk-${id}` }))

const OTHERS = { voters: VOTERS.slice(1), minInSyncReplicas: 2 }

let log: ModelLog
let replica: ReplicaState

function create(changes: Partial<ReplicaOptions> = {}): void {
  log = new ModelLog('os')
  replica = new ReplicaState({
    self: brokerId(1),
    directoryId: 'disk-1',
    incarnation: 1,
    voters: VOTERS,
    minInSyncReplicas: 2,
    log,
    promise: undefined,
    highWatermark: offset(0),
    isSuspect: false,
    rules: STARTING_RULES,
    ...changes,
  })
}

function step(event: ReplicaEvent): ReplicaEffect[] {
  const effects: ReplicaEffect[] = []
  replica.step(event, effects)
  for (const effect of effects) {
    if (effect.kind === 'append-epoch-start') log.append({ ...effect, value: 0 })
    if (effect.kind === 'append-voters') {
      const { epoch, set, next } = effect
      log.append({ epoch, value: 2, lossAcceptedIn: undefined, voters: { set, next } })
    }
    if (effect.kind === 'truncate-to') log.truncate(effect.offset)
  }
  return effects
}

function kinds(effects: readonly ReplicaEffect[]): string[] {
  return effects.map(({ kind }) => kind)
}

function campaign(now = 0): ReplicaEffect[] {
  return step({ kind: 'campaign-suggested', epochHint: undefined, now })
}

function persist(): ReplicaEffect[] {
  const { promise } = replica
  if (promise === undefined) throw new Error('nothing is promised')
  return step({ kind: 'promise-persisted', promise })
}

function granted(from: number, epoch: number, end = 0, now = 0): ReplicaEffect[] {
  const position = { latestEpoch: end === 0 ? undefined : leaderEpoch(0), logEndOffset: offset(end) }
  const directoryId = `disk-${from}`
  const grant = { from: brokerId(from), epoch: leaderEpoch(epoch), directoryId, isSuspect: false, position }
  return step({ kind: 'fence-granted', grant, now })
}

function lead(): void {
  step({ kind: 'lease-held', now: 0 })
  step({ kind: 'log-opened' })
  campaign()
  persist()
  granted(2, 0)
  step({ kind: 'records-appended' })
}

function follow(leader = 2, epoch = 4): void {
  step({ kind: 'log-opened' })
  step({ kind: 'leader-announced', leader: brokerId(leader), epoch: leaderEpoch(epoch) })
  persist()
}

function produce(): void {
  log.append({ epoch: leaderEpoch(0), value: 1, lossAcceptedIn: undefined })
  step({ kind: 'records-appended' })
}

function fetchBy(from: number, end: number, changes: Partial<FetchPosition> = {}): ReplicaEffect[] {
  const fetch: FetchPosition = {
    from: brokerId(from),
    directoryId: `disk-${from}`,
    incarnation: 1,
    leaderEpoch: leaderEpoch(0),
    fetchOffset: offset(end),
    lastFetchedEpoch: end === 0 ? undefined : leaderEpoch(0),
    heldEndOffset: offset(end),
    isSuspect: false,
    ...changes,
  }
  return step({ kind: 'replica-fetched', fetch, now: 1 })
}

function echo(changes: Partial<FetchEcho> = {}): FetchEcho {
  const { logEndOffset: fetchOffset, latestEpoch: lastFetchedEpoch } = log
  return { from: brokerId(2), leaderEpoch: leaderEpoch(4), incarnation: 1, fetchOffset, lastFetchedEpoch, ...changes }
}

const ENTER: Record<Role, () => void> = {
  offline: () => undefined,
  follower: () => follow(),
  candidate: () => {
    step({ kind: 'log-opened' })
    campaign()
    persist()
  },
  leader: lead,
  resigned: () => {
    lead()
    step({ kind: 'lease-lost', reason: 'taken', now: 0 })
  },
}

/** One event of each kind, such that it does something wherever it can. */
function eventOf(kind: EventKind): ReplicaEvent {
  const epoch = leaderEpoch(9)
  switch (kind) {
    case 'log-opened':
    case 'stopped':
    case 'disk-failed':
    case 'records-appended':
    case 'records-synced':
    case 'log-truncated':
      return { kind }
    case 'campaign-suggested':
      return { kind, epochHint: epoch, now: 0 }
    case 'promise-persisted':
      return { kind, promise: replica.promise ?? { epoch, leader: brokerId(2) } }
    case 'fence-received':
      return { kind, candidate: brokerId(2), epoch }
    case 'fence-granted':
      return {
        kind,
        grant: { from: brokerId(2), epoch, directoryId: 'disk-2', isSuspect: false, position: log },
        now: 0,
      }
    case 'fence-refused':
      return { kind, from: brokerId(2), epoch, promisedEpoch: epoch, leader: undefined }
    case 'leader-announced':
      return { kind, leader: brokerId(3), epoch }
    case 'lease-held':
    case 'tick':
    case 'recovery-asked':
      return { kind, now: 0 }
    case 'lease-lost':
      return { kind, reason: 'taken', now: 0 }
    case 'hand-over-asked':
      return { kind, to: brokerId(2), now: 0 }
    case 'replica-fetched': {
      const { logEndOffset, heldEndOffset, latestEpoch } = log
      const at = { fetchOffset: logEndOffset, heldEndOffset, lastFetchedEpoch: latestEpoch }
      const fetch = {
        from: brokerId(2),
        directoryId: 'disk-2',
        incarnation: 1,
        leaderEpoch: epoch,
        isSuspect: false,
        ...at,
      }
      return { kind, fetch, now: 0 }
    }
    case 'records-received':
      return { kind, echo: echo(), highWatermark: offset(0), clearsSuspect: false, isEmpty: true }
    case 'divergence-received':
      return { kind, echo: echo(), epoch: undefined, endOffset: offset(0), lossAcceptedIn: undefined }
    case 'log-start-received':
      return { kind, echo: echo(), logStartOffset: offset(7), epoch, lossAcceptedIn: undefined }
    case 'dismissal-asked':
      return { kind, from: brokerId(2), directoryId: 'disk-2', latestEpoch: epoch, now: 0 }
    case 'change-voters-asked':
      return { kind, to: { voters: VOTERS.slice(0, 2), minInSyncReplicas: 2 }, now: 0 }
    default:
      throw new Error(`no event of kind ${String(kind)}`)
  }
}

beforeEach(() => create())

describe.each(ROLES)('a replica that is %s', (role) => {
  it.each(Object.keys(TRANSITIONS[role]) as EventKind[])('goes where its table says at %s', (kind) => {
    ENTER[role]()
    expect(replica.role).toBe(role)
    const effects = step(eventOf(kind))
    const allowed = TRANSITIONS[role][kind]
    expect(allowed.length === 0 ? [role] : allowed).toContain(replica.role)
    expect(allowed.length > 0 || effects.length === 0).toBe(true)
  })
})

describe('the transition table', () => {
  it('is the one that SPEC.md shows', () => {
    const text = readFileSync(join(import.meta.dirname, '../../broker/replication/SPEC.md'), 'utf8')
    const rows = text.split('\n').flatMap((line) => {
      const cells = line.split('|').map((cell) => cell.trim().replaceAll('`', ''))
      return cells.length === ROLES.length + 3 && Object.hasOwn(TRANSITIONS.offline, cells[1] ?? '') ? [cells] : []
    })
    const written = rows.map((cells) => cells.slice(1, -1).join(' | '))
    const table = (Object.keys(TRANSITIONS.offline) as EventKind[]).map((kind) => {
      const cells = ROLES.map((role) => TRANSITIONS[role][kind].join(', ') || '·')
      return `${kind} | ${cells.join(' | ')}`
    })
    expect(written).toEqual(table)
  })

  it('lists no way that is never taken', () => {
    const taken = new Set<string>()
    const observe = (role: Role, kind: EventKind, to: Role): void => void taken.add(`${role} ${kind} ${to}`)
    for (let seed = 1; seed <= 4_000; seed += 1) walk(seed, { observe })
    for (let seed = 1; seed <= 200; seed += 1) walk(seed, { observe, recoveries: true })
    const untaken = ROLES.flatMap((role) =>
      (Object.keys(TRANSITIONS[role]) as EventKind[]).flatMap((kind) =>
        TRANSITIONS[role][kind]
          .map((to) => `${role} ${kind} ${to}`)
          .filter((way) => !taken.has(way) && !SELDOM.includes(way)),
      ),
    )
    expect(untaken).toEqual([])
  }, 120_000)
})

describe('a fence', () => {
  it('is granted when the promise is durable, and not before', () => {
    step({ kind: 'log-opened' })
    const promise = { epoch: leaderEpoch(3), leader: brokerId(2) }
    const effects = step({ kind: 'fence-received', candidate: brokerId(2), epoch: leaderEpoch(3) })
    expect(effects).toEqual([{ kind: 'stop-fetching' }, { kind: 'persist-promise', promise }])
    expect(kinds(persist())).toEqual(['grant-fence', 'start-fetching'])
  })

  it('that comes twice is persisted once and granted each time', () => {
    step({ kind: 'log-opened' })
    const fence = { kind: 'fence-received', candidate: brokerId(2), epoch: leaderEpoch(3) } as const
    step(fence)
    expect(step(fence)).toEqual([])
    expect(kinds(persist())).toEqual(['grant-fence', 'start-fetching'])
    expect(kinds(step(fence))).toEqual(['grant-fence'])
  })

  it('that has been overtaken is not granted any more', () => {
    step({ kind: 'log-opened' })
    const overtaken = { epoch: leaderEpoch(3), leader: brokerId(2) }
    step({ kind: 'fence-received', candidate: overtaken.leader, epoch: overtaken.epoch })
    step({ kind: 'fence-received', candidate: brokerId(3), epoch: leaderEpoch(4) })
    expect(step({ kind: 'promise-persisted', promise: overtaken })).toEqual([])
    expect(persist()[0]).toMatchObject({ kind: 'grant-fence', to: 3 })
  })

  it('of a lower epoch is refused with what was promised and who leads', () => {
    follow(2, 4)
    const fence = { kind: 'fence-received', candidate: brokerId(3), epoch: leaderEpoch(3) } as const
    const refusal = { kind: 'refuse-fence', to: 3, epoch: 3, promisedEpoch: 4 }
    expect(step(fence)).toEqual([{ ...refusal, leader: undefined }])
    step({ kind: 'records-received', echo: echo(), highWatermark: offset(0), clearsSuspect: false, isEmpty: true })
    expect(step(fence)).toEqual([{ ...refusal, leader: 2 }])
  })

  it('makes a leader step down at once, and nobody knows what becomes of its produces', () => {
    lead()
    const effects = step({ kind: 'fence-received', candidate: brokerId(2), epoch: leaderEpoch(1) })
    expect(effects[0]).toEqual({ kind: 'refuse-produces', outcome: 'unknown' })
    expect(replica.role).toBe('follower')
    expect(fetchBy(2, 1).at(-1)).toMatchObject({ answer: { kind: 'refused', error: 'NOT_LEADER_OR_FOLLOWER' } })
  })

  it('with an absurd epoch is not followed', () => {
    follow(2, 4)
    const epoch = leaderEpoch(0x7fff_ffff)
    expect(kinds(step({ kind: 'fence-received', candidate: brokerId(3), epoch }))).toEqual(['refuse-fence'])
  })
})

describe('a campaign', () => {
  it('begins when the own promise is durable, in an epoch above all that are known', () => {
    create({ promise: { epoch: leaderEpoch(6), leader: brokerId(1) } })
    step({ kind: 'log-opened' })
    expect(kinds(campaign())).toEqual(['stop-fetching', 'persist-promise'])
    expect(replica.promise).toEqual({ epoch: 7, leader: 1 })
    expect(kinds(persist())).toEqual(['send-fence', 'send-fence'])
  })

  it('is above what the log knows, where no promise was ever made', () => {
    log.append({ epoch: leaderEpoch(5), value: 1, lossAcceptedIn: undefined })
    step({ kind: 'log-opened' })
    campaign()
    expect(replica.promise?.epoch).toBe(6)
  })

  it('is won with the epoch-start record first, then the news', () => {
    step({ kind: 'lease-held', now: 0 })
    step({ kind: 'log-opened' })
    campaign()
    persist()
    expect(kinds(granted(3, 0))).toEqual(['append-epoch-start', 'publish-leadership', 'propose-in-sync-replicas'])
    expect([replica.role, replica.isLatestKnown, replica.highWatermark]).toEqual(['leader', false, 0])
  })

  it('ignores a promise of another epoch', () => {
    step({ kind: 'log-opened' })
    campaign()
    persist()
    expect(granted(3, 1)).toEqual([])
    expect(replica.role).toBe('candidate')
  })

  it('is given up for a better log, which is told to try', () => {
    step({ kind: 'log-opened' })
    campaign()
    persist()
    expect(granted(3, 0, 5)).toEqual([
      { kind: 'abandon-campaign', epochSeen: 0 },
      { kind: 'suggest-leader', to: 3, epochSeen: 0 },
    ])
  })

  it('is given up when too few are left who could promise, and at its deadline', () => {
    step({ kind: 'log-opened' })
    campaign()
    persist()
    const refusal = { kind: 'fence-refused', epoch: leaderEpoch(0), promisedEpoch: leaderEpoch(0) } as const
    expect(step({ ...refusal, from: brokerId(2), leader: undefined })).toEqual([])
    expect(kinds(step({ ...refusal, from: brokerId(3), leader: undefined }))).toEqual(['abandon-campaign'])
    campaign(100)
    expect(step({ kind: 'tick', now: 2_099 })).toEqual([])
    expect(kinds(step({ kind: 'tick', now: 2_100 }))).toEqual(['abandon-campaign'])
  })

  it('is not begun on a disk that is not registered, nor while a cut is not durable', () => {
    create({ directoryId: 'new' })
    step({ kind: 'log-opened' })
    expect(campaign()).toEqual([])
    create()
    log.append({ epoch: leaderEpoch(3), value: 1, lossAcceptedIn: undefined })
    follow()
    step({
      kind: 'divergence-received',
      echo: echo(),
      epoch: undefined,
      endOffset: offset(0),
      lossAcceptedIn: undefined,
    })
    expect(campaign()).toEqual([])
    step({ kind: 'log-truncated' })
    expect(kinds(campaign())).toEqual(['stop-fetching', 'persist-promise'])
  })

  it('is won alone where there is one replica', () => {
    create({ voters: VOTERS.slice(0, 1), minInSyncReplicas: 1 })
    step({ kind: 'lease-held', now: 0 })
    step({ kind: 'log-opened' })
    campaign()
    persist()
    expect(step({ kind: 'records-appended' })).toEqual([
      { kind: 'advance-high-watermark', to: 1 },
      { kind: 'settle-produces', endOffset: 1 },
    ])
    expect([replica.role, replica.isLatestKnown, replica.hasEnoughInSync]).toEqual(['leader', true, true])
  })

  it('of a single suspect replica is won, and says what may be lost', () => {
    create({ voters: VOTERS.slice(0, 1), minInSyncReplicas: 1, isSuspect: true })
    step({ kind: 'log-opened' })
    campaign()
    expect(kinds(persist()).slice(0, 3)).toEqual(['report-possible-loss', 'persist-suspect', 'append-epoch-start'])
  })
})

describe('a leader', () => {
  beforeEach(() => {
    lead()
    produce()
  })

  it('shows and settles what enough replicas hold', () => {
    expect(kinds(fetchBy(2, 1))).toContain('advance-high-watermark')
    expect(fetchBy(3, 2).slice(1, 3)).toEqual([
      { kind: 'advance-high-watermark', to: 2 },
      { kind: 'settle-produces', endOffset: 2 },
    ])
  })

  it('counts no fetch of another epoch, of an earlier life, or from another disk', () => {
    fetchBy(2, 1, { incarnation: 5 })
    expect(replica.highWatermark).toBe(1)
    fetchBy(2, 2, { incarnation: 5, leaderEpoch: leaderEpoch(1) })
    fetchBy(2, 2, { incarnation: 4 })
    fetchBy(3, 2, { directoryId: 'new' })
    fetchBy(7, 2)
    expect(replica.highWatermark).toBe(1)
    fetchBy(2, 2, { incarnation: 5 })
    expect(replica.highWatermark).toBe(2)
  })

  it('counts what the follower holds, not what it has fetched', () => {
    fetchBy(2, 2, { heldEndOffset: offset(1) })
    expect(replica.highWatermark).toBe(1)
  })

  it('counts nothing of a fetch that parts from its log', () => {
    const effects = fetchBy(2, 4, { lastFetchedEpoch: leaderEpoch(0) })
    expect(effects).toMatchObject([{ answer: { kind: 'diverging', epoch: 0, endOffset: 2 } }])
    expect(replica.highWatermark).toBe(0)
  })

  it('clears a suspect that holds all that it vouches for', () => {
    fetchBy(3, 2)
    const behind = fetchBy(2, 1, { isSuspect: true })
    expect(behind[0]).toMatchObject({ answer: { kind: 'records', clearsSuspect: false } })
    const there = fetchBy(2, 2, { isSuspect: true })
    expect(there[0]).toMatchObject({ answer: { kind: 'records', clearsSuspect: true } })
  })

  it('goes above an epoch that somebody has promised, unless somebody leads there', () => {
    const refusal = { kind: 'fence-refused', from: brokerId(3), epoch: leaderEpoch(0) } as const
    const suggested = step({ ...refusal, promisedEpoch: leaderEpoch(5), leader: undefined })
    expect(suggested).toEqual([{ kind: 'suggest-leader', to: 1, epochSeen: 5 }])
    step({ kind: 'campaign-suggested', epochHint: leaderEpoch(5), now: 2 })
    expect([replica.role, replica.promise?.epoch]).toEqual(['candidate', 6])
  })

  it('is confirmed by its followers when its lease runs out, and resigns when they fall silent', () => {
    fetchBy(2, 2)
    step({ kind: 'lease-lost', reason: 'expired', now: 100 })
    expect(replica.role).toBe('leader')
    step({ kind: 'tick', now: 2_501 })
    expect(replica.role).toBe('leader')
    step({ kind: 'tick', now: 2_502 })
    expect(replica.role).toBe('resigned')
    expect(step({ kind: 'lease-held', now: 2_600 })).toEqual([{ kind: 'publish-leadership', epoch: 0 }])
    expect(replica.role).toBe('leader')
  })

  it('resigns at once when it is told to stop without a lease', () => {
    create({ withoutLease: 'stop' })
    lead()
    step({ kind: 'lease-lost', reason: 'expired', now: 1 })
    expect(replica.role).toBe('resigned')
  })

  it('hands over when the successor has everything, and leads again when that takes too long', () => {
    fetchBy(2, 1)
    expect(step({ kind: 'hand-over-asked', to: brokerId(2), now: 10 })).toEqual([])
    expect(replica.role).toBe('resigned')
    expect(fetchBy(2, 2).at(-1)).toEqual({ kind: 'suggest-leader', to: 2, epochSeen: 0 })
    step({ kind: 'tick', now: 509 })
    expect(replica.role).toBe('resigned')
    step({ kind: 'tick', now: 510 })
    expect(replica.role).toBe('leader')
  })

  it('refuses what waits when it stops or its disk fails', () => {
    expect(kinds(step({ kind: 'disk-failed' }))).toEqual(['refuse-produces'])
    expect(replica.role).toBe('offline')
  })
})

describe('a leader that has resigned', () => {
  it('follows the leader that a refusal names', () => {
    lead()
    step({ kind: 'lease-lost', reason: 'taken', now: 1 })
    const refusal = { kind: 'fence-refused', from: brokerId(3), epoch: leaderEpoch(0) } as const
    step({ ...refusal, promisedEpoch: leaderEpoch(5), leader: brokerId(2) })
    expect([replica.role, replica.promise]).toEqual(['follower', { epoch: 5, leader: 2 }])
  })

  it('leads again when its hand-over has taken too long, though its lease runs out in that moment', () => {
    lead()
    fetchBy(2, 1)
    step({ kind: 'hand-over-asked', to: brokerId(3), now: 10 })
    step({ kind: 'lease-lost', reason: 'expired', now: 510 })
    expect(replica.role).toBe('leader')
  })
})

describe('a follower', () => {
  beforeEach(() => follow())

  const records = { kind: 'records-received', highWatermark: offset(9), clearsSuspect: false, isEmpty: false } as const

  it('appends what its leader sends for where its log ends', () => {
    expect(replica.fetchPosition()).toMatchObject({ from: 1, leaderEpoch: 4, fetchOffset: 0, heldEndOffset: 0 })
    expect(kinds(step({ ...records, echo: echo() }))).toEqual(['append-records'])
    log.append({ epoch: leaderEpoch(4), value: 0, lossAcceptedIn: undefined })
    expect(step({ kind: 'records-appended' })).toEqual([{ kind: 'advance-high-watermark', to: 1 }])
  })

  it.each<[string, Partial<FetchEcho>]>([
    ['another broker', { from: brokerId(3) }],
    ['another epoch', { leaderEpoch: leaderEpoch(3) }],
    ['its own earlier life', { incarnation: 0 }],
    ['another offset', { fetchOffset: offset(1) }],
    ['another end of its log', { lastFetchedEpoch: leaderEpoch(2) }],
  ])('drops an answer that is of %s', (_, changes) => {
    expect(step({ ...records, echo: echo(changes) })).toEqual([])
    const start = { kind: 'log-start-received', logStartOffset: offset(7), epoch: leaderEpoch(4) } as const
    expect(step({ ...start, echo: echo(changes), lossAcceptedIn: undefined })).toEqual([])
  })

  it('forgets what a leader has shown when it follows another', () => {
    step({ ...records, echo: echo() })
    step({ kind: 'leader-announced', leader: brokerId(3), epoch: leaderEpoch(5) })
    persist()
    log.append({ epoch: leaderEpoch(4), value: 0, lossAcceptedIn: undefined })
    expect(step({ kind: 'records-appended' })).toEqual([])
    expect(replica.highWatermark).toBe(0)
  })

  it('fetches nothing before a cut is durable', () => {
    log.append({ epoch: leaderEpoch(3), value: 1, lossAcceptedIn: undefined })
    const parted = {
      kind: 'divergence-received',
      epoch: undefined,
      endOffset: offset(0),
      lossAcceptedIn: undefined,
    } as const
    expect(step({ ...parted, echo: echo() })).toEqual([{ kind: 'truncate-to', offset: 0 }])
    expect(replica.fetchPosition()).toBeUndefined()
    expect(step({ kind: 'log-truncated' })).toEqual([{ kind: 'start-fetching', leader: 2, epoch: 4 }])
  })

  it('begins at the log start of its leader when what it needs is gone', () => {
    const start = { kind: 'log-start-received', logStartOffset: offset(7), epoch: leaderEpoch(4) } as const
    expect(step({ ...start, echo: echo(), lossAcceptedIn: undefined })).toEqual([
      { kind: 'restart-log-at', offset: 7, epoch: 4 },
      { kind: 'advance-high-watermark', to: 7 },
    ])
  })

  it('stops when it is asked to cut off what it has shown, unless an election has accepted a loss', () => {
    const open = () => {
      create({ highWatermark: offset(1) })
      log.append({ epoch: leaderEpoch(3), value: 1, lossAcceptedIn: undefined })
      follow()
    }
    const parted = { kind: 'divergence-received', epoch: undefined, endOffset: offset(0) } as const
    open()
    const effects = step({ ...parted, echo: echo(), lossAcceptedIn: undefined })
    expect(kinds(effects)).toEqual(['report-possible-loss', 'stop-fetching', 'stop-partition'])
    expect(replica.role).toBe('offline')
    open()
    expect(kinds(step({ ...parted, echo: echo(), lossAcceptedIn: leaderEpoch(4) }))).toEqual([
      'report-possible-loss',
      'truncate-to',
    ])
    expect([replica.role, replica.highWatermark]).toEqual(['follower', 0])
  })

  it('stops where the log of its leader begins below what it has shown', () => {
    create({ highWatermark: offset(1) })
    log.append({ epoch: leaderEpoch(3), value: 1, lossAcceptedIn: undefined })
    follow()
    const start = { kind: 'log-start-received', logStartOffset: offset(0), epoch: leaderEpoch(4) } as const
    step({ ...start, echo: echo(), lossAcceptedIn: undefined })
    expect(replica.role).toBe('offline')
  })

  it('follows the leader of its epoch, whomever it had promised the epoch to', () => {
    expect(step({ kind: 'leader-announced', leader: brokerId(3), epoch: leaderEpoch(4) })).toEqual([
      { kind: 'start-fetching', leader: 3, epoch: 4 },
    ])
    expect(replica.promise).toEqual({ epoch: 4, leader: 2 })
  })
})

describe('a leader that was elected with an empty log', () => {
  const started = { kind: 'append-epoch-start', epoch: 0, lossAcceptedIn: undefined }

  beforeEach(() => {
    create({ rules: REPLICA_RULES })
    lead()
  })

  it('writes nothing before somebody needs it, and knows that the end is where the log begins', () => {
    expect(log.logEndOffset).toBe(0)
    expect([replica.role, replica.isLatestKnown, replica.highWatermark]).toEqual(['leader', true, 0])
    expect(kinds(fetchBy(2, 0))).toEqual(['answer-fetch'])
    expect(kinds(fetchBy(3, 0))).toEqual(['answer-fetch', 'propose-in-sync-replicas'])
    expect(replica.inSyncReplicas).toEqual([1, 2, 3])
  })

  it('shows the first record when enough replicas hold it, as the first of its epoch', () => {
    produce()
    expect([replica.highWatermark, replica.settledVoters]).toEqual([0, undefined])
    fetchBy(2, 1)
    expect(replica.highWatermark).toBe(1)
  })

  it('writes the epoch-start record for a suspect, which is trusted again when it holds it', () => {
    expect(fetchBy(3, 0, { isSuspect: true })).toContainEqual(started)
    expect(fetchBy(3, 0, { isSuspect: true })).not.toContainEqual(started)
    step({ kind: 'records-appended' })
    expect(fetchBy(3, 1, { isSuspect: true })[0]).toMatchObject({ answer: { clearsSuspect: true } })
  })

  it('writes it for a change of the voters, which begins when it is committed', () => {
    const asked = { kind: 'change-voters-asked', to: OTHERS, now: 1 } as const
    const effects = step(asked)
    expect(effects[0]).toEqual(started)
    expect(effects[1]).toMatchObject({ kind: 'refuse-voters-change', why: 'epoch-not-committed' })
    fetchBy(2, 1)
    fetchBy(3, 1)
    expect(step(asked)).toMatchObject([{ kind: 'append-voters', next: OTHERS }])
  })

  it('writes it for a replica that wants to go, which goes when it is committed', () => {
    const asked = {
      kind: 'dismissal-asked',
      from: brokerId(4),
      directoryId: 'disk-4',
      latestEpoch: undefined,
      now: 1,
    } as const
    expect(step(asked)).toEqual([started, { kind: 'answer-dismissal', to: 4, isDismissed: false }])
    fetchBy(2, 1)
    expect(step(asked)).toEqual([{ kind: 'answer-dismissal', to: 4, isDismissed: true }])
  })

  it('begins with it all the same after an election that may have lost something', () => {
    create({ rules: REPLICA_RULES, suspectPolicy: 'balanced', isSuspect: true })
    step({ kind: 'log-opened' })
    campaign()
    persist()
    const position = { latestEpoch: undefined, logEndOffset: offset(0) }
    const grants = [2, 3].map((from) => {
      const directoryId = `disk-${from}`
      return { from: brokerId(from), epoch: leaderEpoch(0), directoryId, isSuspect: true, position }
    })
    const effects = grants.flatMap((grant) => step({ kind: 'fence-granted', grant, now: 0 }))
    expect(effects).toContainEqual({ ...started, lossAcceptedIn: 0 })
    expect(replica.isLatestKnown).toBe(false)
  })
})

describe('a change of the voters', () => {
  const WITH_FOUR = { voters: [...VOTERS, { brokerId: brokerId(4), directoryId: 'disk-4' }], minInSyncReplicas: 3 }
  const OF_BEGINNING = { voters: VOTERS, minInSyncReplicas: 2 }

  function change(to: VoterSet): ReplicaEffect[] {
    return step({ kind: 'change-voters-asked', to, now: 1 })
  }

  function synced(): ReplicaEffect[] {
    log.sync()
    return step({ kind: 'records-synced' })
  }

  /** Both records, each held by those of 2 and 3. */
  function leave(): ReplicaEffect[] {
    lead()
    fetchBy(2, 1)
    fetchBy(3, 1)
    change(OTHERS)
    synced()
    fetchBy(2, 2)
    const effects = [...fetchBy(3, 2), ...synced(), ...fetchBy(2, 3)]
    return [...effects, ...fetchBy(3, 3)]
  }

  it('is refused until a record of the epoch is committed, and while a newcomer is behind', () => {
    lead()
    expect(change(WITH_FOUR)).toMatchObject([{ kind: 'refuse-voters-change', why: 'epoch-not-committed', behind: [4] }])
    fetchBy(2, 1)
    expect(change(WITH_FOUR)).toMatchObject([{ kind: 'refuse-voters-change', why: 'newcomers-behind', behind: [4] }])
    fetchBy(4, 1)
    expect(change(WITH_FOUR)).toEqual([{ kind: 'append-voters', epoch: 0, set: OF_BEGINNING, next: WITH_FOUR }])
    expect(replica.voterSets).toEqual([OF_BEGINNING, WITH_FOUR])
    expect(change(OTHERS).at(-1)).toMatchObject({ kind: 'refuse-voters-change', why: 'change-under-way' })
  })

  it('is refused by a leader that takes no records', () => {
    lead()
    fetchBy(2, 1)
    step({ kind: 'lease-lost', reason: 'taken', now: 1 })
    expect(change(OTHERS)).toMatchObject([{ kind: 'refuse-voters-change', why: 'not-leading' }])
  })

  it('counts as held only when its record is durable, whatever the durability of the rest', () => {
    lead()
    fetchBy(2, 1)
    change({ voters: VOTERS.slice(0, 2), minInSyncReplicas: 2 })
    fetchBy(2, 2)
    expect(replica.highWatermark).toBe(1)
    expect(kinds(synced())).toEqual(['advance-high-watermark', 'settle-produces', 'append-voters'])
  })

  it('ends with a record of the new set alone, and is told to be settled when that is committed', () => {
    const effects = leave()
    expect(effects).toContainEqual({ kind: 'append-voters', epoch: 0, set: OTHERS, next: undefined })
    expect(effects).toContainEqual({ kind: 'voters-settled', offset: 2, set: OTHERS, isVoter: false })
    expect(replica.voterSets).toEqual([OTHERS])
    expect(replica.isVoter).toBe(false)
  })

  it('lets a leader that is no voter any more go, to one that is', () => {
    expect(leave()).toContainEqual({ kind: 'suggest-leader', to: 2, epochSeen: 0 })
    expect(replica.role).toBe('resigned')
  })

  it('leaves such a leader no way back by a campaign', () => {
    leave()
    expect(campaign()).toEqual([])
    expect(step({ kind: 'campaign-suggested', epochHint: leaderEpoch(9), now: 1 })).toEqual([])
    expect(replica.role).toBe('resigned')
  })

  it('is known to followers by their log, and settled by what their leader says', () => {
    follow()
    const voters = { set: OTHERS, next: undefined }
    log.append({ epoch: leaderEpoch(4), value: 2, lossAcceptedIn: undefined, voters })
    expect(step({ kind: 'records-appended' })).toEqual([])
    expect([replica.voterSets, replica.isVoter]).toEqual([[OTHERS], true])
    log.sync()
    const received = { kind: 'records-received', echo: echo(), clearsSuspect: false, isEmpty: true } as const
    expect(step({ ...received, highWatermark: offset(1) })).toEqual([
      { kind: 'advance-high-watermark', to: 1 },
      { kind: 'voters-settled', offset: 0, set: OTHERS, isVoter: false },
    ])
    expect(replica.isVoter).toBe(false)
    expect(campaign()).toEqual([])
  })
})

describe('a newcomer', () => {
  it('promises, and says nothing of its log; it campaigns for nothing', () => {
    create({ isNewcomer: true })
    step({ kind: 'log-opened' })
    expect(campaign()).toEqual([])
    step({ kind: 'fence-received', candidate: brokerId(2), epoch: leaderEpoch(3) })
    expect(kinds(persist())).toEqual(['start-fetching'])
    expect(replica.promise).toEqual({ epoch: 3, leader: 2 })
  })

  it('is one no more when its leader has found it complete', () => {
    create({ isNewcomer: true })
    follow()
    step({ kind: 'records-received', echo: echo(), highWatermark: offset(0), clearsSuspect: true, isEmpty: true })
    expect([replica.isNewcomer, replica.isSuspect]).toEqual([false, false])
    expect(kinds(campaign(9))).toEqual(['stop-fetching', 'persist-promise'])
  })
})

describe('a fence that can only do harm', () => {
  it('from one that was no voter when the last committed record was written is refused as long as the leader is heard', () => {
    follow()
    const fence = { kind: 'fence-received', candidate: brokerId(7), epoch: leaderEpoch(9) } as const
    step({ kind: 'records-received', echo: echo(), highWatermark: offset(0), clearsSuspect: false, isEmpty: true })
    expect(kinds(step(fence))).toEqual(['refuse-fence'])
    expect(kinds(step({ ...fence, candidate: brokerId(3) }))).toEqual(['stop-fetching', 'persist-promise'])
  })
})

describe('a replica that is to go on alone', () => {
  const ALONE = { voters: VOTERS.slice(0, 1), minInSyncReplicas: 1 }

  it('promises itself an epoch that no campaign comes to, and leads when that is durable', () => {
    follow(2, 4)
    expect(kinds(step({ kind: 'recovery-asked', now: 0 }))).toEqual(['stop-fetching', 'persist-promise'])
    const epoch = replica.promise?.epoch ?? 0
    expect(epoch).toBeGreaterThan(1_000_000)
    const effects = persist()
    expect(effects.slice(0, 3)).toEqual([
      { kind: 'append-voters', epoch, set: ALONE, next: undefined },
      { kind: 'report-possible-loss', epoch, fromOffset: 0 },
      { kind: 'append-epoch-start', epoch, lossAcceptedIn: epoch },
    ])
    step({ kind: 'records-appended' })
    expect(replica.voterSets).toEqual([ALONE])
    log.sync()
    expect(step({ kind: 'records-synced' })).toContainEqual({
      kind: 'voters-settled',
      offset: 0,
      set: ALONE,
      isVoter: true,
    })
    expect(replica.highWatermark).toBe(2)
  })

  it('does so when its log is cut, and not before', () => {
    log.append({ epoch: leaderEpoch(3), value: 1, lossAcceptedIn: undefined })
    follow()
    step({
      kind: 'divergence-received',
      echo: echo(),
      epoch: undefined,
      endOffset: offset(0),
      lossAcceptedIn: undefined,
    })
    expect(step({ kind: 'recovery-asked', now: 0 })).toEqual([])
    step({ kind: 'log-truncated' })
    expect(kinds(step({ kind: 'recovery-asked', now: 0 }))).toEqual(['stop-fetching', 'persist-promise'])
  })

  it('does so whatever it was, and once', () => {
    lead()
    const effects = step({ kind: 'recovery-asked', now: 0 })
    expect(kinds(effects)).toEqual(['refuse-produces', 'persist-promise'])
    expect(step({ kind: 'recovery-asked', now: 0 })).toEqual([])
    expect(replica.role).toBe('candidate')
  })

  it('begins another generation than one that it has not heard of', () => {
    const epochs = ['a', 'b', 'c', 'd'].map((directoryId) => {
      create({ directoryId })
      follow(2, 4)
      step({ kind: 'recovery-asked', now: 0 })
      return Math.floor((replica.promise?.epoch ?? 0) / 262_144)
    })
    expect(new Set(epochs).size).toBe(4)
  })

  it('is waited for by those that have heard of it, and have nothing of it', () => {
    follow(2, 9_000_000)
    expect(campaign()).toEqual([])
  })

  it('makes no difference to those that have only been told so by a coordinator', () => {
    follow(2, 4)
    step({ kind: 'campaign-suggested', epochHint: leaderEpoch(9_000_000), now: 0 })
    expect(replica.promise?.epoch).toBe(5)
  })
})
