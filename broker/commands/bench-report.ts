// What a measurement says: one set of figures, as a table for people or as one JSON object.

import type { CommandContext } from './command.ts'
import { createHistogram, type RecordableHistogram } from 'node:perf_hooks'
import { systemClock } from '../../shared/time.ts'
import { printValue } from './output.ts'

export interface BenchReport {
  readonly records: number
  /** Of values. */
  readonly bytes: number
  readonly seconds: number
  readonly recordsPerSecond: number
  /** Millions of bytes. */
  readonly megabytesPerSecond: number
  readonly latencyMs: { readonly p50: number; readonly p99: number; readonly p999: number; readonly max: number }
}

const NANOSECONDS_PER_MS = 1e6

/** Times are milliseconds of the monotonic clock. */
export class Measurement {
  readonly #latencies: RecordableHistogram = createHistogram()
  #records = 0
  #bytes = 0
  #startedMs = systemClock.monotonic()
  #endedMs = this.#startedMs

  get records(): number {
    return this.#records
  }

  /** What was before does not count. */
  start(): void {
    this.#startedMs = systemClock.monotonic()
  }

  add(records: number, bytes: number, latencyMs: number): void {
    this.#records += records
    this.#bytes += bytes
    this.#latencies.record(Math.max(1, Math.round(latencyMs * NANOSECONDS_PER_MS)))
  }

  stop(): void {
    this.#endedMs = systemClock.monotonic()
  }

  report(): BenchReport {
    const seconds = Math.max(this.#endedMs - this.#startedMs, 0.001) / 1000
    const latencies = this.#latencies
    const latencyMs = (percent: number): number => rounded(latencies.percentile(percent) / NANOSECONDS_PER_MS)
    return {
      records: this.#records,
      bytes: this.#bytes,
      seconds: rounded(seconds),
      recordsPerSecond: Math.round(this.#records / seconds),
      megabytesPerSecond: rounded(this.#bytes / 1e6 / seconds),
      latencyMs: {
        p50: latencyMs(50),
        p99: latencyMs(99),
        p999: latencyMs(99.9),
        max: latencies.count === 0 ? 0 : rounded(latencies.max / NANOSECONDS_PER_MS),
      },
    }
  }
}

export async function printReport(context: CommandContext, report: BenchReport): Promise<void> {
  if (context.arguments.isOn('json')) return await context.output.line(JSON.stringify(report))
  const { latencyMs, ...figures } = report
  await printValue(
    context.output,
    {
      ...figures,
      'latency p50 ms': latencyMs.p50,
      'latency p99 ms': latencyMs.p99,
      'latency p999 ms': latencyMs.p999,
      'latency max ms': latencyMs.max,
    },
    'table',
  )
}

function rounded(value: number): number {
  return Math.round(value * 1000) / 1000
}
