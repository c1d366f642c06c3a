// A cluster's life from a seed: anything that can happen does, in any order, as often as the seed's own rates say. At its end
// everything is healed, and then the cluster must lead, agree and still have all that it ever acknowledged.

import { comparePositions, fenceQuorum, type SuspectPolicy } from '../../broker/replication/fence-quorum.ts'
import { REPLICA_RULES, type ReplicaRules } from '../../broker/replication/replica-rules.ts'
import type { EventKind, Role } from '../../broker/replication/replication-events.ts'
import { InvariantError } from '../../shared/assert.ts'
import { brokerId, leaderEpoch } from '../../shared/ids.ts'
import { isVoter, type VoterSet } from '../../shared/voters.ts'
import { type Random, seededRandom } from '../../shared/random.ts'
import { ClusterModel, type ModelNode, type ModelOptions } from './cluster-model.ts'
import { OracleError } from './cluster-oracle.ts'
import { describeStep } from './describe.ts'

export interface WalkOptions {
  readonly rules?: ReplicaRules
  /** Chosen by the seed unless given. */
  readonly replicas?: number
  readonly minInSyncReplicas?: number
  readonly durability?: 'os' | 'fsync'
  /** Whether the voters change; half of all lives unless given. */
  readonly changes?: boolean
  /** Whether operators have replicas go on alone. */
  readonly recoveries?: boolean
  /** Whether the topic is compacted. */
  readonly compaction?: boolean
  readonly trace?: (line: string) => void
  /** Told of every step: the role, the event, and the role after it. */
  readonly observe?: (role: Role, kind: EventKind, to: Role) => void
}

export interface WalkResult {
  /** What was wrong; undefined when nothing was. */
  readonly failure: string | undefined
  readonly steps: number
  readonly epochs: number
  readonly acknowledged: number
  /** Changes of the voters that have come to their end. */
  readonly changes: number
  readonly isLossAccepted: boolean
  /** How often a replica has copied its log anew. */
  readonly begunAnew: number
}

const MESSAGES_MAX = 30

/** Rates of what happens, out of 100; the rest are messages and writes that arrive. */
interface Rates {
  readonly campaign: number
  readonly kill: number
  readonly losePower: number
  /** How fast a disk is. */
  readonly sync: number
  readonly write: number
  readonly lost: number
  readonly doubled: number
  /** How often somebody asks for other voters. */
  readonly change: number
  /** How fast a replica that is no voter any more is deleted. */
  readonly retire: number
  /** How often an operator has a replica go on alone. */
  readonly recover: number
  /** How often logs are compacted, and tombstones dropped. */
  readonly compact: number
}

export function walk(seed: number, options: WalkOptions = {}): WalkResult {
  const random = seededRandom(seed)
  const replicas = options.replicas ?? pick(random, [3, 3, 3, 5, 4, 2, 1])
  const minInSyncReplicas =
    options.minInSyncReplicas ?? Math.min(replicas, pick(random, [Math.floor(replicas / 2) + 1, 2, 1, replicas]))
  const durability = options.durability ?? pick(random, ['os', 'fsync'] as const)
  const suspectPolicy: SuspectPolicy = pick(random, ['wait', 'wait', 'balanced'] as const)
  const isChanging = options.changes ?? random.integer(2) === 0
  const trace = tracerOf(options)
  const model = new ClusterModel({
    replicas,
    spares: isChanging ? pick(random, [1, 2, 2, 3]) : 0,
    minInSyncReplicas,
    durability,
    suspectPolicy,
    rules: options.rules ?? REPLICA_RULES,
    isCompacted: options.compaction === true,
    ...(trace === undefined ? {} : { trace }),
  })
  const rates: Rates = {
    // A change takes its time, and few come to their end where nobody leads for long.
    campaign: pick(random, isChanging ? [0.05, 0.1, 0.2, 0.5, 2] : [0.2, 0.5, 1, 2.5]),
    kill: pick(random, [0, 0.5, 1.5]),
    losePower: pick(random, [0, 0.3, 1]),
    sync: pick(random, [6, 1]),
    write: pick(random, [25, 5]),
    lost: pick(random, [0, 0.05, 0.2]),
    doubled: pick(random, [0, 0.1, 0.2]),
    change: isChanging ? pick(random, [3, 10]) : 0,
    retire: pick(random, [0, 0.3, 3]),
    recover: options.recoveries === true ? pick(random, [0.02, 0.1]) : 0,
    compact: options.compaction === true ? pick(random, [1, 4, 10]) : 0,
  }
  const steps = pick(random, isChanging ? [800, 1_600, 2_400] : [400, 800, 1_600])
  const replacedMax = random.integer(4) === 0 ? 1 : 0
  let step = 0
  let failure: string | undefined
  try {
    for (; step < steps; step += 1) happen(model, random, rates, replacedMax)
    heal(model, suspectPolicy, options.recoveries === true)
  } catch (error) {
    if (!(error instanceof OracleError || error instanceof InvariantError)) throw error
    failure = `${error.name}: ${error.message} (step ${step} of ${steps}, ${replicas} replicas, ${minInSyncReplicas} in sync, ${durability})`
  }
  const { epochs, acknowledged, changes, isLossAccepted, begunAnew } = model.oracle
  return { failure, steps: step, epochs, acknowledged: acknowledged.size, changes, isLossAccepted, begunAnew }
}

