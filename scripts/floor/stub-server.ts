// The network and the native protocol with next to nothing behind them: checks the batches, appends what came in a turn to
// a file with one write, answers. Tells what a request costs before it reaches a log. Run as a child by bench-floor --stub.

import { fsyncSync, openSync, readSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import type {
  FetchOutcome,
  FetchRequest,
  PendingFetch,
  ProduceOutcome,
  ProduceRequest,
  RequestContext,
  Requests,
} from '../../broker/requests/requests.ts'
import { SlotMeter } from '../../broker/metrics/meter.ts'
import { CONNECTION_LIMITS } from '../../broker/network/connection-limits.ts'
import { Listener } from '../../broker/network/listener.ts'
import { NodeTransport } from '../../broker/network/node-transport.ts'
import { NativeAdapter } from '../../broker/protocols/native/native-adapter.ts'
import { TidemarkError } from '../../shared/errors.ts'
import { offset } from '../../shared/ids.ts'
import { silentLogger } from '../../shared/logger.ts'
import { checkBatch, recordCountAt } from '../../shared/record-batch/header.ts'
import { systemClock, systemTimers } from '../../shared/time.ts'

const STAGE_BYTES = 1024 * 1024
const directory = process.argv[2] ?? '.'
const file = openSync(join(directory, 'stub.log'), 'w+')

class FileRequests implements Requests {
  readonly #stage = Buffer.allocUnsafeSlow(STAGE_BYTES)
  #staged = 0
  #written = 0
  #nextOffset = 0
  #answers: (() => void)[] = []
  #isScheduled = false
  #sync = false
  readonly #free: Buffer[] = []

  produce(
    request: ProduceRequest,
    _context: RequestContext,
    respond: (outcomes: readonly ProduceOutcome[]) => void,
  ): void {
    const outcomes: ProduceOutcome[] = []
    for (const { records, topic } of request.partitions) {
      const fault = checkBatch(records, 0, records.length)
      if (fault !== undefined) throw new Error(fault.message)
      if (topic.includes('fsync')) this.#sync = true
      if (this.#staged + records.length > STAGE_BYTES) this.#write()
      this.#stage.set(records, this.#staged)
      this.#staged += records.length
      const baseOffset = offset(this.#nextOffset)
      this.#nextOffset += recordCountAt(records, 0)
      outcomes.push({ refusal: undefined, baseOffset, logStartOffset: offset(0), logAppendTime: undefined })
    }
    this.#answers.push(() => respond(outcomes))
    if (this.#isScheduled) return
    this.#isScheduled = true
    systemTimers.atEndOfTurn(() => this.#endTurn())
  }

  fetch(
    request: FetchRequest,
    _context: RequestContext,
    respond: (outcomes: readonly FetchOutcome[]) => void,
  ): PendingFetch {
    const bytes = Math.min(request.maxBytes, this.#written)
    const buffer = this.#free.pop() ?? Buffer.allocUnsafeSlow(2 * 1024 * 1024)
    readSync(file, buffer, 0, bytes, 0)
    const records = { bytes: buffer.subarray(0, bytes), release: () => void this.#free.push(buffer) }
    const highWatermark = offset(this.#nextOffset)
    respond([{ index: 0, refusal: undefined, highWatermark, logStartOffset: offset(0), records }])
    return { cancel: () => undefined }
  }

  replicaFetch(): never {
    throw new TidemarkError('INVALID_REQUEST', 'nobody follows a stub')
  }

  ask(): Promise<never> {
    return Promise.resolve({ topics: [], partitions: [] } as never)
  }

  #endTurn(): void {
    this.#isScheduled = false
    this.#write()
    if (this.#sync) fsyncSync(file)
    this.#sync = false
    const answers = this.#answers
    this.#answers = []
    for (const answer of answers) answer()
  }

  #write(): void {
    if (this.#staged === 0) return
    writeSync(file, this.#stage, 0, this.#staged, this.#written % (1024 * 1024 * 1024))
    this.#written += this.#staged
    this.#staged = 0
  }
}

const meter = new SlotMeter()
const identity = { brokerId: 1, cluster: 'stub', software: 'stub', rack: undefined }
const adapter = new NativeAdapter({
  requests: new FileRequests(),
  identity: () => identity,
  logger: silentLogger,
  meter,
  limits: CONNECTION_LIMITS,
})
const listener = new Listener({
  transport: new NodeTransport({ sharedBuffer: !process.argv.includes('--plain') }),
  host: '127.0.0.1',
  port: 0,
  adapters: [adapter],
  clock: systemClock,
  timers: systemTimers,
  logger: silentLogger,
  meter,
})
const { port } = await listener.start()
console.log(`tidemark ready listen=127.0.0.1:${port}`)
process.on('SIGTERM', () => process.exit(0))
