// Which led partitions to give to somebody else: to the broker that stands first in their assignment, some time after it has
// come back, or to whoever can take over when this one is drained or stops. Owns how long who has been ready, and when to
// leave alone what did not work. Synchronous; what it sees is given to it.

import type { BrokerId, LeaderEpoch } from '../../shared/ids.ts'

/** A partition that this broker leads. */
export interface LedPartition {
  readonly assignment: readonly BrokerId[]
  readonly epoch: LeaderEpoch
  readonly inSyncReplicas: readonly BrokerId[]
}

export interface HandOver<Key> {
  readonly key: Key
  readonly to: BrokerId
}

interface Row {
  readonly epoch: LeaderEpoch
  readonly isDraining: boolean
  /** Who were asked already while it is drained. */
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
   * partition goes, at once, to whoever may lead and keeps up.
   */
  observe(
    key: Key,
    led: LedPartition | undefined,
    mayLead: (id: BrokerId) => boolean,
    now: number,
    isDraining = false,
  ): void {
    const isOther = (id: BrokerId): boolean => id !== this.#self && mayLead(id)
    let row = this.#rows.get(key)
    const to = isDraining ? led && successorOf(led, isOther, row?.asked ?? new Set()) : led?.assignment[0]
    if (led === undefined || to === this.#self || (to === undefined && !isDraining)) {
      this.#rows.delete(key)
      return
    }
    if (row?.epoch !== led.epoch || row.isDraining !== isDraining) {
      const notBefore = isDraining ? now : now + LED_MS_MIN
      row = { epoch: led.epoch, isDraining, asked: new Set(), to, readySince: undefined, notBefore, tries: 0 }
      this.#rows.set(key, row)
    }
    row.to = to
    const isReady = to !== undefined && led.inSyncReplicas.includes(to) && mayLead(to)
    row.readySince = isReady ? (row.readySince ?? now) : undefined
  }

  /** Those that go to somebody else now, not more than `max`. A partition that stays is left alone for a while. */
  take(now: number, max: number): readonly HandOver<Key>[] {
    const taken: HandOver<Key>[] = []
    for (const [key, row] of this.#rows) {
      if (taken.length >= max) break
      const { readySince, notBefore, to, isDraining } = row
      if (to === undefined || readySince === undefined || now < notBefore) continue
      if (!isDraining && now - readySince < READY_MS) continue
      const retryMs = isDraining ? DRAIN_RETRY_MS_MIN : RETRY_MS_MIN
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

/** Who is first to take over a partition, of those that keep up and were not asked yet. */
export function successorOf(
  led: LedPartition,
  mayLead: (id: BrokerId) => boolean,
  asked: ReadonlySet<BrokerId>,
): BrokerId | undefined {
  const { assignment, inSyncReplicas } = led
  const able = assignment.filter((id) => inSyncReplicas.includes(id) && mayLead(id))
  // All have been asked: the first may have been too busy a moment ago.
  return able.find((id) => !asked.has(id)) ?? able[0]
}
