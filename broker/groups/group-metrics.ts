// What is to be measured of the groups that this broker coordinates. Owns which series there are: those of groups that are
// here, and of the topics that they have come somewhere in. Lag is worked out when somebody asks for it, and never before.

import type { Meter, Registration } from '../metrics/meter.ts'
import type { GroupCoordinator } from './group-coordinator.ts'
import type { Group } from './group.ts'
import type { GroupPhase } from './group-events.ts'
import { type GroupLag, type PartitionLag, topicLags } from './group-lag.ts'

/** Groups that are told of, and offsets of them whose lag is: a scrape must not grow with what clients think of. */
const GROUPS_MAX = 2_000
const OFFSETS_MAX = 20_000

export interface GroupFigures {
  readonly group: string
  readonly state: GroupPhase
  readonly protocolType: string | undefined
  readonly members: number
  /** Milliseconds since 1970. */
  readonly stateSince: number
  readonly lags: readonly PartitionLag[]
}

export class GroupMetrics {
  readonly #groups: GroupCoordinator
  readonly #meter: Meter
  readonly #lag: GroupLag
  readonly #series = new Map<Group, Registration[]>()
  /** By group and topic, of the last refresh. */
  #lags = new Map<string, Registration[]>()
  #refreshing: Promise<void> | undefined

  constructor(groups: GroupCoordinator, lag: GroupLag, meter: Meter) {
    this.#groups = groups
    this.#meter = meter
    this.#lag = lag
    groups.observe({
      onGroup: (group) => this.#onGroup(group),
      onGroupGone: (group) => {
        for (const one of this.#series.get(group) ?? []) one.remove()
        this.#series.delete(group)
      },
    })
  }

  /** Works out the lag, for whoever reads the figures next. Those who ask meanwhile share it. */
  refresh(): Promise<void> {
    this.#refreshing ??= this.#refresh().finally(() => {
      this.#refreshing = undefined
    })
    return this.#refreshing
  }

  /** Of the groups here, or of as many of them as are told. */
  figures(): GroupFigures[] {
    return this.#told().map((group) => this.figuresOf(group))
  }

  figuresOf(group: Group): GroupFigures {
    const { name, phase, state, stateSince } = group
    const { protocolType, memberCount: members } = state
    return { group: name, state: phase, protocolType, members, stateSince, lags: this.#lag.of(group) }
  }

  /** Finds out the lag of one group, as exactly as it can be told. */
  async refreshOne(group: Group): Promise<GroupFigures> {
    await this.#lag.refresh([...this.#told().filter((one) => one !== group), group])
    return this.figuresOf(group)
  }

  #onGroup(group: Group): void {
    if (this.#series.size >= GROUPS_MAX) return
    const labels = { group: group.name }
    this.#series.set(group, [
      this.#meter.gauge('tidemark_group_members', labels, () => group.state.memberCount),
      this.#meter.reading('tidemark_group_rebalances_total', labels, () => group.rebalances),
    ])
  }

  async #refresh(): Promise<void> {
    const told = this.#told()
    await this.#lag.refresh(told)
    const lags = new Map<string, Registration[]>()
    for (const series of this.#lags.values()) for (const one of series) one.remove()
    for (const group of told) {
      for (const { topic, records, seconds } of topicLags(this.#lag.of(group))) {
        const labels = { group: group.name, topic }
        const series: Registration[] = []
        // What is not known has no series: 0 would say that there is nothing left to do.
        if (records !== undefined) series.push(this.#meter.gauge('tidemark_group_lag_records', labels, () => records))
        if (seconds !== undefined) series.push(this.#meter.gauge('tidemark_group_lag_seconds', labels, () => seconds))
        lags.set(`${group.name}\n${topic}`, series)
      }
    }
    this.#lags = lags
  }

  #told(): Group[] {
    const told: Group[] = []
    let offsets = 0
    for (const group of this.#groups.groups()) {
      offsets += group.offsets.count
      if (told.length >= GROUPS_MAX || offsets > OFFSETS_MAX) break
      told.push(group)
    }
    return told
  }
}
