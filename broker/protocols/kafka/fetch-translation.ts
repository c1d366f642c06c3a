// Fetch requests of Kafka's as ours, and what came of them as theirs. Records are passed on as they lie. There are no fetch
// sessions: every request names all its partitions, and every answer tells of all of them.

import type { AllRequests } from '../../requests/other-requests.ts'
import type { FetchOutcome, FetchPartition, FetchRequest, RecordSlice } from '../../requests/requests.ts'
import type { fetch } from './01-fetch.ts'
import type { RequestOf, ResponseOf } from './api.ts'
import { topicId } from '../../../shared/ids.ts'
import { kafkaCode } from './error-mapping.ts'
import { NO_UUID } from './primitives.ts'

type Request = RequestOf<typeof fetch>
type Response = ResponseOf<typeof fetch>
type Topic = Request['topics'][number]

export interface FetchAnswer {
  readonly response: Response
  /** To be released, in the order in which they stand in the response. */
  readonly slices: readonly RecordSlice[]
}

const READ_COMMITTED = 1
const NO_SESSION = 0
const NOTHING = new Uint8Array(0)

/** A client that believes in a session is told to forget it. */
export function sessionRefusal({ sessionId }: Request): Response | undefined {
  if (sessionId === NO_SESSION) return undefined
  return { errorCode: kafkaCode('FETCH_SESSION_ID_NOT_FOUND'), responses: [] }
}

/** One partition of ours for each of theirs, in the order of the request. */
export function fetchQuestion(requests: AllRequests, request: Request, maxBytes: number): FetchRequest {
  const { maxWaitMs, minBytes, topics } = request
  const partitions: FetchPartition[] = []
  for (const topic of topics) {
    // A topic that nobody knows by its id has a name that nobody has.
    const name = nameOf(requests, topic) ?? ''
    const id = topic.topicId === NO_UUID ? undefined : topicId(topic.topicId)
    for (const { partition, currentLeaderEpoch, fetchOffset, partitionMaxBytes } of topic.partitions) {
      const leaderEpoch = currentLeaderEpoch < 0 ? undefined : currentLeaderEpoch
      const maxBytesHere = Math.max(0, partitionMaxBytes)
      partitions.push({ topic: name, topicId: id, partition, leaderEpoch, fetchOffset, maxBytes: maxBytesHere })
    }
  }
  return { tellsAll: true, maxWaitMs: Math.max(0, maxWaitMs), minBytes: Math.max(0, minBytes), maxBytes, partitions }
}

/** What is not told of has nothing new, as far as anybody knows. */
export function fetchAnswer(requests: AllRequests, request: Request, outcomes: readonly FetchOutcome[]): FetchAnswer {
  const byIndex: (FetchOutcome | undefined)[] = []
  for (const outcome of outcomes) byIndex[outcome.index] = outcome
  const isCommitted = request.isolationLevel === READ_COMMITTED
  const slices: RecordSlice[] = []
  let at = 0
  const responses = request.topics.map((topic) => {
    const isUnknown = topic.topicId !== NO_UUID && nameOf(requests, topic) === undefined
    return {
      topic: topic.topic,
      topicId: topic.topicId,
      partitions: topic.partitions.map(({ partition }) => {
        const { refusal, highWatermark = -1, logStartOffset = -1, records } = byIndex[at++] ?? NO_OUTCOME
        // Empty records have no piece of their own in the answer.
        if (records?.bytes.length === 0) records.release()
        else if (records !== undefined) slices.push(records)
        const isMissing = refusal?.error === 'UNKNOWN_TOPIC_OR_PARTITION' && isUnknown
        return {
          partitionIndex: partition,
          errorCode: kafkaCode(isMissing ? 'UNKNOWN_TOPIC_ID' : refusal?.error),
          highWatermark,
          lastStableOffset: highWatermark,
          logStartOffset,
          abortedTransactions: isCommitted ? [] : undefined,
          records: records?.bytes ?? NOTHING,
        }
      }),
    }
  })
  return { response: { errorCode: 0, responses }, slices }
}

const NO_OUTCOME: Partial<FetchOutcome> & Pick<FetchOutcome, 'refusal'> = { refusal: undefined }

function nameOf(requests: AllRequests, { topic, topicId: id }: Topic): string | undefined {
  return id === NO_UUID ? topic : requests.topicName(id)
}
