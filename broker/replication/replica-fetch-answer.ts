// The message of a follower's fetch, in the words of the rules and back. Owns which field says what in which kind of answer,
// and what makes an answer unbelievable as a whole; knows nothing of waiting, reading or connections. Pure.

import type { BrokerId, LeaderEpoch, Offset } from '../../shared/ids.ts'
import type { ErrorCode } from '../../shared/errors.ts'
import type { RequestOf, ResponseOf } from '../../shared/protocol/api.ts'
import type { FetchedAnswer } from './replica.ts'
import type { Beginning, FetchAnswer, FetchPosition } from './replication-events.ts'
import type { Voter, VoterSet } from '../../shared/voters.ts'
import type { VotersRecord } from '../storage/voters-history.ts'
import { assertNever } from '../../shared/assert.ts'
import { ERRORS, errorCodeOf, TidemarkError } from '../../shared/errors.ts'
import { brokerId, leaderEpoch, offset } from '../../shared/ids.ts'
import { isValidSet } from '../../shared/voters.ts'
import { REPLICA_FETCH_ANSWERS } from '../../shared/protocol/peers.ts'

export type ReplicaFetchMessage = RequestOf<'replicaFetch'>
export type PositionMessage = ReplicaFetchMessage['partitions'][number]
type AnswerMessage = ResponseOf<'replicaFetch'>['partitions'][number]
/** Without the bytes of its records: whoever sends them counts them. */
export type AnswerHead = Omit<AnswerMessage, 'bytes'>

/** What a leader says of its log with the records. */
export interface LeaderLogFacts {
  readonly highWatermark: Offset
  readonly logStartOffset: Offset
  readonly logEndOffset: Offset
  readonly clearsSuspect: boolean
}

const NOTHING: Omit<AnswerHead, 'index' | 'answer'> = {
  error: 0,
  highWatermark: 0,
  logStartOffset: 0,
  clearsSuspect: false,
  epoch: undefined,
  offset: 0,
  lossAcceptedIn: undefined,
  votersOffset: undefined,
  voterSets: [],
  drops: undefined,
  droppedTo: undefined,
}

export function recordsMessage(index: number, facts: LeaderLogFacts): AnswerHead {
  const { highWatermark, logStartOffset, clearsSuspect, logEndOffset } = facts
  const answer = REPLICA_FETCH_ANSWERS.records
  return { ...NOTHING, index, answer, highWatermark, logStartOffset, clearsSuspect, offset: logEndOffset }
}

export function refusedMessage(index: number, error: ErrorCode): AnswerHead {
  return { ...NOTHING, index, answer: REPLICA_FETCH_ANSWERS.refused, error: ERRORS[error].number }
}

/** Of an answer that carries no records. */
export function answerMessage(index: number, answer: Exclude<FetchAnswer, { readonly kind: 'records' }>): AnswerHead {
  switch (answer.kind) {
    case 'diverging': {
      const { epoch, endOffset, lossAcceptedIn } = answer
      return { ...NOTHING, index, answer: REPLICA_FETCH_ANSWERS.diverging, epoch, offset: endOffset, lossAcceptedIn }
    }
    case 'log-start': {
      const { epoch, logStartOffset, lossAcceptedIn, votersRecord, beginning } = answer
      const kind = REPLICA_FETCH_ANSWERS.logStart
      const more = { ...votersMessage(votersRecord), ...beginning }
      return { ...NOTHING, index, answer: kind, epoch, offset: logStartOffset, lossAcceptedIn, ...more }
    }
    case 'refused':
      return refusedMessage(index, answer.error)
    default:
      return assertNever(answer)
  }
}

export function positionMessage(
  topicId: string,
  partition: number,
  position: FetchPosition,
  highWatermark: Offset,
): PositionMessage {
  const {
    leaderEpoch: epoch,
    fetchOffset,
    lastFetchedEpoch,
    heldEndOffset,
    isSuspect,
    hasHoles,
    copiedSince,
  } = position
  return {
    topicId,
    partition,
    leaderEpoch: epoch,
    fetchOffset,
    lastFetchedEpoch,
    heldEndOffset,
    highWatermark,
    isSuspect,
    hasHoles,
    copiedSince,
  }
}

/** Where the follower stands in each partition, in the request's order. @throws INVALID_REQUEST */
export function positionsOf(request: ReplicaFetchMessage): readonly FetchPosition[] {
  const { directoryId, incarnation } = request
  try {
    const from: BrokerId = brokerId(request.brokerId)
    return request.partitions.map((part) => ({
      from,
      directoryId,
      incarnation,
      leaderEpoch: leaderEpoch(part.leaderEpoch),
      fetchOffset: offset(part.fetchOffset),
      lastFetchedEpoch: epochOf(part.lastFetchedEpoch),
      heldEndOffset: offset(part.heldEndOffset),
      isSuspect: part.isSuspect,
      hasHoles: part.hasHoles === true,
      copiedSince: part.copiedSince,
    }))
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    throw new TidemarkError('INVALID_REQUEST', `a fetch of broker ${request.brokerId}: ${error.message}`)
  }
}

