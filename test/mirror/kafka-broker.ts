// A real Kafka for tests: one node of its own from the jars that the foreign clients come with, on free ports of 127.0.0.1, in
// a directory that goes with it. Judges nothing.

import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { findClients } from '../../scripts/ensure-clients.ts'
import { freePort } from '../setup/free-port.ts'

export const KAFKA_VERSION = '4.1.1'

export interface KafkaBroker extends AsyncDisposable {
  /** HOST:PORT. */
  readonly brokers: string
}

/** Started quickly rather than made quick: it does not live long. */
const JAVA_OPTIONS = ['-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC', '-Xshare:auto', '-Xmx512m']

/** Starts it, and does not wait until it serves: who asks it asks again. */
export async function startKafka(settings: Readonly<Record<string, string>> = {}): Promise<KafkaBroker> {
  const java = (await findClients()).java.get(KAFKA_VERSION)
  if (java === undefined) throw new Error(`Kafka ${KAFKA_VERSION} is not there: see \`npm run clients\``)
  const directory = await mkdtemp(join(tmpdir(), 'tidemark-kafka-'))
  const [port, controllerPort] = [await freePort(), await freePort()]
  const file = join(directory, 'server.properties')
  const lines = Object.entries({
    'process.roles': 'broker,controller',
    'node.id': '1',
    'controller.quorum.voters': `1@127.0.0.1:${controllerPort}`,
    listeners: `PLAINTEXT://127.0.0.1:${port},CONTROLLER://127.0.0.1:${controllerPort}`,
    'advertised.listeners': `PLAINTEXT://127.0.0.1:${port}`,
    'controller.listener.names': 'CONTROLLER',
    'log.dirs': join(directory, 'data'),
    'offsets.topic.replication.factor': '1',
    'offsets.topic.num.partitions': '1',
    'transaction.state.log.replication.factor': '1',
    'transaction.state.log.num.partitions': '1',
    'transaction.state.log.min.isr': '1',
    'group.initial.rebalance.delay.ms': '0',
    'log.cleaner.backoff.ms': '100',
    'log.initial.task.delay.ms': '100',
    ...settings,
  })
  await writeFile(file, lines.map(([name, value]) => `${name}=${value}\n`).join(''))
  const classes = ['-cp', `${java.jars}/*`]
  // One that began with a dash would be taken for a flag.
  const id = Buffer.concat([Buffer.of(0x10), randomBytes(15)]).toString('base64url')
  const format = ['kafka.tools.StorageTool', 'format', '-t', id, '-c', file]
  await promisify(execFile)(java.bin, [...JAVA_OPTIONS, ...classes, ...format])
  const log = openSync(join(directory, 'log'), 'a')
  const child = spawn(java.bin, [...JAVA_OPTIONS, ...classes, 'kafka.Kafka', file], { stdio: ['ignore', log, log] })
  closeSync(log)
  return new RunningKafka(child, `127.0.0.1:${port}`, directory)
}

class RunningKafka implements KafkaBroker {
  readonly brokers: string
  readonly #child: ChildProcess
  readonly #directory: string
  readonly #ended: Promise<unknown>

  constructor(child: ChildProcess, brokers: string, directory: string) {
    this.#child = child
    this.brokers = brokers
    this.#directory = directory
    this.#ended = once(child, 'close')
    // Whoever ends the tests early must not leave it behind.
    process.once('exit', this.#kill)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#kill()
    await this.#ended
    process.removeListener('exit', this.#kill)
    await rm(this.#directory, { recursive: true, force: true })
  }

  /** What it has said, for when it does not come up. */
  async said(): Promise<string> {
    return await readFile(join(this.#directory, 'log'), 'utf8')
  }

  readonly #kill = (): void => {
    this.#child.kill('SIGKILL')
  }
}
