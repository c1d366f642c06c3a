import { describe, expect, it } from 'vitest'
import { InvariantError } from '../../shared/assert.ts'
import { OVERFLOW_LABEL, SERIES_PER_METRIC_MAX, SlotMeter } from '../../broker/metrics/meter.ts'

function values(meter: SlotMeter, name: Parameters<SlotMeter['seriesOf']>[0]) {
  return meter.seriesOf(name).map((series) => [series.labels, series.value()])
}

describe('a meter', () => {
  it('adds up what is counted under the same labels, wherever it is counted', () => {
    const meter = new SlotMeter()
    meter.counter('tidemark_records_in_total', { topic: 'orders' }).add(3)
    meter.counter('tidemark_records_in_total', { topic: 'orders' }).add()
    meter.counter('tidemark_records_in_total', { topic: 'clicks' }).add(7)
    expect(values(meter, 'tidemark_records_in_total')).toEqual([
      [{ topic: 'orders' }, 4],
      [{ topic: 'clicks' }, 7],
    ])
  })

  it('sorts observations into buckets by upper bounds that are inclusive', () => {
    const meter = new SlotMeter()
    const appends = meter.histogram('tidemark_log_append_duration_seconds')
    for (const seconds of [0.0004, 0.0005, 0.0006, 10, 11]) appends.observe(seconds)
    const [series] = meter.seriesOf('tidemark_log_append_duration_seconds')
    expect(series?.bucketCounts()).toEqual([2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1])
    expect(series?.value()).toBeCloseTo(21.0015, 6)
  })

  it('reads a gauge when asked, and not after it has been removed', () => {
    const meter = new SlotMeter()
    let connections = 1
    const gauge = meter.gauge('tidemark_connections', { listener: 'data' }, () => connections)
    connections = 5
    expect(values(meter, 'tidemark_connections')).toEqual([[{ listener: 'data' }, 5]])
    gauge.remove()
    gauge.remove()
    expect(values(meter, 'tidemark_connections')).toEqual([])
  })

  it('does not let the owner of a gauge remove the one that has taken its place', () => {
    const meter = new SlotMeter()
    const old = meter.gauge('tidemark_connections', { listener: 'data' }, () => 1)
    meter.gauge('tidemark_connections', { listener: 'data' }, () => 2)
    old.remove()
    expect(values(meter, 'tidemark_connections')).toEqual([[{ listener: 'data' }, 2]])
  })

  it('gathers what clients could multiply without end in one series', () => {
    const meter = new SlotMeter()
    for (let topic = 0; topic < SERIES_PER_METRIC_MAX + 10; topic++) {
      meter.counter('tidemark_received_bytes_total', { topic: `t${topic}` }).add(1)
    }
    const series = meter.seriesOf('tidemark_received_bytes_total')
    expect(series).toHaveLength(SERIES_PER_METRIC_MAX + 1)
    expect(series.at(-1)?.labels).toEqual({ topic: OVERFLOW_LABEL })
    expect(series.at(-1)?.value()).toBe(10)
    expect(values(meter, 'tidemark_metric_series_dropped_total')).toEqual([[{}, 10]])
  })

  it('forgets the series of a topic that is gone', () => {
    const meter = new SlotMeter()
    meter.counter('tidemark_received_bytes_total', { topic: 'old' }).add(1)
    meter.counter('tidemark_received_bytes_total', { topic: 'kept' }).add(1)
    meter.forgetTopic('old')
    expect(values(meter, 'tidemark_received_bytes_total')).toEqual([[{ topic: 'kept' }, 1]])
  })

  it('takes a name or labels that are not in the catalogue for a mistake of the project', () => {
    const meter = new SlotMeter()
    // @ts-expect-error the compiler knows the names
    expect(() => meter.counter('tidemark_nonsense_total')).toThrow(InvariantError)
    // @ts-expect-error and the labels
    expect(() => meter.counter('tidemark_records_in_total', { partition: '1' })).toThrow(InvariantError)
    // @ts-expect-error of each
    expect(() => meter.counter('tidemark_records_in_total')).toThrow(InvariantError)
  })
})
