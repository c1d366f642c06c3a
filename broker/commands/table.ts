// The commands of `tidemark`, one row each: help, completion, checks and dispatch come from here. Loads none of them.

import type { CommandRow, FlagRow, PositionalRow } from './command.ts'
import { MOVES_MAX } from '../../shared/protocol/operations.ts'
import { defaultText, OPTIONS } from '../config.ts'

/** Understood by every command. */
export const GLOBAL_FLAGS: readonly FlagRow[] = [
  { name: 'verbose', alias: 'v', type: 'switch', about: 'Show causes and stacks of errors' },
  { name: 'quiet', alias: 'q', type: 'switch', about: 'Say nothing but data and errors' },
]

const CLIENT_FLAGS: readonly FlagRow[] = [
  {
    name: 'brokers',
    alias: 'b',
    type: 'text',
    default: '127.0.0.1:9092',
    variable: 'TIDEMARK_BROKERS',
    about: 'HOST:PORT of one broker or more, with commas',
  },
  { name: 'timeout', type: 'integer', default: 10_000, min: 1, about: 'Milliseconds that a request may take' },
]

const FORMAT_FLAG: FlagRow = {
  name: 'format',
  type: 'text',
  default: 'table',
  choices: ['table', 'json', 'yaml'],
  variable: 'TIDEMARK_FORMAT',
  about: 'How results are printed',
}

const ASKING: readonly FlagRow[] = [...CLIENT_FLAGS, FORMAT_FLAG]

const TOPIC: PositionalRow = { name: 'topic', arity: 'one', about: 'Name of the topic' }
const TOPICS: PositionalRow = { name: 'topics', arity: 'many', about: 'Names of topics' }
const GROUP: PositionalRow = { name: 'group', arity: 'one', about: 'Name of the group' }
const BROKER: PositionalRow = { name: 'broker', arity: 'one', about: 'Number of the broker' }
const DIRECTORY: PositionalRow = {
  name: 'path',
  arity: 'one',
  about: 'Data directory, directory of a partition, or a segment file',
}

const COMPRESSION: FlagRow = {
  name: 'compression',
  alias: 'z',
  type: 'text',
  default: 'none',
  choices: ['none', 'gzip', 'snappy', 'lz4', 'zstd'],
  about: 'How batches are compressed',
}
const ACKS: FlagRow = {
  name: 'acks',
  type: 'text',
  default: 'all',
  choices: ['0', '1', 'all'],
  about: 'Who must have a record before it counts as sent',
}
const CONFIG_PAIRS: FlagRow = { name: 'config', alias: 'c', type: 'list', about: 'Setting of the topic, KEY=VALUE' }
const DRY_RUN: FlagRow = { name: 'dry-run', type: 'switch', about: 'Only check' }

const START_FLAGS: readonly FlagRow[] = [
  { name: 'config', type: 'text', variable: 'TIDEMARK_CONFIG', about: 'File of settings: YAML, JSON or .properties' },
  { name: 'set', type: 'list', about: 'Any setting, KEY=VALUE' },
  ...OPTIONS.map((row): FlagRow => {
    const { name, type, about } = row
    const shown = defaultText(row)
    const flag: FlagRow = { name, type: type === 'boolean' ? 'switch' : 'text', about }
    return shown === undefined ? flag : Object.assign(flag, { shownDefault: shown })
  }),
]

const BENCH_FLAGS: readonly FlagRow[] = [
  ...CLIENT_FLAGS,
  { name: 'topic', type: 'text', about: 'An existing topic; by default one is made and removed afterwards' },
  {
    name: 'partitions',
    alias: 'p',
    type: 'integer',
    default: 1,
    min: 1,
    about: 'Partitions of the topic that is made',
  },
  { name: 'records', type: 'integer', unit: 'count', min: 1, about: 'How many records (default 100k; 10k for e2e)' },
  { name: 'size', type: 'integer', unit: 'bytes', default: 1024, min: 1, about: 'Bytes of a record' },
  { name: 'batch-bytes', type: 'integer', unit: 'bytes', default: 262_144, min: 1, about: 'Bytes of a batch' },
  { name: 'linger', type: 'integer', min: 0, about: 'Milliseconds a batch waits to be filled (default 5; 0 for e2e)' },
  { name: 'rate', type: 'integer', unit: 'count', min: 1, about: 'Records a second; by default as many as go' },
  { ...ACKS, default: 'all' },
  COMPRESSION,
  { name: 'json', type: 'switch', about: 'Print one JSON object' },
]

