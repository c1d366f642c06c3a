// The generations of a group, which never go back, whatever a coordinator has lost. Pure.
//
// A generation is told to members before it is written down, so the next coordinator may not know of it. Each leader epoch
// therefore has a range of its own, above those of all epochs before it: its first is floor + 1. One that reaches the floor
// of the next epoch must be written down before it is told; whoever leads next reads it then. From the first epoch of a
// recovery on all epochs between two recoveries have one floor: their generations are all written down first. So is the first
// one of an epoch of which the log has nothing yet, as of a broker that is alone after its start.

const GENERATIONS_PER_EPOCH = 1 << 12
/** Epochs between two recoveries (broker/replication/recovery-epoch.ts). */
const EPOCHS_PER_RECOVERY = 1 << 18
const GENERATIONS_PER_RECOVERY = 1 << 17
const RECOVERED = GENERATIONS_PER_EPOCH * EPOCHS_PER_RECOVERY

/** Below all generations of this leader epoch that no other can have told; fits an int32. */
export function generationFloor(leaderEpoch: number): number {
  if (leaderEpoch < EPOCHS_PER_RECOVERY) return leaderEpoch * GENERATIONS_PER_EPOCH
  return RECOVERED + Math.floor(leaderEpoch / EPOCHS_PER_RECOVERY) * GENERATIONS_PER_RECOVERY
}

/** Of the leadership under which a group is run. */
export interface EpochOptions {
  readonly leaderEpoch: number
  /**
   * Whether the log has anything of this epoch: if not, the next life of this broker may take it for its own. It has if absent.
   */
  readonly isEpochKept?: () => boolean
}

/** Whether the generation must be written down before it is told, whatever the reason. */
export function isToBeReserved(generation: number, { leaderEpoch, isEpochKept }: EpochOptions): boolean {
  return isToBeStoredFirst(generation, leaderEpoch) || isEpochKept?.() === false
}

/** Whether the generation must be written down before anybody is told of it. */
export function isToBeStoredFirst(generation: number, leaderEpoch: number): boolean {
  return generation >= generationFloor(leaderEpoch + 1)
}

/** What must be known of a group that is forgotten, if anything: the next leader epoch could give it out again. */
export function generationToKeep(generation: number, leaderEpoch: number): number | undefined {
  return isToBeStoredFirst(generation, leaderEpoch) ? generation : undefined
}
