import { describe, expect, it } from 'vitest'
import { SyncScheduler } from '../../broker/storage/sync-scheduler.ts'

/** Syncs that end when the test says so. */
function makeSyncs(): { sync: () => Promise<void>; begun: () => number; end: (failure?: Error) => void } {
  const open: ((failure?: Error) => void)[] = []
  let begun = 0
  return {
    sync: () => {
      begun++
      return new Promise((resolve, reject) => {
        open.push((failure) => {
          if (failure === undefined) resolve()
          else reject(failure)
        })
      })
    },
    begun: () => begun,
    end: (failure) => open.shift()?.(failure),
  }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

describe('a sync scheduler', () => {
  it('lets those who ask while a sync runs share the next one', async () => {
    const syncs = makeSyncs()
    const scheduler = new SyncScheduler(syncs.sync)
    const told: string[] = []
    const ask = (name: string): void => void scheduler.request().then(() => told.push(name))
    ask('first')
    for (const name of ['a', 'b', 'c']) ask(name)
    expect(syncs.begun()).toBe(1)
    syncs.end()
    await turn()
    expect(told).toEqual(['first'])
    expect(syncs.begun()).toBe(2)
    syncs.end()
    await turn()
    expect(told).toEqual(['first', 'a', 'b', 'c'])
    expect(syncs.begun()).toBe(2)
  })

  it('does not count a sync that began before the question', async () => {
    const syncs = makeSyncs()
    const scheduler = new SyncScheduler(syncs.sync)
    const told: string[] = []
    scheduler.notify(() => {
      told.push('one')
      // The sync of those who waited has begun already; this one is not covered by it.
      scheduler.notify(() => told.push('three'))
    })
    scheduler.notify(() => told.push('two'))
    syncs.end()
    await turn()
    expect([syncs.begun(), told]).toEqual([2, ['one']])
    syncs.end()
    await turn()
    expect([syncs.begun(), told]).toEqual([3, ['one', 'two']])
    syncs.end()
    await turn()
    expect(told).toEqual(['one', 'two', 'three'])
  })

  it('gives all callers of one sync the same promise', async () => {
    const syncs = makeSyncs()
    const scheduler = new SyncScheduler(syncs.sync)
    const first = scheduler.request()
    const second = scheduler.request()
    expect(second).not.toBe(first)
    expect(scheduler.request()).toBe(second)
    syncs.end()
    await first
    syncs.end()
    await second
  })

  it('fails everybody for good when a sync fails, and syncs no more', async () => {
    const syncs = makeSyncs()
    const scheduler = new SyncScheduler(syncs.sync)
    const failure = new Error('EIO')
    const first = scheduler.request()
    const second = scheduler.request()
    const told: unknown[] = []
    scheduler.notify((error) => told.push(error))
    syncs.end(failure)
    await expect(first).rejects.toBe(failure)
    await expect(second).rejects.toBe(failure)
    await expect(scheduler.request()).rejects.toBe(failure)
    expect(told).toEqual([failure])
    expect(scheduler.failure).toBe(failure)
    expect(syncs.begun()).toBe(1)
  })

  it('takes a sync that throws at once as one that fails', async () => {
    const scheduler = new SyncScheduler(() => {
      throw new Error('closed')
    })
    await expect(scheduler.request()).rejects.toThrow('closed')
    await expect(scheduler.request()).rejects.toThrow('closed')
  })

  it('starts anew after a time without requests', async () => {
    const syncs = makeSyncs()
    const scheduler = new SyncScheduler(syncs.sync)
    for (let round = 1; round <= 3; round++) {
      const request = scheduler.request()
      expect(syncs.begun()).toBe(round)
      syncs.end()
      await request
    }
  })
})
