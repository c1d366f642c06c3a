// The producer's rules against a model of the broker, without sockets: what is lost, refused or repeated on the way must
// leave the log as the application wrote it.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { errorOf, NotConnectedError } from '../../client/errors.ts'
import { PartitionQueue } from '../../client/partition-queue.ts'
import type { ProducerBatch } from '../../client/producer-batch.ts'
import {
  type AccumulatorOptions,
  type BatchAnswer,
  isGiven,
  type PlannedRequest,
  RecordAccumulator,
} from '../../client/record-accumulator.ts'
import { seededRandom } from '../../shared/random.ts'
import { baseSequenceAt, producerIdAt, recordCountAt } from '../../shared/record-batch/header.ts'
import { ModelLog } from './model-log.ts'

const OPTIONS: AccumulatorOptions = {
  acks: -1,
  isIdempotent: true,
  lingerMs: 5,
  batchBytes: 200,
  codec: 'none',
  inFlightMax: 5,
  requestBytesMax: 1_000_000,
  deliveryTimeoutMs: 60_000,
  retry: { retries: Infinity, minMs: 10, maxMs: 100 },
}

function make(options: Partial<AccumulatorOptions> = {}): RecordAccumulator {
  const accumulator = new RecordAccumulator({ ...OPTIONS, ...options }, seededRandom(1))
  accumulator.provideIdentity({ producerId: 7, producerEpoch: 0 })
  return accumulator
}

function add(accumulator: RecordAccumulator, queue: PartitionQueue, value: string, now = 0): ProducerBatch {
  return accumulator.append(queue, { key: null, value: Buffer.from(value), timestamp: 1 }, () => now)
}

const BIG = 'x'.repeat(150)
const leader = (): number => 0
const appended = (baseOffset: number): BatchAnswer => ({ kind: 'appended', baseOffset, logAppendTime: undefined })
const refused = (code: Parameters<typeof errorOf>[0]): BatchAnswer => ({ kind: 'refused', error: errorOf(code) })

function sequences(requests: readonly PlannedRequest[]): number[] {
  return requests.flatMap(({ batches }) => batches.map(({ bytes }) => baseSequenceAt(bytes ?? new Uint8Array(61), 0)))
}

/** Has the first batch of the partition appended, with sequence 0, so that the window opens. */
function begin(accumulator: RecordAccumulator, queue: PartitionQueue): void {
  add(accumulator, queue, BIG)
  const [first, ...others] = accumulator.plan(0, leader)
  if (first === undefined || others.length > 0) throw new Error('one request')
  accumulator.onAnswer(first, [appended(0)], 0)
}

