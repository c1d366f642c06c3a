// Appending, writing, syncing and reading one partition's log. Trimming, retention and recovery have files of their own.

import { describe, expect, it } from 'vitest'
import { QuarantinedError } from '../../broker/storage/quarantine.ts'
import { PartitionLog } from '../../broker/storage/partition-log.ts'
import {
  at,
  batch,
  concat,
  DIRECTORY,
  EPOCH,
  epoch,
  newLog,
  NOW,
  numbered,
  put,
  readAll,
  recordsIn,
  time,
} from './log-fixture.ts'

describe('appending', () => {
  it('gives offsets one behind the other and nothing to read before it is written', () => {
    const { log } = newLog()
    expect(log.append(batch(['a', 'b']), EPOCH, NOW)).toEqual({
      kind: 'appended',
      baseOffset: 0,
      endOffset: 2,
      logAppendTime: undefined,
    })
    expect(log.append(batch(['c']), EPOCH, NOW)).toMatchObject({ baseOffset: 2, endOffset: 3 })
    expect(log.logEndOffset).toBe(3)
    expect(log.writtenEndOffset).toBe(0)
    expect(log.readTail(at(0), 1_000, at(3))?.bytes.length).toBe(0)
    expect(log.write()).toBeUndefined()
    expect(log.writtenEndOffset).toBe(3)
    const slice = log.readTail(at(0), 1_000, at(3))
    expect(recordsIn(slice?.bytes ?? new Uint8Array())).toEqual([
      [0, 'a'],
      [1, 'b'],
      [2, 'c'],
    ])
    expect(slice?.endOffset).toBe(3)
  })

  it('reads the same from files as from memory', async () => {
    const { log, context } = newLog({ 'segment.bytes': '1024' })
    const expected: [number, string][] = []
    for (let number = 0; number < 200; number++) {
      put(log, batch([`value ${number}`]))
      expected.push([number, `value ${number}`])
    }
    expect(await readAll(log)).toEqual(expected)
    const clean = await log.closeClean(NOW)
    if (clean === undefined) throw new Error('not clean')
    const again = PartitionLog.open(context, DIRECTORY, log.config, clean)
    expect(again.describe().segments.length).toBeGreaterThan(10)
    expect(await readAll(again)).toEqual(expected)
    expect(await readAll(again, 77, 1)).toEqual(expected.slice(77))
    expect(put(again, batch(['next']))).toBe(200)
    expect(await readAll(again, 190)).toEqual([...expected.slice(190), [200, 'next']])
  })
})
