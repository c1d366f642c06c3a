// Which logs a data directory has when replicas come and go: what a definition gives is made and counts for nothing at first,
// what it takes stays until it is released, and neither is undone by a crash.

import { describe, expect, it } from 'vitest'
import type { LogDirectory } from '../../broker/storage/log-directory.ts'
import type { TopicDefinition } from '../../broker/storage/topic-store.ts'
import type { BrokerId, LeaderEpoch, TimestampMs } from '../../shared/ids.ts'
import { brokerId, partitionId, topicId } from '../../shared/ids.ts'
import type { Voter } from '../../shared/voters.ts'
import { readRecords } from '../simulation/crash-oracle.ts'
import { openDirectory } from '../simulation/crash-workload.ts'
import type { CrashChoice } from '../simulation/sim-disk.ts'
import { SimDisk } from '../simulation/sim-disk.ts'
import { SimTime } from '../simulation/sim-time.ts'
import { batch, put } from './log-fixture.ts'

const TOPIC = topicId('00000000-0000-4000-8000-000000000001')
const ZERO = partitionId(0)
const NONE: CrashChoice = { kind: 'none' }

function rows(...assignment: number[][]): BrokerId[][] {
  return assignment.map((row) => row.map(brokerId))
}

function voters(...ids: number[]): Voter[] {
  return ids.map((id) => ({ brokerId: brokerId(id), directoryId: `disk-${id}` }))
}

function definitionOf(fields: Partial<TopicDefinition> = {}): TopicDefinition {
  return {
    topicId: TOPIC,
    name: 'one',
    partitions: 2,
    replicationFactor: 2,
    config: {},
    assignment: rows([1, 2], [2, 3]),
    directories: { '1': 'disk-1', '2': 'disk-2', '3': 'disk-3' },
    version: 1,
    createdAt: 0 as TimestampMs,
    ...fields,
  }
}

function open(disk: SimDisk): Promise<LogDirectory> {
  return openDirectory(disk, new SimTime(), 1)
}

function hosted(directory: LogDirectory): number[] {
  return [0, 1, 2].filter((partition) => directory.hosts(TOPIC, partition))
}

function newcomers(directory: LogDirectory): number[] {
  return [0, 1, 2].filter((partition) => directory.isNewcomer(TOPIC, partition))
}

function append(directory: LogDirectory, partition: number, value: string): void {
  const log = directory.log(TOPIC, partition)
  if (log === undefined) throw new Error(`no log of partition ${partition}`)
  put(log, batch([value]))
}

async function recordsOf(directory: LogDirectory, partition: number): Promise<string[]> {
  const log = directory.log(TOPIC, partition)
  if (log === undefined) throw new Error(`no log of partition ${partition}`)
  return (await readRecords(log)).map(([, value]) => value)
}

async function started(): Promise<{ disk: SimDisk; directory: LogDirectory }> {
  const disk = new SimDisk({ clock: new SimTime() })
  const directory = await open(disk)
  await directory.createTopic(definitionOf())
  append(directory, 0, 'a')
  await directory.flush()
  return { disk, directory }
}

/** Partition 1 is to move here. */
const COMING = definitionOf({ version: 2, moves: { '1': voters(1, 3) } })
/** Partition 0 has moved away. */
const GONE = definitionOf({ version: 2, assignment: rows([3, 2], [2, 3]), origins: { '0': voters(1, 2) } })

