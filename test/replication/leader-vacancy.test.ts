import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { ClusterSight, PartitionView, VacancyReason } from '../../broker/replication/leader-vacancy.ts'
import { delayOf, judgeVacancy, rankOf } from '../../broker/replication/leader-vacancy.ts'
import { type BrokerId, brokerId, leaderEpoch } from '../../shared/ids.ts'

const [one, two, three] = [1, 2, 3].map((id) => brokerId(id)) as [BrokerId, BrokerId, BrokerId]

/** Seen by broker 2, a replica of [1, 2, 3]. */
function view(parts: Partial<PartitionView> = {}): PartitionView {
  return {
    role: 'follower',
    isVoter: true,
    assignment: [one, two, three],
    promise: undefined,
    following: undefined,
    hasHeardLeader: false,
    agreed: undefined,
    ...parts,
  }
}

function agreed(leader: BrokerId | undefined, epoch: number | undefined): NonNullable<PartitionView['agreed']> {
  return {
    leader,
    leaderEpoch: epoch === undefined ? undefined : leaderEpoch(epoch),
    inSyncReplicas: leader === undefined ? [] : [leader],
  }
}

function follows(leader: BrokerId, epoch: number, hasHeardLeader: boolean): Partial<PartitionView> {
  return { promise: { epoch: leaderEpoch(epoch), leader }, following: leader, hasHeardLeader }
}

function sight(parts: { live?: readonly BrokerId[]; dead?: readonly BrokerId[]; self?: BrokerId } = {}): ClusterSight {
  const { live = [one, two, three], dead = [], self = two } = parts
  return {
    self,
    lifeOf: (id) => (live.includes(id) ? `life of ${id}` : undefined),
    isDead: (id) => dead.includes(id),
  }
}

const NOTHING = { life: undefined, isRefused: false }

describe('a partition', () => {
  it.each<[string, PartitionView, ClusterSight, VacancyReason | undefined]>([
    ['that nobody ever led is vacant', view({ agreed: agreed(undefined, undefined) }), sight(), 'vacant'],
    ['whose leader has given it back is vacant', view({ agreed: agreed(undefined, 4) }), sight(), 'vacant'],
    [
      'whose leader is a member is led',
      view({ agreed: agreed(one, 4), ...follows(one, 4, false) }),
      sight(),
      undefined,
    ],
    [
      'of which the coordinator knows more than the replica is led',
      view({ agreed: agreed(one, 4) }),
      sight(),
      undefined,
    ],
    [
      'of which the replica knows more than the coordinator is led',
      view({ agreed: agreed(three, 3), ...follows(one, 4, true) }),
      sight({ live: [one, two] }),
      undefined,
    ],
    [
      'that was promised to somebody who has not led yet may be led by nobody',
      view({ agreed: agreed(three, 3), ...follows(one, 4, false) }),
      sight(),
      'stranded',
    ],
    [
      'whose leader has no session waits for what the leader may not know',
      view({ agreed: agreed(one, 4), ...follows(one, 4, true) }),
      sight({ live: [two, three] }),
      'expired',
    ],
    [
      'whose leader is gone with its process needs not wait',
      view({ agreed: agreed(one, 4), ...follows(one, 4, true) }),
      sight({ live: [two, three], dead: [one] }),
      'dead',
    ],
    [
      'whose leader refuses connections and has a session still is led',
      view({ agreed: agreed(one, 4), ...follows(one, 4, true) }),
      sight({ dead: [one] }),
      undefined,
    ],
    ['that this broker led in an earlier life is its own', view({ agreed: agreed(two, 4) }), sight(), 'own'],
    [
      'that another has won meanwhile is not its own',
      view({ agreed: agreed(two, 4), ...follows(three, 5, true) }),
      sight(),
      undefined,
    ],
    [
      'that this replica has campaigned for in vain is tried again',
      view({ agreed: agreed(one, 4), promise: { epoch: leaderEpoch(5), leader: two } }),
      sight({ live: [two, three] }),
      'begun',
    ],
    [
      'whose leader lives is not disturbed soon by one that campaigned in vain',
      view({ agreed: agreed(one, 4), promise: { epoch: leaderEpoch(5), leader: two } }),
      sight(),
      'stranded',
    ],
    [
      'is not tried by a disk that it does not know',
      view({ isVoter: false, agreed: agreed(undefined, undefined) }),
      sight(),
      undefined,
    ],
    [
      'is not tried by who is at it',
      view({ role: 'candidate', promise: { epoch: leaderEpoch(5), leader: two } }),
      sight(),
      undefined,
    ],
    [
      'is not tried by who leads it',
      view({ role: 'leader', agreed: agreed(one, 4) }),
      sight({ live: [two, three] }),
      undefined,
    ],
  ])('%s', (_name, partition, cluster, reason) => {
    expect(judgeVacancy(partition, cluster, NOTHING)?.reason).toBe(reason)
  })

  it('whose leader has begun another life has no leader until that has won an epoch', () => {
    const partition = view({ agreed: agreed(one, 4), ...follows(one, 4, true) })
    expect(judgeVacancy(partition, sight(), { life: 'an earlier life', isRefused: false })?.reason).toBe('restarted')
    expect(judgeVacancy(partition, sight(), { life: 'life of 1', isRefused: false })).toBeUndefined()
  })

  it('whose leader denies to be one has no leader', () => {
    const partition = view({ agreed: agreed(one, 4), ...follows(one, 4, true) })
    expect(judgeVacancy(partition, sight(), { life: 'life of 1', isRefused: true })?.reason).toBe('unserved')
  })
})

