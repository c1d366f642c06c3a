// What must be true of a cluster at any moment, whatever has happened to it. Owns the memory of all that was ever led, written,
// shown and acknowledged; knows nothing of how it came about. A broken rule is an OracleError that says which.

import type { ReplicaState } from '../../broker/replication/replica-state.ts'
import { isVoter, type VoterSet } from '../../shared/voters.ts'
import type { Entry, ModelLog } from './model-log.ts'

export class OracleError extends Error {
  override readonly name = 'OracleError'
}

/** A replica as the oracle sees it. */
export interface Watched {
  readonly id: number
  readonly log: ModelLog
  readonly replica: ReplicaState | undefined
  readonly directoryId: string
  /** It has lost unsynced records since it last was known to hold everything. */
  readonly hasLost: boolean
}

interface Shown {
  readonly entry: Entry
  readonly epoch: number
}

export class ClusterOracle {
  readonly #leaders = new Map<number, string>()
  readonly #written = new Map<number, { readonly value: number; readonly previousEpoch: number | undefined }>()
  /** By offset: what some replica has shown to consumers, and the first epoch it was shown in. */
  readonly shown: Shown[] = []
  readonly acknowledged = new Map<number, number>()
  readonly #highWatermarks = new Map<string, number>()
  readonly #initial: VoterSet
  readonly #settled = new Set<number>()
  epochs = 0
  /** How often a replica has copied its log anew. */
  begunAnew = 0
  /** An election has said that it may lose something: from then on nothing more is asked. */
  isLossAccepted = false

  constructor(initial: VoterSet) {
    this.#initial = initial
  }

  /** How often other voters have come into force for good. */
  get changes(): number {
    return this.#settled.size
  }

  /** The voters record at the offset is committed, and names one set. */
  onSettled(at: number): void {
    this.#settled.add(at)
  }

  onElected(node: Watched, epoch: number, life: string, isLossAccepted: boolean): void {
    const leader = this.#leaders.get(epoch)
    check(leader === undefined || leader === life, `epoch ${epoch} has two leaders: ${leader} and ${life}`)
    this.#leaders.set(epoch, life)
    this.epochs += 1
    if (isLossAccepted) this.isLossAccepted = true
    const fault = node.log.faultOfKeys(true)
    check(fault === undefined, `at leader ${life} of epoch ${epoch}: ${fault}`)
    if (this.isLossAccepted) return
    for (let at = node.log.logStartOffset as number; at < this.shown.length; at += 1) {
      const was = this.shown[at]
      const is = node.log.at(at)
      if (was === undefined || was.epoch > epoch) continue
      const isKept = is !== undefined && is.epoch === was.entry.epoch && is.value === was.entry.value
      check(isKept, `lost: offset ${at} was ${text(was.entry)} and is ${text(is)} at leader ${life} of epoch ${epoch}`)
    }
  }

  /** Records of the leader have been appended. */
  onCopied({ log }: Watched, life: string): void {
    const fault = log.faultOfKeys(false)
    check(fault === undefined, `${life}: ${fault}`)
  }

  /** The replica gives up what it has, because its leader has said so: it shows less for a while, and nobody asks it. */
  onBegunAnew(life: string): void {
    this.begunAnew += 1
    this.#highWatermarks.delete(life)
  }

  /** The entry at the offset has just been written. */
  onWritten(log: ModelLog, at: number): void {
    const entry = log.at(at)
    if (entry === undefined) return
    const previousEpoch = log.at(at - 1)?.epoch
    check((previousEpoch ?? -1) <= entry.epoch, `offset ${at} is of epoch ${entry.epoch}, behind ${previousEpoch}`)
    const key = at * 0x1_0000_0000 + entry.epoch
    const known = this.#written.get(key)
    if (known === undefined) {
      this.#written.set(key, { value: entry.value, previousEpoch })
      return
    }
    check(known.value === entry.value, `logs differ at offset ${at} of epoch ${entry.epoch}`)
    const isSame =
      known.previousEpoch === undefined || previousEpoch === undefined || known.previousEpoch === previousEpoch
    check(isSame, `logs differ before offset ${at} of epoch ${entry.epoch}`)
  }

  onRecovered(log: ModelLog): void {
    for (let at = log.logStartOffset as number; at < log.logEndOffset; at += 1) this.onWritten(log, at)
  }

