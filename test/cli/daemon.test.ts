import {
  existsSync,
  readFileSync,
  truncateSync,
  statSync,
  openSync,
  writeSync,
  closeSync,
  readdirSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { type Daemon, run, startDaemon, temporaryDirectory, Tidemark } from './tidemark-process.ts'

const cleanups: (() => Promise<void> | void)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup()
})

function directory(): string {
  const made = temporaryDirectory()
  cleanups.push(() => made.remove())
  return made.path
}

async function start(path: string, extra?: readonly string[]): Promise<Daemon> {
  const daemon = await startDaemon(path, extra)
  cleanups.push(async () => {
    daemon.process.child.kill('SIGKILL')
    await daemon.process.finished()
  })
  return daemon
}

async function ok(daemon: Daemon, words: readonly string[], input?: string): Promise<string> {
  const finished = await run([...words, '-b', daemon.brokers], input === undefined ? {} : { input })
  expect({ code: finished.code, stderr: finished.stderr }).toMatchObject({ code: 0 })
  return finished.stdout
}

async function json(daemon: Daemon, words: readonly string[]): Promise<unknown> {
  return JSON.parse(await ok(daemon, [...words, '--format', 'json']))
}

describe('the daemon', () => {
  it('prints one line when it serves, its log elsewhere, and ends with 0 at SIGTERM', async () => {
    const daemon = await start(directory(), ['--cluster', 'tests', '--broker-id', '7'])
    expect(daemon.ready).toMatch(/listen=127\.0\.0\.1:\d+ http=127\.0\.0\.1:\d+ broker=7 cluster=tests$/)
    daemon.process.child.kill('SIGTERM')
    const { code, stdout, stderr } = await daemon.process.finished()
    expect(code).toBe(0)
    expect(stdout).toBe(`${daemon.ready}\n`)
    const lines = stderr
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>)
    expect(lines[0]).toMatchObject({ msg: 'starting', level: 'info', settings: { cluster: 'tests', 'broker-id': 7 } })
    expect(lines.at(-1)).toMatchObject({ msg: 'stopped' })
  })

  it('ends with 0 at SIGINT as well', async () => {
    const daemon = await start(directory(), ['--log-format', 'pretty'])
    daemon.process.child.kill('SIGINT')
    const { code, stderr } = await daemon.process.finished()
    expect(code).toBe(0)
    expect(stderr).toMatch(/INFO {2}stopping signal=SIGINT/)
  })

  it('ends at once at the second signal', async () => {
    const daemon = await start(directory())
    // A fetch that waits keeps the stop from being over before the second signal comes.
    await ok(daemon, ['topic', 'create', 'quiet'])
    const follower = new Tidemark(['consume', 'quiet', '-b', daemon.brokers])
    cleanups.push(async () => {
      follower.child.kill('SIGKILL')
      await follower.finished()
    })
    daemon.process.child.kill('SIGTERM')
    daemon.process.child.kill('SIGTERM')
    const { code } = await daemon.process.finished()
    // Whoever was quicker: the orderly stop, or the second signal.
    expect([0, 143]).toContain(code)
  })

  it.skipIf(!existsSync('/dev/full'))('serves on though its log cannot be written', async () => {
    const full = openSync('/dev/full', 'w')
    const daemon = await startDaemon(directory(), [], full)
    closeSync(full)
    await ok(daemon, ['topic', 'create', 'orders'])
    expect(await ok(daemon, ['cluster', 'health'])).toMatch(/^healthy\n/)
    daemon.process.child.kill('SIGTERM')
    expect((await daemon.process.finished()).code).toBe(0)
  })

  it('takes settings from a file and the environment, and masks what is secret in its log', async () => {
    const path = directory()
    const config = join(path, 'broker.yaml')
    writeFileSync(config, `data-dir: ${join(path, 'data')}\nlisten: 127.0.0.1:0\nhttp: 'off'\ncluster: file\n`)
    const daemon = new Tidemark(['start', '--config', config], { environment: { TIDEMARK_BROKER_ID: '12' } })
    const [ready] = await daemon.saw(/tidemark ready .*/)
    expect(ready).toMatch(/http=off broker=12 cluster=file$/)
    daemon.child.kill('SIGTERM')
    expect((await daemon.finished()).code).toBe(0)
    const refused = await run(['start', '--config', config, '--redis', 'http://u:hunter2@127.0.0.1/0'])
    expect(refused.code).not.toBe(0)
    expect(refused.stderr).not.toContain('hunter2')
  })

  it('shows itself on the admin port', async () => {
    const daemon = await start(directory())
    await ok(daemon, ['topic', 'create', 'orders', '-p', '2'])
    await ok(daemon, ['produce', 'orders', '-p', '1'], 'a\nb\n')
    const get = async (path: string) => (await fetch(`http://${daemon.http}${path}`)).text()
    expect(await get('/readyz')).toBe('ready\n')
    const metrics = await get('/metrics')
    expect(metrics).toContain('kafka_topic_partition_current_offset{topic="orders",partition="1"} 2\n')
    expect(metrics).toMatch(/^tidemark_records_in_total\{topic="orders"\} 2$/m)
    expect(JSON.parse(await get('/api/v1/topics'))).toMatchObject({ topics: [{ topic: 'orders', offsets: 2 }] })
    expect(await get('/api/v1/config')).toContain('"data-dir"')
  })
})

