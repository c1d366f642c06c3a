// Turns the schema of a struct, for one version, into closures that read and write it. Owns the rules of versions, nulls,
// defaults and tags. What a version has is decided here once, so that reading a message looks at no version any more.
//
// Invariant: what is read has the same properties in the same order in every version, whatever the version carries.

import type { KafkaReader, KafkaWriter, TaggedRead } from './primitives.ts'
import type { Field, FieldRow, Fields, Primitive, VersionRange, Versions } from './schema.ts'
import { assert } from '../../../shared/assert.ts'
import { TidemarkError } from '../../../shared/errors.ts'
import { NO_UUID } from './primitives.ts'
import { rangeOf } from './schema.ts'

/** One struct, or one field, in one version. */
export interface Codec {
  readonly read: (reader: KafkaReader) => unknown
  readonly write: (writer: KafkaWriter, value: unknown) => void
  /** What stands for a field that the version does not have. */
  readonly absent: unknown
  /** Whether the value says no more than a field that is left out. */
  readonly isAbsent: (value: unknown) => boolean
  /** Bytes that it takes on the wire, at least. */
  readonly bytesMin: number
}

/** What holds for a whole message in one version. */
export interface CodecContext {
  readonly version: number
  readonly isFlexible: boolean
  /** Whether what the version has no place for is dropped: an answer tells as much as it can to who asks. */
  readonly isLenient: boolean
}

interface NamedCodec {
  readonly name: string
  readonly codec: Codec
}

interface TaggedCodec extends NamedCodec {
  readonly tag: number
}

const NOTHING: readonly never[] = Object.freeze([])
const NO_BYTES = new Uint8Array(0)

export function compileStruct(fields: Fields, context: CodecContext): Codec {
  const template: Record<string, unknown> = {}
  const inline: NamedCodec[] = []
  const tagged: TaggedCodec[] = []
  const unsaid: NamedCodec[] = []
  const all: NamedCodec[] = []
  for (const [name, field] of Object.entries(fields)) {
    const codec = compileField(field, context)
    template[name] = codec.absent
    all.push({ name, codec })
    const { versions, tag, ignorable } = optionsOf(field)
    if (!isIn(versions, context)) {
      if (ignorable === undefined && !context.isLenient) unsaid.push({ name, codec })
    } else if (tag === undefined) inline.push({ name, codec })
    else tagged.push({ name, codec, tag })
  }
  assert(tagged.length === 0 || context.isFlexible, 'only flexible versions have tagged fields')
  tagged.sort((left, right) => left.tag - right.tag)
  const inlineBytes = inline.reduce((sum, { codec }) => sum + codec.bytesMin, 0)
  return {
    read: structRead({ template, inline, tagged }, context),
    write: structWrite({ inline, tagged, unsaid }, context),
    absent: Object.freeze(template),
    isAbsent: (value) => {
      if (value === undefined) return true
      const struct = structOf(value)
      return all.every(({ name, codec }) => codec.isAbsent(struct[name]))
    },
    bytesMin: inlineBytes + (context.isFlexible ? 1 : 0),
  }
}

function structRead(
  parts: { template: Record<string, unknown>; inline: readonly NamedCodec[]; tagged: readonly TaggedCodec[] },
  context: CodecContext,
): Codec['read'] {
  const { template } = parts
  const steps = parts.inline.map(({ name, codec }) => ({ name, read: codec.read }))
  const known = new Map<number, TaggedRead>()
  for (const { tag, name, codec } of parts.tagged) known.set(tag, { name, read: codec.read })
  return (reader) => {
    // A copy has the shape already: adding the properties one by one takes twice as long.
    const struct: Record<string, unknown> = { ...template }
    for (const { name, read } of steps) {
      reader.field = name
      struct[name] = read(reader)
    }
    if (context.isFlexible) reader.taggedFields(known, struct)
    return struct
  }
}

function structWrite(
  parts: { inline: readonly NamedCodec[]; tagged: readonly TaggedCodec[]; unsaid: readonly NamedCodec[] },
  { version, isFlexible }: CodecContext,
): Codec['write'] {
  const { inline, tagged, unsaid } = parts
  return (writer, value) => {
    const struct = structOf(value)
    for (const { name, codec } of unsaid) {
      if (codec.isAbsent(struct[name])) continue
      throw new TidemarkError('UNSUPPORTED_VERSION', `field ${name}: version ${version} cannot say it`)
    }
    for (const { name, codec } of inline) codec.write(writer, struct[name])
    if (!isFlexible) return
    const said = tagged.filter(({ name, codec }) => !codec.isAbsent(struct[name]))
    writer.uvarint(said.length)
    for (const { tag, name, codec } of said) writer.taggedField(tag, () => codec.write(writer, struct[name]))
  }
}

