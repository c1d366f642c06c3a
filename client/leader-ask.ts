// One question to the leader of some partitions, given up when the leader keeps silent and another leads by then. Owns
// nothing beyond the question.

import type { ApiName, RequestOf, ResponseOf } from '../shared/protocol/api.ts'
import { wordsOf } from '../shared/protocol/api-words.ts'
import type { Cluster } from './cluster.ts'
import { errorOf, toTidemarkError } from './errors.ts'
import { LeaderWatch } from './leader-watch.ts'
import { Scope } from './scope.ts'

const SILENT_MS = 1_000

export interface AskLeaderOptions {
  readonly led: readonly { readonly topic: string; readonly partition: number }[]
  readonly scope: Scope
}

/** One attempt. @throws what the broker refused; CONNECTION_FAILED, also when another leads; the scope's reason. */
export async function askLeader<Name extends ApiName>(
  cluster: Cluster,
  broker: number,
  api: Name,
  request: RequestOf<Name>,
  { led, scope }: AskLeaderOptions,
): Promise<ResponseOf<Name>> {
  const { environment, metadata } = cluster
  const startedAt = environment.clock.monotonic()
  const passedMs = (): number => environment.clock.monotonic() - startedAt
  const attempt = new Scope(environment, { what: wordsOf(api), signal: scope.signal })
  const topics = [...new Set(led.map(({ topic }) => topic))]
  const watch = new LeaderWatch(cluster, () => (passedMs() < SILENT_MS ? [] : topics))
  const moved = errorOf('CONNECTION_FAILED', `broker ${broker} did not ${wordsOf(api)}, and another leads by now`)
  const unlisten = metadata.onLearned(() => {
    const hasMoved = led.some(
      ({ topic, partition }) => (metadata.leaderOf(topic, partition)?.leader ?? broker) !== broker,
    )
    if (hasMoved && passedMs() >= SILENT_MS) attempt.cancel(moved)
  })
  watch.watch()
  try {
    const { body } = await attempt.race(cluster.askBroker(broker, api, request, { purpose: 'control', scope: attempt }))
    return body
  } catch (thrown) {
    scope.check()
    throw toTidemarkError(thrown, 'CONNECTION_FAILED', api)
  } finally {
    watch.stop()
    unlisten()
    attempt.end()
  }
}
