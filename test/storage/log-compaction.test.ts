// Compaction of one log: what stays, what goes, and that whoever reads, appends and copies notices nothing else.

import { describe, expect, it } from 'vitest'
import { parseTopicConfig } from '../../broker/storage/log-config.ts'
import { openLog } from '../../broker/storage/log-opening.ts'
import { recoverLog } from '../../broker/storage/recovery.ts'
import type { PartitionLog } from '../../broker/storage/partition-log.ts'
import type { Disk } from '../../broker/storage/disk.ts'
import type { StorageContext } from '../../broker/storage/storage-context.ts'
import { createStorageContext } from '../../broker/storage/storage-context.ts'
import { CRC_AT } from '../../shared/record-batch/format.ts'
import { computeCrc, writeInt32 } from '../../shared/record-batch/header.ts'
import type { Codec } from '../../shared/record-batch/format.ts'
import { prepareCodec } from '../../shared/compression/codec.ts'
import { must } from '../../shared/assert.ts'
import type { KeyValue } from './compaction-fixture.ts'
import { batchesOf, COMPACT, compact, keyed, later, meansOf, recordsOf, tableOf } from './compaction-fixture.ts'
import type { Bench } from './log-fixture.ts'
import { at, batch, DIRECTORY, epoch, EPOCH, newLog, NOW, put, time } from './log-fixture.ts'

/** No memory for the tail, so that files are read. */
const COLD = { hotTailBytes: 0 }

function compacted(entries: Record<string, string> = {}): Bench {
  return newLog({ ...COMPACT, ...entries }, COLD)
}

/** Appends a large record that nothing supersedes, so that what was appended before is in a sealed segment. */
function seal(log: PartitionLog): void {
  for (let count = 0; count < 2; count++) {
    put(log, keyed([[`seal ${log.logEndOffset}`, 'x'.repeat(900)]]), log.latestEpoch ?? EPOCH)
  }
}

function segmentsOf(log: PartitionLog): number[] {
  return log.describe().segments.map(({ baseOffset }) => baseOffset)
}

async function reopened(
  { disk, log }: Bench,
  how: 'clean' | 'kill',
  entries: Record<string, string> = {},
): Promise<PartitionLog> {
  const config = parseTopicConfig({ ...COMPACT, ...entries })
  const context = createStorageContext(disk, COLD)
  if (how === 'clean') {
    const checkpoint = must(await log.closeClean(NOW), 'it closes in order')
    return openLog(context, DIRECTORY, config, checkpoint)
  }
  const { recoveryPoint } = log.checkpoint()
  log.close()
  const options = { context, directory: DIRECTORY, config, recoveryPoint, kernelLived: true, now: NOW }
  return (await recoverLog(options)).log
}

