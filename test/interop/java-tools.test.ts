// Kafka's console tools, by their main classes in one process; each does its work against one broker.

import { expect, it } from 'vitest'
import { JAVA_CLIENT_VERSIONS } from '../../scripts/ensure-clients.ts'
import { CODECS } from '../../shared/record-batch/format.ts'
import { describeWithClient, hasJava, startJava } from './clients.ts'
import { nativeDriver } from './native-driver.ts'
import { numbered, samples, toMessages, toPlain } from './samples.ts'
import { stageFor } from './stage.ts'

const [version] = JAVA_CLIENT_VERSIONS

function base64(text: string): string {
  return Buffer.from(text).toString('base64')
}

describeWithClient(`console tools ${version}`, hasJava(version), () => {
  const stage = stageFor((brokers) => startJava(version, brokers))

  /** What the tool says. @throws when it ends in another way than well */
  const run = async (main: string, args: readonly string[], input?: string): Promise<string> => {
    const words = ['--bootstrap-server', stage.broker.brokers, ...args]
    const { exit, out, err } = await stage.ask('tool', { main, args: words, ...(input === undefined ? {} : { input }) })
    if (exit !== 0) throw new Error(`${main} ${args.join(' ')} ended with ${exit}: ${out}${err}`)
    return out
  }
  const filled = async (count: number, numPartitions = 1): Promise<string> => {
    const topic = await stage.newTopic(numPartitions)
    await stage.native.producer().send({ topic, messages: toMessages(numbered(count)) })
    return topic
  }

  it('kafka-topics makes, lists, describes, grows and deletes topics', async () => {
    const main = 'org.apache.kafka.tools.TopicCommand'
    const topic = stage.newName('tool')
    await run(main, ['--create', '--topic', topic, '--partitions', '2', '--config', 'retention.ms=654321'])
    expect((await run(main, ['--list'])).split('\n')).toContain(topic)
    const described = await run(main, ['--describe', '--topic', topic])
    expect(described).toContain('retention.ms=654321')
    expect(described.match(/Leader: 1\tReplicas: 1\tIsr: 1/g)).toHaveLength(2)
    await run(main, ['--alter', '--topic', topic, '--partitions', '3'])
    expect((await stage.native.admin().describeTopic(topic)).partitions).toHaveLength(3)
    await run(main, ['--delete', '--topic', topic])
    expect(await stage.native.admin().listTopics()).not.toContain(topic)
  })

  it.each(CODECS)('kafka-console-producer writes with codec %s what our client reads', async (codec) => {
    const topic = await stage.newTopic()
    const properties = ['parse.key=true', 'key.separator==', 'parse.headers=true', 'null.marker=NULL']
    const args = properties.flatMap((property) => ['--property', property])
    const long = 'again and '.repeat(200)
    const input = `a:1,b:2\tk1=v1\nc:3\tk2=NULL\nc:4\tk3=${long}\n`
    await run(
      'org.apache.kafka.tools.ConsoleProducer',
      // Or else it sends when its process ends, which this one does not.
      ['--topic', topic, '--sync', '--timeout', '5', '--compression-codec', codec, ...args],
      input,
    )
    expect((await stage.readAll(topic)).map(toPlain)).toMatchObject([
      {
        key: base64('k1'),
        value: base64('v1'),
        headers: [
          ['a', base64('1')],
          ['b', base64('2')],
        ],
      },
      { key: base64('k2'), value: null, headers: [['c', base64('3')]] },
      { key: base64('k3'), value: base64(long), headers: [['c', base64('4')]] },
    ])
    expect((await stage.headersOf(topic)).map((header) => header.codec)).toContain(codec)
  })

  it('kafka-console-consumer reads keys, headers, nulls and timestamps', async () => {
    const topic = await stage.newTopic()
    await stage.native.producer({ compression: 'zstd' }).send({ topic, messages: toMessages(samples()) })
    const shown = ['key', 'headers', 'timestamp', 'offset'].flatMap((what) => ['--property', `print.${what}=true`])
    const args = ['--topic', topic, '--from-beginning', '--max-messages', '8', ...shown]
    const printed = await run('org.apache.kafka.tools.consumer.ConsoleConsumer', args)
    const [first] = samples()
    expect(printed).toContain(`CreateTime:${first?.timestamp}\tOffset:0\tNO_HEADERS\tkey\tvalue\n`)
    expect(printed).toContain('NO_HEADERS\ta tombstone\tnull\n')
    expect(printed).toContain('trace:00-4bf92f35-01,empty:,')
    expect(printed).toContain('again:first,again:second,null:null\twith headers\tvalue\n')
    expect(printed).toContain('text\tGrüße, мир, 世界')
  })

  it('kafka-console-consumer reads as a member of a group and commits', async () => {
    const topic = await filled(10)
    const group = stage.newName('group')
    const args = ['--topic', topic, '--group', group, '--from-beginning', '--max-messages', '4']
    const printed = await run('org.apache.kafka.tools.consumer.ConsoleConsumer', args)
    expect(printed.split('\n').slice(0, 4)).toEqual(['0', '1', '2', '3'])
    expect(await stage.native.admin().fetchOffsets({ groupId: group })).toMatchObject([{ topic, offset: 4 }])
  })

  it('kafka-consumer-groups lists and describes groups with their lag, as our client does', async () => {
    const main = 'org.apache.kafka.tools.consumer.group.ConsumerGroupCommand'
    const topic = await filled(10)
    const group = stage.newName('group')
    await using ours = nativeDriver(stage.native)
    await ours.ask('join', { member: 'ours', group, topics: [topic], assignor: 'range' })
    await ours.ask('take', { member: 'ours', count: 7 })
    await ours.ask('commit', { member: 'ours' })
    expect((await run(main, ['--list'])).split('\n')).toContain(group)
    const described = await run(main, ['--describe', '--group', group])
    const row = described.split('\n').find((line) => line.includes(topic)) ?? ''
    expect(row.split(/ +/).slice(0, 6)).toEqual([group, topic, '0', '7', '10', '3'])
    const { partitions } = await stage.native.admin().describeGroup(group)
    expect(partitions).toMatchObject([{ topic, offset: 7, endOffset: 10, lag: 3 }])
    expect(await run(main, ['--describe', '--group', group, '--state'])).toMatch(/range\s+Stable\s+1/)
    expect(await run(main, ['--describe', '--group', group, '--members'])).toContain('127.0.0.1')
  })

  it('kafka-consumer-groups resets and deletes offsets, and deletes groups', async () => {
    const main = 'org.apache.kafka.tools.consumer.group.ConsumerGroupCommand'
    const topic = await filled(10)
    const group = stage.newName('group')
    const admin = stage.native.admin()
    await admin.resetOffsets({ groupId: group, topic, to: 2 })
    const args = ['--group', group, '--topic', topic]
    await run(main, ['--reset-offsets', ...args, '--to-offset', '6', '--execute'])
    expect(await admin.fetchOffsets({ groupId: group })).toMatchObject([{ topic, offset: 6 }])
    await run(main, ['--reset-offsets', ...args, '--shift-by', '-2', '--execute'])
    expect(await admin.fetchOffsets({ groupId: group })).toMatchObject([{ topic, offset: 4 }])
    await run(main, ['--delete-offsets', ...args])
    expect(await admin.fetchOffsets({ groupId: group })).toEqual([])
    await admin.resetOffsets({ groupId: group, topic, to: 2 })
    await run(main, ['--delete', '--group', group])
    expect((await admin.listGroups()).map(({ groupId }) => groupId)).not.toContain(group)
  })

  it('kafka-configs reads and changes settings of topics and reads those of brokers', async () => {
    const main = 'kafka.admin.ConfigCommand'
    const topic = await stage.newTopic()
    const which = ['--entity-type', 'topics', '--entity-name', topic]
    await run(main, [...which, '--alter', '--add-config', 'retention.ms=111000'])
    expect(await run(main, [...which, '--describe'])).toContain('retention.ms=111000')
    await run(main, [...which, '--alter', '--delete-config', 'retention.ms'])
    expect(await run(main, [...which, '--describe'])).not.toContain('retention.ms=111000')
    const ofBroker = ['--entity-type', 'brokers', '--entity-name', '1', '--describe', '--all']
    expect(await run(main, ofBroker)).toMatch(/segment/)
  })

  it('kafka-get-offsets tells first, last and timed offsets', async () => {
    const main = 'org.apache.kafka.tools.GetOffsetShell'
    const topic = await filled(20)
    const start = numbered(1)[0]?.timestamp ?? 0
    const at = async (time: string): Promise<string> => (await run(main, ['--topic', topic, '--time', time])).trim()
    expect([await at('earliest'), await at('latest')]).toEqual([`${topic}:0:0`, `${topic}:0:20`])
    expect([await at(`${start + 9_000}`), await at('max-timestamp')]).toEqual([`${topic}:0:9`, `${topic}:0:19`])
  })

  it('kafka-delete-records, kafka-log-dirs and kafka-leader-election do their work', async () => {
    const topic = await filled(20)
    const json = async (content: object): Promise<string> => stage.fileWith(JSON.stringify(content))
    const partitions = [{ topic, partition: 0, offset: 5 }]
    const offsets = await json({ partitions, version: 1 })
    expect(await run('org.apache.kafka.tools.DeleteRecordsCommand', ['--offset-json-file', offsets])).toContain(
      `low_watermark: 5`,
    )
    expect((await stage.native.admin().offsets(topic, { at: 'start' }))[0]?.offset).toBe(5)
    const dirs = await run('org.apache.kafka.tools.LogDirsCommand', ['--describe', '--topic-list', topic])
    expect(dirs).toMatch(new RegExp(`"partition":"${topic}-0","size":[1-9]`))
    const wish = await json({ partitions: [{ topic, partition: 0 }] })
    const elected = await run('org.apache.kafka.tools.LeaderElectionCommand', [
      '--election-type',
      'preferred',
      '--path-to-json-file',
      wish,
    ])
    expect(elected).toContain(`Valid replica already elected for partitions ${topic}-0`)
  })

  it('kafka-broker-api-versions, kafka-cluster and kafka-transactions see the broker', async () => {
    expect(await run('org.apache.kafka.tools.BrokerApiVersionsCommand', [])).toMatch(/id: 1 .*Produce\(0\)/s)
    const cluster = await stage.ask('tool', {
      main: 'org.apache.kafka.tools.ClusterTool',
      args: ['cluster-id', '--bootstrap-server', stage.broker.brokers],
    })
    expect(cluster.out).toContain('Cluster ID: tidemark')
    const topic = await stage.newTopic()
    await stage.native.producer({ idempotent: true }).send({ topic, messages: toMessages(numbered(3)) })
    const producers = await run('org.apache.kafka.tools.TransactionsCommand', [
      'describe-producers',
      '--topic',
      topic,
      '--partition',
      '0',
    ])
    expect(producers).toMatch(/ProducerId\s+ProducerEpoch/)
    expect(producers.trim().split('\n')).toHaveLength(2)
  })

  it('kafka-reassign-partitions is told that one broker is no cluster', async () => {
    const topic = await filled(3)
    const partitions = [{ topic, partition: 0, replicas: [1], log_dirs: ['any'] }]
    const plan = await stage.fileWith(JSON.stringify({ version: 1, partitions }))
    const main = 'org.apache.kafka.tools.reassign.ReassignPartitionsCommand'
    const executing = run(main, ['--reassignment-json-file', plan, '--execute'])
    await expect(executing).rejects.toThrow(`${topic}-0: `)
    await expect(executing).rejects.not.toThrow('too less results')
  })
})
