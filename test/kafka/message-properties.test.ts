// What holds for every message in every version: what is written is read back, and what is not a message is refused with
// MALFORMED_FRAME, whatever it is, without making more of it than there are bytes.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { AnyMessage } from '../../broker/protocols/kafka/api.ts'
import type { Field, FieldRow, Fields, Primitive } from '../../broker/protocols/kafka/schema.ts'
import { rangeOf } from '../../broker/protocols/kafka/schema.ts'
import { TidemarkError } from '../../shared/errors.ts'
import { APIS, GOLDEN_FILES, messageOf, readGolden, readMessage, writeMessage } from './golden.ts'

const RUNS = 15
const FUZZ_RUNS = 40

const text = fc.string({ unit: 'grapheme', maxLength: 40 })
const bytes = fc.uint8Array({ maxLength: 40 })

const VALUES: Record<Primitive, fc.Arbitrary<unknown>> = {
  boolean: fc.boolean(),
  int8: fc.integer({ min: -0x80, max: 0x7f }),
  int16: fc.integer({ min: -0x8000, max: 0x7fff }),
  int32: fc.integer({ min: -0x8000_0000, max: 0x7fff_ffff }),
  int64: fc.maxSafeInteger(),
  string: text,
  uuid: fc.uuid(),
  bytes,
  records: bytes,
}

/** Values of the fields that the version has; the others are left out. */
function structOf(fields: Fields, version: number): fc.Arbitrary<Record<string, unknown>> {
  const present = Object.entries(fields).filter(([, field]) => isIn(rowOf(field).versions, version))
  return fc.record(Object.fromEntries(present.map(([name, field]) => [name, fieldOf(rowOf(field), version)])))
}

function fieldOf(row: FieldRow, version: number): fc.Arbitrary<unknown> {
  const value = valueOf(row, version)
  return row.nullable !== undefined && isIn(row.nullable, version) ? fc.option(value, { nil: undefined }) : value
}

function valueOf(row: FieldRow, version: number): fc.Arbitrary<unknown> {
  if ('struct' in row) return structOf(row.struct, version)
  if (!('array' in row)) return VALUES[row.type]
  const element = typeof row.array === 'string' ? VALUES[row.array] : structOf(row.array, version)
  return fc.array(element, { maxLength: 3 })
}

function rowOf(field: Field): FieldRow {
  return typeof field === 'string' ? { type: field } : field
}

function isIn(versions: FieldRow['nullable'], version: number): boolean {
  if (versions === undefined || versions === true) return true
  return rangeOf(versions, { min: version, max: version }) !== undefined
}

/** How many values of any kind stand in it. */
function countValues(value: unknown): number {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return 1
  return Object.values(value).reduce((sum: number, field) => sum + countValues(field), 1)
}

/** How many fields the largest struct of the message has, with all that is in structs of structs. */
function fieldsMax(fields: Fields): number {
  const inner = Object.values(fields).map((field) => {
    const row = rowOf(field)
    if ('struct' in row) return fieldsMax(row.struct)
    return 'array' in row && typeof row.array === 'object' ? fieldsMax(row.array) : 1
  })
  return inner.reduce((sum, count) => sum + count, 1)
}

/** The message if it can be read, undefined if it was refused as it should be. */
function readOrRefuse(message: AnyMessage, version: number, input: Uint8Array): unknown {
  try {
    return readMessage(message, version, input)
  } catch (error) {
    if (error instanceof TidemarkError && error.code === 'MALFORMED_FRAME') return undefined
    throw error
  }
}

/** What is read of any input has no more values than its bytes can account for. */
function expectBounded(message: AnyMessage, version: number, input: Uint8Array): void {
  const value = readOrRefuse(message, version, input)
  expect(countValues(value)).toBeLessThanOrEqual((input.length + 1) * fieldsMax(message.fields))
}

describe.each(APIS)('$name', (api) => {
  const versions = Array.from({ length: api.versions.max + 1 - api.versions.min }, (_, at) => api.versions.min + at)
  const cases = versions.flatMap((version) => [
    { version, side: 'request' as const },
    { version, side: 'response' as const },
  ])

  it.each(cases)('$side v$version: what is written is read back', ({ version, side }) => {
    const message = api[side]
    const all = structOf(message.fields, version)
    fc.assert(
      fc.property(all, (value) => {
        const written = writeMessage(message, version, value)
        const read = readMessage(message, version, written)
        expect(read).toMatchObject(value)
        expect(writeMessage(message, version, read)).toEqual(written)
      }),
      { numRuns: RUNS },
    )
  })

  it.each(cases)('$side v$version: any bytes are a message or refused', ({ version, side }) => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 120, size: 'max' }), (input) => {
        expectBounded(api[side], version, input)
      }),
      { numRuns: FUZZ_RUNS },
    )
  })
})

describe.each(GOLDEN_FILES)('%s', (file) => {
  const golden = readGolden(file)
  // Some requests have nothing to say: there is nothing to change in them.
  const full = golden.cases.filter(({ kind, bytes }) => kind !== 'sparse' && bytes !== '')
  // The bytes that lengths and counts are made of come up more often than chance would have it.
  const byte = fc.oneof(fc.integer({ min: 0, max: 255 }), fc.constantFrom(0x00, 0x01, 0x7f, 0x80, 0xff))
  const changes = fc.array(fc.record({ at: fc.nat(), byte, run: fc.integer({ min: 1, max: 5 }) }), {
    minLength: 1,
    maxLength: 4,
  })

  it.each(full)('$message v$version, $kind: with some bytes changed it is a message or refused', (each) => {
    const message = messageOf(golden, each)
    const original = Buffer.from(each.bytes, 'hex')
    fc.assert(
      fc.property(changes, (all) => {
        const input = Buffer.from(original)
        for (const change of all) {
          const at = change.at % input.length
          input.fill(change.byte, at, Math.min(at + change.run, input.length))
        }
        expectBounded(message, each.version, input)
      }),
      { numRuns: FUZZ_RUNS },
    )
  })

  it.each(full)('$message v$version, $kind: cut off anywhere it is refused', (each) => {
    const message = messageOf(golden, each)
    const original = Buffer.from(each.bytes, 'hex')
    for (let length = 0; length < original.length; length += 1) {
      expect(readOrRefuse(message, each.version, original.subarray(0, length))).toBeUndefined()
    }
    expect(readOrRefuse(message, each.version, Buffer.concat([original, Buffer.alloc(1)]))).toBeUndefined()
  })
})