describe('an accumulator', () => {
  it('lets a record linger for company, and sends the batch when the time is up', () => {
    const accumulator = make()
    const queue = new PartitionQueue('t', 0)
    add(accumulator, queue, 'a', 100)
    expect(accumulator.plan(100, leader)).toEqual([])
    expect(accumulator.wakeAt).toBe(105)
    add(accumulator, queue, 'b', 104)
    const [request] = accumulator.plan(105, leader)
    expect(request?.batches.map(({ recordCount }) => recordCount)).toEqual([2])
  })

  it('does not let linger what is awaited while nothing is on its way', () => {
    const accumulator = make()
    const queue = new PartitionQueue('t', 0)
    add(accumulator, queue, 'a').isUrgent = true
    const [first] = accumulator.plan(0, leader)
    expect(first?.batches).toHaveLength(1)
    add(accumulator, queue, 'b').isUrgent = true
    expect(accumulator.plan(1, leader)).toEqual([])
    if (first !== undefined) accumulator.onAnswer(first, [appended(0)], 2)
    expect(accumulator.plan(2, leader)).toHaveLength(1)
  })

  it('closes a batch by bytes and sends at most the window of requests', () => {
    const accumulator = make()
    const queue = new PartitionQueue('t', 0)
    begin(accumulator, queue)
    for (let count = 0; count < 8; count += 1) add(accumulator, queue, BIG)
    const requests = accumulator.plan(0, leader)
    expect(sequences(requests)).toEqual([1, 2, 3, 4, 5])
    if (requests[0] !== undefined) accumulator.onAnswer(requests[0], [appended(1)], 1)
    expect(sequences(accumulator.plan(1, leader))).toEqual([6])
  })

  it('sends nothing behind the first batch of a session until that is appended', () => {
    const accumulator = make()
    const queue = new PartitionQueue('t', 0)
    for (let count = 0; count < 3; count += 1) add(accumulator, queue, BIG)
    const [first, ...others] = accumulator.plan(0, leader)
    expect(others).toEqual([])
    if (first !== undefined) accumulator.onAnswer(first, [refused('MESSAGE_TOO_LARGE')], 1)
    const [second, ...behind] = accumulator.plan(1, leader)
    expect(sequences(second === undefined ? [] : [second])).toEqual([0])
    expect(behind).toEqual([])
  })

  it('counts what it holds and gives it back when a batch is settled', () => {
    const accumulator = make()
    const queue = new PartitionQueue('t', 0)
    add(accumulator, queue, BIG)
    expect(accumulator.usedBytes).toBeGreaterThan(150)
    const [request] = accumulator.plan(0, leader)
    if (request !== undefined) accumulator.onAnswer(request, [appended(0)], 1)
    expect(accumulator.usedBytes).toBe(0)
    expect(accumulator.isEmpty).toBe(true)
  })

  it('sends a failed batch and those behind it again, in order, when all are back', () => {
    const accumulator = make()
    const queue = new PartitionQueue('t', 0)
    begin(accumulator, queue)
    for (let count = 0; count < 3; count += 1) add(accumulator, queue, BIG)
    const [one, two, three] = accumulator.plan(0, leader)
    if (one === undefined || two === undefined || three === undefined) throw new Error('three requests')
    accumulator.onAnswer(one, [refused('NOT_LEADER_OR_FOLLOWER')], 1)
    expect(accumulator.takeStaleTopics()).toEqual(['t'])
    expect(accumulator.plan(1_000, leader)).toEqual([])
    accumulator.onAnswer(two, [refused('OUT_OF_ORDER_SEQUENCE_NUMBER')], 2)
    accumulator.onAnswer(three, [refused('OUT_OF_ORDER_SEQUENCE_NUMBER')], 3)
    for (const sequence of [1, 2, 3]) {
      const [again, ...others] = accumulator.plan(1_000, leader)
      expect(sequences(again === undefined ? [] : [again])).toEqual([sequence])
      expect(others).toEqual([])
      if (again !== undefined) accumulator.onAnswer(again, [appended(sequence)], 1_000)
    }
  })

  it('closes up the sequence over a batch that was refused for good', async () => {
    const accumulator = make()
    const queue = new PartitionQueue('t', 0)
    begin(accumulator, queue)
    const promise = add(accumulator, queue, BIG).promiseOf(1)
    for (let count = 0; count < 2; count += 1) add(accumulator, queue, BIG)
    const [one, two, three] = accumulator.plan(0, leader)
    if (one === undefined || two === undefined || three === undefined) throw new Error('three requests')
    accumulator.onAnswer(one, [refused('INVALID_RECORD')], 1)
    accumulator.onAnswer(two, [refused('OUT_OF_ORDER_SEQUENCE_NUMBER')], 2)
    accumulator.onAnswer(three, [refused('OUT_OF_ORDER_SEQUENCE_NUMBER')], 3)
    const [again] = accumulator.plan(1_000, leader)
    expect(sequences(again === undefined ? [] : [again])).toEqual([1])
    if (again !== undefined) accumulator.onAnswer(again, [appended(1)], 1_000)
    expect(sequences(accumulator.plan(1_000, leader))).toEqual([2])
    await expect(promise).rejects.toMatchObject({ code: 'INVALID_RECORD' })
  })

  it('keeps the numbers as they are when what was sent behind a refused batch is appended all the same', () => {
    const accumulator = make()
    const queue = new PartitionQueue('t', 0)
    begin(accumulator, queue)
    for (let count = 0; count < 3; count += 1) add(accumulator, queue, BIG)
    const [one, two, three] = accumulator.plan(0, leader)
    if (one === undefined || two === undefined || three === undefined) throw new Error('three requests')
    // The topic was made anew in between: the broker knows nothing of the session, and begins with what comes.
    accumulator.onAnswer(one, [refused('INVALID_RECORD')], 1)
    accumulator.onAnswer(two, [appended(0)], 2)
    accumulator.onAnswer(three, [appended(1)], 3)
    add(accumulator, queue, BIG)
    expect(sequences(accumulator.plan(1_000, leader))).toEqual([4])
  })

  it('begins a new session when the broker has lost count', () => {
    const accumulator = make()
    const queue = new PartitionQueue('t', 0)
    add(accumulator, queue, BIG)
    const [first] = accumulator.plan(0, leader)
    if (first !== undefined) accumulator.onAnswer(first, [appended(0)], 1)
    for (let count = 0; count < 2; count += 1) add(accumulator, queue, BIG)
    for (const request of accumulator.plan(1, leader)) {
      accumulator.onAnswer(request, [refused('OUT_OF_ORDER_SEQUENCE_NUMBER')], 2)
    }
    expect(accumulator.plan(1_000, leader)).toEqual([])
    expect(accumulator.needsIdentity).toBe(true)
    accumulator.provideIdentity({ producerId: 8, producerEpoch: 0 })
    for (const sequence of [0, 1]) {
      const [again] = accumulator.plan(1_000, leader)
      const bytes = again?.batches[0]?.bytes ?? new Uint8Array(61)
      expect([producerIdAt(bytes, 0), baseSequenceAt(bytes, 0)]).toEqual([8, sequence])
      if (again !== undefined) accumulator.onAnswer(again, [appended(sequence)], 1_000)
    }
  })

  it('sends with a new identity what was refused and is taken for a duplicate of long ago when it comes again', () => {
    const accumulator = make()
    const queue = new PartitionQueue('t', 0)
    begin(accumulator, queue)
    for (let count = 0; count < 2; count += 1) add(accumulator, queue, BIG)
    const [one, two] = accumulator.plan(0, leader)
    if (one === undefined || two === undefined) throw new Error('two requests')
    accumulator.onAnswer(one, [refused('UNKNOWN_TOPIC_OR_PARTITION')], 1)
    accumulator.onAnswer(two, [appended(0)], 2)
    const [again] = accumulator.plan(1_000, leader)
    if (again !== undefined) accumulator.onAnswer(again, [refused('DUPLICATE_SEQUENCE_NUMBER')], 1_000)
    expect(one.batches[0]?.outcome).toBeUndefined()
    accumulator.plan(2_000, leader)
    accumulator.provideIdentity({ producerId: 8, producerEpoch: 0 })
    const [anew] = accumulator.plan(2_000, leader)
    const bytes = anew?.batches[0]?.bytes ?? new Uint8Array(61)
    expect([producerIdAt(bytes, 0), baseSequenceAt(bytes, 0)]).toEqual([8, 0])
  })

  it('does not claim that a batch is stored which may have arrived and is taken for a duplicate of long ago', async () => {
    const accumulator = make()
    const queue = new PartitionQueue('t', 0)
    begin(accumulator, queue)
    const promise = add(accumulator, queue, BIG).promiseOf(5)
    const [request] = accumulator.plan(0, leader)
    if (request !== undefined) accumulator.onLost(request, errorOf('CONNECTION_FAILED', 'it broke'), 1)
    const [again] = accumulator.plan(1_000, leader)
    if (again !== undefined) accumulator.onAnswer(again, [refused('DUPLICATE_SEQUENCE_NUMBER')], 1_000)
    await expect(promise).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN', topic: 't', partition: 0 })
  })

  it('is fenced for good by a newer session', async () => {
    const accumulator = make()
    const promise = add(accumulator, new PartitionQueue('t', 0), BIG).promiseOf(5)
    const [request] = accumulator.plan(0, leader)
    if (request !== undefined) accumulator.onAnswer(request, [refused('INVALID_PRODUCER_EPOCH')], 1)
    await expect(promise).rejects.toMatchObject({ name: 'FencedError', fatal: true })
    expect(accumulator.fatal?.code).toBe('INVALID_PRODUCER_EPOCH')
  })

  it('without idempotence never sends again what may have arrived, and says so', async () => {
    const accumulator = make({ isIdempotent: false, acks: 1 })
    const queue = new PartitionQueue('t', 0)
    const promise = add(accumulator, queue, BIG).promiseOf(5)
    add(accumulator, queue, BIG)
    const requests = accumulator.plan(0, leader)
    expect(requests).toHaveLength(1)
    if (requests[0] !== undefined) accumulator.onLost(requests[0], errorOf('CONNECTION_FAILED', 'it broke'), 1)
    await expect(promise).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN', retriable: false, topic: 't', partition: 0 })
  })

  it('without idempotence sends again what certainly did not arrive', () => {
    const accumulator = make({ isIdempotent: false, acks: 1 })
    const queue = new PartitionQueue('t', 0)
    add(accumulator, queue, BIG)
    const [request] = accumulator.plan(0, leader)
    if (request !== undefined) accumulator.onLost(request, new NotConnectedError('refused'), 1)
    expect(accumulator.plan(1_000, leader)).toHaveLength(1)
  })

  it('gives up what is not acknowledged by its deadline, and says whether it may have arrived', async () => {
    const accumulator = make({ deliveryTimeoutMs: 50 })
    const queue = new PartitionQueue('t', 0)
    const lost = add(accumulator, queue, BIG).promiseOf(5)
    const [request] = accumulator.plan(0, leader)
    const unsent = add(accumulator, queue, BIG, 10).promiseOf(5)
    if (request !== undefined) accumulator.onLost(request, errorOf('CONNECTION_FAILED', 'it broke'), 40)
    accumulator.plan(70, () => undefined)
    await expect(lost).rejects.toMatchObject({ code: 'TIMEOUT', message: containing('may have been') })
    await expect(unsent).rejects.toMatchObject({ code: 'TIMEOUT', message: containing('never sent') })
  })

  it('asks for leaders that nobody knows', () => {
    const accumulator = make()
    add(accumulator, new PartitionQueue('t', 0), BIG)
    expect(accumulator.plan(0, () => undefined)).toEqual([])
    expect(accumulator.takeStaleTopics()).toEqual(['t'])
    expect(accumulator.takeStaleTopics()).toEqual([])
  })

  it('wraps sequence numbers after 2^31 - 1', () => {
    const queue = new PartitionQueue('t', 0)
    queue.session.begin({ producerId: 1, producerEpoch: 0 })
    queue.session.rewind(0x7fff_ffff)
    expect(queue.session.stamp(2).baseSequence).toBe(0x7fff_ffff)
    expect(queue.session.stamp(1).baseSequence).toBe(1)
  })
})

