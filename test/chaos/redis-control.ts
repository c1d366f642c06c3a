// The Redis of a cluster under faults: killed, started again on its files, paused, emptied, put back to what it was. Judges
// nothing. Invariant: it keeps its address through all its lives.

import { cp, mkdir, rm } from 'node:fs/promises'
import { connect as connectSocket } from 'node:net'
import { join } from 'node:path'
import type { RedisServer } from '../../scripts/ensure-redis.ts'
import { type PrivateRedis, type PrivateRedisOptions, startPrivateRedis } from '../setup/private-redis.ts'

const ARGS = ['--appendonly', 'yes', '--appendfsync', 'everysec', '--maxmemory-policy', 'noeviction']

export class RedisControl {
  readonly #server: RedisServer
  readonly #root: string
  readonly #options: PrivateRedisOptions
  #process: PrivateRedis

  private constructor(server: RedisServer, root: string, options: PrivateRedisOptions, started: PrivateRedis) {
    this.#server = server
    this.#root = root
    this.#options = { ...options, port: started.port }
    this.#process = started
  }

  /** Its files are kept under the folder. */
  static async start(server: RedisServer, root: string, options: PrivateRedisOptions = {}): Promise<RedisControl> {
    const directory = join(root, 'redis')
    await mkdir(directory, { recursive: true })
    // Reached from other hosts than the loopback, it would ask for a password.
    const all = { ...options, directory, args: [...ARGS, '--protected-mode', 'no'] }
    return new RedisControl(server, root, all, await startPrivateRedis(server, all))
  }

  get url(): string {
    return this.#process.url
  }

  /** SIGKILL; resolves when it is gone. */
  async kill(): Promise<void> {
    await this.#process.stop()
  }

  /** Again, on what is in its files. */
  async restart(): Promise<void> {
    this.#process = await startPrivateRedis(this.#server, this.#options)
  }

  pause(): void {
    this.#process.signal('SIGSTOP')
  }

  resume(): void {
    this.#process.signal('SIGCONT')
  }

  async empty(): Promise<void> {
    const { hostname, port } = new URL(this.url)
    await new Promise<void>((resolve, reject) => {
      const socket = connectSocket(Number(port), hostname, () => socket.write('FLUSHALL\r\n'))
      socket.once('data', () => {
        socket.destroy()
        resolve()
      })
      socket.once('error', reject)
    })
  }

  /** Remembers its files as they are, for `rollBack`. */
  async backUp(): Promise<void> {
    await rm(this.#backup, { recursive: true, force: true })
    await cp(join(this.#root, 'redis'), this.#backup, { recursive: true })
  }

  /** Kills it and starts it on the files of the last backUp: what came later is forgotten. */
  async rollBack(): Promise<void> {
    await this.kill()
    await rm(join(this.#root, 'redis'), { recursive: true, force: true })
    await cp(this.#backup, join(this.#root, 'redis'), { recursive: true })
    await this.restart()
  }

  get #backup(): string {
    return join(this.#root, 'redis-backup')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.signal('SIGCONT')
    await this.#process.stop()
  }
}
