// The page about clients says what is so: the versions that are run, tests that there are, and calls that clients have.

import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { areClientsRequired, JAVA_CLIENT_VERSIONS } from '../../scripts/ensure-clients.ts'
import { LACKS as ECOSYSTEM_LACKS } from '../ecosystem/abilities.ts'
import { LACKS } from './abilities.ts'
import { kcat } from './clients.ts'
import type { ForeignVerb } from './foreign-client.ts'

const page = textOf('../../docs/kafka-clients.md')
const tests = ['.', '../ecosystem']
  .flatMap((folder) => readdirSync(new URL(folder, import.meta.url)).map((name) => `${folder}/${name}`))
  .filter((name) => name.endsWith('.test.ts') || name.endsWith('-suite.ts'))
  .filter((name) => !name.endsWith('/page.test.ts'))
  .map((name) => textOf(name))
  .join('\n')

/** Tests that stand for a call which not every client has. */
const CALLS: Readonly<Record<string, ForeignVerb>> = {
  'changes single settings of a topic': 'alterConfigs',
  'replaces all settings of a topic': 'replaceConfigs',
  'sets what a group has committed': 'alterGroupOffsets',
  'deletes what a group has committed': 'deleteGroupOffsets',
  'deletes groups': 'deleteGroups',
  'sees how much is stored': 'logDirs',
  'sees who writes': 'producers',
  'asks for the preferred leader, who leads already': 'electLeaders',
  'gives the preferred leader its place back': 'electLeaders',
  'moves replicas to other brokers': 'reassign',
  'sees no replicas move when they have arrived': 'reassignments',
}

interface Table {
  readonly head: readonly string[]
  readonly rows: readonly (readonly string[])[]
}

function textOf(path: string): string {
  return readFileSync(new URL(path, import.meta.url), 'utf8')
}

function tables(): Table[] {
  return [...page.matchAll(/(?:^\|.*\n)+/gm)].map(([text]) => {
    const lines = text.trim().split('\n')
    const cells = lines.map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    )
    return { head: cells[0] ?? [], rows: cells.slice(2) }
  })
}

/** Packages of Python and their versions. */
function pinnedIn(requirements: string): Map<string, string> {
  return new Map(
    [...textOf(requirements).matchAll(/^(\S+)==(\S+)$/gm)].map(([, name = '', version = '']) => [name, version]),
  )
}

function versionOf(name: string): string {
  return (JSON.parse(textOf(`../../node_modules/${name}/package.json`)) as { readonly version: string }).version
}

describe('the page about clients', () => {
  it('names the versions that are run', () => {
    const [versions] = tables()
    const python = pinnedIn('python/requirements.txt')
    // It comes with the system; only where all tests are run it has to be that of the page.
    const kcatVersion = areClientsRequired() ? kcat?.version.split(',')[0] : versions?.rows.at(-1)?.[1]
    const expected = [
      ...JAVA_CLIENT_VERSIONS.map((version) => ['Java', version]),
      ['console tools', JAVA_CLIENT_VERSIONS[0]],
      ['confluent-kafka', python.get('confluent-kafka')],
      ['aiokafka', python.get('aiokafka')],
      ['kafkajs', versionOf('kafkajs')],
      ['@platformatic/kafka', versionOf('@platformatic/kafka')],
      ['kcat', kcatVersion],
    ]
    expect(versions?.rows.map(([name, version]) => [name, version])).toEqual(expected)
    expect(page).toContain(`cramjam ${python.get('cramjam')}`)
  })

  it('names the versions of the ecosystem that are run', () => {
    const module = (name: string): string | undefined =>
      new RegExp(`${name} v(\\S+)$`, 'm').exec(textOf('../ecosystem/go/go.mod'))?.[1]
    const python = pinnedIn('../ecosystem/python/requirements.txt')
    const kafka = /<kafka.version>(.*)<\/kafka.version>/.exec(textOf('../ecosystem/java/pom.xml'))?.[1]
    const expected = [
      ['franz-go', module('franz-go')],
      ['sarama', module('sarama')],
      ['kafka-python', python.get('kafka-python')],
      ['Kafka Connect', kafka],
      ['Kafka Streams', kafka],
      ['MirrorMaker 2', kafka],
    ]
    const versions = tables().find(({ head }) => head[0] === 'program' && head[1] === 'version')
    expect(versions?.rows.map(([name, version]) => [name, version])).toEqual(expected)
    expect(page).toContain(`kadm ${module('pkg/kadm')}`)
    for (const codec of ['python-snappy', 'lz4', 'zstandard']) expect(page).toContain(`${codec} ${python.get(codec)}`)
  })

  it('has a test for every line', () => {
    const named = tables()
      .filter(({ head }) => head.at(-1) === 'test')
      .flatMap(({ rows }) => rows.map((row) => row.at(-1) ?? ''))
    const quoted = [...page.matchAll(/"([a-z][^"]{20,})"/gis)].map(([, text = '']) => text.replaceAll(/\s+/g, ' '))
    expect(named.length).toBeGreaterThan(40)
    expect([...named, ...quoted].filter((name) => !tests.includes(`'${name}'`))).toEqual([])
  })

  it('says yes where a client has a call, and no call where it has none', () => {
    const wrong: string[] = []
    const lacking = Object.entries<readonly ForeignVerb[]>({ ...LACKS, ...ECOSYSTEM_LACKS })
    for (const { head, rows } of tables()) {
      for (const row of rows) {
        const verb = CALLS[row.at(-1) ?? '']
        if (verb === undefined) continue
        for (const [client, lacks] of lacking) {
          const column = head.indexOf(client)
          const said = row[column]
          if (column > 0 && (said === 'no call') !== lacks.includes(verb)) wrong.push(`${client}: ${row[0]}: ${said}`)
        }
      }
    }
    expect(wrong).toEqual([])
  })

  it('tells all that clients of the ecosystem have no call for', () => {
    const exceptions = tables().find(({ head }) => head[1] === 'franz-go')
    for (const [client, lacks] of Object.entries<readonly ForeignVerb[]>(ECOSYSTEM_LACKS)) {
      const column = exceptions?.head.indexOf(client) ?? -1
      const rows = exceptions?.rows.filter((row) => row[column] === 'no call') ?? []
      const told = rows.map((row) => CALLS[row.at(-1) ?? '']).filter((verb) => verb !== undefined)
      expect(told.toSorted(), client).toEqual(lacks.toSorted())
    }
  })
})
