// Gathers the connections that have something to send or to go on with, and lets them do it when the callback that is
// running has ended: the code that answers a request is never re-entered by the next one, and all that one callback
// answers goes out together. Also keeps the time of the turn, so that many requests read the clock once.

import type { Clock } from '../../shared/time.ts'

export interface TurnMember {
  onTurnEnd(): void
}

export class Turn {
  readonly #clock: Clock
  #members: TurnMember[] = []
  #now = 0

  constructor(clock: Clock) {
    this.#clock = clock
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