const BENCH_E2E_FLAGS: readonly FlagRow[] = [
  ...BENCH_FLAGS,
  {
    name: 'warmup',
    type: 'integer',
    unit: 'count',
    min: 0,
    about: 'Records sent before, which do not count (default: as many as two seconds take)',
  },
]

const MIRROR_FLAGS: readonly FlagRow[] = [
  {
    name: 'from',
    type: 'text',
    about: 'HOST:PORT of brokers that are read, with commas; they speak the protocol of Kafka',
  },
  { name: 'to', type: 'text', about: 'HOST:PORT of brokers that are written to, with commas' },
  { name: 'topics', alias: 't', type: 'list', about: 'Names with commas, * for anything; all if not given' },
  { name: 'groups', alias: 'g', type: 'switch', about: 'Also commit what groups have committed in these topics' },
  { name: 'parallel', type: 'integer', default: 4, min: 1, max: 64, about: 'Partitions at a time' },
  { name: 'rate', type: 'integer', min: 1, unit: 'bytes', about: 'Bytes a second that are copied, at most' },
  { name: 'replication', type: 'integer', min: 1, about: 'Replicas of topics that are created; else as at the source' },
  {
    name: 'verify',
    type: 'text',
    default: 'all',
    choices: ['all', 'new', 'none'],
    about: 'What is compared at both sides in the end',
  },
  { name: 'timeout', type: 'integer', default: 30_000, min: 1, about: 'Milliseconds that a request may take' },
  { name: 'patience', type: 'integer', default: 120_000, min: 1, about: 'Milliseconds without getting on, at most' },
  FORMAT_FLAG,
  { name: 'json', type: 'switch', about: 'The same as --format json' },
  DRY_RUN,
]

