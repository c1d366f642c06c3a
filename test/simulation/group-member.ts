// A machine on which members of a group live, one after the other: each a process of its own with a real client and a real
// consumer. Owns how a member works, and how a life begins and ends: it is closed, killed, loses its power, or somebody takes
// its place while it hangs. Whatever it is told and handed goes to the oracle.

import { type Client, connect } from '../../client/client.ts'
import type { EachBatchPayload, EachMessagePayload } from '../../client/consumer-options.ts'
import type { ConsumedMessage } from '../../client/consumer-stream.ts'
import type { Consumer } from '../../client/consumer.ts'
import type { ErrorCode } from '../../shared/errors.ts'
import { TidemarkError } from '../../shared/errors.ts'
import type { Random } from '../../shared/random.ts'
import { sleep } from '../../shared/time.ts'
import type { GroupOracle, Handling, MemberModel } from './group-oracle.ts'
import type { GroupSpec, MemberSpec } from './group-plan.ts'
import { overheard } from './group-wire.ts'
import { clientEnvironment } from './sim-environment.ts'
import type { SimNetwork } from './sim-network.ts'
import { type ProcessHost, SimProcess } from './sim-process.ts'
import { NEVER, TIMEOUTS } from './workload.ts'

export interface MachineParts {
  readonly group: GroupSpec
  readonly spec: MemberSpec
  readonly oracle: GroupOracle
  readonly network: SimNetwork
  readonly processes: ProcessHost
  readonly random: Random
  readonly brokers: readonly string[]
  readonly fail: (fault: string) => void
  readonly note: (who: string, what: string, details: string) => void
}

/** One process. */
export interface Life {
  readonly name: string
  readonly process: SimProcess
  readonly client: Client
  readonly consumer: Consumer
  readonly model: MemberModel
  /** It has been asked to end. */
  isEnding: boolean
  /** Another process had its name while it lived. */
  isContested: boolean
  /** Timers of the application's own. */
  sleeping: number
}

const RESTART_MS = 500
/** Whoever has closed is left alone for so long. */
const LINGER_MS = 1_500
/** Whoever hung and was replaced goes on for so long. */
const GOES_ON_MS = 2_000

export class GroupMachine {
  readonly host: string
  readonly spec: MemberSpec
  readonly group: GroupSpec
  /** The newest. */
  life: Life | undefined
  /** All that have not ended; more than one while an old one hangs. */
  readonly lives = new Set<Life>()
  livesCount = 0
  /** Ends its life when it has handled so many more records, before anything is committed. */
  recordsToLive = Infinity
  /** No handler takes long any more, nor fails. */
  isCalm = false
  readonly errors = new Map<ErrorCode, number>()
  #isWanted = false
  readonly #parts: MachineParts

  constructor(parts: MachineParts) {
    this.#parts = parts
    this.spec = parts.spec
    this.group = parts.group
    this.host = parts.spec.host
  }

  /** Of the newest life; one that is dead while there is none. */
  get process(): SimProcess {
    return this.life?.process ?? this.#nobody
  }

  get isAlive(): boolean {
    return this.life !== undefined
  }

