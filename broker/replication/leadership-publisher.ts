// Tells the coordinator who leads and which replicas keep up, for everybody who asks it. Owns that all of one turn go in one
// request, that what could not be told is told later, and that only the newest is told. Nothing depends on it but that
// clients and other brokers find the leader.

import type { BrokerId, LeaderEpoch } from '../../shared/ids.ts'
import type { Logger } from '../../shared/logger.ts'
import type { Random } from '../../shared/random.ts'
import type { Timer, Timers } from '../../shared/time.ts'
import type { Coordinator, LeadershipOutcome, LeaderSuggestion } from '../coordination/coordinator.ts'
import type { Replica } from './replica.ts'
import { leaderEpoch as toLeaderEpoch } from '../../shared/ids.ts'

const RETRY_MS = 500
/** In-sync sets change in waves; a few at a time are told. */
const PROPOSALS_AT_ONCE = 16
/** Whoever the coordinator takes for the leader of a higher epoch is given so long to show itself. */
const FENCED_WAIT_MS = 300

interface News {
  readonly epoch: LeaderEpoch
  readonly inSyncReplicas: readonly BrokerId[] | undefined
}

/** A led partition, as far as giving it back goes. */
interface Resigning {
  readonly identity: Pick<Replica['identity'], 'topicId' | 'partition'>
  readonly leaderEpoch: LeaderEpoch | undefined
}

export interface LeadershipPublisherOptions {
  readonly coordinator: Coordinator
  readonly timers: Timers
  readonly random: Random
  readonly logger: Logger
}

export class LeadershipPublisher {
  readonly #options: LeadershipPublisherOptions
  /** Newest of each replica that waits to be told. */
  readonly #leaderships = new Map<Replica, News>()
  readonly #inSync = new Map<Replica, News>()
  readonly #fenced = new Set<Replica>()
  /** What the coordinator knew no topic for. */
  readonly #forgotten = new Map<Replica, News>()
  #isBusy = false
  #isScheduled = false
  #isStopped = false
  #retry: Timer | undefined
  #fencedTimer: Timer | undefined

  constructor(options: LeadershipPublisherOptions) {
    this.#options = options
  }

  stop(): void {
    this.#isStopped = true
    this.#retry?.cancel()
    this.#fencedTimer?.cancel()
  }

  publish(replica: Replica, epoch: LeaderEpoch): void {
    this.#leaderships.set(replica, { epoch, inSyncReplicas: undefined })
    this.#schedule()
  }

  propose(replica: Replica, epoch: LeaderEpoch, inSyncReplicas: readonly BrokerId[]): void {
    // With the leadership itself, if that has not been told yet.
    const untold = this.#leaderships.get(replica)
    if (untold?.epoch === epoch) this.#leaderships.set(replica, { epoch, inSyncReplicas })
    else this.#inSync.set(replica, { epoch, inSyncReplicas })
    this.#schedule()
  }

  /** They are led by nobody, as far as others are to know. Best effort: whoever asks for it asks again. */
  giveBack(replicas: readonly Resigning[]): void {
    const { coordinator, random, logger } = this.#options
    const resignations = replicas.flatMap(({ identity: { topicId, partition }, leaderEpoch }) =>
      leaderEpoch === undefined ? [] : [{ topicId, partition, leaderEpoch }],
    )
    coordinator.leaderships
      .resign(random.uuid(), resignations)
      .catch((error: unknown) => logger.debug({ error: String(error) }, 'leaderships could not be given back'))
  }

