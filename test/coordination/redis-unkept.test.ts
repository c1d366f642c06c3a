// Topics of a cluster that the disk of one broker does not take: full, or of an older version that does not know a setting.

import { expect, it, onTestFinished } from 'vitest'
import { TidemarkError, type ErrorCode } from '../../shared/errors.ts'
import { describeWithRedis, startRedis } from '../setup/redis.ts'
import { begin, containing, DiskOfABroker, epoch, type Life, topicOf } from './redis-lives.ts'

/** Refuses everything of these topics while it has a reason to. */
class PickyDisk extends DiskOfABroker {
  reason: ErrorCode | undefined
  readonly refused = new Set<string>()

  override async put(...[topic]: Parameters<DiskOfABroker['put']>): Promise<void> {
    this.#check(topic.name)
    await super.put(topic)
  }

  override async remove(...[id]: Parameters<DiskOfABroker['remove']>): Promise<void> {
    this.#check(this.topics.get(id)?.name ?? '')
    await super.remove(id)
  }

  #check(name: string): void {
    if (this.reason !== undefined && this.refused.has(name)) throw new TidemarkError(this.reason, `${name} is refused`)
  }
}

interface Two {
  readonly one: Life
  readonly two: Life
  readonly disk: PickyDisk
  begin(id: number): Promise<Life>
}

/** The second broker has the disk. */
async function startTwo(): Promise<Two> {
  const redis = await startRedis()
  onTestFinished(() => redis.stop())
  const disk = new PickyDisk()
  const one = await begin({ url: redis.url, id: 1 })
  const two = await begin({ url: redis.url, id: 2, disk })
  return { one, two, disk, begin: (id) => begin({ url: redis.url, id }) }
}

describeWithRedis('a topic that a broker cannot keep', () => {
  it('keeps no news from it, is said in health, and comes by itself when it can be kept', async () => {
    const { one, two, disk, begin: beginMore } = await startTwo()
    disk.reason = 'INVALID_CONFIG'
    disk.refused.add('poison')
    const [poison, other] = [topicOf('poison'), topicOf('other')]
    await one.coordinator.topics.create('r1', poison)
    await one.coordinator.topics.create('r2', other)
    await one.coordinator.leaderships.claim(other.topicId, 0, epoch(3))
    await beginMore(3)
    await two.until(() => two.coordinator.brokers().length === 3)
    expect(two.coordinator.leaderships.of(other.topicId, 0)).toMatchObject({ leader: 1, leaderEpoch: 3 })
    expect(two.coordinator.topics.byName('poison')).toBeUndefined()
    expect(two.coordinator.health()).toEqual({
      isOk: true,
      detail: containing('topic poison cannot be kept here as it is in the cluster (poison is refused)'),
    })
    disk.reason = undefined
    await two.until(() => two.coordinator.topics.byName('poison') !== undefined)
    expect(two.coordinator.topics.byName('poison')).toEqual(poison)
    await two.until(() => !two.coordinator.health().detail.includes('poison'))
    const created = two.changes.flatMap((change) => (change.kind === 'topic-created' ? [change.topic.name] : []))
    expect(created).toEqual(['other', 'poison'])
  })

  it('is changed by nobody who does not know it as it is', async () => {
    const { one, two, disk } = await startTwo()
    const topic = topicOf('orders')
    await one.coordinator.topics.create('r1', topic)
    await two.until(() => two.coordinator.topics.byName('orders') !== undefined)
    disk.reason = 'DISK_FULL'
    disk.refused.add('orders')
    const { topicId: id } = topic
    expect(await one.coordinator.topics.change('r2', id, 1, { partitions: 4 })).toMatchObject({ kind: 'done' })
    await two.until(() => two.coordinator.health().detail.includes('orders is refused'))
    for (const version of [1, 2]) {
      const change = two.coordinator.topics.change(`r3-${version}`, id, version, { config: { a: 'b' } })
      await expect(change).rejects.toMatchObject({ code: 'DISK_FULL' })
    }
    await expect(two.coordinator.topics.create('r4', topicOf('mine'))).resolves.toMatchObject({ kind: 'done' })
    disk.reason = undefined
    await two.until(() => two.coordinator.topics.get(id)?.version === 2)
    expect(one.coordinator.topics.get(id)).toMatchObject({ version: 2, partitions: 4, config: {} })
    expect(await two.coordinator.topics.change('r5', id, 2, { config: { a: 'b' } })).toMatchObject({ kind: 'done' })
  })

  it('may take the name of one that could not be deleted', async () => {
    const { one, two, disk } = await startTwo()
    const [before, after] = [topicOf('orders'), topicOf('orders')]
    await one.coordinator.topics.create('r1', before)
    await two.until(() => two.coordinator.topics.byName('orders') !== undefined)
    disk.reason = 'DISK_FULL'
    disk.refused.add('orders')
    await one.coordinator.topics.delete('r2', before.topicId)
    await expect(two.coordinator.topics.delete('r2', before.topicId)).rejects.toMatchObject({ code: 'DISK_FULL' })
    await one.coordinator.topics.create('r3', after)
    await two.until(() => two.coordinator.health().detail.includes('1 more'))
    disk.reason = undefined
    await two.until(() => two.coordinator.topics.byName('orders')?.topicId === after.topicId)
    expect([...disk.topics.keys()]).toEqual([after.topicId])
    expect([...disk.deleted]).toEqual([before.topicId])
    expect(two.warnings).not.toContainEqual(containing('another one of its name'))
  })
})
