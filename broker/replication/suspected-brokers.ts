// Brokers to which the connection was lost: whether their processes are gone, by the word of enough others, and then the end
// of their sessions, which nobody needs to wait for any more. Owns one row for each such broker and life, with one look at
// it at a time; knows nothing of elections.
//
// Slow or silent is not gone: only an address that refuses connections is. A wrong suspicion costs a hand-over: the broker
// takes another session, and whoever leads is decided by promises.

import type { BrokerId } from '../../shared/ids.ts'
import { brokerId as toBrokerId } from '../../shared/ids.ts'
import type { Logger } from '../../shared/logger.ts'
import type { RequestOf, ResponseOf } from '../../shared/protocol/api.ts'
import type { Timer, Timers } from '../../shared/time.ts'
import type { Coordinator } from '../coordination/coordinator.ts'
import type { Peers } from './peers.ts'

export interface SuspectedBrokersOptions {
  readonly brokerId: BrokerId
  readonly coordinator: Pick<Coordinator, 'brokers' | 'sessionOf' | 'endSession'>
  readonly peers: Peers
  readonly timers: Timers
  readonly logger: Logger
  /** Whose word about the broker matters: those that have replicas of its partitions. */
  readonly witnessesOf: (suspect: BrokerId) => Iterable<BrokerId>
  /** Whether these, who all see that it is gone, are enough to elect others in its place. */
  readonly isEnough: (suspect: BrokerId, witnesses: ReadonlySet<BrokerId>) => boolean
  /** The process of a broker was seen to be gone. */
  readonly onGone?: (brokerId: BrokerId) => void
  /** What `isDead` says may have changed. */
  readonly onChange: () => void
}

interface Suspicion {
  readonly brokerId: BrokerId
  readonly life: string
  isRefused: boolean
  looks: number
  isLooking: boolean
  timer: Timer | undefined
  /** Asked, and not answered yet. */
  readonly asked: Set<BrokerId>
}

/** A process that has just died may have its port a moment longer than its connections. */
const LOOK_AGAIN_MS_MIN = 25
const LOOK_AGAIN_MS_MAX = 1_000
/** Whoever has not answered by then is asked again with the next look. */
const WITNESS_MS_MAX = 1_000

export class SuspectedBrokers {
  readonly #options: SuspectedBrokersOptions
  readonly #suspicions = new Map<BrokerId, Suspicion>()
  #isStopped = false

  constructor(options: SuspectedBrokersOptions) {
    this.#options = options
  }

