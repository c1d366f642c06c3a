// What a recovery makes of a log after a crash: the table of FORMAT.md row by row, and what must hold for all of them.

import { describe, expect, it } from 'vitest'
import type { RecoveryReport } from '../../broker/storage/recovery.ts'
import { recoverLog } from '../../broker/storage/recovery.ts'
import type { PartitionLog } from '../../broker/storage/partition-log.ts'
import type { LogPlace } from '../../broker/storage/log-files.ts'
import { createStorageContext } from '../../broker/storage/storage-context.ts'
import type { Disk } from '../../broker/storage/disk.ts'
import { SimDisk } from '../simulation/sim-disk.ts'
import type { Bench } from './log-fixture.ts'
import { at, batch, DIRECTORY, EPOCH, epoch, newLog, NOW, numbered, put, readAll, SetClock } from './log-fixture.ts'

const SEGMENT_0 = `${DIRECTORY}/00000000000000000000.log`

interface Crash {
  readonly kernelLived: boolean
  readonly recoveryPoint?: LogPlace | undefined
}

/** Opens the files again as a new process would. */
async function recover(bench: Bench, crash: Crash): Promise<{ log: PartitionLog; report: RecoveryReport }> {
  bench.context.files.closeIdle()
  return recoverLog({
    context: createStorageContext(bench.disk),
    directory: DIRECTORY,
    config: bench.log.config,
    now: NOW,
    kernelLived: crash.kernelLived,
    recoveryPoint: 'recoveryPoint' in crash ? crash.recoveryPoint : bench.log.checkpoint().recoveryPoint,
  })
}

function patch(disk: Disk, path: string, change: (bytes: Uint8Array) => Uint8Array | void): void {
  const bytes = disk.readFile(path)
  disk.writeFile(path, change(bytes) ?? bytes)
}

function flip(disk: Disk, path: string, position: number): void {
  patch(disk, path, (bytes) => {
    bytes[position] = (bytes[position] ?? 0) ^ 0x10
  })
}

/** Batches a to e of one record each, of the same length; the recovery point behind the first `synced`. */
async function fiveBatches(synced: number): Promise<{ bench: Bench; size: number }> {
  const bench = newLog()
  let size = 0
  for (const [index, value] of ['a', 'b', 'c', 'd', 'e'].entries()) {
    if (index === synced) await bench.log.sync()
    const bytes = batch([value])
    size = bytes.length
    put(bench.log, bytes)
  }
  return { bench, size }
}

