// The errors of the client by kind, for `instanceof`; programs that prefer a string read `code`. Owns which code is of which
// kind, and the way from an error number of the wire to an error object. Knows no connection and no request.

import { type ErrorCode, errorCodeOf, type ErrorDetails, TidemarkError } from '../shared/errors.ts'

/** A deadline passed. Whether the broker did the work is not known unless the message says so. */
export class TimeoutError extends TidemarkError {
  override readonly name: string = 'TimeoutError'
}

/** The caller's AbortSignal fired; its reason is the cause. */
export class AbortedError extends TidemarkError {
  // The name that programs look for when they ask whether something was aborted.
  override readonly name: string = 'AbortError'
}

/** No connection to a broker could be made, or it broke. */
export class ConnectionError extends TidemarkError {
  override readonly name: string = 'ConnectionError'
}

/** The request never left: no connection was there or could be made. */
export class NotConnectedError extends ConnectionError {
  override readonly name: string = 'NotConnectedError'

  constructor(message: string, details?: ErrorDetails) {
    super('CONNECTION_FAILED', message, details)
  }
}

/** Not allowed. */
export class AuthError extends TidemarkError {
  override readonly name: string = 'AuthError'
}

/** The broker that was asked does not lead the partition; the client looks for the leader by itself before it gives up. */
export class NotLeaderError extends TidemarkError {
  override readonly name: string = 'NotLeaderError'
}

/** A record, a batch or a request is larger than is allowed. */
export class RecordTooLargeError extends TidemarkError {
  override readonly name: string = 'RecordTooLargeError'
}

/** There is no such topic or partition. */
export class UnknownTopicError extends TidemarkError {
  override readonly name: string = 'UnknownTopicError'
}

/** Somebody newer has taken this object's place; it is of no further use. */
export class FencedError extends TidemarkError {
  override readonly name: string = 'FencedError'
  override readonly fatal: boolean = true
}

/** The object that threw it can do no more; its cause says why. */
export class FatalError extends TidemarkError {
  override readonly name: string = 'FatalError'
  override readonly fatal: boolean = true
}

/** The producer holds as many bytes as it may. */
export class BufferFullError extends TidemarkError {
  override readonly name: string = 'BufferFullError'
}

/** The client, or this part of it, has been closed. */
export class ClosedError extends TidemarkError {
  override readonly name: string = 'ClosedError'
  override readonly fatal: boolean = true
}

/** What the broker knew of the partition when it refused the offset. */
export interface OffsetRange {
  readonly logStartOffset: number | undefined
  readonly highWatermark: number | undefined
}

/** The offset is not in the partition, which has those from logStartOffset up to but without highWatermark. */
export class OffsetOutOfRangeError extends TidemarkError {
  override readonly name: string = 'OffsetOutOfRangeError'
  readonly logStartOffset: number | undefined
  readonly highWatermark: number | undefined

  constructor(message: string, range: OffsetRange, details?: ErrorDetails) {
    super('OFFSET_OUT_OF_RANGE', message, details)
    this.logStartOffset = range.logStartOffset
    this.highWatermark = range.highWatermark
  }
}

/** The offset lies in a range that was lost to corruption; nextOffset is the first one after it, where that is known. */
export class QuarantinedError extends TidemarkError {
  override readonly name: string = 'QuarantinedError'
  readonly nextOffset: number | undefined

  constructor(message: string, nextOffset: number | undefined, details?: ErrorDetails) {
    super('QUARANTINED', message, details)
    this.nextOffset = nextOffset
  }
}

/**
 * A batch that was fetched is damaged: its checksum is wrong, or what is in it cannot be read. None of its records can be
 * had; they are those from startOffset up to but without nextOffset, where reading can go on. nextOffset is undefined
 * when the damage leaves open where the batch ends.
 */
export class CorruptBatchError extends TidemarkError {
  override readonly name: string = 'CorruptBatchError'
  readonly startOffset: number
  readonly nextOffset: number | undefined

  constructor(
    message: string,
    range: { readonly startOffset: number; readonly nextOffset: number | undefined },
    details?: ErrorDetails,
  ) {
    super('CORRUPT_MESSAGE', message, details)
    this.startOffset = range.startOffset
    this.nextOffset = range.nextOffset
  }
}

/** The error of a code, as the kind that belongs to it. */
export function errorOf(code: ErrorCode, message?: string, details?: ErrorDetails): TidemarkError {
  switch (code) {
    case 'TIMEOUT':
    case 'REQUEST_TIMED_OUT':
      return new TimeoutError(code, message, details)
    case 'ABORTED':
      return new AbortedError(code, message, details)
    case 'CONNECTION_FAILED':
      return new ConnectionError(code, message, details)
    case 'TOPIC_AUTHORIZATION_FAILED':
    case 'GROUP_AUTHORIZATION_FAILED':
    case 'CLUSTER_AUTHORIZATION_FAILED':
      return new AuthError(code, message, details)
    case 'NOT_LEADER_OR_FOLLOWER':
    case 'LEADER_NOT_AVAILABLE':
    case 'FENCED_LEADER_EPOCH':
    case 'UNKNOWN_LEADER_EPOCH':
      return new NotLeaderError(code, message, details)
    case 'MESSAGE_TOO_LARGE':
    case 'RECORD_LIST_TOO_LARGE':
    case 'FRAME_TOO_LARGE':
      return new RecordTooLargeError(code, message, details)
    case 'UNKNOWN_TOPIC_OR_PARTITION':
      return new UnknownTopicError(code, message, details)
    case 'INVALID_PRODUCER_EPOCH':
    case 'FENCED_INSTANCE_ID':
      return new FencedError(code, message, details)
    case 'BUFFER_FULL':
      return new BufferFullError(code, message, details)
    case 'CLIENT_CLOSED':
      return new ClosedError(code, message, details)
    default:
      return new TidemarkError(code, message, details)
  }
}

/** The error that a number of the wire stands for. The number is not 0. */
export function errorFromWire(number: number, message: string | undefined, details?: ErrorDetails): TidemarkError {
  return errorOf(errorCodeOf(number), message, details)
}

/** Whatever was thrown, as a TidemarkError; one that is none becomes the cause. */
export function toTidemarkError(thrown: unknown, code: ErrorCode, message: string): TidemarkError {
  if (thrown instanceof TidemarkError) return thrown
  const reason = thrown instanceof Error ? thrown.message : String(thrown)
  return errorOf(code, `${message}: ${reason}`, { cause: thrown })
}
