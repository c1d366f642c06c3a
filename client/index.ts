// The door of the client. What stands here is public; everything else may change.

export { Admin } from './admin.ts'
export type {
  ClusterInfo,
  CreatedTopic,
  CreateTopicsRequest,
  OffsetsRequest,
  TopicDescription,
  TopicOffset,
  TopicToCreate,
  TrimRequest,
} from './admin.ts'
export type { AssignorName } from './assignors.ts'
export { Client, connect } from './client.ts'
export type { Batch } from './consumer-batch.ts'
export type { ConsumerEventName, ConsumerEvents, ConsumerListener, PartitionLag } from './consumer-events.ts'
export type {
  ConsumerOptions,
  EachBatchPayload,
  EachMessagePayload,
  OnErrorOptions,
  RunOptions,
} from './consumer-options.ts'
export { ConsumedMessage, ConsumerStream } from './consumer-stream.ts'
export type { Why, WhyState } from './consumer-why.ts'
export { Consumer } from './consumer.ts'
export type { CommitOffset, SeekRequest } from './consumer.ts'
export type { ClientEnvironment } from './environment.ts'
export {
  AbortedError,
  AuthError,
  BufferFullError,
  ClosedError,
  ConnectionError,
  CorruptBatchError,
  FatalError,
  FencedError,
  NotConnectedError,
  NotLeaderError,
  OffsetOutOfRangeError,
  QuarantinedError,
  RecordTooLargeError,
  TimeoutError,
  UnknownTopicError,
} from './errors.ts'
export type {
  GroupDescription,
  GroupListing,
  GroupMemberDescription,
  GroupOffset,
  GroupOffsetsRequest,
  GroupPartition,
  ResetOffset,
  ResetOffsetsRequest,
} from './group-admin.ts'
export type { ConnectOptions } from './options.ts'
export type { Partitioner, PartitionerInput } from './partitioner.ts'
export type { PartitionSelection, PartitionSelections } from './paused-partitions.ts'
export type { RecordMetadata } from './producer-batch.ts'
export type { ProducerOptions } from './producer-options.ts'
export type { HeadersInput, HeaderValue, ProducerRecord } from './producer-record.ts'
export type { ProducerSink } from './producer-sink.ts'
export { Producer } from './producer.ts'
export type { SendRequest } from './producer.ts'
export type { ReadPosition, ReadPositions } from './read-position.ts'
export { Reader } from './reader.ts'
export type { ReadOptions } from './reader-options.ts'
export type { Headers, Message } from './record-chunk.ts'
export type { RetryOptions } from './retry.ts'
export type { WaitOptions } from './scope.ts'
export { bytes, json, number, string } from './serializers.ts'
export type { Deserializer, Plain, Serde, Serializer } from './serializers.ts'
export type { TopicPartition } from './topic-partitions.ts'
export type { Address, Transport, Wire, WireEvents } from './transport.ts'
export { ERRORS, TidemarkError } from '../shared/errors.ts'
export type { ErrorCode, ErrorRow } from '../shared/errors.ts'
export type { Logger } from '../shared/logger.ts'
export type { Codec } from '../shared/record-batch/format.ts'