/** What happens to one request on its way. */
const fate = fc.oneof(
  { weight: 8, arbitrary: fc.constant('arrives' as const) },
  { weight: 2, arbitrary: fc.constant('answer-lost' as const) },
  { weight: 2, arbitrary: fc.constant('request-lost' as const) },
  { weight: 1, arbitrary: fc.constant('never-connected' as const) },
  { weight: 1, arbitrary: fc.constant('throttled' as const) },
  { weight: 1, arbitrary: fc.constant('refused-for-good' as const) },
  { weight: 1, arbitrary: fc.constant('timed-out-after-append' as const) },
  { weight: 1, arbitrary: fc.constant('moved' as const) },
  { weight: 1, arbitrary: fc.constant('moved-after-append' as const) },
)
type Fate =
  | 'arrives'
  | 'answer-lost'
  | 'request-lost'
  | 'never-connected'
  | 'throttled'
  | 'refused-for-good'
  | 'timed-out-after-append'
  /** Another broker leads every other partition: what is on its way to the old one is not waited for any more. */
  | 'moved'
  | 'moved-after-append'

function fail(): never {
  throw new Error('not there')
}

/** Plays one request against the log, as a broker and a network with this fate would. */
function play(log: ModelLog, batch: ProducerBatch, what: Fate): BatchAnswer {
  const bytes = batch.bytes ?? new Uint8Array(0)
  switch (what) {
    case 'request-lost':
      return { kind: 'refused', error: errorOf('CONNECTION_FAILED', 'lost before') }
    case 'never-connected':
      return { kind: 'refused', error: new NotConnectedError('no connection') }
    case 'throttled':
      return refused('THROTTLING_QUOTA_EXCEEDED')
    case 'refused-for-good':
      return refused('MESSAGE_TOO_LARGE')
    default:
      break
  }
  const outcome = log.append(bytes)
  if (what === 'answer-lost') return { kind: 'refused', error: errorOf('CONNECTION_FAILED', 'lost after') }
  if ('error' in outcome) return { kind: 'refused', error: errorOf(outcome.error, outcome.message) }
  if (what === 'timed-out-after-append') return refused('REQUEST_TIMED_OUT')
  return appended(outcome.baseOffset)
}

