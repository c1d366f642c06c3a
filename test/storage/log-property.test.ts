// A partition log against the simplest model of it: a list of records. Whatever is done to it in whatever order, it reads
// what the model says. fast-check prints the seed of a failure and the shortest list of steps that shows it.

import fc from 'fast-check'
import { describe, it } from 'vitest'
import { MemoryDisk } from '../../broker/storage/memory-disk.ts'
import { parseTopicConfig } from '../../broker/storage/log-config.ts'
import { createLog, openLog } from '../../broker/storage/log-opening.ts'
import type { PartitionLog } from '../../broker/storage/partition-log.ts'
import { recoverLog } from '../../broker/storage/recovery.ts'
import type { StorageContext } from '../../broker/storage/storage-context.ts'
import { createStorageContext } from '../../broker/storage/storage-context.ts'
import { TidemarkError } from '../../shared/errors.ts'
import { at, batch, DIRECTORY, epoch, NOW, recordsIn, SetClock, time } from './log-fixture.ts'

const CONFIG = parseTopicConfig({
  'segment.bytes': '1024',
  'segment.ms': '100000',
  'retention.bytes': '3000',
  'retention.ms': '1000000',
  'index.interval.bytes': '200',
})
const PRODUCER = 4711

type Step =
  | { readonly kind: 'append'; readonly sizes: readonly number[]; readonly isNumbered: boolean }
  | { readonly kind: 'append-again'; readonly back: number }
  | { readonly kind: 'write' | 'sync' | 'retention' | 'reopen' | 'kill' | 'snapshot' | 'new-epoch' }
  | { readonly kind: 'read'; readonly share: number; readonly maxBytes: number }
  | { readonly kind: 'find-time'; readonly share: number }
  | { readonly kind: 'trim' | 'cut'; readonly share: number }
  | { readonly kind: 'pass-time'; readonly ms: number }

const share = fc.double({ min: 0, max: 1, noNaN: true })
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('append' as const),
      sizes: fc.array(fc.integer({ min: 0, max: 300 }), { minLength: 1, maxLength: 4 }),
      isNumbered: fc.boolean(),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('append-again' as const), back: fc.integer({ min: 0, max: 6 }) }),
  },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('write' as const) }) },
  {
    weight: 5,
    arbitrary: fc.record({ kind: fc.constant('read' as const), share, maxBytes: fc.integer({ min: 1, max: 3_000 }) }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('find-time' as const), share }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('trim' as const, 'cut' as const), share }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('pass-time' as const), ms: fc.integer({ min: 0, max: 80_000 }) }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constantFrom(
        'sync' as const,
        'retention' as const,
        'reopen' as const,
        'kill' as const,
        'snapshot' as const,
        'new-epoch' as const,
      ),
    }),
  },
)

interface Sent {
  readonly bytes: Uint8Array
  readonly baseOffset: number
  readonly endOffset: number
  readonly sequence: number
  mayBeForgotten: boolean
}

interface Known {
  readonly offset: number
  readonly value: string
  readonly timestamp: number
}

class Play {
  readonly #disk: MemoryDisk
  readonly #clock = new SetClock()
  #context: StorageContext
  #log: PartitionLog
  #records: Known[] = []
  #staged: Known[] = []
  #start = 0
  #epoch = 0
  #nextSequence = 0
  #nextValue = 0
  /** Batches of the idempotent producer that stand in the log, oldest first. */
  #sent: Sent[] = []

  constructor(hotTailBytes: number) {
    this.#disk = new MemoryDisk(this.#clock)
    this.#options = { hotTailBytes, indexBytes: 300, openFilesMax: 2 }
    this.#context = createStorageContext(this.#disk, this.#options)
    this.#log = createLog(this.#context, DIRECTORY, CONFIG)
  }

  readonly #options: { hotTailBytes: number; indexBytes: number; openFilesMax: number }

  async run(steps: readonly Step[]): Promise<void> {
    for (const each of steps) {
      await this.#do(each)
      this.#compareOffsets()
    }
    this.#write()
    await this.#compareAll()
  }

