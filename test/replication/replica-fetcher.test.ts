// Replicas that follow: two or three brokers with real logs, connected in memory.

import { describe, expect, it } from 'vitest'
import { errorCodeOf } from '../../shared/errors.ts'
import { leaderEpoch, offset } from '../../shared/ids.ts'
import { Brokers, type FetchBody, ONE, settle, THREE, TWO } from './replica-brokers.ts'

const KILOBYTE = 'x'.repeat(1_000)

function range(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index)
}

describe('a follower', () => {
  it('gets the records of its leader byte for byte, and shows what enough replicas hold', async () => {
    const brokers = await Brokers.start({ brokers: 3, minInSyncReplicas: 2 })
    await brokers.elect(ONE)
    const leader = brokers.of(ONE)
    for (let index = 0; index < 50; index += 1) {
      const append = await leader.produce([`record ${index}`, KILOBYTE])
      expect(append.refusal).toBeUndefined()
    }
    await brokers.until(() => brokers.list.every((one) => one.replica().partition.highWatermark === 101))
    for (const id of [TWO, THREE]) expect(await brokers.of(id).bytes()).toBe(await leader.bytes())
    expect(leader.slices).toBe(0)
    brokers.close()
  })

  it('acknowledges with its next fetch, without any time going by', async () => {
    const brokers = await Brokers.start({ minInSyncReplicas: 2 })
    await brokers.elect(ONE)
    const before = brokers.time.ms
    expect((await brokers.of(ONE).produce(['held by both'])).refusal).toBeUndefined()
    expect(brokers.time.ms).toBe(before)
    brokers.close()
  })

  it('acknowledges what is synced where that is asked for, as soon as it is', async () => {
    const brokers = await Brokers.start({ minInSyncReplicas: 2, entries: { durability: 'fsync' } })
    await brokers.elect(ONE)
    const before = brokers.time.ms
    for (const value of ['one', 'two', 'three']) {
      expect((await brokers.of(ONE).produce([value])).refusal).toBeUndefined()
      expect(brokers.of(TWO).log().recoveryPoint).toBe(brokers.of(TWO).log().writtenEndOffset)
    }
    expect(brokers.time.ms).toBe(before)
    brokers.close()
  })

  it('cuts off what its leader never had, and is then its equal', async () => {
    const brokers = await Brokers.start({ brokers: 3, minInSyncReplicas: 2 })
    const [one, two, three] = [brokers.of(ONE), brokers.of(TWO), brokers.of(THREE)]
    await brokers.elect(ONE)
    await one.produce(['shared'])
    await settle()
    for (const id of [TWO, THREE]) brokers.of(id).carrier.cut(ONE)
    for (const value of ['lost', 'lost too']) one.append([value])
    await settle()
    one.carrier.cut(TWO)
    one.carrier.cut(THREE)
    await brokers.elect(TWO)
    expect(two.replica().role).toBe('leader')
    await two.produce(['kept'])
    expect(await one.bytes()).not.toBe(await two.bytes())
    for (const broker of brokers.list) for (const id of brokers.ids) broker.carrier.connect(id)
    const epoch = leaderEpoch(1)
    one.replica().step({ kind: 'leader-announced', leader: TWO, epoch })
    await brokers.until(() => one.log().writtenEndOffset === two.log().writtenEndOffset)
    expect(await one.bytes()).toBe(await two.bytes())
    expect(await three.bytes()).toBe(await two.bytes())
    brokers.close()
  })

  it('begins where the log of its leader begins when that has nothing older', async () => {
    const brokers = await Brokers.start({ brokers: 3, minInSyncReplicas: 2, entries: { 'segment.bytes': '1024' } })
    const [one, three] = [brokers.of(ONE), brokers.of(THREE)]
    await brokers.elect(ONE)
    three.carrier.cut(ONE)
    for (let index = 0; index < 10; index += 1) await one.produce(['x'.repeat(500)])
    await one.replica().partition.trim(8)
    one.replica().tick()
    three.carrier.connect(ONE)
    await brokers.until(() => three.log().writtenEndOffset === 11)
    expect(three.log().logStartOffset).toBe(8)
    expect(await three.bytes()).toBe(await one.bytes())
    brokers.close()
  })

  it('trims what its leader has trimmed, as far as it knows it to be held by enough', async () => {
    const brokers = await Brokers.start({ minInSyncReplicas: 2, entries: { 'segment.bytes': '1024' } })
    const [one, two] = [brokers.of(ONE), brokers.of(TWO)]
    await brokers.elect(ONE)
    for (let index = 0; index < 10; index += 1) await one.produce(['x'.repeat(500)])
    await one.replica().partition.trim(9)
    await one.produce(['behind the cut'])
    await brokers.until(() => two.log().logStartOffset === 9)
    expect(await two.bytes()).toBe(await one.bytes())
    brokers.close()
  })

  it('follows another leader from there on, and forgets what the first one still answers', async () => {
    const brokers = await Brokers.start({ brokers: 3, minInSyncReplicas: 2 })
    const three = brokers.of(THREE)
    await brokers.elect(ONE)
    await brokers.of(ONE).produce(['of one'])
    await brokers.elect(TWO)
    expect((await brokers.of(TWO).produce(['of two'])).refusal).toBeUndefined()
    await settle()
    expect(await three.bytes()).toBe(await brokers.of(TWO).bytes())
    expect(three.carrier.waiting.map(({ to }) => to)).toEqual([TWO])
    brokers.close()
  })

  it('knows after a restart that its leader leads, though nobody writes', async () => {
    const brokers = await Brokers.start({ minInSyncReplicas: 2 })
    await brokers.elect(ONE)
    await brokers.of(ONE).produce(['all there is'])
    const two = brokers.of(TWO)
    await brokers.until(() => two.replica().partition.highWatermark === 2)
    await two.restart()
    expect(two.replica().state.hasHeardLeader).toBe(false)
    await brokers.until(() => two.replica().state.hasHeardLeader)
    expect(two.replica().partition.highWatermark).toBe(2)
    brokers.close()
  })

  it('that is new does not count as complete before its disk remembers that it is', async () => {
    const brokers = await Brokers.start({ brokers: 3, voters: 2, minInSyncReplicas: 2 })
    const three = brokers.of(THREE)
    let remember: () => void = () => undefined
    three.trust = new Promise((resolve) => (remember = resolve))
    await brokers.elect(ONE)
    const leader = brokers.of(ONE).replica()
    await brokers.of(ONE).produce(['a'])
    await brokers.until(() => !three.replica().state.isNewcomer)
    const voters = [ONE, TWO, THREE].map((id) => ({ brokerId: id, directoryId: `disk-${id}` }))
    const isRefused = (): boolean => {
      leader.changeVoters({ voters, minInSyncReplicas: 2 })
      return leader.votersRefusal !== undefined
    }
    for (let times = 0; times < 20; times += 1) {
      await settle()
      brokers.time.advance(100)
      expect(isRefused()).toBe(true)
    }
    remember()
    await brokers.until(() => !isRefused())
    brokers.close()
  })

  it('asks for nothing any more once it is closed', async () => {
    const brokers = await Brokers.start()
    await brokers.elect(ONE)
    const { fetcher, carrier } = brokers.of(TWO)
    fetcher.close()
    fetcher.close()
    const asked = carrier.carried.length
    brokers.of(ONE).append(['for nobody'])
    await settle()
    brokers.time.advance(10_000)
    await settle()
    expect(carrier.carried.length).toBe(asked)
    expect(brokers.of(TWO).log().writtenEndOffset).toBe(1)
  })

  it('goes on with the fetch under way when it is started again for the same', async () => {
    const brokers = await Brokers.start()
    await brokers.elect(ONE)
    const { fetcher, carrier } = brokers.of(TWO)
    const asked = carrier.carried.length
    for (let times = 0; times < 3; times += 1) fetcher.start(brokers.of(TWO).replica(), ONE)
    await settle()
    expect(carrier.carried.length).toBe(asked)
    brokers.close()
  })
})

