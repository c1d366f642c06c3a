// All that a broker has of groups: the coordinator, its figures, its pages on the admin port and its health. Composes them
// from the broker's settings; holds no rule of theirs.

import type { ErrorCode } from '../../shared/errors.ts'
import type { Meter } from '../metrics/meter.ts'
import type { Peers } from '../replication/peers.ts'
import type { GroupCoordinatorOptions } from './group-coordinator.ts'
import { GroupCoordinator } from './group-coordinator.ts'
import { GroupLag } from './group-lag.ts'
import { type GroupFigures, GroupMetrics } from './group-metrics.ts'
import { groupDetails, groupSummary } from './group-view.ts'
import { type GroupsCheck, groupsCheck } from './groups-check.ts'
import type { Coordinator } from '../coordination/coordinator.ts'
import type { BrokerId } from '../../shared/ids.ts'
import { OtherEnds } from './other-ends.ts'

type Parts = Pick<
  GroupCoordinatorOptions,
  'coordinator' | 'partitions' | 'isCluster' | 'clock' | 'timers' | 'random' | 'logger'
> & {
  readonly meter: Meter
  /** The other brokers, where there may be some. */
  readonly peers?: Peers
}

/** As the broker's settings name them. */
export interface GroupSettings {
  readonly groupMinSessionTimeoutMs: number
  readonly groupMaxSessionTimeoutMs: number
  readonly groupInitialRebalanceDelayMs: number
  readonly groupMaxSize: number
  readonly groupsMax: number
  readonly offsetsCommitTimeoutMs: number
  readonly offsetsRetentionMinutes: number
  readonly offsetsRetentionCheckIntervalMs: number
  readonly offsetsTopicNumPartitions: number
  readonly offsetsTopicReplicationFactor: number
}

/** What the members of one group say and are given: a record of the offsets topic holds it all. */
const GROUP_BYTES_MAX = 900_000
const MINUTE_MS = 60_000

export class Groups {
  readonly groups: GroupCoordinator
  /** What their topic is made with. */
  readonly topic: { readonly partitions: number; readonly replicas: number }
  readonly #parts: Parts
  readonly #metrics: GroupMetrics

  constructor(parts: Parts, settings: GroupSettings) {
    this.#parts = parts
    this.topic = { partitions: settings.offsetsTopicNumPartitions, replicas: settings.offsetsTopicReplicationFactor }
    this.groups = new GroupCoordinator({
      ...parts,
      groups: {
        sessionTimeoutMsMin: settings.groupMinSessionTimeoutMs,
        sessionTimeoutMsMax: settings.groupMaxSessionTimeoutMs,
        initialRebalanceDelayMs: settings.groupInitialRebalanceDelayMs,
        membersMax: settings.groupMaxSize,
        bytesMax: GROUP_BYTES_MAX,
      },
      commitTimeoutMs: settings.offsetsCommitTimeoutMs,
      groupsMax: settings.groupsMax,
      offsetsRetentionMs: settings.offsetsRetentionMinutes * MINUTE_MS,
      offsetsRetentionCheckMs: settings.offsetsRetentionCheckIntervalMs,
    })
    const { coordinator, peers, clock, timers, partitions, meter } = parts
    const others =
      peers === undefined
        ? undefined
        : new OtherEnds({
            leaderOf: (topic, partition) => leaderOf(coordinator, topic, partition),
            isConnected: (to) => peers.isConnected(to),
            listOffsets: async (to, asked) =>
              (await peers.ask(to, 'listOffsets', { partitions: asked })).body.partitions,
            clock,
            timers,
          })
    this.#metrics = new GroupMetrics(this.groups, new GroupLag(partitions, clock, others), meter)
  }

  start(): void {
    this.groups.start()
  }

  /** Whoever waits is answered. Idempotent. */
  stop(): void {
    this.groups.stop()
  }

  /** Works out the lag, for whoever reads the figures next. */
  refresh(): Promise<void> {
    return this.#metrics.refresh()
  }

  figures(): GroupFigures[] {
    return this.#metrics.figures()
  }

  check(): GroupsCheck {
    return groupsCheck(this.#parts.coordinator, this.groups, this.topic.replicas)
  }

  /** Those that are coordinated here; other brokers tell of theirs. */
  async list(): Promise<object> {
    await this.refresh()
    const groups = this.figures().map(groupSummary)
    return { groups, isCut: groups.length < this.groups.groupCount, loading: this.groups.loading }
  }

  /** Everything about one group, or why it cannot be told. */
  async describe(name: string): Promise<object | { readonly error: string; readonly code: ErrorCode }> {
    const group = this.groups.findKnown(name)
    if (group === undefined) return { error: `there is no group '${name}'`, code: 'GROUP_ID_NOT_FOUND' }
    if ('error' in group) return { error: group.message, code: group.error }
    return groupDetails(group, await this.#metrics.refreshOne(group), this.#parts.clock)
  }
}

function leaderOf(coordinator: Coordinator, topic: string, partition: number): BrokerId | undefined {
  const id = coordinator.topics.byName(topic)?.topicId
  return id === undefined ? undefined : coordinator.leaderships.of(id, partition)?.leader
}