  async #do(each: Step): Promise<void> {
    switch (each.kind) {
      case 'append':
        return this.#append(each.sizes, each.isNumbered)
      case 'append-again':
        return this.#appendAgain(each.back)
      case 'write':
        return this.#write()
      case 'sync':
        await this.#log.sync()
        return
      case 'read':
        return this.#read(this.#offsetOf(each.share), each.maxBytes)
      case 'find-time':
        return this.#findTime(each.share)
      case 'trim':
        await this.#log.advanceLogStartOffset(at(Math.min(this.#offsetOf(each.share), this.#log.writtenEndOffset)))
        this.#start = this.#log.logStartOffset
        return
      case 'retention': {
        await this.#log.applyRetention(this.#clock.now())
        if (this.#log.logStartOffset < this.#start) throw new Error('the log start went back')
        this.#start = this.#log.logStartOffset
        return
      }
      case 'cut':
        return this.#cut(this.#offsetOf(each.share))
      case 'pass-time':
        this.#clock.ms += each.ms
        return
      case 'snapshot':
        this.#log.snapshotProducers(this.#clock.now())
        return
      case 'new-epoch':
        this.#epoch++
        return
      case 'reopen':
        return this.#reopen()
      case 'kill':
        return this.#kill()
    }
  }

  #append(sizes: readonly number[], isNumbered: boolean): void {
    const baseOffset = this.#log.logEndOffset
    const timestamp = this.#clock.ms
    const values = sizes.map((size) => `${this.#nextValue++} `.padEnd(size, 'x'))
    const bytes = isNumbered
      ? batch(values, { timestamp, producerId: PRODUCER, producerEpoch: 0, baseSequence: this.#nextSequence })
      : batch(values, { timestamp })
    const result = this.#log.append(bytes, epoch(this.#epoch), this.#clock.now())
    if (bytes.length > CONFIG.segmentBytes) {
      if (result.kind !== 'refused' || result.error !== 'RECORD_LIST_TOO_LARGE') throw new Error('not refused')
      return
    }
    const endOffset = baseOffset + values.length
    expectEqual(result, { kind: 'appended', baseOffset, endOffset, logAppendTime: undefined })
    for (const [index, value] of values.entries()) this.#staged.push({ offset: baseOffset + index, value, timestamp })
    if (!isNumbered) return
    this.#sent.push({ bytes, baseOffset, endOffset, sequence: this.#nextSequence, mayBeForgotten: false })
    this.#nextSequence += values.length
  }

  #appendAgain(back: number): void {
    const sent = this.#sent[this.#sent.length - 1 - back]
    if (sent === undefined) return
    const result = this.#log.append(sent.bytes, epoch(this.#epoch), this.#clock.now())
    const isRefused = result.kind === 'refused' && result.error === 'DUPLICATE_SEQUENCE_NUMBER'
    if (sent.mayBeForgotten && isRefused) return
    if (back < 5) expectEqual(result, { kind: 'duplicate', baseOffset: sent.baseOffset, endOffset: sent.endOffset })
    else if (!isRefused) throw new Error('not refused')
  }

  /** What ends above the offset is gone. What it had pushed out of the last five need not come back. */
  #unsend(endOffset: number): void {
    for (const sent of this.#sent.slice(0, -5)) sent.mayBeForgotten = true
    this.#sent = this.#sent.filter((sent) => sent.endOffset <= endOffset)
  }

