// Who has replicas of a topic's partitions, as its definition says it. Owns what a definition may say of that, and how it
// may change; knows nothing of files and of logs. Pure.

import type { BrokerId } from '../../shared/ids.ts'
import { brokerId } from '../../shared/ids.ts'
import type { Voter } from '../../shared/voters.ts'
import { VOTERS_MAX } from '../../shared/voters.ts'
import { fieldOf } from './checkpoint-file.ts'

/** By the partition's number, as a text. */
export type VotersByPartition = Readonly<Record<string, readonly Voter[]>>

export interface TopicAssignment {
  readonly partitions: number
  /** The replicas of each partition, the preferred leader first. Absent where one broker has everything. */
  readonly assignment?: readonly (readonly BrokerId[])[]
  /** The data directories of those brokers when they became replicas, by broker id: a replaced disk is no voter. */
  readonly directories?: Readonly<Record<string, string>>
  /**
   * By partition: its voters of the beginning, kept from the first change of its assignment on. Without an entry they are
   * the assignment with these directories. Whose word counts is said by the partition's own log from then on.
   */
  readonly origins?: VotersByPartition
  /** By partition: the voters that it is to get, the preferred leader first, as long as it has not. */
  readonly moves?: VotersByPartition
}

/** What cannot be in it, in words. */
export function assignmentFault(topic: TopicAssignment): string | undefined {
  const { assignment, directories, origins, moves, partitions } = topic
  if (assignment === undefined) {
    if (directories !== undefined) return 'it has directories and no assignment'
    return origins === undefined && moves === undefined ? undefined : 'it has voters and no assignment'
  }
  if (assignment.length !== partitions) return `it assigns ${assignment.length} partitions and has ${partitions}`
  const odd = assignment.findIndex((row) => row.length === 0 || new Set(row).size !== row.length)
  if (odd !== -1) return `the replicas of partition ${odd} are [${assignment[odd]?.join(', ')}]`
  return votersFault('origins', origins, partitions) ?? votersFault('moves', moves, partitions)
}

/**
 * Why one must not become the other, both without a fault. Every replica goes by the voters of the beginning, those that come
 * later too: they must be named before anything is changed, and never change themselves.
 */
export function changeFault(before: TopicAssignment, after: TopicAssignment): string | undefined {
  // A broker that was alone takes its topics into a cluster as their only replica.
  const isAdopted = before.assignment === undefined && after.assignment?.every(({ length }) => length === 1)
  if (isAdopted === true) return undefined
  if ((before.assignment === undefined) !== (after.assignment === undefined)) {
    return 'a topic is replicated from its creation on, or never'
  }
  for (const [partition, replicas] of (before.assignment ?? []).entries()) {
    const next = after.assignment?.[partition] ?? []
    const known = before.origins?.[partition]
    const origin = after.origins?.[partition]
    if (known !== undefined && (origin === undefined || !isSameVoters(known, origin))) {
      return `the voters that partition ${partition} began with stay as they were`
    }
    if (known === undefined && origin !== undefined && !isSameBrokers(replicas, brokersOf(origin))) {
      return `partition ${partition} began with replicas on [${replicas.join(', ')}]`
    }
    if (origin === undefined && !isSameBrokers(replicas, next)) {
      return `the replicas of partition ${partition} change, and it is not said which voters it began with`
    }
  }
  return undefined
}

/** @throws RangeError for what is none */
export function assignmentFrom(value: unknown): BrokerId[][] {
  if (!Array.isArray(value) || !value.every((row) => Array.isArray(row))) {
    throw new RangeError('its assignment is not a list of lists')
  }
  return value.map((row: unknown[]) => row.map((id) => brokerId(typeof id === 'number' ? id : Number.NaN)))
}

/** @throws RangeError for what is none */
export function votersFrom(value: unknown, name: string): VotersByPartition {
  const isTable = typeof value === 'object' && value !== null && !Array.isArray(value)
  if (!isTable) throw new RangeError(`its ${name} is not a table of voters`)
  const rows = Object.entries(value).map(([partition, voters]: [string, unknown]): [string, Voter[]] => {
    if (!Array.isArray(voters)) throw new RangeError(`its ${name} is not a table of voters`)
    return [partition, voters.map((voter: unknown) => voterFrom(voter, name))]
  })
  return Object.fromEntries(rows)
}

function voterFrom(value: unknown, name: string): Voter {
  const id = fieldOf(value, 'brokerId')
  const directoryId = fieldOf(value, 'directoryId')
  if (typeof directoryId !== 'string') throw new RangeError(`a voter of its ${name} has no directory`)
  return { brokerId: brokerId(typeof id === 'number' ? id : Number.NaN), directoryId }
}

function votersFault(name: string, table: VotersByPartition = {}, partitions: number): string | undefined {
  for (const [partition, voters] of Object.entries(table)) {
    const isPartition = /^\d{1,10}$/.test(partition) && String(Number(partition)) === partition
    if (!isPartition || Number(partition) >= partitions) return `its ${name} name partition ${partition}`
    const brokers = brokersOf(voters)
    const isSet = brokers.length > 0 && brokers.length <= VOTERS_MAX && new Set(brokers).size === brokers.length
    if (!isSet) return `its ${name} of partition ${partition} are [${brokers.join(', ')}]`
  }
  return undefined
}

function brokersOf(voters: readonly Voter[]): BrokerId[] {
  return voters.map((voter) => voter.brokerId)
}

function isSameBrokers(one: readonly BrokerId[], other: readonly BrokerId[]): boolean {
  return one.length === other.length && one.every((id) => other.includes(id))
}

function isSameVoters(one: readonly Voter[], other: readonly Voter[]): boolean {
  const directories = new Map(other.map((voter) => [voter.brokerId, voter.directoryId]))
  return one.length === other.length && one.every((voter) => directories.get(voter.brokerId) === voter.directoryId)
}
