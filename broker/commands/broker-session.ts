// How a command asks brokers: the client's own way of finding them and trying again, for requests that are no part of the
// client's public face. Owns what the flags --brokers and --timeout mean, and how refusals are told.

import type { ApiName, RequestOf, ResponseOf } from '../../shared/protocol/api.ts'
import { wordsOf } from '../../shared/protocol/api-words.ts'
import type { ProducerOptions } from '../../client/producer-options.ts'
import type { ReadOptions } from '../../client/reader-options.ts'
import type { CommandContext } from './command.ts'
import { Admin } from '../../client/admin.ts'
import { Cluster } from '../../client/cluster.ts'
import { Consumer } from '../../client/consumer.ts'
import type { ConsumerOptions } from '../../client/consumer-options.ts'
import { systemEnvironment } from '../../client/environment.ts'
import { type ConnectOptions, readConnectOptions } from '../../client/options.ts'
import { Producer } from '../../client/producer.ts'
import { Reader } from '../../client/reader.ts'
import { errorCodeOf, ERRORS, TidemarkError } from '../../shared/errors.ts'

export interface BrokerSession {
  readonly admin: Admin
  /** Asks whoever answers, or the broker that is named. @throws TidemarkError */
  ask<Name extends ApiName>(api: Name, request: RequestOf<Name>, broker?: number): Promise<ResponseOf<Name>>
  /** For tidying up: a Ctrl-C does not cut it off. */
  askEvenIfInterrupted<Name extends ApiName>(api: Name, request: RequestOf<Name>): Promise<ResponseOf<Name>>
  producer(options: ProducerOptions<Uint8Array, Uint8Array>): Producer<Uint8Array, Uint8Array>
  read(topic: string, options: ReadOptions<Buffer, Buffer>): Reader
  /** To be closed before the work is done. */
  consumer(options: ConsumerOptions<Buffer, Buffer>): Consumer
}

/** Requests that do no harm when they are done twice. */
const REPEATABLE: ReadonlySet<ApiName> = new Set<ApiName>(['metadata', 'describeTopics', 'clusterInfo'])

/** What a person at a terminal waits for; a program that embeds the client is more patient. */
function connectOptions(context: CommandContext, brokers: string): ConnectOptions {
  const timeoutMs = context.arguments.number('timeout')
  return {
    brokers,
    clientId: `tidemark-cli-${process.pid}`,
    retry: { retries: 3, minMs: 50, maxMs: 500 },
    connectTimeoutMs: Math.min(timeoutMs, 5_000),
    requestTimeoutMs: timeoutMs,
    callTimeoutMs: timeoutMs,
  }
}

export async function withBrokers<T>(
  context: CommandContext,
  work: (session: BrokerSession) => Promise<T>,
  /** HOST:PORT, with commas. */
  brokers = context.arguments.required('brokers'),
): Promise<T> {
  // The retries are for questions. A record has its deadline, so that a broker that is started again ends no pipe.
  const settings = { ...readConnectOptions(connectOptions(context, brokers)), areRetriesGiven: false }
  const cluster = new Cluster(systemEnvironment, settings)
  const ask = <Name extends ApiName>(
    api: Name,
    request: RequestOf<Name>,
    signal?: AbortSignal,
    broker?: number,
  ): Promise<ResponseOf<Name>> => {
    const isRepeatable = REPEATABLE.has(api)
    const to = broker ?? (isRepeatable ? undefined : 'controller')
    return cluster.call(wordsOf(api), signal === undefined ? {} : { signal }, (scope) =>
      cluster.ask(api, request, scope, to === undefined ? { isRepeatable } : { isRepeatable, to }),
    )
  }
  try {
    return await work({
      admin: new Admin(cluster),
      ask: (api, request, broker) => ask(api, request, context.signal, broker),
      askEvenIfInterrupted: (api, request) => ask(api, request),
      producer: (options) => new Producer(cluster, options, () => undefined),
      read: (topic, options) => new Reader(cluster, topic, options, () => undefined),
      consumer: (options) => new Consumer(cluster, options, () => undefined),
    })
  } finally {
    cluster.close()
  }
}

export interface Outcome {
  readonly error: number
  readonly message: string | undefined
}

/** The refusal as an error; undefined when there is none. */
export function refusalOf(outcome: Outcome, what: string): TidemarkError | undefined {
  if (outcome.error === 0) return undefined
  const code = errorCodeOf(outcome.error)
  const message = outcome.message ?? ERRORS[code].about
  return new TidemarkError(code, message.includes(what) ? message : `${what}: ${message}`)
}