describe('a pass of compaction', () => {
  it('leaves the last record of each key, at its offset', async () => {
    const { log } = compacted()
    put(
      log,
      keyed([
        ['a', '1'],
        ['b', '1'],
        ['a', '2'],
      ]),
    )
    put(
      log,
      keyed([
        ['c', '1'],
        ['a', '3'],
      ]),
    )
    seal(log)
    const result = await compact(log)
    expect(result).toMatchObject({ isDone: true, cleanedTo: 6 })
    expect((await recordsOf(log)).slice(0, 3)).toEqual(['1 b=1', '3 c=1', '4 a=3'])
    expect(log.logStartOffset).toBe(0)
    expect(log.logEndOffset).toBe(7)
    expect(log.quarantined).toEqual([])
  })

  it('leaves the offsets, the epoch and the time of a batch as they are', async () => {
    const { log } = compacted()
    put(
      log,
      keyed(
        [
          ['a', '1'],
          ['b', '1'],
          ['a', '2'],
        ],
        { timestamp: NOW - 5 },
      ),
      epoch(3),
    )
    put(log, keyed([['a', '3']]), epoch(4))
    seal(log)
    await compact(log)
    const [first, second] = await batchesOf(log)
    expect(first).toMatchObject({ baseOffset: 0, lastOffsetDelta: 2, recordCount: 1, leaderEpoch: 3 })
    expect(first?.records).toEqual([{ offset: 1, key: 'b', value: '1', timestamp: NOW - 5 }])
    expect(second).toMatchObject({ baseOffset: 3, leaderEpoch: 4, recordCount: 1 })
  })

  it('leaves one batch without records where whole batches were, one for each epoch', async () => {
    const { log } = compacted()
    for (let round = 0; round < 6; round++) put(log, keyed([['a', String(round)]]), epoch(round < 3 ? 1 : 2))
    seal(log)
    await compact(log)
    const batches = await batchesOf(log)
    expect(batches.slice(0, 3)).toMatchObject([
      { baseOffset: 0, lastOffsetDelta: 2, recordCount: 0, batchBytes: 61, leaderEpoch: 1, producerId: -1 },
      { baseOffset: 3, lastOffsetDelta: 1, recordCount: 0, batchBytes: 61, leaderEpoch: 2 },
      { baseOffset: 5, recordCount: 1 },
    ])
    expect(log.epochEndOffset(epoch(1))).toEqual({ epoch: 1, endOffset: 3 })
    // A fetch from inside of the gap goes on with what comes next.
    expect((await recordsOf(log, 1))[0]).toBe('5 a=5')
  })

  it('puts small neighbours together, up to the size of a segment', async () => {
    const { log } = compacted()
    for (let round = 0; round < 40; round++) put(log, keyed([['a', `${round}`.padEnd(300)]]))
    expect(segmentsOf(log).length).toBeGreaterThan(15)
    for (let pass = 0; pass < 3; pass++) {
      put(log, keyed([['b', 'x'.repeat(900)]]))
      await compact(log)
    }
    expect(segmentsOf(log).length).toBeLessThanOrEqual(4)
    expect((await recordsOf(log)).filter((record) => record.includes(' a='))).toEqual([`39 a=${'39'.padEnd(300)}`])
  })

  it.each<Codec>(['none', 'gzip', 'snappy', 'lz4', 'zstd'])(
    'opens batches of %s and writes them by the same codec',
    async (codec) => {
      await prepareCodec(codec)
      const { log } = compacted()
      const records = Array.from({ length: 40 }, (_, index): KeyValue => [`key ${index % 8}`, `value ${index}`])
      put(log, keyed(records, { codec }))
      put(log, keyed([['key 7', 'newest']]))
      seal(log)
      await compact(log)
      const [first] = await batchesOf(log)
      expect(first).toMatchObject({ codec, recordCount: 7, lastOffsetDelta: 39 })
      expect(first?.records.map(({ offset, value }) => `${offset} ${value}`)).toEqual(
        [32, 33, 34, 35, 36, 37, 38].map((offset) => `${offset} value ${offset}`),
      )
    },
  )

  it('leaves records without a key, which the topic has from before', async () => {
    const bench = newLog({ ...COMPACT, 'cleanup.policy': 'delete' }, COLD)
    put(
      bench.log,
      keyed([
        [null, 'one'],
        ['a', '1'],
        [null, 'two'],
      ]),
    )
    bench.log.config = parseTopicConfig(COMPACT)
    put(bench.log, keyed([['a', '2']]))
    seal(bench.log)
    await compact(bench.log)
    expect((await recordsOf(bench.log)).slice(0, 3)).toEqual(['0 null=one', '2 null=two', '3 a=2'])
  })

  it('leaves a batch that nobody can open, and everything else is compacted', async () => {
    const bench = newLog({ ...COMPACT, 'cleanup.policy': 'delete' }, COLD)
    const broken = keyed([
      ['a', '1'],
      ['b', '1'],
    ])
    broken[61] = 0x7e
    put(bench.log, withCrc(broken))
    bench.log.config = parseTopicConfig(COMPACT)
    put(bench.log, keyed([['a', '2']]))
    put(bench.log, keyed([['a', '3']]))
    seal(bench.log)
    await compact(bench.log)
    const sizes: number[] = []
    const slice = await bench.log.read(at(0), 10_000, bench.log.writtenEndOffset)
    sizes.push(slice.bytes.length)
    slice.release()
    expect(bench.log.quarantined).toEqual([])
    expect(bench.log.compaction.compacted.cleanedTo).toBe(5)
    expect(await recordsOf(bench.log, 2)).toContain('3 a=3')
    expect(await recordsOf(bench.log, 2)).not.toContain('2 a=2')
  })

  it('goes as far as its table of keys reaches, and another one goes on from there', async () => {
    const { log } = compacted()
    for (let round = 0; round < 3; round++) {
      for (let key = 0; key < 30; key++) put(log, keyed([[`key ${key}`, `${round}`]]))
    }
    seal(log)
    // 12 keys.
    const means = { keyBytesMax: 16 * 20 }
    let passes = 0
    for (let isDone = false; !isDone; passes++) {
      const before = log.compaction.compacted.cleanedTo
      isDone = (await compact(log, means)).isDone
      expect(log.compaction.compacted.cleanedTo).toBeGreaterThan(before)
    }
    expect(passes).toBeGreaterThan(5)
    expect((await recordsOf(log)).slice(0, 30)).toEqual(
      Array.from({ length: 30 }, (_, key) => `${60 + key} key ${key}=2`),
    )
  })

  it('does not touch what is not sealed, synced, committed or old enough', async () => {
    const { log } = compacted({ 'min.compaction.lag.ms': '1000' })
    put(log, keyed([['a', '1']]))
    seal(log)
    expect(await log.compaction.plan(later(5_000))).toBeUndefined()
    await log.sync()
    expect(await log.compaction.plan(later(999))).toBeUndefined()
    expect(await log.compaction.plan(later(1_000), at(0))).toBeUndefined()
    expect(await log.compaction.plan(later(1_000), at(1))).toMatchObject({ endOffset: 1, isDue: true })
    expect(await log.compaction.plan(later(1_000))).toMatchObject({ endOffset: 2 })
  })

  it('is due when enough is dirty, or when what is dirty has waited long enough', async () => {
    const { log } = compacted({ 'min.cleanable.dirty.ratio': '0.6', 'max.compaction.lag.ms': '10000' })
    put(log, keyed([['a', '1']]))
    seal(log)
    expect((await compact(log)).isDone).toBe(true)
    expect(await log.compaction.plan(NOW)).toBeUndefined()
    seal(log)
    await log.sync()
    expect(await log.compaction.plan(later(9_999))).toMatchObject({ isDue: true })
    const second = compacted({ 'min.cleanable.dirty.ratio': '0.9', 'max.compaction.lag.ms': '10000' }).log
    for (let round = 0; round < 8; round++) seal(second)
    await compact(second)
    put(second, keyed([['a', '1']]), EPOCH, later(1))
    put(second, keyed([['a', 'x'.repeat(900)]]), EPOCH, later(1))
    await second.sync()
    expect(await second.compaction.plan(later(9_000))).toMatchObject({ isDue: false })
    expect(await second.compaction.plan(later(10_001))).toMatchObject({ isDue: true })
  })

  it('changes nothing where nothing is superseded', async () => {
    const { log, disk } = compacted()
    put(log, keyed([['a', '1']]))
    put(log, keyed([['b', '2']]))
    seal(log)
    await log.sync()
    const before = disk.list(DIRECTORY).filter((name) => name !== 'compacted')
    const result = await compact(log)
    expect(result).toMatchObject({ isDone: true, oldBytes: 0, newBytes: 0 })
    expect(disk.list(DIRECTORY).filter((name) => name !== 'compacted')).toEqual(before)
  })

  it('stops when it is told to, and leaves the rest to another one', async () => {
    const { log, disk } = compacted()
    for (let round = 0; round < 40; round++) put(log, keyed([['a', `${round}`.padEnd(300)]]))
    let pauses = 0
    const means = { isSliceOver: () => true, pause: () => Promise.resolve(++pauses < 30) }
    expect(await compact(log, means)).toMatchObject({ isDone: false, cleanedTo: 0 })
    expect(disk.list(DIRECTORY).filter((name) => name.endsWith('.cleaned'))).toEqual([])
    expect((await compact(log)).isDone).toBe(true)
    expect((await tableOf(log)).get('a')).toBe('39'.padEnd(300))
  })

  it('goes no further when the log is cut, trimmed or closed under it', async () => {
    for (const change of ['cut', 'trim', 'close'] as const) {
      const { log } = compacted()
      for (let round = 0; round < 40; round++) put(log, keyed([['a', `${round}`.padEnd(300)]]))
      let pauses = 0
      const pause = async (): Promise<boolean> => {
        // What lies below the end of what may be cleaned is never cut off; were it, the pass would not go on.
        if (++pauses === 10 && change === 'cut') await log.truncateTo(at(20), NOW, () => Promise.resolve())
        if (pauses === 45 && change === 'trim') await log.advanceLogStartOffset(at(30))
        if (pauses === 45 && change === 'close') log.close()
        return true
      }
      const result = await compact(log, { isSliceOver: () => true, pause })
      expect([change, result.isDone]).toEqual([change, false])
      if (change === 'close') continue
      expect([...(await tableOf(log)).values()]).toEqual([(change === 'cut' ? '19' : '39').padEnd(300)])
    }
  })

  it('lets the log be cut in the very segment that it reads', async () => {
    const { log: before, context } = compacted()
    for (let round = 0; round < 10; round++) put(before, keyed([['a', `${round}`.padEnd(300)]]))
    const checkpoint = await before.closeClean(NOW)
    if (checkpoint === undefined) throw new Error('it closes in order')
    // What was sealed before is opened for reading only.
    const log = openLog(context, DIRECTORY, before.config, checkpoint)
    let pauses = 0
    const pause = async (): Promise<boolean> => {
      if (++pauses === 1) await log.truncateTo(at(1), NOW, () => Promise.resolve())
      return true
    }
    expect((await compact(log, { isSliceOver: () => true, pause })).isDone).toBe(false)
    put(log, keyed([['a', 'anew']]))
    expect([...(await tableOf(log)).values()]).toEqual(['anew'])
  })
})

