// What stands round a message: the header of a request, and the length and header of a response, for who serves and for who
// asks. Knows no API but the one exception that Kafka makes of ApiVersions.

import type { AnyApi, QuestionOf, ResponseOf } from './api.ts'
import { type KafkaReader, KafkaWriter } from './primitives.ts'

/** The only API whose response header has no tagged fields in any version: its reader knows no version yet. */
export const API_VERSIONS_KEY = 18

/** What every request begins with, in all versions of the header. */
export interface RequestStart {
  readonly apiKey: number
  readonly apiVersion: number
  readonly correlationId: number
}

/** Reads what can be read without knowing the API. */
export function readRequestStart(reader: KafkaReader): RequestStart {
  reader.begin('request header', 0)
  return { apiKey: reader.int16(), apiVersion: reader.int16(), correlationId: reader.int32() }
}

/** Reads the rest of the header. The client id has the older length even where everything else is compact. */
export function readClientId(reader: KafkaReader, isFlexible: boolean): string | undefined {
  reader.begin('request header', isFlexible ? 2 : 1)
  reader.field = 'clientId'
  const clientId = reader.string(false)
  if (isFlexible) reader.taggedFields(NO_TAGS, {})
  return clientId
}

const NO_TAGS = new Map<number, never>()

const writer = new KafkaWriter()

/**
 * The frame of a response, its length included, as pieces to be sent in order. Those with an even index belong to the
 * caller; those with an odd one are the records as they were given, not copied.
 * @throws UNSUPPORTED_VERSION for a field that the version cannot say and the other side has to know.
 */
export function encodeResponse<A extends AnyApi>(
  api: A,
  to: { readonly version: number; readonly correlationId: number },
  value: ResponseOf<A>,
): readonly Uint8Array[] {
  writer.reset()
  writer.int32(0)
  writer.int32(to.correlationId)
  if (api.isFlexible(to.version) && api.key !== API_VERSIONS_KEY) writer.uvarint(0)
  api.response.write(writer, to.version, value)
  writer.patchInt32(writer.byteLength - 4)
  return writer.take()
}

/** The frame of a request, as pieces as in `encodeResponse`. @throws UNSUPPORTED_VERSION for what the version cannot say */
export function encodeRequest<A extends AnyApi>(
  api: A,
  to: { readonly version: number; readonly correlationId: number; readonly clientId: string },
  value: QuestionOf<A>,
): readonly Uint8Array[] {
  writer.reset()
  writer.int32(0)
  writer.int16(api.key)
  writer.int16(to.version)
  writer.int32(to.correlationId)
  writer.string(to.clientId, false)
  if (api.isFlexible(to.version)) writer.uvarint(0)
  api.request.write(writer, to.version, value)
  writer.patchInt32(writer.byteLength - 4)
  return writer.take()
}

/** Reads the header of a response behind its correlation id. */
export function readResponseHeader(reader: KafkaReader, api: AnyApi, version: number): void {
  reader.begin('response header', version)
  if (api.isFlexible(version) && api.key !== API_VERSIONS_KEY) reader.taggedFields(NO_TAGS, {})
}