/** Whether what the application was told of a batch agrees with the log. */
function toldOf(batch: ProducerBatch, records: readonly string[], values: readonly string[]): string {
  const { outcome } = batch
  if (outcome === undefined) return 'nothing'
  if (outcome.kind === 'failed') {
    const isCertain = outcome.error.message.includes('were not appended')
    return isCertain && records.some((value) => values.includes(value)) ? 'not appended, but it is there' : 'the truth'
  }
  const there = values.slice(outcome.baseOffset, outcome.baseOffset + records.length)
  return there.join() === records.join() ? 'the truth' : `appended at ${outcome.baseOffset}, where ${there.join()} is`
}

describe('an idempotent producer, whatever becomes of its requests', () => {
  it('appends every acknowledged record once, in order, and nothing twice', () => {
    const story = fc.record({
      fates: fc.array(fate, { maxLength: 120 }),
      records: fc.integer({ min: 1, max: 60 }),
      partitions: fc.integer({ min: 1, max: 3 }),
      isLenient: fc.boolean(),
      /** Records that are written between one answer and the next: more than one, and batches queue up on their way. */
      burst: fc.integer({ min: 1, max: 8 }),
      forgetAt: fc.option(fc.integer({ min: 0, max: 60 }), { nil: -1 }),
      delivery: fc.constantFrom(1_000_000, 400),
    })
    fc.assert(
      fc.property(story, ({ fates, records, partitions, isLenient, burst, forgetAt, delivery }) => {
        const accumulator = make({ deliveryTimeoutMs: delivery, batchBytes: 130 })
        const logs = Array.from({ length: partitions }, () => new ModelLog(isLenient))
        const queues = logs.map((_, partition) => new PartitionQueue('t', partition))
        const expected = new Map<ProducerBatch, string[]>()
        const inFlight: PlannedRequest[] = []
        const left = [...fates]
        let written = 0
        let producerId = 8
        let forgotten = forgetAt
        for (let now = 0, steps = 0; written < records || !accumulator.isEmpty; now += 7, steps += 1) {
          if (steps > 5_000) throw new Error('the producer comes to no end')
          for (let count = 0; count < burst && written < records; count += 1) {
            const queue = queues[written % partitions]
            if (queue === undefined) throw new Error('a queue')
            const value = `record ${String(written).padStart(6, '0')}`
            const batch = add(accumulator, queue, value, now)
            expected.set(batch, [...(expected.get(batch) ?? []), value])
            written += 1
          }
          inFlight.push(...accumulator.plan(now, leader))
          if (accumulator.needsIdentity) accumulator.provideIdentity({ producerId: producerId++, producerEpoch: 0 })
          if (steps === forgotten) {
            // Not while the outcome of a batch is open: its memory is in the log, and goes only with the log.
            const isOpen = [...expected.keys()].some((batch) => batch.outcome === undefined && batch.mayBeAppended)
            if (inFlight.length === 0 && !isOpen) for (const log of logs) log.forgetProducers()
            else forgotten += 1
          }
          const request = inFlight.shift()
          if (request === undefined) continue
          const what = left.shift() ?? 'arrives'
          if (what === 'moved' || what === 'moved-after-append') {
            for (const moved of [request, ...inFlight]) {
              for (const batch of moved.batches) {
                const isMine = batch.partition % 2 === 0 && !moved.given.has(batch)
                if (isMine && what === 'moved-after-append')
                  play(logs[batch.partition] ?? new ModelLog(), batch, 'arrives')
              }
              accumulator.onMoved(moved, ({ partition }) => partition % 2 === 0, errorOf('CONNECTION_FAILED'), now)
            }
            inFlight.splice(0, inFlight.length, ...[request, ...inFlight].filter((one) => !isGiven(one)))
            continue
          }
          const answers = request.batches.map((batch) =>
            request.given.has(batch)
              ? refused('CORRUPT_MESSAGE')
              : play(logs[batch.partition] ?? new ModelLog(), batch, what),
          )
          if (what === 'answer-lost' || what === 'request-lost' || what === 'never-connected') {
            // The connection is gone, and with it what was sent behind: the broker may have seen it or not.
            const broken = [request, ...inFlight.splice(0)]
            for (const [index, lost] of broken.entries()) {
              const isSeen = index > 0 && what === 'answer-lost'
              const seen = isSeen ? lost.batches.filter((batch) => !lost.given.has(batch)) : []
              for (const batch of seen) play(logs[batch.partition] ?? new ModelLog(), batch, what)
              const told = answers.find((_, at) => !request.given.has(request.batches[at] ?? fail()))
              const error = told?.kind === 'refused' ? told.error : errorOf('CONNECTION_FAILED')
              accumulator.onLost(lost, error, now)
            }
          } else {
            accumulator.onAnswer(request, answers, now)
          }
        }
        expect(accumulator.usedBytes).toBe(0)
        for (const [partition, log] of logs.entries()) {
          const values = log.values()
          expect(values).toEqual([...new Set(values)].sort())
          const mine = [...expected].filter(([batch]) => batch.partition === partition)
          const acknowledged = mine.filter(([batch]) => batch.outcome?.kind === 'appended').flatMap(([, list]) => list)
          expect(values).toEqual(expect.arrayContaining(acknowledged))
          for (const [batch, list] of mine) expect(toldOf(batch, list, values)).toBe('the truth')
        }
      }),
      {
        numRuns: Number(process.env['FC_RUNS'] ?? 400),
        // Seen: a batch of unknown outcome was sent again three times, five newer ones were appended meanwhile, and the
        // broker, which remembers five, took it for new. Since then one batch at a time goes after a failure.
        examples: [
          [
            {
              fates: ['answer-lost', 'timed-out-after-append', 'arrives', 'request-lost', 'request-lost', 'throttled'],
              records: 11,
              partitions: 1,
              isLenient: false,
              burst: 1,
              forgetAt: -1,
              delivery: 1_000_000,
            },
          ],
          // Seen: behind a batch of unknown outcome one was appended and one refused for good; numbering anew began with
          // the first and gave the third the numbers of the second, so that the broker took it for a duplicate.
          [
            {
              fates: [
                'request-lost',
                'answer-lost',
                'timed-out-after-append',
                'arrives',
                'timed-out-after-append',
                'arrives',
                'refused-for-good',
              ],
              records: 9,
              partitions: 1,
              isLenient: false,
              burst: 1,
              forgetAt: -1,
              delivery: 1_000_000,
            },
          ],
          // Seen: the first batch was refused for good, the broker took the second for the beginning of the session, and
          // the numbers that closed up over the first were those of a duplicate, acknowledged and never stored.
          [
            {
              fates: ['refused-for-good'],
              records: 20,
              partitions: 1,
              isLenient: true,
              burst: 8,
              forgetAt: -1,
              delivery: 1_000_000,
            },
          ],
        ],
      },
    )
  })

  it('counts records of a batch as the batch does', () => {
    const accumulator = make()
    const queue = new PartitionQueue('t', 0)
    const batch = add(accumulator, queue, 'a')
    add(accumulator, queue, 'b')
    accumulator.plan(100, leader)
    expect(recordCountAt(batch.bytes ?? new Uint8Array(61), 0)).toBe(batch.recordCount)
  })
})

function containing(text: string): unknown {
  return expect.stringContaining(text)
}
