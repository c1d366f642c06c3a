// What a partition keeps, and what trimming and retention take away.

import { describe, expect, it } from 'vitest'
import { parseTopicConfig } from '../../broker/storage/log-config.ts'
import { openLog } from '../../broker/storage/log-opening.ts'
import { CLOCK_JUMP_MS } from '../../broker/storage/retention.ts'
import type { Disk } from '../../broker/storage/disk.ts'
import { createStorageContext } from '../../broker/storage/storage-context.ts'
import type { SimFault, SimOperation } from '../simulation/sim-disk.ts'
import { SimDisk } from '../simulation/sim-disk.ts'
import { at, batch, DIRECTORY, EPOCH, newLog, NOW, put, readAll, SetClock, time } from './log-fixture.ts'

const MINUTE = 60_000

/** Ten segments with one record each, appended a minute after one another, with the timestamps of the producer. */
function tenMinutes(
  entries: Record<string, string>,
  timestampOf = (index: number): number => NOW + index * MINUTE,
  options: { disk?: Disk } = {},
) {
  const bench = newLog({ 'segment.bytes': '1024', ...entries }, options)
  for (let index = 0; index < 10; index++) {
    put(
      bench.log,
      batch([`${index}`.repeat(800)], { timestamp: timestampOf(index) }),
      EPOCH,
      time(NOW + index * MINUTE),
    )
  }
  return bench
}

describe('retention', () => {
  it('takes away whole segments whose youngest record is too old, oldest first', async () => {
    const { log, disk } = tenMinutes({ 'retention.ms': `${5 * MINUTE}` })
    const removed = await log.applyRetention(time(NOW + 9 * MINUTE))
    expect(removed.segments).toBe(4)
    expect(log.logStartOffset).toBe(4)
    expect(disk.list(DIRECTORY).filter((name) => name.endsWith('.log')).length).toBe(6)
    await expect(log.read(at(3), 100, at(10))).rejects.toMatchObject({ code: 'OFFSET_OUT_OF_RANGE' })
    expect((await readAll(log, 4)).length).toBe(6)
    expect(await log.applyRetention(time(NOW + 9 * MINUTE))).toEqual({ segments: 0, bytes: 0 })
  })

  it('keeps what replicas have not agreed on, however old', async () => {
    const { log } = tenMinutes({ 'retention.ms': `${5 * MINUTE}` })
    expect(await log.applyRetention(time(NOW + 40 * MINUTE), at(0))).toEqual({ segments: 0, bytes: 0 })
    expect((await log.applyRetention(time(NOW + 40 * MINUTE), at(3))).segments).toBe(3)
    expect((await log.applyRetention(time(NOW + 40 * MINUTE), at(9))).segments).toBe(6)
    expect(log.logStartOffset).toBe(9)
    expect((await log.applyRetention(time(NOW + 40 * MINUTE), at(10))).segments).toBe(1)
  })

  it('takes away the active segment too when everything has expired, and goes on at the same offset', async () => {
    const { log } = tenMinutes({ 'retention.ms': `${5 * MINUTE}` })
    expect((await log.applyRetention(time(NOW + 40 * MINUTE))).segments).toBe(10)
    expect(log).toMatchObject({ logStartOffset: 10, logEndOffset: 10, bytes: 0 })
    expect(put(log, batch(['next']))).toBe(10)
  })

  it('does not keep for ever what claims to be from the future', async () => {
    const { log } = tenMinutes({ 'retention.ms': `${5 * MINUTE}` }, () => NOW * 2)
    expect((await log.applyRetention(time(NOW + 9 * MINUTE))).segments).toBe(4)
  })

  it('keeps retention.bytes at least, and the active segment in any case', async () => {
    const { log } = tenMinutes({ 'retention.bytes': '3000', 'retention.ms': '-1' })
    await log.applyRetention(time(NOW + 9 * MINUTE))
    expect(log.bytes).toBeGreaterThanOrEqual(3_000)
    expect(log.logStartOffset).toBe(6)
    log.config = parseTopicConfig({ 'retention.bytes': '0', 'retention.ms': '-1' })
    await log.applyRetention(time(NOW + 9 * MINUTE))
    expect(log.logStartOffset).toBe(9)
  })

  it('takes away only a part at a time after the clock has jumped', async () => {
    const { log } = tenMinutes({ 'retention.ms': `${5 * MINUTE}` })
    const later = NOW + 10 * CLOCK_JUMP_MS
    expect((await log.applyRetention(time(later))).segments).toBe(1)
    expect((await log.applyRetention(time(later + MINUTE))).segments).toBe(1)
    // Set right again in between, the clock has cost little.
    expect((await log.applyRetention(time(NOW + 9 * MINUTE))).segments).toBe(1)
    for (let run = 0; run < 10; run++) await log.applyRetention(time(NOW + (10 + run) * MINUTE))
    expect(log.logStartOffset).toBe(10)
  })
})

describe('trimming', () => {
  it('hides records at once and survives a restart', async () => {
    const { log, disk } = tenMinutes({})
    await log.advanceLogStartOffset(at(7))
    expect(log.logStartOffset).toBe(7)
    await log.advanceLogStartOffset(at(2))
    expect(log.logStartOffset).toBe(7)
    await expect(log.advanceLogStartOffset(at(11))).rejects.toMatchObject({ code: 'OFFSET_OUT_OF_RANGE' })
    const clean = await log.closeClean(NOW)
    if (clean === undefined) throw new Error('not clean')
    const again = openLog(createStorageContext(disk), DIRECTORY, log.config, {
      ...clean,
      logStartOffset: at(0),
    })
    expect(again.logStartOffset).toBe(7)
    expect((await readAll(again, 7)).map(([offset]) => offset)).toEqual([7, 8, 9])
  })

  // A trim moves the start first, so that one whose removals fail leaves segments below it.
  it('does not bring back what was trimmed when a removal has failed', async () => {
    const clock = new SetClock()
    const disk = new SimDisk({ clock })
    disk.makeDirectory('data')
    const { log } = tenMinutes({ 'retention.ms': `${5 * MINUTE}` }, undefined, { disk })
    const fault = ({ kind }: SimOperation): SimFault | undefined => (kind === 'remove' ? { code: 'EIO' } : undefined)
    disk.options = { clock, fault }
    await expect(log.advanceLogStartOffset(at(7))).rejects.toMatchObject({ code: 'STORAGE_ERROR' })
    disk.options = { clock }
    expect(log.logStartOffset).toBe(7)
    expect((await log.applyRetention(time(NOW + 9 * MINUTE))).segments).toBeGreaterThan(3)
    expect(log.logStartOffset).toBe(7)
    expect((await readAll(log, 7)).map(([offset]) => offset)).toEqual([7, 8, 9])
  })

  it('does not disturb a read that is under way', async () => {
    const { log } = newLog({ 'segment.bytes': '1024' }, { hotTailBytes: 0 })
    for (let index = 0; index < 5; index++) put(log, batch([`${index}`.repeat(800)]))
    const reading = log.read(at(0), 100, at(5))
    const trimming = log.advanceLogStartOffset(at(3))
    await trimming
    const slice = await reading.catch((error: unknown) => error)
    expect(slice).toMatchObject({ endOffset: 1 })
  })
})
