// Gathers the connections that have something to send or to go on with, and lets them do it when the callback that is
// running has ended: the code that answers a request is never re-entered by the next one, and all that one callback
// answers goes out together. Also keeps the time of the turn, so that many requests read the clock once.

import type { Clock, Timers } from '../../shared/time.ts'

export interface TurnMember {
  onTurnEnd(): void
}

export class Turn {
  readonly #clock: Clock
  readonly #timers: Timers
  #members: TurnMember[] = []
  #now = 0

  constructor(clock: Clock, timers: Timers) {
    this.#clock = clock
    this.#timers = timers
  }

  /** On the monotonic clock, read once a turn. */
  now(): number {
    if (this.#now === 0) {
      this.#now = this.#clock.monotonic()
      if (this.#members.length === 0) this.#runLater()
    }
    return this.#now
  }

  /** Once per member and turn: the member keeps count. */
  join(member: TurnMember): void {
    if (this.#members.length === 0 && this.#now === 0) this.#runLater()
    this.#members.push(member)
  }

  /** When what else has come in meanwhile has been looked at. */
  afterOthers(work: () => void): void {
    this.#timers.atEndOfTurn(work)
  }

  #runLater(): void {
    queueMicrotask(() => this.#run())
  }

  #run(): void {
    const members = this.#members
    this.#now = 0
    if (members.length === 0) return
    this.#members = []
    for (const member of members) member.onTurnEnd()
  }
}
