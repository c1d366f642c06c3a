// Commits offsets: one request at a time, and what is asked for meanwhile goes together in the next. Owns what is to be
// committed and is not. Invariants: offsets of a partition are sent in the order in which they were asked for; none is sent
// for a partition that was given up or taken away in between, though the member be in the group again: its generation would
// be the new owner's.

import type { ErrorCode, TidemarkError } from '../shared/errors.ts'
import type { RequestOf } from '../shared/protocol/api.ts'
import type { Cluster } from './cluster.ts'
import { errorFromWire, errorOf, toTidemarkError } from './errors.ts'
import type { GroupMembership } from './group-membership.ts'
import { backoffMs } from './retry.ts'
import { Scope } from './scope.ts'
import { type TopicPartition, TopicPartitionMap } from './topic-partitions.ts'

/** What a commit needs to know of a partition. */
export interface Committable extends TopicPartition {
  /** Somebody else may have it. */
  readonly isLost: boolean
  /** It has been given up in order: the last commit has been made, and somebody else may have it now. */
  readonly isGivenUp: boolean
  committed: number | undefined
}

export interface OffsetToCommit {
  readonly of: Committable
  readonly offset: number
  readonly leaderEpoch?: number | undefined
  readonly metadata?: string | undefined
}

/** Partitions of one request. */
const PARTITIONS_MAX = 5_000

const FORGOTTEN: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'ILLEGAL_GENERATION',
  'UNKNOWN_MEMBER_ID',
  'FENCED_INSTANCE_ID',
])

export interface CommitterHooks {
  /** generation: in which the member was when it asked. */
  onCommitted(offsets: readonly OffsetToCommit[], generation: number): void
  /** A commit has been tried in vain for a while, and is tried on. */
  onTrouble(error: TidemarkError): void
}

/** Milliseconds in vain after which is told. */
const TROUBLE_MS = 10_000

interface Round {
  readonly offsets: TopicPartitionMap<OffsetToCommit>
  readonly done: Promise<void>
}

export class OffsetCommitter {
  readonly #cluster: Cluster
  readonly #groupId: string
  readonly #instanceId: string | undefined
  readonly #membership: GroupMembership
  readonly #hooks: CommitterHooks
  readonly #stopping = new AbortController()
  #running: Promise<void> = Promise.resolve()
  #next: Round | undefined

  constructor(
    cluster: Cluster,
    group: { readonly groupId: string; readonly instanceId: string | undefined },
    membership: GroupMembership,
    hooks: CommitterHooks,
  ) {
    this.#cluster = cluster
    this.#groupId = group.groupId
    this.#instanceId = group.instanceId
    this.#membership = membership
    this.#hooks = hooks
  }

