// Every setting of a broker, one row each. Owns names, types, ranges, defaults and the sentences that explain them; how a
// setting is read and checked is config.ts's.

import { BATCH_BYTES_MAX, PARTITIONS_PER_TOPIC_MAX, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN } from '../shared/limits.ts'

export type OptionType = 'string' | 'integer' | 'boolean' | 'address' | 'listeners' | 'redis-url'

export interface OptionRow {
  /** As a flag, without the dashes in front. */
  readonly name: string
  /** Other names it may be given by, such as Kafka's. */
  readonly aliases?: readonly string[]
  readonly type: OptionType
  /** Absent: the broker decides; `about` says how. */
  readonly default?: string | number | boolean
  readonly min?: number
  readonly max?: number
  /** With bytes, 64MiB or 1g are understood as well; with ms, 500ms, 10s, 5m, 2h or 7d. */
  readonly unit?: 'bytes' | 'ms' | 'count'
  /** The only values of a string that are legal. */
  readonly values?: readonly string[]
  /** Whether it speaks of this process, or should be the same on all brokers of a cluster. */
  readonly scope: 'process' | 'cluster'
  /** Never shown. */
  readonly secret?: boolean
  /** The topic setting that it is the default of. */
  readonly topicConfig?: string
  readonly about: string
}

export const KIB = 1024
export const MIB = 1024 * KIB
export const GIB = 1024 * MIB
export const DAY_MS = 86_400_000