/** What was answered for one partition of the request. */
export interface PartitionAnswer {
  readonly index: number
  readonly answer: FetchedAnswer
  /** Whole batches as far as the leader says; a part of the tail. */
  readonly records: Uint8Array
  /** Where the leader's log ends; only with records. */
  readonly leaderEndOffset: Offset | undefined
}

/**
 * The answers to a request of so many partitions, in the order in which they stand. @throws MALFORMED_FRAME when they are
 * no answer to it: then none of them is worth believing.
 */
export function readAnswers(
  body: ResponseOf<'replicaFetch'>,
  tail: Uint8Array,
  partitions: number,
): readonly PartitionAnswer[] {
  const seen = new Uint8Array(partitions)
  let tailAt = 0
  const answers = body.partitions.map((message): PartitionAnswer => {
    const { index, bytes } = message
    if (index >= partitions) throw malformed(`partition ${index} was answered, ${partitions} were asked for`)
    if (seen[index] === 1) throw malformed(`partition ${index} was answered twice`)
    seen[index] = 1
    const answer = answerOf(message)
    if (bytes > 0 && answer.kind !== 'records') throw malformed(`records of partition ${index} with its refusal`)
    if (bytes > tail.length - tailAt) throw malformed(`the records of partition ${index} are cut off`)
    const records = tail.subarray(tailAt, tailAt + bytes)
    tailAt += bytes
    return { index, answer, records, leaderEndOffset: answer.kind === 'records' ? offset(message.offset) : undefined }
  })
  if (tailAt !== tail.length) throw malformed(`${tail.length - tailAt} bytes stand behind the records`)
  return answers
}

function answerOf(message: AnswerMessage): FetchedAnswer {
  switch (message.answer) {
    case REPLICA_FETCH_ANSWERS.records:
      return {
        kind: 'records',
        highWatermark: offset(message.highWatermark),
        logStartOffset: offset(message.logStartOffset),
        clearsSuspect: message.clearsSuspect,
      }
    case REPLICA_FETCH_ANSWERS.diverging:
      return {
        kind: 'diverging',
        epoch: readEpoch(message.epoch),
        endOffset: offset(message.offset),
        lossAcceptedIn: readEpoch(message.lossAcceptedIn),
      }
    case REPLICA_FETCH_ANSWERS.logStart: {
      const epoch = readEpoch(message.epoch)
      const beginning = beginningFrom(message)
      const mayBeFirst = beginning !== undefined && message.offset === 0
      if (epoch === undefined && !mayBeFirst) throw malformed('a log start without its epoch')
      const lossAcceptedIn = readEpoch(message.lossAcceptedIn)
      const votersRecord = votersFrom(message)
      const logStartOffset = offset(message.offset)
      return { kind: 'log-start', logStartOffset, epoch, lossAcceptedIn, votersRecord, beginning }
    }
    case REPLICA_FETCH_ANSWERS.refused:
      return { kind: 'refused', error: errorCodeOf(message.error) }
    default:
      throw malformed(`there is no answer of kind ${message.answer}`)
  }
}

function beginningFrom({ drops, droppedTo }: AnswerMessage): Beginning | undefined {
  if (drops === undefined && droppedTo === undefined) return undefined
  if (drops === undefined || droppedTo === undefined) throw malformed('half of what has been dropped')
  return { drops, droppedTo: offset(droppedTo) }
}

function votersMessage(record: VotersRecord | undefined): Pick<AnswerMessage, 'votersOffset' | 'voterSets'> {
  if (record === undefined) return { votersOffset: undefined, voterSets: [] }
  const { set, next } = record
  return { votersOffset: record.offset, voterSets: next === undefined ? [set] : [set, next] }
}

function votersFrom({ votersOffset, voterSets }: AnswerMessage): VotersRecord | undefined {
  if (votersOffset === undefined) return undefined
  const [set, next] = voterSets.map(({ minInSyncReplicas, voters }): VoterSet => {
    const read = { minInSyncReplicas, voters: voters.map(voterFrom) }
    if (!isValidSet(read)) throw malformed('no possible set of voters')
    return read
  })
  if (set === undefined) throw malformed('voters without a set of them')
  return { offset: offset(votersOffset), set, next }
}

function voterFrom({ brokerId: id, directoryId }: { readonly brokerId: number; readonly directoryId: string }): Voter {
  return { brokerId: brokerId(id), directoryId }
}

function readEpoch(number: number | undefined): LeaderEpoch | undefined {
  if (number !== undefined && number < 0) throw malformed(`an epoch of ${number}`)
  return epochOf(number)
}

function epochOf(number: number | undefined): LeaderEpoch | undefined {
  return number === undefined ? undefined : leaderEpoch(number)
}

function malformed(what: string): TidemarkError {
  return new TidemarkError('MALFORMED_FRAME', `an answer to a fetch: ${what}`)
}