describe('many partitions', () => {
  it('wait in few requests, and what stirs one of them moves a few dozen', async () => {
    const brokers = await Brokers.start({ partitions: 1_000 })
    await brokers.elect(ONE)
    const { carrier } = brokers.of(TWO)
    await brokers.until(() => carrier.waiting.length === 32, 5_000)
    expect(carrier.waiting.map(({ message }) => message.partitions.length).toSorted((a, b) => a - b)[0]).toBe(8)
    const before = carrier.carried.length
    brokers.of(ONE).append(['a stir'], 500)
    await settle()
    const asked = carrier.carried.slice(before).map(({ message }) => message.partitions.length)
    expect(asked).toEqual([1, 31])
    expect(await brokers.of(TWO).bytes(500)).toBe(await brokers.of(ONE).bytes(500))
    brokers.close()
  })

  it('that have all been stirred one by one are together again within two waits', async () => {
    const brokers = await Brokers.start({ partitions: 200 })
    await brokers.elect(ONE)
    const { carrier } = brokers.of(TWO)
    await brokers.until(() => carrier.waiting.length === 7, 5_000)
    for (const partition of range(100)) {
      brokers.of(ONE).append(['a stir'], 2 * partition)
      await settle()
    }
    expect(carrier.waiting.length).toBeGreaterThan(50)
    await brokers.until(() => carrier.waiting.length === 7, 1_500)
    brokers.close()
  })

  it('that have records all the time do not carry those that have none', async () => {
    const brokers = await Brokers.start({ partitions: 100 })
    await brokers.elect(ONE)
    const { carrier } = brokers.of(TWO)
    await brokers.until(() => carrier.waiting.length === 4, 5_000)
    const before = carrier.carried.length
    for (let times = 0; times < 20; times += 1) {
      for (const partition of [1, 2, 3]) brokers.of(ONE).append([`${times}`], partition)
      await settle()
    }
    const asked = carrier.carried.slice(before).map(({ message }) => message.partitions.length)
    expect(asked).toEqual([3, 29, ...range(19).map(() => 3)])
    brokers.close()
  })
})

