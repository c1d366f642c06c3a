// A producer under load, for clients in JavaScript: sends batch after batch, and keeps what became of each value. Knows no
// client; what sends is handed in.

import { pause } from '../setup/cluster-load.ts'
import type { LoadOutcome } from './foreign-client.ts'
import { Waiters } from './waiters.ts'

const BATCH = 10
const PAUSE_MS = 20
const WAIT_MS = 50_000

export class Load {
  readonly #name: string
  readonly #send: (values: readonly string[]) => Promise<number>
  readonly #close: () => Promise<void>
  readonly #acknowledged: [string, number][] = []
  readonly #failed: [string, string][] = []
  readonly #waiters = new Waiters()
  readonly #running: Promise<void>
  #isEnding = false

  /** `send` answers with the offset of the first. */
  constructor(name: string, send: (values: readonly string[]) => Promise<number>, close: () => Promise<void>) {
    this.#name = name
    this.#send = send
    this.#close = close
    this.#running = this.#run()
  }

  async more(count: number): Promise<number> {
    const goal = this.#acknowledged.length + count
    await this.#waiters.until(() => this.#acknowledged.length >= goal, WAIT_MS)
    if (this.#acknowledged.length >= goal) return this.#acknowledged.length
    throw new Error(`only ${this.#acknowledged.length} of ${goal}, failed ${JSON.stringify(this.#failed.slice(0, 3))}`)
  }

  async end(): Promise<LoadOutcome> {
    this.#isEnding = true
    await this.#running
    return { acknowledged: this.#acknowledged, failed: this.#failed }
  }

  async #run(): Promise<void> {
    for (let number = 0; !this.#isEnding; number += BATCH) {
      const values = Array.from({ length: BATCH }, (_, index) => `${this.#name}:${number + index}`)
      try {
        const base = await this.#send(values)
        this.#acknowledged.push(...values.map((value, index): [string, number] => [value, base + index]))
      } catch (error) {
        this.#failed.push(...values.map((value): [string, string] => [value, String(error)]))
      }
      this.#waiters.tell()
      // What is written is read again: no more than a moment's worth.
      await pause(PAUSE_MS)
    }
    await this.#close()
  }
}