function happen(model: ClusterModel, random: Random, rates: Rates, replacedMax: number): void {
  const node = pick(random, model.nodes)
  const { replica } = node
  model.now += random.integer(random.integer(200) === 0 ? 5_000 : 10)
  if (node.isPaused) {
    if (random.integer(20) === 0) node.isPaused = false
    return
  }
  if (replica === undefined) {
    if (random.integer(8) === 0) model.start(node)
    return
  }
  if (replica.role === 'offline') return restart(model, random, node)
  let chance = random.fraction() * 100
  const is = (share: number): boolean => (chance -= share) < 0
  if (is(rates.campaign)) return suggest(model, random, node)
  if (is(rates.kill)) return model.kill(node, random.integer(2) === 0)
  // Where a cut is not yet on the disk, a loss of power has most to say.
  if (is(node.log.isCut ? 10 * rates.losePower : rates.losePower))
    return model.losePower(node, random.fraction(), random.integer(2) === 0)
  if (is(0.3)) return void (node.isPaused = true)
  if (is(0.2)) return maybeReplace(model, random, node, replacedMax)
  if (is(1)) return redis(model, random, node)
  if (is(0.1)) return model.step(node, { kind: pick(random, ['stopped', 'disk-failed'] as const) })
  if (rates.recover > 0 && is(rates.recover)) return model.step(node, { kind: 'recovery-asked', now: model.now })
  if (rates.compact > 0 && is(rates.compact)) {
    return random.integer(2) === 0 ? model.compact(node) : model.dropTombstones(node, random.integer(2) === 0)
  }
  // What was appended is told when it has been written, whatever the replica is by then.
  if (is(0.5)) return model.step(node, { kind: 'records-appended' })
  if (is(1)) return void (node.highWatermark = replica.highWatermark)
  if (is(0.3)) return node.log.trim(random.integer(replica.highWatermark + 1))
  if (is(2)) return model.step(node, { kind: 'tick', now: model.now })
  if (is(1)) return model.announce(node)
  if (is(rates.sync)) return model.sync(node)
  const records = node.log.logEndOffset - node.log.logStartOffset
  if (replica.leaderEpoch !== undefined && is(rates.change)) return change(model, random, node)
  // Of those that have a voice by their logs some have lost it since, and may ask as well.
  if (replica.following !== undefined && (!replica.isVoter || model.now % 8 === 0) && is(rates.retire))
    return model.leave(node, model.now % 2 === 0)
  if (replica.role === 'leader' && is(20)) return void (records < 24 && model.produce(node))
  if (replica.following !== undefined && is(25))
    return void (model.messages.length < MESSAGES_MAX / 2 && model.fetch(node))
  if (node.writes.length > 0 && is(rates.write)) return model.finishWrite(node)
  deliverAny(model, random, rates)
}

/** A replica that has stopped is as good as a process that has; until it is started anew it hears of this and that. */
function restart(model: ClusterModel, random: Random, node: ModelNode): void {
  const { now } = model
  switch (random.integer(6)) {
    case 0:
      return model.step(node, { kind: 'tick', now })
    case 1:
      return model.step(node, { kind: pick(random, ['stopped', 'disk-failed'] as const) })
    case 2:
      return model.step(node, { kind: 'lease-lost', reason: 'expired', now })
    case 3:
      return model.kill(node)
    default: {
      const message = model.messages.find(({ to }) => to === node.id)
      if (message !== undefined) model.deliver(message)
    }
  }
}

function tracerOf(options: WalkOptions): ModelOptions['trace'] {
  const { trace, observe } = options
  if (trace === undefined && observe === undefined) return undefined
  return (node, role, event, effects) => {
    trace?.(describeStep(node, role, event, effects))
    observe?.(role, event.kind, node.replica?.role ?? role)
  }
}

