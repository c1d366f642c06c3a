// The settings: every name a setting may be given by means the same, what is not legal is refused with what would be, and
// secrets are not shown.

import { describe, expect, it } from 'vitest'
import fc from 'fast-check'
import {
  describeOptions,
  environmentName,
  OPTIONS,
  parseAddress,
  propertyName,
  resolveOptions,
  topicConfigDefaults,
} from '../../broker/config.ts'
import { parseTopicConfig } from '../../broker/storage/log-config.ts'

describe('the options table', () => {
  it('has defaults that it would take itself, and a sentence for every row', () => {
    for (const row of OPTIONS) {
      expect(() => resolveOptions({ [row.name]: row.default })).not.toThrow()
      expect(row.about, row.name).toMatch(/^[A-Z].*\.$/s)
    }
  })

  it('gives no two rows a name that means both', () => {
    const names = OPTIONS.flatMap(({ name, aliases = [] }) => [name, ...aliases]).map((name) =>
      name.replaceAll('.', '-'),
    )
    expect(new Set(names).size).toBe(names.length)
  })

  it('speaks only of topic settings that there are', () => {
    const given = Object.fromEntries(
      OPTIONS.filter((row) => row.topicConfig !== undefined).map((row) => [row.name, row.default]),
    )
    const defaults = topicConfigDefaults(resolveOptions(given))
    expect(Object.keys(defaults).length).toBeGreaterThan(4)
    // What the operator says with the default changes nothing: both tables have the same defaults.
    expect(parseTopicConfig({}, defaults)).toEqual(parseTopicConfig({}))
  })
})

describe('resolveOptions', () => {
  it('fills in what was not given', () => {
    const { options, given } = resolveOptions({})
    expect(options).toMatchObject({ listen: '127.0.0.1:9092', http: '127.0.0.1:9644', dataDir: './data', brokerId: 1 })
    expect(options.advertise).toBeUndefined()
    expect(given.size).toBe(0)
  })

  it.each(['data-dir', 'dataDir', 'data.dir', 'DATA_DIR', 'log.dirs'])('knows %s', (name) => {
    expect(resolveOptions({ [name]: '/x' }).options.dataDir).toBe('/x')
  })

  it.each([
    ['retention-check-interval-ms', '10s', 10_000],
    ['retention-check-interval-ms', '2h', 7_200_000],
    ['hot-tail-bytes', '64MiB', 67_108_864],
    ['hot-tail-bytes', '1g', 1_073_741_824],
    ['hot-tail-bytes', '0.5k', 512],
    ['log-retention-ms', '-1', -1],
    ['partitions-max', '12', 12],
    ['auto-create-topics', 'true', true],
    ['auto-create-topics', '0', false],
    ['listen', ':0', '127.0.0.1:0'],
    ['listen', '[::1]:9092', '[::1]:9092'],
    ['listen', 9092, '127.0.0.1:9092'],
    ['http', 'off', 'off'],
  ])('reads %s=%s', (name, text, value) => {
    expect({ ...resolveOptions({ [name]: text }).options }).toMatchObject({ [propertyName(name)]: value })
  })

  it.each([
    [{ 'partitions-max': 'many' }, `partitions-max must be an integer from 1 to 1000000, not "many"`],
    [{ partitionsMax: 0 }, 'partitions-max must be an integer from 1 to 1000000, not 0'],
    [{ partitionsMax: 1.5 }, 'partitions-max must be an integer from 1 to 1000000, not 1.5'],
    [{ 'partitions-max': '1k' }, 'partitions-max must be an integer from 1 to 1000000, not "1k"'],
    [{ durability: 'maybe' }, 'durability must be one of os, fsync, not "maybe"'],
    [{ listen: 'localhost' }, `listen must be HOST:PORT with a port from 0 to 65535, not 'localhost'`],
    [{ listen: 'a:99999' }, `listen must be HOST:PORT with a port from 0 to 65535, not 'a:99999'`],
    [{ cluster: '' }, 'cluster must be a text that is not empty, not ""'],
    [{ 'auto-create-topics': 'perhaps' }, 'auto-create-topics must be true or false, not "perhaps"'],
    [{ 'data-dri': 'x' }, `there is no setting 'data-dri'; did you mean data-dir?`],
    [{ 'num.partition': '1' }, `there is no setting 'num.partition'; did you mean default-partitions?`],
    [{ zzzzzzzz: 'x' }, `there is no setting 'zzzzzzzz'`],
    [{ dataDir: 'a', 'data-dir': 'b' }, 'data-dir is given twice, once as data-dir'],
  ])('refuses %j', (raw, message) => {
    expect(() => resolveOptions(raw)).toThrow(expect.objectContaining({ code: 'INVALID_OPTION', message }) as Error)
  })

  it('never answers anything but settings or INVALID_OPTION', () => {
    const names = fc.oneof(fc.constantFrom(...OPTIONS.map(({ name }) => name)), fc.string())
    const values = fc.oneof(fc.string(), fc.double(), fc.boolean(), fc.constant(null), fc.object())
    fc.assert(
      fc.property(fc.dictionary(names, values, { maxKeys: 4 }), (raw) => {
        try {
          return Object.isFrozen(resolveOptions(raw).options)
        } catch (error) {
          return error instanceof Error && 'code' in error && error.code === 'INVALID_OPTION'
        }
      }),
      { numRuns: 500 },
    )
  })
})

describe('describeOptions', () => {
  it('shows every setting and who chose it, but no secret', () => {
    const described = describeOptions(resolveOptions({ redis: 'redis://:hunter2@localhost', cluster: 'c' }))
    expect(described).toHaveLength(OPTIONS.length)
    expect(described.find(({ name }) => name === 'cluster')).toMatchObject({ value: 'c', isDefault: false })
    expect(described.find(({ name }) => name === 'listen')).toMatchObject({ value: '127.0.0.1:9092', isDefault: true })
    expect(JSON.stringify(described)).not.toContain('hunter2')
  })
})

describe('names', () => {
  it('of environment variables and properties follow from the row', () => {
    expect(environmentName('data-dir')).toBe('TIDEMARK_DATA_DIR')
    expect(propertyName('connections-per-address-max')).toBe('connectionsPerAddressMax')
    expect(parseAddress('[fe80::1%eth0]:1', 'listen')).toEqual({ host: 'fe80::1%eth0', port: 1 })
  })
})
