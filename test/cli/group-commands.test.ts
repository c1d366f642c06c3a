// Consumer groups from the command line, as the built command does it, against a broker in this process.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startBroker, type TestBroker } from '../../broker/testing.ts'
import { run } from './tidemark-process.ts'

let broker: TestBroker

beforeAll(async () => {
  broker = await startBroker({ dataDir: 'memory' })
  const client = broker.client()
  await client.admin().createTopics({ topics: [{ topic: 'orders', numPartitions: 2 }] })
  const producer = client.producer()
  const messages = Array.from({ length: 100 }, (_, at) => ({ value: String(at), partition: at % 2 }))
  await producer.send({ topic: 'orders', messages })
})

afterAll(() => broker.stop())

const tidemark = (...args: string[]) => run([...args, '-b', broker.brokers])

async function rows(...args: string[]): Promise<unknown> {
  const { stdout, code } = await tidemark(...args, '--format', 'json')
  expect(code).toBe(0)
  return JSON.parse(stdout)
}

describe('tidemark consume -g', () => {
  it('prints so many records, commits exactly these, and the next one goes on behind them', async () => {
    const first = await tidemark('consume', 'orders', '-g', 'counted', '-n', '30')
    expect(first.stdout.trim().split('\n')).toHaveLength(30)
    const rest = await tidemark('consume', 'orders', '-g', 'counted', '-e')
    const all = [...first.stdout.trim().split('\n'), ...rest.stdout.trim().split('\n')].map(Number)
    expect(all.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 100 }, (_, at) => at))
    expect((await tidemark('consume', 'orders', '-g', 'counted', '-e')).stdout).toBe('')
  })
})

describe('tidemark group', () => {
  it('lists groups, shows how far each is, has it go on elsewhere, and forgets it', async () => {
    await tidemark('consume', 'orders', '-g', 'billing', '-n', '10')
    expect(await rows('group', 'list')).toContainEqual({
      group: 'billing',
      state: 'Empty',
      members: 0,
      protocolType: 'consumer',
    })
    const described = await rows('group', 'describe', 'billing')
    expect(described).toMatchObject({ groupId: 'billing', state: 'Empty', members: [] })
    const { partitions } = described as { partitions: { lag: number; lagSeconds: number; end: number }[] }
    expect(partitions.reduce((sum, { lag }) => sum + lag, 0)).toBe(90)
    expect(partitions.every(({ end, lagSeconds }) => end === 50 && lagSeconds >= 0)).toBe(true)

    const planned = await tidemark('group', 'seek', 'billing', '--to', 'end')
    expect(planned.stderr).toContain('nothing was changed: the same call with --execute does it')
    expect((await tidemark('group', 'describe', 'billing')).stdout).toMatch(/lag +90/)
    await rows('group', 'seek', 'billing', '--to', 'end', '--execute')
    expect(await rows('group', 'seek', 'billing', '--shift=-5', '--topic', 'orders', '-p', '1', '--execute')).toEqual([
      { topic: 'orders', partition: 1, before: 50, offset: 45 },
    ])
    const again = await tidemark('consume', 'orders', '-g', 'billing', '-e')
    expect(again.stdout.trim().split('\n')).toEqual(['91', '93', '95', '97', '99'])

    await rows('group', 'delete', 'billing', '--topic', 'orders', '-p', '0')
    const mistyped = await tidemark('group', 'delete', 'billing', '--topic', 'oders')
    expect(mistyped.code).toBe(1)
    expect(mistyped.stderr).toContain('group billing has committed nothing in oders')
    expect(mistyped.stdout).not.toContain('deleted')
    const left = (await rows('group', 'describe', 'billing')) as { partitions: { partition: number }[] }
    expect(left.partitions.map(({ partition }) => partition)).toEqual([1])
    await rows('group', 'delete', 'billing')
    const gone = await tidemark('group', 'delete', 'billing')
    expect(gone.code).toBe(1)
    expect(gone.stderr).toContain('there is no group billing')
  })
})