describe('recovery', () => {
  it('finds everything again after a kill, and nothing to cut', async () => {
    const { bench } = await fiveBatches(2)
    const { log, report } = await recover(bench, { kernelLived: true })
    expect(report).toMatchObject({ truncatedBytes: 0, quarantined: [], logEndOffset: 5 })
    expect(await readAll(log)).toEqual([
      [0, 'a'],
      [1, 'b'],
      [2, 'c'],
      [3, 'd'],
      [4, 'e'],
    ])
    expect(log.recoveryPoint).toBe(2)
    await log.sync()
    expect(log.recoveryPoint).toBe(5)
    expect(put(log, batch(['f']))).toBe(5)
  })

  it('cuts a torn tail above the recovery point after a power loss, and keeps what looked valid', async () => {
    const { bench, size } = await fiveBatches(2)
    flip(bench.disk, SEGMENT_0, 3 * size + 65)
    const { log, report } = await recover(bench, { kernelLived: false })
    expect(report).toMatchObject({ truncatedBytes: 2 * size, truncatedAt: 3, quarantined: [], logEndOffset: 3 })
    expect(bench.disk.list(DIRECTORY)).toContain(`00000000000000000000-${3 * size}.truncated`)
    expect(put(log, batch(['x']))).toBe(3)
    expect((await readAll(log)).map(([, value]) => value)).toEqual(['a', 'b', 'c', 'x'])
  })

  it('cuts the last batch when a kill has cut its write short', async () => {
    const { bench, size } = await fiveBatches(2)
    patch(bench.disk, SEGMENT_0, (bytes) => bytes.slice(0, 4 * size + 30))
    const { report } = await recover(bench, { kernelLived: true })
    expect(report).toMatchObject({ truncatedBytes: 30, truncatedAt: 4, quarantined: [], logEndOffset: 4 })
  })

  it('quarantines a bad batch with good ones behind it when the kernel lived on', async () => {
    const { bench, size } = await fiveBatches(2)
    flip(bench.disk, SEGMENT_0, 3 * size + 65)
    const { log, report } = await recover(bench, { kernelLived: true })
    expect(report.quarantined).toMatchObject([{ startOffset: 3, endOffset: 4, position: 3 * size, bytes: size }])
    expect(report.logEndOffset).toBe(5)
    expect(bench.disk.readFile(`${DIRECTORY}/00000000000000000000-${3 * size}.corrupt`).length).toBe(size)
    await expect(log.read(at(3), 1_000, at(5))).rejects.toMatchObject({ code: 'QUARANTINED', resumeOffset: 4 })
    const before = await log.read(at(0), 1_000, at(5))
    expect(before.endOffset).toBe(3)
    expect(await readAll(log, 4)).toEqual([[4, 'e']])
    expect(put(log, batch(['f']))).toBe(5)
  })

  it('quarantines the last batch when it is complete and its checksum is wrong though the kernel lived on', async () => {
    const { bench, size } = await fiveBatches(2)
    flip(bench.disk, SEGMENT_0, 4 * size + 65)
    const { log, report } = await recover(bench, { kernelLived: true })
    expect(report.quarantined).toMatchObject([{ startOffset: 4, endOffset: 5 }])
    expect(put(log, batch(['f']))).toBe(5)
    expect(log.describe().segments.map((segment) => segment.baseOffset)).toEqual([0, 5])
    expect(await readAll(log, 5)).toEqual([[5, 'f']])
  })

  for (const kernelLived of [true, false]) {
    it(`quarantines whatever is bad below the recovery point (kernel lived on: ${kernelLived})`, async () => {
      const { bench, size } = await fiveBatches(5)
      await bench.log.sync()
      // Nothing below the recovery point is scanned; this scan starts early because the point was lowered meanwhile.
      patch(bench.disk, SEGMENT_0, (bytes) => bytes.slice(0, 3 * size + 20))
      const { log, report } = await recover(bench, { kernelLived })
      expect(report.quarantined).toMatchObject([{ startOffset: 3, endOffset: 5 }])
      expect(report.truncatedBytes).toBe(0)
      expect(put(log, batch(['f']))).toBe(5)
      expect(await readAll(log, 5)).toEqual([[5, 'f']])
    })
  }

  it('cuts zeroes at the end of the file', async () => {
    for (const kernelLived of [true, false]) {
      const { bench, size } = await fiveBatches(2)
      patch(bench.disk, SEGMENT_0, (bytes) => new Uint8Array(Buffer.concat([bytes, Buffer.alloc(10_000)])))
      const { report } = await recover(bench, { kernelLived })
      expect(report).toMatchObject({ truncatedBytes: 10_000, truncatedAt: 5, quarantined: [] })
      expect(bench.disk.stat(SEGMENT_0)?.size).toBe(5 * size)
    }
  })

  it('finds the same when it is run again', async () => {
    for (const kernelLived of [true, false]) {
      for (let damaged = 0; damaged < 5; damaged++) {
        const { bench, size } = await fiveBatches(2)
        flip(bench.disk, SEGMENT_0, damaged * size + 65)
        const first = await recover(bench, {
          kernelLived,
          recoveryPoint: { offset: at(2), segmentBase: at(0), position: 2 * size },
        })
        const described = first.log.describe()
        const second = await recover(bench, { kernelLived })
        expect(second.report).toMatchObject({ truncatedBytes: 0, quarantined: [] })
        expect(second.log.describe()).toMatchObject({
          segments: described.segments,
          logEndOffset: described.logEndOffset,
          quarantined: described.quarantined,
        })
      }
    }
  })

  it('knows the producers of before, from a snapshot and from what lies behind it', async () => {
    const bench = newLog()
    put(bench.log, numbered(['a', 'b'], 7, 0))
    put(bench.log, numbered(['c'], 7, 2))
    const { log } = await recover(bench, { kernelLived: true })
    expect(log.append(numbered(['a', 'b'], 7, 0), EPOCH, NOW)).toEqual({
      kind: 'duplicate',
      baseOffset: 0,
      endOffset: 2,
    })
    expect(log.append(numbered(['x'], 7, 4), EPOCH, NOW)).toMatchObject({ error: 'OUT_OF_ORDER_SEQUENCE_NUMBER' })
    expect(log.append(numbered(['d'], 7, 3), EPOCH, NOW)).toMatchObject({ kind: 'appended', baseOffset: 3 })
  })

  it('knows the leader epochs of before', async () => {
    const bench = newLog({ 'segment.bytes': '1024' })
    for (let number = 0; number < 60; number++) put(bench.log, batch([`v${number}`]), epoch(Math.floor(number / 25)))
    await bench.log.sync()
    bench.disk.remove(`${DIRECTORY}/leader-epochs`)
    const { log } = await recover(bench, { kernelLived: false })
    expect(log.latestEpoch).toBe(2)
    expect(log.epochEndOffset(epoch(0))).toEqual({ epoch: 0, endOffset: 25 })
    expect(log.epochEndOffset(epoch(1))).toEqual({ epoch: 1, endOffset: 50 })
  })

  it('makes a cut durable before anything can be appended, so that what was cut off cannot come back', async () => {
    const clock = new SetClock()
    const disk = new SimDisk({ clock })
    disk.makeDirectory('data')
    const bench = newLog({}, { disk })
    for (const value of ['a', 'b', 'c']) put(bench.log, batch([value]))
    bench.log.close()
    patch(disk, SEGMENT_0, (bytes) => bytes.slice(0, bytes.length - 5))
    const operations: string[] = []
    disk.options = { clock, onOperation: ({ kind, path }) => operations.push(`${kind} ${path}`) }
    const { report } = await recover(bench, { kernelLived: false })
    expect(report.truncatedAt).toBe(2)
    const cut = operations.indexOf(`truncate ${SEGMENT_0}`)
    expect(cut).toBeGreaterThanOrEqual(0)
    expect(operations.indexOf(`synced ${SEGMENT_0}`)).toBeGreaterThan(cut)
    expect(operations.indexOf(`directory-synced ${DIRECTORY}`)).toBeGreaterThan(cut)
  })
})
