// Finds the foreign Kafka clients that the tests run, or fetches them into .cache: kcat from the Debian packages, the
// Python clients with pip, the Java client and its console tools with Maven. The ones from npm are there with everything
// else from npm. Owns: which versions, where they lie, how to fetch them and how to say what is missing. Knows nothing of
// the tests. Invariant: nothing is installed into the system, and each folder in .cache is either whole or absent.
//
// As a program: `ensure-clients [--if-required]`. Exit 0: all are there, or none is required; 3: one is missing where all are required
// (CI=true or REQUIRE_CLIENTS=1).

import { existsSync } from 'node:fs'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { cached, FETCH_TIMEOUT_MS, inCache, inCheckout, isWhole, outputOf, PINS } from './cache-folders.ts'
import { attempt, hasDebianPackages, libraryPath, unpackPackages } from './debian-packages.ts'

/** A program and what it is started with. */
export interface ForeignProgram {
  readonly bin: string
  readonly env: Readonly<Record<string, string>>
}

export interface ForeignClients {
  readonly kcat: (ForeignProgram & { readonly version: string }) | undefined
  /** A Python that finds confluent-kafka and aiokafka. */
  readonly python: ForeignProgram | undefined
  /** By the version of Kafka's client: the java program, and the folder of its jars. */
  readonly java: ReadonlyMap<string, { readonly bin: string; readonly jars: string }>
}

/** The versions of Kafka's own client that are run. */
export const JAVA_CLIENT_VERSIONS = ['4.1.1', '3.9.1'] as const

const EXIT_MISSING = 3
const MUST = { timeoutMs: FETCH_TIMEOUT_MS, must: true }

/** Looks in the usual places and in the cache; downloads nothing. */
export async function findClients(): Promise<ForeignClients> {
  const [kcat, python, java] = await Promise.all([findKcat(), findPython(), findJava()])
  return { kcat, python, java }
}

/** As findClients, and fetches what is not there; says why where that fails. */
export async function ensureClients(): Promise<ForeignClients> {
  await mkdir(cached(''), { recursive: true })
  // One after the other: who reads along sees what takes the time.
  if ((await findKcat()) === undefined) await attempt(fetchKcat, say)
  if ((await findPython()) === undefined) await attempt(fetchPython, say)
  for (const version of JAVA_CLIENT_VERSIONS) {
    if (!(await isWhole(javaFolder(version), await javaPins(version)))) await attempt(() => fetchJava(version), say)
  }
  return findClients()
}

/** What is not there, for people. */
export function missingClients({ kcat, python, java }: ForeignClients): readonly string[] {
  const versions = JAVA_CLIENT_VERSIONS.filter((version) => !java.has(version))
  return [
    ...(kcat === undefined ? ['kcat'] : []),
    ...(python === undefined ? ['confluent-kafka and aiokafka (Python)'] : []),
    ...versions.map((version) => `Kafka ${version} (Java)`),
  ]
}

/** Whether a run without one of them must fail instead of skipping the suites that need it. */
export function areClientsRequired(): boolean {
  return ['true', '1'].includes(process.env['CI'] ?? '') || process.env['REQUIRE_CLIENTS'] === '1'
}

async function findKcat(): Promise<ForeignClients['kcat']> {
  const fetched = cached('kcat')
  const places = [
    { bin: 'kcat', env: {} },
    { bin: join(fetched, 'usr/bin/kcat'), env: existsSync(fetched) ? await libraryPath(fetched) : {} },
  ]
  for (const place of places) {
    const said = await outputOf(place.bin, ['-V'], { env: place.env })
    const version = /Version (\S+).*librdkafka (\S+)/s.exec(said ?? '')
    if (version !== null) return { ...place, version: `${version[1]}, librdkafka ${version[2]}` }
  }
  return undefined
}

