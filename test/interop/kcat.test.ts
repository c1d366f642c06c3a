// kcat, which is librdkafka on the command line.

import { expect, it } from 'vitest'
import { CODECS } from '../../shared/record-batch/format.ts'
import { describeWithClient, kcat } from './clients.ts'
import { listedBy, recordsIn, runKcat, startKcat } from './kcat-driver.ts'
import { numbered, placed, toMessages, toPlain, valueOf } from './samples.ts'
import { stageFor } from './stage.ts'

function base64(text: string): string {
  return Buffer.from(text).toString('base64')
}

describeWithClient('kcat', kcat !== undefined, () => {
  const stage = stageFor(startKcat)
  const run = (args: readonly string[], input?: string): Promise<string> => runKcat(stage.broker.brokers, args, input)
  const filled = async (count: number): Promise<string> => {
    const topic = await stage.newTopic()
    await stage.native.producer().send({ topic, messages: toMessages(numbered(count)) })
    return topic
  }

  it.each(CODECS)('writes with codec %s what our client reads', async (codec) => {
    const topic = await stage.newTopic()
    const long = 'again and '.repeat(2_000)
    const lines = `k1:first\nk2:${long}\nno key\nk3:\n`
    const args = ['-P', '-t', topic, '-p', '0', '-K:', '-Z', '-H', 'trace=1', '-H', 'trace=2', '-z', codec]
    await run([...args, '-X', 'linger.ms=50'], lines)
    const found = await stage.readAll(topic)
    const headers = ['1', '2'].map((value) => ['trace', base64(value)])
    expect(found.map(toPlain)).toMatchObject([
      { key: base64('k1'), value: base64('first'), headers },
      { key: base64('k2'), value: base64(long), headers },
      { key: null, value: base64('no key'), headers },
      { key: base64('k3'), value: null, headers },
    ])
    expect((await stage.headersOf(topic)).map((header) => header.codec)).toContain(codec)
  })

  it.each(CODECS)('reads what our client writes with codec %s', async (codec) => {
    const topic = await stage.newTopic()
    const records = [
      { key: base64('k'), value: base64('v'), headers: [['a', base64('1')] as const], timestamp: 1_000, partition: 0 },
      { key: null, value: base64('Grüße, 世界'.repeat(500)), headers: [], timestamp: 2_000, partition: 0 },
      { key: base64('gone'), value: null, headers: [['null', null] as const], timestamp: 3_000, partition: 0 },
    ]
    await stage.native.producer({ compression: codec }).send({ topic, messages: toMessages(records) })
    const printed = await run(['-C', '-t', topic, '-p', '0', '-o', 'beginning', '-e', '-J', '-q'])
    expect(recordsIn(printed)).toEqual(placed(topic, records))
  })

  it('writes as an idempotent producer, which the broker knows by its id', async () => {
    const topic = await stage.newTopic()
    await run(['-P', '-t', topic, '-X', 'enable.idempotence=true'], 'a\nb\nc\n')
    expect((await stage.readAll(topic)).map(({ value }) => value?.toString())).toEqual(['a', 'b', 'c'])
    for (const { producerId } of await stage.headersOf(topic)) expect(producerId).toBeGreaterThanOrEqual(0)
  })

  it('begins at an offset, so many before the end, and between two times', async () => {
    const topic = await filled(20)
    const start = numbered(1)[0]?.timestamp ?? 0
    const read = async (...offsets: readonly string[]): Promise<string> => {
      const where = offsets.flatMap((offset) => ['-o', offset])
      const printed = await run(['-C', '-t', topic, '-p', '0', ...where, '-e', '-J', '-q'])
      return recordsIn(printed).map(valueOf).join(' ')
    }
    expect(await read('17')).toBe('17 18 19')
    expect(await read('-2')).toBe('18 19')
    expect(await read(`s@${start + 5_000}`, `e@${start + 8_000}`)).toBe('5 6 7')
  })

  it('asks for the offset of a time', async () => {
    const topic = await filled(20)
    const start = numbered(1)[0]?.timestamp ?? 0
    expect(await run(['-Q', '-t', `${topic}:0:${start + 9_000}`])).toContain(`${topic} [0] offset 9`)
  })

  it('lists brokers and topics', async () => {
    const topic = await stage.newTopic(3)
    const { brokers, topics } = await listedBy(stage.broker.brokers)
    expect(brokers).toMatchObject([{ id: 1, name: stage.broker.brokers }])
    expect(topics.find((one) => one.topic === topic)?.partitions).toHaveLength(3)
  })

  it('reads as a member of a group, commits, and goes on there; our client sees it', async () => {
    const topic = await filled(20)
    const group = stage.newName('group')
    const args = ['-G', group, '-c', '6', '-J', '-q', '-X', 'auto.offset.reset=earliest', topic]
    expect(recordsIn(await run(args)).map(valueOf)).toEqual(['0', '1', '2', '3', '4', '5'])
    expect(await stage.native.admin().fetchOffsets({ groupId: group })).toMatchObject([{ topic, offset: 6 }])
    await stage.native.admin().resetOffsets({ groupId: group, topic, to: 10 })
    expect(recordsIn(await run(args)).map(valueOf)).toEqual(['10', '11', '12', '13', '14', '15'])
  })
})