export const OPTION_TABLE = {
  listen: {
    type: 'address',
    default: '127.0.0.1:9092',
    scope: 'process',
    about: 'Where clients connect. Port 0 picks a free one.',
  },
  advertise: {
    type: 'address',
    scope: 'process',
    about: 'What clients are told to connect to, where that is not the listening address.',
  },
  listeners: {
    type: 'listeners',
    scope: 'process',
    about:
      'More places where clients connect, each with a name: NAME://HOST:PORT, with commas between them. The limits of ' +
      'connections and memory hold for each.',
  },
  'advertised-listeners': {
    type: 'listeners',
    scope: 'process',
    about:
      'What clients that came by one of the listeners are told to connect to, of every broker: NAME://HOST:PORT, with ' +
      'commas between them. Without it, where that listener listens.',
  },
  http: {
    type: 'address',
    default: '127.0.0.1:9644',
    scope: 'process',
    about: 'Metrics, health and descriptions; off for none.',
  },
  'data-dir': {
    aliases: ['log.dir', 'log.dirs'],
    type: 'string',
    default: './data',
    scope: 'process',
    about: 'Where everything is kept; memory keeps it in memory, and nothing survives the process.',
  },
  cluster: {
    aliases: ['cluster.name'],
    type: 'string',
    default: 'tidemark',
    scope: 'cluster',
    about: 'Name of the cluster; a data directory belongs to one cluster for good.',
  },
  'broker-id': {
    aliases: ['node.id'],
    type: 'integer',
    default: 1,
    min: 0,
    max: 0x7fff_ffff,
    scope: 'process',
    about: 'Number of this broker in its cluster; a data directory belongs to one broker for good.',
  },
  redis: {
    type: 'redis-url',
    secret: true,
    scope: 'cluster',
    about:
      'Redis by which the brokers of a cluster agree, redis://USER:PASSWORD@HOST:PORT/DATABASE, the same for all of them. ' +
      'Without it this broker is the whole cluster.',
  },
  'session-timeout-ms': {
    aliases: ['broker.session.timeout.ms'],
    type: 'integer',
    default: 6_000,
    min: 1_000,
    max: 300_000,
    unit: 'ms',
    scope: 'cluster',
    about: 'How long the others wait for a broker that says nothing, before its partitions are led by others.',
  },
  'coordinator-outage': {
    type: 'string',
    default: 'serve',
    values: ['serve', 'stop'],
    scope: 'cluster',
    about:
      'While Redis cannot be reached: serve goes on with the leaders there are, stop refuses reads and writes as soon as ' +
      'the session of the broker is over. No record is lost either way.',
  },
  rack: {
    aliases: ['broker.rack'],
    type: 'string',
    scope: 'process',
    about: 'Where the broker stands, as clients are told; the replicas of a partition are spread over racks.',
  },

  'default-partitions': {
    aliases: ['num.partitions'],
    type: 'integer',
    default: 1,
    min: 1,
    max: PARTITIONS_PER_TOPIC_MAX,
    unit: 'count',
    scope: 'cluster',
    about: 'Partitions of a topic that is created without saying how many.',
  },
  'default-replication-factor': {
    type: 'integer',
    default: 3,
    min: 1,
    max: 16,
    unit: 'count',
    scope: 'cluster',
    about: 'Replicas of a topic that is created without saying how many; never more than there are brokers.',
  },
  'auto-create-topics': {
    aliases: ['auto.create.topics.enable'],
    type: 'boolean',
    default: false,
    scope: 'cluster',
    about:
      'Whether a topic is made when a client asks for one that is not there. Off, since a typing error would make one.',
  },
  'partitions-max': {
    type: 'integer',
    default: 4_000,
    min: 1,
    max: 1_000_000,
    unit: 'count',
    scope: 'process',
    about: 'Partitions that this broker holds at most; creating more is refused.',
  },

  'log-retention-ms': {
    type: 'integer',
    default: 7 * DAY_MS,
    min: -1,
    unit: 'ms',
    scope: 'cluster',
    topicConfig: 'retention.ms',
    about: 'How long records are kept; -1 for ever. Default of retention.ms.',
  },
  'log-retention-bytes': {
    type: 'integer',
    default: -1,
    min: -1,
    unit: 'bytes',
    scope: 'cluster',
    topicConfig: 'retention.bytes',
    about: 'How much of each partition is kept; -1 for no bound. Default of retention.bytes.',
  },
  'log-segment-bytes': {
    type: 'integer',
    default: GIB,
    min: SEGMENT_BYTES_MIN,
    max: SEGMENT_BYTES_MAX,
    unit: 'bytes',
    scope: 'cluster',
    topicConfig: 'segment.bytes',
    about: 'Size at which a segment file is closed and the next one begun. Default of segment.bytes.',
  },
  'log-segment-ms': {
    aliases: ['log.roll.ms'],
    type: 'integer',
    default: 7 * DAY_MS,
    min: 1,
    unit: 'ms',
    scope: 'cluster',
    topicConfig: 'segment.ms',
    about: 'Age at which a segment file is closed and the next one begun. Default of segment.ms.',
  },
  'message-max-bytes': {
    type: 'integer',
    default: MIB + 12,
    min: 0,
    max: BATCH_BYTES_MAX,
    unit: 'bytes',
    scope: 'cluster',
    topicConfig: 'max.message.bytes',
    about: 'Largest record batch that is taken. Default of max.message.bytes.',
  },
  'log-message-timestamp-type': {
    type: 'string',
    default: 'CreateTime',
    values: ['CreateTime', 'LogAppendTime'],
    scope: 'cluster',
    topicConfig: 'message.timestamp.type',
    about: 'Whether records keep their producer’s time or get the broker’s. Default of message.timestamp.type.',
  },
  durability: {
    type: 'string',
    default: 'os',
    values: ['os', 'fsync'],
    scope: 'cluster',
    topicConfig: 'durability',
    about: 'What acknowledged means: os, in the page cache; fsync, on stable storage. Default of durability.',
  },

  'flush-interval-ms': {
    aliases: ['log.flush.interval.ms'],
    type: 'integer',
    default: 1_000,
    min: 10,
    max: 3_600_000,
    unit: 'ms',
    scope: 'process',
    about: 'Records of topics with durability os are on stable storage after this time at the latest.',
  },
  'retention-check-interval-ms': {
    aliases: ['log.retention.check.interval.ms'],
    type: 'integer',
    default: 300_000,
    min: 10,
    max: DAY_MS,
    unit: 'ms',
    scope: 'process',
    about: 'How often it is looked for segments that may go.',
  },
  'scrub-interval-ms': {
    type: 'integer',
    default: 7 * DAY_MS,
    min: 0,
    max: 365 * DAY_MS,
    unit: 'ms',
    scope: 'process',
    about: 'How often all records on the disk are read, slowly, in search of some that have gone bad; 0 for never.',
  },
  'compaction-interval-ms': {
    aliases: ['log.cleaner.backoff.ms'],
    type: 'integer',
    default: 15_000,
    min: 10,
    max: DAY_MS,
    unit: 'ms',
    scope: 'process',
    about: 'How often it is looked for logs that are to be compacted.',
  },
  'compaction-memory-bytes': {
    aliases: ['log.cleaner.dedupe.buffer.size'],
    type: 'integer',
    default: 128 * MIB,
    min: MIB,
    max: 2 * GIB,
    unit: 'bytes',
    scope: 'process',
    about:
      'Memory for the keys of the log that is being compacted, about 24 bytes each; more keys take several passes.',
  },
  'compaction-bytes-per-second': {
    aliases: ['log.cleaner.io.max.bytes.per.second'],
    type: 'integer',
    default: 0,
    min: 0,
    unit: 'bytes',
    scope: 'process',
    about: 'How much compaction reads and writes a second, at most; 0 for no limit.',
  },
  'disk-reserve-bytes': {
    type: 'integer',
    min: 0,
    unit: 'bytes',
    scope: 'process',
    about:
      'Below this much free space nothing is appended, until there is more again; reads go on. ' +
      'Without it, 1 GiB or a twentieth of the file system, whichever is less.',
  },
  'hot-tail-bytes': {
    type: 'integer',
    default: 64 * MIB,
    min: 0,
    unit: 'bytes',
    scope: 'process',
    about: 'Memory for the newest records of all partitions, from which consumers that keep up are served.',
  },
  'file-descriptors-max': {
    type: 'integer',
    default: 4_096,
    min: 16,
    max: 10_000_000,
    unit: 'count',
    scope: 'process',
    about: 'Segment files that are kept open at the same time, at most.',
  },
  'producer-id-expiration-ms': {
    type: 'integer',
    default: DAY_MS,
    min: 1_000,
    unit: 'ms',
    scope: 'process',
    about: 'How long an idempotent producer that says nothing is remembered.',
  },

  'connections-max': {
    aliases: ['max.connections'],
    type: 'integer',
    default: 10_000,
    min: 1,
    max: 1_000_000,
    unit: 'count',
    scope: 'process',
    about: 'Connections that are held at the same time; the next one is closed at once.',
  },
  'connection-idle-ms': {
    aliases: ['connections.max.idle.ms'],
    type: 'integer',
    default: 600_000,
    min: 1_000,
    unit: 'ms',
    scope: 'process',
    about: 'A connection on which nothing is asked for this long is closed.',
  },
  'connections-per-address-max': {
    aliases: ['max.connections.per.ip'],
    type: 'integer',
    default: 10_000,
    min: 1,
    max: 1_000_000,
    unit: 'count',
    scope: 'process',
    about: 'Of them from one address, at most.',
  },
  'in-flight-max': {
    type: 'integer',
    default: 1_000,
    min: 1,
    max: 10_000,
    unit: 'count',
    scope: 'process',
    about: 'Requests of one connection that may wait for their answers; beyond it the broker stops reading.',
  },
  'request-memory-bytes': {
    aliases: ['queued.max.request.bytes'],
    type: 'integer',
    default: 256 * MIB,
    min: MIB,
    unit: 'bytes',
    scope: 'process',
    about: 'Memory for requests that are being read or worked on; beyond it the broker stops reading.',
  },
  'fetch-max-bytes': {
    type: 'integer',
    default: 16 * MIB,
    min: KIB,
    max: 64 * MIB - 64 * KIB,
    unit: 'bytes',
    scope: 'process',
    about: 'Records in one fetch response, at most, whatever the client asks for; one batch always fits.',
  },
  'delayed-operations-max': {
    type: 'integer',
    default: 100_000,
    min: 1,
    max: 10_000_000,
    unit: 'count',
    scope: 'process',
    about: 'Fetches and produces that may wait in the broker at the same time; the next one is refused.',
  },
  'offsets-topic-num-partitions': {
    type: 'integer',
    default: 16,
    min: 1,
    max: 1_000,
    unit: 'count',
    scope: 'cluster',
    about: 'Partitions of the topic that consumer groups are kept in, when it is made; never changed afterwards.',
  },
  'offsets-topic-replication-factor': {
    type: 'integer',
    default: 3,
    min: 1,
    max: 100,
    unit: 'count',
    scope: 'cluster',
    about:
      'Replicas of the topic that consumer groups are kept in, when it is made; as many as brokers if they are fewer.',
  },
  'offsets-retention-minutes': {
    type: 'integer',
    default: 10_080,
    min: 1,
    unit: 'count',
    scope: 'cluster',
    about: 'How long a group without members keeps its committed offsets, in minutes.',
  },
  'offsets-retention-check-interval-ms': {
    type: 'integer',
    default: 600_000,
    min: 10,
    unit: 'ms',
    scope: 'process',
    about: 'How often committed offsets are looked at that may have expired.',
  },
  'offsets-commit-timeout-ms': {
    type: 'integer',
    default: 5_000,
    min: 1,
    unit: 'ms',
    scope: 'process',
    about: 'How long a commit of offsets waits for the replicas.',
  },
  'group-initial-rebalance-delay-ms': {
    type: 'integer',
    default: 0,
    min: 0,
    max: 3_600_000,
    unit: 'ms',
    scope: 'process',
    about: 'How long the first round of an empty group waits for more members than the first.',
  },
  'group-min-session-timeout-ms': {
    type: 'integer',
    default: 1_000,
    min: 10,
    unit: 'ms',
    scope: 'process',
    about: 'The shortest session timeout that a member of a group may ask for.',
  },
  'group-max-session-timeout-ms': {
    type: 'integer',
    default: 1_800_000,
    min: 10,
    max: 2_147_483_647,
    unit: 'ms',
    scope: 'process',
    about: 'The longest session timeout that a member of a group may ask for.',
  },
  'group-max-size': {
    type: 'integer',
    default: 1_000,
    min: 1,
    max: 10_000,
    unit: 'count',
    scope: 'process',
    about: 'Members of one group, at most; the next one is refused.',
  },
  'groups-max': {
    type: 'integer',
    default: 100_000,
    min: 1,
    max: 10_000_000,
    unit: 'count',
    scope: 'process',
    about: 'Groups that the broker coordinates at the same time, at most.',
  },
  'stop-timeout-ms': {
    type: 'integer',
    default: 30_000,
    min: 0,
    max: 3_600_000,
    unit: 'ms',
    scope: 'process',
    about: 'How long a stop waits for requests that are being answered.',
  },

  'log-level': {
    type: 'string',
    default: 'info',
    values: ['debug', 'info', 'warn', 'error', 'silent'],
    scope: 'process',
    about: 'What is written to the log.',
  },
  'log-format': {
    type: 'string',
    default: 'json',
    values: ['json', 'pretty'],
    scope: 'process',
    about: 'How a line of the log looks.',
  },
  'metrics-per-topic': {
    type: 'boolean',
    default: true,
    scope: 'process',
    about: 'Whether metrics tell topics and partitions apart.',
  },
} as const satisfies Record<string, Omit<OptionRow, 'name'>>
