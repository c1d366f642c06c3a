// Bytes that rot on the disk while the broker is down: what can be read is read, what cannot is said, and no offset is given
// out twice.

import { expect, it } from 'vitest'
import { MemoryDisk } from '../../broker/storage/memory-disk.ts'
import { startBroker } from '../../broker/testing.ts'
import { systemClock } from '../../shared/time.ts'
import { BrokerClient } from './broker-client.ts'

it('quarantines a damaged batch, serves the rest, and says so wherever it is asked', async () => {
  const disk = new MemoryDisk(systemClock)
  const settings = { dataDir: '/data', diskReserveBytes: 0, flushIntervalMs: 3_600_000, environment: { disk } }
  const first = await startBroker(settings)
  let client = await BrokerClient.connect(first.port)
  await client.createTopic('t')
  for (const value of ['before', 'damaged', 'after']) await client.produce('t', [value])
  client.close()
  await first.broker.stop({ immediately: true })

  const [directory] = disk.list('/data/logs')
  const path = `/data/logs/${directory}/00000000000000000000.log`
  const bytes = Buffer.from(disk.readFile(path))
  bytes.writeUInt8(0x7a, bytes.indexOf('damaged'))
  disk.writeFile(path, bytes)

  await using second = await startBroker(settings)
  client = await BrokerClient.connect(second.port)
  expect(await client.fetch('t', 0)).toMatchObject({ error: undefined, values: ['before'] })
  const refused = await client.fetch('t', 1)
  expect(refused).toMatchObject({ error: 'QUARANTINED', values: [] })
  expect(refused?.message).toContain('2')
  expect(await client.fetch('t', 2)).toMatchObject({ error: undefined, values: ['after'] })
  expect(await client.produce('t', ['next'])).toMatchObject({ error: undefined, baseOffset: 3 })
  const { topics } = await client.raw.ask('describeTopics', { topics: ['t'] })
  expect(topics[0]?.partitions[0]?.quarantined).toEqual([{ startOffset: 1, endOffset: 2 }])
  client.close()
})
