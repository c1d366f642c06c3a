// Folders below .cache for what the tests need and npm does not bring. Owns: where they lie, and how one comes to be there
// whole or not at all. Knows nothing of what is in them. Invariant: nothing is written outside of .cache.

import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, readFile, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** Lies in each folder that was fetched, and says from which pins. */
export const PINS = 'pins'

/** For a download with many parts. */
export const FETCH_TIMEOUT_MS = 300_000
const LOOK_TIMEOUT_MS = 20_000
const OUTPUT_BYTES_MAX = 16 * 1024 * 1024

/** Makes a folder of the cache; it is there whole, or not at all. `fetch` answers with the folder to keep. */
export async function inCache(name: string, fetch: (work: string) => Promise<string>): Promise<void> {
  const target = cached(name)
  await mkdir(dirname(target), { recursive: true })
  const work = await mkdtemp(`${target}.partial-`)
  try {
    const fetched = await fetch(work)
    await rm(target, { recursive: true, force: true })
    await rename(fetched, target)
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

/** Whether the folder was made from these pins and has something in it. */
export async function isWhole(folder: string, pins: string): Promise<boolean> {
  const there = await readFile(join(folder, PINS), 'utf8').catch(() => undefined)
  return there === pins && (await readdir(folder)).length > 1
}

export interface OutputOptions {
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
  readonly timeoutMs?: number
  /** Throws where the program cannot be run, or fails. Default false: the answer is undefined then. */
  readonly must?: boolean
}

/** What a program says on both its streams. */
export async function outputOf(
  bin: string,
  args: readonly string[],
  options: OutputOptions = {},
): Promise<string | undefined> {
  const { env = {}, cwd, timeoutMs = LOOK_TIMEOUT_MS, must = false } = options
  try {
    const how = { env: { ...process.env, ...env }, timeout: timeoutMs, maxBuffer: OUTPUT_BYTES_MAX }
    const { stdout, stderr } = await run(bin, args, cwd === undefined ? how : { ...how, cwd })
    return `${stdout}${stderr}`
  } catch (error) {
    if (must) throw error
    return undefined
  }
}

export function cached(name: string): string {
  return join(checkoutDirectory(), '.cache', name)
}

export function inCheckout(path: string): string {
  return join(checkoutDirectory(), path)
}

// Scripts run as scripts/x.ts in the tests and as dist/scripts/x.js from npm.
function checkoutDirectory(): string {
  let directory = dirname(fileURLToPath(import.meta.url))
  while (!existsSync(join(directory, 'package.json'))) directory = dirname(directory)
  return directory
}
