// Everything that can be refused or fail, one row an error code. A row's number is what travels: Kafka's own where Kafka
// has the error, from 1000 on where it is ours. Not retriable unless the row says so.

export interface ErrorRow {
  /** The number on both wires; Kafka's error codes below 1000, ours from 1000 on. */
  readonly number: number
  /** The number a Kafka client is told; the same as `number` below 1000. */
  readonly kafkaCode: number
  /** Whether the same request may succeed later without anybody changing it. */
  readonly retriable: boolean
  /** One sentence for a person. */
  readonly about: string
}

function kafka(number: number, about: string, options?: { retriable: true }): ErrorRow {
  return { number, kafkaCode: number, retriable: options?.retriable ?? false, about }
}

function own(number: number, kafkaCode: number, about: string, options?: { retriable: true }): ErrorRow {
  return { number, kafkaCode, retriable: options?.retriable ?? false, about }
}

const RETRIABLE = { retriable: true } as const

export const ERRORS = {
  UNKNOWN_SERVER_ERROR: kafka(-1, 'The broker failed in a way it did not expect; its log has the details.'),
  OFFSET_OUT_OF_RANGE: kafka(1, 'The offset is below the log start offset or past the end of the partition.'),
  CORRUPT_MESSAGE: kafka(2, 'A record batch failed its checksum or is malformed.'),
  UNKNOWN_TOPIC_OR_PARTITION: kafka(3, 'The broker has no such topic or partition.', RETRIABLE),
  LEADER_NOT_AVAILABLE: kafka(5, 'The partition has no leader at the moment.', RETRIABLE),
  NOT_LEADER_OR_FOLLOWER: kafka(6, 'This broker does not lead the partition.', RETRIABLE),
  REQUEST_TIMED_OUT: kafka(7, 'The request ran out of time; a produce may still have been applied.', RETRIABLE),
  MESSAGE_TOO_LARGE: kafka(10, 'The record batch is larger than max.message.bytes.'),
  OFFSET_METADATA_TOO_LARGE: kafka(12, 'The text that goes with a committed offset is too long.'),
  COORDINATOR_LOAD_IN_PROGRESS: kafka(14, 'The coordinator is still loading its state.', RETRIABLE),
  COORDINATOR_NOT_AVAILABLE: kafka(15, 'No coordinator is available at the moment.', RETRIABLE),
  NOT_COORDINATOR: kafka(16, 'This broker is not the coordinator asked for.', RETRIABLE),
  INVALID_TOPIC_EXCEPTION: kafka(17, 'The topic name is not legal.'),
  RECORD_LIST_TOO_LARGE: kafka(18, 'The record batch is larger than a segment.'),
  NOT_ENOUGH_REPLICAS: kafka(19, 'Fewer replicas are in sync than min.insync.replicas asks for.', RETRIABLE),
  NOT_ENOUGH_REPLICAS_AFTER_APPEND: kafka(20, 'The records were appended, but too few replicas hold them.', RETRIABLE),
  INVALID_REQUIRED_ACKS: kafka(21, 'acks is none of 0, 1 and all.'),
  ILLEGAL_GENERATION: kafka(22, 'The generation is not that of the group: it has rebalanced since.'),
  INCONSISTENT_GROUP_PROTOCOL: kafka(23, 'The member has no way of sharing out in common with the rest of the group.'),
  INVALID_GROUP_ID: kafka(24, 'The name of the group is empty, too long, or has characters that cannot be printed.'),
  UNKNOWN_MEMBER_ID: kafka(25, 'The group has no such member: it was taken out, or never came in.'),
  INVALID_SESSION_TIMEOUT: kafka(26, 'The session timeout is outside what the broker allows.'),
  REBALANCE_IN_PROGRESS: kafka(27, 'The group is rebalancing: join again.'),
  INVALID_COMMIT_OFFSET_SIZE: kafka(28, 'The commit does not fit a record of the offsets topic.'),
  TOPIC_AUTHORIZATION_FAILED: kafka(29, 'Not allowed on this topic.'),
  GROUP_AUTHORIZATION_FAILED: kafka(30, 'Not allowed on this group.'),
  CLUSTER_AUTHORIZATION_FAILED: kafka(31, 'Not allowed on this cluster.'),
  INVALID_TIMESTAMP: kafka(32, 'The timestamp of a record is out of range.'),
  ILLEGAL_SASL_STATE: kafka(34, 'Nobody says here who they are: there is no SASL.'),
  UNSUPPORTED_VERSION: kafka(35, 'The broker does not speak this version of the request.'),
  TOPIC_ALREADY_EXISTS: kafka(36, 'A topic of this name exists already.'),
  INVALID_PARTITIONS: kafka(37, 'The number of partitions is not legal.'),
  INVALID_REPLICATION_FACTOR: kafka(38, 'The replication factor is below 1 or above the number of brokers.'),
  INVALID_REPLICA_ASSIGNMENT: kafka(39, 'The replica assignment is not legal.'),
  INVALID_CONFIG: kafka(40, 'A configuration key or value is not legal.'),
  NOT_CONTROLLER: kafka(41, 'This broker does not administer topics at the moment.', RETRIABLE),
  INVALID_REQUEST: kafka(42, 'The request is malformed or contradicts itself.'),
  UNSUPPORTED_FOR_MESSAGE_FORMAT: kafka(43, 'The message format is not supported.'),
  POLICY_VIOLATION: kafka(44, 'The request breaks a limit that the operator has set.'),
  OUT_OF_ORDER_SEQUENCE_NUMBER: kafka(45, 'A batch of an idempotent producer arrived ahead of its predecessor.'),
  DUPLICATE_SEQUENCE_NUMBER: kafka(46, 'The batch was appended before, too long ago to know its offset.'),
  INVALID_PRODUCER_EPOCH: kafka(47, 'A newer session of this producer has taken over.'),
  TRANSACTIONAL_ID_AUTHORIZATION_FAILED: kafka(53, 'Not allowed to use this transactional id.'),
  SECURITY_DISABLED: kafka(54, 'There are no access lists here.'),
  STORAGE_ERROR: kafka(56, 'The disk failed under the partition, which is offline on this broker.', RETRIABLE),
  UNKNOWN_PRODUCER_ID: kafka(59, 'The broker remembers nothing of this producer id.'),
  NON_EMPTY_GROUP: kafka(68, 'The group has members.'),
  GROUP_ID_NOT_FOUND: kafka(69, 'There is no such group.'),
  FETCH_SESSION_ID_NOT_FOUND: kafka(70, 'The broker keeps no fetch sessions.', RETRIABLE),
  INVALID_FETCH_SESSION_EPOCH: kafka(71, 'The epoch is not that of the fetch session.', RETRIABLE),
  FENCED_LEADER_EPOCH: kafka(74, 'The leader epoch is older than the broker knows.', RETRIABLE),
  UNKNOWN_LEADER_EPOCH: kafka(75, 'The leader epoch is newer than the broker knows.', RETRIABLE),
  UNSUPPORTED_COMPRESSION_TYPE: kafka(76, 'The compression codec is not known or not available.'),
  OFFSET_NOT_AVAILABLE: kafka(78, 'The leader has just been elected and cannot tell the end offset yet.', RETRIABLE),
  MEMBER_ID_REQUIRED: kafka(79, 'Join again with the member id that comes with this answer.'),
  PREFERRED_LEADER_NOT_AVAILABLE: kafka(80, 'The replica that should lead cannot at the moment.', RETRIABLE),
  GROUP_MAX_SIZE_REACHED: kafka(81, 'The group has as many members as it may.'),
  FENCED_INSTANCE_ID: kafka(82, 'Another member has come in under the name of this static member.'),
  ELECTION_NOT_NEEDED: kafka(84, 'The partition is led by whom it should be led already.'),
  NO_REASSIGNMENT_IN_PROGRESS: kafka(85, 'The partition is not on its way to other brokers.'),
  GROUP_SUBSCRIBED_TO_TOPIC: kafka(86, 'Members of the group are subscribed to the topic.'),
  INVALID_RECORD: kafka(87, 'A record is not legal for this topic.'),
  THROTTLING_QUOTA_EXCEEDED: kafka(89, 'Too much at once; ask again later.', RETRIABLE),
  UNKNOWN_TOPIC_ID: kafka(100, 'The broker has no topic with this id.', RETRIABLE),
  INCONSISTENT_TOPIC_ID: kafka(103, 'The topic has been made anew: its id is another one.', RETRIABLE),

  DISK_FULL: own(1000, 56, 'The disk has too little space left for writing; reads go on.', RETRIABLE),
  BROKER_OVERLOADED: own(1001, 89, 'The broker has no memory left for this request at the moment.', RETRIABLE),
  SHUTTING_DOWN: own(1002, 6, 'The broker is stopping.', RETRIABLE),
  UNKNOWN_API: own(1003, 35, 'The broker knows no request of this kind.'),
  FRAME_TOO_LARGE: own(1004, 42, 'A frame is longer than is allowed.'),
  MALFORMED_FRAME: own(1005, 42, 'A frame or the message in it cannot be read.'),
  HELLO_EXPECTED: own(1006, 42, 'The first request of a connection must be hello.'),
  QUARANTINED: own(1007, 2, 'These offsets were lost to corruption and stand in quarantine; seek past them.'),

  DIRECTORY_LOCKED: own(1100, -1, 'Another broker uses this data directory.'),
  DIRECTORY_NOT_USABLE: own(1101, -1, 'The data directory cannot be read or written.'),
  DIRECTORY_FORMAT_UNKNOWN: own(1102, -1, 'The data directory was written by a newer version.'),
  FILE_CORRUPT: own(1103, -1, 'A file in the data directory is damaged.'),
  DISK_FAILED: own(1104, 56, 'An operation on the disk failed.'),
  INVALID_OPTION: own(1105, -1, 'A setting is unknown or has an illegal value.'),
  ADDRESS_IN_USE: own(1106, -1, 'The address to listen on is taken.'),
  TOO_MANY_PARTITIONS: own(1107, 44, 'The broker holds as many partitions as it may.'),
  BROKER_ID_IN_USE: own(1108, -1, 'Another broker of the cluster has this number.'),
  COORDINATOR_NOT_USABLE: own(
    1109,
    -1,
    'The brokers cannot agree by this Redis until its operator has changed something.',
  ),

  CONNECTION_FAILED: own(1200, -1, 'No connection to the broker could be made, or it broke.', RETRIABLE),
  TIMEOUT: own(1201, 7, 'The deadline passed before the work was done; its outcome is unknown.', RETRIABLE),
  ABORTED: own(1202, -1, 'The caller gave up.'),
  CLIENT_CLOSED: own(1203, -1, 'The client has been closed.'),
  BUFFER_FULL: own(1204, -1, 'The producer holds as many bytes as it may; wait for ready().', RETRIABLE),
  INVALID_ARGUMENT: own(1205, -1, 'An argument is not legal.'),
  DESERIALIZATION_FAILED: own(1206, -1, 'A key or a value could not be read by its deserializer.'),
  OUTCOME_UNKNOWN: own(1207, -1, 'The broker may or may not have applied the records.'),
  HANDLER_FAILED: own(1208, -1, 'A handler of the application failed.'),
  MAX_POLL_INTERVAL_EXCEEDED: own(1209, -1, 'A handler took longer than maxPollIntervalMs: its member left the group.'),
  MIRROR_DIVERGED: own(1210, -1, 'A partition of the target has records that are no copies of those of the source.'),
} as const satisfies Record<string, ErrorRow>

