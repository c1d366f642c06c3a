// A broker over real sockets that does what a test tells it: drops connections, keeps silent, answers errors, moves
// leaders. Speaks the native protocol through the project's own codec; its partitions are model logs in memory.

import { createServer, type Server, type Socket } from 'node:net'
import { type ErrorCode, ERRORS } from '../../shared/errors.ts'
import { type ApiName, apiNameOf, APIS, errorBody, type RequestOf, type ResponseOf } from '../../shared/protocol/api.ts'
import { decodeFrame, encodeFrameHead, type FrameKind } from '../../shared/protocol/frame.ts'
import { FrameDecoder } from '../../shared/protocol/frame-decoder.ts'
import { FRAME_BYTES_MAX } from '../../shared/limits.ts'
import { baseOffsetAt, maxTimestampAt } from '../../shared/record-batch/header.ts'
import { FakeGroups } from './fake-groups.ts'
import { ModelLog } from './model-log.ts'

export interface SeenRequest {
  readonly api: ApiName
  readonly body: unknown
  readonly connection: number
  /** How many requests of this api came before, on any connection. */
  readonly index: number
}

/** What to do instead of answering as a broker does. 'apply' stands for doing the work. */
export type Behaviour =
  | { readonly kind: 'refuse'; readonly error: ErrorCode; readonly message?: string }
  /** Every partition of a produce or fetch answers this error and nothing is done. */
  | { readonly kind: 'refuse-partitions'; readonly error: ErrorCode; readonly message?: string }
  /** The work is done, and the answer denies it. */
  | { readonly kind: 'apply-and-refuse-partitions'; readonly error: ErrorCode }
  /** Every partition of a fetch is said to end there, before what was asked for. */
  | { readonly kind: 'behind'; readonly highWatermark: number }
  | { readonly kind: 'drop' }
  | { readonly kind: 'apply-and-drop' }
  | { readonly kind: 'silence' }
  | { readonly kind: 'garbage'; readonly bytes: Uint8Array }

export type Script = (request: SeenRequest) => Behaviour | Promise<Behaviour | undefined> | undefined

export interface FakeTopic {
  topicId: string
  readonly logs: ModelLog[]
  /** Broker id by partition; undefined for none. */
  leaders: (number | undefined)[]
  /** By partition; undefined where brokers do not say. Produce and fetch requests of another epoch are refused. */
  leaderEpochs: (number | undefined)[]
}

/** What the brokers of one fake cluster share. */
export class FakeCluster {
  readonly topics = new Map<string, FakeTopic>()
  readonly brokers: FakeBroker[] = []
  readonly groups = new FakeGroups()
  nextProducerId = 1
  createsMissing = false

  addTopic(topic: string, partitions = 1, leader = 0): FakeTopic {
    const made = {
      topicId: `00000000-0000-4000-a000-${String(this.topics.size + this.nextProducerId).padStart(12, '0')}`,
      logs: Array.from({ length: partitions }, () => new ModelLog()),
      leaders: Array.from({ length: partitions }, () => leader),
      leaderEpochs: Array.from({ length: partitions }, () => undefined),
    }
    this.topics.set(topic, made)
    return made
  }

  /** Another broker leads from now on, in the next epoch, or nobody does; fetches that wait hear of it. */
  elect(topic: string, partition: number, leader: number | undefined): void {
    const known = this.topics.get(topic)
    if (known === undefined) throw new Error(`no topic ${topic}`)
    known.leaders[partition] = leader
    known.leaderEpochs[partition] = (known.leaderEpochs[partition] ?? 0) + 1
    this.notify()
  }

  /** Wakes fetches that wait for records. */
  notify(): void {
    for (const broker of this.brokers) broker.notify()
  }
}

export class FakeBroker {
  readonly cluster: FakeCluster
  readonly brokerId: number
  script: Script = () => undefined
  /** Of every request, in the order in which they came. */
  readonly seen: SeenRequest[] = []
  connections = 0
  port = 0
  helloAnswer: Partial<ResponseOf<'hello'>> = {}
  /** What it says of partitions instead of what is so: it has missed something. */
  belief: Pick<FakeTopic, 'leaders' | 'leaderEpochs'> | undefined
  readonly #sockets = new Set<Socket>()
  readonly #waitingFetches = new Set<() => void>()
  #server: Server | undefined

  constructor(cluster: FakeCluster = new FakeCluster(), brokerId = 0) {
    this.cluster = cluster
    this.brokerId = brokerId
    cluster.brokers.push(this)
  }

  static async start(cluster?: FakeCluster, brokerId?: number): Promise<FakeBroker> {
    const broker = new FakeBroker(cluster, brokerId)
    await broker.listen()
    return broker
  }

