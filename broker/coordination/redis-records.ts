// The records as they stand in Redis: topics and brokers as JSON, leaderships as a short text, since scripts compare them.
// Owns reading and writing them, and reading replies of scripts; knows nothing of what they mean. What stands in Redis may
// have been put there by anybody: whatever is not a record is an error that says which.

import { TidemarkError } from '../../shared/errors.ts'
import type { BrokerId, LeaderEpoch } from '../../shared/ids.ts'
import { brokerId, leaderEpoch, timestampMs, topicId } from '../../shared/ids.ts'
import type { Voter } from '../../shared/voters.ts'
import type { BrokerRecord, PartitionName, TopicDefinition, VotersByPartition } from './coordinator.ts'

/** One leadership without its partition. */
export interface LeadershipRecord {
  readonly leaderEpoch: LeaderEpoch
  readonly version: number
  readonly leader: BrokerId | undefined
  readonly inSyncReplicas: readonly BrokerId[]
}

/** A broker and the session by which it last became a member. */
export interface MemberRecord {
  readonly broker: BrokerRecord
  readonly session: string
}

type Fields = Readonly<Record<string, unknown>>

const LEADERSHIP_PATTERN = /^(\d+)\|(\d+)\|(\d*)\|([\d,]*)\|([0-9a-f]*)$/

export function topicText(topic: TopicDefinition): string {
  return JSON.stringify(topic)
}

/** @throws COORDINATOR_NOT_USABLE */
export function topicFrom(text: string): TopicDefinition {
  return reading('topic', text, () => {
    const fields = fieldsOf(JSON.parse(text))
    const { assignment, directories, origins, moves } = fields
    return {
      topicId: topicId(textIn(fields, 'topicId')),
      name: textIn(fields, 'name'),
      partitions: numberIn(fields, 'partitions'),
      replicationFactor: numberIn(fields, 'replicationFactor'),
      config: namedTextsFrom(fieldsOf(fields['config']), 'config'),
      ...(assignment === undefined ? {} : { assignment: listOf(assignment).map((one) => brokersFrom(listOf(one))) }),
      ...(directories === undefined ? {} : { directories: namedTextsFrom(fieldsOf(directories), 'directories') }),
      ...(origins === undefined ? {} : { origins: votersFrom(fieldsOf(origins)) }),
      ...(moves === undefined ? {} : { moves: votersFrom(fieldsOf(moves)) }),
      version: numberIn(fields, 'version'),
      createdAt: timestampMs(numberIn(fields, 'createdAt')),
    }
  })
}

export function memberText(member: MemberRecord): string {
  return JSON.stringify(member)
}

/** @throws COORDINATOR_NOT_USABLE */
export function memberFrom(text: string): MemberRecord {
  return reading('broker', text, () => {
    const fields = fieldsOf(JSON.parse(text))
    const broker = fieldsOf(fields['broker'])
    const { rack, directoryId, starts, bootId, isDraining, listeners } = broker
    return {
      session: textIn(fields, 'session'),
      broker: {
        brokerId: brokerId(numberIn(broker, 'brokerId')),
        incarnation: textIn(broker, 'incarnation'),
        host: textIn(broker, 'host'),
        port: numberIn(broker, 'port'),
        ...(listeners === undefined ? {} : { listeners: listenersFrom(fieldsOf(listeners)) }),
        rack: typeof rack === 'string' ? rack : undefined,
        software: textIn(broker, 'software'),
        startedAt: timestampMs(numberIn(broker, 'startedAt')),
        ...(typeof directoryId === 'string' ? { directoryId } : {}),
        ...(typeof starts === 'number' ? { starts } : {}),
        ...(typeof bootId === 'string' ? { bootId } : {}),
        ...(isDraining === true ? { isDraining } : {}),
      },
    }
  })
}

function listenersFrom(named: Readonly<Record<string, unknown>>): NonNullable<BrokerRecord['listeners']> {
  return Object.fromEntries(
    Object.entries(named).map(([name, value]) => {
      const address = fieldsOf(value)
      return [name, { host: textIn(address, 'host'), port: numberIn(address, 'port') }]
    }),
  )
}

