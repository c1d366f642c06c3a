// This broker's membership: takes its session, renews it, and takes it anew when it was lost. Owns the order of these and
// their timing; the arithmetic of validity is in lease.ts.
//
// Invariant: a broker that was replaced by another life with the same number does not take the session back while that one
// has it.

import { TidemarkError } from '../../shared/errors.ts'
import type { BrokerId } from '../../shared/ids.ts'
import type { Timer } from '../../shared/time.ts'
import { sleep } from '../../shared/time.ts'
import type { Counter, Histogram } from '../metrics/meter.ts'
import type { BrokerRecord, CoordinatorContext } from './coordinator.ts'
import { Lease } from './lease.ts'
import type { RedisLink } from './redis-connection.ts'
import type { RedisKeys } from './redis-keys.ts'
import type { RedisMirror } from './redis-mirror.ts'
import { memberFrom, memberText, textsOf } from './redis-records.ts'
import { END_SESSION, RENEW_SESSION, TAKE_SESSION } from './redis-scripts.ts'

export interface SessionOptions {
  readonly context: CoordinatorContext
  readonly link: RedisLink
  readonly keys: RedisKeys
  readonly mirror: RedisMirror
  readonly ttlMs: number
  readonly renewEveryMs: number
  readonly onLost: (isTaken: boolean) => void
}

type Taking =
  | { readonly kind: 'done' }
  | {
      readonly kind: 'held'
      readonly leftMs: number
      readonly session: string
      readonly holder: BrokerRecord | undefined
    }

/** After a renewal that failed, it is tried again sooner. */
const RETRY_SHARE = 1 / 3
/** How much longer than its lifetime a session of an earlier life is waited for. */
const WAIT_MARGIN_MS = 500

export class RedisSession {
  readonly lease: Lease
  readonly #options: SessionOptions
  readonly #renewals: Histogram | undefined
  readonly #losses: Counter | undefined
  readonly #stopping = new AbortController()
  #self: BrokerRecord | undefined
  #hasBegun = false
  /** The others have this broker's record as it was. */
  #isRecordOld = false
  #session = ''
  #sessionsTaken = 0
  #timer: Timer | undefined
  #lossTimer: Timer | undefined
  #work: Promise<void> = Promise.resolve()
  #successor: BrokerRecord | undefined

  constructor(options: SessionOptions) {
    this.#options = options
    this.lease = new Lease(options.ttlMs)
    this.#renewals = options.context.meter?.histogram('tidemark_lease_renew_duration_seconds')
    this.#losses = options.context.meter?.counter('tidemark_lease_losses_total')
  }

  /** '' before the first one. */
  get current(): string {
    return this.#session
  }

  /** Another life that has taken this broker's number. */
  get successor(): BrokerRecord | undefined {
    return this.#successor
  }

  /**
   * Takes the first session; waits for that of an earlier life to expire.
   * @throws BROKER_ID_IN_USE, and as a change does
   */
  async begin(self: BrokerRecord): Promise<void> {
    const { context, ttlMs, renewEveryMs } = this.#options
    this.#self = self
    const deadlineMs = context.clock.monotonic() + ttlMs + WAIT_MARGIN_MS
    let replaces = ''
    let seen: { readonly session: string; readonly endsMs: number } | undefined
    for (;;) {
      const taking = await this.#take(self, replaces)
      if (taking.kind === 'done') break
      const { holder, leftMs, session } = taking
      if (isEarlierLife(self, holder) && session !== replaces) {
        replaces = session
        continue
      }
      const nowMs = context.clock.monotonic()
      // It comes to end later only if its holder, who lives, has renewed it.
      const endsMs = nowMs + leftMs
      const isRenewed = seen?.session === session && endsMs > seen.endsMs + renewEveryMs / 2
      if (isRenewed || nowMs >= deadlineMs) throw inUse(self.brokerId, holder)
      seen = { session, endsMs }
      context.logger.info({ brokerId: self.brokerId, leftMs }, 'waiting for the session of an earlier life to expire')
      const waitMs = Math.min(Math.max(leftMs, 1) + 10, renewEveryMs + WAIT_MARGIN_MS, deadlineMs - nowMs)
      await sleep(context.timers, waitMs, this.#stopping.signal)
    }
    this.#hasBegun = true
    this.#schedule(this.#options.renewEveryMs)
  }

  /**
   * Tells the others what has changed about this broker. It is done by a new session of the same life, which comes with its
   * record. @throws as a change does; it is tried again at every renewal then
   */
  async announce(self: BrokerRecord): Promise<void> {
    this.#self = self
    this.#isRecordOld = true
    const told = this.#work.then(() => this.#renewOrTake(this.#self ?? self))
    // The next renewal tries again, and whoever announces is told.
    this.#work = told.catch(() => {
      if (!this.#stopping.signal.aborted) this.#schedule(this.#options.renewEveryMs * RETRY_SHARE)
    })
    await told
    if (this.#isRecordOld) throw inUse(self.brokerId, this.#successor)
  }

  /** Renews at once: Redis may have lost the session. */
  hurry(): void {
    if (this.#hasBegun && !this.#stopping.signal.aborted) this.#schedule(0)
  }

  /** Gives the session back as far as Redis can be reached. Idempotent. */
  async end(): Promise<void> {
    const { context, link, keys } = this.#options
    this.#stopping.abort()
    this.#timer?.cancel()
    await this.#work
    // A renewal that was under way may have set it anew.
    this.#lossTimer?.cancel()
    this.lease.drop()
    if (this.#session === '' || !link.isUp) return
    const session = this.#session
    this.#session = ''
    const all = [...keys.fixed, keys.session(context.brokerId)]
    await link.run(END_SESSION, all, [context.brokerId, session])
  }

  #schedule(delayMs: number): void {
    const { timers, random } = this.#options.context
    this.#timer?.cancel()
    const jittered = delayMs * (0.9 + random.fraction() / 10)
    this.#timer = timers.after(jittered, () => {
      this.#work = this.#work.then(() => this.#renew())
    })
  }