export type ErrorCode = keyof typeof ERRORS

export interface ErrorDetails {
  readonly cause?: unknown
  readonly broker?: string
  readonly topic?: string
  readonly partition?: number
}

/** The one error of the project: a code that programs read, a message that says what and where. */
export class TidemarkError extends Error {
  override readonly name: string = 'TidemarkError'
  readonly code: ErrorCode
  /** Whether the same request may succeed later. */
  readonly retriable: boolean
  /** Whether the object that threw it is of no further use. */
  readonly fatal: boolean = false
  readonly kafkaCode: number
  readonly broker: string | undefined
  readonly topic: string | undefined
  readonly partition: number | undefined

  constructor(code: ErrorCode, message?: string, details: ErrorDetails = {}) {
    super(message ?? ERRORS[code].about, details.cause === undefined ? undefined : { cause: details.cause })
    this.code = code
    this.retriable = ERRORS[code].retriable
    this.kafkaCode = ERRORS[code].kafkaCode
    this.broker = details.broker
    this.topic = details.topic
    this.partition = details.partition
  }
}

const CODE_BY_NUMBER = new Map<number, ErrorCode>(
  Object.entries(ERRORS).map(([code, row]) => [row.number, code as ErrorCode]),
)

/** The code of a number that came over the wire; UNKNOWN_SERVER_ERROR for one that this version does not know. */
export function errorCodeOf(number: number): ErrorCode {
  return CODE_BY_NUMBER.get(number) ?? 'UNKNOWN_SERVER_ERROR'
}