function compileField(field: Field, context: CodecContext): Codec {
  const options = optionsOf(field)
  const isNullable = options.nullable !== undefined && isIn(options.nullable, context)
  const shape = shapeOf(options, { ...context, isNullable })
  const absent = options.default === undefined ? shape.empty : absentOf(options.default)
  const isOmissible = options.default !== undefined || options.tag !== undefined
  const { isEmpty } = shape
  return {
    absent,
    isAbsent: (value) => value === undefined || value === absent || (absent === shape.empty && isEmpty(value)),
    bytesMin: shape.bytesMin,
    read: shape.read,
    write(writer, value) {
      if (value !== undefined) shape.write(writer, value)
      else if (isNullable) shape.writeNull(writer)
      else {
        assert(isOmissible && absent !== undefined, 'a field that may not be null or left out has a value')
        shape.write(writer, absent)
      }
    },
  }
}

/** The default as it is read: null is undefined, and all empty arrays are the same one. */
function absentOf(value: string | number | boolean | null | readonly []): unknown {
  if (value === null) return undefined
  return typeof value === 'object' ? NOTHING : value
}

interface ShapeContext extends CodecContext {
  readonly isNullable: boolean
}

/** The type of a field in one version, apart from what the field says of defaults. */
interface Shape {
  readonly read: Codec['read']
  /** Writes a value that is not null. */
  readonly write: Codec['write']
  readonly writeNull: (writer: KafkaWriter) => void
  readonly bytesMin: number
  /** The default of the type. */
  readonly empty: unknown
  readonly isEmpty: (value: unknown) => boolean
}

function shapeOf(options: FieldRow, context: ShapeContext): Shape {
  if ('array' in options) return arrayShape(options.array, context)
  if ('struct' in options) return structShape(options.struct, context)
  return primitiveShape(options.type, context)
}

function arrayShape(of: Primitive | Fields, { isNullable, ...context }: ShapeContext): Shape {
  const { isFlexible } = context
  const element =
    typeof of === 'string' ? primitiveShape(of, { ...context, isNullable: false }) : compileStruct(of, context)
  assert(element.bytesMin > 0, 'an element takes at least a byte')
  return {
    read: (reader) => {
      const count = reader.arrayLength(isFlexible, element.bytesMin)
      if (count < 0 && !isNullable) throw reader.unexpectedNull()
      if (count < 0) return undefined
      const values: unknown[] = []
      for (let index = 0; index < count; index += 1) values.push(element.read(reader))
      return values
    },
    write: (writer, value) => {
      const values = arrayOf(value)
      writer.arrayLength(values.length, isFlexible)
      for (const each of values) element.write(writer, each)
    },
    writeNull: (writer) => writer.nullLength(isFlexible),
    bytesMin: isFlexible ? 1 : 4,
    empty: NOTHING,
    isEmpty: (value) => arrayOf(value).length === 0,
  }
}

/** A struct that may be null has a byte before it that tells. */
function structShape(fields: Fields, { isNullable, ...context }: ShapeContext): Shape {
  const plain = compileStruct(fields, context)
  if (!isNullable) return { ...plain, writeNull: writeNullStruct, empty: plain.absent, isEmpty: plain.isAbsent }
  return {
    read: (reader) => (reader.int8() < 0 ? undefined : plain.read(reader)),
    write: (writer, value) => {
      writer.int8(1)
      plain.write(writer, value)
    },
    writeNull: writeNullStruct,
    bytesMin: 1,
    empty: undefined,
    isEmpty: (value) => value === undefined,
  }
}

function writeNullStruct(writer: KafkaWriter): void {
  writer.int8(-1)
}

