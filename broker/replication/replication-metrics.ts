// What is to be measured of replication: how far followers are behind the leaders here. Looked at only when somebody asks;
// a follower has its gauges as long as its broker is known.

import type { BrokerId } from '../../shared/ids.ts'
import type { Coordinator } from '../coordination/coordinator.ts'
import type { Meter, Registration } from '../metrics/meter.ts'
import type { Replica } from './replica.ts'

export interface ReplicationGaugesParts {
  readonly brokerId: BrokerId
  readonly coordinator: Pick<Coordinator, 'brokers' | 'subscribe'>
  readonly meter: Meter
  readonly replicas: () => Iterable<Replica>
}

export class ReplicationGauges {
  readonly #parts: ReplicationGaugesParts
  readonly #gauges = new Map<BrokerId, readonly Registration[]>()
  readonly #membership: { remove(): void }

  constructor(parts: ReplicationGaugesParts) {
    this.#parts = parts
    this.#membership = parts.coordinator.subscribe((change) => {
      if (change.kind === 'brokers-changed') this.#follow()
    })
    this.#follow()
  }

  stop(): void {
    this.#membership.remove()
    for (const gauges of this.#gauges.values()) for (const gauge of gauges) gauge.remove()
    this.#gauges.clear()
  }

  /** One that is gone keeps its gauges: its lag is what somebody wants to be told of. */
  #follow(): void {
    const { coordinator, brokerId, meter } = this.#parts
    for (const { brokerId: follower } of coordinator.brokers()) {
      if (follower === brokerId || this.#gauges.has(follower)) continue
      const label = { follower: String(follower) }
      this.#gauges.set(follower, [
        meter.gauge('tidemark_replication_lag_records', label, () =>
          this.#greatest(follower, ({ records }) => records),
        ),
        meter.gauge('tidemark_replication_lag_seconds', label, () =>
          this.#greatest(follower, ({ ms }) => (ms === undefined ? 0 : ms / 1_000)),
        ),
      ])
    }
  }

  #greatest(follower: BrokerId, of: (lag: { readonly records: number; readonly ms: number | undefined }) => number) {
    let greatest = 0
    for (const { role, voters, state } of this.#parts.replicas()) {
      if (role !== 'leader' || !voters.some(({ brokerId }) => brokerId === follower)) continue
      const lag = state.lagOf(follower)
      if (lag !== undefined) greatest = Math.max(greatest, of(lag))
    }
    return greatest
  }
}
