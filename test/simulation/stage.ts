// What every simulated history stands on: virtual time, the trace, the verdict, and waiting for something to come true within
// a bounded virtual time. Knows nothing of brokers.

import type { Logger } from '../../shared/logger.ts'
import { silentLogger } from '../../shared/logger.ts'
import { Scheduler } from './scheduler.ts'
import { Trace } from './trace.ts'

export type VerdictKind = 'kept' | 'crash' | 'liveness' | 'correctness'

/** How long a question to the brokers may take to be answered, once all is mended. */
const ANSWER_MS = 200_000
const FAULTS_MAX = 20

export class Stage {
  readonly scheduler = new Scheduler()
  readonly trace: Trace
  readonly faults: string[] = []
  kind: VerdictKind = 'kept'
  readonly #isTraced: boolean
  /** With so many nothing more is played. */
  readonly #faultsMax: number

  constructor(isTraced = false, faultsMax = FAULTS_MAX) {
    this.#isTraced = isTraced
    this.#faultsMax = faultsMax
    this.trace = new Trace(isTraced)
  }

  get isOver(): boolean {
    return this.faults.length >= this.#faultsMax
  }

  note(who: string, what: string, details = ''): void {
    this.trace.add(this.scheduler.nowMs, who, what, details)
  }

  fail(kind: Exclude<VerdictKind, 'kept'>, fault: string): void {
    if (this.kind === 'kept') this.kind = kind
    if (this.isOver) return
    this.faults.push(`at ${this.scheduler.nowMs.toFixed(3)} ms: ${fault}`)
    this.note('oracle', 'FAULT', fault)
  }

  /** Plays; a rejection that nobody handles meanwhile is a fault. */
  async watch(play: () => Promise<void>): Promise<void> {
    const { stackTraceLimit } = Error
    // Thousands of refusals are made and forgotten; where they came from is shown by the run with its trace.
    if (!this.#isTraced) Error.stackTraceLimit = 0
    const onRejection = (error: unknown): void =>
      this.fail('crash', `a rejection that nobody handled: ${textOf(error)}`)
    process.on('unhandledRejection', onRejection)
    try {
      await play()
    } finally {
      Error.stackTraceLimit = stackTraceLimit
      process.off('unhandledRejection', onRejection)
    }
  }

  /** Runs until the promise settles; its failure is one of liveness. */
  async ask<T>(what: string, question: () => Promise<T>): Promise<T | undefined> {
    let answer: { value: T } | undefined
    let failure: string | undefined
    question().then(
      (value) => {
        answer = { value }
      },
      (error: unknown) => {
        failure = textOf(error)
      },
    )
    await this.until(what, () => answer !== undefined || failure !== undefined, ANSWER_MS)
    if (failure !== undefined) this.fail('liveness', `${what}: not so, ${failure}`)
    return answer?.value
  }

  /** What does not come true in time is a failure, if it has a name. */
  async until(what: string | undefined, isTrue: () => boolean, withinMs: number): Promise<boolean> {
    const isDone = (): boolean => this.isOver || isTrue()
    const untilMs = this.scheduler.nowMs + withinMs
    // Something happens at the end of the time at the latest.
    this.scheduler.at(untilMs, () => undefined)
    if (await this.scheduler.run(isDone, untilMs)) return !this.isOver
    if (what !== undefined) this.fail('liveness', `within ${withinMs} ms: ${what}`)
    return false
  }

  logger(who: string): Logger {
    if (!this.#isTraced) return silentLogger
    const line =
      (level: string) =>
      (fields: object, message: string): void =>
        this.trace.note(this.scheduler.nowMs, who, level, `${message} ${JSON.stringify(fields)}`)
    return { debug: line('debug'), info: line('info'), warn: line('warn'), error: line('error') }
  }
}

export function textOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}
