// A message of Kafka's as plain data: its fields in order, and which versions have them. Owns what a schema may say, the
// types that follow from it, and the compilation of a message in one version to a reader and a writer. Knows no message.
//
// What does not exist on the wire is undefined here: undefined is written as null where the version allows null, and as
// the default elsewhere. A field that a version does not have is read as its default, so that one type serves all
// versions; written, it is left out, and refused if it says something that the other side had to know.

import { assert } from '../../../shared/assert.ts'

/** '3+' is from 3 on, '1-4' is 1 to 4 with both, '2' is 2 alone. */
export type Versions = `${number}+` | `${number}-${number}` | `${number}`

export type Primitive = 'boolean' | 'int8' | 'int16' | 'int32' | 'int64' | 'string' | 'uuid' | 'bytes' | 'records'

interface FieldOptions {
  /** All versions of the message, if not said. */
  readonly versions?: Versions
  /** In which of its versions the field may be null. */
  readonly nullable?: true | Versions
  /** The field is a tagged one wherever it exists. */
  readonly tag?: number
  /** What a version without the field reads as; who writes may leave out a field that says this. */
  readonly default?: string | number | boolean | null | readonly []
  /** Whether it may be dropped silently when a version has no place for it. */
  readonly ignorable?: true
}

type PrimitiveField = FieldOptions & { readonly type: Primitive }
type ArrayField = FieldOptions & { readonly array: Primitive | Fields }
type StructField = FieldOptions & { readonly struct: Fields }

/** A field with all that may be said of it. */
export type FieldRow = PrimitiveField | ArrayField | StructField

export type Field = Primitive | FieldRow

/** The fields of a struct, in the order in which they are on the wire. */
export interface Fields {
  readonly [name: string]: Field
}

interface PrimitiveValues {
  readonly boolean: boolean
  readonly int8: number
  readonly int16: number
  readonly int32: number
  /** A safe integer. */
  readonly int64: number
  readonly string: string
  /** In its canonical 36 characters. */
  readonly uuid: string
  readonly bytes: Uint8Array
  /** A view of what was read. */
  readonly records: Uint8Array
}

type Flat<T> = { readonly [Name in keyof T]: T[Name] }

type OrNone<F, T> = F extends { readonly nullable: true | Versions } ? T | undefined : T

/** What a field is read as. */
type Read<F> = F extends Primitive
  ? PrimitiveValues[F]
  : F extends { readonly type: infer P extends Primitive }
    ? OrNone<F, PrimitiveValues[P]>
    : F extends { readonly array: infer Element }
      ? OrNone<F, readonly (Element extends Primitive ? PrimitiveValues[Element] : ReadStruct<Element>)[]>
      : F extends { readonly struct: infer Inner }
        ? OrNone<F, ReadStruct<Inner>>
        : never

export type ReadStruct<Struct> = { readonly [Name in keyof Struct]: Read<Struct[Name]> }

/** What has a default or a tag or may always be null may be left out by who writes. */
type Omissible<Struct> = {
  [Name in keyof Struct]: Struct[Name] extends
    { readonly default: unknown } | { readonly tag: number } | { readonly nullable: true }
    ? Name
    : never
}[keyof Struct]

type Written<F> = F extends Primitive
  ? PrimitiveValues[F]
  : F extends { readonly type: infer P extends Primitive }
    ? OrNone<F, PrimitiveValues[P]>
    : F extends { readonly array: infer Element }
      ? OrNone<F, readonly (Element extends Primitive ? PrimitiveValues[Element] : WrittenStruct<Element>)[]>
      : F extends { readonly struct: infer Inner }
        ? OrNone<F, WrittenStruct<Inner>>
        : never

export type WrittenStruct<Struct> = Flat<
  { readonly [Name in Exclude<keyof Struct, Omissible<Struct>>]: Written<Struct[Name]> } & {
    readonly [Name in Omissible<Struct>]?: Written<Struct[Name]> | undefined
  }
>

/** Versions from min to max, both inclusive. */
export interface VersionRange {
  readonly min: number
  readonly max: number
}

/** The range within the limits, or undefined when none of it is. */
export function rangeOf(versions: Versions, limits: VersionRange): VersionRange | undefined {
  const parts = /^(\d+)(\+|-(\d+))?$/.exec(versions)
  assert(parts !== null, 'versions are n, n+ or n-m')
  const first = Number(parts[1])
  const last = parts[2] === '+' ? limits.max : Number(parts[3] ?? parts[1])
  const range = { min: Math.max(first, limits.min), max: Math.min(last, limits.max) }
  return range.min > range.max ? undefined : range
}
