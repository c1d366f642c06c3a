// What reading a produce request and writing the answers to produce and fetch costs in Kafka's protocol, one partition
// each. Run after a build: node dist/scripts/bench-kafka-message.js

import { KAFKA_APIS } from '../broker/protocols/kafka/api-table.ts'
import { encodeResponse, readClientId, readRequestStart } from '../broker/protocols/kafka/frames.ts'
import { KafkaReader, KafkaWriter } from '../broker/protocols/kafka/primitives.ts'
import { systemClock } from '../shared/time.ts'

const CALLS = 200_000
const ROUNDS = 5

const { 0: produce, 1: fetch } = KAFKA_APIS
const reader = new KafkaReader()
const records = new Uint8Array(1_100)
const topicId = 'c6a2bd5e-0d3a-4b52-9d0e-3f6a51f0b1aa'

for (const version of [3, 8, 9, 11]) {
  const frame = produceFrame(version)
  measure(`read a produce request v${version}`, () => {
    reader.open(frame)
    const { apiVersion } = readRequestStart(reader)
    readClientId(reader, produce.isFlexible(apiVersion))
    const request = produce.request.read(reader, apiVersion)
    reader.expectEnd()
    return request.topicData.length
  })
}
for (const version of [3, 11]) {
  const partition = { index: 7, errorCode: 0, baseOffset: 123_456_789, logStartOffset: 0, logAppendTimeMs: -1 }
  const answer = { responses: [{ name: 'orders.created', partitionResponses: [partition] }] }
  measure(`write a produce response v${version}`, () => {
    return encodeResponse(produce, { version, correlationId: 9 }, answer).length
  })
}
for (const version of [4, 11, 12, 17]) {
  const offsets = { highWatermark: 123_456_789, lastStableOffset: 123_456_789, logStartOffset: 0 }
  const partitions = [{ partitionIndex: 7, errorCode: 0, ...offsets, records }]
  const answer = { errorCode: 0, responses: [{ topic: 'orders.created', topicId, partitions }] }
  measure(`write a fetch response v${version}`, () => {
    return encodeResponse(fetch, { version, correlationId: 9 }, answer).length
  })
}

function produceFrame(version: number): Uint8Array {
  const writer = new KafkaWriter()
  writer.reset()
  writer.int16(produce.key)
  writer.int16(version)
  writer.int32(77)
  writer.string('bench-client', false)
  if (produce.isFlexible(version)) writer.uvarint(0)
  const topicData = [{ name: 'orders.created', partitionData: [{ index: 7, records }] }]
  produce.request.write(writer, version, { acks: -1, timeoutMs: 30_000, topicData })
  return Buffer.concat(writer.take())
}

function measure(what: string, call: () => number): void {
  let best = Infinity
  let sum = 0
  for (let round = 0; round < ROUNDS; round += 1) {
    const begun = systemClock.monotonic()
    for (let index = 0; index < CALLS; index += 1) sum += call()
    best = Math.min(best, ((systemClock.monotonic() - begun) * 1e6) / CALLS)
  }
  if (sum === 0) throw new Error('nothing was measured')
  console.log(`${what}: ${Math.round(best)} ns`)
}
