// What web consoles and Spark ask for, by the client that they have inside: Kafka's own for Java. The programs themselves are not
// run.

import { rm } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { startBroker, type TestBroker } from '../../broker/testing.ts'
import { numbered, toMessages } from '../interop/samples.ts'
import { compile, JavaProgram } from './java-program.ts'
import { describeWithProgram, jarsFolder } from './programs.ts'

const RECORDS = 25

describeWithProgram('the calls of consoles and of Spark', jarsFolder !== undefined, () => {
  let broker: TestBroker
  let classes: string
  /** What came of each call. */
  const said = new Map<string, string>()

  beforeAll(async () => {
    const jars = jarsFolder ?? ''
    classes = await compile(fileURLToPath(new URL('java/AdminCalls.java', import.meta.url)), jars)
    broker = await startBroker({ dataDir: 'memory' })
    const native = broker.client()
    await native.admin().createTopics({ topics: [{ topic: 'orders', numPartitions: 3 }] })
    await native.producer().send({ topic: 'orders', messages: toMessages(numbered(RECORDS)) })
    await native.admin().resetOffsets({ groupId: 'billing', topic: 'orders', to: 'start' })
    await native.close()
    const args = [broker.brokers, 'orders', 'billing']
    await using program = new JavaProgram({ main: 'AdminCalls', args, classPath: [classes, `${jars}/*`] })
    if ((await program.ended(60_000)) !== 0) throw new Error(program.said)
    for (const line of program.lines) {
      const words = /^call (\w+) (.*)$/.exec(line)
      if (words !== null) said.set(words[1] ?? '', words[2] ?? '')
    }
  })

  afterAll(async () => {
    await broker?.stop()
    await rm(classes, { recursive: true, force: true })
  })

  it('answers what consoles show: the cluster, brokers, topics, settings, groups, directories, producers', () => {
    for (const name of ['topicSettings', 'brokerSettings']) expect(said.get(name), name).toBe('ok true')
    expect(said.get('cluster')).toBe('ok 1 tidemark')
    // Ours, and the topic of the groups.
    expect(said.get('topics')).toBe('ok 2')
    expect(said.get('groups')).toBe('ok 1')
    expect(said.get('committed')).toBe('ok 3')
    expect(said.get('logDirs')).toBe('ok 1')
    expect(said.get('producers')).toMatch(/^ok \d/)
    expect(said.get('reassignments')).toBe('ok 0')
    expect(said.get('features')).toMatch(/^ok /)
  })

  it('says of what it has not that it has it not, so that consoles leave it out', () => {
    expect(said.get('accessLists')).toBe('SecurityDisabledException')
    for (const name of ['quotas', 'users', 'quorum', 'transactions']) {
      expect(said.get(name), name).toBe('UnsupportedVersionException')
    }
  })

  it('tells Spark what there is and between which offsets, and gives it to a reader without a group', () => {
    expect(said.get('bounds')).toBe('ok 3')
    expect(said.get('read')).toBe(`ok ${RECORDS}`)
  })
})
