// Which programs of the ecosystem this machine has, and how they are started. Where one is missing, its suites are skipped with
// a loud line. Knows nothing of what is tested.

import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe } from 'vitest'
import { findEcosystem } from '../../scripts/ensure-ecosystem.ts'
import { type ForeignClient, ForeignProcess } from '../interop/foreign-client.ts'

const found = await findEcosystem()

const told = new Set<string>()

export function canRun(what: string, isThere: boolean): boolean {
  if (!isThere && !told.has(what)) {
    process.stderr.write(
      `\nNO ${what}: its tests are SKIPPED; \`npm run test:ecosystem\` looks for it and says why not\n`,
    )
    told.add(what)
  }
  return isThere
}

/** A suite that needs the program. */
export function describeWithProgram(what: string, isThere: boolean, suite: () => void): void {
  describe.skipIf(!canRun(what, isThere))(what, suite)
}

export const hasGo = found.go !== undefined

/** One of the drivers in go/. */
export function startGo(driver: 'franz' | 'sarama', brokers: string): ForeignClient {
  if (found.go === undefined) throw new Error('the drivers in Go are not there')
  return new ForeignProcess({ bin: join(found.go, driver), args: [brokers], env: {} })
}

export const hasKafkaPython = found.python !== undefined

/** The driver in python/. */
export function startKafkaPython(brokers: string): ForeignClient {
  if (found.python === undefined) throw new Error('kafka-python is not there')
  const driver = fileURLToPath(new URL('python/kafka_python_driver.py', import.meta.url))
  const shared = fileURLToPath(new URL('../interop/python', import.meta.url))
  const env = { PYTHONPATH: `${found.python}:${shared}` }
  return new ForeignProcess({ bin: 'python3', args: ['-u', '-B', driver, brokers], env })
}

/** The jars of Kafka Connect, MirrorMaker and Streams. */
export const jarsFolder = found.jars
