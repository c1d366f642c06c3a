// One accepted connection: bytes in, frames out, and the reverse. Recognises the protocol, cuts frames, and decides when
// to stop reading: the rules are those of the window, the budget and the limits; this file asks them and works the socket.
// Knows no message.
//
// Invariants: every byte charged to the budget is given back when the connection has closed; every slice that was to be
// sent is released once; while the connection is stalled its socket is paused.

import type { Counter } from '../metrics/meter.ts'
import type { ConnectionLimits } from './connection-limits.ts'
import type { FrameBufferPool } from '../../shared/protocol/frame-buffer-pool.ts'
import type { BudgetWaiter, MemoryBudget } from './memory-budget.ts'
import type { CloseReason, ProtocolAdapter, ProtocolConnection, ProtocolSession } from './protocol-adapter.ts'
import type { TransportSocket } from './transport.ts'
import type { Turn, TurnMember } from './turn.ts'
import { assert, must } from '../../shared/assert.ts'
import { TidemarkError } from '../../shared/errors.ts'
import { FRAME_BYTES_BEFORE_HELLO_MAX } from '../../shared/limits.ts'
import { FrameDecoder, type FrameSink } from '../../shared/protocol/frame-decoder.ts'
import { readUint32 } from '../../shared/protocol/frame.ts'
import { InFlightWindow } from './in-flight-window.ts'
import type { OutputShare } from './output-share.ts'
import { OutputBuffer } from './output-buffer.ts'

/** What all connections of a listener share. */
export interface ConnectionHost {
  readonly adapters: readonly ProtocolAdapter[]
  readonly limits: ConnectionLimits
  readonly budget: MemoryBudget
  readonly outputShare: OutputShare
  /** For large frames that are arriving: a few peers that never finish theirs must not take what everybody lives on. */
  readonly largeFrameBudget: MemoryBudget
  readonly buffers: FrameBufferPool
  readonly turn: Turn
  readonly throttled: Record<ThrottleReason, Counter>
  /** No adapter recognises these first bytes. */
  onStranger(connection: Connection, start: Uint8Array): void
  /** The broker closes the connection for a fault of the peer. */
  onCutOff(connection: Connection, reason: CloseReason, detail?: string): void
  onClosed(connection: Connection): void
}

export type ThrottleReason = 'in-flight' | 'memory' | 'output'

const PREFACE_BYTES = 4
/** Longer frames are gathered on a budget of their own. The largest batch that is taken by default just stays below. */
const LARGE_FRAME_BYTES = 1024 * 1024 + 64 * 1024

export class Connection implements ProtocolConnection, FrameSink, TurnMember, BudgetWaiter {
  readonly id: number
  readonly remote: string
  readonly remoteAddress: string
  readonly output = new OutputBuffer()
  receivedAt = 0
  readonly #socket: TransportSocket
  readonly #host: ConnectionHost
  readonly #window: InFlightWindow
  readonly #decoder: FrameDecoder
  #state: 'sniffing' | 'open' | 'closing' | 'closed' = 'sniffing'
  #session: ProtocolSession | undefined
  /** The first bytes, while they are fewer than four. */
  #start = new Uint8Array(0)
  #isShaken = false
  #isDraining = false
  #isInTurn = false
  #isReading = true
  #hasEnded = false
  /** Why the connection is not read, and since when. */
  #throttle: ThrottleReason | undefined
  #throttledAt = 0
  /** Bytes that the budget has granted ahead of the decoder's asking. */
  #grantedAhead = 0
  #isWaitingForBudget = false
  #isGivingWay = false
  /** Charged for the requests that are under way. */
  #requestBytes = 0
  /** Charged for the frame that is being gathered. */
  #gatheringBytes = 0
  /** Written to the socket and not taken by the system yet; in order, with what to release then. */
  readonly #written: { readonly bytes: number; readonly releases: readonly (() => void)[] }[] = []
  #writtenBytes = 0
  /** What the common share has been told of. */
  #sharedBytes = 0
  readonly #onWritten = (): void => this.#onFirstWritten()
  /** Moments on the monotonic clock, as the sweep sees them. */
  #openedAt: number
  #activeAt: number
  #frameSince = 0
  #framesAtSweep = 0
  #frames = 0
  #isActive = false

