// What happened, one line an event in fixed columns, and a digest of all of it: two runs of a seed that differ anywhere
// differ there. Keeps the last lines, or all of them when asked to.

import { createHash } from 'node:crypto'

const LINES_KEPT = 200

export class Trace {
  readonly #hash = createHash('sha256')
  readonly #keepsAll: boolean
  #lines: string[] = []
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
    const line = lineOf(ms, who, what, details)
    this.#hash.update(line)
    this.#keep(line)
  }

  /** A line that only explains: it is no part of the digest. */
  note(ms: number, who: string, what: string, details: string): void {
    this.#keep(lineOf(ms, who, what, details))
  }

  /** Ends the trace. */
  digest(): string {
    return this.#hash.copy().digest('hex').slice(0, 16)
  }

  lines(): readonly string[] {
    return this.#keepsAll ? this.#lines : this.#lines.slice(-LINES_KEPT)
  }

  #keep(line: string): void {
    this.#lines.push(line)
    if (!this.#keepsAll && this.#lines.length > 2 * LINES_KEPT) this.#lines = this.#lines.slice(-LINES_KEPT)
  }
}

function lineOf(ms: number, who: string, what: string, details: string): string {
  return `${ms.toFixed(3).padStart(12)} ${who.padEnd(12)} ${what.padEnd(14)} ${details}`
}