  /**
   * Resolves when the coordinator has all of them on stable storage. Tried again for as long as that may help.
   * @throws ILLEGAL_GENERATION, UNKNOWN_MEMBER_ID where others have the partition by now; the first refusal.
   */
  commit(offsets: readonly OffsetToCommit[]): Promise<void> {
    if (offsets.length === 0) return this.#next?.done ?? this.#running
    if (this.#next === undefined) {
      const round = { offsets: new TopicPartitionMap<OffsetToCommit>(), done: Promise.resolve() }
      round.done = this.#running
        .catch(() => undefined)
        .then(() => {
          this.#next = undefined
          return this.#commit([...round.offsets.values()])
        })
      // Whoever waits is told; who does not, is not, nor who comes later and has nothing to commit.
      const onEnded = (): void => {
        if (this.#running === round.done) this.#running = Promise.resolve()
      }
      round.done.then(onEnded, onEnded)
      this.#next = round
      this.#running = round.done
    }
    for (const one of offsets) this.#next.offsets.set(one.of.topic, one.of.partition, one)
    return this.#next.done
  }

  /** What waits fails. */
  close(): void {
    this.#stopping.abort(errorOf('CLIENT_CLOSED', 'the consumer was closed'))
  }

  async #commit(offsets: readonly OffsetToCommit[]): Promise<void> {
    const { environment, closing } = this.#cluster
    const what = `commit offsets of group ${this.#groupId}`
    const scope = new Scope(environment, { signal: this.#stopping.signal, closing, what })
    try {
      for (let at = 0; at < offsets.length; at += PARTITIONS_MAX) {
        await this.#commitSome(offsets.slice(at, at + PARTITIONS_MAX), scope)
      }
    } finally {
      scope.end()
    }
  }

  async #commitSome(offsets: readonly OffsetToCommit[], scope: Scope): Promise<void> {
    const { clock } = this.#cluster.environment
    const startedAt = clock.monotonic()
    let isTold = false
    let left = offsets
    let refusal: TidemarkError | undefined
    for (let failures = 1; ; failures += 1) {
      const missed = left.find(({ of, offset }) => of.isLost || (of.isGivenUp && of.committed !== offset))
      if (missed !== undefined) refusal ??= this.#lostError(missed)
      left = left.filter(({ of }) => !of.isLost && !of.isGivenUp)
      if (left.length === 0) break
      const { again, failure, refused } = await this.#attempt(left, scope)
      refusal ??= refused
      left = again
      if (left.length === 0) break
      this.#cluster.logger.debug({ group: this.#groupId, failures, reason: failure?.message }, 'committing again')
      const spentMs = Math.round(clock.monotonic() - startedAt)
      if (!isTold && spentMs >= TROUBLE_MS && failure !== undefined) {
        isTold = true
        const text = `offsets of group ${this.#groupId} could not be committed for ${spentMs} ms: ${failure.message}`
        this.#hooks.onTrouble(errorOf(failure.code, text, { cause: failure }))
      }
      await this.#pause(backoffMs(failures, this.#cluster.settings.retry, this.#cluster.environment.random), scope)
      scope.check()
    }
    if (refusal !== undefined) throw refusal
  }

  /** A rebalance that is over, or a coordinator that was found, is heard of at once. */
  #pause(pauseMs: number, { signal }: Scope): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        timer.cancel()
        unlisten()
        signal.removeEventListener('abort', done)
        resolve()
      }
      const timer = this.#cluster.environment.timers.after(pauseMs, done)
      const unlisten = this.#membership.onChange(done)
      signal.addEventListener('abort', done, { once: true })
    })
  }

  /** One request; what is worth another, and what is not. */
  async #attempt(
    offsets: readonly OffsetToCommit[],
    scope: Scope,
  ): Promise<{ again: OffsetToCommit[]; failure?: TidemarkError; refused?: TidemarkError }> {
    const { member, generation } = this.#membership.identity
    const request: RequestOf<'commitOffsets'> = {
      group: this.#groupId,
      member,
      instance: this.#instanceId,
      generation,
      partitions: offsets.map(({ of, offset, leaderEpoch, metadata = '' }) => {
        return { topic: of.topic, partition: of.partition, offset, leaderEpoch, metadata }
      }),
    }
    // Without a generation it would be taken for a commit of nobody's.
    if (generation < 0) {
      return { again: [...offsets], failure: errorOf('REBALANCE_IN_PROGRESS', 'the member is not in the group') }
    }
    try {
      const { partitions } = await this.#membership.ask('commitOffsets', request, scope)
      return this.#sort(offsets, partitions, generation)
    } catch (thrown) {
      const failure = toTidemarkError(thrown, 'UNKNOWN_SERVER_ERROR', 'commit')
      if (scope.isOver || !failure.retriable) throw failure
      return { again: [...offsets], failure }
    }
  }

  #sort(
    offsets: readonly OffsetToCommit[],
    answers: readonly { readonly error: number; readonly message?: string | undefined }[],
    generation: number,
  ): { again: OffsetToCommit[]; failure?: TidemarkError; refused?: TidemarkError } {
    const done: OffsetToCommit[] = []
    const again: OffsetToCommit[] = []
    let failure: TidemarkError | undefined
    let refused: TidemarkError | undefined
    let forgotten: TidemarkError | undefined
    for (const [index, one] of offsets.entries()) {
      const answer = answers[index]
      if (answer === undefined) throw errorOf('MALFORMED_FRAME', 'an answer without the partition')
      if (answer.error === 0) {
        one.of.committed = one.offset
        done.push(one)
        continue
      }
      const { topic, partition } = one.of
      const text = `group ${this.#groupId}, offset ${one.offset} of ${topic}-${partition} was not committed`
      const error = errorFromWire(answer.error, `${text}: ${answer.message ?? 'refused'}`, { topic, partition })
      if (FORGOTTEN.has(error.code)) forgotten = error
      if (FORGOTTEN.has(error.code) || isWorthAnother(error)) {
        again.push(one)
        failure = error
      } else refused ??= error
    }
    // Either the member is in another generation by now, and the next attempt says so, or it is out: then all is lost.
    if (forgotten !== undefined) this.#membership.onForgotten(generation, forgotten)
    if (done.length > 0) this.#hooks.onCommitted(done, generation)
    return { again, ...(failure && { failure }), ...(refused && { refused }) }
  }

  #lostError({ of: { topic, partition } }: OffsetToCommit): TidemarkError {
    const text = `group ${this.#groupId}: ${topic}-${partition} was taken from this member before its offset was committed`
    return errorOf('ILLEGAL_GENERATION', text)
  }
}

/** A partition that is not there (any more) will not be there for the next attempt. */
function isWorthAnother({ code, retriable }: TidemarkError): boolean {
  return code === 'REBALANCE_IN_PROGRESS' || (retriable && code !== 'UNKNOWN_TOPIC_OR_PARTITION')
}