export const COMMANDS: readonly CommandRow[] = [
  {
    path: ['start'],
    about: 'Run a broker',
    positionals: [],
    flags: START_FLAGS,
    examples: [['tidemark start --data-dir /var/lib/tidemark --listen 0.0.0.0:9092', 'Serve the network']],
    load: async () => (await import('./start.ts')).start,
  },
  {
    path: ['topic', 'create'],
    about: 'Create topics',
    positionals: [TOPICS],
    flags: [
      ...ASKING,
      { name: 'partitions', alias: 'p', type: 'integer', min: 1, about: 'Number of partitions' },
      { name: 'replication', alias: 'r', type: 'integer', min: 1, about: 'Number of replicas' },
      CONFIG_PAIRS,
      { name: 'if-not-exists', type: 'switch', about: 'Being there already is no failure' },
      DRY_RUN,
    ],
    examples: [['tidemark topic create orders -p 6 -c retention.ms=86400000', 'Six partitions, kept for a day']],
    load: async () => (await import('./topic.ts')).createTopics,
  },
  {
    path: ['topic', 'list'],
    about: 'List topics',
    positionals: [],
    flags: ASKING,
    load: async () => (await import('./topic.ts')).listTopics,
  },
  {
    path: ['topic', 'describe'],
    about: 'Show the settings of topics, or their partitions',
    positionals: [TOPICS],
    flags: [...ASKING, { name: 'partitions', alias: 'p', type: 'switch', about: 'Show every partition' }],
    load: async () => (await import('./topic.ts')).describeTopics,
  },
  {
    path: ['topic', 'alter'],
    about: 'Change settings of a topic',
    positionals: [TOPIC],
    flags: [
      ...ASKING,
      CONFIG_PAIRS,
      { name: 'reset', type: 'list', about: 'Setting that goes back to its default' },
      DRY_RUN,
    ],
    load: async () => (await import('./topic.ts')).alterTopic,
  },
  {
    path: ['topic', 'delete'],
    about: 'Delete topics with all their records',
    positionals: [TOPICS],
    flags: [...ASKING, { name: 'if-exists', type: 'switch', about: 'Not being there is no failure' }],
    load: async () => (await import('./topic.ts')).deleteTopics,
  },
  {
    path: ['topic', 'add-partitions'],
    about: 'Give a topic more partitions; keys may move to other ones',
    positionals: [TOPIC],
    flags: [
      ...ASKING,
      { name: 'partitions', alias: 'p', type: 'integer', min: 1, about: 'Number of partitions afterwards' },
      DRY_RUN,
    ],
    load: async () => (await import('./topic.ts')).addPartitions,
  },
  {
    path: ['topic', 'trim'],
    about: 'Give up the records below an offset',
    positionals: [TOPIC],
    flags: [
      ...ASKING,
      { name: 'partition', alias: 'p', type: 'integer', about: 'Only this partition' },
      { name: 'before', alias: 'o', type: 'text', about: 'Offset of the first record that is kept, or end' },
    ],
    load: async () => (await import('./topic.ts')).trimTopic,
  },
  {
    path: ['topic', 'recover'],
    about:
      'Have one replica lead although others, which may know more, are gone for good; first only say what would be lost',
    positionals: [TOPIC],
    flags: [
      ...ASKING,
      { name: 'partition', alias: 'p', type: 'integer', about: 'Number of the partition' },
      {
        name: 'broker',
        type: 'integer',
        about: 'The broker with the replica; all that are there, to look at, if left out',
      },
      { name: 'accept-data-loss', type: 'switch', about: 'Do it' },
    ],
    examples: [
      ['tidemark topic recover orders -p 0', 'What each replica that is there still has'],
      ['tidemark topic recover orders -p 0 --broker 2 --accept-data-loss', 'Go on with what broker 2 has'],
    ],
    load: async () => (await import('./recover.ts')).recoverPartition,
  },
  {
    path: ['produce'],
    about: 'Send one record a line, from files or from the input stream',
    positionals: [TOPIC, { name: 'files', arity: 'many', about: 'Files; - is the input stream' }],
    flags: [
      ...CLIENT_FLAGS,
      { name: 'key', alias: 'k', type: 'text', about: 'Key of all records' },
      { name: 'key-separator', alias: 'K', type: 'text', about: 'What stands between key and value in a line' },
      { name: 'header', alias: 'H', type: 'list', about: 'Header of all records, NAME=VALUE' },
      { name: 'partition', alias: 'p', type: 'integer', about: 'Partition of all records' },
      COMPRESSION,
      ACKS,
      { name: 'delimiter', alias: 'D', type: 'text', default: '\\n', about: 'What stands between records' },
      { name: 'batch-bytes', type: 'integer', unit: 'bytes', default: 262_144, min: 1, about: 'Bytes of a batch' },
    ],
    examples: [['tidemark produce orders -K : < orders.txt', 'Lines of key:value']],
    load: async () => (await import('./produce.ts')).produce,
  },
  {
    path: ['consume'],
    about: 'Print the records of a topic',
    positionals: [TOPIC],
    flags: [
      ...CLIENT_FLAGS,
      {
        name: 'offset',
        alias: 'o',
        type: 'list',
        about:
          'From where: start (default), end, N or the nearest that a partition has, -N, @TIMESTAMP, s@TIMESTAMP; up to where: e@TIMESTAMP',
      },
      { name: 'partition', alias: 'p', type: 'list', about: 'Only this partition' },
      { name: 'count', alias: 'n', type: 'integer', unit: 'count', min: 0, about: 'Stop after this many records' },
      { name: 'exit', alias: 'e', type: 'switch', about: 'Stop at the end instead of waiting for more' },
      {
        name: 'format',
        alias: 'f',
        type: 'text',
        about: "How a record is printed: a text with kcat's letters (see the examples), or json",
      },
      { name: 'json', alias: 'J', type: 'switch', about: 'One JSON object a line' },
      {
        name: 'group',
        alias: 'g',
        type: 'text',
        about: 'As a member of this group, which goes on where it has committed',
      },
    ],
    examples: [
      ['tidemark consume orders -o -10 -e', 'The last ten records'],
      ['tidemark consume orders -g billing', 'A share of what the group billing has not seen'],
      ["tidemark consume orders -f '%t/%p@%o %T %k=%s\\n'", 'topic, partition, offset, time, key, value'],
    ],
    load: async () => (await import('./consume.ts')).consume,
  },
  {
    path: ['group', 'list'],
    about: 'List consumer groups',
    positionals: [],
    flags: ASKING,
    load: async () => (await import('./group.ts')).listGroups,
  },
  {
    path: ['group', 'describe'],
    about: 'Show the members of a group, what each has, and how far behind it is',
    positionals: [GROUP],
    flags: ASKING,
    load: async () => (await import('./group.ts')).describeGroup,
  },
  {
    path: ['group', 'seek'],
    about: 'Have a group without members go on elsewhere; first only show what would be done',
    positionals: [GROUP],
    flags: [
      ...ASKING,
      {
        name: 'topic',
        type: 'list',
        about: 'Only this topic; all that the group has committed something of if left out',
      },
      { name: 'partition', alias: 'p', type: 'list', about: 'Only this partition' },
      { name: 'to', type: 'text', about: 'Where to: start, end, N or @TIMESTAMP' },
      { name: 'shift', type: 'text', about: 'So many records on (N), or back (-N), from where it is' },
      { name: 'execute', type: 'switch', about: 'Do it' },
    ],
    examples: [
      ['tidemark group seek billing --to @2026-11-21T08:00:00Z', 'What would be committed'],
      ['tidemark group seek billing --topic orders --shift=-100 --execute', 'Again the last hundred of each partition'],
    ],
    load: async () => (await import('./group.ts')).seekGroup,
  },
  {
    path: ['group', 'delete'],
    about: 'Forget groups without members, or what they have committed in a topic',
    positionals: [{ name: 'groups', arity: 'many', about: 'Names of groups' }],
    flags: [
      ...ASKING,
      { name: 'topic', type: 'text', about: 'Only the offsets of this topic' },
      { name: 'partition', alias: 'p', type: 'list', about: 'Only the offset of this partition' },
    ],
    load: async () => (await import('./group.ts')).deleteGroups,
  },
  {
    path: ['offsets'],
    about: 'Show where the partitions of a topic begin and end',
    positionals: [TOPIC],
    flags: [
      ...ASKING,
      { name: 'at', type: 'text', about: 'Also the first offset that is not older: milliseconds or an ISO date' },
    ],
    load: async () => (await import('./offsets.ts')).offsets,
  },
  {
    path: ['cluster', 'info'],
    about: 'Show the brokers',
    positionals: [],
    flags: ASKING,
    load: async () => (await import('./cluster.ts')).clusterInfo,
  },
  {
    path: ['cluster', 'health'],
    about: 'Say whether all is well, and what is not; exit 1 if something is not',
    positionals: [],
    flags: [
      ...ASKING,
      { name: 'watch', alias: 'w', type: 'switch', about: 'Go on and print every change' },
      { name: 'exit-when-healthy', alias: 'e', type: 'switch', about: 'Wait until all is well' },
    ],
    load: async () => (await import('./cluster.ts')).clusterHealth,
  },
  {
    path: ['broker', 'list'],
    about: 'Show the brokers, as cluster info does',
    positionals: [],
    flags: ASKING,
    load: async () => (await import('./cluster.ts')).clusterInfo,
  },
  {
    path: ['broker', 'drain'],
    about: 'Have a broker lead nothing that another can, and get no more replicas, until --undo',
    positionals: [BROKER],
    flags: [
      ...ASKING,
      { name: 'undo', type: 'switch', about: 'Let it lead again, and get replicas' },
      { name: 'wait', alias: 'w', type: 'switch', about: 'Wait until it leads nothing' },
    ],
    examples: [['tidemark broker drain 3 --wait', 'Before broker 3 is stopped for a while']],
    load: async () => (await import('./broker.ts')).drainBroker,
  },
  {
    path: ['broker', 'move'],
    about: 'Give a partition other replicas; its records are copied first',
    positionals: [],
    flags: [
      ...ASKING,
      { name: 'topic', type: 'text', about: 'Name of the topic' },
      { name: 'partition', alias: 'p', type: 'integer', about: 'Number of the partition' },
      { name: 'to', type: 'text', about: 'Numbers of the brokers, with commas, the preferred leader first' },
      { name: 'cancel', type: 'switch', about: 'Call off the move that is under way' },
      { name: 'wait', alias: 'w', type: 'switch', about: 'Wait until the partition is there' },
      DRY_RUN,
    ],
    examples: [
      ['tidemark broker move --topic orders --partition 0 --to 1,2,4 --wait', 'Broker 4 in place of broker 3'],
    ],
    load: async () => (await import('./broker.ts')).movePartition,
  },
  {
    path: ['broker', 'balance'],
    about: 'Even out how many replicas the brokers have, and how often each is the preferred leader',
    positionals: [],
    flags: [
      ...ASKING,
      { name: 'max', type: 'integer', default: 100, min: 1, max: MOVES_MAX, about: 'Partitions moved at a time' },
      { name: 'wait', alias: 'w', type: 'switch', about: 'Go on until the brokers are even' },
      DRY_RUN,
    ],
    examples: [['tidemark broker balance --dry-run', 'What a broker that has come in would be given']],
    load: async () => (await import('./broker.ts')).balanceBrokers,
  },
  {
    path: ['broker', 'readmit'],
    about: 'Have the replicas of a broker count again that has come with another data directory',
    positionals: [BROKER],
    flags: [...ASKING, { name: 'wait', alias: 'w', type: 'switch', about: 'Wait until they do' }],
    examples: [['tidemark broker readmit 2 --wait', 'Broker 2 has got a new disk']],
    load: async () => (await import('./broker.ts')).readmitBroker,
  },
  {
    path: ['broker', 'decommission'],
    about: 'Take everything away from a broker, for good; it may be gone already',
    positionals: [BROKER],
    flags: [
      ...ASKING,
      { name: 'wait', alias: 'w', type: 'switch', about: 'Wait until it holds nothing and may be stopped' },
      DRY_RUN,
    ],
    load: async () => (await import('./broker.ts')).decommissionBroker,
  },
  {
    path: ['mirror'],
    about:
      'Copy topics from Kafka or tidemark to tidemark or Kafka, and compare both; goes on where it was interrupted',
    positionals: [],
    flags: MIRROR_FLAGS,
    examples: [
      ['tidemark mirror --from kafka:9092 --to tidemark:9092 --dry-run', 'What there is to copy'],
      ['tidemark mirror --from kafka:9092 --to tidemark:9092 --groups', 'All topics, and where groups go on'],
      ["tidemark mirror --from kafka:9092 --to tidemark:9092 --topics 'orders.*'", 'Those whose names begin so'],
    ],
    load: async () => (await import('./mirror.ts')).mirrorTopics,
  },
  {
    path: ['log', 'dump'],
    about: 'Print what stands in segment files, without a broker; changes nothing',
    positionals: [DIRECTORY],
    flags: [
      FORMAT_FLAG,
      { name: 'verify', type: 'switch', about: 'Compare checksums' },
      { name: 'deep', type: 'switch', about: 'Read every record as well' },
    ],
    load: async () => (await import('./log.ts')).logDump,
  },
  {
    path: ['log', 'verify'],
    about: 'Check segment files, without a broker; changes nothing; exit 1 if one is damaged',
    positionals: [DIRECTORY],
    flags: [FORMAT_FLAG, { name: 'deep', type: 'switch', about: 'Read every record as well' }],
    load: async () => (await import('./log.ts')).logVerify,
  },
  {
    path: ['bench', 'produce'],
    about: 'Measure sending',
    positionals: [],
    flags: BENCH_FLAGS,
    load: async () => (await import('./bench.ts')).benchProduce,
  },
  {
    path: ['bench', 'consume'],
    about: 'Measure reading what is there',
    positionals: [],
    flags: BENCH_FLAGS,
    load: async () => (await import('./bench.ts')).benchConsume,
  },
  {
    path: ['bench', 'e2e'],
    about: 'Measure the time from sending to receiving',
    positionals: [],
    flags: BENCH_E2E_FLAGS,
    load: async () => (await import('./bench.ts')).benchEndToEnd,
  },
  {
    path: ['doctor'],
    about: 'Look at what a broker needs on this machine',
    positionals: [],
    flags: [
      FORMAT_FLAG,
      { name: 'data-dir', type: 'text', default: './data', variable: 'TIDEMARK_DATA_DIR', about: 'Data directory' },
      { name: 'listen', type: 'text', default: '127.0.0.1:9092', variable: 'TIDEMARK_LISTEN', about: 'Data port' },
      { name: 'http', type: 'text', default: '127.0.0.1:9644', variable: 'TIDEMARK_HTTP', about: 'Admin port' },
    ],
    load: async () => (await import('./doctor.ts')).doctor,
  },
]

/** What the first word of a command of two words stands for. */
export const GROUPS: Readonly<Record<string, string>> = {
  topic: 'Create, show, change and delete topics',
  group: 'Consumer groups: who has what, how far behind, and where they go on',
  cluster: 'The brokers and their health',
  broker: 'Which brokers lead and hold what',
  log: 'Segment files, without a broker',
  bench: 'Measure a running broker',
}
