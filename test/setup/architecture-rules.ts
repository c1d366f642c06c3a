// The rooms of the project and what each may know, as tables, and the check that holds sources against them. Pure: it is
// given the texts. A place that no table names is a violation, so that a new room, file or package is a decision.
//
// How to read an entry: a path that ends in .ts is that file, one that ends in * is every file that begins so, any other
// is a folder with all in it.

import { isBuiltin } from 'node:module'
import { dirname, join } from 'node:path/posix'
import { type Door, type ImportFact, readSource, type SourceFacts } from './source-facts.ts'

export interface Violation {
  readonly rule: 'room' | 'direction' | 'implementation' | 'package' | 'node' | 'door' | 'barrel' | 'cycle'
  /** File, line and what is wrong with it, in one sentence. */
  readonly message: string
}

type Places = readonly string[]

const METER = 'broker/metrics/meter.ts'
const COORDINATOR = 'broker/coordination/coordinator.ts'

/** What each room may import besides itself. A folder belongs to the longest row that contains it. */
export const ALLOWED_IMPORTS = {
  shared: [],
  client: ['shared'],
  'broker/storage': ['shared', METER],
  'broker/coordination': ['shared', METER],
  'broker/replication': ['shared', METER, 'broker/storage', COORDINATOR],
  // The connections to other brokers are those of the client: the same wire, and the same care for a silent other side.
  'broker/peers': [
    'shared',
    METER,
    COORDINATOR,
    'broker/replication/peers.ts',
    'client/connection.ts',
    'client/transport.ts',
    'client/environment.ts',
    'client/errors.ts',
    'client/retry.ts',
  ],
  'broker/groups': ['shared', METER, 'broker/storage', 'broker/replication', COORDINATOR],
  'broker/requests': ['shared', METER, 'broker/storage', 'broker/replication', 'broker/groups', COORDINATOR],
  'broker/network': ['shared', METER],
  'broker/protocols': [
    'shared',
    METER,
    'broker/storage',
    'broker/replication',
    'broker/groups',
    'broker/requests',
    'broker/network',
    COORDINATOR,
  ],
  // A client of Kafka's protocol: the messages are those that are served, and the wire is the client's.
  'broker/mirror': [
    'shared',
    'broker/protocols/kafka',
    'client/environment.ts',
    'client/errors.ts',
    'client/retry.ts',
    'client/transport.ts',
  ],
  'broker/metrics': ['shared'],
  'broker/admin': ['shared', METER, 'broker/requests', 'broker/replication', COORDINATOR, 'broker/config.ts'],
  'broker/commands': [
    'shared',
    'client',
    'broker/storage',
    'broker/mirror',
    'broker/config.ts',
    'broker/config-file.ts',
    'broker/main.ts',
    'broker/log.ts',
    'broker/logger.ts',
  ],
  'broker/option-table.ts': ['shared'],
  'broker/config.ts': ['shared', 'broker/option-table.ts'],
  'broker/config-file.ts': ['shared', 'broker/config.ts'],
  'broker/log.ts': ['shared'],
  'broker/logger.ts': ['shared'],
  'broker/environment.ts': [
    'shared',
    'client/transport.ts',
    'broker/storage',
    'broker/coordination',
    'broker/network',
    'broker/metrics',
    // The type of what a test may change of its rules.
    'broker/replication/replica.ts',
    'broker/log.ts',
    'broker/logger.ts',
    'broker/config.ts',
  ],
  'broker/cluster.ts': [
    'shared',
    METER,
    COORDINATOR,
    'broker/storage',
    'broker/replication',
    'broker/peers',
    'broker/requests',
    'broker/environment.ts',
  ],
  'broker/listeners.ts': [
    'shared',
    METER,
    COORDINATOR,
    'broker/network',
    'broker/protocols',
    'broker/requests',
    'broker/environment.ts',
    'broker/config.ts',
  ],
  'broker/broker.ts': [
    'shared',
    'broker/cluster.ts',
    'broker/listeners.ts',
    'broker/storage',
    'broker/coordination',
    'broker/replication',
    'broker/peers',
    'broker/groups',
    'broker/requests',
    'broker/network',
    'broker/protocols',
    'broker/metrics',
    'broker/admin',
    'broker/config.ts',
    'broker/environment.ts',
    'broker/log.ts',
    'broker/logger.ts',
  ],
  'broker/index.ts': [
    'shared',
    'broker/broker.ts',
    'broker/environment.ts',
    'broker/config.ts',
    'broker/option-table.ts',
    'broker/coordination',
  ],
  'broker/testing.ts': [
    'shared',
    'client',
    'broker/broker.ts',
    'broker/environment.ts',
    'broker/config.ts',
    'broker/storage',
    'broker/coordination',
    'broker/network',
    'broker/metrics',
  ],
  'broker/main.ts': [
    'shared',
    'broker/broker.ts',
    'broker/environment.ts',
    'broker/config.ts',
    'broker/config-file.ts',
    'broker/log.ts',
    'broker/logger.ts',
    'broker/coordination',
    'broker/metrics',
    'broker/admin',
  ],
  'broker/cli.ts': ['shared', 'broker/commands', 'broker/main.ts', 'broker/config.ts', 'broker/config-file.ts'],
  scripts: ['shared', 'client', 'broker', 'test/setup', 'test/chaos', 'test/simulation', 'test/replication'],
  test: ['shared', 'client', 'broker', 'scripts'],
} as const satisfies Record<string, Places>

