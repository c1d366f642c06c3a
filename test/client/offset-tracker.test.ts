// Which offset may be committed, against the plainest model there is.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { OffsetTracker } from '../../client/offset-tracker.ts'

describe('an offset tracker', () => {
  it('moves on with what is done, and not past what is not', () => {
    const tracker = new OffsetTracker(10)
    for (const offset of [10, 11, 12]) tracker.handOut(offset)
    tracker.done(11)
    tracker.done(12)
    expect(tracker.position).toBe(10)
    expect(tracker.openCount).toBe(1)
    tracker.done(10)
    expect(tracker.position).toBe(13)
    expect(tracker.openCount).toBe(0)
  })

  it('passes over offsets that nobody sees', () => {
    const tracker = new OffsetTracker(0)
    tracker.handOut(3)
    tracker.handOut(9)
    tracker.done(3)
    expect(tracker.position).toBe(9)
    tracker.passOver(20)
    expect(tracker.position).toBe(9)
    tracker.done(9)
    expect(tracker.position).toBe(20)
    tracker.passOver(30)
    expect(tracker.position).toBe(30)
  })

  it('takes everything below an offset as done', () => {
    const tracker = new OffsetTracker(0)
    for (const offset of [0, 1, 2, 3]) tracker.handOut(offset)
    tracker.done(2)
    tracker.doneBelow(2)
    expect(tracker.position).toBe(3)
    tracker.doneBelow(100)
    expect(tracker.position).toBe(4)
  })

  it('knows nothing any more of what was handed out before it was set anew', () => {
    const tracker = new OffsetTracker(0)
    tracker.handOut(0)
    tracker.handOut(1)
    tracker.reset(1)
    tracker.done(0)
    tracker.done(1)
    expect(tracker.position).toBe(1)
    tracker.handOut(1)
    tracker.done(1)
    expect(tracker.position).toBe(2)
  })

  it('says for every order of events what a list of flags says', () => {
    const step = fc.oneof(
      { weight: 4, arbitrary: fc.record({ kind: fc.constant('hand' as const), skip: fc.integer({ min: 0, max: 2 }) }) },
      { weight: 4, arbitrary: fc.record({ kind: fc.constant('done' as const), which: fc.nat(40) }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('below' as const), which: fc.nat(40) }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('pass' as const), skip: fc.integer({ min: 0, max: 3 }) }) },
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const tracker = new OffsetTracker(0)
        let open: number[] = []
        let end = 0
        let position = 0
        for (const one of steps) {
          if (one.kind === 'hand') {
            const offset = end + one.skip
            tracker.handOut(offset)
            if (open.length === 0) position = offset
            open.push(offset)
            end = offset + 1
          } else if (one.kind === 'pass') {
            end += one.skip
            tracker.passOver(end)
            if (open.length === 0) position = end
          } else {
            const at = open[one.which % Math.max(1, open.length)]
            if (at === undefined) continue
            if (one.kind === 'done') tracker.done(at)
            else tracker.doneBelow(at)
            open = open.filter((offset) => (one.kind === 'done' ? offset !== at : offset >= at))
            position = Math.max(position, open[0] ?? end)
          }
          expect(tracker.position).toBe(position)
          expect(tracker.openCount).toBe(open.length)
        }
      }),
      { numRuns: 300 },
    )
  })
})
