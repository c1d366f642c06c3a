// Groups in the history of a cluster: puts their members on machines, lets things go wrong with them, waits for them to come
// to an end, and holds what they have done against what is owed. The cluster around them is somebody else's.

import { decodeBatch } from '../../shared/record-batch/decode.ts'
import type { Random } from '../../shared/random.ts'
import { readKey, readOffsetValue } from '../../broker/groups/group-records.ts'
import { OFFSETS_TOPIC } from '../../broker/groups/offsets-topic.ts'
import { GroupMachine, type Life } from './group-member.ts'
import { GroupNemesis } from './group-nemesis.ts'
import { GroupOracle } from './group-oracle.ts'
import type { GroupFault, GroupsPlan } from './group-plan.ts'
import { logsOnDisk, readLog } from './replica-logs.ts'
import { DATA_DIRECTORY, type SimBroker } from './sim-broker.ts'
import type { SimNetwork } from './sim-network.ts'
import type { SimRedisServer } from './sim-redis-link.ts'
import type { ProcessHost } from './sim-process.ts'
import type { Stage } from './stage.ts'
import type { ClientMachine, WorkloadTopic } from './workload.ts'

export interface GroupPlayParts {
  readonly plan: GroupsPlan
  readonly faults: readonly GroupFault[]
  readonly stage: Stage
  readonly network: SimNetwork
  readonly redis: SimRedisServer
  readonly processes: ProcessHost
  readonly brokers: readonly SimBroker[]
  readonly topics: readonly WorkloadTopic[]
  /** By number: one for each machine, and one for what goes wrong. */
  readonly random: (number: number) => Random
  readonly troubleMsMax: number
}

export interface GroupFigures {
  readonly handled: number
  readonly committed: number
  readonly refusedCommits: number
  readonly generations: number
  readonly members: number
  readonly begun: ReadonlyMap<GroupFault, number>
}

interface Standing {
  readonly partition: number
  readonly offset: number
  readonly value: string
}

interface End {
  readonly partition: string
  readonly end: number
}

/** For all partitions to be had by somebody, and all records to be handled and committed, once all is mended. */
const ARRIVE_MS = 200_000
const CLOSE_MS = 60_000
const BEGIN_MS = 60_000

export class GroupPlay {
  readonly machines: readonly GroupMachine[]
  readonly #parts: GroupPlayParts
  readonly #oracle: GroupOracle
  readonly #nemesis: GroupNemesis
  /** What stands in the topics when all is over. */
  readonly #records = new Map<string, Standing[]>()

