// Which led partitions to give to somebody else: to the broker that stands first in their assignment, some time after it has
// come back, or to whoever can take over when this one is drained, or stops, or has lost records to damage. Owns how long who has been ready, and when to
// leave alone what did not work. Synchronous; what it sees is given to it.

import type { BrokerId, LeaderEpoch } from '../../shared/ids.ts'

/** A partition that this broker leads. */
export interface LedPartition {
  readonly assignment: readonly BrokerId[]
  readonly epoch: LeaderEpoch
  readonly inSyncReplicas: readonly BrokerId[]
  /** Damage has taken records from this broker's log. */
  readonly hasHoles?: boolean
  /** Of those in sync, who is known to have all records. */
  readonly wholeReplicas?: readonly BrokerId[]
}

/** Why it may go: to whom it belongs, or because it should not stay. */
type Reason = 'preferred' | 'drained' | 'holed'

export interface HandOver<Key> {
  readonly key: Key
  readonly to: BrokerId
}

interface Row {
  readonly epoch: LeaderEpoch
  readonly reason: Reason
  /** Who were asked already while it is drained, or has holes. */
  readonly asked: Set<BrokerId>
  to: BrokerId | undefined
  readySince: number | undefined
  notBefore: number
  tries: number
}

/** A broker that has just come back may go again. */
const READY_MS = 10_000
/** Nobody gives away what it has just taken. */
const LED_MS_MIN = 30_000
const RETRY_MS_MIN = 30_000
const RETRY_MS_MAX = 600_000
/** Whoever drains a broker waits for it. */
const DRAIN_RETRY_MS_MIN = 5_000

export class PreferredLeaders<Key> {
  readonly #self: BrokerId
  readonly #rows = new Map<Key, Row>()

  constructor(self: BrokerId) {
    this.#self = self
  }

  /**
   * Looks at a partition; `mayLead` says which brokers can be reached and are members. Of a broker that is drained, every
   * partition goes, at once, to whoever may lead and keeps up; one whose log has holes here, to whoever has none.
   */
  observe(
    key: Key,
    led: LedPartition | undefined,
    mayLead: (id: BrokerId) => boolean,
    now: number,
    isDraining = false,
  ): void {
    const isOther = (id: BrokerId): boolean => id !== this.#self && mayLead(id)
    const reason = isDraining ? 'drained' : led?.hasHoles === true ? 'holed' : 'preferred'
    let row = this.#rows.get(key)
    const to = led && candidateOf(led, reason, isOther, row?.asked ?? new Set())
    if (led === undefined || to === this.#self || (to === undefined && reason === 'preferred')) {
      this.#rows.delete(key)
      return
    }
    if (row?.epoch !== led.epoch || row.reason !== reason) {
      const notBefore = reason === 'preferred' ? now + LED_MS_MIN : now
      row = { epoch: led.epoch, reason, asked: new Set(), to, readySince: undefined, notBefore, tries: 0 }
      this.#rows.set(key, row)
    }
    row.to = to
    const isReady = to !== undefined && led.inSyncReplicas.includes(to) && mayLead(to) && !isWorse(led, to)
    row.readySince = isReady ? (row.readySince ?? now) : undefined
  }

  /** Whether something should go that does not have its time. */
  get isUrgent(): boolean {
    for (const { reason, to } of this.#rows.values()) if (reason === 'holed' && to !== undefined) return true
    return false
  }

  /** Those that go to somebody else now, not more than `max`. A partition that stays is left alone for a while. */
  take(now: number, max: number): readonly HandOver<Key>[] {
    const taken: HandOver<Key>[] = []
    for (const [key, row] of this.#rows) {
      if (taken.length >= max) break
      const { readySince, notBefore, to, reason } = row
      const isPreferred = reason === 'preferred'
      if (to === undefined || readySince === undefined || now < notBefore) continue
      if (isPreferred && now - readySince < READY_MS) continue
      const retryMs = isPreferred ? RETRY_MS_MIN : DRAIN_RETRY_MS_MIN
      row.notBefore = now + Math.min(RETRY_MS_MAX, retryMs * 2 ** Math.min(row.tries, 10))
      row.tries += 1
      row.asked.add(to)
      taken.push({ key, to })
    }
    return taken
  }

  forget(key: Key): void {
    this.#rows.delete(key)
  }
}

function candidateOf(
  led: LedPartition,
  reason: Reason,
  mayLead: (id: BrokerId) => boolean,
  asked: ReadonlySet<BrokerId>,
): BrokerId | undefined {
  if (reason === 'preferred') return led.assignment[0]
  if (reason === 'drained') return successorOf(led, mayLead, asked)
  // To one with holes of its own it would come back from there.
  return successorOf({ ...led, inSyncReplicas: led.wholeReplicas ?? [] }, mayLead, asked)
}

/** Whether it lacks records that this leader has, as far as is known: all who keep up have told. */
function isWorse({ wholeReplicas }: LedPartition, to: BrokerId): boolean {
  return wholeReplicas?.includes(to) === false
}

/** Who is first to take over a partition, of those that keep up and were not asked yet; those without holes before others. */
export function successorOf(
  led: LedPartition,
  mayLead: (id: BrokerId) => boolean,
  asked: ReadonlySet<BrokerId>,
): BrokerId | undefined {
  const { assignment, inSyncReplicas } = led
  const keepsUp = assignment.filter((id) => inSyncReplicas.includes(id) && mayLead(id))
  const able = [...keepsUp.filter((id) => !isWorse(led, id)), ...keepsUp.filter((id) => isWorse(led, id))]
  // All have been asked: the first may have been too busy a moment ago.
  return able.find((id) => !asked.has(id)) ?? able[0]
}
