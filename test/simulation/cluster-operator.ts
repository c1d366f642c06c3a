// Who changes a simulated cluster while it is at work, and while things go wrong in it: moves partitions and takes moves back,
// drains brokers and lets them lead again, empties brokers. Asks by the real client, on a machine of its own. When
// the time of faults is over it leaves a cluster that can come to rest: nobody is drained, or one broker is taken away for
// good.
//
// Invariant: no partition is sent to fewer replicas than what may be lost for good leaves alive.

import type { ErrorCode } from '../../shared/errors.ts'
import { TidemarkError } from '../../shared/errors.ts'
import type { Random } from '../../shared/random.ts'
import { sleep } from '../../shared/time.ts'
import type { ClientMachine, WorkloadTopic } from './workload.ts'

export interface OperatorParts {
  readonly machine: ClientMachine
  readonly random: Random
  readonly topics: readonly WorkloadTopic[]
  /** Their numbers are those from 1 on. */
  readonly brokers: number
  readonly everyMs: number
  /** Whether a partition may get fewer replicas than it was made with, as many as must hold a record. */
  readonly mayShrink: boolean
  /** Whether a broker is taken away in the end. */
  readonly takesAway: boolean
  readonly note: (who: string, what: string, details: string) => void
  readonly fail: (fault: string) => void
}

type Act = 'move' | 'replace' | 'call-off' | 'drain' | 'undrain' | 'decommission'

const ACTS: readonly Act[] = [
  'move',
  'move',
  'replace',
  'replace',
  'replace',
  'call-off',
  'drain',
  'undrain',
  'decommission',
]

/** Answers that say that a promise was broken, whatever is asked and whatever goes wrong. */
const NEVER: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'MALFORMED_FRAME',
  'UNKNOWN_API',
  'UNSUPPORTED_VERSION',
  'HELLO_EXPECTED',
  'UNKNOWN_SERVER_ERROR',
])
const CALL = { timeoutMs: 5_000 }
const RETRY_MS = 700
const MOVES_MAX = 3

export class Operator {
  /** How often each has been asked for and taken. */
  readonly done = new Map<Act, number>()
  /** Taken away for good. */
  away: number | undefined
  isDone = false
  readonly #parts: OperatorParts
  #isOver = false

  constructor(parts: OperatorParts) {
    this.#parts = parts
  }