describe('a tombstone', () => {
  const HOUR = 3_600_000

  it('stays for delete.retention.ms after the first pass over it, and then goes', async () => {
    const { log } = compacted({ 'delete.retention.ms': String(HOUR) })
    put(
      log,
      keyed([
        ['a', '1'],
        ['b', '1'],
      ]),
    )
    put(
      log,
      keyed(
        [
          ['a', null],
          ['c', '1'],
        ],
        { timestamp: NOW - 7 },
      ),
    )
    seal(log)
    await compact(log)
    expect((await recordsOf(log)).slice(0, 3)).toEqual(['1 b=1', '2 a=null', '3 c=1'])
    const marked = (await batchesOf(log))[1]
    expect(marked).toMatchObject({ attributes: 0x40, baseTimestamp: NOW + HOUR, maxTimestamp: NOW - 7 })
    expect(marked?.records.map(({ timestamp }) => timestamp)).toEqual([NOW - 7, NOW - 7])

    seal(log)
    await compact(log, { now: later(HOUR - 1) })
    expect(await recordsOf(log)).toContain('2 a=null')
    expect(log.compaction.compacted.droppedTo).toBe(0)
    seal(log)
    await compact(log, { now: later(HOUR) })
    expect((await recordsOf(log)).slice(0, 2)).toEqual(['1 b=1', '3 c=1'])
    expect(log.compaction.compacted.droppedTo).toBe(3)
  })

  it('stays while somebody who reads along has not come to it, and its going is counted', async () => {
    const { log } = compacted({ 'delete.retention.ms': '0' })
    put(log, keyed([['a', '1']]))
    put(log, keyed([['a', null]]))
    put(log, keyed([['b', null]]))
    seal(log)
    await compact(log)
    seal(log)
    await compact(log, { now: later(1), droppableEnd: at(2) })
    expect((await recordsOf(log))[0]).toBe('2 b=null')
    expect(log.compaction.compacted.droppedTo).toBe(2)
    expect(log.compaction.drops).toBe(1)
    seal(log)
    await compact(log, { now: later(2), droppableEnd: at(3) })
    expect((await recordsOf(log))[0]).toMatch(/^3 seal/)
    expect([0, 1, 2].map((drops) => log.compaction.droppedSince(drops))).toEqual([3, 3, 0])
    expect(log.compaction.droppedSince()).toBe(3)
  })

  it('stays as long as something below could not be looked at', async () => {
    const { log, disk, context } = compacted({ 'delete.retention.ms': '0' })
    put(
      log,
      keyed([
        ['a', '1'],
        ['b', 'x'.repeat(700)],
      ]),
    )
    put(log, keyed([['c', 'x'.repeat(700)]]))
    put(log, keyed([['a', null]]))
    seal(log)
    await log.sync()
    flip(disk, `${DIRECTORY}/${'0'.repeat(20)}.log`, 400, context)
    expect(await log.scrub()).toHaveLength(1)
    for (let pass = 0; pass < 3; pass++) {
      await compact(log, { now: later(pass * 1_000) })
      seal(log)
    }
    expect(await recordsOf(log, 2)).toContain('3 a=null')
    expect(log.quarantined).toHaveLength(1)
    expect(segmentsOf(log)[0]).toBe(0)
  })

  it('that is superseded goes at once', async () => {
    const { log } = compacted()
    put(log, keyed([['a', null]]))
    put(log, keyed([['a', '2']]))
    seal(log)
    await compact(log)
    expect((await recordsOf(log))[0]).toBe('1 a=2')
  })
})

