// kill -9 under load, on the real disk: every record that was acknowledged is there, byte for byte.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { must } from '../../shared/assert.ts'
import { crc32c } from '../../shared/crc32c.ts'
import { seededRandom } from '../../shared/random.ts'
import { forEachRecord } from '../../shared/record-batch/decode.ts'
import { batchBytes } from '../../shared/record-batch/header.ts'
import type { PartitionLog } from '../../broker/storage/partition-log.ts'
import { KILL_PARTITIONS, KILL_TOPIC, openKillDirectory } from './append-child.ts'

const ROUNDS = 10
/** Turns of the child after which it is killed, at a moment that nobody chose. */
const LINES_MAX = 3_000

describe('a broker that is killed under load', () => {
  let directory: string

  beforeEach(() => {
    directory = fs.mkdtempSync(path.join(os.tmpdir(), 'tidemark-kill-'))
  })
  afterEach(() => fs.rmSync(directory, { recursive: true }))

  it('has every acknowledged record after each of many kills', { timeout: 60_000 }, async () => {
    const seed = 20_260
    const random = seededRandom(seed)
    const owed = Array.from({ length: KILL_PARTITIONS }, () => new Map<number, string>())
    for (let round = 0; round < ROUNDS; round++) {
      for (const line of await appendAndKill(directory, seed + round, 1 + random.integer(LINES_MAX))) {
        const [partition, offset, length, checksum] = line.split(' ').map(Number)
        must(owed[partition ?? -1], 'the partition is one of those asked for').set(
          offset ?? -1,
          `${length} ${checksum}`,
        )
      }
      const found = await openKillDirectory(directory)
      for (const [partition, acknowledged] of owed.entries()) {
        const log = must(found.log(KILL_TOPIC, partition), 'the log is there')
        expect(log.quarantined).toEqual([])
        const records = await readAll(log)
        const missing = [...acknowledged].filter(([offset, what]) => records.get(offset) !== what)
        expect({ round, partition, seed, missing }).toEqual({ round, partition, seed, missing: [] })
        // What was written and not said to be is kept as well: it is owed from now on.
        for (const [offset, what] of records) acknowledged.set(offset, what)
      }
      await found.stop()
    }
    const records = owed.reduce((sum, acknowledged) => sum + acknowledged.size, 0)
    process.stdout.write(`${ROUNDS} kills, ${records} records\n`)
    expect(records).toBeGreaterThan(ROUNDS * 100)
  })
})

/** Runs the child until it has said so many lines, and kills it. Returns the lines that are whole. */
async function appendAndKill(directory: string, seed: number, lines: number): Promise<string[]> {
  const script = path.resolve('dist/test/crash/append-child.js')
  const child = spawn(process.execPath, [script, directory, String(seed)], { stdio: ['ignore', 'pipe', 'inherit'] })
  // Not 'exit': what the child has said before it died may still be on its way.
  const closed = once(child, 'close')
  let text = ''
  let seen = 0
  child.stdout.setEncoding('utf8')
  child.stdout.on('data', (chunk: string) => {
    text += chunk
    seen += chunk.split('\n').length - 1
    if (seen >= lines) child.kill('SIGKILL')
  })
  await closed
  expect(child.signalCode).toBe('SIGKILL')
  return text.split('\n').slice(0, -1)
}

async function readAll(log: PartitionLog): Promise<Map<number, string>> {
  const records = new Map<number, string>()
  let next = log.logStartOffset
  while (next < log.logEndOffset) {
    const slice = await log.read(next, 1_000_000, log.logEndOffset)
    for (let at = 0; at < slice.bytes.length; at += batchBytes(slice.bytes, at)) {
      forEachRecord(slice.bytes, at, (record) => {
        const value = must(record.value, 'values are set')
        records.set(record.offset, `${value.length} ${crc32c(value)}`)
      })
    }
    next = slice.endOffset
    slice.release()
  }
  return records
}
