// What a Kafka client is told of an error. Owns the way from our codes to Kafka's numbers; ours that Kafka does not have are
// told as the nearest that its clients know what to do with.

import { type ErrorCode, errorCodeOf, ERRORS } from '../../../shared/errors.ts'

/** No error is 0. */
export function kafkaCode(code: ErrorCode | undefined): number {
  return code === undefined ? 0 : ERRORS[code].kafkaCode
}

/** Of the number in one of our messages, where 0 is no error. */
export function kafkaCodeOf(number: number): number {
  return number === 0 ? 0 : ERRORS[errorCodeOf(number)].kafkaCode
}

/**
 * What a member of a group, or who asks for one, is told: that the broker stops means to them that somebody else will
 * coordinate.
 */
export function groupCode(code: ErrorCode): number {
  return kafkaCode(code === 'SHUTTING_DOWN' ? 'NOT_COORDINATOR' : code)
}