  stop(): void {
    this.#isStopped = true
    for (const id of [...this.#suspicions.keys()]) this.#drop(id)
  }

  onLost(peer: BrokerId): void {
    const life = this.#lifeOf(peer)
    if (life !== undefined && !this.#isStopped) this.#look(this.#suspect(peer, life))
  }

  onConnected(peer: BrokerId): void {
    this.#drop(peer)
  }

  onBrokersChanged(): void {
    for (const { brokerId, life } of this.#suspicions.values()) {
      const now = this.#lifeOf(brokerId)
      if (now !== undefined && now !== life) this.#drop(brokerId)
    }
  }

  /** Whether the process of the life that was known last refuses connections, as this broker has seen. */
  isDead(id: BrokerId): boolean {
    return this.#suspicions.get(id)?.isRefused === true
  }

  /** For another broker that wants to know. */
  async probe(request: RequestOf<'probeBroker'>): Promise<ResponseOf<'probeBroker'>> {
    const id = toBrokerId(request.brokerId)
    if (this.#isStopped || id === this.#options.brokerId) return { isGone: false }
    const life = this.#lifeOf(id)
    if (life === undefined) {
      // Its session is over already, maybe by this broker's doing. That life does not come back.
      const known = this.#suspicions.get(id)
      return { isGone: known?.life === request.incarnation && known.isRefused }
    }
    if (life !== request.incarnation) return { isGone: false }
    const isGone = await this.#options.peers.isRefusing(id)
    // While a connection seems to stand, its end will be told, and then it is looked at anyway.
    if (isGone && !this.#isStopped && this.#lifeOf(id) === life && !this.#options.peers.isConnected(id)) {
      const suspicion = this.#suspect(id, life)
      if (!suspicion.isRefused) {
        this.#onRefused(suspicion)
        this.#look(suspicion)
      }
    }
    return { isGone }
  }

  #lifeOf(id: BrokerId): string | undefined {
    return this.#options.coordinator.brokers().find(({ brokerId }) => brokerId === id)?.incarnation
  }

  #suspect(brokerId: BrokerId, life: string): Suspicion {
    let suspicion = this.#suspicions.get(brokerId)
    if (suspicion?.life !== life) {
      this.#drop(brokerId)
      suspicion = { brokerId, life, isRefused: false, looks: 0, isLooking: false, timer: undefined, asked: new Set() }
      this.#suspicions.set(brokerId, suspicion)
    }
    return suspicion
  }

  #drop(id: BrokerId): void {
    const suspicion = this.#suspicions.get(id)
    if (suspicion === undefined) return
    suspicion.timer?.cancel()
    this.#suspicions.delete(id)
    if (suspicion.isRefused && !this.#isStopped) this.#options.onChange()
  }

  /** Whether there is still something to find out: the same life, still a member, still not reached. */
  #isOpen(suspicion: Suspicion): boolean {
    const { brokerId, life } = suspicion
    return this.#suspicions.get(brokerId) === suspicion && this.#lifeOf(brokerId) === life
  }

  #look(suspicion: Suspicion): void {
    if (suspicion.isLooking) return
    suspicion.timer?.cancel()
    suspicion.isLooking = true
    const lookAgain = (): void => {
      suspicion.isLooking = false
      if (!this.#isOpen(suspicion)) return
      const delayMs = Math.min(LOOK_AGAIN_MS_MAX, LOOK_AGAIN_MS_MIN * 2 ** Math.min(suspicion.looks, 10))
      suspicion.looks += 1
      suspicion.timer = this.#options.timers.after(delayMs, () => this.#look(suspicion), { background: true })
    }
    this.#lookOnce(suspicion).then(lookAgain, (error: unknown) => {
      const { brokerId } = suspicion
      this.#options.logger.debug({ brokerId, error: String(error) }, 'the session of a dead broker could not be ended')
      lookAgain()
    })
  }

  async #lookOnce(suspicion: Suspicion): Promise<void> {
    const { coordinator, peers, logger } = this.#options
    const { brokerId } = suspicion
    const session = coordinator.sessionOf(brokerId)
    const isRefused = await peers.isRefusing(brokerId)
    if (!isRefused || this.#suspicions.get(brokerId) !== suspicion) return
    this.#onRefused(suspicion)
    if (session === undefined || !this.#isOpen(suspicion)) return
    const isConfirmed = await this.#isConfirmed(suspicion)
    if (!isConfirmed || !this.#isOpen(suspicion)) return
    const outcome = await coordinator.endSession(brokerId, session)
    if (outcome === 'done') logger.warn({ brokerId }, `broker ${brokerId} is gone: its port refuses connections`)
    else if (this.#suspicions.get(brokerId) === suspicion) this.#drop(brokerId)
  }

  #onRefused(suspicion: Suspicion): void {
    if (suspicion.isRefused) return
    suspicion.isRefused = true
    this.#options.onGone?.(suspicion.brokerId)
    this.#options.onChange()
  }

  /** Asks all witnesses at once, and waits no longer than for those that are needed. */
  #isConfirmed(suspicion: Suspicion): Promise<boolean> {
    const { brokerId: self, timers, isEnough, witnessesOf, peers } = this.#options
    const { brokerId, asked } = suspicion
    const agreeing = new Set([self])
    const isAgreed = (): boolean => isEnough(brokerId, agreeing)
    const witnesses = [...witnessesOf(brokerId)].filter((id) => id !== self && id !== brokerId && peers.isConnected(id))
    if (isAgreed() || witnesses.length === 0) return Promise.resolve(isAgreed())
    return new Promise((resolve) => {
      let waiting = witnesses.length
      const finish = (): void => {
        timer.cancel()
        resolve(isAgreed())
      }
      const timer = timers.after(WITNESS_MS_MAX, finish, { background: true })
      for (const witness of witnesses) {
        const onAnswer = (isGone: boolean): void => {
          waiting -= 1
          if (isGone) agreeing.add(witness)
          if (waiting === 0 || isAgreed()) finish()
        }
        if (asked.has(witness)) {
          onAnswer(false)
          continue
        }
        this.#ask(suspicion, witness).then(onAnswer, () => onAnswer(false))
      }
    })
  }

  async #ask(suspicion: Suspicion, witness: BrokerId): Promise<boolean> {
    const { brokerId, life: incarnation, asked } = suspicion
    asked.add(witness)
    try {
      const { body } = await this.#options.peers.ask(witness, 'probeBroker', { brokerId, incarnation })
      return body.isGone
    } finally {
      asked.delete(witness)
    }
  }
}
