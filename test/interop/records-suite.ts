// Records between a foreign client and ours, byte for byte, both ways. For each client one describe.

import { expect, it } from 'vitest'
import { CODECS, type Codec } from '../../shared/record-batch/format.ts'
import type { PlainRecord } from './foreign-client.ts'
import { type Limits, numbered, placed, samples, toMessages, toPlain, valueOf } from './samples.ts'
import type { Stage } from './stage.ts'

export interface RecordsSuite extends Limits {
  /** Codecs that the client can write. Default all. */
  readonly writes?: readonly Codec[]
  /** Codecs that the client can read as our client writes them. Default all. */
  readonly reads?: readonly Codec[]
}

export function recordsSuite(stage: Stage, suite: RecordsSuite = {}): void {
  const { writes = CODECS, reads = CODECS } = suite
  const records = samples(suite)

  it.each(writes)('writes with codec %s what our client reads byte for byte', async (codec) => {
    const topic = await stage.newTopic()
    await stage.ask('produce', { topic, codec, idempotent: false, records })
    const found = await stage.readAll(topic)
    expect(found.map(toPlain)).toEqual(placed(topic, records))
    expect(await codecsOf(stage, topic)).toContain(codec)
  })

  it.each(reads)('reads byte for byte what our client writes with codec %s', async (codec) => {
    const topic = await stage.newTopic()
    await stage.native.producer({ compression: codec }).send({ topic, messages: toMessages(records) })
    expect(await codecsOf(stage, topic)).toContain(codec)
    expect(await stage.ask('read', { topic, partition: 0, from: 0, count: records.length })).toEqual(
      placed(topic, records),
    )
  })

  it('writes as an idempotent producer, which the broker knows by its id', async () => {
    const topic = await stage.newTopic()
    await stage.ask('produce', { topic, codec: 'gzip', idempotent: true, records })
    expect((await stage.readAll(topic)).map(toPlain)).toEqual(placed(topic, records))
    for (const { producerId } of await stage.headersOf(topic)) expect(producerId).toBeGreaterThanOrEqual(0)
  })

  it('begins in the middle of a batch', async () => {
    const topic = await stage.newTopic()
    const written = numbered(20)
    await stage.native.producer().send({ topic, messages: toMessages(written) })
    const found = await stage.ask('read', { topic, partition: 0, from: 13, count: 7 })
    expect(found).toEqual(placed(topic, written).slice(13))
  })

  it('finds the first, the last and the offset of a time', async () => {
    const topic = await stage.newTopic()
    const written: readonly PlainRecord[] = numbered(20)
    await stage.native.producer().send({ topic, messages: toMessages(written) })
    const ask = (at: number | 'earliest' | 'latest') => stage.ask('offsets', { topic, partition: 0, at })
    await stage.native.admin().trim({ topic, partitions: [{ partition: 0, beforeOffset: 4 }] })
    expect(await ask('earliest')).toBe(4)
    expect(await ask('latest')).toBe(20)
    const time = written[9]?.timestamp ?? 0
    expect([await ask(time), await ask(time + 1)]).toEqual([9, 10])
  })

  it('reads what a broker wrote that was killed and came back', async () => {
    const topic = await stage.newTopic()
    await stage.ask('produce', { topic, codec: 'none', idempotent: true, records: numbered(10) })
    await stage.broker.restart({ crash: true })
    await stage.ask('produce', { topic, codec: 'none', idempotent: true, records: numbered(5) })
    const found = await stage.ask('read', { topic, partition: 0, from: 0, count: 15 })
    expect(found.map(valueOf).join(' ')).toBe('0 1 2 3 4 5 6 7 8 9 0 1 2 3 4')
  })
}

async function codecsOf(stage: Stage, topic: string): Promise<(Codec | undefined)[]> {
  return (await stage.headersOf(topic)).map(({ codec }) => codec)
}
