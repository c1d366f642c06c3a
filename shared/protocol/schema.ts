// Messages as data: a field knows how to turn its value into what MessagePack carries and back, and refuses what does not
// fit. A struct travels as a positional array; fields are only ever appended to it, so an older peer ignores the rest and
// a newer one finds the default of an optional field. Knows no message and no bytes.

import { TidemarkError } from '../errors.ts'
import { ARRAY_LENGTH_MAX, STRING_BYTES_MAX } from '../limits.ts'

export interface Field<T> {
  encode(value: T): unknown
  /** @throws MALFORMED_FRAME, naming the field. */
  decode(raw: unknown, name: string): T
  /** What a field that is missing at the end of the array decodes to; without it, missing is an error. */
  readonly absent?: { readonly value: T }
}

/** A field of whatever value. */
export interface AnyField {
  encode(value: never): unknown
  decode(raw: unknown, name: string): unknown
  readonly absent?: { readonly value: unknown }
}

export type ValueOf<F> = F extends Field<infer T> ? T : never

type StructValue<Fields> = { readonly [Name in keyof Fields]: ValueOf<Fields[Name]> }

function malformed(name: string, expected: string): TidemarkError {
  return new TidemarkError('MALFORMED_FRAME', `field ${name}: expected ${expected}`)
}

/** An integer from min to max, both safe integers. */
export function integer(min: number, max: number): Field<number> {
  return {
    encode: (value) => value,
    decode(raw, name) {
      if (typeof raw !== 'number' || !Number.isSafeInteger(raw) || raw < min || raw > max) {
        throw malformed(name, `an integer from ${min} to ${max}`)
      }
      return raw
    },
  }
}

export const int32 = integer(-0x8000_0000, 0x7fff_ffff)
export const uint32 = integer(0, 0xffff_ffff)
/** Any safe integer from 0 on: offsets, timestamps, producer ids. */
export const count53 = integer(0, Number.MAX_SAFE_INTEGER)
/** A partition number. */
export const partitionNumber = integer(0, 0x7fff_ffff)

export const boolean: Field<boolean> = {
  encode: (value) => value,
  decode(raw, name) {
    if (typeof raw !== 'boolean') throw malformed(name, 'a boolean')
    return raw
  },
}

export const string: Field<string> = {
  encode: (value) => value,
  decode(raw, name) {
    if (typeof raw !== 'string' || raw.length > STRING_BYTES_MAX) throw malformed(name, 'a string')
    return raw
  },
}

/** Bytes that mean something to others only. */
export const bytes: Field<Uint8Array> = {
  encode: (value) => value,
  decode(raw, name) {
    if (!(raw instanceof Uint8Array)) throw malformed(name, 'bytes')
    return raw
  },
}

/** undefined travels as nil, and is what a missing field decodes to. */
export function optional<T>(field: Field<T>): Field<T | undefined> {
  return {
    encode: (value) => (value === undefined ? null : field.encode(value)),
    decode: (raw, name) => (raw === null || raw === undefined ? undefined : field.decode(raw, name)),
    absent: { value: undefined },
  }
}

export function array<T>(field: Field<T>, lengthMax: number = ARRAY_LENGTH_MAX): Field<readonly T[]> {
  return {
    encode: (values) => values.map((value) => field.encode(value)),
    decode(raw, name) {
      if (!Array.isArray(raw) || raw.length > lengthMax) throw malformed(name, `an array of at most ${lengthMax}`)
      const values: T[] = []
      for (const element of raw) values.push(field.decode(element, name))
      return values
    },
  }
}

/** A string-to-string map, as an array of pairs: a MessagePack map would let a peer choose property names. */
export const stringPairs: Field<readonly (readonly [string, string])[]> = array({
  encode: (pair) => pair,
  decode(raw, name): readonly [string, string] {
    if (!Array.isArray(raw) || raw.length !== 2) throw malformed(name, 'a pair of strings')
    return [string.decode(raw[0], name), string.decode(raw[1], name)]
  },
})

/** A positional array with one element a field, in the order in which the fields are written here. */
export function struct<const Fields extends Record<string, AnyField>>(fields: Fields): Field<StructValue<Fields>> {
  const names = Object.keys(fields)
  const list = Object.values(fields) as readonly Field<unknown>[]
  return {
    encode(value) {
      const values = value as Record<string, unknown>
      const out: unknown[] = []
      for (let index = 0; index < list.length; index += 1) {
        out.push(list[index]?.encode(values[names[index] ?? '']))
      }
      return out
    },
    decode(raw, name) {
      if (!Array.isArray(raw)) throw malformed(name, 'a struct')
      const value: Record<string, unknown> = {}
      for (let index = 0; index < list.length; index += 1) {
        const field = list[index]
        const fieldName = names[index]
        if (field === undefined || fieldName === undefined) continue
        if (index < raw.length) value[fieldName] = field.decode(raw[index], fieldName)
        else if (field.absent !== undefined) value[fieldName] = field.absent.value
        else throw malformed(fieldName, 'a value')
      }
      return value as StructValue<Fields>
    },
  }
}
