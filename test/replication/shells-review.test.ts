// What must not happen to produces, high watermarks and leaderships when several things come together in one turn, or when a
// disk fails half way: replicas over real logs, and the partitions that producers write to.

import { describe, expect, it } from 'vitest'
import { PendingProduce, type PendingAppend } from '../../broker/replication/pending-produce.ts'
import type { FetchPosition } from '../../broker/replication/replication-events.ts'
import { TidemarkError } from '../../shared/errors.ts'
import { leaderEpoch, offset } from '../../shared/ids.ts'
import { numbered } from '../storage/log-fixture.ts'
import { type Broker, Brokers, ONE, settle, THREE, TWO } from './replica-brokers.ts'

function isPending(promise: Promise<unknown>): Promise<boolean> {
  return Promise.race([promise.then(() => false), settle().then(() => true)])
}

function send(broker: Broker, records: Uint8Array, acks: number): Promise<PendingAppend> {
  return new Promise((resolve) => {
    const produce = new PendingProduce(
      (appends) => appends[0] !== undefined && resolve(appends[0]),
      () => undefined,
    )
    const append = produce.add()
    broker.replica().partition.append({ records, leaderEpoch: undefined, acks, now: broker.now() }, append)
    produce.close()
  })
}

/** A fetch of this broker, which has promised the epoch to somebody. */
function positionOf(broker: Broker, epoch: number): FetchPosition {
  const { id } = broker
  const { writtenEndOffset: fetchOffset, latestEpoch: lastFetchedEpoch } = broker.log()
  const self = { from: id, directoryId: `disk-${id}`, incarnation: 1, isSuspect: false }
  return { ...self, leaderEpoch: leaderEpoch(epoch), fetchOffset, lastFetchedEpoch, heldEndOffset: fetchOffset }
}

/** As the broker around a replica does it: what a leader suggests to itself is tried at once. */
function followSuggestions(broker: Broker): void {
  const target: { suggestSuccessor: Broker['suggestSuccessor'] | ((...args: unknown[]) => void) } = broker
  Object.assign(target, {
    suggestSuccessor: (
      replica: ReturnType<Broker['replica']>,
      to: number,
      epochSeen: ReturnType<typeof leaderEpoch>,
    ) => {
      if (to === broker.id) replica.campaign(epochSeen)
    },
  })
}

