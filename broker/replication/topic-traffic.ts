// What goes in and out of one topic, counted. The series are looked up once, when the topic is opened; what an append or a
// read does is an addition.

import type { Counter, Meter } from '../metrics/meter.ts'

export class TopicTraffic {
  readonly #receivedBytes: Counter
  readonly #recordsIn: Counter
  readonly #sentBytes: Counter
  readonly #recordsOut: Counter

  constructor(meter: Meter, topic: string) {
    this.#receivedBytes = meter.counter('tidemark_received_bytes_total', { topic })
    this.#recordsIn = meter.counter('tidemark_records_in_total', { topic })
    this.#sentBytes = meter.counter('tidemark_sent_bytes_total', { topic })
    this.#recordsOut = meter.counter('tidemark_records_out_total', { topic })
  }

  onAppended(bytes: number, records: number): void {
    this.#receivedBytes.add(bytes)
    this.#recordsIn.add(records)
  }

  onRead(bytes: number, records: number): void {
    this.#sentBytes.add(bytes)
    this.#recordsOut.add(records)
  }
}
