// Programs from the packages of the Debian system that this runs on, unpacked into a directory of the caller's without
// touching the system. Owns: how to ask apt, and what has to be there besides the program. Knows nothing of what the
// programs are for. Invariant: nothing is installed, and nothing is downloaded silently.

import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

const FETCH_TIMEOUT_MS = 180_000
const OUTPUT_BYTES_MAX = 16 * 1024 * 1024

type Say = (line: string) => void

export interface PackageWish {
  /** Names of packages, the preferred one first; the first that the lists know is taken. */
  readonly names: readonly string[]
  /** Is told before anything is downloaded. */
  readonly say: Say
}

export function hasDebianPackages(): boolean {
  return process.platform === 'linux' && existsSync('/usr/bin/apt-get')
}

/**
 * Downloads one of the packages and what it depends on that this system lacks, and gives the folder that holds the unpacked
 * tree. The lists of the system are quick but may be missing or old; private ones are fetched.
 * @throws where there is no such package or no way to it
 */
export async function unpackPackages(
  directory: string,
  lists: 'system' | 'private',
  { names, say }: PackageWish,
): Promise<string> {
  for (const folder of ['state/lists/partial', 'cache/archives/partial', 'packages', 'root']) {
    await mkdir(join(directory, folder), { recursive: true })
  }
  const options = ['-o', `Dir::Cache=${join(directory, 'cache')}`, '-o', 'Debug::NoLocking=1']
  options.push('-o', 'APT::Sandbox::User=', '-o', 'Acquire::Retries=3')
  if (lists === 'private') {
    options.push('-o', `Dir::State=${join(directory, 'state')}`, '-o', 'Dir::State::status=/var/lib/dpkg/status')
    say('fetching the package lists of this Debian system (into .cache/, nothing is installed)')
    await apt('apt-get', [...options, '-qq', 'update'], directory)
  }
  const packages = await missingPackages(options, directory, names)
  say(`fetching with apt-get download, into .cache/: ${packages.join(' ')}`)
  const archives = join(directory, 'packages')
  await apt('apt-get', [...options, '-qq', 'download', ...packages], archives)
  const root = join(directory, 'root')
  for (const archive of await readdir(archives)) {
    await run('dpkg-deb', ['-x', join(archives, archive), root], { timeout: FETCH_TIMEOUT_MS })
  }
  return root
}

/** What a program of an unpacked tree needs to find the libraries that lie beside it. */
export async function libraryPath(root: string): Promise<Readonly<Record<string, string>>> {
  const libraries: string[] = []
  for (const folder of [join(root, 'usr/lib'), join(root, 'lib')]) {
    if (!existsSync(folder)) continue
    const triplets = (await readdir(folder)).filter((name) => name.includes('-linux-'))
    libraries.push(...triplets.map((name) => join(folder, name)), folder)
  }
  return libraries.length === 0 ? {} : { LD_LIBRARY_PATH: libraries.join(':') }
}

/** What comes of it; undefined, and said why, where it fails. */
export async function attempt<Result>(work: () => Promise<Result>, say: Say): Promise<Result | undefined> {
  try {
    return await work()
  } catch (error) {
    say(error instanceof Error ? (error.message.split('\n').find((line) => line !== '') ?? 'failed') : String(error))
    return undefined
  }
}

/** The package and those it depends on that this system lacks: what an installation would bring, simulated. */
async function missingPackages(
  options: readonly string[],
  directory: string,
  wanted: readonly string[],
): Promise<readonly string[]> {
  for (const one of wanted) {
    const args = [...options, '--simulate', '--no-install-recommends', 'install', one]
    // A program that the lists do not know is no failure yet: the other name is tried, then other lists.
    const plan = await apt('apt-get', args, directory).catch(() => '')
    const names = plan.split('\n').flatMap((line) => /^Inst ([a-z0-9][a-z0-9+.-]*)/.exec(line)?.[1] ?? [])
    if (names.length > 0) return names
  }
  throw new Error(`the package lists do not know ${wanted.join(' or ')}`)
}

async function apt(command: string, args: readonly string[], cwd: string): Promise<string> {
  const { stdout } = await run(command, args, { cwd, timeout: FETCH_TIMEOUT_MS, maxBuffer: OUTPUT_BYTES_MAX })
  return stdout
}
