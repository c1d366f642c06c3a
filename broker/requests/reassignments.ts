// Which partitions are on their way to other brokers.

import type { TopicDefinition } from '../coordination/coordinator.ts'
import type { Reassignment, ReassignmentsRequest } from './other-requests.ts'
import type { RequestServices } from './request-services.ts'

export function listReassignments(services: RequestServices, request: ReassignmentsRequest): readonly Reassignment[] {
  const { topics } = services.coordinator
  if (request.topics === undefined) return [...topics.list()].flatMap((topic) => movesOf(topic))
  return request.topics.flatMap(({ topic: name, partitions }) => {
    const topic = topics.byName(name)
    return topic === undefined ? [] : movesOf(topic).filter(({ partition }) => partitions.includes(partition))
  })
}

function movesOf({ name, assignment = [], moves = {} }: TopicDefinition): Reassignment[] {
  return Object.entries(moves).map(([partition, voters]) => {
    const from: readonly number[] = assignment[Number(partition)] ?? []
    const to: readonly number[] = voters.map(({ brokerId }) => brokerId)
    const adding = to.filter((id) => !from.includes(id))
    const removing = from.filter((id) => !to.includes(id))
    return { topic: name, partition: Number(partition), replicas: [...from, ...adding], adding, removing }
  })
}
