// A listener with the native protocol in front of requests in memory, on a free port: real sockets, no broker behind.

import { Listener } from '../../broker/network/listener.ts'
import type { ConnectionLimits } from '../../broker/network/connection-limits.ts'
import { CONNECTION_LIMITS } from '../../broker/network/connection-limits.ts'
import { NodeTransport } from '../../broker/network/node-transport.ts'
import type { Transport } from '../../broker/network/transport.ts'
import { NativeAdapter } from '../../broker/protocols/native/native-adapter.ts'
import type { NativeIdentity } from '../../broker/protocols/native/native-host.ts'
import type { Requests } from '../../broker/requests/requests.ts'
import { SlotMeter } from '../../broker/metrics/meter.ts'
import { type Clock, systemClock, systemTimers, type Timers } from '../../shared/time.ts'
import { StubRequests } from './stub-requests.ts'

export interface LogLine {
  readonly level: string
  readonly fields: Record<string, unknown>
  readonly message: string
}

export interface NativeServer<R> {
  readonly port: number
  readonly listener: Listener
  readonly requests: R
  readonly log: readonly LogLine[]
  readonly meter: SlotMeter
  /** How often connections were cut off for the reason. */
  rejected(reason: string): number
  [Symbol.asyncDispose](): Promise<void>
}

export async function startNativeServer<R extends Requests = StubRequests>(
  options: {
    readonly limits?: Partial<ConnectionLimits>
    readonly transport?: Transport
    readonly clock?: Clock
    readonly timers?: Timers
    readonly requests?: R
    readonly port?: number
    /** What hello says. */
    readonly identity?: Partial<NativeIdentity>
  } = {},
): Promise<NativeServer<R>> {
  const requests = options.requests ?? (new StubRequests() as Requests as R)
  const log: LogLine[] = []
  const write = (level: string) => (fields: object, message: string) =>
    void log.push({ level, fields: fields as Record<string, unknown>, message })
  const logger = { debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error') }
  const meter = new SlotMeter()
  const limits = { ...CONNECTION_LIMITS, ...options.limits }
  const identity = { brokerId: 1, cluster: 'test', software: 'tidemark/test', rack: undefined, ...options.identity }
  const adapter = new NativeAdapter({ requests, identity: () => identity, logger, meter, limits })
  const listener = new Listener({
    transport: options.transport ?? new NodeTransport(),
    host: '127.0.0.1',
    port: options.port ?? 0,
    adapters: [adapter],
    clock: options.clock ?? systemClock,
    timers: options.timers ?? systemTimers,
    logger,
    meter,
    limits,
  })
  const { port } = await listener.start()
  return {
    port,
    listener,
    requests,
    log,
    meter,
    rejected: (reason) =>
      meter
        .seriesOf('tidemark_connections_rejected_total')
        .filter((series) => series.labels['reason'] === reason)
        .reduce((sum, series) => sum + series.value(), 0),
    [Symbol.asyncDispose]: () => listener.stop({ drainMs: 0 }),
  }
}