  #write(): void {
    const failure = this.#log.write()
    if (failure !== undefined) throw failure
    this.#records.push(...this.#staged)
    this.#staged = []
  }

  async #read(from: number, maxBytes: number): Promise<void> {
    const end = this.#log.writtenEndOffset
    if (from < this.#start) {
      const error: unknown = await this.#log.read(at(from), maxBytes, end).then(
        () => undefined,
        (failure: unknown) => failure,
      )
      if (!(error instanceof TidemarkError) || error.code !== 'OFFSET_OUT_OF_RANGE') throw new Error('not refused')
      return
    }
    const slice = await this.#log.read(at(from), maxBytes, end)
    const read = recordsIn(slice.bytes).filter(([offset]) => offset >= from)
    const expected = this.#records
      .filter((record) => record.offset >= from && record.offset < slice.endOffset)
      .map((record) => [record.offset, record.value])
    expectEqual(read, expected)
    if (from < end && slice.endOffset <= from) throw new Error('a read did not get on')
    slice.release()
  }

  async #findTime(part: number): Promise<void> {
    const timestamp = NOW + Math.floor(part * (this.#clock.ms - NOW + 10))
    const found = await this.#log.offsetForTimestamp(time(timestamp))
    const expected = this.#records.find((record) => record.offset >= this.#start && record.timestamp >= timestamp)
    expectEqual(found, expected === undefined ? undefined : { offset: expected.offset, timestamp: expected.timestamp })
  }

  async #cut(offset: number): Promise<void> {
    this.#write()
    if (offset < this.#start) return
    await this.#log.truncateTo(at(offset), this.#clock.now(), () => Promise.resolve())
    const end = this.#log.logEndOffset
    if (end > Math.max(offset, this.#start)) throw new Error(`cut at ${offset}, but the end is ${end}`)
    this.#records = this.#records.filter((record) => record.offset < end)
    this.#start = this.#log.logStartOffset
    this.#unsend(end)
    const last = this.#sent[this.#sent.length - 1]
    if (last === undefined) {
      // Nothing is known of the producer any more, so it may go on where it is; make it begin with what it sends next.
      this.#sent = []
    } else {
      const batchSize = last.endOffset - last.baseOffset
      this.#nextSequence = last.sequence + batchSize
    }
  }

  async #reopen(): Promise<void> {
    this.#write()
    const clean = await this.#log.closeClean(this.#clock.now())
    if (clean === undefined) throw new Error('not closed clean')
    this.#context.files.closeIdle()
    this.#context = createStorageContext(this.#disk, this.#options)
    this.#log = openLog(this.#context, DIRECTORY, CONFIG, clean)
    await this.#compareAll()
  }

  async #kill(): Promise<void> {
    // What is only staged is gone, and with it what the producer has sent of it.
    const point = this.#log.checkpoint()
    const end = this.#log.writtenEndOffset
    this.#staged = []
    this.#unsend(end)
    const last = this.#sent[this.#sent.length - 1]
    if (last !== undefined) this.#nextSequence = last.sequence + (last.endOffset - last.baseOffset)
    this.#log.close()
    this.#context = createStorageContext(this.#disk, this.#options)
    const { log, report } = await recoverLog({
      context: this.#context,
      directory: DIRECTORY,
      config: CONFIG,
      recoveryPoint: point.recoveryPoint,
      logStartOffset: point.logStartOffset,
      kernelLived: true,
      now: this.#clock.now(),
    })
    if (report.truncatedBytes > 0 || report.quarantined.length > 0) throw new Error(JSON.stringify(report))
    this.#log = log
    await this.#compareAll()
  }

  #compareOffsets(): void {
    expectEqual(this.#log.logStartOffset, this.#start)
    expectEqual(this.#log.logEndOffset, this.#log.writtenEndOffset + this.#staged.length)
    if (this.#log.recoveryPoint > this.#log.writtenEndOffset) throw new Error('the recovery point is past the end')
  }

  async #compareAll(): Promise<void> {
    let next: number = this.#start
    while (next < this.#log.writtenEndOffset) {
      const before = next
      await this.#read(next, 700)
      const slice = await this.#log.read(at(next), 700, this.#log.writtenEndOffset)
      next = slice.endOffset
      slice.release()
      if (next <= before) throw new Error('a read did not get on')
    }
  }

  #offsetOf(part: number): number {
    return Math.floor(part * (this.#log.writtenEndOffset + 0.99))
  }
}

function expectEqual(actual: unknown, expected: unknown): void {
  if (JSON.stringify(actual) !== JSON.stringify(expected)) {
    throw new Error(`expected ${JSON.stringify(expected)}, got ${JSON.stringify(actual)}`)
  }
}

describe('a partition log', () => {
  for (const hotTailBytes of [0, 40_000]) {
    it(`reads what its model says, with ${hotTailBytes} bytes of memory for tails`, async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 120, size: 'max' }), (steps) => new Play(hotTailBytes).run(steps)),
        { numRuns: 250 },
      )
    })
  }
})
