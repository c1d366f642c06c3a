// A Kafka client made of a socket and nothing else: sends whatever a test thinks of, in whatever version, and gathers what comes
// back. Judges nothing.

import { connect, type Socket } from 'node:net'
import { onTestFinished } from 'vitest'
import type { AnyApi, RequestOf } from '../../broker/protocols/kafka/api.ts'
import { API_VERSIONS_KEY } from '../../broker/protocols/kafka/frames.ts'
import { KafkaReader, KafkaWriter } from '../../broker/protocols/kafka/primitives.ts'

/** Asks metadata for the brokers alone. */
export const NO_TOPICS = {
  topics: [],
  allowAutoTopicCreation: false,
  includeClusterAuthorizedOperations: false,
  includeTopicAuthorizedOperations: false,
}

type AnswerOf<A extends AnyApi> = ReturnType<A['response']['read']>

export class KafkaSocket {
  readonly socket: Socket
  isClosed = false
  /** Whole answers, without their lengths, in the order in which they came. */
  readonly answers: Buffer[] = []
  #bytes = Buffer.alloc(0)
  #correlationId = 0
  readonly #onChange: (() => void)[] = []

  private constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', (chunk) => this.#onData(chunk))
    socket.on('error', () => undefined)
    socket.on('close', () => {
      this.isClosed = true
      this.#changed()
    })
  }

  static async connect(port: number): Promise<KafkaSocket> {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve)
      socket.once('error', reject)
    })
    const client = new KafkaSocket(socket)
    onTestFinished(() => void socket.destroy())
    return client
  }

  send(bytes: Uint8Array): void {
    this.socket.write(bytes)
  }

  /** Sends a request and gives its correlation id. */
  request<A extends AnyApi>(api: A, version: number, value: RequestOf<A>): number {
    this.#correlationId += 1
    this.send(framed(requestBytes(api, version, this.#correlationId, value)))
    return this.#correlationId
  }

  async ask<A extends AnyApi>(api: A, version: number, value: RequestOf<A>): Promise<AnswerOf<A>> {
    const id = this.request(api, version, value)
    await this.until(() => this.isClosed || this.answers.some((answer) => answer.readInt32BE(0) === id))
    const answer = this.answers.find((one) => one.readInt32BE(0) === id)
    if (answer === undefined)
      throw new Error(`the connection was closed instead of an answer to ${api.name} v${version}`)
    return readAnswer(api, version, answer)
  }

  /** Resolves when it is so, looking whenever something comes, or the connection closes. */
  async until(isSo: () => boolean): Promise<void> {
    while (!isSo()) {
      await new Promise<void>((resolve) => {
        this.#onChange.push(resolve)
      })
    }
  }

  #onData(chunk: Buffer): void {
    this.#bytes = Buffer.concat([this.#bytes, chunk])
    while (this.#bytes.length >= 4 && this.#bytes.length >= 4 + this.#bytes.readInt32BE(0)) {
      const end = 4 + this.#bytes.readInt32BE(0)
      this.answers.push(this.#bytes.subarray(4, end))
      this.#bytes = this.#bytes.subarray(end)
    }
    this.#changed()
  }

  #changed(): void {
    for (const resolve of this.#onChange.splice(0)) resolve()
  }
}

export function readAnswer<A extends AnyApi>(api: A, version: number, answer: Buffer): AnswerOf<A> {
  const reader = new KafkaReader()
  reader.open(answer)
  reader.int32()
  if (api.isFlexible(version) && api.key !== API_VERSIONS_KEY) reader.taggedFields(new Map(), {})
  const value = api.response.read(reader, version)
  reader.expectEnd()
  return value as AnswerOf<A>
}

/** Header and message, without the length. */
export function requestBytes<A extends AnyApi>(api: A, version: number, id: number, value: RequestOf<A>): Buffer {
  const writer = new KafkaWriter()
  writer.reset()
  writer.int16(api.key)
  writer.int16(version)
  writer.int32(id)
  writer.string('a test', false)
  if (api.isFlexible(version)) writer.uvarint(0)
  api.request.write(writer, version, value as never)
  return Buffer.concat(writer.take())
}

export function framed(bytes: Uint8Array): Buffer {
  const length = Buffer.alloc(4)
  length.writeInt32BE(bytes.length)
  return Buffer.concat([length, bytes])
}
