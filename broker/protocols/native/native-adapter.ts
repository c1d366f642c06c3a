// The native protocol on the broker's side: recognises its connections and opens a session on each. Owns what all sessions
// share: the identity they tell, the counters, the reader of messages.

import type { ProtocolAdapter, ProtocolConnection, ProtocolSession } from '../../network/protocol-adapter.ts'
import type { ApiMetrics, NativeAdapterOptions, NativeHost } from './native-host.ts'
import { type ApiName, APIS } from '../../../shared/protocol/api.ts'
import { NATIVE_MAGIC } from '../../../shared/protocol/frame.ts'
import { NativeSession } from './native-session.ts'

export class NativeAdapter implements ProtocolAdapter {
  readonly name = 'native'
  readonly #host: NativeHost

  constructor(options: NativeAdapterOptions) {
    const metricsOf = (api: ApiName): ApiMetrics => ({
      requests: options.meter.counter('tidemark_requests_total', { protocol: 'native', api }),
      duration: options.meter.histogram('tidemark_request_duration_seconds', { protocol: 'native', api }),
    })
    const counted = Object.fromEntries(Object.keys(APIS).map((api) => [api, metricsOf(api as ApiName)]))
    this.#host = { ...options, counted: counted as Record<ApiName, ApiMetrics> }
  }

  recognise(firstFourBytes: number): 'preface' | undefined {
    return firstFourBytes === NATIVE_MAGIC ? 'preface' : undefined
  }

  open(connection: ProtocolConnection): ProtocolSession {
    return new NativeSession(connection, this.#host)
  }
}