describe('topics from the command line', () => {
  it('are created, listed, described, altered, trimmed and deleted', async () => {
    const daemon = await start(directory())
    expect(await json(daemon, ['topic', 'create', 'orders', '-p', '2', '-c', 'retention.ms=86400000'])).toEqual([
      { topic: 'orders', partitions: 2, replicas: 1, outcome: 'created' },
    ])
    expect((await run(['topic', 'create', 'orders', '-b', daemon.brokers])).code).toBe(1)
    await ok(daemon, ['topic', 'create', 'orders', '--if-not-exists'])
    await ok(daemon, ['topic', 'create', 'ghost', '--dry-run'])
    expect(await json(daemon, ['topic', 'list'])).toMatchObject([{ topic: 'orders', partitions: 2, offsets: 0 }])
    const change = ['-c', 'durability=fsync', '--reset', 'retention.ms']
    expect(await json(daemon, ['topic', 'alter', 'orders', ...change])).toEqual([
      { topic: 'orders', outcome: 'altered' },
    ])
    expect(await json(daemon, ['topic', 'add-partitions', 'orders', '-p', '3'])).toEqual([
      { topic: 'orders', partitions: 3, outcome: 'altered' },
    ])
    expect(await json(daemon, ['topic', 'add-partitions', 'orders', '-p', '4', '--dry-run'])).toEqual([
      { topic: 'orders', partitions: 4, outcome: 'would be altered' },
    ])
    const [described] = (await json(daemon, ['topic', 'describe', 'orders'])) as {
      config: object[]
      partitions: object[]
    }[]
    expect(described?.partitions).toHaveLength(3)
    expect(described?.config).toContainEqual(
      expect.objectContaining({ name: 'durability', value: 'fsync', isDefault: false }),
    )
    expect(described?.config).toContainEqual(expect.objectContaining({ name: 'retention.ms', isDefault: true }))
    await ok(daemon, ['produce', 'orders', '-p', '1'], 'a\nb\nc\n')
    expect(await json(daemon, ['topic', 'trim', 'orders', '-p', '1', '-o', '2'])).toEqual([
      { topic: 'orders', partition: 1, logStartOffset: 2 },
    ])
    expect(await json(daemon, ['offsets', 'orders', '--at', '0'])).toContainEqual(
      expect.objectContaining({ topic: 'orders', partition: 1, start: 2, end: 3, offsets: 1, at: 2 }),
    )
    expect(await ok(daemon, ['topic', 'describe', 'orders', '-p'])).toMatch(
      /^TOPIC +PARTITION +LEADER[\s\S]*\norders +1 +1 /,
    )
    await ok(daemon, ['topic', 'create', 'other'])
    expect(await ok(daemon, ['topic', 'describe', 'orders', 'other'])).toMatch(/[^\n]\n\ntopic +other\n/)
    await ok(daemon, ['topic', 'delete', 'orders', 'other'])
    await ok(daemon, ['topic', 'delete', 'orders', '--if-exists'])
    expect(await json(daemon, ['topic', 'list'])).toEqual([])
  })

  it('and the cluster tells how it is', async () => {
    const daemon = await start(directory())
    expect(await json(daemon, ['cluster', 'info'])).toMatchObject({ cluster: 'tidemark', brokers: [{ brokerId: 1 }] })
    expect(await json(daemon, ['cluster', 'health'])).toMatchObject({ healthy: true })
    expect(await ok(daemon, ['cluster', 'health', '--exit-when-healthy'])).toMatch(/^healthy\n/)
  })
})