  onAcknowledged(value: number, at: number): void {
    if (this.isLossAccepted) return
    const shown = this.shown[at]
    check(
      shown?.entry.value === value,
      `acknowledged: offset ${at} is ${value}, and consumers see ${text(shown?.entry)}`,
    )
    const before = this.acknowledged.get(value)
    check(before === undefined || before === at, `${value} has been acknowledged at ${before} and at ${at}`)
    this.acknowledged.set(value, at)
  }

  /** After every step of the node: what it shows is what everybody shows, and enough replicas hold it. */
  onStepped(node: Watched, life: string, all: readonly Watched[]): void {
    const { replica, log } = node
    if (replica === undefined || replica.role === 'offline') return
    const { highWatermark } = replica
    this.#checkLatest(replica, life)
    const before = this.#highWatermarks.get(life)
    if (before === highWatermark || this.isLossAccepted) return
    this.#highWatermarks.set(life, highWatermark)
    check((before ?? 0) <= highWatermark, `the high watermark of ${life} fell from ${before} to ${highWatermark}`)
    check(highWatermark <= log.logEndOffset, `the high watermark of ${life} is past its log`)
    const epoch = replica.promise?.epoch ?? 0
    const isLeading = replica.leaderEpoch !== undefined
    for (let at = Math.max(before ?? 0, log.logStartOffset); at < highWatermark; at += 1) {
      const entry = log.at(at)
      const shown = this.shown[at]
      if (shown === undefined || entry === undefined) {
        check(entry !== undefined && isLeading, `${life} shows offset ${at}, which no leader has shown`)
        if (entry !== undefined) this.shown[at] = { entry, epoch }
        continue
      }
      const isSame = shown.entry.epoch === entry.epoch && shown.entry.value === entry.value
      check(isSame, `withdrawn: offset ${at} was ${text(shown.entry)}, and ${life} shows ${text(entry)}`)
    }
    if (isLeading && highWatermark > (before ?? 0)) this.#checkHolders(node, life, all)
  }

  /** Who says that it knows the latest offset says none below what was shown before it was elected. */
  #checkLatest({ isLatestKnown, highWatermark, leaderEpoch }: ReplicaState, life: string): void {
    if (!isLatestKnown || this.isLossAccepted) return
    const shown = this.shown[highWatermark]
    const isOlder = shown !== undefined && shown.epoch < (leaderEpoch ?? -1)
    check(!isOlder, `${life} tells ${highWatermark} as the latest offset, and ${text(shown?.entry)} was shown there`)
  }

  /** The leader has let the replica go: it has a voice nowhere, or only where nobody can act by it any more. */
  onDismissed({ id }: Watched, leader: Watched, all: readonly Watched[]): void {
    if (this.isLossAccepted) return
    const epoch = leader.replica?.leaderEpoch ?? -1
    for (const { id: other, replica } of all) {
      if ((replica?.leaderEpoch ?? -2) < epoch) continue
      const sets = replica?.voterSets ?? []
      const isNamed = sets.some(({ voters }) => voters.some((voter) => voter.brokerId === id))
      check(!isNamed, `${leader.id} has let ${id} go, which is a voter of leader ${other}`)
    }
  }

  /** By the leader's own log: of each set that is in force there, enough hold what is shown. */
  #checkHolders(node: Watched, life: string, all: readonly Watched[]): void {
    const end = node.replica?.highWatermark ?? 0
    const last = node.log.at(end - 1)
    if (last === undefined) return
    const record = node.log.votersRecords.at(-1)
    const sets =
      record === undefined ? [this.#initial] : [record.set, ...(record.next === undefined ? [] : [record.next])]
    for (const { voters, minInSyncReplicas } of sets) {
      const holders = voters.filter((voter) => {
        const replica = all.find(({ id }) => id === voter.brokerId)
        // Its registered disk is gone, with all that it held.
        if (replica === undefined || !isVoter([voter], voter.brokerId, replica.directoryId)) return true
        const { log, hasLost } = replica
        const entry = log.at(end - 1)
        const isHeld = entry?.epoch === last.epoch && entry.value === last.value && log.heldEndOffset >= end
        return isHeld || hasLost || log.logStartOffset >= end
      })
      const found = `${holders.length} of ${voters.map(({ brokerId }) => brokerId).join(',')} hold`
      check(
        holders.length >= minInSyncReplicas,
        `${life} shows up to ${end}, which ${found} and ${minInSyncReplicas} must`,
      )
    }
  }
}

function check(isTrue: boolean, text: string): void {
  if (!isTrue) throw new OracleError(text)
}

function text(entry: Entry | undefined): string {
  return entry === undefined ? 'nothing' : `${entry.value} of epoch ${entry.epoch}`
}