async function fetchKcat(): Promise<void> {
  if (!hasDebianPackages()) throw new Error('no kcat found and no apt-get to fetch one; install kcat')
  await inCache('kcat', async (work) => {
    const wish = { names: ['kcat', 'kafkacat'], say }
    const unpacked =
      (await attempt(() => unpackPackages(join(work, 'a'), 'system', wish), say)) ??
      (await attempt(() => unpackPackages(join(work, 'b'), 'private', wish), say))
    if (unpacked === undefined) throw new Error('kcat could not be fetched; install it')
    return unpacked
  })
}

async function findPython(): Promise<ForeignProgram | undefined> {
  const version = await pythonVersion()
  if (version === undefined) return undefined
  const folder = pythonFolder(version)
  if (!(await isWhole(folder, await readFile(requirementsFile(), 'utf8')))) return undefined
  return { bin: 'python3', env: { PYTHONPATH: folder } }
}

async function fetchPython(): Promise<void> {
  const version = await pythonVersion()
  if (version === undefined) throw new Error('no python3 found; the Python clients need one')
  const requirements = requirementsFile()
  say(`fetching the Python clients with pip, into ${pythonFolder(version)}`)
  await inCache(`python-${version}`, async (work) => {
    const args = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--only-binary', ':all:']
    const folder = join(work, 'packages')
    await outputOf('python3', [...args, '--target', folder, '-r', requirements], MUST)
    await writeFile(join(folder, PINS), await readFile(requirements, 'utf8'))
    return folder
  })
}

async function pythonVersion(): Promise<string | undefined> {
  const said = await outputOf('python3', ['-c', 'import sys; print("%d.%d" % sys.version_info[:2])'])
  return said?.trim()
}

async function findJava(): Promise<ForeignClients['java']> {
  const found = new Map<string, { bin: string; jars: string }>()
  if ((await outputOf('java', ['-version'])) === undefined) return found
  for (const version of JAVA_CLIENT_VERSIONS) {
    const jars = javaFolder(version)
    if (await isWhole(jars, await javaPins(version))) found.set(version, { bin: 'java', jars })
  }
  return found
}

async function fetchJava(version: string): Promise<void> {
  if ((await outputOf('java', ['-version'])) === undefined) throw new Error('no java found; 17 or newer is needed')
  say(`fetching Kafka ${version} with Maven, into ${javaFolder(version)}`)
  await inCache(`java/${version}`, async (work) => {
    const folder = join(work, 'jars')
    const options = [`-Dkafka.version=${version}`, `-DoutputDirectory=${folder}`]
    const args = ['-q', '-B', '-f', pomFile(), 'dependency:copy-dependencies', ...options]
    await outputOf('mvn', args, MUST)
    await writeFile(join(folder, PINS), await javaPins(version))
    return folder
  })
}

function requirementsFile(): string {
  return inCheckout('test/interop/python/requirements.txt')
}

function pomFile(): string {
  return inCheckout('test/interop/java/pom.xml')
}

async function javaPins(version: string): Promise<string> {
  return `${version}\n${await readFile(pomFile(), 'utf8')}`
}

function pythonFolder(version: string): string {
  return cached(`python-${version}`)
}

function javaFolder(version: string): string {
  return cached(`java/${version}`)
}

function say(line: string): void {
  process.stderr.write(`ensure-clients: ${line}\n`)
}

async function main(): Promise<number> {
  // Before the tests: who has not asked for them is not made to fetch them.
  if (process.argv.includes('--if-required') && !areClientsRequired()) return 0
  const clients = await ensureClients()
  const { kcat, python, java } = clients
  if (kcat !== undefined) say(`kcat ${kcat.version}`)
  if (python !== undefined) say(`the Python clients in ${python.env['PYTHONPATH'] ?? ''}`)
  for (const [version, { jars }] of java) say(`Kafka ${version} in ${jars}`)
  const missing = missingClients(clients)
  if (missing.length === 0) return 0
  say(`MISSING: ${missing.join(', ')}: every suite that needs one will be skipped, or fails where CI is set`)
  return areClientsRequired() ? EXIT_MISSING : 0
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exitCode = await main()