  constructor(parts: GroupPlayParts) {
    this.#parts = parts
    const { plan, stage, network, processes, brokers, random } = parts
    const fail = (fault: string): void => stage.fail('correctness', fault)
    const note = (who: string, what: string, details: string): void => stage.note(who, what, details)
    const oracle = new GroupOracle(fail)
    this.#oracle = oracle
    const machines: GroupMachine[] = []
    for (const group of plan.groups) {
      oracle.group(group.name, group.fromBeginning)
      for (const spec of group.members) {
        const own = random(machines.length + 1)
        const addresses = brokers.map(({ address }) => address)
        const shared = { group, spec, oracle, network, processes, fail, note }
        machines.push(new GroupMachine({ ...shared, random: own, brokers: addresses }))
      }
    }
    this.machines = machines
    this.#nemesis = new GroupNemesis({
      scheduler: stage.scheduler,
      random: random(0),
      network,
      redis: parts.redis,
      oracle,
      brokers,
      machines,
      faults: parts.faults,
      everyMs: plan.faultEveryMs,
      troubleMsMax: parts.troubleMsMax,
      note,
    })
  }

  /** The first members come in, one after the other or together; until somebody is in each group. */
  start(): Promise<boolean> {
    for (const [index, machine] of this.machines.entries()) machine.startAfter(1 + (index % 3) * 200)
    const haveBegun = (): boolean => [...this.#oracle.groups.values()].every(({ generation }) => generation >= 0)
    return this.#parts.stage.until('all groups begin', haveBegun, BEGIN_MS)
  }

  startFaults(): void {
    this.#nemesis.start()
  }

  endFaults(): void {
    this.#nemesis.end()
    for (const machine of this.machines) machine.isCalm = true
  }

  get figures(): GroupFigures {
    const { handledCount, committedCount, refusedCommits, generations } = this.#oracle
    const members = this.machines.reduce((sum, { livesCount }) => sum + livesCount, 0)
    const { begun } = this.#nemesis
    return { handled: handledCount, committed: committedCount, refusedCommits, generations, members, begun }
  }

  get lives(): Life[] {
    return this.machines.flatMap(({ lives }) => [...lives])
  }

  /** Every partition has one owner, and all its records are handled and committed. */
  async arrive(judge: ClientMachine): Promise<boolean> {
    const { stage } = this.#parts
    const ends = await stage.ask('the ends of groups can be asked for', () => this.#ends(judge))
    if (ends === undefined) return false
    // Judged anew when something has changed, not after every event.
    let seen = -1
    let isDone = false
    const haveArrived = (): boolean => {
      if (seen === this.#oracle.changes) return isDone
      seen = this.#oracle.changes
      isDone = this.#whatIsLeft(ends).length === 0
      return isDone
    }
    if (await stage.until(undefined, haveArrived, ARRIVE_MS)) return true
    if (stage.isOver) return false
    for (const { name, consumer } of this.lives) {
      stage.note(
        name,
        'waits',
        consumer
          .why()
          .map((one) => JSON.stringify(one))
          .join(' '),
      )
    }
    stage.fail('liveness', `within ${ARRIVE_MS} ms: every group is done: ${this.#whatIsLeft(ends).join('; ')}`)
    return false
  }

  /** What stands in the topics, and what the coordinators say, against what members have done. */
  async judge(judge: ClientMachine): Promise<void> {
    const admin = judge.client.admin()
    for (const { name, topics } of this.#parts.plan.groups) {
      const offsets = await admin.fetchOffsets({ groupId: name })
      const committed = offsets.map((one) => [`${one.topic}-${one.partition}`, one.offset] as const)
      this.#oracle.judgeCommitted(name, new Map(committed))
      for (const topic of topics) {
        // A beginning that moves, and may move back when another leads, takes what was passed over with it.
        const records = this.#isWhole(topic) ? (this.#records.get(topic) ?? []) : []
        for (const { partition, offset, value } of records) {
          this.#oracle.judgeRecord(name, `${topic}-${partition}`, offset, value)
        }
      }
    }
  }

  /** All members leave. */
  async close(): Promise<boolean> {
    for (const machine of this.machines) machine.closeAll()
    return this.#parts.stage.until('every member leaves', () => this.lives.length === 0, CLOSE_MS)
  }

  /** The records of offsets, in the order in which they stand on each disk: none goes back. */
  judgeLogs(offsetsTopicId: string): void {
    for (const { host, disk } of this.#parts.brokers) {
      for (const { topicId, partition } of logsOnDisk(disk, DATA_DIRECTORY)) {
        const log = topicId === offsetsTopicId ? readLog(disk, DATA_DIRECTORY, topicId, partition) : undefined
        if (log === undefined) continue
        const last = new Map<string, number>()
        const batches = [...log.batches].toSorted(([one], [other]) => one - other)
        for (const [, bytes] of batches) this.#judgeBatch(host, bytes, last)
      }
    }
  }

  #judgeBatch(host: string, bytes: Uint8Array, last: Map<string, number>): void {
    const batch = decodeBatch(bytes, 0)
    if (batch.isControl) return
    batch.forEach(({ key, value, offset }) => {
      const read = key === null ? undefined : readKey(key)
      if (read?.kind !== 'offset') return
      const name = `${read.group} ${read.topic}-${read.partition}`
      const committed = value === null ? -1 : readOffsetValue(value).offset
      const before = last.get(name) ?? -1
      last.set(name, committed)
      if (committed >= before) return
      const where = `${OFFSETS_TOPIC} at ${host}, offset ${offset}`
      this.#parts.stage.fail('correctness', `${where}: ${name} goes back from ${before} to ${committed}`)
    })
  }

  #isWhole(topic: string): boolean {
    const found = this.#parts.topics.find(({ name }) => name === topic)
    return found !== undefined && !found.isRetained && !found.isTrimmed
  }

  /** Behind the last record of each partition: what comes then is the brokers' own, and nobody handles it. */
  async #ends(judge: ClientMachine): Promise<Map<string, End[]>> {
    const ends = new Map<string, End[]>()
    for (const { name } of this.#parts.topics) {
      const starts = await judge.client.admin().offsets(name, { at: 'start' })
      const byPartition = new Map(starts.map(({ partition, offset }) => [partition, offset ?? 0]))
      const records: Standing[] = []
      this.#records.set(name, records)
      const reader = judge.client.read(name, { from: 'start', to: 'end', onOutOfRange: 'earliest' })
      for await (const { partition, offset, value } of reader) {
        const text = value?.toString() ?? ''
        records.push({ partition, offset, value: text.slice(0, text.indexOf('|')) })
        byPartition.set(partition, offset + 1)
      }
      ends.set(
        name,
        [...byPartition].map(([partition, end]) => ({ partition: `${name}-${partition}`, end })),
      )
    }
    return ends
  }

  #whatIsLeft(ends: ReadonlyMap<string, readonly End[]>): string[] {
    const left: string[] = []
    for (const { name, topics } of this.#parts.plan.groups) {
      const owners = this.lives.filter(({ model, isEnding }) => model.group.name === name && !isEnding)
      for (const { partition, end } of topics.flatMap((topic) => ends.get(topic) ?? [])) {
        const having = owners.filter(({ model }) => model.tenures.has(partition)).map((life) => life.name)
        if (having.length !== 1) left.push(`${name}: ${partition} is had by ${having.join(' and ') || 'nobody'}`)
        const committed = this.#oracle.groups.get(name)?.partitions.get(partition)?.committed ?? 0
        if (committed < end) left.push(`${name}: ${partition} is committed up to ${committed} of ${end}`)
      }
    }
    return left
  }
}
