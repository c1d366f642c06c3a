// Every metric there is: one row a name. Nothing can be counted that has no row, so a dashboard finds here all it may ask
// for. Owns names, kinds, help texts, labels and buckets; knows nothing of who counts or who reads.
//
// Names follow the rules of Prometheus: base units, `_total` for counters, few values a label.

export type MetricKind = 'counter' | 'gauge' | 'histogram'

export interface MetricRow {
  readonly kind: MetricKind
  /** One sentence for a person. */
  readonly help: string
  /** The labels that every series of it carries, all of them. */
  readonly labels: readonly string[]
  /** Upper bounds of the buckets, ascending, in the unit of the name. Histograms only. */
  readonly buckets?: readonly number[]
}

/** Half a millisecond to ten seconds, in seconds. */
const DURATION_BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10] as const

const TABLE = {
  tidemark_build_info: gauge('The version that runs; always 1.', ['version', 'node']),
  tidemark_start_time_seconds: gauge('When the broker started, in seconds since 1970.'),

  tidemark_requests_total: counter('Requests received.', ['protocol', 'api']),
  tidemark_request_duration_seconds: histogram(
    'From a whole request read to its answer handed to the socket; long polls include their wait.',
    ['protocol', 'api'],
  ),
  tidemark_request_errors_total: counter('Requests, or partitions of requests, that were refused.', [
    'protocol',
    'api',
    'error',
  ]),
  tidemark_received_bytes_total: counter('Bytes of record batches appended for producers.', ['topic']),
  tidemark_sent_bytes_total: counter('Bytes of record batches handed to consumers.', ['topic']),
  tidemark_records_in_total: counter('Records appended for producers.', ['topic']),
  tidemark_records_out_total: counter('Records handed to consumers.', ['topic']),

  tidemark_log_append_duration_seconds: histogram('One append to a segment, as far as the page cache.'),
  tidemark_log_fsync_duration_seconds: histogram('One sync of a file to stable storage.'),
  tidemark_log_size_bytes: gauge('Bytes of the segments of a topic on this broker.', ['topic']),
  tidemark_log_segments: gauge('Segments of a topic on this broker.', ['topic']),
  tidemark_log_recovery_seconds: gauge('How long the last start took to open and recover the logs.'),
  tidemark_quarantined_ranges: gauge('Ranges of offsets that were lost to corruption and stand in quarantine.'),
  tidemark_compacted_bytes_total: counter('Bytes of segments that compaction has replaced.'),
  tidemark_compaction_freed_bytes_total: counter('Bytes by which that has made them smaller.'),
  tidemark_compaction_duration_seconds: histogram('One pass of compaction over a log.'),
  tidemark_compaction_failures_total: counter('Passes of compaction that have failed.'),
  tidemark_compaction_failing_logs: gauge('Logs that could not be compacted when it was last tried.'),
  tidemark_compaction_dirty_ratio_max: gauge('Of the dirtiest compacted log, the share that is not compacted yet.'),

  tidemark_partition_leader: gauge('Partitions that this broker leads.'),
  tidemark_partitions: gauge('Partitions that this broker holds.'),
  tidemark_offline_partitions: gauge('Partitions of this broker that serve nobody.'),
  tidemark_read_only_partitions: gauge('Partitions of this broker that take no records after a failed sync.'),
  tidemark_under_replicated_partitions: gauge('Partitions led here with fewer replicas in sync than they have.'),
  tidemark_data_loss_suspected_total: counter('Elections and cuts in which acknowledged records may have been lost.'),
  tidemark_leader_elections_total: counter('Elections that this broker has won.'),
  tidemark_leader_campaigns_total: counter('Times that this broker has tried to lead by its own choice, by reason.', [
    'reason',
  ]),
  tidemark_replication_lag_records: gauge(
    'Records that a follower is behind, in the partition led here that it lags most in.',
    ['follower'],
  ),
  tidemark_replication_lag_seconds: gauge('How long ago a follower last had all of the partition it lags most in.', [
    'follower',
  ]),
  tidemark_isr_shrinks_total: counter('Times that a replica of a partition led here fell out of sync.'),
  tidemark_isr_expands_total: counter('Times that a replica of a partition led here came into sync.'),
  tidemark_under_min_isr_partitions: gauge('Partitions led here with fewer replicas in sync than they must have.'),

  tidemark_group_members: gauge('Members of a group that this broker coordinates.', ['group']),
  tidemark_group_rebalances_total: counter('Rounds of a group that have begun since this broker coordinates it.', [
    'group',
  ]),
  tidemark_group_lag_records: gauge('Records that a group has not worked off, in the partitions whose end is known.', [
    'group',
    'topic',
  ]),
  tidemark_group_lag_seconds: gauge('Age of the oldest record that a group has not worked off.', ['group', 'topic']),

  tidemark_lease_renew_duration_seconds: histogram('One renewal of the session of this broker in Redis.'),
  tidemark_lease_losses_total: counter('How often the session of this broker was over before it could be renewed.'),
  tidemark_redis_up: gauge('1 while Redis answers this broker, 0 otherwise; absent where there is no Redis.'),
  tidemark_redis_errors_total: counter('Commands to Redis that failed or were not answered in time.'),

  tidemark_connections: gauge('Open connections.', ['listener']),
  tidemark_connections_opened_total: counter('Connections accepted.', ['listener']),
  tidemark_connections_rejected_total: counter('Connections turned away or cut off by the broker.', [
    'listener',
    'reason',
  ]),
  tidemark_throttle_seconds_total: counter('Time for which sockets were not read because a limit was reached.', [
    'reason',
  ]),
  tidemark_waiting_fetches: gauge('Fetches that wait for records.'),
  tidemark_inflight_bytes: gauge('Bytes of requests and answers that are held in memory.', ['listener']),

  tidemark_peer_connected: gauge('1 while there is a connection to the other broker, 0 otherwise.', ['peer']),

  tidemark_event_loop_utilization_ratio: gauge('Share of the time since the last scrape that the event loop was busy.'),
  tidemark_disk_free_bytes: gauge('Bytes that may still be written to the file system of the data directory.'),
  tidemark_disk_read_only: gauge('1 while appends are refused because the disk is full, 0 otherwise.'),
  tidemark_metric_series_dropped_total: counter(
    'Series that were not made because their metric has as many as it may.',
  ),
} as const

export const CATALOGUE = TABLE satisfies Record<string, MetricRow>

export type MetricName = keyof typeof CATALOGUE
export type CounterName = NamesOf<'counter'>
export type GaugeName = NamesOf<'gauge'>
export type HistogramName = NamesOf<'histogram'>
type NamesOf<Kind extends MetricKind> = {
  [Name in MetricName]: (typeof CATALOGUE)[Name]['kind'] extends Kind ? Name : never
}[MetricName]

/** The labels of a metric, each with its value. */
export type LabelsOf<Name extends MetricName> = Readonly<Record<(typeof CATALOGUE)[Name]['labels'][number], string>>

function counter<const Label extends string = never>(help: string, labels: readonly Label[] = []) {
  return { kind: 'counter', help, labels } as const
}

function gauge<const Label extends string = never>(help: string, labels: readonly Label[] = []) {
  return { kind: 'gauge', help, labels } as const
}

function histogram<const Label extends string = never>(help: string, labels: readonly Label[] = []) {
  return { kind: 'histogram', help, labels, buckets: DURATION_BUCKETS } as const
}
