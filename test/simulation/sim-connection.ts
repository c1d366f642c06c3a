// One simulated connection: two ends and a stream of bytes in each direction, in order and without loss until it breaks.
// Owns what lies between a write and the read at the other side: what the sender holds, what is on its way, what waits to
// be read, each bounded as in a kernel.
//
// Means to be nastier than a real one: bytes are taken from a written buffer only later, so that a buffer that is used
// again too early shows; a chunk that was read is overwritten after the call; frames are cut anywhere, and joined.

import type { SocketHandlers } from '../../broker/network/transport.ts'
import { must } from '../../shared/assert.ts'
import { crc32c } from '../../shared/crc32c.ts'
import type { Random } from '../../shared/random.ts'
import type { Scheduler } from './scheduler.ts'
import type { SimProcess } from './sim-process.ts'

export interface NetworkProfile {
  /** Of one segment on its way, milliseconds. */
  readonly latencyMs: (random: Random) => number
  /** Arrivals fall on multiples of this, so that several come in one turn; 0 for none. */
  readonly grainMs: number
  /** Bytes of a segment, at most. */
  readonly segmentBytesMax: number
  /** Bytes that one read of a socket gives, at most. */
  readonly readBytesMax: number
  /** Bytes on their way or waiting to be read, in one direction of one connection. */
  readonly windowBytes: number
}

/** The network that a connection goes through. */
export interface ConnectionWay {
  readonly scheduler: Scheduler
  readonly random: Random
  readonly profile: NetworkProfile
  isCut(from: string, to: string): boolean
  isDark(host: string): boolean
  onNextHeal(callback: () => void): void
  /** When a segment that is sent now arrives, if nothing else is in its way. */
  arrivalMs(): number
  note(who: string, what: string, details: string): void
  forget(connection: SimConnection): void
}

/** Above this a write answers false, as a stream of Node does. */
const HIGH_WATER_BYTES = 16 * 1024
const USED_UP = 0xa5
/** What lies between two processes runs nothing of either. */
const IS_QUIET = true

type Segment =
  { readonly kind: 'bytes'; readonly bytes: Uint8Array } | { readonly kind: 'end' } | { readonly kind: 'reset' }

interface Written {
  readonly bytes: Uint8Array
  taken: number
  readonly onWritten: (() => void) | undefined
}

export class SimConnection {
  readonly id: number
  readonly from: string
  readonly to: string
  readonly client: SimEnd
  readonly server: SimEnd
  /** How fast bytes go, in both directions. */
  bytesPerMs = Infinity

  constructor(network: ConnectionWay, id: number, way: { readonly from: string; readonly to: string }) {
    this.id = id
    this.from = way.from
    this.to = way.to
    this.client = new SimEnd(network, this, way.from)
    this.server = new SimEnd(network, this, way.to)
    this.client.other = this.server
    this.server.other = this.client
  }

  get name(): string {
    return `#${this.id}`
  }

  /** Both ends learn, each after its time, that the connection is gone; nothing that is on its way arrives. */
  reset(): void {
    for (const end of [this.client, this.server]) end.breakOff()
  }

  /** A host has gone dark: its end is no more, and the other one is not told. */
  onHostGone(host: string): void {
    if (this.from === host) this.client.vanish()
    if (this.to === host) this.server.vanish()
  }

  onHostBack(host: string): void {
    if (this.from === host) this.server.onOtherBack()
    if (this.to === host) this.client.onOtherBack()
  }
}

export class SimEnd {
  readonly #network: ConnectionWay
  readonly #connection: SimConnection
  readonly #host: string
  #other: SimEnd | undefined
  #process: SimProcess | undefined
  #handlers: SocketHandlers | undefined
  /** 'none' until it is accepted; 'gone' with its host, untold. */
  #state: 'none' | 'open' | 'closed' | 'gone' = 'none'
  #isReading = true
  #isReadScheduled = false
  #received: Uint8Array[] = []
  #receivedBytes = 0
  #hasEndArrived = false
  #writes: Written[] = []
  #writtenBytes = 0
  #isTakeScheduled = false
  #wantsDrain = false
  #isEnding = false
  #hasSentEnd = false
  /** On the way to the other end, or there and not read. */
  #windowUsed = 0
  #lastArrivalMs = 0
  /** Grows when what is on its way is lost. */
  #era = 0
  /** Nothing goes out or comes in any more, though the process has not been told yet. */
  #isBroken = false
  /** Something was sent to a host without power. */
  #isUnheard = false
  /** Arrived where the way was cut; in order. */
  readonly #held: Segment[] = []

  constructor(network: ConnectionWay, connection: SimConnection, host: string) {
    this.#network = network
    this.#connection = connection
    this.#host = host
  }

  set other(end: SimEnd) {
    this.#other = end
  }

