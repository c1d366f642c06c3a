// Which of the topics that a consumer wants are not there, told once each time that one goes. Owns how often a broker has to
// deny a topic before that is believed. Learns from the metadata that others ask for.

import type { TidemarkError } from '../shared/errors.ts'
import { errorOf } from './errors.ts'
import type { MetadataCache } from './metadata-cache.ts'

/** A topic that was there is believed to be gone when it was denied so often in a row: a broker may know less than others. */
const GONE_LOOKS = 2

export class MissingTopics {
  readonly #metadata: MetadataCache
  readonly #topics: readonly string[]
  readonly #onMissing: (topic: string, error: TidemarkError) => void
  readonly #denied = new Map<string, number>()
  readonly #seen = new Set<string>()
  #unlisten: () => void = () => undefined

  constructor(
    metadata: MetadataCache,
    topics: readonly string[],
    onMissing: (topic: string, error: TidemarkError) => void,
  ) {
    this.#metadata = metadata
    this.#topics = topics
    this.#onMissing = onMissing
  }

  /** What is not there now is told at once. */
  start(): void {
    this.#unlisten = this.#metadata.onLearned(() => this.#look())
    this.#look()
  }

  stop(): void {
    this.#unlisten()
  }

  #look(): void {
    for (const topic of this.#topics) {
      if (this.#metadata.topic(topic) !== undefined) {
        this.#seen.add(topic)
        this.#denied.delete(topic)
        continue
      }
      const cause = this.#metadata.refusalOf(topic)
      if (cause === undefined) continue
      const looks = (this.#denied.get(topic) ?? 0) + 1
      this.#denied.set(topic, looks)
      const wasSeen = this.#seen.has(topic)
      if (looks !== (wasSeen ? GONE_LOOKS : 1)) continue
      const what = wasSeen ? `topic ${topic} is no more` : `there is no topic ${topic} yet`
      this.#onMissing(topic, errorOf(cause.code, `${what}: the consumer waits for it`, { topic, cause }))
    }
  }
}
