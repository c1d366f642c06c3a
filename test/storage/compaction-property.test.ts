// A compacted log against the simplest model of it: a list of records, of which all may be gone but the last of each key.
// Whatever is done to it in whatever order, whoever reads from any offset on sees, for each key, its last value, and none
// that is older than one that they have seen. fast-check prints the seed of a failure and the shortest list of steps.

import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { describe, it } from 'vitest'
import { parseTopicConfig } from '../../broker/storage/log-config.ts'
import { createLog, openLog } from '../../broker/storage/log-opening.ts'
import { MemoryDisk } from '../../broker/storage/memory-disk.ts'
import type { PartitionLog } from '../../broker/storage/partition-log.ts'
import { recoverLog } from '../../broker/storage/recovery.ts'
import type { StorageContext } from '../../broker/storage/storage-context.ts'
import { createStorageContext } from '../../broker/storage/storage-context.ts'
import { must } from '../../shared/assert.ts'
import { seededRandom } from '../../shared/random.ts'
import type { KeyValue } from './compaction-fixture.ts'
import { batchesOf, keyed, meansOf } from './compaction-fixture.ts'
import { at, DIRECTORY, EPOCH, put, SetClock } from './log-fixture.ts'

const TOMBSTONE_MS = 1_000
const CONFIG = parseTopicConfig({
  'cleanup.policy': 'compact',
  'segment.bytes': '1024',
  'index.interval.bytes': '200',
  'delete.retention.ms': String(TOMBSTONE_MS),
})
const PRODUCER = 7

type Step =
  | {
      readonly kind: 'append'
      readonly records: readonly (readonly [key: number, size: number])[]
      readonly isNumbered: boolean
      readonly isCompressed: boolean
    }
  | { readonly kind: 'compact'; readonly keyBytes: number; readonly stopAfter: number }
  | { readonly kind: 'sync' | 'reopen' | 'kill' | 'lose-caches' }
  | { readonly kind: 'read'; readonly share: number; readonly maxBytes: number }
  | { readonly kind: 'trim'; readonly share: number }
  | { readonly kind: 'pass-time'; readonly ms: number }

const share = fc.double({ min: 0, max: 1, noNaN: true })
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 10,
    arbitrary: fc.record({
      kind: fc.constant('append' as const),
      records: fc.array(fc.tuple(fc.integer({ min: 0, max: 24 }), fc.integer({ min: -40, max: 130 })), {
        minLength: 1,
        maxLength: 6,
      }),
      isNumbered: fc.boolean(),
      isCompressed: fc.boolean(),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('compact' as const),
      keyBytes: fc.constantFrom(256, 100_000),
      stopAfter: fc.constantFrom(3, 20, Infinity, Infinity),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant('read' as const), share, maxBytes: fc.integer({ min: 1, max: 3_000 }) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('trim' as const), share }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('pass-time' as const), ms: fc.integer({ min: 0, max: 1_500 }) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constantFrom('sync' as const, 'reopen' as const, 'kill' as const, 'lose-caches' as const),
    }),
  },
)

interface Known {
  readonly key: string
  readonly value: string | null
}

class Play {
  readonly #disk: MemoryDisk
  readonly #clock = new SetClock()
  readonly #options: { hotTailBytes: number; indexBytes: number; openFilesMax: number }
  #context: StorageContext
  #log: PartitionLog
  /** By offset. */
  readonly #records: Known[] = []
  /** Where a tombstone may have been dropped. */
  #droppedTo = 0
  #nextValue = 0
  #nextSequence = 0
  #sent: { readonly bytes: Uint8Array; readonly baseOffset: number } | undefined

  constructor(hotTailBytes: number) {
    this.#disk = new MemoryDisk(this.#clock)
    this.#options = { hotTailBytes, indexBytes: 300, openFilesMax: 2 }
    this.#context = createStorageContext(this.#disk, this.#options)
    this.#log = createLog(this.#context, DIRECTORY, CONFIG)
  }

