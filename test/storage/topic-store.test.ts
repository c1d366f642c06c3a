import { describe, expect, it } from 'vitest'
import { readCheckpoint, writeCheckpoint } from '../../broker/storage/checkpoint-file.ts'
import { MemoryDisk } from '../../broker/storage/memory-disk.ts'
import type { TopicDefinition } from '../../broker/storage/topic-store.ts'
import { TOMBSTONE_KEPT_MS, TopicStore } from '../../broker/storage/topic-store.ts'
import { brokerId, timestampMs, topicId } from '../../shared/ids.ts'
import type { Clock } from '../../shared/time.ts'

class SetClock implements Clock {
  ms = 1_000_000
  now = (): ReturnType<Clock['now']> => timestampMs(this.ms)
  monotonic = (): number => this.ms
}

function definitionOf(number: number, fields: Partial<TopicDefinition> = {}): TopicDefinition {
  return {
    topicId: topicId(`00000000-0000-4000-8000-${String(number).padStart(12, '0')}`),
    name: `topic-${number}`,
    partitions: 3,
    replicationFactor: 1,
    config: { 'retention.ms': '1000' },
    version: 1,
    createdAt: timestampMs(5),
    ...fields,
  }
}

function setUp(): { disk: MemoryDisk; clock: SetClock; open: () => TopicStore } {
  const clock = new SetClock()
  const disk = new MemoryDisk(clock)
  return { disk, clock, open: () => TopicStore.open(disk, '/d/topics', clock) }
}