describe('a partition that is given to this broker', () => {
  it('gets a log that counts for nothing, and is there after every end', async () => {
    const { disk, directory } = await started()
    expect([hosted(directory), newcomers(directory)]).toEqual([[0], []])
    await directory.changeTopic(COMING)
    expect([hosted(directory), newcomers(directory), directory.partitionCount]).toEqual([[0, 1], [1], 2])
    append(directory, 1, 'x')
    const killed = await open(disk.kill())
    expect([hosted(killed), newcomers(killed), await recordsOf(killed, 1)]).toEqual([[0, 1], [1], ['x']])
    const lost = await open(disk.crash(NONE))
    expect([hosted(lost), newcomers(lost), await recordsOf(lost, 1)]).toEqual([[0, 1], [1], []])
    await directory.stop()
    const clean = await open(disk.crash(NONE))
    expect([hosted(clean), newcomers(clean), await recordsOf(clean, 1)]).toEqual([[0, 1], [1], ['x']])
  })

  it('is no newcomer any more when its leader has found it complete', async () => {
    const { disk, directory } = await started()
    await directory.changeTopic(COMING)
    append(directory, 1, 'x')
    await directory.clearNewcomer(TOPIC, 1)
    expect(newcomers(directory)).toEqual([])
    const lost = await open(disk.crash(NONE))
    expect([newcomers(lost), await recordsOf(lost, 1)]).toEqual([[], ['x']])
    await lost.clearNewcomer(TOPIC, 1)
    await lost.clearNewcomer(TOPIC, 0)
  })

  it('is no newcomer when it is one of those that the topic begins with, or is added to it', async () => {
    const { directory } = await started()
    const grown = { partitions: 3, assignment: rows([1, 2], [2, 3], [3, 1]), version: 2 }
    await directory.changeTopic(definitionOf(grown))
    expect([hosted(directory), newcomers(directory)]).toEqual([[0, 2], []])
  })

  it('is a newcomer when the topic has begun without this broker, which hears of it late', async () => {
    const disk = new SimDisk({ clock: new SimTime() })
    const directory = await open(disk)
    const assignment = rows([1, 3], [1, 3])
    await directory.createTopic(definitionOf({ version: 7, assignment, origins: { '0': voters(2, 3) } }))
    expect(newcomers(directory)).toEqual([0])
  })

  it('never shows without the mark of a newcomer, whenever it all ends', async () => {
    const { disk, directory } = await started()
    const moments: SimDisk[] = []
    disk.options = { clock: disk.options.clock, onOperation: (_operation, now) => void moments.push(now.fork()) }
    await directory.changeTopic(COMING)
    expect(moments.length).toBeGreaterThan(8)
    const choices: CrashChoice[] = [{ kind: 'all' }, NONE, { kind: 'data' }, { kind: 'names', sizes: true }]
    for (const [index, moment] of [...moments, disk].entries()) {
      for (const ended of [moment.kill(), ...choices.map((choice) => moment.crash(choice))]) {
        const again = await open(ended)
        const isKnown = again.topics.get(TOPIC)?.moves !== undefined
        const what = `moment ${index}, ${isKnown ? 'moving' : 'as before'}`
        expect([hosted(again), newcomers(again)], what).toEqual(isKnown ? [[0, 1], [1]] : [[0], []])
        expect(ended.list('/data/logs').filter((name) => !name.endsWith('-0')).length, what).toBe(isKnown ? 1 : 0)
      }
    }
  })
})

