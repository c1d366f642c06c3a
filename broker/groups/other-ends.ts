// Where partitions end that have no replica on this broker: asked of the brokers that lead them, when somebody looks. Owns
// what such a look costs: how many partitions are asked for, in how many requests, and how long is waited. Knows no group.
//
// Invariants: one request to a broker at a time; what has not been answered since the last look is not known.

import type { BrokerId } from '../../shared/ids.ts'
import type { RequestOf, ResponseOf } from '../../shared/protocol/api.ts'
import { OFFSET_AT } from '../../shared/protocol/offsets.ts'
import { type Clock, sleep, type Timers } from '../../shared/time.ts'

type Question = RequestOf<'listOffsets'>['partitions'][number]
/** What is read of an answer. */
type Ending = Pick<ResponseOf<'listOffsets'>['partitions'][number], 'error' | 'offset'>

export interface PartitionName {
  readonly topic: string
  readonly partition: number
}

export interface OtherEndsOptions {
  /** Who leads the partition, as far as the brokers have agreed; undefined where nobody does, or there is no such partition. */
  readonly leaderOf: (topic: string, partition: number) => BrokerId | undefined
  /** Whether it can be asked now. */
  readonly isConnected: (to: BrokerId) => boolean
  readonly listOffsets: (to: BrokerId, partitions: readonly Question[]) => Promise<readonly Ending[]>
  readonly clock: Clock
  readonly timers: Timers
}

/** Partitions of one look, of one request, and how long a look waits for its answers. */
const PARTITIONS_MAX = 10_000
const REQUEST_PARTITIONS_MAX = 1_000
const LOOK_MS_MAX = 1_000

export class OtherEnds {
  readonly #options: OtherEndsOptions
  #ends = new Map<string, number>()
  readonly #asking = new Set<BrokerId>()

  constructor(options: OtherEndsOptions) {
    this.#options = options
  }

  /** The high watermark, as it was told since the last look began; undefined where it is not known. */
  of({ topic, partition }: PartitionName): number | undefined {
    return this.#ends.get(keyOf(topic, partition))
  }

  /** Asks for these, and forgets what was known of others. Resolves when all is known that can be, or has taken too long. */
  async look(wanted: Iterable<PartitionName>): Promise<void> {
    const { clock, timers } = this.#options
    this.#ends = new Map()
    const questions = this.#byLeader(wanted)
    if (questions.size === 0) return
    const deadlineMs = clock.monotonic() + LOOK_MS_MAX
    const asked = Promise.all([...questions].map(([broker, list]) => this.#ask(broker, list, deadlineMs)))
    const over = new AbortController()
    const late = sleep(timers, LOOK_MS_MAX, over.signal).catch(() => undefined)
    await Promise.race([asked, late])
    over.abort()
  }

  #byLeader(wanted: Iterable<PartitionName>): Map<BrokerId, Question[]> {
    const { leaderOf, isConnected } = this.#options
    const questions = new Map<BrokerId, Question[]>()
    const seen = new Set<string>()
    for (const { topic, partition } of wanted) {
      const key = keyOf(topic, partition)
      if (seen.size >= PARTITIONS_MAX) break
      if (seen.has(key)) continue
      seen.add(key)
      const leader = leaderOf(topic, partition)
      if (leader === undefined || !isConnected(leader) || this.#asking.has(leader)) continue
      const list = questions.get(leader) ?? []
      questions.set(leader, list)
      list.push({ topic, partition, leaderEpoch: undefined, at: OFFSET_AT.latest })
    }
    return questions
  }

  /** One request after the other, while there is time. */
  async #ask(broker: BrokerId, questions: readonly Question[], deadlineMs: number): Promise<void> {
    const { listOffsets, clock } = this.#options
    const ends = this.#ends
    this.#asking.add(broker)
    try {
      for (let at = 0; at < questions.length && clock.monotonic() < deadlineMs; at += REQUEST_PARTITIONS_MAX) {
        const partitions = questions.slice(at, at + REQUEST_PARTITIONS_MAX)
        const endings = await listOffsets(broker, partitions)
        for (const [index, { error, offset }] of endings.entries()) {
          const question = partitions[index]
          if (error !== 0 || offset === undefined || question === undefined) continue
          ends.set(keyOf(question.topic, question.partition), offset)
        }
      }
    } catch {
      // What it could have told is not known.
    } finally {
      this.#asking.delete(broker)
    }
  }
}

function keyOf(topic: string, partition: number): string {
  return `${topic}/${partition}`
}
