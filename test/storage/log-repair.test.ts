// Records that flipped bits have taken, and that come back from a log that has the same ones.

import { describe, expect, it } from 'vitest'
import type { Disk } from '../../broker/storage/disk.ts'
import { MemoryDisk } from '../../broker/storage/memory-disk.ts'
import { createStorageContext } from '../../broker/storage/storage-context.ts'
import { must } from '../../shared/assert.ts'
import { seededRandom } from '../../shared/random.ts'
import { SimDisk } from '../simulation/sim-disk.ts'
import { parseTopicConfig } from '../../broker/storage/log-config.ts'
import type { PartitionLog } from '../../broker/storage/partition-log.ts'
import type { QuarantinedRange } from '../../broker/storage/quarantine.ts'
import { recoverLog } from '../../broker/storage/recovery.ts'
import { at, type Bench, batch, DIRECTORY, epoch, newLog, NOW, put, readAll, SetClock } from './log-fixture.ts'

const ENTRIES = { 'segment.bytes': '1024', 'index.interval.bytes': '200' }

/** Forty batches in several segments and two epochs. */
function filled(disk: Disk = new MemoryDisk(new SetClock())): Bench {
  const bench = newLog(ENTRIES, { hotTailBytes: 0, disk })
  for (let number = 0; number < 40; number += 1) {
    put(bench.log, batch([`record ${number}`]), epoch(number < 20 ? 1 : 2))
  }
  return bench
}

function files({ disk }: Bench): string[] {
  return disk.list(DIRECTORY).filter((name) => name.endsWith('.log'))
}

function flip({ disk, context }: Bench, name: string, position: number): void {
  const path = `${DIRECTORY}/${name}`
  const bytes = disk.readFile(path)
  bytes[position] = (bytes[position] ?? 0) ^ 4
  context.files.closeIdle()
  disk.writeFile(path, bytes)
}

async function recordsOf(log: PartitionLog, { startOffset, endOffset }: QuarantinedRange): Promise<Uint8Array> {
  const slice = await log.read(startOffset, 1_000_000, endOffset)
  const bytes = Uint8Array.from(slice.bytes)
  slice.release()
  return bytes
}

async function reopened({ context }: Bench): Promise<PartitionLog> {
  const config = parseTopicConfig(ENTRIES)
  const kept = { recoveryPoint: undefined, kernelLived: true, now: NOW }
  return (await recoverLog({ context, directory: DIRECTORY, config, ...kept })).log
}