describe('ranks', () => {
  it('count those who are members, those in sync first', () => {
    const inSync = { leader: one, leaderEpoch: leaderEpoch(4), inSyncReplicas: [one, three] }
    const partition = view({ agreed: inSync, ...follows(one, 4, true) })
    const rankAt = (self: BrokerId): number | undefined => {
      const cluster = sight({ live: [two, three], self })
      const vacancy = judgeVacancy(partition, cluster, NOTHING)
      return vacancy && rankOf(partition, cluster, vacancy)
    }
    expect([rankAt(three), rankAt(two)]).toEqual([0, 1])
  })

  it('keep candidates apart: at most one of those who see the same begins at once', () => {
    const ids = [1, 2, 3, 4, 5].map((id) => brokerId(id))
    const subset = fc.subarray(ids)
    const scene = fc.record({
      assignment: fc.shuffledSubarray(ids, { minLength: 1 }),
      live: subset,
      dead: subset,
      inSyncReplicas: subset,
      leader: fc.option(fc.constantFrom(...ids), { nil: undefined }),
      epoch: fc.option(fc.integer({ min: 0, max: 3 }), { nil: undefined }),
      promised: fc.option(fc.record({ leader: fc.constantFrom(...ids), epoch: fc.integer({ min: 0, max: 3 }) })),
      isRefused: fc.boolean(),
      fraction: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
    })
    fc.assert(
      fc.property(scene, ({ assignment, live, dead, inSyncReplicas, leader, epoch, promised, isRefused, fraction }) => {
        const known = epoch === undefined ? agreed(undefined, undefined) : { ...agreed(leader, epoch), inSyncReplicas }
        const delays = assignment.flatMap((self) => {
          const cluster: ClusterSight = {
            self,
            lifeOf: (id) => (live.includes(id) || id === self ? `life of ${id}` : undefined),
            isDead: (id) => dead.includes(id),
          }
          const promise = promised && { leader: promised.leader, epoch: leaderEpoch(promised.epoch) }
          const following = promise && promise.leader !== self ? promise.leader : undefined
          const partition = view({
            assignment,
            agreed: known,
            promise: promise ?? undefined,
            following: following ?? undefined,
          })
          const vacancy = judgeVacancy(partition, cluster, { life: undefined, isRefused })
          // Who is no member does not see what the others see.
          if (vacancy === undefined || !live.includes(self)) return []
          return [delayOf(vacancy.reason, rankOf(partition, cluster, vacancy), fraction)]
        })
        expect(delays.filter((delay) => delay === 0).length).toBeLessThanOrEqual(1)
      }),
      { numRuns: 2_000 },
    )
  })
})
