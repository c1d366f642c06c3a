// Finds what the tests of the wider ecosystem of Kafka run, or fetches it into .cache: drivers in Go, which are compiled
// with their modules, Kafka Connect and Streams with Maven, kafka-python with pip. Owns: where they lie, how to fetch them
// and how to say what is missing; their versions are pinned beside the tests. Knows nothing of the tests.
// Invariant: nothing is installed into the system, and each folder in .cache is either whole or absent.
//
// As a program: `ensure-ecosystem`. Exit 0 always: what is missing is said, and its tests are skipped.

import { createHash } from 'node:crypto'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { cached, FETCH_TIMEOUT_MS, inCache, inCheckout, isWhole, outputOf, PINS } from './cache-folders.ts'
import { attempt } from './debian-packages.ts'

export interface Ecosystem {
  /** The folder of the drivers in Go. */
  readonly go: string | undefined
  /** The folder of the jars of Kafka Connect, its file connectors, MirrorMaker and Streams. */
  readonly jars: string | undefined
  /** The folder of kafka-python, for PYTHONPATH. */
  readonly python: string | undefined
}

type Part = keyof Ecosystem

interface Recipe {
  readonly what: string
  /** Throws where the machine has not what it takes. */
  readonly pins: () => Promise<string>
  readonly folder: string
  readonly fetch: (into: string) => Promise<void>
}

const MUST = { timeoutMs: FETCH_TIMEOUT_MS, must: true }
const GO_SOURCES = inCheckout('test/ecosystem/go')
const POM = inCheckout('test/ecosystem/java/pom.xml')
const REQUIREMENTS = inCheckout('test/ecosystem/python/requirements.txt')
/** Go is often not on the path of those who do not write it. */
const GO_PLACES = ['go', '/usr/local/go/bin/go']

const RECIPES: Readonly<Record<Part, Recipe>> = {
  go: {
    what: 'the drivers of franz-go and sarama (Go)',
    folder: 'ecosystem/go',
    pins: async () => `${(await goProgram()).version}\n${await sumOf(GO_SOURCES)}`,
    fetch: async (into) => {
      const env = {
        GOMODCACHE: cached('go/modules'),
        GOCACHE: cached('go/build'),
        // Files that can be removed with everything else.
        GOFLAGS: '-modcacherw',
        GOTOOLCHAIN: 'local',
      }
      const { bin } = await goProgram()
      await outputOf(bin, ['build', '-o', `${into}/`, './franz', './sarama'], { ...MUST, env, cwd: GO_SOURCES })
    },
  },
  jars: {
    what: 'Kafka Connect and Streams (Java)',
    folder: 'ecosystem/java',
    pins: async () => {
      if ((await outputOf('java', ['-version'])) === undefined) throw new Error('no java found; 17 or newer is needed')
      return readFile(POM, 'utf8')
    },
    fetch: async (into) => {
      const args = ['-q', '-B', '-f', POM, 'dependency:copy-dependencies', `-DoutputDirectory=${into}`]
      await outputOf('mvn', args, MUST)
    },
  },
  python: {
    what: 'kafka-python (Python)',
    folder: 'ecosystem/python',
    pins: async () => {
      const version = await outputOf('python3', ['-c', 'import sys; print("%d.%d" % sys.version_info[:2])'])
      if (version === undefined) throw new Error('no python3 found')
      return `${version}${await readFile(REQUIREMENTS, 'utf8')}`
    },
    fetch: async (into) => {
      const args = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--only-binary', ':all:']
      await outputOf('python3', [...args, '--target', into, '-r', REQUIREMENTS], MUST)
    },
  },
}

/** Looks in the cache; downloads and compiles nothing. */
export async function findEcosystem(): Promise<Ecosystem> {
  const [go, jars, python] = await Promise.all([find(RECIPES.go), find(RECIPES.jars), find(RECIPES.python)])
  return { go, jars, python }
}

/** As findEcosystem, and fetches what is not there; says why where that fails. */
export async function ensureEcosystem(): Promise<Ecosystem> {
  // One after the other: who reads along sees what takes the time.
  for (const recipe of Object.values(RECIPES)) {
    if ((await find(recipe)) === undefined) await attempt(() => fetch(recipe), say)
  }
  return findEcosystem()
}

async function find({ pins, folder }: Recipe): Promise<string | undefined> {
  const expected = await pins().catch(() => undefined)
  const place = cached(folder)
  return expected !== undefined && (await isWhole(place, expected)) ? place : undefined
}

async function fetch({ what, pins, folder, fetch: fetchInto }: Recipe): Promise<void> {
  const expected = await pins()
  say(`fetching ${what}, into ${cached(folder)}`)
  await inCache(folder, async (work) => {
    const place = join(work, 'whole')
    await fetchInto(place)
    await writeFile(join(place, PINS), expected)
    return place
  })
}

async function goProgram(): Promise<{ bin: string; version: string }> {
  for (const bin of GO_PLACES) {
    const version = await outputOf(bin, ['version'])
    if (version !== undefined) return { bin, version: version.trim() }
  }
  throw new Error('no go found; 1.26 or newer is needed')
}

async function sumOf(folder: string): Promise<string> {
  const sum = createHash('sha256')
  const files = await readdir(folder, { recursive: true, withFileTypes: true })
  for (const path of files
    .filter((one) => one.isFile())
    .map((one) => join(one.parentPath, one.name))
    .toSorted()) {
    sum.update(path.slice(folder.length)).update(await readFile(path))
  }
  return sum.digest('hex')
}

function say(line: string): void {
  process.stderr.write(`ensure-ecosystem: ${line}\n`)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const found = await ensureEcosystem()
  for (const part of ['go', 'jars', 'python'] as const) {
    const folder = found[part]
    say(
      folder === undefined
        ? `MISSING: ${RECIPES[part].what}: its tests will be skipped`
        : `${RECIPES[part].what} in ${folder}`,
    )
  }
}
