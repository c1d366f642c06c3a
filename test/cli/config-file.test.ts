import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { gatherSettings } from '../../broker/config-file.ts'

const directory = mkdtempSync(join(tmpdir(), 'tidemark-config-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

function file(name: string, text: string): string {
  const path = join(directory, name)
  writeFileSync(path, text)
  return path
}

function gather(
  sources: { flags?: Record<string, unknown>; environment?: Record<string, string>; configFile?: string } = {},
) {
  return gatherSettings({
    flags: Object.entries(sources.flags ?? {}),
    environment: sources.environment ?? {},
    configFile: sources.configFile,
  })
}

describe('settings', () => {
  it('come from flags before the environment before the file before the defaults', async () => {
    const configFile = file('a.yaml', 'cluster: file\nlisten: 127.0.0.1:1\nflush-interval-ms: 20\n')
    const environment = { TIDEMARK_CLUSTER: 'environment', TIDEMARK_LISTEN: '127.0.0.1:2' }
    const { options, given } = await gather({ flags: { listen: '127.0.0.1:3' }, environment, configFile })
    expect(options).toMatchObject({
      listen: '127.0.0.1:3',
      cluster: 'environment',
      flushIntervalMs: 20,
      http: '127.0.0.1:9644',
    })
    expect([...given].sort()).toEqual(['cluster', 'flush-interval-ms', 'listen'])
  })

  it.each([
    ['names.yaml', 'log.retention.ms: 5m\ndataDir: /x\n'],
    ['nested.yml', 'log:\n  retention:\n    ms: 5m\ndata:\n  dir: /x\n'],
    ['names.json', '{"log-retention-ms": "5m", "data_dir": "/x"}'],
    ['server.properties', '# as Kafka has it\nlog.retention.ms = 300000\n\nlog.dirs=/x\n'],
  ])('are read from %s', async (name, text) => {
    const { options } = await gather({ configFile: file(name, text) })
    expect(options).toMatchObject({ logRetentionMs: 300_000, dataDir: '/x' })
  })

  it('of an empty file are the defaults', async () => {
    expect((await gather({ configFile: file('empty.yaml', '# nothing\n') })).given.size).toBe(0)
  })

  it('that are secret may stand in a file that a variable names', async () => {
    const path = file('redis-url', 'redis://u:p@h/0\n')
    expect((await gather({ environment: { TIDEMARK_REDIS_FILE: path } })).options.redis).toBe('redis://u:p@h/0')
  })

  it.each([
    ['flags', { flags: { 'advertised-listeners': 'OUT://h.example.com:1', listeners: 'OUT://127.0.0.1:0' } }],
    [
      'variables',
      {
        environment: {
          TIDEMARK_ADVERTISED_LISTENERS: 'OUT://h.example.com:1',
          TIDEMARK_LISTENERS: 'OUT://127.0.0.1:0',
        },
      },
    ],
    [
      'both',
      {
        flags: { 'advertised-listeners': 'OUT://h.example.com:1' },
        environment: { TIDEMARK_LISTENERS: 'OUT://127.0.0.1:0' },
      },
    ],
  ])('that are legal only together are taken from %s', async (_, sources) => {
    expect((await gather(sources)).options.advertisedListeners).toBe('OUT://h.example.com:1')
  })

  it('that are not legal together are refused', async () => {
    const flags = { 'advertised-listeners': 'IN://h.example.com:1', listeners: 'OUT://127.0.0.1:0' }
    await expect(gather({ flags })).rejects.toThrow('advertised-listeners names IN, which is none of listeners')
  })

  it.each([
    [{ advertise: '0.0.0.0:9092' }, 'advertise is what clients are told to connect to'],
    [{ advertise: 'h.example.com:0' }, 'a host with a port, not h.example.com:0'],
    [{ 'advertised-listeners': 'OUT://[::]:1', listeners: 'OUT://127.0.0.1:0' }, 'advertised-listeners OUT is what'],
  ])('that tell clients to connect to nowhere are refused: %j', async (flags, text) => {
    await expect(gather({ flags })).rejects.toThrow(text)
  })

  it('may be written with sections in the environment', async () => {
    expect((await gather({ environment: { TIDEMARK_LOG__LEVEL: 'warn' } })).options.logLevel).toBe('warn')
  })

  it('ignore variables that name none, and say what was perhaps meant', async () => {
    const environment = {
      TIDEMARK_DATADIR: '/x',
      TIDEMARK_SERVICE_HOST: '10.0.0.1',
      TIDEMARK_PORT_9092_TCP: 'tcp://10.0.0.1:9092',
      TIDEMARK_BROKERS: 'a:1',
      PATH: '/bin',
    }
    expect((await gather({ environment })).warnings).toEqual([
      'TIDEMARK_DATADIR names no setting and is ignored; did you mean TIDEMARK_DATA_DIR?',
    ])
  })
})

describe('a wrong setting is refused with its place', () => {
  it.each([
    [
      'typo.yaml',
      'listen: 127.0.0.1:1\nretention-chek-interval-ms: 5\n',
      /typo\.yaml:2: there is no setting .*did you mean retention-check-interval-ms\?$/,
    ],
    ['value.yaml', '\n\nlog-level: loud\n', /value\.yaml:3: log-level must be one of .*, not "loud"$/],
    [
      'twice.yaml',
      'data-dir: /a\ndataDir: /b\n',
      /twice\.yaml:2: data-dir is given twice, as data-dir and as dataDir$/,
    ],
    ['list.yaml', 'listen:\n  - a\n', /list\.yaml:1: listen must be a single value$/],
    ['text.yaml', 'just words\n', /text\.yaml:1: expected settings as 'name: value' lines$/],
    ['syntax.yaml', 'a: 1\nb: [1,\n', /syntax\.yaml:\d: /],
    ['syntax.json', '{"listen": }', /syntax\.json:1: /],
    ['empty-value.yaml', 'listen:\n', /empty-value\.yaml:1: listen must be HOST:PORT/],
    ['line.properties', 'data.dir=/x\nnonsense\n', /line\.properties:2: expected key=value, not 'nonsense'$/],
  ])('%s', async (name, text, message) => {
    await expect(gather({ configFile: file(name, text) })).rejects.toMatchObject({
      code: 'INVALID_OPTION',
      message: expect.stringMatching(message) as string,
    })
  })

  it('a file that is not there', async () => {
    await expect(gather({ configFile: '/nowhere/tidemark.yaml' })).rejects.toThrow(
      'config: /nowhere/tidemark.yaml: there is no such file',
    )
  })

  it('a variable', async () => {
    await expect(gather({ environment: { TIDEMARK_LISTEN: 'x' } })).rejects.toThrow(/^TIDEMARK_LISTEN: listen must be/)
  })

  it('and a secret is not shown even then', async () => {
    const error = await gather({ environment: { TIDEMARK_REDIS_FILE: '/nowhere' } }).catch((thrown: unknown) => thrown)
    expect(String(error)).toContain('TIDEMARK_REDIS_FILE: /nowhere: there is no such file')
  })
})
