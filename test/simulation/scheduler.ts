// Virtual time: events in the order of their moment, and of their making where that is the same. One event is run, then
// every promise that it settled is let run out, then the next one; so one seed is one history. Knows nothing of what the
// events are.
//
// While an event's promises run out nothing else may happen: whatever a process waits for must be an event of this queue.
// Whatever waits for a settled promise is let run by the queue of ticks, which costs a tenth of a turn of the real event
// loop. Once in some events the loop turns, too: that is when a rejection that nobody handles is noticed. An event that is
// said to be quiet settles no promise and runs nothing of any process, so nothing is let run out behind it.

import { nextTick } from 'node:process'
import { setImmediate } from 'node:timers'
import { assert } from '../../shared/assert.ts'

export interface ScheduledEvent {
  readonly atMs: number
  readonly id: number
  /** It moves something on its way, and no process hears of it yet. */
  readonly isQuiet: boolean
  /** undefined once it has been run or cancelled. */
  run: (() => void) | undefined
}

const STEPS_PER_TURN = 64

export class Scheduler {
  nowMs = 0
  /** Called when an event and all that it settled have run out. */
  afterEvent: () => void = () => undefined
  readonly #heap: ScheduledEvent[] = []
  #lastId = 0
  #events = 0

  /** Events run so far. */
  get events(): number {
    return this.#events
  }

  at(atMs: number, run: () => void, isQuiet = false): ScheduledEvent {
    assert(!Number.isNaN(atMs), 'an event has a moment')
    const event = { atMs: Math.max(atMs, this.nowMs), id: ++this.#lastId, isQuiet, run }
    this.#push(event)
    return event
  }

  after(delayMs: number, run: () => void, isQuiet = false): ScheduledEvent {
    return this.at(this.nowMs + delayMs, run, isQuiet)
  }

  /** Runs events until `isDone` says so after one, or the next one lies beyond `untilMs`. False: it was not done by then. */
  async run(isDone: () => boolean, untilMs: number): Promise<boolean> {
    await turn()
    for (let steps = 1; ; steps++) {
      const outcome = this.#step(isDone, untilMs)
      if (outcome !== undefined) return outcome
      await (steps % STEPS_PER_TURN === 0 ? turn() : settled())
      this.afterEvent()
    }
  }

  /** Runs events up to the first that is not quiet. Undefined: there was one. */
  #step(isDone: () => boolean, untilMs: number): boolean | undefined {
    if (isDone()) return true
    for (;;) {
      const next = this.#heap[0]
      if (next === undefined || next.atMs > untilMs) return false
      this.#pop()
      const { run } = next
      if (run === undefined) continue
      next.run = undefined
      this.nowMs = next.atMs
      this.#events += 1
      run()
      if (!next.isQuiet) return undefined
    }
  }

  #push(event: ScheduledEvent): void {
    const heap = this.#heap
    let at = heap.push(event) - 1
    while (at > 0) {
      const parent = (at - 1) >> 1
      const above = heap[parent]
      if (above === undefined || isBefore(above, event)) break
      heap[at] = above
      at = parent
    }
    heap[at] = event
  }

  #pop(): void {
    const heap = this.#heap
    const last = heap.pop()
    if (last === undefined || heap.length === 0) return
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      let below = heap[child]
      const other = heap[child + 1]
      if (below !== undefined && other !== undefined && isBefore(other, below)) {
        below = other
        child += 1
      }
      if (below === undefined || isBefore(last, below)) break
      heap[at] = below
      at = child
    }
    heap[at] = last
  }
}

function isBefore(one: ScheduledEvent, other: ScheduledEvent): boolean {
  return one.atMs < other.atMs || (one.atMs === other.atMs && one.id < other.id)
}

/** Everything that waits for a settled promise has run when this resolves. */
function settled(): Promise<void> {
  return new Promise(resolveAtTick)
}

function resolveAtTick(resolve: () => void): void {
  nextTick(resolve)
}

/** The same, and the event loop has turned. */
function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve)
  })
}
