// Log lines that a peer can cause at will: some are written, and then only their number, so that a port scan or a broken
// client cannot fill the disk. Pure but for the logger.

import type { Logger } from '../../shared/logger.ts'

const LINES_MAX = 20
const REFILLS_A_PERIOD = 10

export class LogAllowance {
  readonly #logger: Logger
  #left = LINES_MAX
  #suppressed = 0
  #refills = 0

  constructor(logger: Logger) {
    this.#logger = logger
  }

  warn(fields: object, message: string): void {
    if (this.#left === 0) {
      this.#suppressed += 1
      return
    }
    this.#left -= 1
    this.#logger.warn(fields, message)
  }

  /** Called once a second; every ten of them there is room for new lines. */
  refill(): void {
    this.#refills += 1
    if (this.#refills < REFILLS_A_PERIOD) return
    this.#refills = 0
    this.#left = LINES_MAX
    if (this.#suppressed === 0) return
    this.#logger.warn({ lines: this.#suppressed }, 'more connections were closed than are logged one by one')
    this.#suppressed = 0
  }
}
