// Asks the leaders of partitions for offsets: the first, the end, or where a time stands. Owns the grouping by leader and
// the second try after a leader has moved.

import { OFFSET_AT } from '../shared/protocol/offsets.ts'
import type { Cluster } from './cluster.ts'
import { errorFromWire, errorOf } from './errors.ts'
import { askLeader } from './leader-ask.ts'
import type { ParsedPosition } from './read-position.ts'
import type { Scope } from './scope.ts'

export interface PartitionOffset {
  readonly partition: number
  /** Absent when no record is as young as the time that was asked for. */
  readonly offset: number | undefined
  readonly timestamp: number | undefined
}

export interface OffsetQuestion {
  readonly partition: number
  /** A timestamp in milliseconds, or one of OFFSET_AT. */
  readonly at: number
}

/** One answer a question, in their order. @throws what the broker refused, after the retries. */
export async function listOffsets(
  cluster: Cluster,
  topic: string,
  questions: readonly OffsetQuestion[],
  scope: Scope,
): Promise<PartitionOffset[]> {
  const answers = new Map<OffsetQuestion, PartitionOffset>()
  const attempt = async (): Promise<void> => {
    const byLeader = new Map<number, { question: OffsetQuestion; leaderEpoch: number | undefined }[]>()
    for (const question of questions) {
      if (answers.has(question)) continue
      const { brokerId, leaderEpoch } = await cluster.leaderOf(topic, question.partition, scope)
      const list = byLeader.get(brokerId) ?? []
      list.push({ question, leaderEpoch })
      byLeader.set(brokerId, list)
    }
    const asked = [...byLeader].map(async ([broker, list]) => {
      const partitions = list.map(({ question, leaderEpoch }) => ({ topic, leaderEpoch, ...question }))
      const body = await askLeader(cluster, broker, 'listOffsets', { partitions }, { led: partitions, scope })
      for (const [index, { question }] of list.entries()) {
        const part = body.partitions[index]
        const details = { topic, partition: question.partition }
        if (part === undefined) throw errorOf('MALFORMED_FRAME', 'an answer without the partition', details)
        if (part.error !== 0) {
          throw errorFromWire(part.error, part.message ?? `offsets of ${topic}-${question.partition}`, details)
        }
        answers.set(question, { partition: question.partition, offset: part.offset, timestamp: part.timestamp })
      }
    })
    await Promise.all(asked)
  }
  await cluster.retrying(`offsets of ${topic}`, scope, true, attempt, topic)
  return questions.map((question) => answers.get(question) ?? { ...question, offset: undefined, timestamp: undefined })
}

/** The offset of every partition at its position. A time later than the last record stands for the end. */
export async function resolvePositions(
  cluster: Cluster,
  topic: string,
  positions: ReadonlyMap<number, ParsedPosition>,
  scope: Scope,
): Promise<Map<number, number>> {
  const resolved = new Map<number, number>()
  const first: OffsetQuestion[] = []
  const ends: OffsetQuestion[] = []
  for (const [partition, position] of positions) {
    switch (position.kind) {
      case 'offset':
        resolved.set(partition, position.offset)
        break
      case 'earliest':
        first.push({ partition, at: OFFSET_AT.earliest })
        break
      case 'latest':
        ends.push({ partition, at: OFFSET_AT.latest })
        break
      case 'time':
        first.push({ partition, at: position.timestamp })
        ends.push({ partition, at: OFFSET_AT.latest })
        break
      case 'before-end':
        first.push({ partition, at: OFFSET_AT.earliest })
        ends.push({ partition, at: OFFSET_AT.latest })
        break
    }
  }
  // The ends before the times: what comes between the two questions is then found by its time, or lies behind the end.
  const foundEnds = ends.length === 0 ? [] : await listOffsets(cluster, topic, ends, scope)
  const found = first.length === 0 ? [] : await listOffsets(cluster, topic, first, scope)
  for (const { partition, offset } of foundEnds) resolved.set(partition, offset ?? 0)
  for (const { partition, offset } of found) {
    const position = positions.get(partition)
    const end = resolved.get(partition) ?? 0
    if (position?.kind === 'before-end') resolved.set(partition, Math.max(offset ?? 0, end - position.count))
    else if (offset !== undefined) resolved.set(partition, offset)
  }
  return resolved
}
