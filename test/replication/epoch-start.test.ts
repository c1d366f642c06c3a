// What the record that opened the latest epoch says, as a log is opened.

import { expect, it } from 'vitest'
import { encodeEpochStart, lossAcceptedInLog } from '../../broker/replication/epoch-start.ts'
import { parseTopicConfig } from '../../broker/storage/log-config.ts'
import { createLog, openLog } from '../../broker/storage/log-opening.ts'
import { MemoryDisk } from '../../broker/storage/memory-disk.ts'
import type { PartitionLog } from '../../broker/storage/partition-log.ts'
import { createStorageContext } from '../../broker/storage/storage-context.ts'
import { must } from '../../shared/assert.ts'
import { brokerId, leaderEpoch } from '../../shared/ids.ts'
import { SimTime } from '../simulation/sim-time.ts'
import { batch } from '../storage/log-fixture.ts'

const PATH = 'log'
const CONFIG = parseTopicConfig({})
/** Some byte of the first batch that its checksum covers. */
const COVERED_AT = 40

/** A log of an epoch whose election accepted a loss, closed and opened again after `harm` was done to its file. */
async function reopened(harm: (bytes: Uint8Array) => void): Promise<PartitionLog> {
  const time = new SimTime()
  const disk = new MemoryDisk(time)
  const log = createLog(createStorageContext(disk), PATH, CONFIG)
  log.appendControl(encodeEpochStart(brokerId(1), leaderEpoch(3)), leaderEpoch(3), time.now())
  log.append(batch(['a']), leaderEpoch(3), time.now())
  const clean = must(await log.closeClean(time.now()), 'it is closed in order')
  const name = must(
    disk.list(PATH).find((one) => one.endsWith('.log')),
    'there is a segment',
  )
  const bytes = Uint8Array.from(disk.readFile(`${PATH}/${name}`))
  harm(bytes)
  disk.writeFile(`${PATH}/${name}`, bytes)
  return openLog(createStorageContext(disk), PATH, CONFIG, clean)
}

it('it names the newest epoch whose election accepted a loss', async () => {
  const log = await reopened(() => undefined)
  expect(await lossAcceptedInLog(log)).toBe(3)
})

it('it keeps no replica out of service when it is damaged', async () => {
  const log = await reopened((bytes) => {
    bytes[COVERED_AT] = (bytes[COVERED_AT] ?? 0) ^ 1
  })
  await log.scrub()
  expect(log.quarantined).toHaveLength(1)
  expect(await lossAcceptedInLog(log)).toBeUndefined()
})
