import { describe, expect, it } from 'vitest'
import { DiskError } from '../../broker/storage/disk.ts'
import { DiskSpace } from '../../broker/storage/disk-space.ts'
import { MemoryDisk } from '../../broker/storage/memory-disk.ts'
import { silentLogger } from '../../shared/logger.ts'
import type { Timers } from '../../shared/time.ts'
import { systemClock } from '../../shared/time.ts'

class MeasuredDisk extends MemoryDisk {
  freeBytes = 1_000_000
  looks = 0
  failure: DiskError | undefined

  override space(): { freeBytes: number; totalBytes: number } {
    this.looks++
    if (this.failure !== undefined) throw this.failure
    return { freeBytes: this.freeBytes, totalBytes: 10_000_000 }
  }
}

/** Timers that run when the test says so. */
function makeTimers(): { timers: Timers; fire: () => void; armed: () => number } {
  let pending: { delayMs: number; callback: () => void }[] = []
  const timers: Timers = {
    after(delayMs, callback) {
      const entry = { delayMs, callback }
      pending.push(entry)
      return { cancel: () => void (pending = pending.filter((other) => other !== entry)) }
    },
    atEndOfTurn: (callback) => callback(),
  }
  const fire = (): void => {
    const due = pending
    pending = []
    for (const { callback } of due) callback()
  }
  return { timers, fire, armed: () => pending.length }
}

function setUp(reserveBytes?: number): { disk: MeasuredDisk; space: DiskSpace; fire: () => void; armed: () => number } {
  const disk = new MeasuredDisk(systemClock)
  const { timers, fire, armed } = makeTimers()
  const space = new DiskSpace({ disk, path: '/', timers, logger: silentLogger, reserveBytes })
  return { disk, space, fire, armed }
}

describe('the space on the disk', () => {
  it('keeps a twentieth of the file system in reserve unless told otherwise', () => {
    expect(setUp().space.reserveBytes).toBe(500_000)
    expect(setUp(7).space.reserveBytes).toBe(7)
  })

  it('refuses appends below the reserve, and takes them again when there is a tenth more', () => {
    const { disk, space, fire } = setUp(100_000)
    expect(space.admitsAppend()).toBe(true)
    disk.freeBytes = 99_999
    fire()
    expect(space.admitsAppend()).toBe(false)
    disk.freeBytes = 109_999
    fire()
    expect(space.state).toBe('full')
    disk.freeBytes = 110_000
    fire()
    expect(space.admitsAppend()).toBe(true)
  })

  it('is full from the start when it is', () => {
    const disk = new MeasuredDisk(systemClock)
    disk.freeBytes = 10
    const { timers } = makeTimers()
    const space = new DiskSpace({ disk, path: '/', timers, logger: silentLogger, reserveBytes: 100 })
    expect(space.admitsAppend()).toBe(false)
  })

  it('looks once however many appends there are, and not at all without any', () => {
    const { disk, space, fire, armed } = setUp(100)
    expect(disk.looks).toBe(1)
    expect(armed()).toBe(0)
    for (let index = 0; index < 1000; index++) space.admitsAppend()
    expect(armed()).toBe(1)
    fire()
    expect(disk.looks).toBe(2)
    expect(armed()).toBe(0)
  })

  it('looks before its time when what was appended since may have reached the reserve', () => {
    const { disk, space } = setUp(100_000)
    for (let round = 0; round < 9; round++) {
      disk.freeBytes -= 90_000
      space.noteAppended(90_000)
    }
    expect(space.state).toBe('writable')
    expect(disk.looks).toBe(1)
    space.noteAppended(90_001)
    expect(disk.looks).toBe(2)
    expect(space.state).toBe('writable')
    disk.freeBytes = 99_999
    space.noteAppended(90_001)
    expect(space.admitsAppend()).toBe(false)
    expect(disk.looks).toBe(3)
    space.noteAppended(1_000_000)
    expect(disk.looks).toBe(3)
  })

  it('is full after an append that found no space, until a later look finds some', () => {
    for (const code of ['ENOSPC', 'EDQUOT']) {
      const { space, fire } = setUp(100)
      expect(space.onAppendFailure(new DiskError(code, 'append', '/a'))).toBe(true)
      expect(space.admitsAppend()).toBe(false)
      fire()
      expect(space.admitsAppend()).toBe(true)
    }
  })

  it('is not full for any other failure', () => {
    const { space } = setUp(100)
    expect(space.onAppendFailure(new DiskError('EIO', 'append', '/a'))).toBe(false)
    expect(space.onAppendFailure(new Error('ENOSPC'))).toBe(false)
    expect(space.admitsAppend()).toBe(true)
  })

  it('goes on looking by itself while the disk is full, and stops when told', () => {
    const { disk, space, fire, armed } = setUp(100_000)
    disk.freeBytes = 0
    space.check()
    for (let index = 0; index < 5; index++) {
      expect(armed()).toBe(1)
      fire()
    }
    space.stop()
    expect(armed()).toBe(0)
    space.admitsAppend()
    expect(armed()).toBe(0)
  })

  it('keeps its opinion when the system gives no answer', () => {
    const { disk, space } = setUp(100)
    disk.failure = new DiskError('EIO', 'space', '/')
    space.check()
    expect(space.admitsAppend()).toBe(true)
  })
})
