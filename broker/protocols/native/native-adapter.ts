// The native protocol on the broker's side: recognises its connections and opens a session on each. Owns what all sessions
// share: the identity they tell, the counters, the reader of messages.

import type { Logger } from '../../../shared/logger.ts'
import type { Counter, Histogram, Meter } from '../../metrics/meter.ts'
import type { ProtocolAdapter, ProtocolConnection, ProtocolSession } from '../../network/protocol-adapter.ts'
import type { Requests } from '../../requests/requests.ts'
import { type ApiName, APIS } from '../../../shared/protocol/api.ts'
import { NATIVE_MAGIC } from '../../../shared/protocol/frame.ts'
import { NativeSession } from './native-session.ts'

/** What hello tells of the broker. */
export interface NativeIdentity {
  readonly brokerId: number
  readonly cluster: string
  readonly software: string
  readonly rack: string | undefined
}

export interface NativeAdapterOptions {
  readonly requests: Requests
  /** Asked at each hello. */
  readonly identity: () => NativeIdentity
  readonly logger: Logger
  readonly meter: Meter
  /** Those of the listener: what hello announces is what the connection holds to. */
  readonly limits: { readonly frameBytesMax: number; readonly inFlightMax: number }
}

/** What all sessions share. */
export interface NativeHost extends NativeAdapterOptions {
  readonly counted: Readonly<Record<ApiName, ApiMetrics>>
}

export interface ApiMetrics {
  readonly requests: Counter
  /** Seconds. */
  readonly duration: Histogram
}

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