  get address(): string {
    return `127.0.0.1:${this.port}`
  }

  get openConnections(): number {
    return this.#sockets.size
  }

  countOf(api: ApiName): number {
    return this.seen.filter((one) => one.api === api).length
  }

  async listen(): Promise<void> {
    const server = createServer({ noDelay: true }, (socket) => this.#serve(socket))
    this.#server = server
    await new Promise<void>((resolve) => server.listen(this.port, '127.0.0.1', resolve))
    const address = server.address()
    if (typeof address === 'object' && address !== null) this.port = address.port
  }

  /** Closes the port and every connection; listen opens it again. */
  async stop(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    this.dropAll()
    if (server !== undefined) await new Promise<void>((resolve) => server.close(() => resolve()))
  }

  dropAll(): void {
    for (const socket of this.#sockets) socket.destroy()
    this.#sockets.clear()
  }

  notify(): void {
    for (const wake of [...this.#waitingFetches]) wake()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  #serve(socket: Socket): void {
    this.connections += 1
    const connection = this.connections
    this.#sockets.add(socket)
    // The same number at two brokers is two connections.
    const groupConnection = this.brokerId * 1_000_000 + connection
    socket.on('close', () => {
      this.#sockets.delete(socket)
      this.cluster.groups.onConnectionClosed(groupConnection)
    })
    socket.on('error', () => undefined)
    let preface = 4
    // Answered one after the other, except what may wait: as a real broker does.
    let turn = Promise.resolve()
    const decoder = new FrameDecoder(
      {
        onFrame: (bytes) => {
          const frame = decodeFrame(Uint8Array.from(bytes))
          const api = apiNameOf(frame.api)
          if (api === undefined) throw new Error(`api ${frame.api}`)
          const body = APIS[api].request.decode(frame.body, api)
          const request: SeenRequest = { api, body, connection, index: this.countOf(api) }
          this.seen.push(request)
          const run = (): Promise<void> => this.#handle(socket, request, frame.correlationId, frame.tail)
          if (api === 'fetch' || FakeGroups.isOf(api)) run().catch(() => socket.destroy())
          else turn = turn.then(run).catch(() => void socket.destroy())
          return true
        },
        reserve: () => true,
        release: () => undefined,
      },
      FRAME_BYTES_MAX,
    )
    socket.on('data', (chunk) => {
      const skipped = Math.min(preface, chunk.length)
      preface -= skipped
      decoder.push(chunk.subarray(skipped))
    })
  }

  async #handle(socket: Socket, request: SeenRequest, correlationId: number, tail: Uint8Array): Promise<void> {
    const { api } = request
    const behaviour = await this.script(request)
    const send = (kind: FrameKind, body: unknown, parts: readonly Uint8Array[] = []): void => {
      let tailBytes = 0
      for (const part of parts) tailBytes += part.length
      const number = APIS[api].number
      socket.write(encodeFrameHead({ kind, api: number, version: 0, correlationId, body, tailBytes }))
      for (const part of parts) socket.write(part)
    }
    switch (behaviour?.kind) {
      case 'drop':
        return void socket.destroy()
      case 'silence':
        return
      case 'garbage':
        return void socket.write(behaviour.bytes)
      case 'refuse':
        return send('error', errorBody.encode({ error: ERRORS[behaviour.error].number, message: behaviour.message }))
      default:
        break
    }
    const refusal = behaviour?.kind === 'refuse-partitions' ? behaviour : undefined
    if (behaviour?.kind === 'behind') {
      const { highWatermark } = behaviour
      const error = ERRORS.OFFSET_OUT_OF_RANGE.number
      const partitions = (request.body as RequestOf<'fetch'>).partitions.map((_, index) => {
        return { index, error, message: undefined, highWatermark, logStartOffset: 0, bytes: 0 }
      })
      return send('response', APIS.fetch.response.encode({ partitions }))
    }
    const { body, parts } = await this.#answer(request, tail, refusal)
    if (behaviour?.kind === 'apply-and-refuse-partitions') {
      const denied = (await this.#answer(request, tail, { error: behaviour.error })).body
      return send('response', APIS[api].response.encode(denied as never))
    }
    if (behaviour?.kind === 'apply-and-drop') return void socket.destroy()
    if (api === 'produce' && (request.body as RequestOf<'produce'>).acks === 0) return
    send('response', APIS[api].response.encode(body as never), parts)
  }

  async #answer(
    request: SeenRequest,
    tail: Uint8Array,
    refusal: { error: ErrorCode; message?: string } | undefined,
  ): Promise<{ body: unknown; parts?: Uint8Array[] }> {
    switch (request.api) {
      case 'hello':
        return { body: this.#hello() }
      case 'metadata':
        return { body: this.#metadata(request.body as RequestOf<'metadata'>) }
      case 'produce':
        return { body: this.#produce(request.body as RequestOf<'produce'>, tail, refusal) }
      case 'fetch':
        return this.#fetch(request.body as RequestOf<'fetch'>, refusal)
      case 'listOffsets':
        return { body: this.#listOffsets(request.body as RequestOf<'listOffsets'>) }
      case 'initProducerId':
        return { body: { producerId: this.cluster.nextProducerId++, producerEpoch: 0 } }
      case 'createTopics':
        return { body: this.#createTopics(request.body as RequestOf<'createTopics'>) }
      case 'describeTopics':
        return { body: this.#describeTopics(request.body as RequestOf<'describeTopics'>) }
      case 'findCoordinator': {
        const ports = new Map(this.cluster.brokers.map(({ brokerId, port }) => [brokerId, port]))
        return { body: this.cluster.groups.find(request.body as RequestOf<'findCoordinator'>, ports) }
      }
      default:
        if (FakeGroups.isOf(request.api)) {
          const connection = this.brokerId * 1_000_000 + request.connection
          return { body: await this.cluster.groups.answer(request.api, request.body, connection, this.brokerId) }
        }
        throw new Error(`the fake broker does not know ${request.api}`)
    }
  }

  #hello(): ResponseOf<'hello'> {
    return {
      brokerId: this.brokerId,
      cluster: 'fake',
      software: 'fake',
      frameBytesMax: FRAME_BYTES_MAX,
      inFlightMax: 100,
      apis: Object.values(APIS).map(({ number, versionMin, versionMax }) => ({ api: number, versionMin, versionMax })),
      rack: undefined,
      ...this.helloAnswer,
    }
  }

  #metadata(request: RequestOf<'metadata'>): ResponseOf<'metadata'> {
    const { cluster } = this
    for (const topic of request.topics ?? []) {
      if (request.createMissing && cluster.createsMissing && !cluster.topics.has(topic)) cluster.addTopic(topic)
    }
    const names = request.topics ?? [...cluster.topics.keys()]
    return {
      cluster: 'fake',
      controllerId: 0,
      brokers: cluster.brokers.map(({ brokerId, port }) => ({ brokerId, host: '127.0.0.1', port, rack: undefined })),
      topics: names.map((topic) => {
        const known = cluster.topics.get(topic)
        return {
          error: known === undefined ? ERRORS.UNKNOWN_TOPIC_OR_PARTITION.number : 0,
          message: undefined,
          topic,
          topicId: known?.topicId,
          isInternal: false,
          partitions: (this.belief?.leaders ?? known?.leaders ?? []).map((leader, partition) => ({
            error: 0,
            partition,
            leader,
            leaderEpoch: (this.belief ?? known)?.leaderEpochs[partition],
            replicas: [],
            inSyncReplicas: [],
          })),
          batchBytesMax: undefined,
        }
      }),
    }
  }

  #logOf({
    topic,
    topicId,
    partition,
    leaderEpoch,
  }: {
    topic: string
    topicId?: string | undefined
    partition: number
    leaderEpoch?: number | undefined
  }): ModelLog | ErrorCode {
    const known = this.cluster.topics.get(topic)
    const log = known?.logs[partition]
    if (known === undefined || log === undefined) return 'UNKNOWN_TOPIC_OR_PARTITION'
    if (topicId !== undefined && topicId !== known.topicId) return 'UNKNOWN_TOPIC_OR_PARTITION'
    if (known.leaders[partition] !== this.brokerId) return 'NOT_LEADER_OR_FOLLOWER'
    const current = known.leaderEpochs[partition]
    if (current === undefined || leaderEpoch === undefined || leaderEpoch === current) return log
    return leaderEpoch < current ? 'FENCED_LEADER_EPOCH' : 'UNKNOWN_LEADER_EPOCH'
  }

  #produce(
    request: RequestOf<'produce'>,
    tail: Uint8Array,
    refusal: { error: ErrorCode; message?: string } | undefined,
  ): ResponseOf<'produce'> {
    let at = 0
    const partitions = request.partitions.map((asked) => {
      const { bytes } = asked
      const batch = tail.subarray(at, at + bytes)
      at += bytes
      const empty = { baseOffset: undefined, logStartOffset: undefined, logAppendTime: undefined }
      if (refusal !== undefined) {
        return { error: ERRORS[refusal.error].number, message: refusal.message ?? 'as scripted', ...empty }
      }
      const log = this.#logOf(asked)
      if (typeof log === 'string') return { error: ERRORS[log].number, message: log, ...empty }
      const outcome = log.append(batch)
      if ('error' in outcome) return { error: ERRORS[outcome.error].number, message: outcome.message, ...empty }
      return { ...empty, error: 0, message: undefined, baseOffset: outcome.baseOffset }
    })
    this.cluster.notify()
    return { partitions }
  }

  async #fetch(
    request: RequestOf<'fetch'>,
    refusal: { error: ErrorCode; message?: string } | undefined,
  ): Promise<{ body: ResponseOf<'fetch'>; parts: Uint8Array[] }> {
    const deadline = Date.now() + request.maxWaitMs
    for (;;) {
      const parts: Uint8Array[] = []
      let left = request.maxBytes
      const partitions: {
        [Key in keyof ResponseOf<'fetch'>['partitions'][number]]: ResponseOf<'fetch'>['partitions'][number][Key]
      }[] = []
      for (const [index, asked] of request.partitions.entries()) {
        const { fetchOffset, maxBytes } = asked
        const log = refusal?.error ?? this.#logOf(asked)
        const empty = {
          index,
          message: refusal?.message,
          highWatermark: undefined,
          logStartOffset: undefined,
          bytes: 0,
        }
        if (typeof log === 'string') {
          partitions.push({ ...empty, error: ERRORS[log].number })
          continue
        }
        const range = { highWatermark: log.endOffset, logStartOffset: log.logStartOffset }
        if (fetchOffset < log.logStartOffset || fetchOffset > log.endOffset) {
          partitions.push({ ...empty, ...range, error: ERRORS.OFFSET_OUT_OF_RANGE.number })
          continue
        }
        const lost = log.quarantined
        if (lost !== undefined && fetchOffset >= lost.startOffset && fetchOffset < lost.endOffset) {
          partitions.push({ ...empty, ...range, error: ERRORS.QUARANTINED.number })
          continue
        }
        if (left <= 0) continue
        const batches = log.read(fetchOffset, Math.min(left, maxBytes))
        const bytes = batches.reduce((sum, batch) => sum + batch.length, 0)
        if (bytes === 0) continue
        left -= bytes
        parts.push(...batches)
        partitions.push({ ...empty, ...range, error: 0, bytes })
      }
      const waitMs = deadline - Date.now()
      if (partitions.length > 0 || waitMs <= 0) return { body: { partitions }, parts }
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          clearTimeout(timer)
          this.#waitingFetches.delete(wake)
          resolve()
        }
        const timer = setTimeout(wake, waitMs).unref()
        this.#waitingFetches.add(wake)
      })
    }
  }

