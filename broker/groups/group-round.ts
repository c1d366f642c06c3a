// The times of one round of a group: until when more members are waited for whoever has come, and when who has not come is
// out. Pure; knows no member.

export class GroupRound {
  #deadline = Infinity
  #holdUntil: number | undefined
  #delayMs = 0
  #hasNewcomer = false

  /** `delayMs`: of the first round of an empty group, in which more are waited for. */
  begin(now: number, timeoutMs: number, delayMs: number): void {
    this.#deadline = now + Math.max(timeoutMs, delayMs)
    this.#delayMs = delayMs
    this.#holdUntil = delayMs > 0 ? now + delayMs : undefined
    this.#hasNewcomer = false
  }

  /** Nobody has come who could share out: as long again. */
  extend(now: number, timeoutMs: number): void {
    this.#deadline = now + timeoutMs
  }

  noteNewcomer(): void {
    this.#hasNewcomer = true
  }

  /** When something is due. */
  get due(): number {
    return this.#holdUntil ?? this.#deadline
  }

  isOver(now: number): boolean {
    return this.#deadline <= now
  }

  /** Whether more are waited for: for as long as some come, and somebody is there. */
  isHeld(now: number, isAnybodyThere: boolean): boolean {
    if (this.#holdUntil === undefined) return false
    const isLonger = this.#holdUntil > now || (this.#hasNewcomer && now < this.#deadline)
    if (!isAnybodyThere || !isLonger) {
      this.#holdUntil = undefined
      return false
    }
    if (this.#holdUntil > now) return true
    this.#hasNewcomer = false
    this.#holdUntil = Math.min(now + this.#delayMs, this.#deadline)
    return true
  }
}