function deliverAny(model: ClusterModel, random: Random, rates: Rates): void {
  const { messages } = model
  if (messages.length === 0) return
  if (messages.length > MESSAGES_MAX) messages.splice(random.integer(messages.length), 1)
  // Mostly among the oldest, as a network does it; sometimes any.
  const at = random.integer(random.integer(4) === 0 ? messages.length : Math.min(messages.length, 4))
  const message = messages[at]
  if (message === undefined || model.node(message.to).isPaused) return
  if (random.fraction() >= rates.doubled) messages.splice(at, 1)
  if (random.fraction() >= rates.lost) model.deliver(message)
}

/** The coordinator may know any epoch, or none, and suggest anybody. */
function suggest(model: ClusterModel, random: Random, node: ModelNode): void {
  const known = node.replica?.promise?.epoch ?? 0
  const hint = random.integer(3) === 0 ? undefined : leaderEpoch(random.integer(known + 4))
  model.step(node, { kind: 'campaign-suggested', epochHint: hint, now: model.now })
}

/** What else a coordinator may say, true or not. */
function redis(model: ClusterModel, random: Random, node: ModelNode): void {
  const { now } = model
  switch (random.integer(12)) {
    case 0:
      return model.step(node, { kind: 'lease-lost', reason: 'expired', now })
    case 1:
      return model.step(node, { kind: 'lease-lost', reason: 'taken', now })
    case 2: {
      const leader = brokerId(pick(random, model.nodes).id)
      const epoch = leaderEpoch(random.integer((node.replica?.promise?.epoch ?? 0) + 3))
      return model.step(node, { kind: 'leader-announced', leader, epoch })
    }
    case 3:
      return model.step(node, { kind: 'hand-over-asked', to: brokerId(pick(random, model.nodes).id), now })
    default:
      return model.step(node, { kind: 'lease-held', now })
  }
}

/** As many disks may be gone at a time as each set that is in force can do without; nobody counts them without a leader. */
function maybeReplace(model: ClusterModel, random: Random, node: ModelNode, replacedMax: number): void {
  const leader = leaderOf(model)
  const sets = leader?.replica?.voterSets ?? []
  const gone = sets.flatMap(({ voters }) => voters.filter((voter) => isGone(model, voter))).length
  if (leader !== undefined && gone < replacedMax && random.integer(2) === 0) model.replaceDisk(node)
}

function isGone(model: ClusterModel, voter: VoterSet['voters'][number]): boolean {
  return model.node(voter.brokerId).directoryId !== voter.directoryId
}

/** Somebody wants other voters, for a while: one more, one less, another one, or quite others; and asks whoever leads. */
function change(model: ClusterModel, random: Random, node: ModelNode): void {
  const { voterSets = [] } = node.replica ?? {}
  const current = voterSets.at(-1)
  if (current === undefined) return
  // Whoever began it may want to have it taken back.
  if (voterSets.length > 1 && random.integer(8) === 0) model.wanted = voterSets[0]
  if (model.wanted !== undefined && random.integer(20) > 0) return model.changeVoters(node)
  const members = model.nodes.filter(({ id }) => current.voters.some(({ brokerId: voter }) => voter === id))
  const others = model.nodes.filter((other) => !members.includes(other))
  const wanted = random.integer(4) === 0 ? model.nodes.filter(() => random.integer(2) === 0) : [...members]
  const kind = random.integer(3)
  if (kind !== 0 && others.length > 0) wanted.push(pick(random, others))
  if (kind !== 1 && wanted.length > 1) wanted.splice(random.integer(wanted.length), 1)
  const nodes = [...new Set(wanted)]
  if (nodes.length === 0) return
  const majority = Math.floor(nodes.length / 2) + 1
  model.wanted = model.setOf(nodes, pick(random, [majority, majority, 1 + random.integer(nodes.length)]))
  model.changeVoters(node)
}