  #listOffsets(request: RequestOf<'listOffsets'>): ResponseOf<'listOffsets'> {
    return {
      partitions: request.partitions.map((asked) => {
        const { at } = asked
        const log = this.#logOf(asked)
        const empty = { message: undefined, timestamp: undefined, leaderEpoch: undefined }
        if (typeof log === 'string') return { ...empty, error: ERRORS[log].number, offset: undefined }
        if (at < 0) return { ...empty, error: 0, offset: at === -2 ? log.logStartOffset : log.endOffset }
        const young = log.batches.find((batch) => maxTimestampAt(batch, 0) >= at)
        return { ...empty, error: 0, offset: young === undefined ? undefined : baseOffsetAt(young, 0) }
      }),
    }
  }

  #describeTopics(request: RequestOf<'describeTopics'>): ResponseOf<'describeTopics'> {
    const names = request.topics ?? [...this.cluster.topics.keys()]
    return {
      topics: names.map((topic) => ({
        topic,
        error: 0,
        message: undefined,
        topicId: undefined,
        replicationFactor: 1,
        config: [],
        partitions: (this.cluster.topics.get(topic)?.logs ?? []).map((log, partition) => ({
          partition,
          leader: 0,
          leaderEpoch: 0,
          replicas: [],
          inSyncReplicas: [],
          logStartOffset: log.logStartOffset,
          highWatermark: log.endOffset,
          logEndOffset: log.endOffset,
          recoveryPoint: 0,
          segments: 1,
          bytes: 0,
          state: 'online',
          reason: undefined,
          quarantined: log.quarantined === undefined ? [] : [log.quarantined],
          movingTo: undefined,
          figuresOf: undefined,
          last: undefined,
        })),
      })),
    }
  }

  #createTopics(request: RequestOf<'createTopics'>): ResponseOf<'createTopics'> {
    return {
      topics: request.topics.map(({ topic, partitions }) => {
        const isThere = this.cluster.topics.has(topic)
        if (!isThere) this.cluster.addTopic(topic, partitions ?? 1)
        return {
          topic,
          error: isThere ? ERRORS.TOPIC_ALREADY_EXISTS.number : 0,
          message: undefined,
          topicId: this.cluster.topics.get(topic)?.topicId,
          partitions: partitions ?? 1,
          replicationFactor: 1,
        }
      }),
    }
  }
}
