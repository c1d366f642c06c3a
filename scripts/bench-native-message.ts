// What reading a produce request and writing its answer costs, by hand and by the table. Run after a build:
// node dist/scripts/bench-native-message.js

import { readProduceRequest, writeProduceSuccess } from '../broker/protocols/native/produce-message.ts'
import type { ProduceOutcome } from '../broker/requests/requests.ts'
import { offset } from '../shared/ids.ts'
import { APIS } from '../shared/protocol/api.ts'
import { decodeBody, encodeBody } from '../shared/protocol/codec.ts'
import { encodeFrameHead } from '../shared/protocol/frame.ts'
import { MessagePackReader } from '../shared/protocol/message-pack-reader.ts'
import { systemClock } from '../shared/time.ts'

const CALLS = 400_000
const ROUNDS = 7

const tail = new Uint8Array(1_100)
const topicId = 'c6a2bd5e-0d3a-4b52-9d0e-3f6a51f0b1aa'
const partition = { topic: 'orders.created', topicId: topicId, partition: 7, leaderEpoch: 3, bytes: tail.length }
const request = APIS.produce.request.encode({ acks: -1, timeoutMs: 30_000, partitions: [partition] })
const body = Uint8Array.from(encodeBody(request))
const baseOffset = offset(123_456_789)
const outcome: ProduceOutcome = { refusal: undefined, baseOffset, logStartOffset: offset(0), logAppendTime: undefined }
const reader = new MessagePackReader()
const scratch = new Uint8Array(16 * 1024)

measure('read a request by hand', () => {
  reader.open(body, 0, body.length)
  return readProduceRequest(reader, tail).partitions.length
})
measure('read a request by the table', () => {
  return APIS.produce.request.decode(decodeBody(body), 'produce').partitions.length
})
measure('write an answer by hand', () => writeProduceSuccess(scratch, 0, 2, { version: 0, correlationId: 7 }, outcome))
measure('write an answer by the table', () => {
  const { logStartOffset, logAppendTime } = outcome
  const answered = { error: 0, message: undefined, baseOffset, logStartOffset, logAppendTime }
  const answer = APIS.produce.response.encode({ partitions: [answered] })
  const head = { kind: 'response', api: 2, version: 0, correlationId: 7, body: answer, tailBytes: 0 } as const
  return encodeFrameHead(head).length
})

/** The best of the rounds: what the code costs when nothing else disturbs it. */
function measure(what: string, run: () => number): void {
  let best = Number.POSITIVE_INFINITY
  let sum = 0
  for (let round = 0; round < ROUNDS; round += 1) {
    const startedAt = systemClock.monotonic()
    for (let call = 0; call < CALLS; call += 1) sum += run()
    best = Math.min(best, systemClock.monotonic() - startedAt)
  }
  console.log(
    `${what.padEnd(32)}${((best * 1e6) / CALLS).toFixed(0).padStart(8)} ns${sum === 0 ? ' (nothing was done)' : ''}`,
  )
}