describe('records from the command line', () => {
  it('come back as they were sent, byte by byte', async () => {
    const path = directory()
    const daemon = await start(join(path, 'data'))
    await ok(daemon, ['topic', 'create', 'lines'])
    const file = join(path, 'lines.txt')
    writeFileSync(file, `first\n\n${'x'.repeat(10_000)}\nönly ünïcode\nno line end`)
    await ok(daemon, ['produce', 'lines', file])
    expect(await ok(daemon, ['consume', 'lines', '-e'])).toBe(`${readFileSync(file, 'utf8')}\n`)
  })

  it('carry keys, headers and partitions, and are printed by format and as JSON', async () => {
    const daemon = await start(directory())
    await ok(daemon, ['topic', 'create', 'orders', '-p', '2'])
    await ok(
      daemon,
      ['produce', 'orders', '-p', '1', '-K', ':', '-H', 'a=1', '-H', 'b=2', '-z', 'gzip'],
      'k1:v1\nk2:v:2\nnokey\n',
    )
    expect(await ok(daemon, ['consume', 'orders', '-e', '-f', '%t/%p@%o %k(%K)=%s(%S) [%h]\\n'])).toBe(
      'orders/1@0 k1(2)=v1(2) [a=1,b=2]\norders/1@1 k2(2)=v:2(3) [a=1,b=2]\norders/1@2 (-1)=nokey(5) [a=1,b=2]\n',
    )
    const lines = (await ok(daemon, ['consume', 'orders', '-p', '1', '-o', '1', '-n', '1', '-J'])).trimEnd().split('\n')
    expect(lines.map((line) => JSON.parse(line) as object)).toEqual([
      expect.objectContaining({
        topic: 'orders',
        partition: 1,
        offset: 1,
        key: 'k2',
        payload: 'v:2',
        headers: ['a', '1', 'b', '2'],
      }),
    ])
    expect(await ok(daemon, ['consume', 'orders', '-o', '-1', '-p', '1', '-e'])).toBe('nokey\n')
    expect(await ok(daemon, ['consume', 'orders', '-o', 's@0', '-o', 'e@1', '-e'])).toBe('')
    expect(await ok(daemon, ['consume', 'orders', '-n', '0'])).toBe('')
  })

  it('are not called acknowledged when nobody was asked to say so', async () => {
    const daemon = await start(directory())
    await ok(daemon, ['topic', 'create', 'orders'])
    const words = ['produce', 'orders', '-b', daemon.brokers]
    expect((await run(words, { input: 'a\nb\n' })).stderr).toBe('2 records acknowledged\n')
    const { code, stderr } = await run([...words, '--acks', '0'], { input: 'a\n' })
    expect({ code, stderr }).toEqual({ code: 0, stderr: '1 record sent; with acks 0 nobody said whether they came\n' })
  })

  it('from an offset that not every partition has are read from the nearest', async () => {
    const daemon = await start(directory())
    await ok(daemon, ['topic', 'create', 'uneven', '-p', '3'])
    await ok(daemon, ['produce', 'uneven', '-p', '0'], 'a\nb\nc\n')
    await ok(daemon, ['produce', 'uneven', '-p', '1'], 'x\n')
    const consume = ['consume', 'uneven', '-b', daemon.brokers, '-o']
    expect(await run([...consume, '2', '-e'])).toEqual({ code: 0, stdout: 'c\n', stderr: '' })
    expect(await run([...consume, '9', '-e'])).toEqual({
      code: 0,
      stdout: '',
      stderr: 'offset 9 is past the end of every partition of uneven\n',
    })
    await ok(daemon, ['topic', 'trim', 'uneven', '-p', '0', '-o', '1'])
    expect(await run([...consume, '0', '-p', '0', '-e'])).toEqual({
      code: 0,
      stdout: 'b\nc\n',
      stderr: 'offset 0 is gone in some partitions, which are read from where they begin: 0 from 1\n',
    })
    const follower = new Tidemark([...consume, '9'])
    await follower.saw(/past the end of every partition of uneven; waiting for new records\n/)
    // The ends were settled before it said so: what comes now is seen.
    await ok(daemon, ['produce', 'uneven', '-p', '1'], 'new\n')
    await follower.saw(/^new\n/)
    follower.child.kill('SIGINT')
    expect((await follower.finished()).stdout).toBe('new\n')
  })

  it('are followed live, until Ctrl-C', async () => {
    const daemon = await start(directory())
    await ok(daemon, ['topic', 'create', 'live'])
    const follower = new Tidemark(['consume', 'live', '-b', daemon.brokers])
    await ok(daemon, ['produce', 'live'], 'one\n')
    await follower.saw(/one\n/)
    await ok(daemon, ['produce', 'live'], 'two\n')
    await follower.saw(/one\ntwo\n/)
    follower.child.kill('SIGINT')
    expect(await follower.finished()).toEqual({ code: 130, stdout: 'one\ntwo\n', stderr: '' })
  })

  it('are cut off quietly by a reader that has had enough', async () => {
    const daemon = await start(directory())
    await ok(daemon, ['topic', 'create', 'many'])
    await ok(daemon, ['produce', 'many'], `${'x'.repeat(1_000)}\n`.repeat(3_000))
    const consumer = new Tidemark(['consume', 'many', '-b', daemon.brokers])
    await consumer.saw(/x/)
    consumer.child.stdout?.destroy()
    expect(await consumer.finished()).toMatchObject({ code: 0, stderr: '' })
  })

  it('that are too large are named, and what is behind them is not sent', async () => {
    const daemon = await start(directory())
    await ok(daemon, ['topic', 'create', 'small', '-c', 'max.message.bytes=2000'])
    const finished = await run(['produce', 'small', '-b', daemon.brokers, '--batch-bytes', '1'], {
      input: `a\n${'x'.repeat(5_000)}\n`,
    })
    expect(finished.code).toBe(1)
    expect(finished.stderr).toMatch(/not acknowledged: record 2: .*\(MESSAGE_TOO_LARGE\)/)
  })

  it('survive kill -9 and a restart', async () => {
    const path = directory()
    const first = await start(path)
    await ok(first, ['topic', 'create', 'kept', '-p', '3'])
    await ok(first, ['produce', 'kept', '-k', 'key'], 'a\nb\nc\n')
    first.process.child.kill('SIGKILL')
    expect((await first.process.finished()).code).toBeNull()
    const second = await start(path)
    expect(await ok(second, ['consume', 'kept', '-e'])).toBe('a\nb\nc\n')
  })
})

