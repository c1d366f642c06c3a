// Where replicas are, where they are to go, and who of them leads.

import type { AllRequests } from '../../../requests/other-requests.ts'
import type { RequestOf } from '../api.ts'
import { describeLogDirs } from '../35-describe-log-dirs.ts'
import { electLeaders } from '../43-elect-leaders.ts'
import { alterPartitionReassignments } from '../45-alter-partition-reassignments.ts'
import { listPartitionReassignments } from '../46-list-partition-reassignments.ts'
import { kafkaCode, kafkaCodeOf } from '../error-mapping.ts'
import { type AnyHandler, byName, handler } from './handler.ts'

const PREFERRED = 0

export function replicaHandlers(requests: AllRequests): readonly AnyHandler[] {
  return [
    describeLogDirsHandler(requests),
    electLeadersHandler(requests),
    alterPartitionReassignmentsHandler(requests),
    listPartitionReassignmentsHandler(requests),
  ]
}

function describeLogDirsHandler(requests: AllRequests): AnyHandler {
  return handler({
    api: describeLogDirs,
    isLong: true,
    answer({ topics }) {
      const contents = requests.other.describeLogDirectory({ topics })
      const { error, path, totalBytes, freeBytes, partitions } = contents
      return {
        errorCode: 0,
        results: [
          {
            errorCode: kafkaCodeOf(error),
            logDir: path,
            topics: [...byName(partitions)].map(([name, rows]) => ({
              name,
              partitions: rows.map(({ partition, bytes, offsetLag }) => {
                return { partitionIndex: partition, partitionSize: bytes, offsetLag, isFutureKey: false }
              }),
            })),
            totalBytes: totalBytes === 0 ? -1 : totalBytes,
            usableBytes: totalBytes === 0 ? -1 : freeBytes,
          },
        ],
      }
    },
    refuse: (_request, { code }) => ({ errorCode: kafkaCode(code), results: [] }),
  })
}

function electLeadersHandler(requests: AllRequests): AnyHandler {
  return handler({
    api: electLeaders,
    async answer({ electionType, topicPartitions, timeoutMs }, { context }) {
      if (electionType !== PREFERRED) {
        // Accepting a loss is an operator's word, partition by partition, and has a command of its own.
        return { errorCode: kafkaCode('INVALID_REQUEST'), replicaElectionResults: [] }
      }
      const asked = topicPartitions?.flatMap(({ topic, partitions }) => {
        return partitions.filter((partition) => partition >= 0).map((partition) => ({ topic, partition }))
      })
      const question = { partitions: asked, timeoutMs: Math.max(0, timeoutMs), isForwarded: false }
      const { partitions } = await requests.ask('electLeaders', question, context)
      return {
        errorCode: 0,
        replicaElectionResults: [...byName(partitions)].map(([topic, rows]) => ({
          topic,
          partitionResult: rows.map(({ partition, error, message }) => {
            return { partitionId: partition, errorCode: kafkaCodeOf(error), errorMessage: message }
          }),
        })),
      }
    },
    refuse: (_request, { code }) => ({ errorCode: kafkaCode(code), replicaElectionResults: [] }),
  })
}

function alterPartitionReassignmentsHandler(requests: AllRequests): AnyHandler {
  return handler({
    api: alterPartitionReassignments,
    async answer({ topics }, { context }) {
      const moves = topics.flatMap(({ name, partitions }) => partitions.map((part) => moveOf(name, part)))
      const { partitions } = await requests.ask('movePartitions', { moves, validateOnly: false }, context)
      return {
        errorCode: 0,
        errorMessage: undefined,
        responses: [...byName(partitions)].map(([name, rows]) => ({
          name,
          partitions: rows.map(({ partition, error, message }) => {
            return { partitionIndex: partition, errorCode: kafkaCodeOf(error), errorMessage: message }
          }),
        })),
      }
    },
    // With each partition too: Kafka's client looks for one error for each that it asked for.
    refuse: ({ topics }, { code, message }) => {
      const error = { errorCode: kafkaCode(code), errorMessage: message }
      const responses = topics.map(({ name, partitions }) => ({
        name,
        partitions: partitions.map(({ partitionIndex }) => Object.assign({ partitionIndex }, error)),
      }))
      return { ...error, responses }
    },
  })
}

function listPartitionReassignmentsHandler(requests: AllRequests): AnyHandler {
  return handler({
    api: listPartitionReassignments,
    answer({ topics }) {
      const wanted = topics?.map(({ name, partitionIndexes }) => ({ topic: name, partitions: partitionIndexes }))
      const underWay = requests.other.listReassignments({ topics: wanted })
      return {
        errorCode: 0,
        errorMessage: undefined,
        topics: [...byName(underWay)].map(([name, rows]) => ({
          name,
          partitions: rows.map(({ partition, replicas, adding, removing }) => {
            return { partitionIndex: partition, replicas, addingReplicas: adding, removingReplicas: removing }
          }),
        })),
      }
    },
    refuse: (_request, { code, message }) => {
      return { errorCode: kafkaCode(code), errorMessage: message, topics: [] }
    },
  })
}

type AskedMove = RequestOf<typeof alterPartitionReassignments>['topics'][number]['partitions'][number]

/** No list of brokers calls the move off that is under way. */
function moveOf(topic: string, { partitionIndex: partition, replicas }: AskedMove) {
  return { topic, partition, replicas: replicas?.slice() ?? [] }
}
