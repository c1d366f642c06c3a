// A member of a group made of a connection and nothing else: asks what a test thinks of, and hands back the answers with their
// error codes by name. Judges nothing.

import type { TestBroker } from '../../broker/testing.ts'
import { onTestFinished } from 'vitest'
import type { ApiName, RequestOf, ResponseOf } from '../../shared/protocol/api.ts'
import type { ErrorCode } from '../../shared/errors.ts'
import { Connection } from '../../client/connection.ts'
import { systemEnvironment } from '../../client/environment.ts'
import { errorCodeOf } from '../../shared/errors.ts'

/** undefined: no error. */
export function codeOf({ error }: { readonly error: number }): ErrorCode | undefined {
  return error === 0 ? undefined : errorCodeOf(error)
}

export interface JoinOptions {
  readonly instance?: string
  readonly sessionTimeoutMs?: number
  readonly rebalanceTimeoutMs?: number
  readonly protocols?: Readonly<Record<string, string>>
  readonly protocolType?: string
}

export class WireMember {
  readonly connection: Connection
  readonly group: string
  member = ''
  generation = -1
  leader = ''
  instance: string | undefined

  private constructor(connection: Connection, group: string) {
    this.connection = connection
    this.group = group
  }

  /** Connects to HOST:PORT; the connection is closed at the end of the test. */
  static async connect(brokers: string, group: string): Promise<WireMember> {
    const [host = '', port = ''] = brokers.split(':')
    const connection = new Connection(systemEnvironment, {
      address: { host, port: Number(port) },
      clientId: 'member',
      connectTimeoutMs: 5_000,
      requestTimeoutMs: 60_000,
    })
    onTestFinished(() => connection.close())
    await connection.opened
    return new WireMember(connection, group)
  }

  async ask<Name extends ApiName>(api: Name, request: RequestOf<Name>): Promise<ResponseOf<Name>> {
    return (await this.connection.ask(api, request)).body
  }

  async findCoordinator(): Promise<ResponseOf<'findCoordinator'>['coordinators'][number]> {
    const { coordinators } = await this.ask('findCoordinator', { groups: [this.group] })
    const [found] = coordinators
    if (found === undefined) throw new Error('there was no answer for the group')
    return found
  }

  /** One request to join, with the id that it has. */
  async joinOnce(options: JoinOptions = {}): Promise<ResponseOf<'joinGroup'>> {
    const { instance = this.instance, sessionTimeoutMs = 10_000, rebalanceTimeoutMs = 10_000 } = options
    const { protocols = { range: '' }, protocolType = 'consumer' } = options
    this.instance = instance
    const answer = await this.ask('joinGroup', {
      group: this.group,
      member: this.member,
      instance,
      protocolType,
      sessionTimeoutMs,
      rebalanceTimeoutMs,
      protocols: Object.entries(protocols).map(([name, text]) => ({ name, metadata: Buffer.from(text) })),
      reason: undefined,
    })
    if (answer.error === 0) {
      this.generation = answer.generation
      this.leader = answer.leader
    }
    if (answer.error === 0 || codeOf(answer) === 'MEMBER_ID_REQUIRED') this.member = answer.member
    return answer
  }

  /** Joins, with the id that it is given if it has none. */
  async join(options: JoinOptions = {}): Promise<ResponseOf<'joinGroup'>> {
    const answer = await this.joinOnce(options)
    return codeOf(answer) === 'MEMBER_ID_REQUIRED' ? this.joinOnce(options) : answer
  }

  async sync(shares: Readonly<Record<string, string>> = {}): Promise<ResponseOf<'syncGroup'> & { share: string }> {
    const { group, member, instance, generation } = this
    const answer = await this.ask('syncGroup', {
      group,
      member,
      instance,
      generation,
      protocolType: undefined,
      protocol: undefined,
      assignments: Object.entries(shares).map(([to, text]) => ({ member: to, assignment: Buffer.from(text) })),
    })
    return { ...answer, share: Buffer.from(answer.assignment).toString() }
  }

  heartbeat(maxWaitMs = 0, generation = this.generation): Promise<ResponseOf<'heartbeat'>> {
    const { group, member, instance } = this
    return this.ask('heartbeat', { group, member, instance, generation, maxWaitMs })
  }

  async leave(): Promise<ResponseOf<'leaveGroup'>> {
    const { group, member, instance } = this
    return this.ask('leaveGroup', { group, members: [{ member, instance, reason: 'the test is over' }] })
  }

  /** Commits offset of partition 0 of the topic, unless told otherwise. */
  async commit(
    topic: string,
    offset: number,
    { partition = 0, metadata = '', generation = this.generation } = {},
  ): Promise<{ readonly error: ErrorCode | undefined; readonly message: string | undefined }> {
    const { group, member, instance } = this
    const part = { topic, partition, offset, leaderEpoch: undefined, metadata }
    const { partitions } = await this.ask('commitOffsets', { group, member, instance, generation, partitions: [part] })
    const [outcome] = partitions
    if (outcome === undefined) throw new Error('there was no answer for the partition')
    return { error: codeOf(outcome), message: outcome.message }
  }

  /** What is committed, by topic and partition. */
  async committed(): Promise<Record<string, number | undefined>> {
    const answer = await this.ask('fetchOffsets', { group: this.group, partitions: undefined })
    if (answer.error !== 0) throw new Error(answer.message)
    return Object.fromEntries(
      answer.partitions.map(({ topic, partition, offset }) => [`${topic}-${partition}`, offset]),
    )
  }

  async describe(): Promise<ResponseOf<'describeGroups'>['groups'][number]> {
    const { groups } = await this.ask('describeGroups', { groups: [this.group] })
    const [described] = groups
    if (described === undefined) throw new Error('there was no answer for the group')
    return described
  }

  /** The process has died: nothing is said. */
  die(): void {
    this.connection.close()
  }
}

/** A member that knows its coordinator. */
export async function aMember(broker: TestBroker, group = 'g'): Promise<WireMember> {
  const member = await WireMember.connect(broker.brokers, group)
  await member.findCoordinator()
  return member
}

/** One that has come in, alone. */
export async function aSettledMember(broker: TestBroker, group = 'g'): Promise<WireMember> {
  const member = await aMember(broker, group)
  await member.join()
  await member.sync({ [member.member]: 'all' })
  return member
}
