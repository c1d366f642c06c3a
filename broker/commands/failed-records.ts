// Which records were not acknowledged, by their numbers. Failures come by the batch, so ranges say it in a few words; what
// is kept is bounded.

const RANGES_MAX = 1_000
const RANGES_SHOWN = 10

export class FailedRecords {
  #count = 0
  /** Of the first failure. */
  #reason: unknown
  readonly #ranges: [first: number, last: number][] = []

  get count(): number {
    return this.#count
  }

  get reason(): unknown {
    return this.#reason
  }

  add(number: number, reason: unknown): void {
    if (this.#count === 0) this.#reason = reason
    this.#count++
    const last = this.#ranges.at(-1)
    if (last !== undefined && last[1] + 1 === number) last[1] = number
    else if (this.#ranges.length < RANGES_MAX) this.#ranges.push([number, number])
  }

  /** `records 4-9, 12 and 3 more ranges`. */
  ranges(): string {
    const shown = this.#ranges
      .toSorted(([first], [other]) => first - other)
      .slice(0, RANGES_SHOWN)
      .map(([first, last]) => (first === last ? first : `${first}-${last}`))
    const more = this.#ranges.length - shown.length
    return `record${this.#count === 1 ? '' : 's'} ${shown.join(', ')}${more > 0 ? ` and more, ${this.#count} in all` : ''}`
  }
}
