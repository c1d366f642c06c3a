// What all Kafka sessions of a broker share: whom they ask, what they tell of the broker, where they count. Types only.

import type { Logger } from '../../../shared/logger.ts'
import type { Counter, Histogram, Meter } from '../../metrics/meter.ts'
import type { AllRequests } from '../../requests/other-requests.ts'
import type { KafkaHandlers } from './handlers/handlers.ts'

export interface KafkaAdapterOptions {
  readonly requests: AllRequests
  /** The name of the listener whose connections these are; undefined for the first. */
  readonly listener: string | undefined
  readonly logger: Logger
  readonly meter: Meter
  /** Of the listener. */
  readonly limits: { readonly frameBytesMax: number }
}

/** What all sessions share. */
export interface KafkaHost extends KafkaAdapterOptions {
  readonly handlers: KafkaHandlers
  counted(api: string): ApiMetrics
}

export interface ApiMetrics {
  readonly requests: Counter
  /** Seconds. */
  readonly duration: Histogram
}
