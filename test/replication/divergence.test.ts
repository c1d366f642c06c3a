import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { checkFetch, planTruncation } from '../../broker/replication/divergence.ts'
import { leaderEpoch, offset } from '../../shared/ids.ts'
import { ModelLog } from './model-log.ts'

/** A log whose records have these epochs, from offset 0 on, of which those below `start` have been trimmed. */
function logOf(epochs: readonly number[], start = 0): ModelLog {
  const log = new ModelLog('os')
  epochs.forEach((epoch, at) => log.append({ epoch: leaderEpoch(epoch), value: at, lossAcceptedIn: undefined }))
  log.trim(start)
  return log
}

function check(log: ModelLog, fetchOffset: number, lastFetchedEpoch: number | undefined) {
  const epoch = lastFetchedEpoch === undefined ? undefined : leaderEpoch(lastFetchedEpoch)
  return checkFetch(log, offset(fetchOffset), epoch)
}

describe('a leader with epochs 1 1 1 4 4 6', () => {
  const log = logOf([1, 1, 1, 4, 4, 6])

  it.each([
    [0, undefined],
    [1, 1],
    [3, 1],
    [4, 4],
    [5, 4],
    [6, 6],
  ])('finds a follower that ends at %i in epoch %s on its log', (fetchOffset, epoch) => {
    expect(check(log, fetchOffset, epoch)).toEqual({ kind: 'on-log' })
  })

  it.each([
    [4, 1, { epoch: 1, endOffset: 3 }],
    [6, 4, { epoch: 4, endOffset: 5 }],
    [4, 2, { epoch: 1, endOffset: 3 }],
    [3, 3, { epoch: 1, endOffset: 3 }],
    [9, 5, { epoch: 4, endOffset: 5 }],
    [7, 7, { epoch: 6, endOffset: 6 }],
    [2, 0, { epoch: undefined, endOffset: 0 }],
  ])('finds one that ends at %i in epoch %i beside it', (fetchOffset, epoch, parted) => {
    expect(check(log, fetchOffset, epoch)).toEqual({ kind: 'diverging', ...parted })
  })
})

describe('a leader that has trimmed its log', () => {
  const log = logOf([1, 1, 1, 4, 4, 6], 3)

  it('sends a follower to its log start that needs what is gone, or cannot be compared with it', () => {
    const start = { kind: 'before-log-start', logStartOffset: 3, epoch: 4 }
    expect(check(log, 0, undefined)).toEqual(start)
    expect(check(log, 2, 1)).toEqual(start)
    expect(check(log, 3, 1)).toEqual(start)
    expect(check(log, 5, 2)).toEqual(start)
  })

  it('takes a follower that begins there in the epoch that it was told', () => {
    expect(check(log, 3, 4)).toEqual({ kind: 'on-log' })
  })

  it('does so even when nothing is left', () => {
    const empty = logOf([1, 1, 4], 3)
    expect(check(empty, 0, undefined)).toEqual({ kind: 'before-log-start', logStartOffset: 3, epoch: 4 })
    expect(check(empty, 3, 4)).toEqual({ kind: 'on-log' })
  })
})

describe('a follower that must cut its log', () => {
  const plan = (log: ModelLog, epoch: number | undefined, endOffset: number) =>
    planTruncation(log, { epoch: epoch === undefined ? undefined : leaderEpoch(epoch), endOffset: offset(endOffset) })

  it('cuts where the leader has ended the epoch that both have', () => {
    expect(plan(logOf([1, 1, 1, 1]), 1, 3)).toEqual({ kind: 'cut', offset: 3 })
  })

  it('cuts where its own epoch ends, when the leader has more of it', () => {
    expect(plan(logOf([1, 1, 3, 3]), 1, 9)).toEqual({ kind: 'cut', offset: 2 })
  })

  it('cuts at its greatest epoch that the leader may share', () => {
    expect(plan(logOf([1, 1, 3, 3]), 2, 4)).toEqual({ kind: 'cut', offset: 2 })
  })

  it('begins at 0 when nothing is shared', () => {
    expect(plan(logOf([3, 3]), undefined, 0)).toEqual({ kind: 'cut', offset: 0 })
    expect(plan(logOf([3, 3]), 2, 4)).toEqual({ kind: 'cut', offset: 0 })
  })

  it('remembers the shared epoch when the cut leaves nothing behind the log start', () => {
    expect(plan(logOf([1, 1, 3, 3], 2), 1, 2)).toEqual({ kind: 'restart', offset: 2, epoch: 1 })
  })

  it('names an offset below its log start when what it has trimmed was not the leader’s', () => {
    expect(plan(logOf([1, 1, 3, 3], 2), 1, 1)).toEqual({ kind: 'cut', offset: 1 })
  })
})

/** Two logs as elections make them: a common beginning, then what each wrote in epochs of its own. */
const pairOfLogs = fc
  .tuple(
    fc.array(fc.nat(2), { maxLength: 4 }),
    fc.array(fc.nat(2), { maxLength: 4 }),
    fc.array(fc.nat(2), { maxLength: 4 }),
  )
  .map(([shared, left, right]) => {
    const grow = (steps: readonly number[], from: number, parity: number): number[] => {
      let epoch = from
      return steps.map((step) => (epoch += 2 * step + (epoch % 2 === parity ? 0 : 1)))
    }
    const common = grow(shared, 0, 0)
    const last = common.at(-1) ?? 0
    return {
      common,
      leader: [...common, ...grow(left, last + 2, 0)],
      follower: [...common, ...grow(right, last + 2, 1)],
    }
  })

describe('asking and cutting in turns', () => {
  it('ends at the last offset that both logs share, and never cuts below it', () => {
    fc.assert(
      fc.property(pairOfLogs, ({ common, leader, follower }) => {
        const from = logOf(leader)
        const to = logOf(follower)
        for (let turn = 0; turn <= leader.length + follower.length; turn += 1) {
          const answer = checkFetch(from, to.logEndOffset, to.latestEpoch)
          if (answer.kind === 'on-log') break
          expect(answer.kind).toBe('diverging')
          if (answer.kind !== 'diverging') return
          const { offset: at } = planTruncation(to, answer)
          expect(at).toBeLessThan(to.logEndOffset)
          to.truncate(at)
        }
        expect(checkFetch(from, to.logEndOffset, to.latestEpoch)).toEqual({ kind: 'on-log' })
        expect(to.logEndOffset).toBe(follower.length === common.length ? follower.length : common.length)
      }),
      { numRuns: 2_000 },
    )
  })
})
