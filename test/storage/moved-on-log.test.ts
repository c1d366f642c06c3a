// A log that goes on where its leader's begins, of whose records it has none: what it says of itself after the next start.

import { expect, it } from 'vitest'
import { LogDirectory } from '../../broker/storage/log-directory.ts'
import { MemoryDisk } from '../../broker/storage/memory-disk.ts'
import type { PartitionLog } from '../../broker/storage/partition-log.ts'
import { must } from '../../shared/assert.ts'
import { brokerId, leaderEpoch, offset, partitionId, topicId } from '../../shared/ids.ts'
import { silentLogger } from '../../shared/logger.ts'
import { seededRandom } from '../../shared/random.ts'
import { SimTime } from '../simulation/sim-time.ts'
import { batch } from './log-fixture.ts'

const TOPIC = topicId('00000000-0000-4000-8000-000000000001')
const START = offset(50_000)

class Bench {
  readonly time = new SimTime()
  readonly disk = new MemoryDisk(this.time)

  open(): Promise<LogDirectory> {
    const { time, disk } = this
    const common = { path: '/data', clock: time, timers: time, random: seededRandom(1), logger: silentLogger }
    return LogDirectory.open({ ...common, disk, cluster: 'test', brokerId: brokerId(1) })
  }

  logOf(directory: LogDirectory): PartitionLog {
    return must(directory.log(TOPIC, 0), 'the log is there')
  }
}

/** A log with a record of epoch 1 that was sent on to where its leader's log begins, in epoch 7. */
async function movedOn(bench: Bench): Promise<LogDirectory> {
  const directory = await bench.open()
  const createdAt = bench.time.now()
  const common = { topicId: TOPIC, name: 't', partitions: 1, replicationFactor: 1, config: {}, version: 1 }
  await directory.createTopic({ ...common, createdAt })
  const log = bench.logOf(directory)
  log.append(batch(['a']), leaderEpoch(1), bench.time.now())
  log.write()
  await log.sync()
  await directory.skipLog(TOPIC, partitionId(0), START)
  log.assumeEpoch(leaderEpoch(7))
  await log.sync()
  return directory
}

it.each([
  ['a stop in order', (directory: LogDirectory) => directory.stop()],
  ['a crash', (directory: LogDirectory) => directory.abandon()],
])('it is of the epoch that it was sent on in, also after %s', async (_, end) => {
  const bench = new Bench()
  await end(await movedOn(bench))
  const again = await bench.open()
  const log = bench.logOf(again)
  expect([log.logStartOffset, log.writtenEndOffset, log.latestEpoch]).toEqual([START, START, 7])
  await again.stop()
})

it('it goes on from there, and knows nothing of the epochs that it has left', async () => {
  const bench = new Bench()
  const directory = await movedOn(bench)
  const log = bench.logOf(directory)
  expect(log.append(batch(['b']), leaderEpoch(8), bench.time.now())).toMatchObject({
    kind: 'appended',
    baseOffset: START,
  })
  log.write()
  await directory.stop()
  const again = bench.logOf(await bench.open())
  expect(again.latestEpoch).toBe(8)
  expect(again.epochEndOffset(leaderEpoch(7))).toEqual({ epoch: 7, endOffset: START })
  // Where epoch 1 ended in the leader's log, and what came after it, is known to nobody here.
  expect(again.epochEndOffset(leaderEpoch(6))).toBeUndefined()
})
