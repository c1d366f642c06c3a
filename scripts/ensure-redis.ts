// Finds a real redis-server for the tests, or fetches one from the Debian packages into .cache/redis without touching the
// system. Owns: where to look, what to fetch, and how to say so. Knows nothing of the tests: starting a server is
// test/setup/private-redis.ts. Invariant: nothing is downloaded silently, and .cache/redis is either whole or absent.
//
// As a program: `ensure-redis [--or-skip]`. Exit 0: there is one; 3: there is none. With --or-skip having none is an
// error only where Redis is required (CI=true or REQUIRE_REDIS=1).

import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { attempt, hasDebianPackages, libraryPath, unpackPackages } from './debian-packages.ts'

const run = promisify(execFile)

export interface RedisServer {
  /** Path of the program. */
  readonly bin: string
  /** Environment variables that the program needs besides the caller's own. */
  readonly env: Readonly<Record<string, string>>
  /** What the program calls itself, for people. */
  readonly version: string
}

const EXIT_NOT_FOUND = 3
const PROGRAMS = ['redis-server', 'valkey-server'] as const
const FOLDERS = [
  '/usr/bin',
  '/usr/local/bin',
  '/opt/homebrew/bin',
  '/usr/local/sbin',
  '/usr/sbin',
  '/snap/bin',
] as const

/** Looks in REDIS_SERVER_BIN, on the PATH, in the usual folders and in the cache; downloads nothing. */
export async function findRedis(): Promise<RedisServer | undefined> {
  const named = namedProgram()
  if (named !== undefined) return check(named, {})
  const folders = [...(process.env['PATH'] ?? '').split(':').filter((folder) => folder !== ''), ...FOLDERS]
  for (const program of PROGRAMS) {
    for (const folder of folders) {
      const found = await check(join(folder, program), {})
      if (found !== undefined) return found
    }
  }
  return findIn(cacheDirectory())
}

/** As findRedis, and fetches one where there is none; undefined, and said why, where that fails. */
export async function ensureRedis(): Promise<RedisServer | undefined> {
  return (await findRedis()) ?? (await fetchRedis())
}

/** Whether a run without Redis must fail instead of skipping the suites that need it. */
export function isRedisRequired(): boolean {
  return ['true', '1'].includes(process.env['CI'] ?? '') || process.env['REQUIRE_REDIS'] === '1'
}

/** Downloads the packages of redis-server and unpacks them into the cache; undefined, and said why, where that fails. */
async function fetchRedis(): Promise<RedisServer | undefined> {
  if (namedProgram() !== undefined) {
    say('REDIS_SERVER_BIN names no program that runs here; nothing else is tried')
    return undefined
  }
  if (!hasDebianPackages()) {
    say(
      process.platform === 'darwin'
        ? 'no redis-server found; install one with `brew install redis`'
        : 'no redis-server found and no apt-get to fetch one; install Redis 6.2 or newer, or set REDIS_SERVER_BIN',
    )
    return undefined
  }
  await mkdir(dirname(cacheDirectory()), { recursive: true })
  const work = await mkdtemp(`${cacheDirectory()}.partial-`)
  try {
    const wish = { names: PROGRAMS, say }
    const unpacked =
      (await attempt(() => unpackPackages(join(work, 'a'), 'system', wish), say)) ??
      (await attempt(() => unpackPackages(join(work, 'b'), 'private', wish), say))
    if (unpacked === undefined || (await findIn(unpacked)) === undefined) {
      say('the downloaded redis-server does not run here; install Redis 6.2 or newer, or set REDIS_SERVER_BIN')
      return undefined
    }
    await rm(cacheDirectory(), { recursive: true, force: true })
    await rename(unpacked, cacheDirectory())
    return await findIn(cacheDirectory())
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

/** The server in an unpacked tree, run with the libraries that lie beside it. */
async function findIn(root: string): Promise<RedisServer | undefined> {
  const env = await libraryPath(root)
  for (const program of PROGRAMS) {
    const found = await check(join(root, 'usr/bin', program), env)
    if (found !== undefined) return found
  }
  return undefined
}

async function check(bin: string, env: Readonly<Record<string, string>>): Promise<RedisServer | undefined> {
  if (!existsSync(bin)) return undefined
  try {
    const { stdout } = await run(bin, ['--version'], { env: { ...process.env, ...env }, timeout: 10_000 })
    return { bin, env, version: stdout.trim() }
  } catch (error) {
    say(`${bin} cannot be run: ${error instanceof Error ? error.message : String(error)}`)
    return undefined
  }
}

function namedProgram(): string | undefined {
  const named = process.env['REDIS_SERVER_BIN']
  return named === '' ? undefined : named
}

function cacheDirectory(): string {
  return join(checkoutDirectory(), '.cache', 'redis')
}

// This file runs as scripts/ensure-redis.ts in the tests and as dist/scripts/ensure-redis.js from npm.
function checkoutDirectory(): string {
  let directory = dirname(fileURLToPath(import.meta.url))
  while (!existsSync(join(directory, 'package.json'))) directory = dirname(directory)
  return directory
}

function say(line: string): void {
  process.stderr.write(`ensure-redis: ${line}\n`)
}

async function main(args: readonly string[]): Promise<number> {
  const found = await ensureRedis()
  if (found !== undefined) {
    say(`${found.bin}: ${found.version}`)
    return 0
  }
  if (args.includes('--or-skip') && !isRedisRequired()) {
    say('NO REDIS: every suite that needs one will be skipped')
    return 0
  }
  return EXIT_NOT_FOUND
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exitCode = await main(process.argv.slice(2))
