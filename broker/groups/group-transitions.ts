// Where each event may take a group, as data: a pair of phase and event that is missing does not compile. An empty list
// means that the event says nothing to a group in that phase, and is dropped. SPEC.md shows the same table for people.

import type { GroupEventKind, GroupPhase } from './group-events.ts'

type Row = Record<GroupEventKind, readonly GroupPhase[]>

const DROPPED: readonly GroupPhase[] = []
const DEAD: readonly GroupPhase[] = ['Dead']
const EMPTY: readonly GroupPhase[] = ['Empty']
const STABLE: readonly GroupPhase[] = ['Stable']
const COMPLETING: readonly GroupPhase[] = ['CompletingRebalance']
/** By somebody who comes: a round may end in the event that begins it. */
const ROUND: readonly GroupPhase[] = ['PreparingRebalance', 'CompletingRebalance']
/** By somebody who goes: with it the group may be empty. */
const ROUND_OR_END: readonly GroupPhase[] = ['PreparingRebalance', 'CompletingRebalance', 'Empty']

export const GROUP_TRANSITIONS: Record<GroupPhase, Row> = {
  Empty: {
    join: ['Empty', ...ROUND],
    sync: EMPTY,
    heartbeat: EMPTY,
    leave: EMPTY,
    commit: EMPTY,
    'connection-closed': EMPTY,
    stored: EMPTY,
    delete: DEAD,
    expire: ['Empty', 'Dead'],
    'coordinator-lost': DEAD,
    tick: EMPTY,
  },
  PreparingRebalance: {
    join: ROUND,
    sync: ['PreparingRebalance'],
    heartbeat: ['PreparingRebalance'],
    leave: ROUND_OR_END,
    commit: ['PreparingRebalance'],
    'connection-closed': ['PreparingRebalance'],
    stored: ROUND_OR_END,
    delete: ['PreparingRebalance'],
    expire: DROPPED,
    'coordinator-lost': DEAD,
    tick: ROUND_OR_END,
  },
  CompletingRebalance: {
    join: ROUND,
    sync: COMPLETING,
    heartbeat: COMPLETING,
    leave: ROUND_OR_END,
    commit: COMPLETING,
    'connection-closed': COMPLETING,
    stored: ['CompletingRebalance', 'Stable', 'PreparingRebalance'],
    delete: COMPLETING,
    expire: DROPPED,
    'coordinator-lost': DEAD,
    tick: ROUND_OR_END,
  },
  Stable: {
    join: ['Stable', ...ROUND],
    sync: STABLE,
    heartbeat: STABLE,
    leave: ['Stable', ...ROUND_OR_END],
    commit: STABLE,
    'connection-closed': STABLE,
    stored: STABLE,
    delete: STABLE,
    expire: DROPPED,
    'coordinator-lost': DEAD,
    tick: ['Stable', ...ROUND_OR_END],
  },
  Dead: {
    join: DEAD,
    sync: DEAD,
    heartbeat: DEAD,
    leave: DEAD,
    commit: DEAD,
    'connection-closed': DROPPED,
    stored: DROPPED,
    delete: DEAD,
    expire: DROPPED,
    'coordinator-lost': DROPPED,
    tick: DROPPED,
  },
}