const COMPOSITION: Places = ['broker/broker.ts', 'broker/environment.ts', 'broker/index.ts']
const DOORKEEPERS: Places = ['broker/broker.ts', 'broker/environment.ts', 'broker/testing.ts']

/** Files that stand behind an interface, and the only ones in the product that may name them. */
const IMPLEMENTATIONS: Record<string, Places> = {
  'broker/coordination/in-process-coordinator.ts': COMPOSITION,
  'broker/coordination/redis-*': [...COMPOSITION, 'broker/coordination/redis-*'],
  'broker/metrics/prometheus.ts': DOORKEEPERS,
  'broker/storage/node-disk.ts': [...DOORKEEPERS, 'broker/commands'],
  'broker/storage/memory-disk.ts': DOORKEEPERS,
  'broker/network/node-transport.ts': DOORKEEPERS,
}

/** Where each package may be imported: one file or one room each, so that it can be replaced. */
const PACKAGES: Record<string, Places> = {
  ioredis: ['broker/coordination/redis-connection.ts'],
  'prom-client': ['broker/metrics/prometheus.ts'],
  yargs: ['broker/cli.ts', 'scripts'],
  '@msgpack/msgpack': ['shared/protocol/codec.ts'],
  pino: ['broker/log.ts', 'broker/logger.ts'],
  hono: ['broker/admin'],
  '@hono/node-server': ['broker/admin'],
  yaml: ['broker/config-file.ts', 'broker/commands'],
  'cli-table3': ['broker/commands'],
  'cli-progress': ['broker/commands', 'scripts'],
  '@node-rs/crc32': ['shared/crc32c.ts'],
  snappy: ['shared', 'client/compression.ts'],
  snappyjs: ['shared', 'client/compression.ts'],
  'lz4-napi': ['shared', 'client/compression.ts'],
  '@bokuweb/zstd-wasm': ['shared', 'client/compression.ts'],
}

const COMMAND_RIM: Places = ['broker/cli.ts', 'broker/commands', 'broker/config-file.ts']
const SOCKETS: Places = ['broker/network/node-transport.ts', 'client/transport.ts']
const EVERYWHERE: Places = ['shared', 'client', 'broker']

/** Where the product may use each module of Node. Scripts and tests are free. */
const NODE_MODULES: Record<string, Places> = {
  // The log has a way of its own to the error stream, which must not wait for anything.
  fs: ['broker/storage/node-disk.ts', 'broker/log.ts', ...COMMAND_RIM],
  net: SOCKETS,
  tls: SOCKETS,
  dns: SOCKETS,
  http: ['broker/admin/http-server.ts'],
  timers: ['shared/time.ts'],
  readline: ['broker/cli.ts', 'broker/commands'],
  os: ['broker/environment.ts', 'broker/main.ts', 'broker/testing.ts', ...COMMAND_RIM],
  // Both only for what is measured, never for the clock, which the doors below guard.
  perf_hooks: ['broker/metrics', 'broker/commands', 'broker/environment.ts'],
  v8: ['broker/metrics', 'broker/commands'],
  assert: EVERYWHERE,
  buffer: EVERYWHERE,
  crypto: EVERYWHERE,
  diagnostics_channel: EVERYWHERE,
  events: EVERYWHERE,
  module: EVERYWHERE,
  path: EVERYWHERE,
  process: EVERYWHERE,
  stream: EVERYWHERE,
  string_decoder: EVERYWHERE,
  url: EVERYWHERE,
  util: EVERYWHERE,
  zlib: EVERYWHERE,
}

const DOORS: Record<Door, Places> = {
  clock: ['shared/time.ts'],
  timers: ['shared/time.ts'],
  chance: ['shared/random.ts'],
}

/** The entries of the package: the only files that may export what another file defines. */
const PUBLIC_DOORS: Places = ['client/index.ts', 'broker/index.ts', 'broker/testing.ts']

const ROOMS: ReadonlyMap<string, Places> = new Map(Object.entries(ALLOWED_IMPORTS))