describe('a compacted log', () => {
  async function sample(entries: Record<string, string> = {}): Promise<Bench> {
    const bench = compacted(entries)
    const { log } = bench
    for (let round = 0; round < 30; round++) {
      put(
        log,
        keyed([[`key ${round % 3}`, `${round}`.padEnd(90)]], { timestamp: NOW + round }),
        epoch(round < 15 ? 0 : 1),
      )
    }
    seal(log)
    await compact(log)
    return bench
  }

  it.each(['clean', 'kill'] as const)('is the same after a %s stop', async (how) => {
    const bench = await sample()
    const before = await batchesOf(bench.log)
    const log = await reopened(bench, how)
    expect(await batchesOf(log)).toEqual(before)
    expect(log.quarantined).toEqual([])
    expect(log.compaction.compacted.cleanedTo).toBe(31)
    expect(log.epochEndOffset(epoch(0))).toEqual({ epoch: 0, endOffset: 15 })
    expect(put(log, keyed([['new', '1']]), epoch(1))).toBe(32)
  })

  it('is the same when everything but the segments is lost', async () => {
    const bench = await sample()
    const before = await batchesOf(bench.log)
    bench.log.close()
    for (const name of bench.disk.list(DIRECTORY)) if (!name.endsWith('.log')) bench.disk.remove(`${DIRECTORY}/${name}`)
    const { log } = await recoverLog({
      context: createStorageContext(bench.disk, COLD),
      directory: DIRECTORY,
      config: parseTopicConfig(COMPACT),
      recoveryPoint: undefined,
      kernelLived: true,
      now: NOW,
    })
    expect(await batchesOf(log)).toEqual(before)
    expect(log.quarantined).toEqual([])
    expect(log.epochEndOffset(epoch(0))).toEqual({ epoch: 0, endOffset: 15 })
    // All of it counts as new, and nothing comes of that.
    await log.sync()
    put(log, keyed([['new', 'x'.repeat(900)]]), epoch(1))
    await compact(log)
    expect((await recordsOf(log)).slice(0, -1)).toEqual(
      before.flatMap(({ records }) => records).map(({ offset, key, value }) => `${offset} ${key}=${value}`),
    )
  })

  it('is found sound, and finds by time what is still there', async () => {
    const { log } = await sample()
    expect(await log.scrub()).toEqual([])
    expect(await log.offsetForTimestamp(time(NOW + 3))).toMatchObject({ offset: 27 })
    expect(await log.offsetForTimestamp(time(NOW + 28))).toMatchObject({ offset: 28 })
    expect(await log.youngestRecord()).toMatchObject({ offset: 29 })
  })

  it('can be trimmed inside of a gap, and compacted again', async () => {
    const { log } = await sample()
    await log.advanceLogStartOffset(at(10))
    expect(log.logStartOffset).toBe(10)
    const table = await tableOf(log)
    seal(log)
    await compact(log)
    expect(log.logStartOffset).toBe(10)
    expect(new Set((await tableOf(log)).keys())).toEqual(new Set([...table.keys(), 'seal 32', 'seal 33']))
  })

  it('is read on by whoever was reading an old segment', async () => {
    const { log } = compacted()
    for (let round = 0; round < 30; round++) put(log, keyed([[`key ${round % 3}`, `${round}`.padEnd(90)]]))
    seal(log)
    await log.sync()
    const first = await log.read(at(0), 200, log.writtenEndOffset)
    const second = log.read(first.endOffset, 200, log.writtenEndOffset)
    await compact(log)
    const slice = await second
    expect(slice.endOffset).toBeGreaterThan(first.endOffset)
    expect((await recordsOf(log, slice.endOffset)).length).toBeGreaterThan(0)
    slice.release()
    first.release()
  })

  it('loses its old segments to retention, if its policy says delete, too', async () => {
    const { log } = await sample({ 'cleanup.policy': 'compact,delete', 'retention.bytes': '1500' })
    for (let round = 0; round < 5; round++) seal(log)
    await log.applyRetention(NOW)
    expect(log.logStartOffset).toBeGreaterThan(29)
    await compact(log)
    expect((await tableOf(log)).get('key 0')).toBeUndefined()
  })

  it('knows the sequence numbers of its producers, also when nothing else is left', async () => {
    const bench = compacted()
    const stamp = (baseSequence: number) => ({ producerId: 9, producerEpoch: 2, baseSequence })
    put(
      bench.log,
      keyed(
        [
          ['a', '1'],
          ['b', '1'],
        ],
        stamp(0),
      ),
    )
    const last = keyed(
      [
        ['a', '2'],
        ['b', '2'],
      ],
      stamp(2),
    )
    put(bench.log, last)
    put(
      bench.log,
      keyed([
        ['a', '3'],
        ['b', '3'],
      ]),
    )
    seal(bench.log)
    await compact(bench.log)
    expect((await batchesOf(bench.log)).slice(0, 3)).toMatchObject([
      { baseOffset: 0, lastOffsetDelta: 1, recordCount: 0, producerId: -1 },
      { baseOffset: 2, lastOffsetDelta: 1, recordCount: 0, producerId: 9, producerEpoch: 2, baseSequence: 2 },
      { baseOffset: 4, recordCount: 2 },
    ])
    bench.log.close()
    for (const name of bench.disk.list(DIRECTORY)) if (!name.endsWith('.log')) bench.disk.remove(`${DIRECTORY}/${name}`)
    const log = await reopened(bench, 'kill')
    expect(log.append(last, EPOCH, NOW)).toEqual({ kind: 'duplicate', baseOffset: 2, endOffset: 4 })
    expect(log.append(keyed([['a', '4']], stamp(5)), EPOCH, NOW)).toMatchObject({
      error: 'OUT_OF_ORDER_SEQUENCE_NUMBER',
    })
    expect(log.append(keyed([['a', '4']], stamp(4)), EPOCH, NOW)).toMatchObject({ kind: 'appended' })
  })

  it('is copied by followers that are new, far behind, and inside of a gap', async () => {
    const { log } = await sample()
    for (const end of [0, 1, 13, 14, 16, 28]) {
      const { log: follower } = newLog(COMPACT, { ...COLD, directory: `follower ${end}` })
      // What it has from before is as it was before it was compacted.
      for (let offset = 0; offset < end; offset++) {
        const sent = keyed([[`key ${offset % 3}`, `${offset}`.padEnd(90)]], {
          timestamp: NOW + offset,
          baseOffset: at(offset),
          leaderEpoch: epoch(offset < 15 ? 0 : 1),
        })
        expect(follower.appendReplicated(sent, NOW, { epoch: epoch(1) }).kind).toBe('appended')
      }
      while (follower.logEndOffset < log.writtenEndOffset) {
        const slice = await log.read(follower.logEndOffset, 150, log.writtenEndOffset)
        expect(follower.appendReplicated(slice.bytes, NOW, { epoch: epoch(1) })).toMatchObject({ kind: 'appended' })
        slice.release()
      }
      expect(follower.write()).toBeUndefined()
      expect(follower.logEndOffset).toBe(log.logEndOffset)
      expect(await tableOf(follower)).toEqual(await tableOf(log))
      expect(follower.epochEndOffset(epoch(0))).toEqual({ epoch: 0, endOffset: 15 })
      put(follower, keyed([['new', 'x'.repeat(900)]]), epoch(1))
      await compact(follower)
      expect((await recordsOf(follower)).slice(0, 3)).toEqual((await recordsOf(log)).slice(0, 3))
    }
  })

  it('takes no records without keys, none that it cannot read, and none that says when tombstones may go', () => {
    const { log } = compacted()
    const refused = (bytes: Uint8Array) => log.append(bytes, EPOCH, NOW)
    expect(
      refused(
        keyed([
          ['a', '1'],
          [null, '2'],
        ]),
      ),
    ).toEqual({
      kind: 'refused',
      error: 'INVALID_RECORD',
      message: 'record batch at byte 0: record 1 has no key, and the topic is compacted',
    })
    expect(refused(keyed([[null, '2']], { codec: 'gzip' }))).toMatchObject({ error: 'INVALID_RECORD' })
    const broken = keyed([['a', '1']])
    broken[61] = 0x7e
    expect(refused(withCrc(broken))).toMatchObject({ error: 'CORRUPT_MESSAGE' })
    const marked = keyed([['a', null]])
    marked[22] = 0x40
    expect(refused(withCrc(marked))).toMatchObject({ error: 'INVALID_RECORD' })
    expect(refused(keyed([['', '1']]))).toMatchObject({ kind: 'appended' })
    expect(newLog({}, COLD).log.append(batch(['no key']), EPOCH, NOW)).toMatchObject({ kind: 'appended' })
  })

  it('is quarantined where it has gone bad before it is compacted, and not compacted across', async () => {
    const { log, disk, context } = compacted()
    for (let round = 0; round < 30; round++) put(log, keyed([[`key ${round % 3}`, `${round}`.padEnd(90)]]))
    seal(log)
    await log.sync()
    const [, second = 0] = segmentsOf(log)
    flip(disk, `${DIRECTORY}/${String(second).padStart(20, '0')}.log`, 300, context)
    await expect(compact(log)).rejects.toThrow('checksum')
    expect(log.quarantined).toHaveLength(1)
    expect((await compact(log)).isDone).toBe(true)
    expect(segmentsOf(log)).toContain(second)
    expect((await lastValuesFrom(log, log.quarantined[0]?.endOffset ?? 0)).get('key 0')).toBe('27'.padEnd(90))
  })
})

