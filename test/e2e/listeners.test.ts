// A broker in two networks: clients are told the address that can be reached from where they came.

import { describe, expect, it, onTestFinished } from 'vitest'
import { metadata } from '../../broker/protocols/kafka/03-metadata.ts'
import { findCoordinator } from '../../broker/protocols/kafka/10-find-coordinator.ts'
import { describeCluster } from '../../broker/protocols/kafka/60-describe-cluster.ts'
import { createBroker } from '../../broker/index.ts'
import { systemEnvironment } from '../../broker/environment.ts'
import { connect } from '../../client/index.ts'
import { KafkaSocket, NO_TOPICS } from '../kafka/kafka-socket.ts'
import { freePort } from '../setup/free-port.ts'

async function aBrokerWith(listeners: string, advertisedListeners?: string) {
  const settings = { dataDir: 'memory', http: 'off', listen: '127.0.0.1:0', listeners, advertisedListeners }
  const broker = await createBroker(systemEnvironment(), settings)
  onTestFinished(() => broker.stop())
  return broker
}

describe('a client that came by a listener of its own', () => {
  it('is told where that listener is advertised, and one that came by the first is told the first', async () => {
    const port = await freePort()
    const broker = await aBrokerWith(`OUTSIDE://127.0.0.1:${port}`, 'OUTSIDE://kafka.example.com:19092')
    const [inside, outside] = [await KafkaSocket.connect(broker.listen.port), await KafkaSocket.connect(port)]
    const { brokers } = await inside.ask(metadata, 12, NO_TOPICS)
    expect(brokers).toMatchObject([{ host: '127.0.0.1', port: broker.listen.port }])
    const told = { host: 'kafka.example.com', port: 19_092 }
    expect((await outside.ask(metadata, 12, NO_TOPICS)).brokers).toMatchObject([told])
    const group = { key: '', keyType: 0, coordinatorKeys: ['g'] }
    expect((await outside.ask(findCoordinator, 4, group)).coordinators).toMatchObject([told])
    const cluster = { includeClusterAuthorizedOperations: false, endpointType: 1, includeFencedBrokers: false }
    expect((await outside.ask(describeCluster, 1, cluster)).brokers).toMatchObject([told])
  })

  it('works by it with our own client, when nothing else is advertised', async () => {
    const port = await freePort()
    const broker = await aBrokerWith(`other://127.0.0.1:${port}`)
    const client = connect({ brokers: `127.0.0.1:${port}` })
    onTestFinished(() => client.close())
    await client.admin().createTopics({ topics: [{ topic: 'a' }] })
    await client.producer().send({ topic: 'a', messages: [{ value: 'x' }] })
    const { brokers } = await client.admin().describeCluster()
    expect(brokers).toMatchObject([{ port }])
    expect(broker.listen.port).not.toBe(port)
  })
})

describe('listeners', () => {
  it.each([
    ['127.0.0.1:9093', undefined, "listeners must be NAME://HOST:PORT, or several with commas, not '127.0.0.1:9093'"],
    ['A://:1,A://:2', undefined, 'listeners has A twice'],
    ['A://:1,SASL_SSL://:2', undefined, 'listeners has SASL_SSL: all listeners speak plain TCP'],
    ['A://:70000', undefined, "listeners A must be HOST:PORT with a port from 0 to 65535, not ':70000'"],
    ['A://:0', 'B://h:1', 'advertised-listeners names B, which is none of listeners'],
  ])('written as %s are refused', async (listeners, advertised, text) => {
    await expect(aBrokerWith(listeners, advertised)).rejects.toThrow(text)
  })
})
