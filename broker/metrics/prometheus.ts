// Turns the slots of a meter into what Prometheus reads, at the scrape and never before. The only file that knows
// prom-client, which is not even loaded until somebody scrapes: it costs a start 50 ms, and nothing runs meanwhile.
//
// Invariant: scrapes never pile up. Those that come while one is being made share its result.

import type * as promClient from 'prom-client'
import type { MetricConfiguration, Registry } from 'prom-client'
import type { MetricName, MetricRow } from './catalogue.ts'
import type { ClusterSnapshot } from './kafka-exporter.ts'
import type { Series, SlotMeter } from './meter.ts'
import { CATALOGUE } from './catalogue.ts'
import { kafkaExporterMetrics } from './kafka-exporter.ts'

type PromClient = Pick<typeof promClient, 'Registry' | 'Gauge' | 'collectDefaultMetrics'>

export interface ExpositionSources {
  readonly meter: SlotMeter
  /** Asked once a scrape. */
  readonly snapshot: () => ClusterSnapshot
  /** Whether to add the metrics of the process and of the runtime. Default true. */
  readonly withProcessMetrics?: boolean
}

export interface Scrape {
  readonly contentType: string
  readonly text: string
}

export interface Exposition {
  render(): Promise<Scrape>
}

interface Sample {
  readonly labels: Readonly<Record<string, string | number>>
  readonly value: number
  readonly metricName?: string
}

export function createExposition(sources: ExpositionSources): Exposition {
  let registry: Promise<Registry> | undefined
  let running: Promise<Scrape> | undefined
  const scrape = async (): Promise<Scrape> => {
    registry ??= buildRegistry(sources)
    const built = await registry
    return { contentType: built.contentType, text: await built.metrics() }
  }
  return {
    render() {
      running ??= scrape().finally(() => {
        running = undefined
      })
      return running
    },
  }
}

async function buildRegistry(sources: ExpositionSources): Promise<Registry> {
  const client = await importPromClient()
  const registry = new client.Registry()
  for (const name of Object.keys(CATALOGUE) as MetricName[]) {
    const row: MetricRow = CATALOGUE[name]
    register(client, registry, { name, help: row.help, type: row.kind }, () =>
      samplesOf(name, row, sources.meter.seriesOf(name)),
    )
  }
  // One snapshot serves all exporter metrics of a scrape: the first of them takes it.
  let metrics = kafkaExporterMetrics({ brokers: [], topics: [] })
  for (const [index, { name, help }] of metrics.entries()) {
    register(client, registry, { name, help, type: 'gauge' }, () => {
      if (index === 0) metrics = kafkaExporterMetrics(sources.snapshot())
      return metrics[index]?.samples ?? []
    })
  }
  if (sources.withProcessMetrics !== false) client.collectDefaultMetrics({ register: registry })
  return registry
}

function register(
  client: PromClient,
  registry: Registry,
  metric: { readonly name: string; readonly help: string; readonly type: MetricRow['kind'] },
  samples: () => readonly Sample[],
): void {
  const configuration: MetricConfiguration<string> = { name: metric.name, help: metric.help, registers: [] }
  // The registry asks a metric for nothing but get(); a gauge with another get() is a metric of any type.
  const custom = Object.assign(new client.Gauge(configuration), {
    get: () => Promise.resolve({ ...metric, type: metric.type, aggregator: 'sum', values: [...samples()] }),
  })
  registry.registerMetric(custom)
}

function samplesOf(name: MetricName, row: MetricRow, series: readonly Series[]): readonly Sample[] {
  if (row.kind !== 'histogram') return series.map((one) => ({ labels: one.labels, value: one.value() }))
  return series.flatMap((one) => histogramSamples(name, row.buckets ?? [], one))
}

function histogramSamples(name: string, bounds: readonly number[], series: Series): readonly Sample[] {
  const counts = series.bucketCounts()
  const samples: Sample[] = []
  let total = 0
  for (const [index, count] of counts.entries()) {
    total += count
    const labels = { ...series.labels, le: bounds[index] ?? '+Inf' }
    samples.push({ metricName: `${name}_bucket`, labels, value: total })
  }
  samples.push({ metricName: `${name}_sum`, labels: series.labels, value: series.value() })
  samples.push({ metricName: `${name}_count`, labels: series.labels, value: total })
  return samples
}

/** It is a CommonJS package: what it exports stands under `default` as well, which is the form that always works. */
async function importPromClient(): Promise<PromClient> {
  const imported = await import('prom-client')
  return imported.default
}
