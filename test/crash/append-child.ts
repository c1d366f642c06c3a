// The process that is killed: appends to the logs of a data directory and says what it may rely on. Every line is written
// at once, so that what the parent has read was said before the kill.
//
//   node append-child.js DIRECTORY SEED

import { writeSync } from 'node:fs'
import { LogDirectory } from '../../broker/storage/log-directory.ts'
import { NodeDisk } from '../../broker/storage/node-disk.ts'
import type { LeaderEpoch } from '../../shared/ids.ts'
import { brokerId, topicId } from '../../shared/ids.ts'
import { crc32c } from '../../shared/crc32c.ts'
import { silentLogger } from '../../shared/logger.ts'
import { seededRandom, systemRandom } from '../../shared/random.ts'
import { encodeBatch } from '../../shared/record-batch/encode.ts'
import { systemClock, systemTimers } from '../../shared/time.ts'

export const KILL_TOPIC = topicId('00000000-0000-4000-8000-00000000dead')
export const KILL_PARTITIONS = 4

export function openKillDirectory(path: string): Promise<LogDirectory> {
  return LogDirectory.open({
    disk: new NodeDisk(),
    path,
    clock: systemClock,
    timers: systemTimers,
    random: systemRandom,
    logger: silentLogger,
    cluster: 'test',
    brokerId: brokerId(1),
    reserveBytes: 0,
    upkeep: { flushIntervalMs: 50 },
  })
}

async function appendUntilKilled(path: string, seed: number): Promise<void> {
  const random = seededRandom(seed)
  const directory = await openKillDirectory(path)
  if (directory.topics.get(KILL_TOPIC) === undefined) {
    await directory.createTopic({
      topicId: KILL_TOPIC,
      name: 'killed',
      partitions: KILL_PARTITIONS,
      replicationFactor: 1,
      config: { 'segment.bytes': '200000' },
      version: 1,
      createdAt: systemClock.now(),
    })
  }
  const payload = new Uint8Array(3_000)
  for (let index = 0; index < payload.length; index++) payload[index] = random.integer(256)
  for (let turn = 0; ; turn++) {
    const said: string[] = []
    for (let partition = 0; partition < KILL_PARTITIONS; partition++) {
      const log = directory.log(KILL_TOPIC, partition)
      if (log === undefined) throw new Error(`partition ${partition} is offline`)
      for (let batch = random.integer(4); batch >= 0; batch--) {
        const values = Array.from({ length: 1 + random.integer(5) }, () =>
          payload.subarray(random.integer(payload.length)),
        )
        const records = values.map((value) => ({ key: null, value, timestamp: systemClock.now() }))
        const result = log.append(encodeBatch(records, {}), 0 as LeaderEpoch, systemClock.now())
        if (result.kind !== 'appended') throw new Error(JSON.stringify(result))
        for (const [index, value] of values.entries()) {
          said.push(`${partition} ${result.baseOffset + index} ${value.length} ${crc32c(value)}`)
        }
      }
      const failure = log.write()
      if (failure !== undefined) throw failure
    }
    // Acknowledged: from here on a kill must not take it.
    writeSync(1, `${said.join('\n')}\n`)
    if (turn % 20 === 0) await new Promise((resolve) => setImmediate(resolve))
  }
}

const [path, seed] = process.argv.slice(2)
if (process.argv[1]?.endsWith('append-child.js') === true && path !== undefined) {
  await appendUntilKilled(path, Number(seed))
}
