// What a cluster says of its partitions, waited for. Knows nothing of processes.

import type { Admin } from '../../client/admin.ts'
import { pause } from './cluster-load.ts'

export interface PartitionState {
  readonly leader: number | undefined
  readonly leaderEpoch: number | undefined
  readonly replicas: readonly number[]
  readonly inSyncReplicas: readonly number[]
  /** Where its replicas go to; undefined or empty when they stay. */
  readonly movingTo?: readonly number[] | undefined
  readonly state: string
  readonly reason: string | undefined
}

/** One partition as the brokers describe it. */
export async function stateOf(admin: Admin, topic: string, partition = 0): Promise<PartitionState> {
  const [described] = await admin.describeTopics([topic])
  const found = described?.partitions.find((one) => one.partition === partition)
  if (found === undefined) throw new Error(`${topic}-${partition} is not described`)
  return found
}

/** Resolves with the leader when the partition has one, other than `besides`. @throws after timeoutMs. */
export async function leaderOf(
  admin: Admin,
  topic: string,
  options: { readonly partition?: number; readonly besides?: number; readonly timeoutMs?: number } = {},
): Promise<number> {
  const { partition = 0, besides, timeoutMs = 15_000 } = options
  const isLed = ({ leader }: PartitionState): boolean => leader !== undefined && leader !== besides
  const { leader } = await until(admin, topic, partition, isLed, timeoutMs)
  if (leader === undefined) throw new Error('a leader')
  return leader
}

/** Resolves when so many replicas are in sync. @throws after timeoutMs. */
export async function inSync(admin: Admin, topic: string, count: number, partition = 0): Promise<PartitionState> {
  return until(admin, topic, partition, ({ inSyncReplicas }) => inSyncReplicas.length >= count, 30_000)
}

async function until(
  admin: Admin,
  topic: string,
  partition: number,
  isSo: (state: PartitionState) => boolean,
  timeoutMs: number,
): Promise<PartitionState> {
  const deadline = performance.now() + timeoutMs
  let last: unknown
  while (performance.now() < deadline) {
    try {
      const state = await stateOf(admin, topic, partition)
      if (isSo(state)) return state
      last = state
    } catch (error) {
      last = error
    }
    await pause(20)
  }
  const text = last instanceof Error ? last.message : JSON.stringify(last)
  throw new Error(`${topic}-${partition} did not come to it within ${timeoutMs} ms: ${text}`)
}
