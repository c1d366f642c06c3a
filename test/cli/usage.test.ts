import { writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { once } from 'node:events'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Daemon, run, startDaemon, temporaryDirectory } from './tidemark-process.ts'

const directory = temporaryDirectory()
let daemon: Daemon

beforeAll(async () => {
  daemon = await startDaemon(join(directory.path, 'data'))
})
afterAll(async () => {
  daemon.process.child.kill('SIGTERM')
  await daemon.process.finished()
  directory.remove()
})

/** Every complaint is one line on the error stream, and nothing else is said. */
async function expectComplaint(words: readonly string[], code: number, line: RegExp): Promise<void> {
  const finished = await run(words, { environment: { TIDEMARK_BROKERS: daemon.brokers } })
  expect(finished.stderr.trimEnd().split('\n')).toEqual([expect.stringMatching(line)])
  expect(finished).toMatchObject({ code, stdout: '' })
}

describe('a wrong call is one line that says what to try, and exit code 2', () => {
  it.each<[string, RegExp]>([
    ['', /^tidemark: a command is missing \(tidemark --help\)$/],
    ['topc list', /there is no command 'topc'; did you mean topic\? \(tidemark --help\)$/],
    ['topic', /topic: a command is missing \(tidemark topic --help\)$/],
    ['topic crate x', /topic has no command 'crate'; did you mean topic create\?/],
    ['topic create --partitons 3 x', /topic create has no flag --partitons; did you mean --partitions\?/],
    ['topic create x --partitions many', /--partitions must be an integer of at least 1, not 'many'$/],
    ['topic create x -p 0', /--partitions must be an integer of at least 1, not '0'$/],
    ['topic create x -p', /-p needs a value \(tidemark topic create --help\)$/],
    ['topic create x -c novalue', /--config must be NAME=VALUE, not 'novalue'$/],
    ['topic create', /the name of a topic is missing/],
    ['topic list extra', /topic list: 'extra' is too much/],
    ['topic list --format xml', /--format must be one of table, json, yaml, not 'xml'$/],
    ['topic list --brokers a --brokers b', /--brokers is given twice$/],
    ['topic list --brokers a:b:c', /host:port/],
    ['topic alter x', /say what with --config KEY=VALUE or --reset KEY$/],
    ['topic trim x', /--before must be an offset or 'end'$/],
    ['broker drain', /broker drain: <broker> is missing/],
    ['broker drain three', /the number of a broker must be a whole number, not 'three'$/],
    ['broker drain 3 --undo --wait', /--undo and --wait exclude each other$/],
    ['broker move', /say which partition with --topic NAME --partition N$/],
    ['broker move --topic x -p 0', /say where to with --to 1,2,3, or --cancel$/],
    ['broker move --topic x -p 0 --to 1,b', /--to must be numbers of brokers, with commas, not 'b'$/],
    ['broker decommission', /broker decommission: <broker> is missing/],
    ['topic recover x', /say which partition with --partition N$/],
    ['topic recover x -p 0 --accept-data-loss', /--accept-data-loss needs --broker N/],
    ['produce', /produce: <topic> is missing \(tidemark produce --help\)$/],
    ['produce x -z rar', /--compression must be one of none, gzip, snappy, lz4, zstd, not 'rar'$/],
    ['produce x --acks 2', /--acks must be one of 0, 1, all, not '2'$/],
    ['produce x -k a -K :', /--key and --key-separator exclude each other/],
    ['consume x -o middle', /--offset must be start, end, N, -N, @TIMESTAMP/],
    ['consume x -f %x', /'%x' stands for nothing; there are %t %p %o/],
    ['consume x -g billing -p 1', /the group shares out the partitions: --partition and --group exclude each other/],
    ['consume x -g billing -o 5', /a group goes on where it has committed; --offset may be start or end/],
    ['group seek billing', /say where to with --to start, end, N or @TIMESTAMP, or with --shift N/],
    ['group seek billing --to start --shift 5', /say where to with --to/],
    ['group seek billing --to=-5', /--to must be start, end, N or @TIMESTAMP, not '-5'; --shift goes back/],
    ['group seek billing --to startt', /--to must be start, end, N or @TIMESTAMP, not 'startt'/],
    ['group seek billing --to e@5', /--to must be start, end, N or @TIMESTAMP, not 'e@5'/],
    ['group seek billing --to @noon', /group seek: --to @ must be milliseconds since 1970 or a date .* not 'noon'$/],
    ['group seek billing --shift some', /--shift must be how many records to go on or back, not 'some'/],
    ['group seek billing --to start -p 1', /--partition needs one --topic/],
    ['group delete', /group delete: name at least one group/],
    ['group delete billing -p 1', /--partition needs --topic/],
    [
      'topic describe -p=many',
      /--partitions must be true or false, or have no value, not 'many' \(tidemark topic describe/,
    ],
    ['offsets x --at yesterday', /--at must be milliseconds since 1970 or a date/],
    ['start --datadir x', /start has no flag --datadir; did you mean --data-dir\?/],
    ['start --listen nonsense', /listen must be HOST:PORT with a port from 0 to 65535, not 'nonsense'/],
    ['start --auto-create-topics=maybe', /--auto-create-topics must be true or false, or have no value, not 'maybe'/],
    ['start --auto-create-topics=', /--auto-create-topics must be true or false, or have no value, not ''/],
    ['start --set a', /--set must be NAME=VALUE, not 'a'$/],
    ['start --set retension-ms=5', /there is no setting 'retension-ms'/],
    ['start --config /nowhere.yaml', /config: \/nowhere\.yaml: there is no such file/],
    ['log verify /nowhere', /\/nowhere: there is no such file or directory/],
  ])('tidemark %s', async (words, line) => {
    await expectComplaint(words.split(' ').filter(Boolean), 2, line)
  })

  it('a config file with a typing error, with file, line and what was meant', async () => {
    const path = join(directory.path, 'broker.yaml')
    writeFileSync(path, '# settings\nlisten: 127.0.0.1:0\nlog-levle: warn\n')
    const line = /broker\.yaml:3: there is no setting 'log-levle'; did you mean log-level\?/
    await expectComplaint(['start', '--config', path], 2, line)
  })

  it('an empty delimiter', async () => {
    await expectComplaint(['produce', 'x', '--delimiter='], 2, /--delimiter (must not be empty|needs a value)/)
  })
})

describe('what fails is one line with its code, and exit code 1', () => {
  it.each<[string, RegExp]>([
    ['topic describe nosuch', /there is no topic nosuch \(UNKNOWN_TOPIC_OR_PARTITION\): `tidemark topic list` shows/],
    ['topic delete nosuch', /nosuch.*\(UNKNOWN_TOPIC_OR_PARTITION\)/],
    ['topic create a/b', /topic name "a\/b": only letters, digits.* \(INVALID_TOPIC_EXCEPTION\)$/],
    [
      'topic create x -c retention.m=5',
      /no topic setting "retention\.m"; did you mean retention\.ms\? \(INVALID_CONFIG\)$/,
    ],
    ['topic create x -c durability=maybe', /durability.*\(INVALID_CONFIG\)$/],
    ['topic create x -p 1000000', /\(INVALID_PARTITIONS\)$/],
    ['offsets nosuch', /nosuch \(UNKNOWN_TOPIC_OR_PARTITION\)/],
    ['consume nosuch', /nosuch \(UNKNOWN_TOPIC_OR_PARTITION\)/],
    ['produce nosuch', /nosuch \(UNKNOWN_TOPIC_OR_PARTITION\)/],
    [
      'topic list -b 127.0.0.1:1',
      /127\.0\.0\.1:1.*ECONNREFUSED.*is a broker running there\? `tidemark start` runs one/,
    ],
  ])('tidemark %s', async (words, line) => {
    await expectComplaint(words.split(' '), 1, line)
  })

  it('a data directory that another broker uses', async () => {
    const words = ['start', '--listen', '127.0.0.1:0', '--http', 'off', '--log-level', 'silent']
    await expectComplaint(
      [...words, '--data-dir', join(directory.path, 'data')],
      1,
      /\(DIRECTORY_LOCKED\): stop that broker/,
    )
  })

  it.each(['listen', 'http'])('a port for --%s that is taken', async (flag) => {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const address = server.address()
    const port = typeof address === 'object' && address !== null ? address.port : 0
    const words = ['start', '--data-dir', join(directory.path, `data-${flag}`), '--log-level', 'silent']
    const ports = { listen: '127.0.0.1:0', http: 'off', [flag]: `127.0.0.1:${port}` }
    const line = new RegExp(`${port}.*\\(ADDRESS_IN_USE\\)`)
    await expectComplaint([...words, '--listen', ports.listen, '--http', ports.http], 1, line)
    server.close()
  })

  it('shows the cause and the stack only when asked', async () => {
    const finished = await run(['topic', 'list', '-b', '127.0.0.1:1', '-v'])
    expect(finished.code).toBe(1)
    expect(finished.stderr).toMatch(/\n\s+at /)
  })
})

describe('help, version and completion go to the output stream', () => {
  it.each<[string, RegExp]>([
    ['--help', /Commands:[\s\S]*tidemark start[\s\S]*tidemark bench/],
    ['topic --help', /tidemark topic create[\s\S]*tidemark topic trim/],
    ['produce --help', /--key-separator[\s\S]*Examples:/],
    ['topic describe --help', /^ +-v, --verbose [\s\S]*^ +-q, --quiet /m],
    ['start --help', /--log-retention-ms [^[]*\[string\] \[default: 7d\]/],
    ['--version', /^\d+\.\d+\.\d+/],
    ['completion', /_tidemark_yargs_completions/],
    ['--get-yargs-completions tidemark produce x -z', /^none\ngzip\nsnappy\nlz4\nzstd\n$/],
    ['--get-yargs-completions tidemark produce x --compression z', /^zstd\n$/],
  ])('tidemark %s', async (words, text) => {
    const finished = await run(words.split(' '))
    expect(finished).toMatchObject({ code: 0, stderr: '' })
    expect(finished.stdout).toMatch(text)
  })
})