describe('segment files', () => {
  async function stoppedWithRecords(): Promise<string> {
    const path = directory()
    const daemon = await start(path)
    await ok(daemon, ['topic', 'create', 'orders'])
    for (const line of ['a', 'b', 'c']) await ok(daemon, ['produce', 'orders'], `${line}\n`)
    daemon.process.child.kill('SIGTERM')
    await daemon.process.finished()
    return path
  }

  function segmentIn(path: string): string {
    const [log] = readdirSync(join(path, 'logs'))
    const directoryOfLog = join(path, 'logs', log ?? '')
    return join(directoryOfLog, readdirSync(directoryOfLog).find((name) => name.endsWith('.log')) ?? '')
  }

  it('are dumped batch by batch and verified', async () => {
    const path = await stoppedWithRecords()
    const dump = await run(['log', 'dump', path, '--verify'])
    expect(dump.code).toBe(0)
    expect(dump.stdout).toMatch(/^# orders-0 [\s\S]*\noffsets \[0, 1\) at byte 0, [\s\S]*\noffsets \[2, 3\) at byte/)
    const asJson = await run(['log', 'dump', segmentIn(path), '--format', 'json'])
    expect(
      asJson.stdout
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line) as object),
    ).toMatchObject([{ baseOffset: 0, endOffset: 1, recordCount: 1 }, { baseOffset: 1 }, { baseOffset: 2 }])
    const verified = await run(['log', 'verify', path, '--deep', '--format', 'json'])
    expect(verified).toMatchObject({ code: 0, stderr: '1 segments, 3 batches, 3 records: no damage found\n' })
    expect(JSON.parse(verified.stdout)).toMatchObject([
      { log: 'orders-0', batches: 3, records: 3, endOffset: 3, damage: [] },
    ])
  })

  it('that are damaged are told with the position, and are left as they were', async () => {
    const path = await stoppedWithRecords()
    const segment = segmentIn(path)
    const size = statSync(segment).size
    const third = size / 3
    const fd = openSync(segment, 'r+')
    writeSync(fd, Buffer.from('!'), 0, 1, third + 65)
    closeSync(fd)
    const damaged = readFileSync(segment)
    const crc = await run(['log', 'verify', path])
    expect(crc.code).toBe(1)
    expect(crc.stderr).toMatch(new RegExp(`damaged at byte ${third}: its checksum is`))
    expect(crc.stderr).toMatch(/1 segments, 3 batches, 3 records: 1 damaged/)
    expect(readFileSync(segment)).toEqual(damaged)
    truncateSync(segment, size - 5)
    const torn = await run(['log', 'verify', segment, '--format', 'json'])
    expect(torn.code).toBe(1)
    expect(JSON.parse(torn.stdout)).toMatchObject([
      { batches: 2, damage: [{ position: third }, { position: 2 * third }] },
    ])
  })
})