  startAfter(delayMs: number): void {
    this.#isWanted = true
    this.#parts.processes.scheduler.after(delayMs, () => {
      if (this.#isWanted && this.life === undefined) this.#start()
    })
  }

  kill(): void {
    this.#isWanted = false
    this.#parts.note(this.host, 'kill', '')
    for (const life of [...this.lives]) this.#end(life)
  }

  powerLoss(): void {
    this.#isWanted = false
    this.#parts.note(this.host, 'power loss', '')
    this.#parts.network.darken(this.host)
    for (const life of [...this.lives]) this.#end(life)
  }

  /** Leaves in order. */
  close(onClosed: () => void = () => undefined): void {
    this.#isWanted = false
    const { life } = this
    if (life === undefined) return onClosed()
    life.process.run('close', life.name, () => this.#close(life, onClosed))
  }

  /** Hangs, and another process comes up in its place before it goes on. */
  replace(hangsMs: number, afterMs: number): void {
    const { life } = this
    if (life === undefined) return
    this.#parts.note(this.host, 'replaced', life.name)
    life.process.pause(hangsMs)
    this.life = undefined
    this.startAfter(afterMs)
    this.#parts.processes.scheduler.after(hangsMs + GOES_ON_MS, () => {
      life.process.run('close', life.name, () => this.#close(life, () => undefined))
    })
  }

  /** Everybody who is still here leaves in order. */
  closeAll(): void {
    this.#isWanted = false
    for (const life of this.lives) {
      life.process.resume()
      life.process.run('close', life.name, () => this.#close(life, () => undefined))
    }
  }

  #start(): void {
    const { group, spec, oracle, network, processes, random, brokers, note } = this.#parts
    this.livesCount += 1
    const name = `${this.host}.${this.livesCount}`
    const process = new SimProcess(name, processes, 1 + (random.fraction() - 0.5) / 20)
    network.lighten(this.host)
    const model = oracle.enter(name, group.name, spec.instanceId)
    const environment = clientEnvironment(this.host, process, network, random)
    const transport = overheard(environment.transport, oracle.listener(model))
    const client = connect({ brokers, clientId: this.host, ...TIMEOUTS }, { ...environment, transport })
    const consumer = client.consumer({
      groupId: group.name,
      topics: group.topics,
      fromBeginning: group.fromBeginning,
      sessionTimeoutMs: group.sessionTimeoutMs,
      maxPollIntervalMs: group.maxPollIntervalMs,
      topicsRefreshMs: group.topicsRefreshMs,
      assignors: spec.assignors,
      maxWaitMs: 1_000,
      autoCommit: spec.commits === 'auto' ? { everyMs: spec.commitEveryMs } : false,
      ...(spec.instanceId !== undefined && { instanceId: spec.instanceId }),
    })
    const others = [...this.lives].filter(({ isEnding }) => !isEnding)
    const isContested = others.length > 0
    for (const other of others) other.isContested = true
    const life: Life = { name, process, client, consumer, model, isEnding: false, isContested, sleeping: 0 }
    this.life = life
    this.lives.add(life)
    note(name, 'begins', group.name)
    this.#listen(life)
    process.run('live', name, () => {
      this.#live(life).catch((error: unknown) => this.#onThrown(life, error))
    })
  }

  #listen(life: Life): void {
    const { oracle, note } = this.#parts
    const { consumer, model, process, name } = life
    consumer.on('assigned', ({ partitions }) => {
      if (!process.isAlive) return
      note(name, 'assigned', partitions.map((one) => `${one.topic}-${one.partition}:${one.offset}`).join(' '))
      oracle.onAssigned(model, partitions)
    })
    consumer.on('revoked', ({ partitions, isLost, reason }) => {
      if (!process.isAlive) return
      const names = partitions.map((one) => `${one.topic}-${one.partition}`).join(' ')
      note(name, isLost ? 'lost' : 'revoked', `${names}: ${reason}`)
      oracle.onRevoked(model, partitions, isLost)
    })
    consumer.on('committed', ({ partitions }) => {
      note(name, 'committed', partitions.map((one) => `${one.topic}-${one.partition}:${one.offset}`).join(' '))
    })
    consumer.on('moved', ({ topic, partition, from, to }) => note(name, 'moved', `${topic}-${partition} ${from} ${to}`))
    consumer.on('error', (error) => {
      this.#onError(life, error)
      if (error.fatal) this.#onFatal(life, error)
    })
  }

  async #live(life: Life): Promise<void> {
    const { consumer, process } = life
    const { spec } = this
    if (spec.commits === 'timer') this.#commitNowAndThen(life).catch((error: unknown) => this.#onThrown(life, error))
    if (spec.handling === 'stream') return this.#iterate(life)
    const { concurrency } = spec
    // Soon again, so that a history need not be long.
    const onError = { action: 'retry', minMs: 20, maxMs: 200 } as const
    const eachMessage = (payload: EachMessagePayload<Buffer, Buffer>): Promise<unknown> => {
      return this.#handle(life, payload.message, { isOver: () => payload.signal.aborted, isGoingOn: false })
    }
    if (spec.handling === 'batch') {
      await consumer.run({ eachBatch: (payload) => this.#handleBatch(life, payload), concurrency, onError })
    } else {
      const order = spec.handling === 'key' ? 'key' : 'partition'
      await consumer.run({ eachMessage, concurrency, order, onError })
    }
    if (process.isAlive) this.#parts.note(life.name, 'runs', '')
  }

  async #iterate(life: Life): Promise<void> {
    const { consumer, process, model } = life
    for (;;) {
      for await (const message of consumer.stream()) {
        if (!process.isAlive) return
        const isOver = (): boolean => !model.tenures.has(`${message.topic}-${message.partition}`)
        try {
          await this.#handle(life, message, { isOver, isGoingOn: false })
        } catch {
          // It is not done: the loop is left, and another one begins with it.
          break
        }
        if (this.spec.commits === 'inside') await this.#commit(life, () => message.commit())
      }
      if (life.isEnding || !process.isAlive) return
      await this.#sleep(life, 1 + this.#parts.random.integer(100))
    }
  }

  async #handleBatch(life: Life, payload: EachBatchPayload<Buffer, Buffer>): Promise<void> {
    const { random } = this.#parts
    const { batch, signal } = payload
    const asks = random.integer(2) === 0
    for (const [index, message] of batch.messages.entries()) {
      if (asks && payload.isStale()) return
      const resolves = asks || this.spec.commits === 'inside' || random.integer(4) === 0
      const resolve = (): void => (resolves ? payload.resolve(message.offset) : undefined)
      await this.#handle(life, message, { isOver: () => signal.aborted, isGoingOn: index > 0 }, resolve)
    }
  }

  /** One record. @throws where its handler fails, or leaves off. */
  async #handle(
    life: Life,
    message: EachMessagePayload<Buffer, Buffer>['message'] | ConsumedMessage,
    how: Pick<Handling, 'isOver' | 'isGoingOn'>,
    onHandled: () => void = () => undefined,
  ): Promise<void> {
    const { oracle, note, random } = this.#parts
    const { model, process, name } = life
    const { topic, partition, offset } = message
    const where = `${topic}-${partition}`
    if (!process.isAlive) return this.#never()
    const handling = { partition: where, offset, ...how }
    note(name, 'handles', `${where}:${offset}`)
    oracle.begin(model, handling)
    let isHandled = false
    try {
      const takesMs = this.#handlingMs()
      if (takesMs > 0) await this.#sleep(life, takesMs)
      if (this.spec.listens && how.isOver()) throw new Error('it leaves off')
      if (!this.isCalm && random.fraction() < this.spec.failShare) throw new Error('it fails now and then')
      isHandled = true
    } finally {
      oracle.end(model, handling, isHandled)
    }
    note(name, 'has handled', `${where}:${offset}`)
    this.recordsToLive -= 1
    if (this.recordsToLive <= 0) return this.#dieNow(life)
    onHandled()
    // A stream's message commits itself.
    if (this.spec.commits !== 'inside' || this.spec.handling === 'stream') return
    await this.#commit(life, () => life.consumer.commit({ topic, partition, offset: offset + 1 }))
  }

  async #sleep(life: Life, ms: number): Promise<void> {
    life.sleeping += 1
    await sleep(life.process, ms)
    life.sleeping -= 1
  }

  #handlingMs(): number {
    const { random, group } = this.#parts
    const { handleMs, longShare } = this.spec
    if (!this.isCalm && random.fraction() < longShare) return group.maxPollIntervalMs * 1.5 * random.fraction()
    return handleMs * 2 * random.fraction()
  }

  async #commitNowAndThen(life: Life): Promise<void> {
    while (life.process.isAlive && !life.isEnding) {
      await this.#sleep(life, this.spec.commitEveryMs)
      await this.#commit(life, () => life.consumer.commit())
    }
  }

  /** What is refused is the application's to get over: it is handed the records again. */
  async #commit(life: Life, commit: () => Promise<void>): Promise<void> {
    try {
      await commit()
    } catch (error) {
      if (life.process.isAlive) this.#onError(life, error, ['INVALID_ARGUMENT'])
    }
  }

  /** Between what it has handled and the commit of it. */
  #dieNow(life: Life): Promise<never> {
    this.recordsToLive = Infinity
    this.#parts.processes.scheduler.after(0, () => {
      if (!this.lives.has(life)) return
      this.kill()
      this.startAfter(RESTART_MS)
    })
    return this.#never()
  }

  #never(): Promise<never> {
    return new Promise(() => undefined)
  }

  /** Whoever is fenced ends, where another process has its name; nobody else does. */
  #onFatal(life: Life, error: TidemarkError): void {
    const isExpected = life.isEnding || (error.code === 'FENCED_INSTANCE_ID' && life.isContested)
    if (!isExpected) this.#parts.fail(`${life.name} of ${this.group.name} ended with ${error.code}: ${error.message}`)
    this.#close(life, () => undefined)
  }

  #onThrown(life: Life, error: unknown): void {
    if (!life.process.isAlive || life.isEnding) return
    if (error instanceof TidemarkError && error.fatal) {
      this.#onError(life, error)
      return this.#onFatal(life, error)
    }
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
    this.#parts.fail(`${life.name} of ${this.group.name} threw ${text}`)
  }

  #close(life: Life, onClosed: () => void): void {
    if (life.isEnding) return onClosed()
    life.isEnding = true
    this.#parts.note(life.name, 'closes', '')
    const over = (): void => {
      if (this.life === life) this.life = undefined
      this.#parts.processes.scheduler.after(LINGER_MS, () => this.#endQuiet(life))
      onClosed()
    }
    life.client.close().then(over, (error: unknown) => {
      this.#onError(life, error)
      over()
    })
  }

  /** Who has closed its client has nothing left to do. */
  #endQuiet(life: Life): void {
    const { pendingTimers, isPaused } = life.process
    if (!this.lives.has(life)) return
    if (pendingTimers > life.sleeping && !isPaused)
      this.#parts.fail(`${life.name} is closed and has ${pendingTimers} timers`)
    this.#end(life)
    if (this.#isWanted) this.startAfter(RESTART_MS)
  }

  #end(life: Life): void {
    const { oracle, note } = this.#parts
    if (!this.lives.delete(life)) return
    life.isEnding = true
    note(life.name, 'ends', '')
    life.process.die()
    oracle.leave(life.model)
    if (this.life === life) this.life = undefined
  }

  #onError(life: Life, error: unknown, allowed: readonly ErrorCode[] = []): void {
    if (!(error instanceof TidemarkError)) {
      const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
      return this.#parts.fail(`${life.name} met ${text}`)
    }
    this.errors.set(error.code, (this.errors.get(error.code) ?? 0) + 1)
    this.#parts.note(life.name, 'error', `${error.code} ${error.message}`)
    if (NEVER.has(error.code) && !allowed.includes(error.code)) {
      this.#parts.fail(`${life.name} met ${error.code}: ${error.message}`)
    }
  }

  get #nobody(): SimProcess {
    const process = new SimProcess(`${this.host}.0`, this.#parts.processes)
    process.die()
    return process
  }
}
