// Our own client behind the verbs of groups, so that a test may mix it with others.

import type { Client, Consumer } from '../../client/index.ts'
import { type ForeignClient, LocalClient } from './foreign-client.ts'
import { MemberQueue, memberOf } from './member-queue.ts'
import { toPlain } from './samples.ts'

interface Member {
  readonly consumer: Consumer
  readonly queue: MemberQueue
}

/** The client is the caller's. */
export function nativeDriver(client: Client): ForeignClient {
  const members = new Map<string, Member>()
  const leave = async (name: string): Promise<void> => {
    const { consumer } = memberOf(members, name)
    members.delete(name)
    await consumer.close()
  }
  return new LocalClient(
    {
      join: async ({ member, group, topics, assignor }) => {
        const assignors = assignor === 'range' ? 'range' : 'cooperative-sticky'
        const options = { groupId: group, topics, assignors, fromBeginning: true, autoCommit: false } as const
        const consumer = client.consumer({ ...options, heartbeatIntervalMs: 500 })
        const queue = new MemberQueue()
        members.set(member, { consumer, queue })
        // An event is told before what it tells of is so.
        const look = (): void => void setImmediate(() => queue.assign(consumer.assignment()))
        consumer.on('assigned', look).on('revoked', look)
        await consumer.run({ eachMessage: ({ message }) => queue.push(toPlain(message)) })
        queue.assign(consumer.assignment())
      },
      assigned: ({ member, count }) => memberOf(members, member).queue.assigned(count),
      take: ({ member, count }) => memberOf(members, member).queue.take(count),
      commit: ({ member }) => {
        const { consumer, queue } = memberOf(members, member)
        return consumer.commit(queue.taken)
      },
      leave: ({ member }) => leave(member),
    },
    async () => {
      for (const name of members.keys()) await leave(name)
    },
  )
}
