// Which brokers become the replicas of a new partition. Owns the spreading: one replica a broker, over as many racks as there
// are, load and leaders even. Pure and deterministic; knows nothing of who is alive, and moves nothing that has a place.
//
// A broker without a rack counts as a rack of its own. Racks come before brokers: the replica goes to the rack that the
// partition has the fewest replicas in, among those to the one with the least load per broker, and in it to the broker
// with the least load. Who of them leads is decided then, so that it never costs a rack or the balance.

import type { BrokerId } from '../../shared/ids.ts'
import { must } from '../../shared/assert.ts'
import { TidemarkError } from '../../shared/errors.ts'

export interface PlacementBroker {
  readonly brokerId: BrokerId
  readonly rack: string | undefined
}

/** What a broker has been given so far. */
export interface BrokerLoad {
  readonly replicas: number
  /** Partitions that it is the preferred leader of. */
  readonly leaders: number
}

export type Assignment = readonly (readonly BrokerId[])[]

export interface PlacementRequest {
  readonly brokers: readonly PlacementBroker[]
  /** By broker; nothing for those that are not in it. */
  readonly load: ReadonlyMap<BrokerId, BrokerLoad>
  /** How many partitions are to be placed. */
  readonly partitions: number
  readonly replicationFactor: number
  /** Which broker comes first among equals, so that not everybody begins with the same one. Any whole number from 0 on. */
  readonly startAt: number
}

interface Place {
  readonly brokerId: BrokerId
  replicas: number
  leaders: number
}

interface Rack {
  readonly places: Place[]
  replicas: number
  /** Replicas in it of the partition that is being placed. */
  taken: number
}

/** The replicas of each partition, the preferred leader first. @throws INVALID_REPLICATION_FACTOR naming both numbers */
export function placeReplicas(request: PlacementRequest): BrokerId[][] {
  const { brokers, partitions, replicationFactor } = request
  checkReplicationFactor(replicationFactor, brokers.length)
  const racks = racksOf(request)
  return Array.from({ length: partitions }, () => {
    const row = putLeaderFirst(pickReplicas(racks, replicationFactor))
    return row.map(({ brokerId }) => brokerId)
  })
}

/** The assignment with partitions added up to the given number; those that there are stay. @throws as placeReplicas */
export function extendPlacement(before: Assignment, request: PlacementRequest): Assignment {
  return [...before, ...placeReplicas({ ...request, partitions: request.partitions - before.length })]
}

/** @throws INVALID_REPLICATION_FACTOR naming both numbers, unless so many brokers can hold so many replicas */
export function checkReplicationFactor(
  replicationFactor: number,
  brokers: number,
  drained: readonly BrokerId[] = [],
): void {
  if (replicationFactor >= 1 && replicationFactor <= brokers) return
  const there = brokers === 1 ? 'is 1 broker' : `are ${brokers} brokers`
  const besides = drained.length === 0 ? '' : ` besides ${drained.join(', ')}, which get none while they are drained`
  const what = replicationFactor < 1 ? 'ask for at least 1' : 'ask for fewer replicas, or start more brokers'
  const text = `replication factor ${replicationFactor} is not possible: there ${there}${besides}; ${what}`
  throw new TidemarkError('INVALID_REPLICATION_FACTOR', text)
}

/** What all brokers together have been given by these topics. */
export function countLoad(assignments: Iterable<Assignment>): Map<BrokerId, BrokerLoad> {
  const load = new Map<BrokerId, { replicas: number; leaders: number }>()
  for (const assignment of assignments) {
    for (const row of assignment) {
      for (const [rank, id] of row.entries()) {
        let one = load.get(id)
        if (one === undefined) load.set(id, (one = { replicas: 0, leaders: 0 }))
        one.replicas += 1
        if (rank === 0) one.leaders += 1
      }
    }
  }
  return load
}

export interface ReplacementRequest extends Pick<PlacementRequest, 'brokers' | 'load' | 'startAt'> {
  /** The replicas as they are, the preferred leader first. */
  readonly row: readonly BrokerId[]
  readonly leaving: BrokerId
  /** Of all brokers, those included that get nothing. */
  readonly racks: ReadonlyMap<BrokerId, string | undefined>
}

