// What a producer holds for one partition: batches by how far they have come, and the numbers of its session. Facts without
// rules; those are the accumulator's.

import type { TidemarkError } from '../shared/errors.ts'
import type { ProducerBatch } from './producer-batch.ts'
import { ProducerSession } from './producer-session.ts'

/** The batches of one partition, oldest first: in flight, to be sent again, not sent yet, and the one being filled. */
export class PartitionQueue {
  readonly topic: string
  readonly partition: number
  readonly session = new ProducerSession()
  /** Bytes that the topic takes in one batch, as stored; a single larger record still goes, for the broker to judge. */
  batchBytesMax = Infinity
  readonly inFlight: ProducerBatch[] = []
  readonly resend: ProducerBatch[] = []
  readonly closed: ProducerBatch[] = []
  open: ProducerBatch | undefined
  /** Nothing is sent before, by the monotonic clock. A pause is meant for one leader: a newer one is not kept waiting. */
  notBefore = 0
  /** As last heard. */
  leaderEpoch: number | undefined
  /** What the last request was refused or lost with, or why none could be sent; for messages. */
  lastError: TidemarkError | undefined
  /** How often in a row what a request needs could not be had. */
  strandings = 0
  /** The oldest batch that will never be in the log: those behind it take its numbers when all in flight are answered. */
  hole: ProducerBatch | undefined

  constructor(topic: string, partition: number) {
    this.topic = topic
    this.partition = partition
  }

  get isEmpty(): boolean {
    return this.open === undefined && this.closed.length === 0 && this.resend.length === 0 && this.inFlight.length === 0
  }
}

/** Not on their way; oldest first. */
export function waitingOf({ resend, closed, open }: PartitionQueue): ProducerBatch[] {
  return open === undefined ? [...resend, ...closed] : [...resend, ...closed, open]
}

/** For messages. */
export function where(queue: PartitionQueue): string {
  return `${queue.topic}-${queue.partition}`
}

export function placeOf(queue: PartitionQueue): { topic: string; partition: number } {
  return { topic: queue.topic, partition: queue.partition }
}