describe('trouble', () => {
  it('with the connection makes a follower wait, and go on at once when there is one again', async () => {
    const brokers = await Brokers.start({ minInSyncReplicas: 1 })
    await brokers.elect(ONE)
    const two = brokers.of(TWO)
    two.carrier.cut(ONE)
    for (let ms = 0; ms < 5_000; ms += 50) {
      brokers.time.advance(50)
      await settle()
    }
    brokers.of(ONE).append(['meanwhile'])
    await settle()
    expect(two.log().writtenEndOffset).toBe(1)
    two.carrier.connect(ONE)
    await settle()
    expect(two.log().writtenEndOffset).toBe(2)
    brokers.close()
  })

  it.each<[string, (body: FetchBody, tail: Uint8Array) => { body: FetchBody; tail: Uint8Array }]>([
    ['names a partition that was not asked for', (body, tail) => ({ body: change(body, { index: 1 }), tail })],
    [
      'names a partition twice',
      (body, tail) => ({ body: { partitions: [...body.partitions, ...body.partitions] }, tail }),
    ],
    ['has a kind that nobody knows', (body, tail) => ({ body: change(body, { answer: 9 }), tail })],
    ['has records with a refusal', (body, tail) => ({ body: change(body, { answer: 3 }), tail })],
    ['has fewer records than it says', (body, tail) => ({ body, tail: tail.subarray(0, tail.length - 1) })],
    ['has more bytes than it says', (body, tail) => ({ body, tail: Buffer.concat([tail, tail]) })],
    ['parts the logs in an epoch below 0', (body) => ({ body: change(body, PARTED), tail: new Uint8Array(0) })],
    [
      'begins a log in no epoch',
      (body) => ({ body: change(body, { ...PARTED, answer: 2, epoch: undefined }), tail: new Uint8Array(0) }),
    ],
    ['has a bit turned over', (body, tail) => ({ body, tail: tail.with(70, (tail[70] ?? 0) ^ 4) })],
    ['has half a batch', (body, tail) => ({ body: change(body, { bytes: 30 }), tail: tail.subarray(0, 30) })],
    ['sends the same records again', (body, tail) => ({ body, tail: tail.with(7, 0) })],
  ])('of an answer that %s moves nothing, and is asked for again later', async (_, spoil) => {
    const brokers = await Brokers.start()
    await brokers.elect(ONE)
    const [one, two] = [brokers.of(ONE), brokers.of(TWO)]
    let spoiled = 0
    two.carrier.spoil = ({ body, tail }) => {
      if (body.partitions.length === 0 || tail.length === 0) return { body, tail }
      spoiled += 1
      return spoil(body, tail)
    }
    const asked = two.carrier.carried.length
    one.append(['wanted'])
    await settle()
    expect(spoiled).toBe(1)
    expect(two.log().writtenEndOffset).toBe(1)
    // It waits before it asks again.
    expect(two.carrier.carried.length).toBe(asked)
    brokers.time.advance(1_000)
    await settle()
    expect(spoiled).toBe(2)
    const warned = two.lines.filter(({ level }) => level === 'warn')
    expect(warned).toHaveLength(1)
    two.carrier.spoil = (answer) => answer
    await brokers.until(() => two.log().writtenEndOffset === 2, 5_000)
    expect(await two.bytes()).toBe(await one.bytes())
    brokers.close()
  })

  it('in one partition is no matter of the others', async () => {
    const brokers = await Brokers.start({ partitions: 2 })
    await brokers.elect(ONE)
    const [one, two] = [brokers.of(ONE), brokers.of(TWO)]
    two.carrier.spoil = ({ body, tail }) => {
      const partitions = body.partitions.map((answer) => ({ ...answer, answer: 3, error: 56, bytes: 0 }))
      return partitions.length === 1 ? { body: { partitions }, tail: new Uint8Array(0) } : { body, tail }
    }
    expect(errorCodeOf(56)).toBe('STORAGE_ERROR')
    one.append(['never'], 0)
    await settle()
    two.carrier.spoil = (answer) => answer
    one.append(['at once'], 1)
    await settle()
    expect(two.log(0).writtenEndOffset).toBe(1)
    expect(two.log(1).writtenEndOffset).toBe(2)
    brokers.close()
  })

  it('of a leader that answers everything with nothing does not become a storm', async () => {
    const brokers = await Brokers.start()
    await brokers.elect(ONE)
    const { carrier } = brokers.of(TWO)
    const before = carrier.carried.length
    for (let ms = 0; ms < 1_000; ms += 1) {
      brokers.of(ONE).requests.endWaits()
      brokers.time.advance(1)
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect(carrier.carried.length - before).toBeLessThan(25)
    brokers.close()
  })
})

describe('catching up', () => {
  it('goes by the budget while it is far behind, and without it when it is near', async () => {
    const brokers = await Brokers.start({ catchUpBytesPerSecond: 10_000_000 })
    await brokers.elect(ONE)
    const [one, two] = [brokers.of(ONE), brokers.of(TWO)]
    two.carrier.cut(ONE)
    const value = 'x'.repeat(500_000)
    for (let index = 0; index < 80; index += 1) {
      one.append([value])
      await settle()
    }
    const begun = brokers.time.ms
    two.carrier.connect(ONE)
    await brokers.until(() => two.log().writtenEndOffset === 81)
    const seconds = (brokers.time.ms - begun) / 1_000
    // Of 40 MB all but the last 16 MiB go by the budget.
    expect(seconds).toBeGreaterThan(2)
    expect(seconds).toBeLessThan(3)
    expect(await two.bytes()).toBe(await one.bytes())
    expect(one.slices).toBe(0)
    brokers.close()
  })

  it('of a hundred partitions gets through them all, from disk', async () => {
    const brokers = await Brokers.start({ partitions: 100, storage: { hotTailBytes: 0 } })
    await brokers.elect(ONE)
    const [one, two] = [brokers.of(ONE), brokers.of(TWO)]
    two.carrier.cut(ONE)
    for (let times = 0; times < 5; times += 1) {
      for (const partition of range(100)) one.append([KILOBYTE.repeat(10 + times)], partition)
      await settle()
    }
    two.carrier.connect(ONE)
    await brokers.until(() => range(100).every((partition) => two.log(partition).writtenEndOffset === 6))
    for (const partition of range(100)) expect(await two.bytes(partition)).toBe(await one.bytes(partition))
    expect(one.slices).toBe(0)
    expect(one.log().logEndOffset).toBe(offset(6))
    brokers.close()
  })
})

const PARTED = { answer: 1, epoch: -2, offset: 0, bytes: 0 }

function change(body: FetchBody, to: Partial<FetchBody['partitions'][number]>): FetchBody {
  return { partitions: body.partitions.map((answer) => ({ ...answer, ...to })) }
}
