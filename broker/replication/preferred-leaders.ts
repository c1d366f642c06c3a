// Which led partitions to give to somebody else: to the broker that stands first in their assignment, some time after it has
// come back, or to whoever can take over when this one stops. Owns how long who has been ready, and when to leave alone
// what did not work. Synchronous; what it sees is given to it.

import type { BrokerId, LeaderEpoch } from '../../shared/ids.ts'

/** A partition that this broker leads. */
export interface LedPartition {
  readonly assignment: readonly BrokerId[]
  readonly epoch: LeaderEpoch
  readonly inSyncReplicas: readonly BrokerId[]
}

interface Row {
  readonly epoch: LeaderEpoch
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

export class PreferredLeaders<Key> {
  readonly #self: BrokerId
  readonly #rows = new Map<Key, Row>()

  constructor(self: BrokerId) {
    this.#self = self
  }

  /** Looks at a partition; `mayLead` says which brokers can be reached and are members. */
  observe(key: Key, led: LedPartition | undefined, mayLead: (id: BrokerId) => boolean, now: number): void {
    const preferred = led?.assignment[0]
    if (led === undefined || preferred === undefined || preferred === this.#self) {
      this.#rows.delete(key)
      return
    }
    let row = this.#rows.get(key)
    if (row?.epoch !== led.epoch) {
      row = { epoch: led.epoch, readySince: undefined, notBefore: now + LED_MS_MIN, tries: 0 }
      this.#rows.set(key, row)
    }
    const isReady = led.inSyncReplicas.includes(preferred) && mayLead(preferred)
    row.readySince = isReady ? (row.readySince ?? now) : undefined
  }

  /** Those that go to their preferred leaders now, not more than `max`. A partition that stays is left alone for a while. */
  take(now: number, max: number): readonly Key[] {
    const taken: Key[] = []
    for (const [key, row] of this.#rows) {
      if (taken.length >= max) break
      const { readySince, notBefore } = row
      if (readySince === undefined || now - readySince < READY_MS || now < notBefore) continue
      row.notBefore = now + Math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ** Math.min(row.tries, 10))
      row.tries += 1
      taken.push(key)
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
