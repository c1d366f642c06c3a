// The names by which the most used Kafka dashboards ask, beside our own. Owns those names and what each is computed from;
// knows neither the broker, which hands over a snapshot, nor how samples become text.

/** What the broker knows of the cluster at the moment of a scrape. */
export interface ClusterSnapshot {
  readonly brokers: readonly { readonly id: number; readonly address: string }[]
  readonly topics: readonly TopicSnapshot[]
  /** Those that this broker coordinates. */
  readonly groups?: readonly GroupSnapshot[]
}

export interface GroupSnapshot {
  readonly group: string
  readonly members: number
  readonly lags: readonly {
    readonly topic: string
    readonly partition: number
    readonly offset: number
    /** Undefined where it is not known. */
    readonly records: number | undefined
  }[]
}

export interface TopicSnapshot {
  readonly topic: string
  readonly partitions: readonly PartitionSnapshot[]
}

export interface PartitionSnapshot {
  readonly partition: number
  readonly leader: number | undefined
  /** The broker that should lead when all are well: the first replica. */
  readonly replicas: readonly number[]
  readonly inSyncReplicas: readonly number[]
  readonly logStartOffset: number
  readonly highWatermark: number
}

export interface Sample {
  readonly labels: Readonly<Record<string, string | number>>
  readonly value: number
}

export interface SampledMetric {
  readonly name: string
  readonly help: string
  readonly samples: readonly Sample[]
}

const PARTITION_METRICS: readonly (readonly [
  name: string,
  help: string,
  of: (partition: PartitionSnapshot) => number,
])[] = [
  ['current_offset', 'Offset of the next record that consumers may read', (one) => one.highWatermark],
  ['oldest_offset', 'Oldest offset that is still there', (one) => one.logStartOffset],
  ['in_sync_replica', 'Replicas in sync', (one) => one.inSyncReplicas.length],
  ['leader', 'Broker that leads the partition, -1 for none', (one) => one.leader ?? -1],
  ['leader_is_preferred', '1 if the first replica leads', (one) => bit(one.leader === one.replicas[0])],
  ['replicas', 'Replicas of the partition', (one) => one.replicas.length],
  [
    'under_replicated_partition',
    '1 if fewer replicas are in sync than there are',
    (one) => bit(one.inSyncReplicas.length < one.replicas.length),
  ],
]

/** All metrics of the exporter. All are gauges. */
export function kafkaExporterMetrics(snapshot: ClusterSnapshot): readonly SampledMetric[] {
  const { brokers, topics, groups = [] } = snapshot
  return [
    { name: 'kafka_brokers', help: 'Brokers in the cluster', samples: [{ labels: {}, value: brokers.length }] },
    {
      name: 'kafka_broker_info',
      help: 'A broker and its address; always 1',
      samples: brokers.map(({ id, address }) => ({ labels: { id, address }, value: 1 })),
    },
    {
      name: 'kafka_topic_partitions',
      help: 'Partitions of the topic',
      samples: topics.map(({ topic, partitions }) => ({ labels: { topic }, value: partitions.length })),
    },
    ...PARTITION_METRICS.map(([name, help, of]) => ({
      name: `kafka_topic_partition_${name}`,
      help,
      samples: topics.flatMap(({ topic, partitions }) =>
        partitions.map((one) => ({ labels: { topic, partition: one.partition }, value: of(one) })),
      ),
    })),
    ...groupMetrics(groups),
  ]
}

function groupMetrics(groups: readonly GroupSnapshot[]): readonly SampledMetric[] {
  const offsets = groups.flatMap(({ group, lags }) =>
    lags.map(({ topic, partition, offset, records }) => {
      return { labels: { consumergroup: group, topic, partition }, offset, records }
    }),
  )
  const known = offsets.flatMap(({ labels, records }) => (records === undefined ? [] : [{ labels, value: records }]))
  const sums = new Map<string, { labels: { consumergroup: string; topic: string }; value: number }>()
  for (const { labels, value } of known) {
    const { consumergroup, topic } = labels
    const sum = sums.get(`${consumergroup}\n${topic}`) ?? { labels: { consumergroup, topic }, value: 0 }
    sum.value += value
    sums.set(`${consumergroup}\n${topic}`, sum)
  }
  return [
    {
      name: 'kafka_consumergroup_current_offset',
      help: 'Offset that the group goes on from',
      samples: offsets.map(({ labels, offset }) => ({ labels, value: offset })),
    },
    { name: 'kafka_consumergroup_lag', help: 'Records that the group has not worked off', samples: known },
    {
      name: 'kafka_consumergroup_lag_sum',
      help: 'Records that the group has not worked off in all partitions of the topic',
      samples: [...sums.values()],
    },
    {
      name: 'kafka_consumergroup_members',
      help: 'Members of the group',
      samples: groups.map(({ group, members }) => ({ labels: { consumergroup: group }, value: members })),
    },
  ]
}

function bit(isSo: boolean): number {
  return isSo ? 1 : 0
}
