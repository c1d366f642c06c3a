import { describe, expect, it } from 'vitest'
import type { ProducerVerdict } from '../../broker/storage/producer-state.ts'
import { ProducerState } from '../../broker/storage/producer-state.ts'
import { setBaseOffset } from '../../shared/record-batch/header.ts'
import { at, NOW, numbered, time } from './log-fixture.ts'

/** Takes note of a batch as appended at the offset. */
function note(state: ProducerState, offset: number, bytes: Uint8Array, now = NOW): void {
  setBaseOffset(bytes, 0, at(offset))
  state.noteBatch(bytes, 0, now)
}

function check(state: ProducerState, bytes: Uint8Array): ProducerVerdict {
  return state.check(bytes, 0)
}

describe('the state of the idempotent producers', () => {
  it('takes any first sequence of a producer it does not know', () => {
    expect(check(new ProducerState(), numbered(['a'], 1, 17))).toEqual({ kind: 'next' })
  })

  it('lets nothing overtake the first batch of a producer that was refused', () => {
    const state = new ProducerState()
    state.noteRefused(numbered(['b'], 1, 1), 0)
    state.noteRefused(numbered(['a'], 1, 0), 0)
    state.noteRefused(numbered(['b'], 1, 1), 0)
    expect(check(state, numbered(['b'], 1, 1))).toMatchObject({ error: 'OUT_OF_ORDER_SEQUENCE_NUMBER' })
    expect(check(state, numbered(['b'], 2, 1))).toEqual({ kind: 'next' })
    expect(check(state, numbered(['new session'], 1, 1, 1))).toEqual({ kind: 'next' })
    expect(check(state, numbered(['a'], 1, 0))).toEqual({ kind: 'next' })
    note(state, 0, numbered(['a'], 1, 0))
    expect(check(state, numbered(['b'], 1, 1))).toEqual({ kind: 'next' })
  })

  it('remembers refusals of so many producers, the newest ones', () => {
    const state = new ProducerState()
    for (let id = 0; id <= 10_000; id += 1) state.noteRefused(numbered(['a'], id, 0), 0)
    expect(check(state, numbered(['b'], 0, 1))).toEqual({ kind: 'next' })
    expect(check(state, numbered(['b'], 1, 1))).toMatchObject({ kind: 'refused' })
    expect(state.count).toBe(0)
  })

  it('knows the last five batches and refuses what was sent before them', () => {
    const state = new ProducerState()
    for (let sequence = 0; sequence < 7; sequence++) note(state, 100 + sequence, numbered([`${sequence}`], 1, sequence))
    for (let sequence = 2; sequence < 7; sequence++) {
      expect(check(state, numbered([`${sequence}`], 1, sequence))).toEqual({
        kind: 'duplicate',
        baseOffset: 100 + sequence,
        endOffset: 101 + sequence,
      })
    }
    expect(check(state, numbered(['1'], 1, 1))).toMatchObject({ error: 'DUPLICATE_SEQUENCE_NUMBER' })
    expect(check(state, numbered(['7'], 1, 7))).toEqual({ kind: 'next' })
    expect(check(state, numbered(['8'], 1, 8))).toMatchObject({ error: 'OUT_OF_ORDER_SEQUENCE_NUMBER' })
  })

  it('refuses other records under a sequence that was used', () => {
    const state = new ProducerState()
    note(state, 0, numbered(['a'], 1, 0))
    expect(check(state, numbered(['b'], 1, 0))).toMatchObject({ error: 'OUT_OF_ORDER_SEQUENCE_NUMBER' })
    expect(check(state, numbered(['a', 'b'], 1, 0))).toMatchObject({ error: 'DUPLICATE_SEQUENCE_NUMBER' })
  })

  it('knows a batch by its sequence numbers alone where its bytes may differ', () => {
    const state = new ProducerState()
    note(state, 0, numbered(['a'], 1, 0))
    expect(state.check(numbered(['b'], 1, 0), 0, true)).toEqual({ kind: 'duplicate', baseOffset: 0, endOffset: 1 })
    expect(state.check(numbered(['b'], 1, 2), 0, true)).toMatchObject({ error: 'OUT_OF_ORDER_SEQUENCE_NUMBER' })
  })

  it('goes on at 0 behind the greatest sequence', () => {
    const state = new ProducerState()
    note(state, 0, numbered(['a', 'b'], 1, 0x7fff_fffe))
    expect(check(state, numbered(['c'], 1, 0))).toEqual({ kind: 'next' })
    note(state, 2, numbered(['c', 'd'], 1, 0))
    expect(check(state, numbered(['a', 'b'], 1, 0x7fff_fffe))).toMatchObject({ kind: 'duplicate', baseOffset: 0 })
    expect(check(state, numbered(['x'], 1, 0x7fff_fff0))).toMatchObject({ error: 'DUPLICATE_SEQUENCE_NUMBER' })
    const across = new ProducerState()
    note(across, 0, numbered(['a', 'b', 'c'], 1, 0x7fff_ffff))
    expect(check(across, numbered(['d'], 1, 2))).toEqual({ kind: 'next' })
  })

  it('fences off the sessions of before', () => {
    const state = new ProducerState()
    note(state, 0, numbered(['a'], 1, 0, 3))
    expect(check(state, numbered(['b'], 1, 1, 2))).toMatchObject({ error: 'INVALID_PRODUCER_EPOCH' })
    expect(check(state, numbered(['b'], 1, 1, 4))).toMatchObject({ error: 'OUT_OF_ORDER_SEQUENCE_NUMBER' })
    expect(check(state, numbered(['b'], 1, 0, 4))).toEqual({ kind: 'next' })
    state.settle()
    note(state, 1, numbered(['b'], 1, 0, 4))
    // What was staged is undone; the new session stays, and its first batch is sent again.
    state.undo(at(1))
    expect(check(state, numbered(['c'], 1, 1, 4))).toMatchObject({ error: 'OUT_OF_ORDER_SEQUENCE_NUMBER' })
    expect(check(state, numbered(['a'], 1, 0, 3))).toMatchObject({ error: 'INVALID_PRODUCER_EPOCH' })
    expect(check(state, numbered(['b'], 1, 0, 4))).toEqual({ kind: 'next' })
  })

  it('forgets what is undone and knows what was before', () => {
    const state = new ProducerState()
    note(state, 0, numbered(['a'], 1, 0))
    state.settle()
    note(state, 1, numbered(['b'], 1, 1))
    state.undo(at(1))
    expect(check(state, numbered(['a'], 1, 0))).toMatchObject({ kind: 'duplicate', baseOffset: 0 })
    expect(check(state, numbered(['c'], 1, 2))).toMatchObject({ error: 'OUT_OF_ORDER_SEQUENCE_NUMBER' })
    expect(check(state, numbered(['b'], 1, 1))).toEqual({ kind: 'next' })
  })

  // A batch that was on its way behind them was taken as the first one, and those that had been undone, sent again, were
  // answered as if they had been stored long ago.
  it.each([1, 5, 8])('takes only the first of %i batches that are undone with all that is remembered', (count) => {
    for (const isKnown of [true, false]) {
      const state = new ProducerState()
      if (isKnown) note(state, 0, numbered(['a'], 1, 16))
      state.settle()
      for (let number = 0; number < count; number++) note(state, 1 + number, numbered(['b'], 1, 17 + number))
      state.undo(at(1))
      for (const gap of [18, 17 + count, 18 + count]) {
        expect(check(state, numbered(['c'], 1, gap))).toMatchObject({ error: 'OUT_OF_ORDER_SEQUENCE_NUMBER' })
      }
      expect(check(state, numbered(['b'], 1, 17))).toEqual({ kind: 'next' })
      note(state, 1, numbered(['b'], 1, 17))
      state.undo(at(1))
      expect(check(state, numbered(['d'], 1, 18))).toMatchObject({ error: 'OUT_OF_ORDER_SEQUENCE_NUMBER' })
      expect(check(state, numbered(['b'], 1, 17))).toEqual({ kind: 'next' })
    }
  })

  it('is the same after a snapshot, which holds nothing at or above its offset', () => {
    const state = new ProducerState()
    for (let sequence = 0; sequence < 4; sequence++) note(state, sequence, numbered([`${sequence}`], 1, sequence))
    const restored = new ProducerState()
    expect(restored.restore(JSON.parse(JSON.stringify(state.snapshot(at(3)))))).toBe(true)
    expect(check(restored, numbered(['2'], 1, 2))).toMatchObject({ kind: 'duplicate', baseOffset: 2 })
    expect(check(restored, numbered(['3'], 1, 3))).toEqual({ kind: 'next' })
    for (const nonsense of [
      undefined,
      {},
      [1],
      [[1, 2]],
      [[1, 2, 3, 4]],
      [['a', 0, 0]],
      [[1, 0, 0, ...Array.from({ length: 30 }, () => 0)]],
    ]) {
      expect(restored.restore(nonsense)).toBe(false)
      expect(restored.count).toBe(0)
    }
  })

  it('forgets those long silent, and the oldest when there are too many', () => {
    const state = new ProducerState({ producersMax: 10 })
    for (let id = 0; id < 10; id++) note(state, id, numbered(['a'], id, 0), time(NOW + id))
    note(state, 10, numbered(['a'], 99, 0), time(NOW + 50))
    expect(state.count).toBe(10)
    expect(check(state, numbered(['b'], 0, 5))).toEqual({ kind: 'next' })
    expect(check(state, numbered(['b'], 1, 5))).toMatchObject({ kind: 'refused' })
    expect(state.expire(time(NOW + 1_009), 1_000)).toBe(8)
    expect(state.count).toBe(2)
  })
})
