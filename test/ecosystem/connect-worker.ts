// A worker of Kafka Connect in distributed mode, and its REST interface. Judges nothing.

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { freePort } from '../setup/free-port.ts'
import { JavaProgram } from './java-program.ts'

const START_LIMIT_MS = 60_000
const STRINGS = 'org.apache.kafka.connect.storage.StringConverter'

export interface ConnectWorkerOptions {
  readonly brokers: string
  readonly jars: string
  /** Where its settings may be written. */
  readonly folder: string
  /** Default one that is free. */
  readonly port?: number
  /** Of its topics. Default 1. */
  readonly replicationFactor?: number
}

export interface ConnectorStatus {
  readonly connector: { readonly state: string; readonly worker_id: string }
  readonly tasks: readonly { readonly state: string; readonly worker_id: string; readonly trace?: string }[]
}

/** The topics of its own that a worker keeps. */
export const WORKER_TOPICS = ['connect-configs', 'connect-offsets', 'connect-status'] as const

export const WORKER_GROUP = 'connect-workers'

export class ConnectWorker implements AsyncDisposable {
  readonly program: JavaProgram
  readonly port: number

  private constructor(program: JavaProgram, port: number) {
    this.program = program
    this.port = port
  }

  /** Resolves when it serves. */
  static async start({ brokers, jars, folder, ...options }: ConnectWorkerOptions): Promise<ConnectWorker> {
    const port = options.port ?? (await freePort())
    const replicationFactor = String(options.replicationFactor ?? 1)
    const settings = {
      'bootstrap.servers': brokers,
      'group.id': WORKER_GROUP,
      'key.converter': STRINGS,
      'value.converter': STRINGS,
      'config.storage.topic': WORKER_TOPICS[0],
      'offset.storage.topic': WORKER_TOPICS[1],
      'status.storage.topic': WORKER_TOPICS[2],
      'config.storage.replication.factor': replicationFactor,
      'offset.storage.replication.factor': replicationFactor,
      'status.storage.replication.factor': replicationFactor,
      'offset.flush.interval.ms': '500',
      'session.timeout.ms': '6000',
      'heartbeat.interval.ms': '1000',
      'scheduled.rebalance.max.delay.ms': '500',
      'plugin.discovery': 'service_load',
      listeners: `HTTP://127.0.0.1:${port}`,
    }
    const file = join(folder, `worker-${port}.properties`)
    await writeFile(file, propertiesOf(settings))
    const main = 'org.apache.kafka.connect.cli.ConnectDistributed'
    const program = new JavaProgram({ main, args: [file], classPath: [`${jars}/*`] })
    try {
      await program.until('Kafka Connect started', START_LIMIT_MS)
    } catch (error) {
      await program.end('SIGKILL')
      throw error
    }
    return new ConnectWorker(program, port)
  }

  get id(): string {
    return `127.0.0.1:${this.port}`
  }

  /** Makes a connector, or gives it other settings. */
  async put(name: string, config: Readonly<Record<string, string>>): Promise<void> {
    await this.#ask('PUT', `connectors/${name}/config`, config)
  }

  async status(name: string): Promise<ConnectorStatus | undefined> {
    const text = await this.#ask('GET', `connectors/${name}/status`).catch(() => undefined)
    return text === undefined ? undefined : (JSON.parse(text) as ConnectorStatus)
  }

  async #ask(method: string, path: string, body?: unknown): Promise<string> {
    const response = await fetch(`http://${this.id}/${path}`, {
      method,
      headers: { 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    const text = await response.text()
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`)
    return text
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.program.end('SIGKILL')
  }
}

export function propertiesOf(settings: Readonly<Record<string, string>>): string {
  return Object.entries(settings)
    .map(([name, value]) => `${name}=${value}\n`)
    .join('')
}