  /** Never rejects. */
  async #renew(): Promise<void> {
    if (this.#stopping.signal.aborted || this.#self === undefined) return
    const { context, renewEveryMs } = this.#options
    let nextMs = renewEveryMs
    try {
      await this.#renewOrTake(this.#self)
    } catch (error) {
      nextMs = renewEveryMs * RETRY_SHARE
      context.logger.debug({ error: String(error) }, 'the session could not be renewed')
    }
    this.#tellLoss()
    if (!this.#stopping.signal.aborted) this.#schedule(nextMs)
  }

  async #renewOrTake(self: BrokerRecord): Promise<void> {
    const { context, link, keys, ttlMs, mirror } = this.#options
    if (this.#isRecordOld && (await this.#take(self, '')).kind === 'done') return
    const sentAtMs = context.clock.monotonic()
    const all = [...keys.fixed, keys.session(self.brokerId)]
    const [outcome] = textsOf(await link.run(RENEW_SESSION, all, [this.#session, ttlMs]))
    if (outcome === 'done') {
      this.#renewals?.observe((context.clock.monotonic() - sentAtMs) / 1000)
      this.#confirm(sentAtMs)
      return
    }
    this.lease.drop()
    this.#tellLoss()
    const taking = await this.#take(self, '')
    if (taking.kind === 'done') {
      context.logger.warn({ brokerId: self.brokerId }, 'the session was lost and has been taken anew')
      await mirror.sync()
      return
    }
    if (this.#successor === undefined) {
      const { holder } = taking
      context.logger.error(
        { brokerId: self.brokerId, host: holder?.host, port: holder?.port },
        'another broker has this number',
      )
    }
    const isNews = this.#successor === undefined
    this.#successor = taking.holder ?? self
    if (isNews) this.#options.onLost(true)
  }

  async #take(self: BrokerRecord, replaces: string): Promise<Taking> {
    const { context, keys, ttlMs, mirror } = this.#options
    this.#sessionsTaken += 1
    const session = `${self.incarnation}/${this.#sessionsTaken}`
    const record = memberText({ broker: self, session })
    const sentAtMs = context.clock.monotonic()
    // Even if the answer is never heard, this is the session that may have been taken.
    const before = this.#session
    this.#session = session
    const args = [self.brokerId, session, ttlMs, record, replaces]
    const [outcome, holder = '', leftMs, text = ''] = await mirror.change(
      TAKE_SESSION,
      [keys.session(self.brokerId)],
      args,
    )
    if (outcome === 'done') {
      if (self === this.#self) this.#isRecordOld = false
      this.#successor = undefined
      this.#confirm(sentAtMs)
      return { kind: 'done' }
    }
    this.#session = before
    return {
      kind: 'held',
      session: holder,
      leftMs: Number(leftMs),
      holder: text === '' ? undefined : memberFrom(text).broker,
    }
  }

  #confirm(sentAtMs: number): void {
    const { clock, timers } = this.#options.context
    this.lease.confirm(sentAtMs)
    this.#lossTimer?.cancel()
    const leftMs = Math.max(0, this.lease.validUntil - clock.monotonic())
    this.#lossTimer = timers.after(leftMs, () => this.#tellLoss(), { background: true })
  }

  #tellLoss(): void {
    const { clock } = this.#options.context
    if (this.#stopping.signal.aborted || !this.lease.takeLoss(clock.monotonic())) return
    this.#losses?.add()
    this.#options.onLost(false)
  }
}

/** The directory is locked by whoever uses it, and the address is this broker's own: whoever had both is gone. */
function isEarlierLife(self: BrokerRecord, holder: BrokerRecord | undefined): boolean {
  if (holder === undefined || self.directoryId === undefined) return false
  const isSamePlace = holder.host === self.host && holder.port === self.port
  return holder.directoryId === self.directoryId && holder.incarnation !== self.incarnation && isSamePlace
}

function inUse(id: BrokerId, holder: BrokerRecord | undefined): TidemarkError {
  const where = holder === undefined ? 'another broker' : `the broker at ${holder.host}:${holder.port}`
  return new TidemarkError(
    'BROKER_ID_IN_USE',
    `broker-id: ${where} has number ${id}; stop that one, or give this one a broker-id of its own`,
  )
}
