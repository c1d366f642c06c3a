// Our errors against Kafka's own table of them (golden/errors.json, made by GoldenBytes.java).

import { describe, expect, it } from 'vitest'
import { type ErrorCode, ERRORS, type ErrorRow } from '../../shared/errors.ts'
import { readJson } from './golden.ts'

interface KafkaError {
  readonly code: number
  readonly name: string
  readonly isRetriable: boolean
}

const KAFKA_ERRORS = new Map((readJson('errors.json') as readonly KafkaError[]).map((error) => [error.code, error]))
const ROWS: readonly [string, ErrorRow][] = Object.entries(ERRORS)

/** Ours where the name differs from Kafka's. */
const RENAMED: Partial<Record<ErrorCode, string>> = { STORAGE_ERROR: 'KAFKA_STORAGE_ERROR' }

/** Ours where clients of Kafka's do otherwise after what they are told, and why. */
const OTHERWISE: Partial<Record<ErrorCode, string>> = {
  CORRUPT_MESSAGE: 'what is damaged lies in a log or came from the encoder: the same again would be as damaged',
  QUARANTINED: 'what is lost does not come back by asking',
  ELECTION_NOT_NEEDED: 'who asks again is told the same, and has what it wanted',
  DISK_FAILED: 'to a client another replica may lead; to who meets it here the disk is broken',
  CONNECTION_FAILED: 'never travels',
  BUFFER_FULL: 'never travels',
}

describe('an error code', () => {
  it.each(ROWS.filter(([, row]) => row.number < 1_000))('%s has the number that Kafka gives the name', (code, row) => {
    expect(KAFKA_ERRORS.get(row.number)?.name).toBe(RENAMED[code as ErrorCode] ?? code)
    expect(row.kafkaCode).toBe(row.number)
  })

  it.each(ROWS.filter(([, row]) => row.number >= 1_000))('%s is told as an error that Kafka has', (_code, row) => {
    expect(KAFKA_ERRORS.get(row.kafkaCode)?.name).toBeDefined()
    expect(row.kafkaCode).not.toBe(0)
  })

  it.each(ROWS)('%s is worth another try where Kafka says so, or it is known why not', (code, row) => {
    const isSame = KAFKA_ERRORS.get(row.kafkaCode)?.isRetriable === row.retriable
    expect(isSame).toBe(OTHERWISE[code as ErrorCode] === undefined)
  })
})
