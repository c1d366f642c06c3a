// Partitions by name: the pair, a map from it, and sets of it. Keys are two plain maps, so that no text is built for a
// lookup. Knows nothing of what is kept.

export interface TopicPartition {
  readonly topic: string
  readonly partition: number
}

/** A map from partitions; iterates topic by topic, in the order in which they came. */
export class TopicPartitionMap<V> {
  readonly #topics = new Map<string, Map<number, V>>()
  #size = 0

  get size(): number {
    return this.#size
  }

  get(topic: string, partition: number): V | undefined {
    return this.#topics.get(topic)?.get(partition)
  }

  has(topic: string, partition: number): boolean {
    return this.#topics.get(topic)?.has(partition) === true
  }

  set(topic: string, partition: number, value: V): void {
    let partitions = this.#topics.get(topic)
    if (partitions === undefined) {
      partitions = new Map()
      this.#topics.set(topic, partitions)
    }
    if (!partitions.has(partition)) this.#size += 1
    partitions.set(partition, value)
  }

  /** Whether it was there. */
  delete(topic: string, partition: number): boolean {
    const partitions = this.#topics.get(topic)
    if (partitions?.delete(partition) !== true) return false
    this.#size -= 1
    if (partitions.size === 0) this.#topics.delete(topic)
    return true
  }

  clear(): void {
    this.#topics.clear()
    this.#size = 0
  }

  *values(): Generator<V> {
    for (const partitions of this.#topics.values()) yield* partitions.values()
  }

  *entries(): Generator<TopicPartition & { readonly value: V }> {
    for (const [topic, partitions] of this.#topics) {
      for (const [partition, value] of partitions) yield { topic, partition, value }
    }
  }
}

/** By topic, then by number. */
export function comparePartitions(a: TopicPartition, b: TopicPartition): number {
  if (a.topic !== b.topic) return a.topic < b.topic ? -1 : 1
  return a.partition - b.partition
}
/** Those of `all` that are not among `without`, in their order. */
export function minus(all: readonly TopicPartition[], without: readonly TopicPartition[]): TopicPartition[] {
  const gone = new TopicPartitionMap<true>()
  for (const { topic, partition } of without) gone.set(topic, partition, true)
  return all.filter(({ topic, partition }) => !gone.has(topic, partition))
}

/** 'orders 0, 1, 2; payments 4', for messages. */
export function namesOf(partitions: readonly TopicPartition[]): string {
  const byTopic = new Map<string, number[]>()
  for (const { topic, partition } of [...partitions].sort(comparePartitions)) {
    const numbers = byTopic.get(topic) ?? []
    numbers.push(partition)
    byTopic.set(topic, numbers)
  }
  return [...byTopic].map(([topic, numbers]) => `${topic} ${numbers.join(', ')}`).join('; ')
}
