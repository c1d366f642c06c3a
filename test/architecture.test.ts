// Holds the rooms, the five doors and the fences round packages. The tables are test/setup/architecture-rules.ts; what
// stands here shows that the sources keep them, and that the check would notice if they did not.

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { ALLOWED_IMPORTS, checkArchitecture, type Violation } from './setup/architecture-rules.ts'

const ROOT = join(import.meta.dirname, '..')

function readSources(): ReadonlyMap<string, string> {
  const sources = new Map<string, string>()
  for (const top of ['shared', 'client', 'broker', 'scripts'].filter((folder) => existsSync(join(ROOT, folder)))) {
    for (const entry of readdirSync(join(ROOT, top), { recursive: true, encoding: 'utf8' })) {
      const path = join(top, entry)
      if (path.endsWith('.ts')) sources.set(path, readFileSync(join(ROOT, path), 'utf8'))
    }
  }
  return sources
}

describe('the sources', () => {
  const violations = checkArchitecture(readSources())

  it.each<[Violation['rule'], string]>([
    ['room', 'stand in a room that has a row'],
    ['direction', 'import only from the rooms on their left'],
    ['implementation', 'name interfaces; only the composition names what stands behind them'],
    ['package', 'import each package in one place'],
    ['node', 'use files, sockets and threads only at the doors'],
    ['door', 'take time and chance as values'],
    ['barrel', 'export what another file defines only at the doors of the package'],
    ['cycle', 'import each other in no circle'],
  ])('%s: they %s', (rule) => {
    expect(violations.filter((violation) => violation.rule === rule).map(({ message }) => message)).toEqual([])
  })

  it('are read: the check has seen the files that everything else needs', () => {
    expect([...readSources().keys()]).toEqual(expect.arrayContaining(['shared/ids.ts', 'shared/time.ts']))
  })
})

describe('the table of rooms', () => {
  it('lets nothing but tests and scripts know tests and scripts', () => {
    for (const [room, allowed] of Object.entries(ALLOWED_IMPORTS)) {
      if (room === 'test' || room === 'scripts') continue
      expect(allowed.filter((entry) => /^(test|scripts)(\/|$)/.test(entry))).toEqual([])
    }
  })

  it('lets shared know nothing and the client only shared', () => {
    expect(ALLOWED_IMPORTS.shared).toEqual([])
    expect(ALLOWED_IMPORTS.client).toEqual(['shared'])
  })
})