/** Holds sources, given by their path in the checkout, against the tables above. */
export function checkArchitecture(sources: ReadonlyMap<string, string>): readonly Violation[] {
  const violations: Violation[] = []
  const graph = new Map<string, readonly string[]>()
  for (const [path, text] of sources) {
    const facts = readSource(path, text)
    const local = facts.imports.filter(isRelative).map((found) => join(dirname(path), found.specifier))
    if (isProduct(path)) graph.set(path, local)
    violations.push(...checkRoom(path, facts), ...checkModules(path, facts))
    if (isProduct(path)) violations.push(...checkDoors(path, facts))
  }
  return [...violations, ...checkCycles(graph)]
}

function checkRoom(path: string, facts: SourceFacts): readonly Violation[] {
  const room = roomOf(path)
  if (room === undefined) return [{ rule: 'room', message: `${path} stands in no room: give it a row` }]
  const violations: Violation[] = []
  for (const found of facts.imports.filter(isRelative)) {
    const target = join(dirname(path), found.specifier)
    const where = `${path}:${found.line}`
    if (roomOf(target) !== room && !isIn(target, ROOMS.get(room) ?? [])) {
      violations.push({ rule: 'direction', message: `${where} is in ${room}, which may not import ${target}` })
    }
    for (const [implementation, importers] of Object.entries(IMPLEMENTATIONS)) {
      if (!isProduct(path) || !isIn(target, [implementation]) || isIn(path, importers)) continue
      violations.push({ rule: 'implementation', message: `${where} imports ${target} instead of its interface` })
    }
  }
  return violations
}

function checkModules(path: string, facts: SourceFacts): readonly Violation[] {
  const violations: Violation[] = []
  for (const found of facts.imports.filter((fact) => !isRelative(fact))) {
    const where = `${path}:${found.line}`
    const name = packageOf(found.specifier)
    if (isBuiltin(found.specifier)) {
      const places = NODE_MODULES[name]
      if (!isProduct(path) || (places !== undefined && isIn(path, places))) continue
      violations.push({ rule: 'node', message: `${where} imports ${found.specifier}, which is not for this file` })
      continue
    }
    const places = PACKAGES[name] ?? (isProduct(path) ? [] : undefined)
    if (places === undefined || path.startsWith('test/') || isIn(path, places)) continue
    violations.push({ rule: 'package', message: `${where} imports ${name}, which is not for this file` })
  }
  return violations
}

function checkDoors(path: string, facts: SourceFacts): readonly Violation[] {
  const violations: Violation[] = []
  for (const { door, text, line } of facts.doors) {
    if (isIn(path, DOORS[door])) continue
    violations.push({ rule: 'door', message: `${path}:${line} uses ${text}; only ${DOORS[door].join(', ')} may` })
  }
  for (const { specifier, line } of facts.reexports) {
    if (isIn(path, PUBLIC_DOORS)) continue
    violations.push({ rule: 'barrel', message: `${path}:${line} exports what ${specifier} defines` })
  }
  return violations
}

/** Each file on a circle of imports is reported once, with one circle it is on. */
function checkCycles(graph: ReadonlyMap<string, readonly string[]>): readonly Violation[] {
  const violations: Violation[] = []
  const finished = new Set<string>()
  const trail: string[] = []
  const visit = (path: string): void => {
    const start = trail.indexOf(path)
    if (start >= 0) {
      const circle = [...trail.slice(start), path]
      violations.push({ rule: 'cycle', message: `circular import: ${circle.join(' → ')}` })
      return
    }
    if (finished.has(path)) return
    trail.push(path)
    for (const target of graph.get(path) ?? []) visit(target)
    trail.pop()
    finished.add(path)
  }
  for (const path of graph.keys()) visit(path)
  return violations
}

function roomOf(path: string): string | undefined {
  if (ROOMS.has(path)) return path
  const folder = dirname(path)
  return folder === '.' || folder === path ? undefined : roomOf(folder)
}

function isIn(path: string, places: Places): boolean {
  return places.some((place) => {
    if (place.endsWith('.ts')) return path === place
    return place.endsWith('*') ? path.startsWith(place.slice(0, -1)) : path.startsWith(`${place}/`)
  })
}

function isProduct(path: string): boolean {
  return isIn(path, EVERYWHERE)
}

function isRelative(fact: ImportFact): boolean {
  return fact.specifier.startsWith('.')
}

/** `node:fs/promises` is fs, `@scope/name/file.js` is @scope/name. */
function packageOf(specifier: string): string {
  const parts = specifier.replace(/^node:/, '').split('/')
  return parts.slice(0, specifier.startsWith('@') ? 2 : 1).join('/')
}
