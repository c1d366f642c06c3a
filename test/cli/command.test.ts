import { describe, expect, it } from 'vitest'
import {
  Arguments,
  type CommandRow,
  type FlagRow,
  nearest,
  splitPair,
  UsageError,
} from '../../broker/commands/command.ts'
import { FailedRecords } from '../../broker/commands/failed-records.ts'
import { COMMANDS, GLOBAL_FLAGS, GROUPS } from '../../broker/commands/table.ts'

const ROW: CommandRow = {
  path: ['test'],
  about: '',
  positionals: [{ name: 'files', arity: 'many', about: '' }],
  flags: [],
  load: () => Promise.reject(new Error('not loaded')),
}

function check(flag: Partial<FlagRow>, value: unknown, environment: Record<string, string> = {}) {
  return Arguments.check(ROW, [{ name: 'flag', type: 'text', about: '', ...flag }], { flag: value }, environment)
}

describe('a flag', () => {
  it.each([
    ['5', 5],
    ['10k', 10_240],
    ['64KiB', 65_536],
    ['1mb', 1_000_000],
    ['2g', 2_147_483_648],
  ])('of bytes may be written %s', (text, bytes) => {
    expect(check({ type: 'integer', unit: 'bytes' }, text).integer('flag')).toBe(bytes)
  })

  it('that counts goes by thousands', () => {
    expect(check({ type: 'integer', unit: 'count' }, '10k').integer('flag')).toBe(10_000)
  })

  it.each(['', 'x', '1.5', '5 k', '1e3', '-1', '0x10', '99999999999999999999', '5q'])('is no number as %j', (text) => {
    expect(() => check({ type: 'integer', unit: 'bytes' }, text)).toThrow(UsageError)
  })

  it.each(['maybe', 'true', 1])('that is a switch is never %j', (value) => {
    expect(() => check({ type: 'switch' }, value)).toThrow(UsageError)
    expect(check({ type: 'switch' }, false).isOn('flag')).toBe(false)
    expect(check({ type: 'switch' }, true).isOn('flag')).toBe(true)
  })

  it('comes from its variable when it is not given, and is blamed under that name', () => {
    const flag = { variable: 'TIDEMARK_FLAG', choices: ['a', 'b'], default: 'b' } as const
    expect(check(flag, undefined, { TIDEMARK_FLAG: 'a' }).text('flag')).toBe('a')
    expect(check(flag, 'b', { TIDEMARK_FLAG: 'a' }).text('flag')).toBe('b')
    expect(check(flag, undefined).text('flag')).toBe('b')
    expect(() => check(flag, undefined, { TIDEMARK_FLAG: 'c' })).toThrow("TIDEMARK_FLAG must be one of a, b, not 'c'")
  })

  it('may be a pair, of which only the first equals sign counts', () => {
    expect(splitPair('a=b=c', '--header')).toEqual(['a', 'b=c'])
    expect(splitPair('a=', '--header')).toEqual(['a', ''])
    expect(() => splitPair('=b', '--header')).toThrow("--header must be NAME=VALUE, not '=b'")
  })
})

describe('what was perhaps meant', () => {
  it.each([
    ['partitons', 'partitions'],
    ['part', 'partitions'],
    ['brokrs', 'brokers'],
    ['borkers', 'brokers'],
    ['lsit', 'list'],
    ['zzz', undefined],
    ['p', undefined],
  ])('by %s is %s', (text, meant) => {
    expect(nearest(text, ['brokers', 'partitions', 'compression', 'list'])).toBe(meant)
  })
})

describe('the table of commands', () => {
  it('gives no name or letter twice within a command', () => {
    for (const row of COMMANDS) {
      const names = [...row.flags, ...GLOBAL_FLAGS].flatMap(({ name, alias }) =>
        alias === undefined ? [name] : [name, alias],
      )
      const all = [...names, ...row.positionals.map(({ name }) => name)]
      expect({ command: row.path, repeated: all.filter((name, index) => all.indexOf(name) !== index) }).toEqual({
        command: row.path,
        repeated: [],
      })
    }
  })

  it('explains every group, and loads what it names', async () => {
    const groups = COMMANDS.flatMap(({ path }) => (path.length > 1 ? [path[0]] : []))
    expect(new Set(groups)).toEqual(new Set(Object.keys(GROUPS)))
    for (const row of COMMANDS) expect(await row.load()).toBeTypeOf('function')
  })
})

describe('records that were not acknowledged', () => {
  it('are told as ranges, with the first reason', () => {
    const failed = new FailedRecords()
    for (const number of [4, 5, 6, 9]) failed.add(number, new Error(`record ${number}`))
    expect(failed.ranges()).toBe('records 4-6, 9')
    expect(failed.reason).toEqual(new Error('record 4'))
  })

  it('are told in a few words however many they are', () => {
    const failed = new FailedRecords()
    for (let number = 0; number < 10_000; number += 2) failed.add(number, new Error('lost'))
    expect(failed.ranges()).toBe('records 0, 2, 4, 6, 8, 10, 12, 14, 16, 18 and more, 5000 in all')
  })
})