  get other(): SimEnd {
    return must(this.#other, 'a connection has two ends')
  }

  get isClosed(): boolean {
    return this.#state === 'closed' || this.#state === 'gone'
  }

  get bufferedBytes(): number {
    return this.#writtenBytes
  }

  open(process: SimProcess): void {
    this.#process = process
    this.#state = 'open'
  }

  attach(process: SimProcess, handlers: SocketHandlers): void {
    this.open(process)
    this.handle(handlers)
  }

  handle(handlers: SocketHandlers): void {
    this.#handlers = handlers
    this.#readLater()
  }

  pause(): void {
    this.#isReading = false
  }

  resume(): void {
    this.#isReading = true
    this.#readLater()
  }

  write(buffers: readonly Uint8Array[], onWritten?: () => void): boolean {
    if (this.#state !== 'open' || this.#isEnding) return true
    for (const [index, bytes] of buffers.entries()) {
      this.#writes.push({ bytes, taken: 0, onWritten: index === buffers.length - 1 ? onWritten : undefined })
      this.#writtenBytes += bytes.length
    }
    this.#takeLater()
    if (this.#writtenBytes < HIGH_WATER_BYTES) return true
    this.#wantsDrain = true
    return false
  }

  end(): void {
    if (this.#state !== 'open' || this.#isEnding) return
    this.#isEnding = true
    this.#takeLater()
  }

  destroy(): void {
    this.#close(undefined, this.#receivedBytes > 0 ? 'reset' : 'end')
  }

  fail(error: Error): void {
    this.#close(error, undefined)
  }

  /** The kernel closes what a process leaves open. */
  onProcessDeath(isAbrupt: boolean): void {
    if (this.#state === 'open') this.#close(undefined, isAbrupt || this.#receivedBytes > 0 ? 'reset' : 'end')
  }

  breakOff(): void {
    this.#era += 1
    this.#held.length = 0
    if (this.#state !== 'open' || this.#isBroken) return
    this.#isBroken = true
    this.#network.scheduler.at(this.#network.arrivalMs(), () => {
      this.#close(socketError('ECONNRESET', `read ${this.#connection.name}`), undefined)
    })
  }

  /** What is sent again to a host that has come back is answered by a reset. */
  onOtherBack(): void {
    if (this.#isUnheard) this.breakOff()
  }

  vanish(): void {
    this.#era += 1
    this.#held.length = 0
    this.#forgetAll()
    this.#state = 'gone'
    if (this.other.isClosed) this.#network.forget(this.#connection)
  }

  #close(error: Error | undefined, farewell: 'end' | 'reset' | undefined): void {
    if (this.#state !== 'open') return
    this.#state = 'closed'
    if (farewell !== undefined && !(farewell === 'end' && this.#hasSentEnd)) this.#send({ kind: farewell })
    this.#forgetAll()
    const handlers = this.#handlers
    const process = this.#process
    this.#network.scheduler.after(0, () => {
      process?.run('close', `${this.#connection.name} ${error?.message ?? ''}`, () => handlers?.onClose(error))
    })
    if (this.other.isClosed) this.#network.forget(this.#connection)
  }

  #forgetAll(): void {
    this.#writes = []
    this.#writtenBytes = 0
    this.#received = []
    this.#receivedBytes = 0
  }

  /** The kernel takes from what was written as much as there is room for, a little later. */
  #takeLater(): void {
    if (this.#isTakeScheduled) return
    this.#isTakeScheduled = true
    this.#network.scheduler.after(0, this.#takeNow, IS_QUIET)
  }

  readonly #takeNow = (): void => {
    this.#isTakeScheduled = false
    if (this.#state === 'open') this.#take()
  }

  #take(): void {
    const { windowBytes, segmentBytesMax } = this.#network.profile
    while (this.#writes.length > 0 && this.#windowUsed < windowBytes) {
      const room = Math.min(segmentBytesMax, windowBytes - this.#windowUsed)
      const bytes = this.#takeSegment(Math.min(this.#writtenBytes, 1 + this.#network.random.integer(room)))
      if (bytes.length > 0) this.#send({ kind: 'bytes', bytes })
    }
    if (this.#writes.length > 0) return
    if (this.#wantsDrain) {
      this.#wantsDrain = false
      this.#tell('drain', () => this.#handlers?.onDrain())
    }
    if (this.#isEnding && !this.#hasSentEnd) {
      this.#hasSentEnd = true
      this.#send({ kind: 'end' })
      this.#maybeFinish()
    }
  }

  /** So many bytes of what was written, of several writes if it must be, and whatever was written empty. */
  #takeSegment(count: number): Uint8Array {
    const segment = new Uint8Array(count)
    let length = 0
    for (let first = this.#writes[0]; first !== undefined; first = this.#writes[0]) {
      // Taken now: whatever the owner does with the memory afterwards is too late.
      const taken = first.bytes.subarray(first.taken, first.taken + count - length)
      segment.set(taken, length)
      length += taken.length
      first.taken += taken.length
      if (first.taken < first.bytes.length) break
      this.#writes.shift()
      const { onWritten } = first
      if (onWritten !== undefined) this.#tell('written', () => onWritten())
    }
    this.#writtenBytes -= length
    return segment
  }

  #tell(what: string, callback: () => void): void {
    this.#network.scheduler.after(0, () => {
      this.#process?.run(what, this.#connection.name, () => {
        if (this.#state === 'open') callback()
      })
    })
  }