  #schedule(): void {
    if (this.#isScheduled || this.#isBusy) return
    this.#isScheduled = true
    this.#options.timers.atEndOfTurn(() => {
      this.#isScheduled = false
      this.#tell().catch((error: unknown) =>
        this.#options.logger.error({ error: String(error) }, 'the publisher failed'),
      )
    })
  }

  /** One round at a time: what comes meanwhile is told by the next. */
  async #tell(): Promise<void> {
    if (this.#isBusy || this.#isStopped) return
    this.#isBusy = true
    const leaderships = takeAll(this.#leaderships)
    const inSync = takeAll(this.#inSync)
    try {
      await this.#tellLeaderships(leaderships)
      leaderships.clear()
      while (inSync.size > 0) await this.#tellSome(inSync)
    } catch (error) {
      this.#keep(leaderships, this.#leaderships)
      this.#keep(inSync, this.#inSync)
      this.#options.logger.debug({ error: String(error) }, 'the coordinator was not told who leads; trying again')
      return this.#pause()
    }
    if (this.#forgotten.size > 0) {
      this.#keep(takeAll(this.#forgotten), this.#inSync)
      return this.#pause()
    }
    this.#isBusy = false
    if (this.#leaderships.size + this.#inSync.size > 0) this.#schedule()
  }

  /** Nothing is told meanwhile. */
  #pause(): void {
    if (this.#isStopped) return
    const go = (): void => {
      this.#isBusy = false
      this.#schedule()
    }
    this.#retry = this.#options.timers.after(RETRY_MS, go, { background: true })
  }

  async #tellLeaderships(news: ReadonlyMap<Replica, News>): Promise<void> {
    const current = [...news].filter(([replica, { epoch }]) => replica.leaderEpoch === epoch)
    if (current.length === 0) return
    const suggestions = current.map(([replica, { epoch, inSyncReplicas }]): LeaderSuggestion => {
      const { topicId, partition } = replica.identity
      const suggestion = { topicId, partition, leaderEpoch: epoch }
      return inSyncReplicas === undefined ? suggestion : { ...suggestion, inSyncReplicas }
    })
    const { coordinator, random } = this.#options
    const outcomes = await coordinator.leaderships.suggest(random.uuid(), suggestions)
    for (const [index, [replica, { epoch }]] of current.entries()) this.#onOutcome(replica, epoch, outcomes[index])
  }

  async #tellSome(inSync: Map<Replica, News>): Promise<void> {
    const some = [...inSync].slice(0, PROPOSALS_AT_ONCE)
    await Promise.all(
      some.map(async ([replica, { epoch, inSyncReplicas = [] }]) => {
        if (replica.leaderEpoch === epoch) {
          const { topicId, partition } = replica.identity
          const { leaderships } = this.#options.coordinator
          const outcome = await leaderships.setInSyncReplicas(topicId, partition, epoch, inSyncReplicas)
          this.#onInSyncOutcome(replica, { epoch, inSyncReplicas }, outcome)
        }
        inSync.delete(replica)
      }),
    )
  }

  /** A coordinator that has lost the leadership, or its topic, will hear of it from the brokers, and then of this again. */
  #onInSyncOutcome(replica: Replica, news: News, outcome: LeadershipOutcome): void {
    if (outcome.kind === 'missing') this.#forgotten.set(replica, news)
    else if (outcome.kind === 'fenced' && outcome.leadership.leaderEpoch === undefined) {
      this.#keep(new Map([[replica, news]]), this.#leaderships)
    }
  }

  #onOutcome(replica: Replica, epoch: LeaderEpoch, outcome: LeadershipOutcome | undefined): void {
    if (this.#isStopped || outcome?.kind !== 'fenced' || (outcome.leadership.leaderEpoch ?? -1) < epoch) return
    // Either somebody has been elected above this leader, which will soon be heard of, or the coordinator remembers what
    // nobody else does: then this leader needs an epoch above that to be found.
    this.#fenced.add(replica)
    this.#fencedTimer ??= this.#options.timers.after(FENCED_WAIT_MS, () => this.#goAbove(), { background: true })
  }

  #goAbove(): void {
    this.#fencedTimer = undefined
    const fenced = [...this.#fenced]
    this.#fenced.clear()
    for (const replica of fenced) {
      const { topicId, partition } = replica.identity
      const { leader, leaderEpoch: known } = this.#options.coordinator.leaderships.of(topicId, partition) ?? {}
      const own = replica.leaderEpoch
      if (replica.role !== 'leader' || known === undefined || own === undefined || known < own) continue
      // Of its own epoch the coordinator may know, from promises, that it has begun, and not whose it is; it takes nobody's
      // word for that any more.
      const isNobodys = known === own && leader === undefined
      replica.campaign(isNobodys ? toLeaderEpoch(own + 1) : known)
    }
  }

  /** What has not been told, unless there is newer news of the same replica. */
  #keep(untold: ReadonlyMap<Replica, News>, into: Map<Replica, News>): void {
    for (const [replica, news] of untold) if (!into.has(replica)) into.set(replica, news)
  }
}

function takeAll<K, V>(from: Map<K, V>): Map<K, V> {
  const all = new Map(from)
  from.clear()
  return all
}