describe('bench', () => {
  it.each(['produce', 'consume', 'e2e'])('%s prints one object of figures and leaves no topic', async (kind) => {
    const daemon = await start(directory())
    const words = ['bench', kind, '--records', '200', '--size', '100', '--rate', '5k', '--json']
    const report = JSON.parse(await ok(daemon, words)) as object
    expect(report).toEqual({
      records: 200,
      bytes: 20_000,
      seconds: expect.any(Number) as number,
      recordsPerSecond: expect.any(Number) as number,
      megabytesPerSecond: expect.any(Number) as number,
      latencyMs: {
        p50: expect.any(Number) as number,
        p99: expect.any(Number) as number,
        p999: expect.any(Number) as number,
        max: expect.any(Number) as number,
      },
    })
    expect(await json(daemon, ['topic', 'list'])).toEqual([])
  })
})

describe('doctor', () => {
  it('finds nothing bad on a machine that runs these tests', async () => {
    const path = directory()
    const words = [
      'doctor',
      '--data-dir',
      join(path, 'new'),
      '--listen',
      '127.0.0.1:1',
      '--http',
      'off',
      '--format',
      'json',
    ]
    const finished = await run(words)
    expect(finished.code).toBe(0)
    const findings = JSON.parse(finished.stdout) as { check: string; verdict: string }[]
    expect(findings.filter(({ verdict }) => verdict === 'bad')).toEqual([])
    expect(findings.map(({ check }) => check)).toEqual(
      expect.arrayContaining(['node', 'data directory', 'disk space', 'listen']),
    )
  })
})
