// What a client is told that asks for what is not offered, in bytes written by hand: what a broker of Kafka's says that does not
// offer it either, or, where that one would not know what is asked, nothing: the connection is closed.

import { describe, expect, it, onTestFinished } from 'vitest'
import { apiVersions } from '../../broker/protocols/kafka/18-api-versions.ts'
import { startBroker } from '../../broker/testing.ts'
import { framed, KafkaSocket } from './kafka-socket.ts'

const ID = '00000007'
const NO_CLIENT_ID = 'ffff'

/** A connection to a broker that warns of nothing that anybody reads. */
async function aClient(): Promise<KafkaSocket> {
  const broker = await startBroker({ dataDir: 'memory' })
  onTestFinished(() => broker.stop())
  return KafkaSocket.connect(broker.port)
}

/** Sends an API key, a version and a message; answers what comes back behind the correlation id, as it is. */
async function answerTo(client: KafkaSocket, start: string, message: string): Promise<string | undefined> {
  client.send(framed(bytesOf(`${start} ${ID} ${NO_CLIENT_ID} ${message}`)))
  await client.until(() => client.isClosed || client.answers.length > 0)
  const answer = client.answers.pop()?.toString('latin1')
  if (answer === undefined) return undefined
  expect(Buffer.from(answer.slice(0, 4), 'latin1').toString('hex')).toBe(ID)
  return answer.slice(4)
}

function bytesOf(text: string): Buffer {
  return Buffer.from(text.replaceAll(/\s/g, ''), 'hex')
}

/** Hexadecimal digits, with texts between quotes. */
function wire(text: string): string {
  const pieces = text.split("'").map((piece, at) => (at % 2 === 1 ? piece : bytesOf(piece).toString('latin1')))
  return pieces.join('')
}

const NO_NODE = 'ffffffff 0000 ffffffff'

describe('who asks for what is not offered', () => {
  it.each([
    [
      'to begin a transaction: not allowed to use the id, which no client tries again after',
      ['0016 0001', '0002 7478 0000ea60', '00000000 0035 ffffffffffffffff ffff'],
    ],
    [
      'who coordinates a transaction: not allowed to use the id',
      ['000a 0002', '0002 7478 01', `00000000 0035 001e 'transactions are not supported' ${NO_NODE}`],
    ],
    [
      'who coordinates a share group: an invalid request, as in any version that has none',
      ['000a 0002', '0002 7478 02', `00000000 002a 0028 'nothing is coordinated by keys of type 2' ${NO_NODE}`],
    ],
    [
      'for a handshake of SASL: illegal in this state, and no mechanisms',
      ['0011 0000', "0005 'PLAIN'", '0022 00000000'],
    ],
    ['for the same in the newer version', ['0011 0001', "0005 'PLAIN'", '0022 00000000']],
    [
      'for access lists: security is disabled',
      [
        '001d 0001',
        '01 ffff 01 ffff ffff 01 01',
        "00000000 0036 003b 'there are no access lists here: everybody may do everything' 00000000",
      ],
    ],
  ])('is told %s', async (_, [start = '', message = '', expected = '']) => {
    const client = await aClient()
    const hex = Buffer.from(wire(message), 'latin1').toString('hex')
    expect(await answerTo(client, start, hex)).toBe(wire(expected))
    expect(client.isClosed).toBe(false)
  })

  it.each([
    ['AddPartitionsToTxn', 24],
    ['AddOffsetsToTxn', 25],
    ['EndTxn', 26],
    ['TxnOffsetCommit', 28],
    ['CreateAcls', 30],
    ['DeleteAcls', 31],
    ['SaslAuthenticate', 36],
    ['DescribeClientQuotas', 48],
    ['DescribeUserScramCredentials', 50],
    ['ConsumerGroupHeartbeat', 68],
    ['ConsumerGroupDescribe', 69],
    ['GetTelemetrySubscriptions', 71],
    ['ShareGroupHeartbeat', 76],
    ['ShareFetch', 78],
    ['StreamsGroupHeartbeat', 88],
  ])('for %s, which is not announced either, is told nothing and closed', async (_, key) => {
    const client = await aClient()
    const told = await client.ask(apiVersions, 3, { clientSoftwareName: 'a-test', clientSoftwareVersion: '1' })
    client.answers.pop()
    expect(told.apiKeys.map(({ apiKey }) => apiKey)).not.toContain(key)
    const start = `00${key.toString(16).padStart(2, '0')} 0000`
    expect(await answerTo(client, start, '00000000')).toBeUndefined()
    expect(client.isClosed).toBe(true)
  })
})