export function leadershipText(record: LeadershipRecord): string {
  return `${record.leaderEpoch}|${record.version}|${record.leader ?? ''}|${record.inSyncReplicas.join(',')}|`
}

/** @throws COORDINATOR_NOT_USABLE */
export function leadershipFrom(text: string): LeadershipRecord {
  return reading('leadership', text, () => {
    const [, epoch, version, leader, inSync] = LEADERSHIP_PATTERN.exec(text) ?? []
    if (inSync === undefined) throw new RangeError('it is not epoch|version|leader|replicas|request')
    return {
      leaderEpoch: leaderEpoch(Number(epoch)),
      version: Number(version),
      leader: leader === '' ? undefined : brokerId(Number(leader)),
      inSyncReplicas: inSync === '' ? [] : brokersFrom(inSync.split(',').map(Number)),
    }
  })
}

/** The field of the hash of leaderships that holds the one of this partition. */
export function partitionKey(id: string, partition: number): string {
  return `${id}:${partition}`
}

/** @throws COORDINATOR_NOT_USABLE */
export function partitionFrom(key: string): PartitionName {
  return reading('partition', key, () => {
    const [id = '', partition = ''] = key.split(':')
    if (!/^\d{1,10}$/.test(partition)) throw new RangeError('it is not id:number')
    return { topicId: topicId(id), partition: Number(partition) }
  })
}

/** A reply that is a list. @throws COORDINATOR_NOT_USABLE */
export function listOf(value: unknown): readonly unknown[] {
  if (!Array.isArray(value))
    throw new TidemarkError('COORDINATOR_NOT_USABLE', `Redis answered ${typeof value}, not a list`)
  return value
}

/** A list of texts; numbers are taken for their digits. @throws COORDINATOR_NOT_USABLE */
export function textsOf(value: unknown): readonly string[] {
  return listOf(value).map((one) => {
    if (typeof one === 'string') return one
    if (typeof one === 'number') return String(one)
    throw new TidemarkError('COORDINATOR_NOT_USABLE', `Redis answered a list with ${typeof one} in it`)
  })
}

function reading<T>(what: string, text: string, read: () => T): T {
  try {
    return read()
  } catch (cause) {
    const message = `Redis holds a ${what} that cannot be read: ${text.slice(0, 200)}`
    throw new TidemarkError('COORDINATOR_NOT_USABLE', message, { cause })
  }
}

function fieldsOf(value: unknown): Fields {
  if (typeof value !== 'object' || value === null) throw new RangeError('it is not an object')
  return value as Fields
}

function textIn(fields: Fields, name: string): string {
  const value = fields[name]
  if (typeof value !== 'string') throw new RangeError(`${name} is not a text`)
  return value
}

function numberIn(fields: Fields, name: string): number {
  const value = fields[name]
  if (typeof value !== 'number' || !Number.isSafeInteger(value)) throw new RangeError(`${name} is not a whole number`)
  return value
}

function namedTextsFrom(fields: Fields, what: string): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(fields).map(([key, text]): [string, string] => {
      if (typeof text !== 'string') throw new RangeError(`${what} ${key} is not a text`)
      return [key, text]
    }),
  )
}

function votersFrom(fields: Fields): VotersByPartition {
  return Object.fromEntries(
    Object.entries(fields).map(([partition, voters]): [string, readonly Voter[]] => {
      if (!/^\d{1,10}$/.test(partition)) throw new RangeError(`${partition} is no partition`)
      return [partition, listOf(voters).map((voter) => voterFrom(fieldsOf(voter)))]
    }),
  )
}

function voterFrom(fields: Fields): Voter {
  return { brokerId: brokerId(numberIn(fields, 'brokerId')), directoryId: textIn(fields, 'directoryId') }
}

function brokersFrom(values: readonly unknown[]): readonly BrokerId[] {
  return values.map((value) => brokerId(typeof value === 'number' ? value : Number.NaN))
}