describe('a produce that waits for replicas', () => {
  it('is told that its fate is unknown when its leader begins anew in the turn of its append', async () => {
    const brokers = await Brokers.start({ brokers: 3, minInSyncReplicas: 2 })
    const [one, two] = [brokers.of(ONE), brokers.of(TWO)]
    followSuggestions(one)
    await brokers.elect(ONE)
    await one.produce(['shared'])
    await settle()
    for (const id of [TWO, THREE]) {
      one.carrier.cut(id)
      brokers.of(id).carrier.cut(ONE)
    }
    const waiting = one.produce(['of the old epoch'])
    // A follower that has promised a higher epoch to somebody who did not win.
    one.replica().fetch(positionOf(two, 5))
    await settle()
    expect(one.replica().role).toBe('candidate')
    expect((await Promise.race([waiting, settle().then(() => undefined)]))?.refusal?.error).toBe('REQUEST_TIMED_OUT')
    brokers.close()
  })

  it('is not acknowledged when its records were cut off meanwhile', async () => {
    const brokers = await Brokers.start({ brokers: 3, minInSyncReplicas: 2 })
    const [one, two] = [brokers.of(ONE), brokers.of(TWO)]
    followSuggestions(one)
    await brokers.elect(ONE)
    await one.produce(['shared'])
    await settle()
    for (const id of [TWO, THREE]) {
      one.carrier.cut(id)
      brokers.of(id).carrier.cut(ONE)
    }
    const waiting = one.produce(['lost'])
    one.replica().fetch(positionOf(two, 5))
    await settle()
    brokers.time.advance(3_000)
    one.replica().tick()
    expect(one.replica().role).toBe('follower')
    two.replica().campaign(leaderEpoch(20))
    await settle()
    expect(two.replica().role).toBe('leader')
    for (const broker of brokers.list) for (const id of brokers.ids) broker.carrier.connect(id)
    one.replica().step({ kind: 'leader-announced', leader: TWO, epoch: leaderEpoch(21) })
    await brokers.until(() => one.log().latestEpoch === 21)
    await brokers.elect(ONE)
    for (const value of ['other', 'others']) await one.produce([value])
    const outcome = await Promise.race([waiting, settle().then(() => undefined)])
    expect((await one.bytes()).includes('lost')).toBe(false)
    expect(outcome?.refusal?.error).toBe('REQUEST_TIMED_OUT')
    brokers.close()
  })

  it('is settled where it repeats what is just being synced', async () => {
    const brokers = await Brokers.start({ brokers: 1, entries: { durability: 'fsync' } })
    await brokers.elect(ONE)
    const one = brokers.of(ONE)
    const records = numbered(['a'], 7, 0)
    const first = send(one, records, 1)
    one.replica().partition.flush()
    const second = send(one, records, 1)
    one.replica().partition.flush()
    expect(await isPending(first)).toBe(false)
    expect(await isPending(second)).toBe(false)
    brokers.close()
  })

  it('is settled when the partition closes under its sync', async () => {
    const brokers = await Brokers.start({ brokers: 1, entries: { durability: 'fsync' } })
    await brokers.elect(ONE)
    const one = brokers.of(ONE)
    const waiting = one.produce(['a'], 0, 1)
    one.replica().partition.flush()
    one.replica().stop()
    one.replica().partition.close()
    expect(await isPending(waiting)).toBe(false)
    brokers.close()
  })
})

describe('a leader', () => {
  it('whose disk is full when it has won an election is none, and tries again when there is room', async () => {
    const brokers = await Brokers.start({ brokers: 3, minInSyncReplicas: 2 })
    const one = brokers.of(ONE)
    const log = one.log()
    const write = log.write.bind(log)
    log.write = () => (log.stagedBytes > 0 ? failWrite(log) : undefined)
    await brokers.elect(ONE)
    expect(one.replica().role).not.toBe('leader')
    expect((await one.produce(['a'], 0, 1)).refusal?.error).toBe('NOT_LEADER_OR_FOLLOWER')
    log.write = write
    await brokers.elect(ONE)
    expect(one.replica().role).toBe('leader')
    expect((await one.produce(['b'])).refusal).toBeUndefined()
    brokers.close()
  })

  it('takes nothing any more once its own reasoning has failed', async () => {
    const brokers = await Brokers.start({ brokers: 3, minInSyncReplicas: 2 })
    const one = brokers.of(ONE)
    await brokers.elect(ONE)
    Object.assign(one, {
      noteHighWatermark: () => {
        throw new Error('a fault of the broker')
      },
    })
    const waiting = one.produce(['a'])
    await brokers.until(() => one.replica().stopReason !== undefined)
    expect((await waiting).refusal?.error ?? 'kept').toMatch(/REQUEST_TIMED_OUT|kept/)
    expect(one.replica().role).toBe('offline')
    expect((await one.produce(['b'], 0, 1)).refusal?.error).toBe('STORAGE_ERROR')
    brokers.close()
  })

  it('whose disk refuses a write leads no more, so that another one may; unless it is only full', async () => {
    const brokers = await Brokers.start({ brokers: 3, minInSyncReplicas: 2 })
    const one = brokers.of(ONE)
    await brokers.elect(ONE)
    const log = one.log()
    const write = log.write.bind(log)
    const refuse = (code: 'DISK_FULL' | 'STORAGE_ERROR') => () => {
      log.write = write
      return new TidemarkError(code, 'cannot be written')
    }
    log.write = refuse('DISK_FULL')
    expect((await one.produce(['a'])).refusal?.error).toBe('DISK_FULL')
    expect(one.replica().role).toBe('leader')
    log.write = refuse('STORAGE_ERROR')
    expect((await one.produce(['b'])).refusal?.error).toBe('STORAGE_ERROR')
    expect(one.replica()).toMatchObject({ role: 'offline', stopReason: 'cannot be written' })
    await brokers.elect(TWO)
    expect((await brokers.of(TWO).produce(['c'])).refusal).toBeUndefined()
    brokers.close()
  })

  it('whose log takes nothing any more leads no more', async () => {
    const brokers = await Brokers.start({ brokers: 3, minInSyncReplicas: 2 })
    const one = brokers.of(ONE)
    await brokers.elect(ONE)
    await one.produce(['a'])
    const log = one.log()
    const reason = new TidemarkError('STORAGE_ERROR', 'cannot be synced')
    Object.defineProperty(log, 'state', { get: () => ({ kind: 'read-only', reason }) })
    log.append = () => ({ kind: 'refused', error: 'STORAGE_ERROR', message: reason.message })
    await one.produce(['b'])
    expect(one.replica().role).toBe('offline')
    brokers.close()
  })
})