describe('the topic store', () => {
  it('finds after a restart what it was given', async () => {
    const { open } = setUp()
    const store = open()
    await store.put(definitionOf(1))
    await store.put(definitionOf(2))
    await store.put(definitionOf(2, { version: 2, partitions: 8, config: {} }))
    const again = open()
    expect(again.list()).toEqual([definitionOf(1), definitionOf(2, { version: 2, partitions: 8, config: {} })])
    expect(again.byName('topic-1')).toEqual(definitionOf(1))
    expect(again.get(definitionOf(2).topicId)?.partitions).toBe(8)
  })

  it('refuses a second topic of the same name, also while the first is on its way', async () => {
    const { open } = setUp()
    const store = open()
    const first = store.put(definitionOf(1, { name: 'orders' }))
    expect(store.byName('orders')).toBeUndefined()
    await expect(store.put(definitionOf(2, { name: 'orders' }))).rejects.toMatchObject({ code: 'TOPIC_ALREADY_EXISTS' })
    await first
    await expect(store.put(definitionOf(2, { name: 'orders' }))).rejects.toMatchObject({ code: 'TOPIC_ALREADY_EXISTS' })
    expect(open().list()).toEqual([definitionOf(1, { name: 'orders' })])
  })

  it('refuses fewer partitions than there are, and numbers that are not legal', async () => {
    const { open } = setUp()
    const store = open()
    await store.put(definitionOf(1))
    for (const partitions of [2, 0, -1, 1.5, 10_001]) {
      const change = definitionOf(1, { partitions, version: 2 })
      await expect(store.put(change)).rejects.toMatchObject({ code: 'INVALID_PARTITIONS' })
    }
  })

  it('never gives back a deleted topic, and gives its name to another', async () => {
    const { open, clock } = setUp()
    const store = open()
    await store.put(definitionOf(1, { name: 'orders' }))
    const removal = store.remove(definitionOf(1).topicId)
    expect(store.byName('orders')).toBeUndefined()
    await removal
    await store.remove(definitionOf(1).topicId)
    const late = definitionOf(1, { name: 'orders', version: 2 })
    await expect(store.put(late)).rejects.toMatchObject({ code: 'UNKNOWN_TOPIC_OR_PARTITION' })
    await store.put(definitionOf(2, { name: 'orders' }))
    const again = open()
    expect(again.list()).toEqual([definitionOf(2, { name: 'orders' })])
    expect(again.isDeleted(definitionOf(1).topicId)).toBe(true)
    expect(again.tombstones()).toEqual([{ ...definitionOf(1, { name: 'orders' }), deleted: timestampMs(clock.ms) }])
    await expect(again.put(late)).rejects.toMatchObject({ code: 'UNKNOWN_TOPIC_OR_PARTITION' })
  })

  it('lets a deletion win over a change that is on its way', async () => {
    const { open } = setUp()
    const store = open()
    await store.put(definitionOf(1))
    const change = store.put(definitionOf(1, { version: 2 }))
    const removal = store.remove(definitionOf(1).topicId)
    await expect(change).rejects.toMatchObject({ code: 'UNKNOWN_TOPIC_OR_PARTITION' })
    await removal
    expect(store.list()).toEqual([])
    expect(open().list()).toEqual([])
  })

  it('remembers a deletion for seven days, and longer while there are logs', async () => {
    const { open, clock, disk } = setUp()
    const store = open()
    await store.put(definitionOf(1))
    await store.remove(definitionOf(1).topicId)
    clock.ms += TOMBSTONE_KEPT_MS - 1
    expect(store.expireTombstones(() => false)).toBe(0)
    clock.ms += 1
    expect(store.expireTombstones(() => true)).toBe(0)
    expect(store.expireTombstones(() => false)).toBe(1)
    expect(disk.list('/d/topics')).toEqual([])
    expect(store.isDeleted(definitionOf(1).topicId)).toBe(false)
  })

  it('does not guess at a damaged definition, and passes over a half-written one', async () => {
    const { open, disk } = setUp()
    await open().put(definitionOf(1))
    const path = `/d/topics/${definitionOf(1).topicId}`
    disk.writeFile(`${path}.tmp`, Buffer.from('half'))
    expect(open().list()).toHaveLength(1)
    expect(disk.stat(`${path}.tmp`)).toBeUndefined()
    const good = disk.readFile(path)
    disk.writeFile(path, good.subarray(0, 40))
    expect(open).toThrow(`${path} is damaged`)
    disk.writeFile(path, good)
    disk.writeFile(`/d/topics/${definitionOf(2).topicId}`, good)
    expect(open).toThrow('is the definition of topic id')
  })

  it('writes what a person can read', async () => {
    const { open, disk } = setUp()
    await open().put(definitionOf(1))
    const path = `/d/topics/${definitionOf(1).topicId}`
    expect(readCheckpoint(disk, path)).toEqual(definitionOf(1))
    expect(Buffer.from(disk.readFile(path)).toString()).toContain('"name":"topic-1"')
  })

  it('keeps who the replicas are, and refuses an assignment that cannot be one', async () => {
    const { open } = setUp()
    const assignment = [
      [1, 2],
      [2, 3],
      [3, 1],
    ].map((row) => row.map(brokerId))
    const directories = { '1': 'a', '2': 'b', '3': 'c' }
    const replicated = definitionOf(1, { replicationFactor: 2, assignment, directories })
    const store = open()
    await store.put(replicated)
    expect(open().list()).toEqual([replicated])
    const rows = (...changed: number[][]) => changed.map((row) => row.map(brokerId))
    const refused: Partial<TopicDefinition>[] = [
      { assignment: rows([1, 2], [2, 3]) },
      { assignment: rows([1, 2], [2, 3], []) },
      { assignment: rows([1, 2], [2, 3], [3, 3]) },
      { assignment: rows([1, 2], [2, 3], [3, 2]) },
      { partitions: 4, assignment: rows([1, 2], [2, 3], [3], [3, 1]) },
    ]
    for (const fields of refused) {
      const change = store.put({ ...replicated, ...fields, version: 2 })
      await expect(change).rejects.toMatchObject({ code: 'INVALID_REPLICA_ASSIGNMENT' })
    }
    const { assignment: _none, directories: _nowhere, ...unassigned } = replicated
    const change = store.put({ ...unassigned, version: 2 })
    await expect(change).rejects.toMatchObject({ code: 'INVALID_REPLICA_ASSIGNMENT' })
    const grown = { ...replicated, version: 2, partitions: 4, assignment: rows([2, 1], [2, 3], [3, 1], [2, 1]) }
    await store.put(grown)
    expect(open().list()).toEqual([grown])
    await store.remove(grown.topicId)
    expect(open().tombstones()[0]?.assignment).toEqual(grown.assignment)
  })

  it('keeps where partitions move and which voters they began with, and refuses a change that does not say it', async () => {
    const { open } = setUp()
    const rows = (...changed: number[][]) => changed.map((row) => row.map(brokerId))
    const voters = (...ids: number[]) => ids.map((id) => ({ brokerId: brokerId(id), directoryId: `disk-${id}` }))
    const first = definitionOf(1, { partitions: 2, assignment: rows([1, 2], [2, 3]), moves: { '1': voters(4, 2) } })
    const store = open()
    await store.put(first)
    expect(open().list()).toEqual([first])
    const { moves: _moved, ...settled } = first
    const moved = { ...settled, version: 2, assignment: rows([1, 2], [4, 2]), origins: { '1': voters(2, 3) } }
    const refused: Partial<TopicDefinition>[] = [
      { origins: {} },
      { origins: { '1': voters(2, 4) } },
      { origins: { '1': voters() } },
      { origins: { '1': voters(2, 3), '2': voters(1) } },
      { moves: { x: voters(1) } },
      { moves: { '0': [...voters(1), ...voters(1)] } },
    ]
    for (const fields of refused) {
      const change = store.put({ ...moved, ...fields })
      await expect(change).rejects.toMatchObject({ code: 'INVALID_REPLICA_ASSIGNMENT' })
    }
    await store.put(moved)
    for (const origins of [{}, { '1': voters(2, 4) }, { '1': [...voters(2), { ...voters(3)[0], directoryId: 'x' }] }]) {
      const change = store.put({ ...moved, version: 3, origins } as TopicDefinition)
      await expect(change).rejects.toMatchObject({ code: 'INVALID_REPLICA_ASSIGNMENT' })
    }
    const on = { ...moved, version: 3, assignment: rows([2, 1], [5, 6, 7]) }
    await store.put(on)
    expect(open().list()).toEqual([on])
  })

  it.each([
    ['moves', [], 'its moves is not a table of voters'],
    ['origins', { '0': 1 }, 'its origins is not a table of voters'],
    ['moves', { '0': [{ brokerId: 1 }] }, 'a voter of its moves has no directory'],
    ['moves', { '0': [{ brokerId: -1, directoryId: 'x' }] }, 'broker id must be an integer'],
    ['moves', { '7': [{ brokerId: 1, directoryId: 'x' }] }, 'its moves name partition 7'],
  ])('does not believe a file with the %s %j', async (name, table, fault) => {
    const { open, disk } = setUp()
    open()
    const path = `/d/topics/${definitionOf(1).topicId}`
    const assignment = [[1], [1], [1]]
    await writeCheckpoint(disk, path, { ...definitionOf(1), assignment, [name]: table })
    expect(open).toThrow(`${path} is damaged: ${fault}`)
  })

  it.each([
    ['a word', 'its assignment is not a list of lists'],
    [[1, 2, 3], 'its assignment is not a list of lists'],
    [[[1], [2], ['3']], 'broker id must be an integer'],
    [[[1], [2], [-3]], 'broker id must be an integer'],
    [[[1], [2], [0.5]], 'broker id must be an integer'],
    [[[1], [2]], 'it assigns 2 partitions and has 3'],
    [[[1], [2], []], 'the replicas of partition 2 are []'],
    [[[1], [2, 2], [3]], 'the replicas of partition 1 are [2, 2]'],
  ])('does not believe a file with the assignment %j', async (assignment, fault) => {
    const { open, disk } = setUp()
    open()
    const path = `/d/topics/${definitionOf(1).topicId}`
    await writeCheckpoint(disk, path, { ...definitionOf(1), assignment })
    expect(open).toThrow(`${path} is damaged: ${fault}`)
  })

  it('does not believe directories that are not names, or that belong to no assignment', async () => {
    const { open, disk } = setUp()
    open()
    const path = `/d/topics/${definitionOf(1).topicId}`
    const definition = definitionOf(1, { assignment: [[1], [1], [1]].map((row) => row.map(brokerId)) })
    for (const directories of [[], 'x', { '1': 2 }]) {
      await writeCheckpoint(disk, path, { ...definition, directories })
      expect(open).toThrow('its directories is not a table of strings')
    }
    await writeCheckpoint(disk, path, { ...definitionOf(1), directories: {} })
    expect(open).toThrow('it has directories and no assignment')
  })
})
