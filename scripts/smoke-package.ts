// Shows that the package works as its users get it: packs it, installs the tarball into an empty folder, and there, with
// each given version of Node, imports every entry, starts a broker, and sends three records through the command line.
//
//   smoke-package [current|MAJOR]...     such as `smoke-package current 22 24`; `current` alone if none is given
//
// Other versions of Node come from npm, which carries the plain binaries, into .cache. Knows the package only by its
// public names. Exit 0: all worked; 1: the first thing that did not is printed.

import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const COMMAND_TIMEOUT_MS = 60_000
const READY_TIMEOUT_MS = 60_000
const STOP_TIMEOUT_MS = 60_000
const INSTALL_TIMEOUT_MS = 300_000
const ENTRIES = ['tidemark', 'tidemark/client', 'tidemark/broker', 'tidemark/testing'] as const
const LINES = ['low tide', 'half tide', 'high tide'] as const

interface Finished {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

interface Manifest {
  readonly version: string
  readonly bin: Readonly<Record<string, string>>
}

const checkout = findCheckout()
const manifest = JSON.parse(readFileSync(join(checkout, 'package.json'), 'utf8')) as Manifest

function findCheckout(): string {
  let directory = dirname(fileURLToPath(import.meta.url))
  while (!existsSync(join(directory, 'package.json'))) directory = dirname(directory)
  return directory
}

async function main(versions: readonly string[]): Promise<void> {
  const work = await mkdtemp(join(tmpdir(), 'tidemark-smoke-'))
  try {
    const command = await installPackage(work)
    for (const version of versions) {
      const node = await nodeOf(version)
      await checkEntries(node, work)
      await checkBroker(node, command, await mkdtemp(join(work, 'data-')))
      const name = await expectSuccess(node, ['--version'], {})
      say(`the package works with Node ${name.stdout.trim()}`)
    }
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

/** Packs and installs into the folder, as a user's project would; gives the path of the installed command. */
async function installPackage(work: string): Promise<string> {
  await expectSuccess('npm', ['pack', '--pack-destination', work], { cwd: checkout })
  const tarball = join(work, `tidemark-${manifest.version}.tgz`)
  await writeFile(join(work, 'package.json'), '{ "name": "smoke", "private": true, "type": "module" }\n')
  const flags = ['--omit=dev', '--prefer-offline', '--no-audit', '--no-fund']
  await expectSuccess('npm', ['install', ...flags, tarball], { cwd: work, timeoutMs: INSTALL_TIMEOUT_MS })
  const command = join(work, 'node_modules', 'tidemark', Object.values(manifest.bin)[0] ?? '')
  const version = await expectSuccess(join(work, 'node_modules', '.bin', 'tidemark'), ['--version'], {})
  if (version.stdout.trim() !== manifest.version) throw new Error(`tidemark --version printed ${version.stdout}`)
  return command
}

/** The path of a node program: this one, or that of a major version, downloaded once. */
async function nodeOf(version: string): Promise<string> {
  if (version === 'current') return process.execPath
  if (!/^\d+$/.test(version)) throw new Error(`not a major version of Node: ${version}`)
  // The package of this one platform is the plain binary; the package `node` would need an install script to choose it.
  const name = `node-${process.platform}-${process.arch}`
  const folder = join(checkout, '.cache', `node-${version}`)
  const node = join(folder, 'node_modules', name, 'bin', 'node')
  if (existsSync(node)) return node
  say(`fetching ${name}@${version} with npm into .cache/node-${version}`)
  await mkdir(folder, { recursive: true })
  const flags = ['--prefix', folder, '--no-save', '--ignore-scripts', '--no-audit', '--no-fund']
  await expectSuccess('npm', ['install', ...flags, `${name}@${version}`], {
    cwd: folder,
    timeoutMs: INSTALL_TIMEOUT_MS,
  })
  return node
}

async function checkEntries(node: string, work: string): Promise<void> {
  const imports = ENTRIES.map((entry) => `await import('${entry}')`).join('; ')
  const names =
    "const { connect } = await import('tidemark'); if (typeof connect !== 'function') throw new Error('no connect')"
  const required = `const { createRequire } = await import('node:module'); createRequire(import.meta.url)('tidemark/client')`
  const script = `${imports}; ${names}; ${required}`
  await expectSuccess(node, ['--input-type=module', '--eval', script], { cwd: work })
}

async function checkBroker(node: string, command: string, dataDir: string): Promise<void> {
  const run = async (args: readonly string[], input = ''): Promise<string> => {
    const { stdout } = await expectSuccess(node, [command, ...args], { input })
    return stdout
  }
  const ports = ['--listen', '127.0.0.1:0', '--http', '127.0.0.1:0']
  const broker = spawn(node, [command, 'start', ...ports, '--data-dir', dataDir], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const ended = once(broker, 'exit')
  try {
    const address = await untilReady(broker)
    await run(['topic', 'create', 'smoke', '-p', '1', '-r', '1', '-b', address])
    await run(['produce', 'smoke', '-b', address], LINES.map((line) => `${line}\n`).join(''))
    const consumed = await run(['consume', 'smoke', '-o', 'start', '-e', '-f', '%s\\n', '-b', address])
    const expected = LINES.map((line) => `${line}\n`).join('')
    if (consumed !== expected) throw new Error(`consumed ${JSON.stringify(consumed)}, not ${JSON.stringify(expected)}`)
    broker.kill('SIGTERM')
    const [code] = (await within(ended, STOP_TIMEOUT_MS, 'the broker to stop after SIGTERM')) as [number | null]
    if (code !== 0) throw new Error(`the broker ended with exit code ${code} after SIGTERM`)
  } finally {
    if (broker.exitCode === null && broker.signalCode === null) broker.kill('SIGKILL')
  }
}

/** The address of the data port, from the line that the daemon prints when it serves. */
async function untilReady(broker: ChildProcess): Promise<string> {
  const { stdout } = broker
  if (stdout === null) throw new Error('the broker was started without a pipe')
  const ready = new Promise<string>((resolve, reject) => {
    createInterface({ input: stdout }).on('line', (line) => {
      const address = /^tidemark ready listen=(\S+) http=\S+ broker=\d+ cluster=\S+$/.exec(line)?.[1]
      if (address !== undefined) resolve(address)
    })
    broker.once('error', reject)
    broker.once('exit', (code) => reject(new Error(`the broker ended with exit code ${code} before it was ready`)))
  })
  return within(ready, READY_TIMEOUT_MS, 'the ready line of the broker')
}

async function within<Result>(work: Promise<Result>, timeoutMs: number, what: string): Promise<Result> {
  let timer: NodeJS.Timeout | undefined
  const expired = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${timeoutMs} ms in vain for ${what}`)), timeoutMs)
  })
  try {
    return await Promise.race([work, expired])
  } finally {
    clearTimeout(timer)
  }
}

interface RunOptions {
  readonly cwd?: string
  readonly input?: string
  readonly timeoutMs?: number
}

async function expectSuccess(program: string, args: readonly string[], options: RunOptions): Promise<Finished> {
  const finished = await new Promise<Finished>((resolve) => {
    const limits = { timeout: options.timeoutMs ?? COMMAND_TIMEOUT_MS, maxBuffer: 64 * 1024 * 1024 }
    const place = options.cwd === undefined ? {} : { cwd: options.cwd }
    const child = execFile(program, [...args], { ...limits, ...place }, (_error, stdout, stderr) => {
      resolve({ code: child.exitCode, stdout, stderr })
    })
    // A command that reads no input may be gone before it is written.
    child.stdin?.on('error', () => undefined)
    child.stdin?.end(options.input ?? '')
  })
  if (finished.code === 0) return finished
  const what = [program, ...args].join(' ')
  throw new Error(`exit code ${finished.code}: ${what}\n${finished.stdout}\n${finished.stderr}`)
}

function say(line: string): void {
  process.stderr.write(`smoke-package: ${line}\n`)
}

try {
  const versions = process.argv.slice(2)
  await main(versions.length === 0 ? ['current'] : versions)
} catch (error) {
  say(error instanceof Error ? error.message : String(error))
  process.exitCode = 1
}
