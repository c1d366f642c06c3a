// What all native sessions of a broker share: whom they ask, what they tell of the broker, where they count. Types only.

import type { ApiName } from '../../../shared/protocol/api.ts'
import type { Logger } from '../../../shared/logger.ts'
import type { Counter, Histogram, Meter } from '../../metrics/meter.ts'
import type { Requests } from '../../requests/requests.ts'

/** What hello tells of the broker. */
export interface NativeIdentity {
  readonly brokerId: number
  readonly cluster: string
  readonly software: string
  readonly rack: string | undefined
}

export interface NativeAdapterOptions {
  readonly requests: Requests
  /** The name of the listener whose connections these are; absent for the first. */
  readonly listener?: string | undefined
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
