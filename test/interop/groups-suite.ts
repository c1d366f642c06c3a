// Groups of a foreign client's members, and of its members together with ours. For each client one describe.

import { expect, it } from 'vitest'
import { numbered, toMessages, valueOf } from './samples.ts'
import type { PlacedRecord } from './foreign-client.ts'
import { nativeDriver } from './native-driver.ts'
import type { Stage } from './stage.ts'

export interface GroupsSuite {
  /** How members of this client and ours share out partitions. Default range, which all know. */
  readonly assignors?: readonly string[]
  /** Whether it can tell what is committed by a group. Default true. */
  readonly tellsOffsets?: boolean
}

/** So many more records in each of the partitions, numbered from `from` on. */
async function fill(stage: Stage, topic: string, partitions: number, from: number, to: number): Promise<void> {
  const producer = stage.native.producer()
  for (let partition = 0; partition < partitions; partition += 1) {
    const messages = toMessages(numbered(to).slice(from)).map((message) => Object.assign({}, message, { partition }))
    await producer.send({ topic, messages })
  }
  await producer.close()
}

function spots(records: readonly PlacedRecord[]): string[] {
  return records.map(({ partition, offset }) => `${partition}/${offset}`).toSorted()
}

function values(records: readonly PlacedRecord[]): string {
  return records.map(valueOf).join(' ')
}

export function groupsSuite(stage: Stage, { assignors = ['range'], tellsOffsets = true }: GroupsSuite = {}): void {
  const scene = async (partitions: number, records: number) => {
    const topic = await stage.newTopic(partitions)
    await fill(stage, topic, partitions, 0, records)
    const group = stage.newName('group')
    return { topic, group, topics: [topic] }
  }

  it.each(assignors)('shares partitions among its members as they come and go, assignor %s', async (assignor) => {
    const { topic, group, topics } = await scene(4, 10)
    const [a, b] = [stage.newName('a'), stage.newName('b')]
    await stage.ask('join', { member: a, group, topics, assignor })
    expect(await stage.ask('assigned', { member: a, count: 4 })).toEqual([0, 1, 2, 3].map((at) => `${topic}-${at}`))
    await stage.ask('take', { member: a, count: 40 })
    await stage.ask('commit', { member: a })
    await stage.ask('join', { member: b, group, topics, assignor })
    const both = await Promise.all([a, b].map((member) => stage.ask('assigned', { member, count: 2 })))
    expect(both.flat().toSorted()).toEqual([0, 1, 2, 3].map((at) => `${topic}-${at}`))
    await fill(stage, topic, 4, 10, 15)
    const taken = await Promise.all([a, b].map((member) => stage.ask('take', { member, count: 10 })))
    expect(new Set(spots(taken.flat())).size).toBe(20)
    expect(Math.min(...taken.flat().map(({ offset }) => offset))).toBe(10)
    await stage.ask('commit', { member: b })
    await stage.ask('leave', { member: b })
    await stage.ask('assigned', { member: a, count: 4 })
    await stage.ask('leave', { member: a })
    const { state, partitions } = await stage.native.admin().describeGroup(group)
    expect(state).toBe('Empty')
    expect(partitions.filter(({ offset }) => offset === 15).length).toBeGreaterThanOrEqual(2)
  })

  it.each(assignors)('shares a group with a member of ours, assignor %s', async (assignor) => {
    const { topic, group, topics } = await scene(4, 0)
    await using ours = nativeDriver(stage.native)
    const [theirs, mine] = [stage.newName('theirs'), stage.newName('ours')]
    await stage.ask('join', { member: theirs, group, topics, assignor })
    await stage.ask('assigned', { member: theirs, count: 4 })
    await ours.ask('join', { member: mine, group, topics, assignor })
    await Promise.all([
      stage.ask('assigned', { member: theirs, count: 2 }),
      ours.ask('assigned', { member: mine, count: 2 }),
    ])
    await fill(stage, topic, 4, 0, 10)
    const taken = [
      ...(await stage.ask('take', { member: theirs, count: 20 })),
      ...(await ours.ask('take', { member: mine, count: 20 })),
    ]
    expect(new Set(spots(taken)).size).toBe(40)
    await stage.ask('commit', { member: theirs })
    await ours.ask('commit', { member: mine })
    const described = await stage.native.admin().describeGroup(group)
    expect(described.members).toHaveLength(2)
    expect(described.partitions.map(({ offset, lag }) => ({ offset, lag }))).toEqual(
      Array.from({ length: 4 }, () => ({ offset: 10, lag: 0 })),
    )
    await fill(stage, topic, 4, 10, 13)
    const { partitions } = await stage.native.admin().describeGroup(group)
    expect(partitions.map(({ lag }) => lag)).toEqual([3, 3, 3, 3])
    await stage.ask('leave', { member: theirs })
    await ours.ask('assigned', { member: mine, count: 4 })
  })

  it('goes on where our member has committed, and ours where it has', async () => {
    const { topic, group, topics } = await scene(1, 10)
    await using ours = nativeDriver(stage.native)
    await ours.ask('join', { member: 'first', group, topics, assignor: 'range' })
    await ours.ask('take', { member: 'first', count: 4 })
    await ours.ask('commit', { member: 'first' })
    await ours.ask('leave', { member: 'first' })
    const member = stage.newName('theirs')
    await stage.ask('join', { member, group, topics, assignor: 'range' })
    expect(values(await stage.ask('take', { member, count: 3 }))).toBe('4 5 6')
    await stage.ask('commit', { member })
    await stage.ask('leave', { member })
    await ours.ask('join', { member: 'second', group, topics, assignor: 'range' })
    expect(values(await ours.ask('take', { member: 'second', count: 3 }))).toBe('7 8 9')
    expect(await stage.native.admin().fetchOffsets({ groupId: group })).toMatchObject([{ topic, offset: 7 }])
  })

  it.runIf(tellsOffsets)('tells what our member has committed', async () => {
    const { topic, group, topics } = await scene(1, 10)
    await using ours = nativeDriver(stage.native)
    await ours.ask('join', { member: 'ours', group, topics, assignor: 'range' })
    await ours.ask('take', { member: 'ours', count: 6 })
    await ours.ask('commit', { member: 'ours' })
    expect(await stage.ask('groupOffsets', { group })).toEqual({ [`${topic}-0`]: 6 })
  })

  it('seeks back and on', async () => {
    const { topic, group, topics } = await scene(1, 20)
    const member = stage.newName('seeks')
    await stage.ask('join', { member, group, topics, assignor: 'range' })
    await stage.ask('take', { member, count: 20 })
    await stage.ask('seek', { member, topic, partition: 0, offset: 7 })
    expect(values(await stage.ask('take', { member, count: 3 }))).toBe('7 8 9')
    await stage.ask('seek', { member, topic, partition: 0, offset: 16 })
    expect(values(await stage.ask('take', { member, count: 2 }))).toBe('16 17')
    await stage.ask('leave', { member })
  })
}