function primitiveShape(type: Primitive, { isFlexible, isNullable }: ShapeContext): Shape {
  if (isFixed(type)) {
    const row = FIXED[type]
    return { ...row, writeNull: () => assert(false, 'a field of fixed width is never null'), isEmpty: () => false }
  }
  const row = VARIABLE[type]
  return {
    read: (reader) => {
      const value = row.read(reader, isFlexible)
      if (value === undefined && !isNullable) throw reader.unexpectedNull()
      return value
    },
    write: (writer, value) => row.write(writer, value, isFlexible),
    writeNull: (writer) => (type === 'string' ? writer.nullString(isFlexible) : writer.nullLength(isFlexible)),
    bytesMin: isFlexible ? 1 : row.bytesMin,
    empty: row.empty,
    isEmpty: (value) => value instanceof Uint8Array && value.length === 0,
  }
}

type FixedPrimitive = keyof typeof FIXED

function isFixed(type: Primitive): type is FixedPrimitive {
  return type in FIXED
}

const FIXED = {
  boolean: {
    read: (reader: KafkaReader): unknown => reader.boolean(),
    write: (writer: KafkaWriter, value: unknown) => writer.boolean(booleanOf(value)),
    bytesMin: 1,
    empty: false,
  },
  int8: {
    read: (reader: KafkaReader): unknown => reader.int8(),
    write: (writer: KafkaWriter, value: unknown) => writer.int8(numberOf(value)),
    bytesMin: 1,
    empty: 0,
  },
  int16: {
    read: (reader: KafkaReader): unknown => reader.int16(),
    write: (writer: KafkaWriter, value: unknown) => writer.int16(numberOf(value)),
    bytesMin: 2,
    empty: 0,
  },
  int32: {
    read: (reader: KafkaReader): unknown => reader.int32(),
    write: (writer: KafkaWriter, value: unknown) => writer.int32(numberOf(value)),
    bytesMin: 4,
    empty: 0,
  },
  int64: {
    read: (reader: KafkaReader): unknown => reader.int64(),
    write: (writer: KafkaWriter, value: unknown) => writer.int64(numberOf(value)),
    bytesMin: 8,
    empty: 0,
  },
  uuid: {
    read: (reader: KafkaReader): unknown => reader.uuid(),
    write: (writer: KafkaWriter, value: unknown) => writer.uuid(textOf(value)),
    bytesMin: 16,
    empty: NO_UUID,
  },
} as const

/** What has its length before it; bytesMin is that of the older form, the compact one takes one byte at least. */
const VARIABLE = {
  string: {
    read: (reader: KafkaReader, isCompact: boolean): unknown => reader.string(isCompact),
    write: (writer: KafkaWriter, value: unknown, isCompact: boolean) => writer.string(textOf(value), isCompact),
    bytesMin: 2,
    empty: '',
  },
  bytes: {
    read: (reader: KafkaReader, isCompact: boolean): unknown => reader.bytes(isCompact),
    write: (writer: KafkaWriter, value: unknown, isCompact: boolean) => writer.bytes(bytesOf(value), isCompact),
    bytesMin: 4,
    empty: NO_BYTES,
  },
  records: {
    read: (reader: KafkaReader, isCompact: boolean): unknown => reader.records(isCompact),
    write: (writer: KafkaWriter, value: unknown, isCompact: boolean) => writer.records(bytesOf(value), isCompact),
    bytesMin: 4,
    empty: undefined,
  },
} as const satisfies Record<Exclude<Primitive, FixedPrimitive>, unknown>

function optionsOf(field: Field): FieldRow {
  return typeof field === 'string' ? { type: field } : field
}

function isIn(versions: true | Versions | undefined, { version }: CodecContext): boolean {
  const limits: VersionRange = { min: version, max: version }
  return versions === undefined || versions === true || rangeOf(versions, limits) !== undefined
}

function structOf(value: unknown): Readonly<Record<string, unknown>> {
  assert(typeof value === 'object' && value !== null, 'a struct is an object')
  return value as Readonly<Record<string, unknown>>
}

function arrayOf(value: unknown): readonly unknown[] {
  assert(Array.isArray(value), 'an array is an array')
  return value as readonly unknown[]
}

function booleanOf(value: unknown): boolean {
  assert(typeof value === 'boolean', 'a boolean is a boolean')
  return value
}

function numberOf(value: unknown): number {
  assert(typeof value === 'number', 'a number is a number')
  return value
}

function textOf(value: unknown): string {
  assert(typeof value === 'string', 'a string is a string')
  return value
}

function bytesOf(value: unknown): Uint8Array {
  assert(value instanceof Uint8Array, 'bytes are bytes')
  return value
}
