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

describe('an error code', () => {
  it.each(ROWS.filter(([, row]) => row.number < 1_000))('%s has the number that Kafka gives the name', (code, row) => {
    expect(KAFKA_ERRORS.get(row.number)?.name).toBe(RENAMED[code as ErrorCode] ?? code)
    expect(row.kafkaCode).toBe(row.number)
  })

  it.each(ROWS.filter(([, row]) => row.number >= 1_000))('%s is told as an error that Kafka has', (_code, row) => {
    expect(KAFKA_ERRORS.get(row.kafkaCode)?.name).toBeDefined()
    expect(row.kafkaCode).not.toBe(0)
  })
})
