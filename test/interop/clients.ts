// Which foreign clients this machine has, and a suite for each that is there. Where one is missing, its suites are skipped
// with a loud line; where CI is set, they fail instead. Knows nothing of what is tested.

import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe } from 'vitest'
import { areClientsRequired, findClients } from '../../scripts/ensure-clients.ts'
import { type ForeignClient, ForeignProcess } from './foreign-client.ts'

const found = await findClients()

export const { kcat } = found

/** Clients whose absence has been told. */
const told = new Set<string>()

/** Whether the tests of the client are run. Where it is required and missing, they are, and fail. */
export function canRun(what: string, isThere: boolean): boolean {
  if (isThere || areClientsRequired()) return true
  if (!told.has(what)) process.stderr.write(`\nNO ${what}: its tests are SKIPPED; \`npm run clients\` fetches it\n`)
  told.add(what)
  return false
}

/** A suite that needs the client. */
export function describeWithClient(what: string, isThere: boolean, suite: () => void): void {
  describe.skipIf(!canRun(what, isThere))(what, suite)
}

export const hasPython = found.python !== undefined

/** One of the drivers in python/. */
export function startPython(driver: string, brokers: string): ForeignClient {
  if (found.python === undefined) throw new Error('the Python clients are not there: see `npm run clients`')
  const { bin, env } = found.python
  return new ForeignProcess({ bin, args: ['-u', '-B', pathOf(`python/${driver}.py`), brokers], env })
}

export function hasJava(version: string): boolean {
  return found.java.has(version)
}

/** Kafka's own client in this version, with its tools. */
export async function startJava(version: string, brokers: string): Promise<ForeignClient> {
  const java = found.java.get(version)
  if (java === undefined) throw new Error(`Kafka ${version} is not there: see \`npm run clients\``)
  // Started quickly rather than made quick: it does not live long.
  const options = ['-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC', '-Xshare:auto', '-Xmx256m']
  const classes = await compiledDriver(java.jars)
  const args = [...options, '-cp', `${classes}:${java.jars}/*`, 'Driver', brokers]
  return new ForeignProcess({ bin: java.bin, args, env: {} })
}

/** The folder of the driver's classes: compiled once, and again when it has changed. */
async function compiledDriver(jars: string): Promise<string> {
  const source = pathOf('java/Driver.java')
  const sum = createHash('sha256')
    .update(await readFile(source))
    .digest('hex')
  const classes = join(jars, `driver-${sum.slice(0, 16)}`)
  if (existsSync(classes)) return classes
  const work = await mkdtemp(`${classes}.partial-`)
  await promisify(execFile)('javac', ['-nowarn', '-d', work, '-cp', `${jars}/*`, source])
  // Another suite may have been quicker; then its classes are as good.
  await rename(work, classes).catch(() => rm(work, { recursive: true, force: true }))
  return classes
}

function pathOf(file: string): string {
  return fileURLToPath(new URL(file, import.meta.url))
}
