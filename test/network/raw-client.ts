// A client made of a socket and nothing else: sends whatever bytes a test thinks of, and gathers the frames that come back.

import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { type ApiName, APIS, errorBody, type RequestOf, type ResponseOf } from '../../shared/protocol/api.ts'
import { type ErrorCode, errorCodeOf } from '../../shared/errors.ts'
import { FrameDecoder } from '../../shared/protocol/frame-decoder.ts'
import { decodeFrame, encodeFrameHead, type Frame, nativePreface } from '../../shared/protocol/frame.ts'
import type { AnyField } from '../../shared/protocol/schema.ts'

export class RawClient {
  readonly frames: Frame[] = []
  readonly socket: Socket
  isClosed = false
  hasEnded = false
  #correlationId = 0
  #onChange: (() => void)[] = []

  private constructor(socket: Socket) {
    this.socket = socket
    const decoder = new FrameDecoder(
      {
        onFrame: (frame) => {
          this.frames.push(decodeFrame(Uint8Array.from(frame)))
          return true
        },
        reserve: () => true,
        release: () => undefined,
      },
      0x7fff_ffff,
    )
    socket.on('data', (chunk) => {
      decoder.push(chunk)
      this.#changed()
    })
    socket.on('error', () => undefined)
    socket.on('end', () => {
      this.hasEnded = true
      this.#changed()
    })
    socket.on('close', () => {
      this.isClosed = true
      this.#changed()
    })
  }

  static async connect(port: number): Promise<RawClient> {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve)
      socket.once('error', reject)
    })
    return new RawClient(socket)
  }

  /** A connection that has said hello. */
  static async greet(port: number): Promise<RawClient> {
    const client = await RawClient.connect(port)
    client.send(nativePreface())
    await client.ask('hello', { clientId: 'raw', software: 'raw/1' })
    return client
  }

  send(...parts: readonly Uint8Array[]): void {
    this.socket.write(Buffer.concat(parts))
  }

  /** Sends a request and gives its correlation id. */
  request<Name extends ApiName>(name: Name, request: RequestOf<Name>, tail: Uint8Array = new Uint8Array(0)): number {
    this.#correlationId += 1
    this.send(requestFrame(name, this.#correlationId, request, tail))
    return this.#correlationId
  }

  async ask<Name extends ApiName>(name: Name, request: RequestOf<Name>, tail?: Uint8Array): Promise<ResponseOf<Name>> {
    const frame = await this.answer(this.request(name, request, tail))
    if (frame.kind !== 'response') throw new Error(`refused: ${JSON.stringify(errorOf(frame))}`)
    return APIS[name].response.decode(frame.body, name) as ResponseOf<Name>
  }

  answer(correlationId: number): Promise<Frame> {
    return this.until(() => this.frames.find((frame) => frame.correlationId === correlationId))
  }

  /** Resolves as soon as the condition gives something; the test's own timeout is the end of the wait. */
  async until<T>(condition: () => T | undefined | false): Promise<T> {
    for (;;) {
      const value = condition()
      if (value !== undefined && value !== false) return value
      if (this.isClosed) throw new Error('the connection closed before it happened')
      await new Promise<void>((resolve) => {
        this.#onChange.push(resolve)
      })
    }
  }

  async closed(): Promise<void> {
    while (!this.isClosed) {
      await new Promise<void>((resolve) => {
        this.#onChange.push(resolve)
      })
    }
  }

  close(): void {
    this.socket.destroy()
  }

  #changed(): void {
    const waiting = this.#onChange
    this.#onChange = []
    for (const resolve of waiting) resolve()
  }
}

export function requestFrame<Name extends ApiName>(
  name: Name,
  correlationId: number,
  request: RequestOf<Name>,
  tail: Uint8Array = new Uint8Array(0),
): Uint8Array {
  const field: AnyField = APIS[name].request
  return rawFrame({ api: APIS[name].number, correlationId, body: field.encode(request as never), tail })
}

export function rawFrame(options: {
  readonly api: number
  readonly correlationId: number
  readonly body: unknown
  readonly tail?: Uint8Array
  readonly version?: number
  readonly kind?: 'request' | 'response' | 'error'
}): Uint8Array {
  const { api, correlationId, body, tail = new Uint8Array(0), version = 0, kind = 'request' } = options
  return Buffer.concat([encodeFrameHead({ kind, api, version, correlationId, body, tailBytes: tail.length }), tail])
}

export function errorOf(frame: Frame): { readonly code: ErrorCode; readonly message: string | undefined } {
  if (frame.kind !== 'error') throw new Error(`frame ${frame.correlationId} is a ${frame.kind}`)
  const { error, message } = errorBody.decode(frame.body, 'error')
  return { code: errorCodeOf(error), message }
}

export function produceOf(topic: string, records: Uint8Array, acks: 0 | 1 | -1 = -1): RequestOf<'produce'> {
  const partition = { topic, topicId: undefined, partition: 0, leaderEpoch: undefined, bytes: records.length }
  return { acks, timeoutMs: 30_000, partitions: [partition] }
}

export function fetchOf(topic: string, fetchOffset: number, maxWaitMs = 0): RequestOf<'fetch'> {
  const maxBytes = 16 * 1024 * 1024
  const partition = { topic, topicId: undefined, partition: 0, leaderEpoch: undefined, fetchOffset, maxBytes }
  return { maxWaitMs, minBytes: 1, maxBytes, partitions: [partition] }
}

/** What a follower asks for: partition 0 of each topic, from an offset on. */
export function followOf(
  starts: Readonly<Record<string, number>>,
  options: { readonly maxWaitMs?: number; readonly maxBytes?: number } = {},
): RequestOf<'replicaFetch'> {
  const { maxWaitMs = 0, maxBytes = 16 * 1024 * 1024 } = options
  const partitions = Object.entries(starts).map(([topicId, fetchOffset]) => ({
    topicId,
    partition: 0,
    leaderEpoch: 0,
    fetchOffset,
    lastFetchedEpoch: undefined,
    heldEndOffset: fetchOffset,
    highWatermark: 0,
    isSuspect: false,
    hasHoles: undefined,
    copiedSince: undefined,
  }))
  return { brokerId: 2, directoryId: 'd', incarnation: 1, maxWaitMs, maxBytes, partitions }
}

/** Waits for something that no event tells of. */
export async function eventually(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(5)
}
