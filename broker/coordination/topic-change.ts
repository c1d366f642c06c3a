// What a topic becomes by a change, the same for every kind of coordinator. Pure.

import type { TopicChange, TopicDefinition } from './coordinator.ts'

/** An empty table of moves is none. */
export function changedTopic(current: TopicDefinition, change: TopicChange, version: number): TopicDefinition {
  const { moves, ...topic } = { ...current, ...change }
  const isMoving = moves !== undefined && Object.keys(moves).length > 0
  return { ...topic, ...(isMoving ? { moves } : {}), version }
}
