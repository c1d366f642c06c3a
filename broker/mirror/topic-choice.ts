// Which topics are meant. Owns what a pattern is: a name in which * stands for anything.

import type { KnownTopic } from './kafka-cluster.ts'
import { TidemarkError } from '../../shared/errors.ts'

/** Those that the patterns name, each of them one at least; without patterns all that are not internal. @throws UNKNOWN_TOPIC_OR_PARTITION */
export function chosenTopics(topics: readonly KnownTopic[], patterns: readonly string[]): readonly KnownTopic[] {
  const usual = topics.filter(({ name, isInternal }) => !isInternal && !name.startsWith('__'))
  if (patterns.length === 0) return usual
  const chosen = new Set<KnownTopic>()
  for (const pattern of patterns) {
    const isPattern = pattern.includes('*')
    const expression = new RegExp(`^${pattern.split('*').map(literal).join('.*')}$`)
    const found = isPattern
      ? usual.filter(({ name }) => expression.test(name))
      : topics.filter(({ name }) => name === pattern)
    if (found.length === 0) {
      const what = isPattern ? `topic that ${pattern} stands for` : `topic ${pattern}`
      throw new TidemarkError('UNKNOWN_TOPIC_OR_PARTITION', `the source has no ${what}`, { topic: pattern })
    }
    for (const topic of found) chosen.add(topic)
  }
  return [...chosen]
}

function literal(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
}