  #send(segment: Segment): void {
    if (this.#isBroken) return
    const { scheduler } = this.#network
    let atMs = Math.max(this.#network.arrivalMs(), this.#lastArrivalMs)
    if (segment.kind === 'bytes') {
      this.#windowUsed += segment.bytes.length
      atMs += segment.bytes.length / this.#connection.bytesPerMs
    }
    this.#lastArrivalMs = atMs
    const era = this.#era
    const arrive = (): void => {
      if (era === this.#era) this.#arrive(segment)
    }
    scheduler.at(atMs, arrive, IS_QUIET)
  }

  #arrive(segment: Segment): void {
    const network = this.#network
    const to = this.other.#host
    if (network.isDark(to)) {
      this.#isUnheard = true
      return
    }
    if (!network.isCut(this.#host, to) && this.#held.length === 0) {
      this.other.#receive(segment)
      return
    }
    this.#held.push(segment)
    if (this.#held.length > 1) return
    const retry = (): void => {
      if (network.isCut(this.#host, to)) {
        network.onNextHeal(retry)
        return
      }
      const era = this.#era
      network.scheduler.at(network.arrivalMs(), () => {
        if (era !== this.#era) return
        for (const held of this.#held.splice(0)) this.other.#receive(held)
      })
    }
    network.onNextHeal(retry)
  }

  #receive(segment: Segment): void {
    if (this.#isBroken) return
    const { kind } = segment
    const details = kind === 'bytes' ? `${segment.bytes.length} ${crc32c(segment.bytes).toString(16)}` : ''
    this.#network.note(this.#host, kind, `${this.#connection.name} ${details}`)
    if (this.#state !== 'open') {
      // Nobody is there any more, and says so.
      if (kind === 'bytes' && !this.other.isClosed) this.#send({ kind: 'reset' })
      return
    }
    if (kind === 'bytes') {
      this.#received.push(segment.bytes)
      this.#receivedBytes += segment.bytes.length
      this.#readLater()
    } else if (kind === 'end') {
      this.#hasEndArrived = true
      this.#readLater()
    } else {
      this.#close(socketError('ECONNRESET', `read ${this.#connection.name}`), undefined)
    }
  }

  #readLater(): void {
    if (this.#isReadScheduled || !this.#isReading || this.#handlers === undefined) return
    if (this.#receivedBytes === 0 && !this.#hasEndArrived) return
    this.#isReadScheduled = true
    this.#network.scheduler.after(0, () => {
      this.#process?.run('read', this.#connection.name, () => {
        this.#isReadScheduled = false
        if (this.#state === 'open' && this.#isReading) this.#read()
      })
    })
  }

  #read(): void {
    if (this.#receivedBytes === 0) {
      this.#onEnd()
      return
    }
    const { readBytesMax } = this.#network.profile
    const all = this.#received.length === 1 ? must(this.#received[0], 'there is one') : Buffer.concat(this.#received)
    const chunk = Buffer.allocUnsafeSlow(Math.min(all.length, readBytesMax))
    chunk.set(all.subarray(0, chunk.length))
    this.#received = chunk.length === all.length ? [] : [all.subarray(chunk.length)]
    this.#receivedBytes -= chunk.length
    this.other.#onRead(chunk.length)
    try {
      this.#handlers?.onData(chunk)
    } finally {
      chunk.fill(USED_UP)
    }
    this.#readLater()
  }

  /** The other side has read: there is room for more. */
  #onRead(bytes: number): void {
    this.#windowUsed -= bytes
    if (this.#state === 'open' && this.#writes.length > 0) this.#takeLater()
  }

  /** A socket whose other side has ended ends too, as Node's do. */
  #onEnd(): void {
    this.end()
    this.#maybeFinish()
  }

  #maybeFinish(): void {
    if (this.#hasSentEnd && this.#hasEndArrived && this.#receivedBytes === 0) this.#close(undefined, undefined)
  }
}

export function socketError(code: string, what: string): Error {
  return Object.assign(new Error(`${what}: ${code}`), { code })
}