  start(): void {
    this.#operate().then(
      () => (this.isDone = true),
      (error: unknown) => this.#parts.fail(`the operator threw ${String(error)}`),
    )
  }

  get machine(): ClientMachine {
    return this.#parts.machine
  }

  /** From now on nothing more is begun that would not come to an end. */
  end(): void {
    this.#isOver = true
  }

  async #operate(): Promise<void> {
    const { random, everyMs } = this.#parts
    while (!this.#isOver) {
      await this.#pause(-Math.log(1 - random.fraction()) * everyMs)
      const act = this.#any(ACTS)
      if (this.#isOver) break
      if (await this.#isTaken(act, () => this.#act(act))) this.done.set(act, (this.done.get(act) ?? 0) + 1)
    }
    for (let id = 1; id <= this.#parts.brokers; id++) await this.#insist(() => this.#admin.undrainBroker(id, CALL))
    if (this.#parts.takesAway) await this.#takeAway()
  }

  #act(act: Act): Promise<unknown> {
    const broker = 1 + this.#parts.random.integer(this.#parts.brokers)
    const acts: Readonly<Record<Act, () => Promise<unknown>>> = {
      move: () => this.#move((row, topic) => this.#anySet(row, topic)),
      replace: () => this.#move((row) => this.#withAnother(row)),
      'call-off': () => this.#callOff(),
      drain: () => this.#admin.drainBroker(broker, CALL),
      undrain: () => this.#admin.undrainBroker(broker, CALL),
      decommission: () => this.#admin.decommissionBroker(broker, CALL),
    }
    return acts[act]()
  }

  async #move(next: (row: readonly number[], topic: WorkloadTopic) => readonly number[]): Promise<void> {
    const { random, topics } = this.#parts
    const topic = this.#any(topics)
    const { partitions } = await this.#admin.describeTopic(topic.name, CALL)
    const wanted = partitions.filter(() => random.integer(2) === 0).slice(0, MOVES_MAX)
    const moves = wanted.map(({ partition, replicas }) => {
      return { topic: topic.name, partition, replicas: next(replicas, topic) }
    })
    if (moves.length > 0) await this.#admin.movePartitions({ moves }, CALL)
  }

  async #callOff(): Promise<void> {
    const topic = this.#any(this.#parts.topics).name
    const { partitions } = await this.#admin.describeTopic(topic, CALL)
    const underWay = partitions.filter(({ movingTo }) => movingTo !== undefined)
    const moves = underWay.map(({ partition }) => ({ topic, partition, replicas: [] }))
    if (moves.length > 0) await this.#admin.movePartitions({ moves }, CALL)
  }

  /** As many replicas as there must be, or more, in any order. */
  #anySet(row: readonly number[], { replication }: WorkloadTopic): readonly number[] {
    const { brokers, random, mayShrink } = this.#parts
    const { factor, minInSync } = replication ?? { factor: row.length, minInSync: row.length }
    const least = mayShrink ? Math.min(factor, minInSync) : factor
    const count = Math.min(brokers, least + random.integer(3))
    const left = Array.from({ length: brokers }, (_, index) => index + 1)
    return Array.from({ length: count }, () => left.splice(random.integer(left.length), 1)[0] ?? 1)
  }

  #withAnother(row: readonly number[]): readonly number[] {
    const { brokers, random } = this.#parts
    const others = Array.from({ length: brokers }, (_, index) => index + 1).filter((id) => !row.includes(id))
    if (others.length === 0) return row.toReversed()
    const leaves = random.integer(row.length)
    const comes = this.#any(others)
    return row.map((id, at) => (at === leaves ? comes : id))
  }

  /** Where the others are enough for all partitions: until nothing is left. */
  async #takeAway(): Promise<void> {
    const { brokers, random } = this.#parts
    const broker = 1 + random.integer(brokers)
    for (;;) {
      const outcome = await this.#admin.decommissionBroker(broker, CALL).then(
        ({ left }) => left,
        (error: unknown) => this.#judge('decommission', error),
      )
      if (outcome === 0) break
      if (outcome === 'INVALID_REPLICATION_FACTOR') {
        return this.#insist(() => this.#admin.undrainBroker(broker, CALL))
      }
      await this.#pause(RETRY_MS)
    }
    this.away = broker
    this.#parts.note('operator', 'taken away', `broker ${broker}`)
  }

  async #isTaken(what: string, act: () => Promise<unknown>): Promise<boolean> {
    try {
      await act()
      this.#parts.note('operator', what, '')
      return true
    } catch (error) {
      this.#judge(what, error)
      return false
    }
  }

  /** A refusal is the brokers' right; its code. */
  #judge(what: string, error: unknown): ErrorCode | undefined {
    const { note, fail } = this.#parts
    if (!(error instanceof TidemarkError)) {
      fail(`the operator met ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`)
      return undefined
    }
    note('operator', what, `${error.code} ${error.message}`)
    if (NEVER.has(error.code)) fail(`the operator met ${error.code}: ${error.message}`)
    return error.code
  }

  async #insist(act: () => Promise<unknown>): Promise<void> {
    while (!(await this.#isTaken('undrain', act))) await this.#pause(RETRY_MS)
  }

  get #admin(): ReturnType<ClientMachine['client']['admin']> {
    return this.#parts.machine.client.admin()
  }

  #any<T>(list: readonly T[]): T {
    const one = list[this.#parts.random.integer(list.length)]
    if (one === undefined) throw new Error('nothing to pick from')
    return one
  }

  #pause(ms: number): Promise<void> {
    return sleep(this.#parts.machine.process, ms)
  }
}