describe('a follower', () => {
  it('shows no more than it has when an election has accepted a loss', async () => {
    const brokers = await Brokers.start({ brokers: 3, minInSyncReplicas: 2 })
    const [one, two] = [brokers.of(ONE), brokers.of(TWO)]
    await brokers.elect(ONE)
    for (const value of ['a', 'b', 'c']) await one.produce([value])
    await brokers.until(() => two.replica().partition.highWatermark === 4)
    two.fetcher.stop(two.replica())
    two.replica().step({ kind: 'leader-announced', leader: THREE, epoch: leaderEpoch(3) })
    await settle()
    two.fetcher.stop(two.replica())
    const position = two.replica().fetchPosition()
    if (position === undefined) throw new Error('it follows nobody')
    const echo = { ...position, from: THREE }
    const diverging = { kind: 'diverging', epoch: leaderEpoch(0), endOffset: offset(2) } as const
    two.replica().onFetched(echo, { ...diverging, lossAcceptedIn: leaderEpoch(3) }, new Uint8Array(0))
    await settle()
    expect(two.log().writtenEndOffset).toBe(2)
    expect(two.replica().partition.highWatermark).toBe(2)
    brokers.close()
  })
})

describe('a replica that was stopped', () => {
  it('is not said to be out of service when its cut fails behind it', async () => {
    const brokers = await Brokers.start({ brokers: 3, minInSyncReplicas: 2 })
    const two = brokers.of(TWO)
    const reasons: string[] = []
    let fail: (error: Error) => void = () => undefined
    Object.assign(two, {
      truncate: () => new Promise((_, reject) => (fail = reject)),
      onStopped: (_: unknown, reason: string) => reasons.push(reason),
    })
    await brokers.elect(ONE)
    await brokers.of(ONE).produce(['a'])
    await brokers.until(() => two.replica().partition.highWatermark === 2)
    two.fetcher.stop(two.replica())
    const position = two.replica().fetchPosition()
    if (position === undefined) throw new Error('it follows nobody')
    const diverging = { kind: 'diverging', epoch: leaderEpoch(0), endOffset: offset(1) } as const
    const accepted = { ...diverging, lossAcceptedIn: leaderEpoch(1) }
    two.replica().onFetched({ ...position, from: ONE }, accepted, new Uint8Array(0))
    two.replica().stop()
    fail(new TidemarkError('SHUTTING_DOWN'))
    await settle()
    expect(reasons).toEqual([])
    brokers.close()
  })
})

function failWrite(log: ReturnType<Broker['log']>): TidemarkError {
  void log
  return new TidemarkError('DISK_FULL', 'no space')
}
