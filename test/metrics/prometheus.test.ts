import { describe, expect, it } from 'vitest'
import { CATALOGUE } from '../../broker/metrics/catalogue.ts'
import type { ClusterSnapshot } from '../../broker/metrics/kafka-exporter.ts'
import { SlotMeter } from '../../broker/metrics/meter.ts'
import { createExposition } from '../../broker/metrics/prometheus.ts'

const SNAPSHOT: ClusterSnapshot = {
  brokers: [{ id: 7, address: '127.0.0.1:9092' }],
  topics: [
    {
      topic: 'orders',
      partitions: [
        { partition: 0, leader: 7, replicas: [7], inSyncReplicas: [7], logStartOffset: 3, highWatermark: 12 },
        { partition: 1, leader: undefined, replicas: [7, 8], inSyncReplicas: [8], logStartOffset: 0, highWatermark: 0 },
      ],
    },
  ],
}

async function scrape(meter: SlotMeter, snapshot: () => ClusterSnapshot = () => SNAPSHOT): Promise<string[]> {
  const exposition = createExposition({ meter, snapshot, withProcessMetrics: false })
  return (await exposition.render()).text.split('\n')
}

describe('a scrape', () => {
  it('shows counters, gauges and cumulated histograms as they stand', async () => {
    const meter = new SlotMeter()
    meter.counter('tidemark_records_in_total', { topic: 'a"b\\c' }).add(4)
    meter.gauge('tidemark_disk_free_bytes', {}, () => 1e12)
    const syncs = meter.histogram('tidemark_log_fsync_duration_seconds')
    syncs.observe(0.0004)
    syncs.observe(0.3)
    syncs.observe(60)
    expect(await scrape(meter)).toEqual(
      expect.arrayContaining([
        '# TYPE tidemark_records_in_total counter',
        'tidemark_records_in_total{topic="a\\"b\\\\c"} 4',
        'tidemark_disk_free_bytes 1000000000000',
        '# TYPE tidemark_log_fsync_duration_seconds histogram',
        'tidemark_log_fsync_duration_seconds_bucket{le="0.0005"} 1',
        'tidemark_log_fsync_duration_seconds_bucket{le="0.25"} 1',
        'tidemark_log_fsync_duration_seconds_bucket{le="0.5"} 2',
        'tidemark_log_fsync_duration_seconds_bucket{le="10"} 2',
        'tidemark_log_fsync_duration_seconds_bucket{le="+Inf"} 3',
        'tidemark_log_fsync_duration_seconds_sum 60.3004',
        'tidemark_log_fsync_duration_seconds_count 3',
      ]),
    )
  })

  it('names a metric and explains it even while nothing has been counted', async () => {
    const lines = await scrape(new SlotMeter())
    for (const [name, row] of Object.entries(CATALOGUE)) expect(lines).toContain(`# TYPE ${name} ${row.kind}`)
  })

  it('answers dashboards that were made for kafka_exporter', async () => {
    expect(await scrape(new SlotMeter())).toEqual(
      expect.arrayContaining([
        'kafka_brokers 1',
        'kafka_broker_info{id="7",address="127.0.0.1:9092"} 1',
        'kafka_topic_partitions{topic="orders"} 2',
        'kafka_topic_partition_current_offset{topic="orders",partition="0"} 12',
        'kafka_topic_partition_oldest_offset{topic="orders",partition="0"} 3',
        'kafka_topic_partition_in_sync_replica{topic="orders",partition="1"} 1',
        'kafka_topic_partition_leader{topic="orders",partition="0"} 7',
        'kafka_topic_partition_leader{topic="orders",partition="1"} -1',
        'kafka_topic_partition_leader_is_preferred{topic="orders",partition="0"} 1',
        'kafka_topic_partition_leader_is_preferred{topic="orders",partition="1"} 0',
        'kafka_topic_partition_replicas{topic="orders",partition="1"} 2',
        'kafka_topic_partition_under_replicated_partition{topic="orders",partition="0"} 0',
        'kafka_topic_partition_under_replicated_partition{topic="orders",partition="1"} 1',
      ]),
    )
  })

  it('takes one snapshot each time, and shares it among those who ask at once', async () => {
    let snapshots = 0
    const snapshot = () => {
      snapshots++
      return SNAPSHOT
    }
    const exposition = createExposition({ meter: new SlotMeter(), snapshot, withProcessMetrics: false })
    const [one, other] = await Promise.all([exposition.render(), exposition.render()])
    expect(one).toBe(other)
    expect(snapshots).toBe(1)
    await exposition.render()
    expect(snapshots).toBe(2)
  })

  it('adds what the process and the runtime say of themselves', async () => {
    const exposition = createExposition({ meter: new SlotMeter(), snapshot: () => SNAPSHOT })
    const { text, contentType } = await exposition.render()
    expect(text).toMatch(/^process_resident_memory_bytes \d+$/m)
    expect(text).toMatch(/^nodejs_eventloop_lag_seconds /m)
    expect(contentType).toMatch(/^text\/plain/)
  })
})