  async run(steps: readonly Step[]): Promise<void> {
    for (const each of steps) {
      await this.#do(each)
      same(this.#log.logEndOffset, this.#records.length, 'the end of the log')
    }
    await this.#read(this.#log.logStartOffset, 700)
    same(await this.#log.scrub(), [], 'what a scrub finds')
  }

  async #do(each: Step): Promise<void> {
    switch (each.kind) {
      case 'append':
        return this.#append(each)
      case 'compact':
        return this.#compact(each.keyBytes, each.stopAfter)
      case 'sync':
        return this.#log.sync()
      case 'read':
        return this.#read(this.#offsetOf(each.share), each.maxBytes)
      case 'trim':
        return this.#log.advanceLogStartOffset(at(this.#offsetOf(each.share)))
      case 'pass-time':
        this.#clock.ms += each.ms
        return
      case 'reopen':
        return this.#reopen()
      case 'kill':
        return this.#recover(this.#log.checkpoint().recoveryPoint)
      case 'lose-caches':
        return this.#loseCaches()
    }
  }

  #append({ records, isNumbered, isCompressed }: Extract<Step, { kind: 'append' }>): void {
    const sent = records.map(([key, size]): KeyValue => {
      const value = size < 0 ? null : `${++this.#nextValue}`.padEnd(size, '.')
      return [`key ${key}`, value]
    })
    const stamp = isNumbered ? { producerId: PRODUCER, producerEpoch: 0, baseSequence: this.#nextSequence } : {}
    const bytes = keyed(sent, { ...stamp, codec: isCompressed ? 'gzip' : 'none', timestamp: this.#clock.ms })
    const baseOffset = put(this.#log, bytes, EPOCH, this.#clock.now())
    same(baseOffset, this.#records.length, 'the base offset')
    for (const [key, value] of sent) this.#records.push({ key: key ?? '', value })
    if (!isNumbered) return
    this.#nextSequence += sent.length
    this.#sent = { bytes, baseOffset }
  }

  async #compact(keyBytesMax: number, stopAfter: number): Promise<void> {
    const now = this.#clock.now()
    const plan = await this.#log.compaction.plan(now)
    if (plan === undefined) return
    let pauses = 0
    const pause = (): Promise<boolean> => Promise.resolve(++pauses < stopAfter)
    const means = meansOf({ now, keyBytesMax, isSliceOver: () => true, pause, random: seededRandom(this.#nextValue) })
    const before = await this.#tombstones()
    const result = await this.#log.compaction.run(plan, means)
    if (result.isDone) same(result.cleanedTo, plan.endOffset, 'the end of a whole pass')
    this.#droppedTo = Math.max(this.#droppedTo, result.droppedTo)
    const after = await this.#tombstones()
    for (const [offset, horizon] of before) {
      // One that nothing supersedes stays until its time has come.
      const { key } = must(this.#records[offset], 'every record is known')
      const isLast = this.#records.findLastIndex((record) => record.key === key) === offset
      if (isLast && !after.has(offset)) same(now >= must(horizon, 'it had been marked before'), true, 'its time')
    }
  }

  /** By offset, when it may go at the earliest; undefined as long as nobody knows. */
  async #tombstones(): Promise<Map<number, number | undefined>> {
    const found = new Map<number, number | undefined>()
    for (const { attributes, baseTimestamp, records } of await batchesOf(this.#log)) {
      const horizon = (attributes & 0x40) === 0 ? undefined : baseTimestamp
      for (const { offset, value } of records) if (value === null) found.set(offset, horizon)
    }
    return found
  }

  async #read(from: number, maxBytes: number): Promise<void> {
    const seen = new Map<string, number>()
    let expected = from
    for (const { baseOffset, lastOffsetDelta, records } of await batchesOf(this.#log, from, maxBytes)) {
      // No hole between one batch and the next, whatever is in them.
      same(baseOffset === expected || expected === from, true, `a batch at ${baseOffset} after ${expected}`)
      expected = baseOffset + lastOffsetDelta + 1
      for (const { offset, key, value } of records) {
        if (offset < from) continue
        same({ key, value }, this.#records[offset], `the record at ${offset}`)
        same(offset > (seen.get(key ?? '') ?? -1), true, `${key} goes on at ${offset}`)
        seen.set(key ?? '', offset)
      }
    }
    same(expected, this.#records.length, 'where a reader ends')
    const last = new Map<string, number>()
    for (let offset = from; offset < this.#records.length; offset++) last.set(this.#records[offset]?.key ?? '', offset)
    for (const [key, offset] of last) {
      if (seen.get(key) === offset) continue
      // A tombstone that was dropped, with all that it deletes.
      same([this.#records[offset]?.value, seen.get(key)], [null, undefined], `the last record of ${key}, at ${offset}`)
      same(offset < this.#droppedTo, true, `a tombstone at ${offset} was dropped, which is known`)
    }
  }

  async #reopen(): Promise<void> {
    const checkpoint = must(await this.#log.closeClean(this.#clock.now()), 'it closes in order')
    this.#context = createStorageContext(this.#disk, this.#options)
    this.#log = openLog(this.#context, DIRECTORY, CONFIG, checkpoint)
    this.#checkProducer()
  }

  async #loseCaches(): Promise<void> {
    this.#log.close()
    for (const name of this.#disk.list(DIRECTORY)) {
      if (!name.endsWith('.log') && name !== 'log-start') this.#disk.remove(`${DIRECTORY}/${name}`)
    }
    await this.#recover(undefined)
  }

  async #recover(recoveryPoint: ReturnType<PartitionLog['checkpoint']>['recoveryPoint'] | undefined): Promise<void> {
    this.#log.close()
    this.#context = createStorageContext(this.#disk, this.#options)
    const { log } = await recoverLog({
      context: this.#context,
      directory: DIRECTORY,
      config: CONFIG,
      recoveryPoint,
      kernelLived: true,
      now: this.#clock.now(),
    })
    this.#log = log
    same(log.quarantined, [], 'the quarantine')
    this.#checkProducer()
  }

  /** What the producer has sent last is known, if the log still begins before it. */
  #checkProducer(): void {
    if (this.#sent === undefined || this.#sent.baseOffset < this.#log.logStartOffset) return
    const again = this.#log.append(this.#sent.bytes, EPOCH, this.#clock.now())
    same([again.kind, Reflect.get(again, 'baseOffset')], ['duplicate', this.#sent.baseOffset], 'a batch sent again')
  }

  #offsetOf(part: number): number {
    const { logStartOffset, writtenEndOffset } = this.#log
    return logStartOffset + Math.floor(part * (writtenEndOffset - logStartOffset))
  }
}

function same(actual: unknown, expected: unknown, what: string): void {
  if (!isDeepStrictEqual(actual, expected)) {
    throw new Error(`${what}: ${JSON.stringify(actual)}, not ${JSON.stringify(expected)}`)
  }
}

describe('a compacted log', () => {
  it.each([0, 40_000])(
    'reads what its model says, with %i bytes of memory for tails',
    async (hotTailBytes) => {
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 60 }), (steps) =>
          new Play(hotTailBytes).run(steps),
        ),
        { numRuns: 400 },
      )
    },
    60_000,
  )
})
