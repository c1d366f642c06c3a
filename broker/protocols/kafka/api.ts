// One API of Kafka's: its number, the versions that are offered, and both its messages. Owns the reading and writing of a
// message in a given version; every version is compiled when it is first used, and kept.

import type { KafkaReader, KafkaWriter } from './primitives.ts'
import { assert } from '../../../shared/assert.ts'
import { TidemarkError } from '../../../shared/errors.ts'
import { type Codec, compileStruct } from './message-codec.ts'
import {
  type Fields,
  rangeOf,
  type ReadStruct,
  type VersionRange,
  type Versions,
  type WrittenStruct,
} from './schema.ts'

export interface ApiDefinition<Request extends Fields, Response extends Fields> {
  readonly key: number
  readonly name: string
  readonly versions: Versions
  /** From which version on strings are compact and structs end with tagged fields; none, if not said. */
  readonly flexible?: Versions
  /** The lowest version that is announced, where it is not the lowest that is served. */
  readonly announcedMin?: number
  readonly request: Request
  readonly response: Response
}

export interface Api<Request extends Fields, Response extends Fields> {
  readonly key: number
  readonly name: string
  /** Those that are served. */
  readonly versions: VersionRange
  /** Those that ApiVersions tells. */
  readonly announced: VersionRange
  readonly request: Message<Request>
  readonly response: Message<Response>
  isFlexible(version: number): boolean
}

/** An API of whatever messages. */
export type AnyApi = Omit<Api<Fields, Fields>, 'request' | 'response'> & {
  readonly request: AnyMessage
  readonly response: AnyMessage
}

export interface AnyMessage {
  readonly name: string
  readonly fields: Fields
  read(reader: KafkaReader, version: number): unknown
  write(writer: KafkaWriter, version: number, value: never): void
}

/** What handlers get of a request. */
export type RequestOf<A extends { readonly request: AnyMessage }> = ReturnType<A['request']['read']>
/** What a client asks; what has a default may be left out. */
export type QuestionOf<A extends { readonly request: AnyMessage }> = Parameters<A['request']['write']>[2]
/** What a client gets as an answer. */
export type AnswerOf<A extends { readonly response: AnyMessage }> = ReturnType<A['response']['read']>
/** What handlers give as an answer; what has a default may be left out. */
export type ResponseOf<A extends { readonly response: AnyMessage }> = Parameters<A['response']['write']>[2]

interface MessageForm {
  readonly versions: VersionRange
  readonly isFlexible: (version: number) => boolean
  readonly isLenient: boolean
}

export class Message<Struct extends Fields> implements AnyMessage {
  readonly name: string
  readonly fields: Struct
  readonly #form: MessageForm
  readonly #codecs: (Codec | undefined)[] = []

  constructor(name: string, fields: Struct, form: MessageForm) {
    this.name = name
    this.fields = fields
    this.#form = form
  }

  /** @throws MALFORMED_FRAME for what cannot be read, UNSUPPORTED_VERSION for a version that is not served. */
  read(reader: KafkaReader, version: number): ReadStruct<Struct> {
    reader.begin(this.name, version)
    return this.#codecOf(version).read(reader) as ReadStruct<Struct>
  }

  /**
   * What the version has no place for is left out of an answer. @throws UNSUPPORTED_VERSION, of a request also for a field that this
   * version cannot say and the other side has to know
   */
  write(writer: KafkaWriter, version: number, value: WrittenStruct<Struct>): void {
    this.#codecOf(version).write(writer, value)
  }

  #codecOf(version: number): Codec {
    const known = this.#codecs[version]
    if (known !== undefined) return known
    const { versions, isFlexible, isLenient } = this.#form
    const { min, max } = versions
    if (!Number.isInteger(version) || version < min || version > max) {
      throw new TidemarkError('UNSUPPORTED_VERSION', `${this.name} v${version}: versions ${min} to ${max} are served`)
    }
    const codec = compileStruct(this.fields, { version, isFlexible: isFlexible(version), isLenient })
    this.#codecs[version] = codec
    return codec
  }
}

const VERSION_MAX = 0x7fff

export function defineApi<const Request extends Fields, const Response extends Fields>(
  definition: ApiDefinition<Request, Response>,
): Api<Request, Response> {
  const { key, name, flexible, announcedMin, request, response } = definition
  const versions = rangeOf(definition.versions, { min: 0, max: VERSION_MAX })
  assert(versions !== undefined && versions.max < VERSION_MAX, 'an api serves versions from one to another')
  const flexibleRange = flexible === undefined ? undefined : rangeOf(flexible, versions)
  const isFlexible = (version: number): boolean => flexibleRange !== undefined && version >= flexibleRange.min
  return {
    key,
    name,
    versions,
    announced: { min: announcedMin ?? versions.min, max: versions.max },
    request: new Message(`${name} request`, request, { versions, isFlexible, isLenient: false }),
    response: new Message(`${name} response`, response, { versions, isFlexible, isLenient: true }),
    isFlexible,
  }
}
