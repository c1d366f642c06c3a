// What the leader of a group has shared out, held against what there is: partitions and topics that come and go call for
// sharing out anew. Owns how often is asked. Knows nothing of members.

import type { Timer } from '../shared/time.ts'
import type { PartitionCounts } from './assignors.ts'
import type { Cluster } from './cluster.ts'
import type { Scope } from './scope.ts'

/** A topic as it was seen; undefined: there was none. */
interface Seen {
  readonly topicId: string | undefined
  readonly partitions: number
}

/** A topic that is denied is believed to be gone when it has been so often in a row: a broker may know less than others. */
const GONE_LOOKS = 2

/** Milliseconds after which a topic that is not there is looked for. */
const MISSING_MS = 1_000

export class TopicWatch {
  readonly #cluster: Cluster
  readonly #refreshMs: number
  readonly #onChanged: (reason: string) => void
  readonly #unlisten: () => void
  #seen = new Map<string, Seen | undefined>()
  readonly #denied = new Map<string, number>()
  #timer: Timer | undefined
  #isClosed = false

  constructor(cluster: Cluster, refreshMs: number, onChanged: (reason: string) => void) {
    this.#cluster = cluster
    this.#refreshMs = refreshMs
    this.#onChanged = onChanged
    this.#unlisten = cluster.metadata.onLearned(() => this.#compare())
  }

  /** How many partitions the topics have now; from here on they are watched. @throws what asking throws. */
  async look(topics: readonly string[], scope: Scope): Promise<PartitionCounts> {
    const { metadata } = this.#cluster
    this.#seen.clear()
    if (topics.length > 0) await scope.race(metadata.refresh(topics, false))
    const counts = new Map<string, number>()
    for (const topic of topics) {
      const known = metadata.topic(topic)
      if (known !== undefined) counts.set(topic, known.partitions.length)
    }
    this.follow(topics)
    return counts
  }

  /** Watches these topics as they are known now. */
  follow(topics: readonly string[]): void {
    const { metadata } = this.#cluster
    this.#denied.clear()
    this.#seen = new Map(
      topics.map((topic) => {
        const known = metadata.topic(topic)
        return [topic, known && { topicId: known.topicId, partitions: known.partitions.length }]
      }),
    )
    this.#setTimer()
  }

  close(): void {
    this.#isClosed = true
    this.#timer?.cancel()
    this.#unlisten()
    this.#seen.clear()
  }

  #setTimer(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    if (this.#isClosed || this.#seen.size === 0) return
    const look = (): void => {
      const again = (): void => this.#setTimer()
      // It compares by itself when something is learned; what could not be learned now is asked for again.
      this.#cluster.metadata.refresh([...this.#seen.keys()], false).then(again, again)
    }
    const isOneMissing = [...this.#seen.values()].includes(undefined)
    const delayMs = isOneMissing ? Math.min(MISSING_MS, this.#refreshMs) : this.#refreshMs
    this.#timer = this.#cluster.environment.timers.after(delayMs, look, { background: true })
  }

  #compare(): void {
    const { metadata } = this.#cluster
    for (const [topic, before] of this.#seen) {
      const known = metadata.topic(topic)
      if (known === undefined) {
        this.#onMissing(topic, before)
        continue
      }
      this.#denied.delete(topic)
      if (before?.topicId === known.topicId && before?.partitions === known.partitions.length) continue
      this.#seen.set(topic, { topicId: known.topicId, partitions: known.partitions.length })
      const count = `${known.partitions.length} partitions`
      this.#onChanged(
        before === undefined
          ? `topic ${topic} has come to be, with ${count}`
          : before.topicId === known.topicId
            ? `topic ${topic} has ${count} instead of ${before.partitions}`
            : `topic ${topic} was deleted and made anew`,
      )
    }
  }

  #onMissing(topic: string, before: Seen | undefined): void {
    if (before === undefined || this.#cluster.metadata.refusalOf(topic)?.code !== 'UNKNOWN_TOPIC_OR_PARTITION') return
    const looks = (this.#denied.get(topic) ?? 0) + 1
    this.#denied.set(topic, looks)
    if (looks < GONE_LOOKS) return
    this.#seen.set(topic, undefined)
    this.#onChanged(`topic ${topic} is no more`)
  }
}