  constructor(socket: TransportSocket, id: number, host: ConnectionHost) {
    this.id = id
    this.remote = socket.remote
    this.remoteAddress = socket.remoteAddress
    this.#socket = socket
    this.#host = host
    this.#window = new InFlightWindow({
      requestsMax: host.limits.inFlightMax,
      bytesMax: host.limits.inFlightBytesMax,
    })
    this.#decoder = new FrameDecoder(this, FRAME_BYTES_BEFORE_HELLO_MAX, host.buffers)
    this.#openedAt = host.turn.now()
    this.#activeAt = this.#openedAt
  }

  /** Begins to read. */
  start(): void {
    this.#socket.start({
      onData: (chunk) => this.#onData(chunk),
      onDrain: () => this.#joinTurn(),
      onClose: () => this.#onSocketClose(),
    })
  }

  get frameBytesMax(): number {
    return this.#decoder.frameBytesMax
  }

  set frameBytesMax(bytes: number) {
    this.#decoder.frameBytesMax = bytes
  }

  /** Bytes of requests and answers that are held for this connection. */
  get heldBytes(): number {
    return this.#requestBytes + this.#gatheringBytes + this.#outputBytes()
  }

  get isQuiet(): boolean {
    return this.#window.requests === 0 && this.#outputBytes() === 0
  }

  now(): number {
    return this.#host.turn.now()
  }

  flushLater(): void {
    this.#joinTurn()
  }

  onHandshakeDone(): void {
    this.#isShaken = true
  }

  onRequestBegun(bytes: number, toldBytes = 0): void {
    this.#window.enter(bytes + toldBytes)
    this.#requestBytes += bytes
    this.#host.budget.charge(bytes)
  }

  onRequestDone(bytes: number, toldBytes = 0): void {
    if (this.#state === 'closed') return
    this.#window.leave(bytes + toldBytes)
    this.#requestBytes -= bytes
    this.#host.budget.release(bytes)
    if (toldBytes > 0 && this.#throttle !== undefined) this.#giveWay()
    else if (this.#throttle !== undefined || this.#isDraining) this.#joinTurn()
  }

  grantOutput(bytesWanted: number): number {
    return this.#window.grantOutput(bytesWanted, this.#outputBytes(), this.#host.outputShare.connectionBytesMax)
  }

  settleOutput(granted: number): void {
    this.#window.settleOutput(granted)
  }

  onReadBegun(granted: number): void {
    this.#window.beginComing(granted)
    this.#tellShare()
  }

  onReadDone(granted: number): void {
    this.#window.endComing(granted)
    this.#tellShare()
    if (this.#throttle === 'output') this.#joinTurn()
  }

  closeAfterFlush(reason: CloseReason, detail?: string): void {
    if (this.#state === 'closing' || this.#state === 'closed') return
    this.#state = 'closing'
    this.#openedAt = this.now()
    if (reason !== 'stopping') this.#host.onCutOff(this, reason, detail)
    this.#joinTurn()
  }

  /** Reads no more, answers what is under way, then closes. */
  drain(): void {
    if (this.#state === 'sniffing') this.#socket.destroy()
    if (this.#state !== 'open' || this.#isDraining) return
    this.#isDraining = true
    this.#session?.onDrain()
    this.#joinTurn()
  }

  destroy(): void {
    this.#socket.destroy()
  }

  /** Looks after everything that takes too long; called for all connections by one timer. */
  sweep(now: number): void {
    const { limits } = this.#host
    if (this.#isActive) this.#activeAt = now
    this.#isActive = false
    if (this.#state === 'closing') {
      if (now - this.#openedAt >= limits.lingerMs) this.#socket.destroy()
      return
    }
    if (!this.#isShaken && now - this.#openedAt >= limits.handshakeMs) return this.#cutOff('handshake-timeout')
    this.#sweepFrame(now)
    if (now - this.#activeAt < limits.idleMs) return
    if (this.#outputBytes() > 0) this.#cutOff('stalled')
    else if (this.#window.requests === 0) this.#cutOff('idle')
  }

  onTurnEnd(): void {
    this.#isInTurn = false
    if (this.#state === 'closed') return
    if (this.#throttle !== undefined && this.#state === 'open') this.#maybeResume()
    this.#flush()
    if (this.#isDraining && this.#state === 'open' && this.isQuiet) this.closeAfterFlush('stopping')
    else if (this.#state === 'closing' && !this.#hasEnded) this.#beginClosing()
  }

  onFrame(frame: Uint8Array): boolean {
    this.#frames += 1
    must(this.#session, 'frames come after the preface').onFrame(frame)
    return this.#mayGoOn()
  }

  reserve(bytes: number): boolean {
    // What was granted is for this very frame: the decoder begins again where it was refused.
    if (this.#grantedAhead > 0) {
      assert(this.#grantedAhead === bytes, 'what is granted is what was asked for')
      this.#grantedAhead = 0
    } else if (!this.#budgetFor(bytes).tryReserve(bytes)) {
      this.#waitForBudget(bytes)
      return false
    }
    this.#gatheringBytes = bytes
    return true
  }

  release(bytes: number): void {
    this.#gatheringBytes = 0
    this.#budgetFor(bytes).release(bytes)
  }

  onGranted(bytes: number): void {
    this.#isWaitingForBudget = false
    this.#grantedAhead = bytes
    this.#joinTurn()
  }

  #onData(chunk: Uint8Array): void {
    this.#isActive = true
    if (this.#state === 'open' && !this.#isDraining) {
      this.receivedAt = this.now()
      this.#push(chunk)
    } else if (this.#state === 'sniffing') {
      this.#sniff(chunk)
    }
  }

  #sniff(chunk: Uint8Array): void {
    const start = Buffer.concat([this.#start, chunk])
    if (start.length < PREFACE_BYTES) {
      this.#start = start
      return
    }
    const first = readUint32(start, 0)
    for (const adapter of this.#host.adapters) {
      const recognised = adapter.recognise(first)
      if (recognised === undefined) continue
      this.#state = 'open'
      this.#start = new Uint8Array(0)
      this.#session = adapter.open(this)
      this.receivedAt = this.now()
      this.#push(recognised === 'preface' ? start.subarray(PREFACE_BYTES) : start)
      return
    }
    this.#host.onStranger(this, start)
    this.#socket.destroy()
  }

  #push(chunk: Uint8Array | undefined): void {
    try {
      if (chunk === undefined) this.#decoder.resume()
      else this.#decoder.push(chunk)
    } catch (error) {
      if (!(error instanceof TidemarkError)) throw error
      this.#session?.onUnreadable(error)
      this.closeAfterFlush('malformed')
    }
    if (this.#decoder.isStalled && this.#isReading) {
      this.#isReading = false
      this.#socket.pause()
    }
  }

  /** Whether another frame may be handled now; says why not in `#throttle`. */
  #mayGoOn(): boolean {
    if (this.#state !== 'open' || this.#isDraining) return false
    if (!this.#window.hasRoom) return this.#stall('in-flight')
    if (this.#comingOutputBytes() > this.#host.outputShare.connectionBytesMax) return this.#stall('output')
    // What was granted ahead is for the very next frame, and may be all that the budget has.
    if (this.#grantedAhead === 0 && this.#host.budget.isExhausted) {
      this.#waitForBudget(0)
      return false
    }
    return true
  }

  #stall(reason: ThrottleReason): false {
    this.#throttle = reason
    this.#throttledAt = this.now()
    return false
  }

  #waitForBudget(bytes: number): void {
    this.#stall('memory')
    if (this.#isWaitingForBudget) return
    this.#isWaitingForBudget = true
    this.#budgetFor(bytes).wait(bytes, this)
  }

  #budgetFor(bytes: number): MemoryBudget {
    return bytes > LARGE_FRAME_BYTES ? this.#host.largeFrameBudget : this.#host.budget
  }

  /** What takes long goes on when others have had their turn: it would go from one to the next for ever. */
  #giveWay(): void {
    if (this.#isGivingWay) return
    this.#isGivingWay = true
    this.#host.turn.afterOthers(() => {
      this.#isGivingWay = false
      this.#joinTurn()
    })
  }

  #maybeResume(): void {
    if (this.#isGivingWay) return
    const { outputShare, throttled } = this.#host
    const reason = must(this.#throttle, 'only what is throttled goes on')
    if (reason === 'in-flight' && !this.#window.hasRoom) return
    if (reason === 'memory' && this.#isWaitingForBudget) return
    // Low water: half of the cap, so that a reader just at the cap is not woken for each of its reads.
    if (reason === 'output' && this.#comingOutputBytes() > outputShare.connectionBytesMax / 2) return
    throttled[reason].add((this.now() - this.#throttledAt) / 1_000)
    this.#throttle = undefined
    if (!this.#mayGoOn()) return
    this.#push(undefined)
    if (this.#decoder.isStalled || this.#isReading || this.#state !== 'open') return
    this.#isReading = true
    this.#socket.resume()
  }

  #outputBytes(): number {
    return this.output.bytes + this.#writtenBytes
  }

  /** With what is being read from the disk: a peer that asks and does not read must not fill the memory in between. */
  #comingOutputBytes(): number {
    return this.#outputBytes() + this.#window.comingBytes
  }

  /** Tells how much of the common share this connection holds now. */
  #tellShare(): void {
    const bytes = this.#state === 'closed' ? 0 : this.#comingOutputBytes()
    this.#host.outputShare.change(bytes - this.#sharedBytes)
    this.#sharedBytes = bytes
  }

  #joinTurn(): void {
    if (this.#isInTurn || this.#state === 'closed') return
    this.#isInTurn = true
    this.#host.turn.join(this)
  }

  #flush(): void {
    if (this.output.isEmpty) return
    const { buffers, bytes, releases } = this.output.take()
    if (this.#hasEnded) {
      for (const release of releases) release()
      return
    }
    this.#written.push({ bytes, releases })
    this.#writtenBytes += bytes
    this.#tellShare()
    this.#socket.write(buffers, this.#onWritten)
  }

  #onFirstWritten(): void {
    const first = this.#written.shift()
    if (first === undefined) return
    this.#isActive = true
    this.#writtenBytes -= first.bytes
    this.#tellShare()
    for (const release of first.releases) release()
    if (this.#throttle !== undefined || this.#isDraining) this.#joinTurn()
  }

  // The end of the stream follows the last answer. What the peer still sends is read and dropped for a while: a socket
  // that is closed with unread bytes resets the connection, and the peer would lose the answer that says why.
  #beginClosing(): void {
    this.#hasEnded = true
    this.#socket.end()
    this.#giveUpThrottle()
    this.#socket.resume()
  }

  #sweepFrame(now: number): void {
    const isHalfway = this.#state === 'open' && !this.#decoder.isAtBoundary && this.#throttle === undefined
    if (!isHalfway || this.#frames !== this.#framesAtSweep || this.#frameSince === 0) {
      this.#framesAtSweep = this.#frames
      this.#frameSince = isHalfway ? now : 0
      return
    }
    if (now - this.#frameSince >= this.#host.limits.frameMs) this.#cutOff('frame-timeout')
  }

  #cutOff(reason: CloseReason): void {
    this.#host.onCutOff(this, reason)
    this.#socket.destroy()
  }

  #giveUpThrottle(): void {
    this.#host.budget.leave(this)
    this.#host.largeFrameBudget.leave(this)
    this.#isWaitingForBudget = false
    if (this.#grantedAhead > 0) this.#budgetFor(this.#grantedAhead).release(this.#grantedAhead)
    this.#grantedAhead = 0
    this.#throttle = undefined
  }

  #onSocketClose(): void {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    this.#decoder.close()
    this.#giveUpThrottle()
    this.#session?.onClose()
    this.#host.budget.release(this.#requestBytes)
    for (const { releases } of this.#written) for (const release of releases) release()
    this.#written.length = 0
    for (const release of this.output.take().releases) release()
    this.#tellShare()
    this.#host.onClosed(this)
  }
}