describe('records that damage has taken', () => {
  it('are back in their place, in every segment, for good', async () => {
    const whole = filled()
    const expected = await readAll(whole.log)
    for (const name of files(whole)) {
      const bench = filled()
      flip(bench, name, 65)
      flip(bench, name, 430)
      const found = await bench.log.scrub()
      expect(found.length, name).toBeGreaterThan(0)
      for (const range of found) {
        expect(await bench.log.putBack(range, await recordsOf(whole.log, range))).toBeUndefined()
      }
      expect(bench.log.quarantined).toEqual([])
      expect(await readAll(bench.log)).toEqual(expected)
      expect(await bench.log.scrub()).toEqual([])
      put(bench.log, batch(['the next one']), epoch(2))
      expect((await readAll(bench.log)).length).toBe(41)
      bench.log.close()
      const after = await reopened(bench)
      expect(after.quarantined).toEqual([])
      expect((await readAll(after)).slice(0, 40)).toEqual(expected)
      expect(after.logEndOffset).toBe(41)
    }
  })

  it('leave a hole where what comes is not what was there', async () => {
    const whole = filled()
    const bench = filled()
    const [first, second] = files(bench)
    flip(bench, must(first, 'it has segments'), 150)
    flip(bench, must(second, 'it has segments'), 150)
    const [hole, other] = await bench.log.scrub()
    const range = must(hole, 'it was found')
    const right = await recordsOf(whole.log, range)
    const wrong = Uint8Array.from(right)
    wrong[wrong.length - 1] = (wrong[wrong.length - 1] ?? 0) ^ 1
    expect(await bench.log.putBack(range, wrong)).toMatch(/./)
    expect(await bench.log.putBack(range, right.subarray(1))).toMatch(/bytes/)
    const elsewhere = await recordsOf(whole.log, must(other, 'it was found'))
    expect(await bench.log.putBack(range, elsewhere)).toMatch(/./)
    const later = newLog(ENTRIES)
    for (let number = 0; number < 40; number += 1) put(later.log, batch([`record ${number}`]), epoch(3))
    expect(await bench.log.putBack(range, await recordsOf(later.log, range))).toMatch(/epoch 3/)
    expect(bench.log.quarantined).toEqual([range, other])
    expect(await bench.log.putBack(range, right)).toBeUndefined()
    expect(bench.log.quarantined).toEqual([other])
    expect(await bench.log.putBack(range, right)).toBe('the log has changed meanwhile')
  })

  it('are not put into a log that was cut meanwhile, and what was begun is no part of it', async () => {
    const whole = filled()
    const bench = filled()
    flip(bench, must(files(bench)[0], 'it has segments'), 150)
    const [hole] = await bench.log.scrub()
    const range = must(hole, 'it was found')
    const repair = bench.log.putBack(range, await recordsOf(whole.log, range))
    const cut = bench.log.truncateTo(range.startOffset, NOW, async () => undefined)
    expect(await repair).toBe('the log has changed meanwhile')
    await cut
    expect(bench.log.logEndOffset).toBe(range.startOffset)
    expect(bench.log.quarantined).toEqual([])
    expect(bench.disk.list(DIRECTORY).filter((name) => name.endsWith('.tmp'))).toEqual([])
  })

  it('can be read by somebody who is in the middle of the segment', async () => {
    const whole = filled()
    const bench = filled()
    flip(bench, must(files(bench)[1], 'it has segments'), 300)
    const [hole] = await bench.log.scrub()
    const range = must(hole, 'it was found')
    const from = range.endOffset
    const expected = (await readAll(whole.log)).filter(([offset]) => offset >= from)
    const repair = bench.log.putBack(range, await recordsOf(whole.log, range))
    const reads = Array.from({ length: 20 }, () => readAll(bench.log, from, 100))
    for (const read of await Promise.all(reads)) expect(read).toEqual(expected)
    expect(await repair).toBeUndefined()
    expect(await readAll(bench.log, at(range.startOffset))).toEqual(
      (await readAll(whole.log)).filter(([offset]) => offset >= range.startOffset),
    )
  })
})

describe('a power loss while records are put back', () => {
  it('leaves them where they are, and the rest as it was, and they can be put back once more', async () => {
    const whole = filled()
    const expected = await readAll(whole.log)
    let states = 0
    for (const segment of [0, 2, -1]) {
      const disk = new SimDisk({ clock: new SetClock(), onOperation: () => undefined })
      const bench = filled(disk)
      await bench.log.sync()
      const name = must(files(bench).at(segment), 'it has segments')
      flip(bench, name, 65)
      await disk.syncFile(`${DIRECTORY}/${name}`)
      await disk.syncDirectory('data')
      await disk.syncDirectory('.')
      const range = must((await bench.log.scrub())[0], 'it was found')
      const records = await recordsOf(whole.log, range)
      const { recoveryPoint } = bench.log.checkpoint()
      const moments: SimDisk[] = []
      disk.options = {
        clock: disk.options.clock,
        onOperation: ({ kind }, now) => void (kind === 'read' || kind === 'open' || moments.push(now.fork())),
      }
      expect(await bench.log.putBack(range, records)).toBeUndefined()
      moments.push(disk.fork())
      for (const [index, moment] of moments.entries()) {
        const random = seededRandom(index)
        const found = [moment.kill(), moment.crash({ kind: 'none' }), moment.crash({ kind: 'all' })]
        for (let count = 0; count < 3; count += 1) found.push(moment.crash({ kind: 'random', random }))
        for (const [choice, left] of found.entries()) {
          const what = `segment ${segment}, moment ${index}, choice ${choice}`
          const context = createStorageContext(left, { hotTailBytes: 0 })
          const config = parseTopicConfig(ENTRIES)
          const kept = { recoveryPoint, kernelLived: choice === 0, now: NOW }
          const { log } = await recoverLog({ context, directory: DIRECTORY, config, ...kept })
          states += 1
          expect(log.logEndOffset, what).toBe(40)
          expect(log.quarantined.length, what).toBeLessThanOrEqual(1)
          for (const again of log.quarantined) {
            expect([again.startOffset, again.endOffset], what).toEqual([range.startOffset, range.endOffset])
            expect(await log.putBack(again, records), what).toBeUndefined()
          }
          expect(await readAll(log), what).toEqual(expected)
          expect(await log.scrub(), what).toEqual([])
        }
      }
    }
    expect(states).toBeGreaterThan(100)
  }, 60_000)
})
