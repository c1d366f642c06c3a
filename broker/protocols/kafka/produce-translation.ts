// Produce requests of Kafka's as ours, and what came of them as theirs. Records are passed on as they came.

import type { ProduceOutcome, ProducePartition, ProduceRequest, Refusal } from '../../requests/requests.ts'
import type { produce } from './00-produce.ts'
import type { ErrorCode } from '../../../shared/errors.ts'
import type { RequestOf, ResponseOf } from './api.ts'
import { kafkaCode } from './error-mapping.ts'

type Request = RequestOf<typeof produce>
type Response = ResponseOf<typeof produce>

const NOTHING = new Uint8Array(0)

/** One partition of ours for each of theirs, in the order of the request. */
export function produceQuestion({ acks, timeoutMs, topicData, keepsOffsets }: Request): ProduceRequest {
  const partitions: ProducePartition[] = []
  for (const { name: topic, partitionData } of topicData) {
    for (const { index: partition, records = NOTHING } of partitionData) {
      partitions.push({ topic, topicId: undefined, partition, leaderEpoch: undefined, records })
    }
  }
  // Some clients put a new time into what they send again; Kafka knows a batch by its sequence numbers alone.
  return { acks, timeoutMs: Math.max(0, timeoutMs), keepsOffsets, mayDiffer: true, partitions }
}

export function produceAnswer({ topicData }: Request, outcomes: readonly ProduceOutcome[]): Response {
  let at = 0
  return {
    responses: topicData.map(({ name, partitionData }) => ({
      name,
      partitionResponses: partitionData.map(({ index }) => {
        const { refusal, baseOffset = -1, logAppendTime = -1, logStartOffset = -1 } = outcomes[at++] ?? NO_OUTCOME
        return {
          index,
          errorCode: kafkaCode(told(refusal?.error)),
          baseOffset,
          logAppendTimeMs: logAppendTime,
          logStartOffset,
          recordErrors: [],
          errorMessage: refusal?.message,
        }
      }),
    })),
  }
}

/**
 * Kafka's clients take DUPLICATE_SEQUENCE_NUMBER for an acknowledgement. Here it says that the batch is older than all that is
 * remembered of its producer, which is more than can be in flight: its records were never stored, say because it was refused
 * as the first of a new producer while those behind it were taken. Kafka's brokers call that out of order.
 */
function told(error: ErrorCode | undefined): ErrorCode | undefined {
  return error === 'DUPLICATE_SEQUENCE_NUMBER' ? 'OUT_OF_ORDER_SEQUENCE_NUMBER' : error
}

/** Why the first of the partitions that were refused was; undefined where none was. */
export function firstRefusal(outcomes: readonly ProduceOutcome[]): string | undefined {
  const refusal = outcomes.find((outcome) => outcome.refusal !== undefined)?.refusal
  return refusal?.message ?? refusal?.error
}

const NO_OUTCOME: Partial<ProduceOutcome> & { readonly refusal: Refusal | undefined } = { refusal: undefined }