/**
 * The row with another broker in place of the one that leaves: in the rack that has the fewest of the others, the broker with
 * the least load. Where the preferred leader leaves, the one with the fewest leaderships takes its place.
 */
export function replaceReplica({ row, leaving, racks, ...request }: ReplacementRequest): readonly BrokerId[] {
  const staying = row.filter((id) => id !== leaving)
  const all = racksOf({ ...request, partitions: 1, replicationFactor: row.length })
  const rackOf = (id: BrokerId): string => racks.get(id) ?? `broker ${id}`
  const free = all.flatMap((rack) => {
    const [first] = rack.places
    const taken = first === undefined ? 0 : staying.filter((id) => rackOf(id) === rackOf(first.brokerId)).length
    const places = rack.places.filter(({ brokerId: id }) => id !== leaving && !row.includes(id))
    return places.length === 0 ? [] : [{ places, taken, load: rack.replicas / rack.places.length }]
  })
  const fewest = Math.min(...free.map(({ taken }) => taken))
  const rack = least(
    free.filter(({ taken }) => taken === fewest),
    ({ load }) => load,
  )
  const newcomer = least(rack.places, ({ replicas }) => replicas)
  if (row[0] !== leaving) return [...staying, newcomer.brokerId]
  const leadersOf = (id: BrokerId): number => request.load.get(id)?.leaders ?? 0
  const leader = least([...staying, newcomer.brokerId], leadersOf)
  return [leader, ...[...staying, newcomer.brokerId].filter((id) => id !== leader)]
}

/** Counts in the load that a row of replicas has become another one. */
export function countMove(load: Map<BrokerId, BrokerLoad>, from: readonly BrokerId[], to: readonly BrokerId[]): void {
  const add = (row: readonly BrokerId[], by: 1 | -1): void => {
    for (const [rank, id] of row.entries()) {
      const { replicas, leaders } = load.get(id) ?? { replicas: 0, leaders: 0 }
      load.set(id, { replicas: replicas + by, leaders: rank === 0 ? leaders + by : leaders })
    }
  }
  add(from, -1)
  add(to, 1)
}

/** In the order in which they are preferred among equals. */
function racksOf({ brokers, load, startAt }: PlacementRequest): Rack[] {
  const sorted = [...brokers].sort((a, b) => a.brokerId - b.brokerId)
  const first = startAt % Math.max(1, sorted.length)
  const racks = new Map<string, Rack>()
  for (const { brokerId, rack: name } of [...sorted.slice(first), ...sorted.slice(0, first)]) {
    const key = name === undefined ? `broker ${brokerId}` : `rack ${name}`
    const rack = racks.get(key) ?? { places: [], replicas: 0, taken: 0 }
    const { replicas, leaders } = load.get(brokerId) ?? { replicas: 0, leaders: 0 }
    rack.places.push({ brokerId, replicas, leaders })
    rack.replicas += replicas
    racks.set(key, rack)
  }
  return [...racks.values()]
}

function pickReplicas(racks: readonly Rack[], replicationFactor: number): Place[] {
  const row: Place[] = []
  for (const rack of racks) rack.taken = 0
  while (row.length < replicationFactor) {
    const free = racks.filter(({ taken, places }) => taken < places.length)
    const fewest = Math.min(...free.map(({ taken }) => taken))
    const rack = least(
      free.filter(({ taken }) => taken === fewest),
      ({ replicas, places }) => replicas / places.length,
    )
    const place = least(
      rack.places.filter((one) => !row.includes(one)),
      ({ replicas }) => replicas,
    )
    row.push(place)
    place.replicas += 1
    rack.replicas += 1
    rack.taken += 1
  }
  return row
}

/** Puts the replica first that is the preferred leader of the fewest partitions. */
function putLeaderFirst(row: readonly Place[]): Place[] {
  const leader = least(row, ({ leaders }) => leaders)
  leader.leaders += 1
  return [leader, ...row.filter((one) => one !== leader)]
}

/** The first of those with the lowest measure. */
function least<T>(items: readonly T[], measure: (item: T) => number): T {
  const [first, ...others] = items
  return others.reduce((best, item) => (measure(item) < measure(best) ? item : best), must(first, 'one is left'))
}
