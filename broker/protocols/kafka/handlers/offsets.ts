// Where partitions begin and end, who writes to them, and giving up their oldest records.

import type { AllRequests } from '../../../requests/other-requests.ts'
import { listOffsets } from '../02-list-offsets.ts'
import { deleteRecords } from '../21-delete-records.ts'
import { initProducerId } from '../22-init-producer-id.ts'
import { offsetForLeaderEpoch } from '../23-offset-for-leader-epoch.ts'
import { describeProducers } from '../61-describe-producers.ts'
import { OFFSET_AT } from '../../../../shared/protocol/offsets.ts'
import { kafkaCode, kafkaCodeOf } from '../error-mapping.ts'
import { type AnyHandler, distinct, handler } from './handler.ts'

/** Times that stand for something else, besides those of OFFSET_AT. */
const EARLIEST_LOCAL = -4
const LATEST_TIERED = -5

export function offsetHandlers(requests: AllRequests): readonly AnyHandler[] {
  return [
    listOffsetsHandler(requests),
    offsetForLeaderEpochHandler(requests),
    initProducerIdHandler(requests),
    deleteRecordsHandler(requests),
    describeProducersHandler(requests),
  ]
}

function listOffsetsHandler(requests: AllRequests): AnyHandler {
  return handler({
    api: listOffsets,
    async answer({ topics }, { context }) {
      const asked = topics.flatMap(({ name, partitions }) => partitions.map((part) => ({ ...part, topic: name })))
      const known = asked.filter(({ timestamp, partitionIndex }) => timestamp >= EARLIEST_LOCAL && partitionIndex >= 0)
      const partitions = known.map(({ topic, partitionIndex, timestamp, currentLeaderEpoch }) => {
        const at = timestamp === EARLIEST_LOCAL ? OFFSET_AT.earliest : timestamp
        return { topic, partition: partitionIndex, at, leaderEpoch: epochOf(currentLeaderEpoch) }
      })
      const found = await requests.ask('listOffsets', { partitions }, context)
      const answers = new Map(known.map((part, index) => [part, found.partitions[index]]))
      let at = 0
      return {
        topics: topics.map(({ name, partitions: parts }) => ({
          name,
          partitions: parts.map(({ partitionIndex, timestamp }) => {
            const part = asked[at++]
            const answer = part && answers.get(part)
            if (answer === undefined) return { partitionIndex, errorCode: whyNot(timestamp) }
            const { error, offset = -1, timestamp: time = -1, leaderEpoch = -1 } = answer
            return { partitionIndex, errorCode: kafkaCodeOf(error), offset, timestamp: time, leaderEpoch }
          }),
        })),
      }
    },
    refuse: ({ topics }, { code }) => ({
      topics: topics.map(({ name, partitions }) => ({
        name,
        partitions: partitions.map(({ partitionIndex }) => ({ partitionIndex, errorCode: kafkaCode(code) })),
      })),
    }),
  })
}

function offsetForLeaderEpochHandler(requests: AllRequests): AnyHandler {
  return handler({
    api: offsetForLeaderEpoch,
    answer({ topics }) {
      return {
        topics: topics.map(({ topic, partitions }) => {
          const asked = partitions.map(({ partition, currentLeaderEpoch, leaderEpoch }) => {
            return { topic, partition, currentLeaderEpoch: epochOf(currentLeaderEpoch), leaderEpoch }
          })
          const ends = requests.other.epochEnds({ partitions: asked })
          return {
            topic,
            partitions: partitions.map(({ partition }, index) => {
              const { error = 0, leaderEpoch = -1, endOffset = -1 } = ends[index] ?? {}
              return { partition, errorCode: kafkaCodeOf(error), leaderEpoch, endOffset }
            }),
          }
        }),
      }
    },
    refuse: ({ topics }, { code }) => ({
      topics: topics.map(({ topic, partitions }) => ({
        topic,
        partitions: partitions.map(({ partition }) => ({ partition, errorCode: kafkaCode(code) })),
      })),
    }),
  })
}

function initProducerIdHandler(requests: AllRequests): AnyHandler {
  return handler({
    api: initProducerId,
    async answer({ transactionalId }, { context }) {
      if (transactionalId !== undefined) {
        return { errorCode: kafkaCode('TRANSACTIONAL_ID_AUTHORIZATION_FAILED'), producerEpoch: -1 }
      }
      const { producerId, producerEpoch } = await requests.ask('initProducerId', {}, context)
      return { errorCode: 0, producerId, producerEpoch }
    },
    refuse: (_request, { code }) => ({ errorCode: kafkaCode(code), producerEpoch: -1 }),
  })
}

function deleteRecordsHandler(requests: AllRequests): AnyHandler {
  return handler({
    api: deleteRecords,
    async answer({ topics }, { context }) {
      const partitions = topics.flatMap(({ name, partitions: parts }) => {
        return parts.map((part) => ({ topic: name, partition: part.partitionIndex, beforeOffset: part.offset }))
      })
      const trimmed = await requests.ask('trim', { partitions }, context)
      let at = 0
      return {
        topics: topics.map(({ name, partitions: parts }) => ({
          name,
          partitions: parts.map(({ partitionIndex }) => {
            const { error = 0, logStartOffset = -1 } = trimmed.partitions[at++] ?? {}
            return { partitionIndex, lowWatermark: logStartOffset, errorCode: kafkaCodeOf(error) }
          }),
        })),
      }
    },
    refuse: ({ topics }, { code }) => ({
      topics: topics.map(({ name, partitions }) => ({
        name,
        partitions: partitions.map(({ partitionIndex }) => {
          return { partitionIndex, lowWatermark: -1, errorCode: kafkaCode(code) }
        }),
      })),
    }),
  })
}

function describeProducersHandler(requests: AllRequests): AnyHandler {
  return handler({
    api: describeProducers,
    isLong: true,
    answer: ({ topics }) => ({
      // Each once: a partition may have thousands of them.
      topics: distinct(topics, ({ name }) => name).map(({ name, partitionIndexes: some }) => {
        const partitionIndexes = distinct(some, (partition) => partition)
        const asked = partitionIndexes.map((partition) => ({ topic: name, partition }))
        const described = requests.other.describeProducers({ partitions: asked })
        return {
          name,
          partitions: partitionIndexes.map((partitionIndex, index) => {
            const { error = 0, message, producers = [] } = described[index] ?? {}
            return {
              partitionIndex,
              errorCode: kafkaCodeOf(error),
              errorMessage: message,
              activeProducers: producers.map(({ producerId, epoch, lastSequence = -1, lastSeenMs }) => {
                return {
                  producerId,
                  producerEpoch: epoch,
                  lastSequence,
                  lastTimestamp: lastSeenMs,
                  coordinatorEpoch: -1,
                }
              }),
            }
          }),
        }
      }),
    }),
    refuse: ({ topics }, { code, message }) => ({
      topics: topics.map(({ name, partitionIndexes }) => ({
        name,
        partitions: partitionIndexes.map((partitionIndex) => {
          return { partitionIndex, errorCode: kafkaCode(code), errorMessage: message, activeProducers: [] }
        }),
      })),
    }),
  })
}

/** -1 where no check is wanted. */
function epochOf(epoch: number): number | undefined {
  return epoch < 0 ? undefined : epoch
}

function whyNot(timestamp: number): number {
  // Nothing is anywhere else, which is no error.
  if (timestamp === LATEST_TIERED) return 0
  return kafkaCode(timestamp < LATEST_TIERED ? 'UNSUPPORTED_VERSION' : 'UNKNOWN_TOPIC_OR_PARTITION')
}
