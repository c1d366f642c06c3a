// What happened, one line an event in fixed columns, and a digest of all of it: two runs of a seed that differ anywhere
// differ there. Keeps the last lines, or all of them when asked to.

import { createHash } from 'node:crypto'

const LINES_KEPT = 200
const HASHED_AT_ONCE = 16_384

type Line = readonly [ms: number, who: string, what: string, details: string]

export class Trace {
  readonly #hash = createHash('sha256')
  readonly #keepsAll: boolean
  /** Not hashed yet. */
  #pending = ''
  #lines: Line[] = []
  #count = 0

  constructor(keepsAll = false) {
    this.#keepsAll = keepsAll
  }

  get events(): number {
    return this.#count
  }

  /** Columns: virtual milliseconds, who, what, details. */
  add(ms: number, who: string, what: string, details = ''): void {
    this.#count += 1
    this.#pending += `${ms}|${who}|${what}|${details}\n`
    if (this.#pending.length > HASHED_AT_ONCE) this.#flush()
    this.#keep([ms, who, what, details])
  }

  /** A line that only explains: it is no part of the digest. */
  note(ms: number, who: string, what: string, details: string): void {
    this.#keep([ms, who, what, details])
  }

  /** Ends the trace. */
  digest(): string {
    this.#flush()
    return this.#hash.copy().digest('hex').slice(0, 16)
  }

  lines(): readonly string[] {
    return (this.#keepsAll ? this.#lines : this.#lines.slice(-LINES_KEPT)).map(textOf)
  }

  #flush(): void {
    this.#hash.update(this.#pending)
    this.#pending = ''
  }

  #keep(line: Line): void {
    this.#lines.push(line)
    if (!this.#keepsAll && this.#lines.length > 2 * LINES_KEPT) this.#lines = this.#lines.slice(-LINES_KEPT)
  }
}

function textOf([ms, who, what, details]: Line): string {
  return `${ms.toFixed(3).padStart(12)} ${who.padEnd(12)} ${what.padEnd(14)} ${details}`
}