/** No fault any more: within a bounded time somebody leads, everybody agrees, and everything acknowledged is there. */
function heal(model: ClusterModel, policy: SuspectPolicy, isRecovering: boolean): void {
  model.messages.length = 0
  // Nothing is slow any more either: catching up takes a few fetches.
  model.batch = 64
  for (const node of model.nodes) {
    node.isPaused = false
    if (node.replica?.role === 'offline') model.kill(node)
    model.start(node)
    model.step(node, { kind: 'lease-held', now: model.now })
  }
  // What an operator has asked for is asked for again until it is done: one that has only promised to go on alone hinders.
  if (isRecovering) {
    const [best] = [...model.nodes].sort((a, b) => (b.replica?.promise?.epoch ?? 0) - (a.replica?.promise?.epoch ?? 0))
    if (best !== undefined) model.step(best, { kind: 'recovery-asked', now: model.now })
  }
  let asked = 0
  for (let round = 0; round < 100; round += 1) {
    model.now += 500
    const leader = leaderOf(model)
    const isTrying = model.nodes.some(({ replica }) => replica?.role === 'candidate')
    // Claims of the real thing come with jitter; here nobody is asked while somebody else is.
    const isAsked = model.messages.some(({ event }) => event.kind === 'campaign-suggested')
    if (leader === undefined && !isTrying && !isAsked && round % 4 === 0) {
      const able = model.nodes.filter(({ replica }) => replica?.isVoter === true && !replica.isNewcomer)
      const candidate = able[(asked += 1) % able.length]
      const event = { kind: 'campaign-suggested', epochHint: undefined, now: model.now } as const
      if (candidate !== undefined) model.step(candidate, event)
    }
    if (leader !== undefined) model.announce(leader)
    for (const node of model.nodes) {
      for (let write = 0; node.writes.length > 0 && write < 10; write += 1) model.finishWrite(node)
      model.sync(node)
      model.fetch(node)
      model.step(node, { kind: 'tick', now: model.now })
    }
    for (const message of model.messages.splice(0)) model.deliver(message)
  }
  const leader = leaderOf(model)
  if (leader !== undefined) return checkAgreement(model, leader, policy)
  // Too many replicas may have lost data, or have lost their disk: then nobody leading is right.
  if (!isElectable(model, policy)) return
  throw new OracleError('nobody leads although nothing is wrong any more')
}

/** Whether the best log of a voter could win, if everybody answered. */
function isElectable(model: ClusterModel, policy: SuspectPolicy): boolean {
  const able = model.nodes.filter(({ replica }) => replica?.isVoter === true && !replica.isNewcomer)
  const [best] = able.sort((a, b) => comparePositions(b.log, a.log))
  if (best === undefined) return false
  const sets = best.replica?.voterSets ?? []
  const present = (set: VoterSet): ModelNode[] =>
    set.voters
      .filter((voter) => !isGone(model, voter))
      .map(({ brokerId: id }) => model.node(id))
      .filter(({ replica }) => replica !== undefined && !replica.isNewcomer)
  if (policy === 'balanced' && sets.every((set) => present(set).length === set.voters.length)) return true
  return sets.every((set) => {
    const trusted = present(set).filter(({ replica }) => replica?.isSuspect === false)
    return trusted.length >= fenceQuorum(set.voters.length, set.minInSyncReplicas)
  })
}

function checkAgreement(model: ClusterModel, leader: ModelNode, policy: SuspectPolicy): void {
  const { oracle } = model
  if (oracle.isLossAccepted) return
  const { log, replica } = leader
  const [set, next] = replica?.voterSets ?? []
  const voters = [...(set?.voters ?? []), ...(next?.voters ?? [])]
  const isComplete = !voters.some((voter) => isGone(model, voter))
  if (isComplete && replica?.highWatermark !== log.logEndOffset) {
    throw new OracleError(`the high watermark stays at ${replica?.highWatermark}, the log ends at ${log.logEndOffset}`)
  }
  if (isComplete && next !== undefined) throw new OracleError('a change of the voters comes to no end')
  if (isComplete && !isVoter(voters, brokerId(leader.id), leader.directoryId)) {
    // It stays until somebody else can lead, and that may be nobody: too many have lost something.
    if (!isElectable(model, policy)) return
    throw new OracleError(`${leader.id} leads and is no voter any more`)
  }
  for (const [value, at] of oracle.acknowledged) {
    if (at >= log.logStartOffset && log.at(at)?.value !== value) throw new OracleError(`${value} at ${at} is lost`)
  }
  for (const node of model.nodes) {
    if (node.replica?.role === 'offline') throw new OracleError(`replica ${node.id} has stopped`)
    // One that has nothing to say may have promised an epoch that nobody leads, and nobody goes above it for its sake.
    if (!isVoter(voters, brokerId(node.id), node.directoryId)) continue
    const fault = node.log.faultOfKeys(true)
    if (fault !== undefined) throw new OracleError(`replica ${node.id}: ${fault}`)
    if (node.log.logEndOffset !== log.logEndOffset) {
      throw new OracleError(`replica ${node.id} ends at ${node.log.logEndOffset}, its leader at ${log.logEndOffset}`)
    }
  }
}

function leaderOf(model: ClusterModel): ModelNode | undefined {
  const leaders = model.nodes.filter(({ replica }) => replica?.role === 'leader')
  return leaders.sort((a, b) => (b.replica?.leaderEpoch ?? 0) - (a.replica?.leaderEpoch ?? 0))[0]
}

function pick<T>(random: Random, from: readonly T[]): T {
  const picked = from[random.integer(from.length)]
  if (picked === undefined) throw new RangeError('nothing to pick from')
  return picked
}
