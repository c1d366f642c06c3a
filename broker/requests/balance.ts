// Which replicas should go elsewhere so that every broker has as many as every other, and is preferred as leader as often.
// Owns the plan: as few moves as that takes, never at the cost of racks, never two replicas of a partition on one broker.
// Pure and deterministic; knows nothing of who is alive, and of what is under way.

import type { BrokerId } from '../../shared/ids.ts'
import type { BrokerLoad, PlacementBroker } from './placement.ts'
import { countMove } from './placement.ts'

export interface BalanceRequest {
  /** Brokers that may be given replicas, and that may lose some; on all others nothing changes. */
  readonly brokers: readonly PlacementBroker[]
  /** Of all brokers, those included that get nothing. */
  readonly racks: ReadonlyMap<BrokerId, string | undefined>
  /** The replicas of each partition that may be moved, the preferred leader first. */
  readonly rows: readonly (readonly BrokerId[])[]
  /** What all brokers have, with what may not be moved. */
  readonly load: ReadonlyMap<BrokerId, BrokerLoad>
  /** Partitions that change, at most. */
  readonly movesMax: number
}

/** Two that are no further apart than this are even. */
const EVEN = 1

/** What each row that changes becomes, by its position. */
export function planBalance(request: BalanceRequest): ReadonlyMap<number, readonly BrokerId[]> {
  return new BalancePlan(request).make()
}

class BalancePlan {
  readonly #request: BalanceRequest
  readonly #load: Map<BrokerId, BrokerLoad>
  readonly #rows: (readonly BrokerId[])[]
  /** Positions of the rows that a broker is in. */
  readonly #rowsOf = new Map<BrokerId, Set<number>>()
  readonly #changed = new Set<number>()

  constructor(request: BalanceRequest) {
    this.#request = request
    this.#load = new Map(request.load)
    this.#rows = [...request.rows]
    for (const { brokerId } of request.brokers) this.#rowsOf.set(brokerId, new Set())
    for (const [at, row] of this.#rows.entries()) for (const id of row) this.#rowsOf.get(id)?.add(at)
  }

  make(): ReadonlyMap<number, readonly BrokerId[]> {
    while (this.#moveOne()) continue
    while (this.#leadOne()) continue
    const { rows } = this.#request
    const changed = [...this.#changed].filter((at) => rows[at]?.join() !== this.#rows[at]?.join())
    return new Map(changed.map((at) => [at, this.#rows[at] ?? []]))
  }

  /** Gives one replica of a broker that has many to one that has few; false if nothing would get better by it. */
  #moveOne(): boolean {
    const byReplicas = this.#byLoad(({ replicas }) => replicas)
    for (const full of byReplicas.toReversed()) {
      for (const empty of byReplicas) {
        if (this.#loadOf(full).replicas - this.#loadOf(empty).replicas <= EVEN) break
        for (const at of this.#rowsOf.get(full) ?? []) {
          const row = this.#rows[at] ?? []
          if (row.includes(empty) || !this.#mayChange(at)) continue
          const others = row.filter((id) => id !== full)
          if (this.#racksOf([...others, empty]) < this.#racksOf(row)) continue
          this.#change(at, row[0] === full ? this.#leaderFirst([...others, empty]) : [...others, empty])
          return true
        }
      }
    }
    return false
  }

  /** Has another replica of a partition preferred as leader: no record is copied for it. */
  #leadOne(): boolean {
    for (const leader of this.#byLoad(({ leaders }) => leaders).toReversed()) {
      for (const at of this.#rowsOf.get(leader) ?? []) {
        const row = this.#rows[at] ?? []
        if (row[0] !== leader || !this.#mayChange(at)) continue
        const next = row.find((id) => {
          return this.#rowsOf.has(id) && this.#loadOf(leader).leaders - this.#loadOf(id).leaders > EVEN
        })
        if (next === undefined) continue
        this.#change(at, [next, ...row.filter((id) => id !== next)])
        return true
      }
    }
    return false
  }

  #mayChange(at: number): boolean {
    return this.#changed.has(at) || this.#changed.size < this.#request.movesMax
  }

  #change(at: number, to: readonly BrokerId[]): void {
    const from = this.#rows[at] ?? []
    countMove(this.#load, from, to)
    for (const id of from) this.#rowsOf.get(id)?.delete(at)
    for (const id of to) this.#rowsOf.get(id)?.add(at)
    this.#rows[at] = to
    this.#changed.add(at)
  }

  #leaderFirst(row: readonly BrokerId[]): readonly BrokerId[] {
    const [leader, ...others] = [...row].sort((a, b) => this.#loadOf(a).leaders - this.#loadOf(b).leaders || a - b)
    return leader === undefined ? row : [leader, ...others]
  }

  #racksOf(row: readonly BrokerId[]): number {
    return new Set(row.map((id) => this.#request.racks.get(id) ?? `broker ${id}`)).size
  }

  /** The one with the least first. */
  #byLoad(measure: (load: BrokerLoad) => number): readonly BrokerId[] {
    const ids = this.#request.brokers.map(({ brokerId }) => brokerId)
    return ids.sort((a, b) => measure(this.#loadOf(a)) - measure(this.#loadOf(b)) || a - b)
  }

  #loadOf(id: BrokerId): BrokerLoad {
    return this.#load.get(id) ?? { replicas: 0, leaders: 0 }
  }
}
