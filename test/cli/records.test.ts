import { describe, expect, it } from 'vitest'
import fc from 'fast-check'
import { UsageError } from '../../broker/commands/command.ts'
import { parseOffsetRange } from '../../broker/commands/offset-spec.ts'
import { compileFormat, printJson, printValueLine } from '../../broker/commands/record-format.ts'
import { RecordSplitter, unescape } from '../../broker/commands/record-splitter.ts'

function split(chunks: readonly string[], delimiter = '\n', max = 1_000): string[] {
  const splitter = new RecordSplitter(Buffer.from(delimiter), max)
  const records = chunks.flatMap((chunk) => [...splitter.feed(Buffer.from(chunk))])
  const last = splitter.finish()
  return [...records, ...(last === undefined ? [] : [last])].map((record) => Buffer.from(record).toString())
}

describe('lines become records', () => {
  it.each<[string, string[], string[]]>([
    ['with a line end behind the last', ['a\nb\n'], ['a', 'b']],
    ['without one', ['a\nb'], ['a', 'b']],
    ['also empty ones', ['\na\n\n\nb\n'], ['', 'a', '', '', 'b']],
    ['none of nothing', [''], []],
    ['one of a single line end', ['\n'], ['']],
    ['with what the system puts before the line end', ['a\r\nb\r\n'], ['a\r', 'b\r']],
    ['over the edges of chunks', ['a', 'b', '\n', 'c\nd', '\n'], ['ab', 'c', 'd']],
  ])('%s', (_, chunks, records) => {
    expect(split(chunks)).toEqual(records)
  })

  it('at delimiters of several bytes, even when one is cut in two', () => {
    expect(split(['a--b-', '-c-d--'], '--')).toEqual(['a', 'b', 'c-d'])
    expect(split(['x-', '-', '-', 'y'], '--')).toEqual(['x', '-y'])
  })

  it('and are never longer than allowed, whether or not they end', () => {
    expect(() => split(['a\n', 'x'.repeat(11)], '\n', 10)).toThrow('record 2 has more than 10 bytes')
    expect(() => split(['12345678901\n'], '\n', 10)).toThrow('record 1 has more than 10 bytes')
    expect(split(['1234567890\n'], '\n', 10)).toEqual(['1234567890'])
  })

  it('the same however the stream is cut', () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom('a', 'b', '-', '--', '\n'), { maxLength: 40 }),
        fc.constantFrom('\n', '--', '-\n'),
        (pieces, delimiter) => {
          const whole = pieces.join('')
          const expected = whole.split(delimiter)
          if (expected.at(-1) === '') expected.pop()
          expect(split(pieces, delimiter)).toEqual(expected)
        },
      ),
      { numRuns: 300 },
    )
  })
})

const RECORD = {
  topic: 'orders',
  partition: 3,
  offset: 42,
  timestamp: 1_700_000_000_000,
  key: Buffer.from('k1'),
  value: Buffer.from('hello'),
  headers: [
    ['a', Buffer.from('1')],
    ['b', null],
  ] as const,
}

describe('a record is printed', () => {
  it('by the letters of kcat', () => {
    const print = compileFormat('%t/%p@%o %T %k(%K)=%s(%S) [%h] 100%%\\t\\x41\\\\\\n')
    expect(String(print(RECORD))).toBe('orders/3@42 1700000000000 k1(2)=hello(5) [a=1,b=NULL] 100%\tA\\\n')
  })

  it('so that what is not there can be told from what is empty', () => {
    const print = compileFormat('%K %S;')
    expect(String(print({ ...RECORD, key: null, value: null }))).toBe('-1 -1;')
    expect(String(print({ ...RECORD, key: Buffer.alloc(0), value: Buffer.alloc(0) }))).toBe('0 0;')
  })

  it('byte by byte, whatever the bytes are', () => {
    const value = Buffer.from([0, 0xff, 0x0a, 0x80])
    expect(printValueLine({ ...RECORD, value })).toEqual(Buffer.from([0, 0xff, 0x0a, 0x80, 0x0a]))
  })

  it('as one line of JSON', () => {
    expect(JSON.parse(String(printJson(RECORD)))).toEqual({
      topic: 'orders',
      partition: 3,
      offset: 42,
      ts: 1_700_000_000_000,
      headers: ['a', '1', 'b', null],
      key: 'k1',
      payload: 'hello',
    })
    const binary = JSON.parse(String(printJson({ ...RECORD, value: Buffer.from([0xff]), headers: [] }))) as object
    expect(binary).toMatchObject({ payloadBase64: '/w==' })
    expect(String(printJson({ ...RECORD, value: Buffer.from('a\nb') })).split('\n')).toHaveLength(2)
  })

  it.each(['%x', '%', 'a%q'])('not by %j, which stands for nothing', (format) => {
    expect(() => compileFormat(format)).toThrow(UsageError)
  })

  it.each(['\\q', 'a\\', '\\xg1'])('nor with the escape %j', (format) => {
    expect(() => unescape(format, '--delimiter')).toThrow(/^--delimiter: /)
  })
})

describe('where to read from', () => {
  it.each([
    [[], { kind: 'start' }],
    [['start'], { kind: 'start' }],
    [['beginning'], { kind: 'start' }],
    [['end'], { kind: 'end' }],
    [['7'], { kind: 'offset', offset: 7 }],
    [['-5'], { kind: 'tail', records: 5 }],
    [['@1700000000000'], { kind: 'timestamp', timestamp: 1_700_000_000_000 }],
    [['s@2026-01-01T00:00:00Z'], { kind: 'timestamp', timestamp: 1_767_225_600_000 }],
  ])('%j', (texts, from) => {
    expect(parseOffsetRange(texts)).toEqual({ from, untilTimestamp: undefined })
  })

  it('and up to when', () => {
    expect(parseOffsetRange(['s@5', 'e@9'])).toEqual({ from: { kind: 'timestamp', timestamp: 5 }, untilTimestamp: 9 })
    expect(parseOffsetRange(['e@9'])).toEqual({ from: { kind: 'start' }, untilTimestamp: 9 })
  })

  it.each([
    [['middle']],
    [['1.5']],
    [['@yesterday']],
    [['1', '2']],
    [['e@1', 'e@2']],
    [['99999999999999999999']],
    [['']],
  ])('is not %j', (texts) => {
    expect(() => parseOffsetRange(texts)).toThrow(UsageError)
  })
})
