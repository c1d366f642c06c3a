// Kafka's protocol on the broker's side: recognises its connections and opens a session on each. Owns what all sessions share:
// the handlers of the requests and the counters.

import type { ProtocolAdapter, ProtocolConnection, ProtocolSession } from '../../network/protocol-adapter.ts'
import type { ApiMetrics, KafkaAdapterOptions, KafkaHost } from './kafka-host.ts'
import { kafkaHandlers } from './handlers/handlers.ts'
import { KafkaSession, REQUEST_BYTES_MIN } from './kafka-session.ts'

export class KafkaAdapter implements ProtocolAdapter {
  readonly name = 'kafka'
  readonly #host: KafkaHost
  readonly #frameBytesMax: number

  constructor(options: KafkaAdapterOptions) {
    const { meter, requests, limits } = options
    const counted = new Map<string, ApiMetrics>()
    this.#frameBytesMax = limits.frameBytesMax
    this.#host = {
      ...options,
      handlers: kafkaHandlers(requests),
      counted(api) {
        const known = counted.get(api)
        if (known !== undefined) return known
        const labels = { protocol: 'kafka', api }
        const made = {
          requests: meter.counter('tidemark_requests_total', labels),
          duration: meter.histogram('tidemark_request_duration_seconds', labels),
        }
        counted.set(api, made)
        return made
      },
    }
  }

  /** There is no preface: a connection begins with the length of its first request. */
  recognise(firstFourBytes: number): 'frame' | undefined {
    return firstFourBytes >= REQUEST_BYTES_MIN && firstFourBytes <= this.#frameBytesMax ? 'frame' : undefined
  }

  open(connection: ProtocolConnection): ProtocolSession {
    return new KafkaSession(connection, this.#host)
  }
}
