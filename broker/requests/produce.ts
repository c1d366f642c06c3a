// Appending for producers. Owns who may append where, and the answer to a request as a whole; the order of the records and
// when they count as kept is the partition's.

import type { PartitionManager } from '../replication/partition-manager.ts'
import type { ProduceOutcome, ProduceRequest } from './requests.ts'
import type { RequestServices } from './request-services.ts'
import type { Clock } from '../../shared/time.ts'
import type { DelayedOperations } from '../replication/delayed-operations.ts'
import { isInternalTopic } from '../groups/offsets-topic.ts'
import { PendingProduce } from '../replication/pending-produce.ts'

/** Kafka's clients say so when they want to wait for ever; there is no such thing here. */
const TIMEOUT_MS_MAX = 3_600_000

export class ProduceRequests {
  readonly #partitions: PartitionManager
  readonly #delayed: DelayedOperations
  readonly #clock: Clock
  readonly #onAnswered = (produce: PendingProduce): void => {
    this.#delayed.cancel(produce)
    this.#unanswered -= 1
    if (this.#unanswered === 0) this.#onIdle()
  }
  readonly #onIdle: () => void
  #unanswered = 0

  /** `onIdle` is called whenever the last request has been settled, before its answer. */
  constructor(services: RequestServices, onIdle: () => void) {
    this.#onIdle = onIdle
    this.#partitions = services.partitions
    this.#delayed = services.delayed
    this.#clock = services.clock
  }

  /** Requests whose records are on their way to the disk. */
  get unanswered(): number {
    return this.#unanswered
  }

  produce(request: ProduceRequest, respond: (outcomes: readonly ProduceOutcome[]) => void): void {
    const produce = new PendingProduce(respond, this.#onAnswered)
    this.#unanswered += 1
    const now = this.#clock.now()
    for (const part of request.partitions) {
      const append = produce.add()
      const partition = this.#partitions.find(part.topic, part.topicId, part.partition)
      if (request.acks !== 0 && request.acks !== 1 && request.acks !== -1) {
        append.refuse('INVALID_REQUIRED_ACKS', `acks is ${request.acks}, only 0, 1 and -1 (all) are known`)
      } else if (isInternalTopic(part.topic)) {
        append.refuse('INVALID_TOPIC_EXCEPTION', `${part.topic} is written by brokers only`)
      } else if (partition === undefined) {
        const { error, message } = this.#partitions.whyNotFound(part.topic, part.topicId, part.partition)
        append.refuse(error, message)
      } else if (partition.mayWait(request.acks) && !this.#hasDeadline(produce, request)) {
        partition.log.noteRefused(part.records, now)
        append.refuse('BROKER_OVERLOADED', 'too many requests are waiting already')
      } else {
        const { records, leaderEpoch } = part
        partition.append(
          {
            records,
            leaderEpoch,
            acks: request.acks,
            now,
            keepsOffsets: request.keepsOffsets === true,
            mayDiffer: request.mayDiffer === true,
          },
          append,
        )
      }
    }
    produce.close()
  }

  /** What waits for a sync or for replicas has a deadline; what waits for the end of the turn needs none. */
  #hasDeadline(produce: PendingProduce, request: ProduceRequest): boolean {
    if (request.acks === 0 || produce.delay.bucket !== undefined) return true
    return this.#delayed.tryPark(produce, Math.min(request.timeoutMs, TIMEOUT_MS_MAX))
  }
}
