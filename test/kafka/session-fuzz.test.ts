// Requests that have gone wrong on the way, in every version of every API, on a real broker: each is answered or closes its
// connection, and somebody else's connection goes on. The requests are Kafka's own bytes, with some of them changed.

import { expect, it, onTestFinished } from 'vitest'
import { metadata } from '../../broker/protocols/kafka/03-metadata.ts'
import { startBroker } from '../../broker/testing.ts'
import { seededRandom } from '../../shared/random.ts'
import { APIS, GOLDEN_FILES, type GoldenCase, readGolden } from './golden.ts'
import { framed, KafkaSocket, NO_TOPICS } from './kafka-socket.ts'

/** Of each request of each version. */
const CHANGED = 12
/** Below what anybody is asked to wait for. */
const LIVES_MS = 30_000

it('are answered or close the connection, and everybody else is served', async () => {
  const uncaught: unknown[] = []
  const onUncaught = (error: unknown): void => void uncaught.push(error)
  process.on('unhandledRejection', onUncaught)
  onTestFinished(() => void process.off('unhandledRejection', onUncaught))
  await using broker = await startBroker({ dataDir: 'memory', autoCreateTopics: true, partitionsMax: 50 })
  const control = await KafkaSocket.connect(broker.port)
  const random = seededRandom(7)
  let answered = 0
  let closed = 0
  for (const file of GOLDEN_FILES) {
    const golden = readGolden(file)
    for (const one of golden.cases) {
      if (one.message !== 'request' || one.kind !== 'full') continue
      const bytes = Buffer.concat([headerOf(golden.name, one), Buffer.from(one.bytes, 'hex')])
      const clients = await Promise.all(
        Array.from({ length: CHANGED }, async () => {
          const client = await KafkaSocket.connect(broker.port)
          client.send(framed(changed(bytes, random)))
          // Whoever is kept waiting for records, or for the rest of a group, is not waited for here.
          client.socket.end()
          return client
        }),
      )
      await Promise.all(
        clients.map((client) =>
          within(
            client.until(() => client.isClosed),
            golden.name,
          ),
        ),
      )
      for (const client of clients) {
        if (client.answers.length > 0) answered += 1
        else closed += 1
      }
    }
    expect((await control.ask(metadata, 9, NO_TOPICS)).brokers, golden.name).toHaveLength(1)
  }
  expect(uncaught).toEqual([])
  // Both happen, or nothing was tried.
  expect(answered).toBeGreaterThan(100)
  expect(closed).toBeGreaterThan(100)
}, 120_000)

function headerOf(name: string, { version }: GoldenCase): Buffer {
  const api = APIS.find((one) => one.name === name)
  const header = Buffer.alloc(api?.isFlexible(version) === true ? 11 : 10)
  header.writeInt16BE(api?.key ?? 0, 0)
  header.writeInt16BE(version, 2)
  header.writeInt16BE(-1, 8)
  return header
}

/** Behind the number, the version and the correlation id: a few bytes are others, or the end is missing, or both. */
function changed(bytes: Buffer, random: ReturnType<typeof seededRandom>): Buffer {
  const copy = Buffer.from(bytes)
  const flips = random.integer(4)
  for (let flip = 0; flip < flips; flip += 1) copy[8 + random.integer(copy.length - 8)] = random.integer(256)
  return random.integer(3) === 0 ? copy.subarray(0, 10 + random.integer(copy.length - 10)) : copy
}

async function within(work: Promise<void>, name: string): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${name}: neither answered nor closed`)), LIVES_MS)
  })
  try {
    await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}