describe('what a log remembers of its compaction', () => {
  async function compactedOnce(entries: Record<string, string> = {}): Promise<Bench> {
    const bench = compacted({ 'delete.retention.ms': '0', ...entries })
    put(bench.log, keyed([['a', '1']]))
    put(bench.log, keyed([['a', null]]))
    seal(bench.log)
    for (const pass of [0, 1]) {
      await compact(bench.log, { now: later(pass) })
      seal(bench.log)
    }
    return bench
  }

  it('tells how far records may be gone, also when a pass was broken off', async () => {
    const { log } = compacted()
    put(log, keyed([['a', '1']]))
    put(log, keyed([['a', '2']]))
    for (let count = 0; count < 4; count += 1) seal(log)
    await log.sync()
    const plan = must(await log.compaction.plan(NOW), 'there is something to compact')
    const { bytes } = log
    // Until the first segment is replaced.
    const pause = (): Promise<boolean> => Promise.resolve(log.bytes === bytes)
    const result = await log.compaction.run(plan, meansOf({ isSliceOver: () => true, pause }))
    expect(result).toMatchObject({ isDone: false, cleanedTo: 0 })
    expect(await recordsOf(log)).not.toContain('0 a=1')
    expect(log.compaction.touchedTo).toBe(plan.endOffset)
  })

  it('is over a restart what it was before', async () => {
    for (const how of ['clean', 'kill'] as const) {
      const bench = await compactedOnce()
      const { compacted: before } = bench.log.compaction
      expect(before).toMatchObject({ droppedTo: 2 })
      const again = await reopened(bench, how)
      expect(again.compaction.compacted).toEqual(before)
    }
  })

  it('is nothing of a log that was emptied, but for the floor that was noted before', async () => {
    const { log } = await compactedOnce()
    const floor = { latestEpoch: EPOCH, logEndOffset: log.writtenEndOffset }
    await log.compaction.beforeBeginningAnew(floor)
    await log.truncateTo(at(0), NOW, () => Promise.resolve())
    expect(log.compaction.compacted).toEqual({ cleanedTo: 0, droppedTo: 0, touchedTo: 0, floor })
    await log.compaction.onBegunAnew(at(7))
    expect(log.compaction.compacted).toMatchObject({ droppedTo: 7, touchedTo: 7, floor })
  })

  it('has no floor any more when the log has passed it and is cut', async () => {
    const { log } = await compactedOnce()
    await log.compaction.beforeBeginningAnew({ latestEpoch: EPOCH, logEndOffset: at(1) })
    const { touchedTo } = log.compaction
    await log.truncateTo(touchedTo, NOW, () => Promise.resolve())
    expect(log.compaction.floor).toBeUndefined()
    expect(log.compaction.touchedTo).toBe(touchedTo)
  })
})

/** With one bit turned. */
function flip(disk: Disk, path: string, position: number, { files }: StorageContext): void {
  const bytes = disk.readFile(path)
  bytes[position] = (bytes[position] ?? 0) ^ 4
  files.closeIdle()
  disk.writeFile(path, bytes)
}

function withCrc(bytes: Uint8Array): Uint8Array {
  writeInt32(bytes, CRC_AT, computeCrc(bytes, 0, bytes.length))
  return bytes
}

async function lastValuesFrom(log: PartitionLog, from: number): Promise<Map<string | null, string | null>> {
  const batches = await batchesOf(log, from)
  return new Map(batches.flatMap(({ records }) => records.map(({ key, value }) => [key, value] as const)))
}
