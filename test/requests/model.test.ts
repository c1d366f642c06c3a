// A broker against the simplest thing that it could be: one array of records a partition. Whatever is produced, read, trimmed
// and waited for, in whatever order and through kills, both must say the same.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { it } from 'vitest'
import { startBroker } from '../../broker/testing.ts'
import type { TestBroker } from '../../broker/testing.ts'
import type { Fetching, Read } from './asker.ts'
import { Asker, from } from './asker.ts'

const PARTITIONS = 2

class Model {
  readonly records: string[][] = Array.from({ length: PARTITIONS }, () => [])
  readonly starts: number[] = Array.from({ length: PARTITIONS }, () => 0)

  end(partition: number): number {
    return this.records[partition]?.length ?? 0
  }
}

interface Real {
  broker: TestBroker
  asker: Asker
  waiting: { fetching: Fetching; offsets: number[] } | undefined
}

type Command = fc.AsyncCommand<Model, Real>

/** What is read begins at the batch that holds the offset, so records before it may come along. */
function check(model: Model, read: readonly Read[], offsets: readonly number[]): void {
  for (const { index, refusal, values, offsets: got } of read) {
    const asked = offsets[index] ?? 0
    assert.equal(refusal, undefined)
    assert((got[0] ?? Infinity) <= asked && (got.at(-1) ?? -1) >= asked)
    assert.deepEqual(
      values,
      got.map((offset) => model.records[index]?.[offset]),
    )
  }
}

class Produce implements Command {
  readonly counts: readonly number[]

  constructor(counts: readonly number[]) {
    this.counts = counts
  }

  check(): boolean {
    return true
  }

  /** Several batches in one turn, here and there. */
  async run(model: Model, real: Real): Promise<void> {
    const produced = this.counts.map((count, index) => {
      const partition = index % PARTITIONS
      const baseOffset = model.end(partition)
      const values = Array.from({ length: count }, (_, at) => `p${partition}@${baseOffset + at}`.padEnd(40, '.'))
      model.records[partition]?.push(...values)
      return { baseOffset, outcome: real.asker.produce('t', values, { partition }) }
    })
    for (const { baseOffset, outcome } of produced) {
      const { refusal, baseOffset: given } = await outcome
      assert.deepEqual([refusal, given], [undefined, baseOffset])
    }
    if (real.waiting === undefined) return
    const { fetching, offsets } = real.waiting
    real.waiting = undefined
    const read = await fetching.answer
    assert(read.length > 0)
    check(model, read, offsets)
  }

  toString(): string {
    return `produce(${this.counts.join()})`
  }
}

class Fetch implements Command {
  readonly back: number
  readonly maxBytes: number

  constructor(back: number, maxBytes: number) {
    this.back = back
    this.maxBytes = maxBytes
  }

  check(): boolean {
    return true
  }

  async run(model: Model, real: Real): Promise<void> {
    const offsets = model.starts.map((start, partition) => Math.max(start, model.end(partition) - this.back))
    const parts = offsets.map((offset, partition) => from('t', offset, { partition }))
    const read = await real.asker.fetch(parts, { maxBytes: this.maxBytes })
    const expected = offsets.some((offset, partition) => offset < model.end(partition))
    assert.equal(read.length > 0, expected)
    check(model, read, offsets)
  }

  toString(): string {
    return `fetch(${this.back}, ${this.maxBytes} bytes)`
  }
}

class Wait implements Command {
  check(): boolean {
    return true
  }

  run(model: Model, real: Real): Promise<void> {
    real.waiting?.fetching.pending.cancel()
    const offsets = model.starts.map((_, partition) => model.end(partition))
    const parts = offsets.map((offset, partition) => from('t', offset, { partition }))
    const fetching = real.asker.beginFetch(parts, { maxWaitMs: 60_000 })
    assert.equal(fetching.isAnswered, false)
    real.waiting = { fetching, offsets }
    return Promise.resolve()
  }

  toString(): string {
    return 'wait'
  }
}

class Trim implements Command {
  readonly partition: number
  readonly part: number

  constructor(partition: number, part: number) {
    this.partition = partition
    this.part = part
  }

  check(): boolean {
    return true
  }

  async run(model: Model, real: Real): Promise<void> {
    const { partition } = this
    const start = model.starts[partition] ?? 0
    const beforeOffset = start + Math.floor((model.end(partition) - start) * this.part)
    const { partitions } = await real.asker.ask('trim', { partitions: [{ topic: 't', partition, beforeOffset }] })
    assert.deepEqual([partitions[0]?.error, partitions[0]?.logStartOffset], [0, beforeOffset])
    model.starts[partition] = beforeOffset
  }

  toString(): string {
    return `trim(${this.partition}, ${this.part})`
  }
}

class Restart implements Command {
  readonly crash: boolean

  constructor(crash: boolean) {
    this.crash = crash
  }

  check(): boolean {
    return true
  }

  async run(model: Model, real: Real): Promise<void> {
    real.waiting?.fetching.pending.cancel()
    real.waiting = undefined
    await real.broker.restart({ crash: this.crash })
    real.asker = new Asker(real.broker.broker.requests)
    const { topics } = await real.asker.ask('describeTopics', { topics: ['t'] })
    const found = topics[0]?.partitions.map(({ logStartOffset, highWatermark }) => [logStartOffset, highWatermark])
    const kept = model.starts.map((start, partition) => [start, model.end(partition)])
    assert.deepEqual(found, kept)
  }

  toString(): string {
    return this.crash ? 'crash' : 'restart'
  }
}

const COMMANDS = [
  fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 8 }).map((counts) => new Produce(counts)),
  fc.tuple(fc.nat(40), fc.integer({ min: 1, max: 3_000 })).map(([back, maxBytes]) => new Fetch(back, maxBytes)),
  fc.constant(new Wait()),
  fc
    .tuple(fc.nat(PARTITIONS - 1), fc.double({ min: 0, max: 1, noNaN: true }))
    .map(([one, part]) => new Trim(one, part)),
  fc.boolean().map((crash) => new Restart(crash)),
]

it.each(['os', 'fsync'])(
  'says what an array would say, with durability %s',
  async (durability) => {
    await fc.assert(
      fc.asyncProperty(fc.commands(COMMANDS, { maxCommands: 40 }), async (commands) => {
        await using broker = await startBroker({ dataDir: 'memory', hotTailBytes: 16 * 1024 })
        const asker = new Asker(broker.broker.requests)
        await asker.createTopic('t', { partitions: PARTITIONS, config: { durability, 'segment.bytes': '2048' } })
        const real: Real = { broker, asker, waiting: undefined }
        await fc.asyncModelRun(() => ({ model: new Model(), real }), commands)
      }),
      { numRuns: 60 },
    )
  },
  60_000,
)
