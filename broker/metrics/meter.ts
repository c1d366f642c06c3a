// How the rooms of the broker count. A series is looked up once, when its owner is made; what hot code then does is one
// addition to a slot of a typed array. Turning slots into text is somebody else's work, and happens only when asked for.
//
// Invariant: a metric never has more series than SERIES_PER_METRIC_MAX, whatever names clients think of. What comes on
// top shares one series whose label values are OVERFLOW_LABEL, so that totals stay right.

import type { CounterName, GaugeName, HistogramName, LabelsOf, MetricName, MetricRow } from './catalogue.ts'
import { assert, must } from '../../shared/assert.ts'
import { CATALOGUE } from './catalogue.ts'

export interface Counter {
  /** Adds n, which is at least 0; 1 when it is left out. */
  add(n?: number): void
}

export interface Histogram {
  /** In the unit of the metric's name. */
  observe(value: number): void
}

/** Something that stands in the exposition until it is removed, as when a topic goes. */
export interface Registration {
  /** Idempotent. */
  remove(): void
}

export interface Meter {
  /** The counter of these labels; the same one for the same labels. @throws InvariantError for labels that are not the row's. */
  counter<Name extends CounterName>(name: Name, ...labels: LabelsArgument<Name>): Counter
  histogram<Name extends HistogramName>(name: Name, ...labels: LabelsArgument<Name>): Histogram
  /** Registers what to read at a scrape. The last one registered for the same labels wins. */
  gauge<Name extends GaugeName>(name: Name, labels: LabelsOf<Name>, read: () => number): Registration
  /** As gauge, for what somebody else counts. */
  reading<Name extends CounterName>(name: Name, labels: LabelsOf<Name>, read: () => number): Registration
  /** Forgets every series of every metric whose label `topic` is this one. */
  forgetTopic(topic: string): void
}

/** A metric without labels is asked for by its name alone. */
export type LabelsArgument<Name extends MetricName> = (typeof CATALOGUE)[Name]['labels'] extends readonly []
  ? []
  : [keyof LabelsOf<Name>] extends [never]
    ? []
    : [labels: LabelsOf<Name>]

export const SERIES_PER_METRIC_MAX = 2_000
export const OVERFLOW_LABEL = '(other)'

type Labels = Readonly<Record<string, string>>

/** One series as the reader of a meter sees it. */
export interface Series {
  readonly labels: Labels
  /** The value of a counter or gauge; the sum of a histogram. */
  value(): number
  /** Of a histogram: how many were observed for each bucket, not cumulated, the last one being those beyond all bounds. */
  bucketCounts(): readonly number[]
}

/** The meter of a broker: counters and histograms are slots, gauges are functions. */
export class SlotMeter implements Meter {
  readonly #metrics = new Map<MetricName, Map<string, SlotSeries>>()
  readonly #dropped: SlotSeries

  constructor() {
    this.#dropped = this.#series('tidemark_metric_series_dropped_total', {})
  }

  counter<Name extends CounterName>(name: Name, ...labels: LabelsArgument<Name>): Counter {
    return this.#series(name, labels[0] ?? {})
  }

  histogram<Name extends HistogramName>(name: Name, ...labels: LabelsArgument<Name>): Histogram {
    return this.#series(name, labels[0] ?? {})
  }

  gauge<Name extends GaugeName>(name: Name, labels: LabelsOf<Name>, read: () => number): Registration {
    return this.#read(name, labels, read)
  }

  reading<Name extends CounterName>(name: Name, labels: LabelsOf<Name>, read: () => number): Registration {
    return this.#read(name, labels, read)
  }

  #read(name: GaugeName | CounterName, labels: Labels, read: () => number): Registration {
    const series = this.#series(name, labels)
    if (isOverflow(series)) return { remove: () => undefined }
    series.read = read
    return {
      remove: () => {
        if (series.read === read) this.#metrics.get(name)?.delete(keyOf(CATALOGUE[name], series.labels))
      },
    }
  }

  forgetTopic(topic: string): void {
    for (const [name, series] of this.#metrics) {
      if (!(CATALOGUE[name].labels as readonly string[]).includes('topic')) continue
      for (const [key, one] of series) if (one.labels['topic'] === topic) series.delete(key)
    }
  }

  /** All series of a metric, in the order in which they were made. */
  seriesOf(name: MetricName): readonly Series[] {
    return [...(this.#metrics.get(name)?.values() ?? [])]
  }

  #series(name: MetricName, labels: Labels): SlotSeries {
    const row: MetricRow | undefined = CATALOGUE[name]
    assert(row !== undefined, 'a metric stands in the catalogue')
    assert(Object.keys(labels).length === row.labels.length, 'a series has the labels of its metric')
    const key = keyOf(row, labels)
    const series = this.#metrics.get(name) ?? new Map<string, SlotSeries>()
    this.#metrics.set(name, series)
    const known = series.get(key)
    if (known !== undefined) return known
    if (series.size >= SERIES_PER_METRIC_MAX) return this.#overflow(row, series)
    const made = new SlotSeries(row, labels)
    series.set(key, made)
    return made
  }

  #overflow(row: MetricRow, series: Map<string, SlotSeries>): SlotSeries {
    this.#dropped.add(1)
    const labels = Object.fromEntries(row.labels.map((label) => [label, OVERFLOW_LABEL]))
    const shared = series.get(keyOf(row, labels)) ?? new SlotSeries(row, labels)
    series.set(keyOf(row, labels), shared)
    return shared
  }
}

class SlotSeries implements Series, Counter, Histogram {
  readonly labels: Labels
  /** Gauges only. */
  read: (() => number) | undefined
  readonly #bounds: readonly number[]
  /** The value or sum first, then one slot a bucket and one for what is beyond all of them. */
  readonly #slots: Float64Array

  constructor(row: MetricRow, labels: Labels) {
    this.labels = labels
    this.#bounds = row.buckets ?? []
    this.#slots = new Float64Array(row.buckets === undefined ? 1 : row.buckets.length + 2)
  }

  add(n = 1): void {
    this.#slots[0] = (this.#slots[0] ?? 0) + n
  }

  observe(value: number): void {
    const slots = this.#slots
    const bounds = this.#bounds
    let bucket = 0
    while (bucket < bounds.length && value > (bounds[bucket] ?? 0)) bucket++
    slots[bucket + 1] = (slots[bucket + 1] ?? 0) + 1
    slots[0] = (slots[0] ?? 0) + value
  }

  value(): number {
    return this.read === undefined ? (this.#slots[0] ?? 0) : this.read()
  }

  bucketCounts(): readonly number[] {
    return Array.from(this.#slots.subarray(1))
  }
}

function isOverflow(series: SlotSeries): boolean {
  return Object.values(series.labels).includes(OVERFLOW_LABEL)
}

function keyOf(row: MetricRow, labels: Labels): string {
  return row.labels.map((label) => must(labels[label], 'a series has the labels of its metric')).join('\u0000')
}