describe('a partition that is given to others', () => {
  it('keeps its log here until that is released, also through a stop', async () => {
    const { disk, directory } = await started()
    await directory.changeTopic(GONE)
    expect([hosted(directory), newcomers(directory)]).toEqual([[0], []])
    append(directory, 0, 'b')
    await directory.stop()
    const again = await open(disk)
    expect(again.startFacts.isClean).toBe(true)
    expect([hosted(again), await recordsOf(again, 0)]).toEqual([[0], ['a', 'b']])
  })

  it('is gone for good when it has been released, and its promise is not', async () => {
    const { disk, directory } = await started()
    const promise = { topicId: TOPIC, partition: 0, epoch: 7 as LeaderEpoch, leaderId: brokerId(2) }
    await directory.promises.record([promise])
    const early = directory.releaseLog(TOPIC, ZERO)
    await expect(early).rejects.toMatchObject({ code: 'INVALID_REPLICA_ASSIGNMENT' })
    await directory.changeTopic(GONE)
    await directory.releaseLog(TOPIC, ZERO)
    await directory.releaseLog(TOPIC, ZERO)
    expect([hosted(directory), directory.partitionCount, directory.log(TOPIC, 0)]).toEqual([[], 0, undefined])
    for (const ended of [disk.kill(), disk.crash(NONE)]) {
      const again = await open(ended)
      expect([hosted(again), again.promises.get(TOPIC, 0)]).toEqual([[], promise])
      expect(again.topics.get(TOPIC)).toEqual(GONE)
      await again.stop()
      expect(ended.list('/data/logs')).toEqual([])
    }
  })

  it('is there or is not, wherever its release is ended', async () => {
    const { disk, directory } = await started()
    await directory.changeTopic(GONE)
    const moments: SimDisk[] = []
    disk.options = { clock: disk.options.clock, onOperation: (_operation, now) => void moments.push(now.fork()) }
    await directory.releaseLog(TOPIC, ZERO)
    for (const moment of moments) {
      for (const ended of [moment.kill(), moment.crash({ kind: 'all' }), moment.crash(NONE)]) {
        const again = await open(ended)
        const log = again.log(TOPIC, 0)
        const found = log === undefined ? 'gone' : [log.quarantined.length, await recordsOf(again, 0)]
        expect(['gone', [0, ['a']]]).toContainEqual(found)
      }
    }
  })

  it('may come back as a newcomer, and knows nothing of what was there before', async () => {
    const { disk, directory } = await started()
    for (let count = 0; count < 20; count++) append(directory, 0, 'more')
    await directory.flush()
    await directory.changeTopic(GONE)
    await directory.releaseLog(TOPIC, ZERO)
    const back = { ...GONE, version: 3, moves: { '0': voters(1, 2) } }
    await directory.changeTopic(back)
    expect([hosted(directory), newcomers(directory), await recordsOf(directory, 0)]).toEqual([[0], [0], []])
    append(directory, 0, 'new')
    for (const ended of [disk.kill(), disk.crash({ kind: 'all' })]) {
      const again = await open(ended)
      expect([newcomers(again), await recordsOf(again, 0)]).toEqual([[0], ['new']])
      expect(again.log(TOPIC, 0)?.quarantined).toEqual([])
    }
    await directory.changeTopic({ ...GONE, version: 4 })
    await directory.releaseLog(TOPIC, ZERO)
    await directory.stop()
    expect(hosted(await open(disk))).toEqual([])
  })
})

describe('a log whose directory is missing', () => {
  it('is made anew as a newcomer where others have replicas, and is offline where nobody has', async () => {
    const { disk, directory } = await started()
    const alone = topicId('00000000-0000-4000-8000-000000000002')
    const single = { topicId: alone, name: 'two', partitions: 1, assignment: rows([1]) }
    await directory.createTopic(definitionOf(single))
    for (let count = 0; count < 20; count++) append(directory, 0, 'more')
    await directory.stop()
    for (const name of disk.list('/data/logs')) disk.removeTree(`/data/logs/${name}`)
    const again = await open(disk)
    expect([hosted(again), newcomers(again), await recordsOf(again, 0)]).toEqual([[0], [0], []])
    expect(again.failureOf(alone, 0)?.code).toBe('FILE_CORRUPT')
    append(again, 0, 'new')
    const killed = await open(disk.kill())
    expect([newcomers(killed), await recordsOf(killed, 0), killed.log(TOPIC, 0)?.quarantined]).toEqual([
      [0],
      ['new'],
      [],
    ])
  })

  it('is made anew wherever a start that does so is ended', async () => {
    const { disk, directory } = await started()
    for (let count = 0; count < 20; count++) append(directory, 0, 'more')
    await directory.stop()
    for (const name of disk.list('/data/logs')) disk.removeTree(`/data/logs/${name}`)
    const moments: SimDisk[] = []
    disk.options = { clock: disk.options.clock, onOperation: (_operation, now) => void moments.push(now.fork()) }
    await open(disk)
    for (const [index, moment] of moments.entries()) {
      for (const ended of [moment.kill(), moment.crash({ kind: 'all' })]) {
        const again = await open(ended)
        expect([newcomers(again), again.log(TOPIC, 0)?.describe()], `moment ${index}`).toMatchObject([
          [0],
          { logStartOffset: 0, logEndOffset: 0, quarantined: [] },
        ])
      }
    }
  })
})