describe('a file that breaks a rule is reported', () => {
  it.each<[string, string, Violation['rule'], string]>([
    ['broker/attic/box.ts', 'export const box = 1', 'room', 'broker/attic/box.ts stands in no room'],
    ['broker/utils.ts', 'export const x = 1', 'room', 'broker/utils.ts stands in no room'],
    ['client/a.ts', "import { x } from '../broker/config.ts'", 'direction', 'may not import broker/config.ts'],
    ['shared/a.ts', "import type { X } from '../client/x.ts'", 'direction', 'may not import client/x.ts'],
    ['shared/a.ts', "const x = await import('../client/x.ts')", 'direction', 'may not import client/x.ts'],
    ['shared/a.ts', "type X = import('../client/x.ts').X", 'direction', 'may not import client/x.ts'],
    ['shared/deep/a.ts', "export { x } from '../../client/x.ts'", 'direction', 'may not import client/x.ts'],
    ['broker/storage/a.ts', "import '../replication/partition.ts'", 'direction', 'broker/replication/partition.ts'],
    ['broker/replication/a.ts', "import '../coordination/lease.ts'", 'direction', 'broker/coordination/lease.ts'],
    ['broker/broker.ts', "import '../test/setup/redis.ts'", 'direction', 'may not import test/setup/redis.ts'],
    [
      'broker/storage/segment.ts',
      "import { d } from './node-disk.ts'",
      'implementation',
      'broker/storage/node-disk.ts',
    ],
    ['broker/main.ts', "import '../broker/coordination/redis-keys.ts'", 'implementation', 'redis-keys.ts'],
    ['broker/coordination/lease.ts', "import { Redis } from 'ioredis'", 'package', 'imports ioredis'],
    ['broker/commands/a.ts', "import yargs from 'yargs/yargs'", 'package', 'imports yargs'],
    ['broker/main.ts', "import lodash from 'lodash'", 'package', 'imports lodash'],
    ['scripts/a.ts', "import { Redis } from 'ioredis'", 'package', 'imports ioredis'],
    ['shared/a.ts', "const x = requireNative('@node-rs/crc32')", 'package', 'imports @node-rs/crc32'],
    ['broker/storage/segment.ts', "import { open } from 'node:fs/promises'", 'node', 'imports node:fs/promises'],
    ['broker/storage/segment.ts', "import { open } from 'fs'", 'node', 'imports fs'],
    ['client/connection.ts', "import type { Socket } from 'node:net'", 'node', 'imports node:net'],
    ['broker/broker.ts', "import { Worker } from 'node:worker_threads'", 'node', 'imports node:worker_threads'],
    ['client/a.ts', "import { setTimeout as wait } from 'node:timers/promises'", 'node', 'node:timers/promises'],
    ['shared/a.ts', 'export const now = () => Date.now()', 'door', 'shared/a.ts:1 uses Date.now'],
    ['shared/a.ts', '\n\nexport const now = new Date()', 'door', 'shared/a.ts:3 uses new Date()'],
    ['shared/a.ts', 'export const now = performance.now()', 'door', 'uses performance.now'],
    ['shared/a.ts', 'export const now = process.hrtime.bigint()', 'door', 'uses process.hrtime'],
    ['shared/a.ts', 'setTimeout(() => undefined, 5)', 'door', 'uses setTimeout'],
    ['shared/a.ts', 'export const later = setImmediate', 'door', 'uses setImmediate'],
    ['shared/a.ts', 'globalThis.setInterval(() => undefined, 5)', 'door', 'uses globalThis.setInterval'],
    ['shared/a.ts', 'export const s = AbortSignal.timeout(5)', 'door', 'uses AbortSignal.timeout'],
    ['shared/a.ts', 'export const x = Math.random()', 'door', 'uses Math.random'],
    ['shared/a.ts', 'export const x = crypto.randomUUID()', 'door', 'uses crypto.randomUUID'],
    ['shared/a.ts', "import { randomBytes } from 'node:crypto'", 'door', 'uses randomBytes'],
    ['shared/index.ts', "export * from './ids.ts'", 'barrel', 'exports what ./ids.ts defines'],
  ])('%s: %s', (path, text, rule, message) => {
    const found = checkArchitecture(new Map([[path, text]])).filter((violation) => violation.rule === rule)
    expect(found.map((violation) => violation.message)).toEqual([expect.stringContaining(message)])
  })

  it('and so is a circle, even one of types alone', () => {
    const sources = new Map([
      ['shared/a.ts', "import { b } from './b.ts'"],
      ['shared/b.ts', "import { c } from './c.ts'"],
      ['shared/c.ts', "import type { A } from './a.ts'"],
    ])
    expect(checkArchitecture(sources)).toEqual([
      { rule: 'cycle', message: 'circular import: shared/a.ts → shared/b.ts → shared/c.ts → shared/a.ts' },
    ])
  })
})

describe('a file that keeps the rules is left alone', () => {
  it.each([
    ['shared/time.ts', 'export const now = () => Date.now(); setTimeout(() => undefined, 1)'],
    ['shared/a.ts', 'export const then = new Date(0)'],
    ['shared/a.ts', '// Date.now() and setTimeout in words\nexport const text = "Math.random()"'],
    ['shared/a.ts', 'export interface Timers { setTimeout(): void }'],
    ['shared/a.ts', 'export const run = (timers: { setTimeout(): void }) => timers.setTimeout()'],
    ['broker/protocols/native/a.ts', "import type { P } from '../../replication/peer-client.ts'"],
    ['broker/requests/a.ts', "import type { C } from '../coordination/coordinator.ts'"],
    ['broker/environment.ts', "const { d } = await import('./storage/node-disk.ts')"],
    ['broker/storage/node-disk.ts', "import { open } from 'node:fs/promises'"],
    ['scripts/bench.ts', "import { Kafka } from 'kafkajs'\nexport const now = Date.now()"],
    ['client/index.ts', "export { connect } from './client.ts'"],
  ])('%s: %s', (path, text) => {
    expect(checkArchitecture(new Map([[path, text]]))).toEqual([])
  })
})
