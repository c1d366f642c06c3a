// Consumer groups: membership, committed offsets, and what an operator may see and change. The rules are Kafka's classic
// group protocol, so that members of both protocols may share a group; what members tell each other stays opaque bytes.
// Differences: a heartbeat may wait for news (maxWaitMs), and a join whose member dies is noticed by its connection.

import { array, boolean, bytes, count53, int32, optional, partitionNumber, string, struct } from './schema.ts'

/** Groups, members or partitions that one request names. */
const NAMED_MAX = 10_000

export const findCoordinatorRequest = struct({ groups: array(string, NAMED_MAX) })

/** One element a group of the request, in its order. */
export const findCoordinatorResponse = struct({
  coordinators: array(
    struct({
      error: int32,
      message: optional(string),
      /** Where the group is coordinated; -1 with an error. */
      broker: int32,
      host: string,
      port: int32,
    }),
    NAMED_MAX,
  ),
})

export const joinGroupRequest = struct({
  group: string,
  /** Empty: the coordinator gives one, and refuses with MEMBER_ID_REQUIRED that says it, unless it is a static member. */
  member: string,
  /** The name of a static member: a member that comes back under it takes the old one's place. */
  instance: optional(string),
  /** 'consumer' for consumers; others keep other things together in this way. */
  protocolType: string,
  /** Milliseconds without a word after which the member is out. */
  sessionTimeoutMs: int32,
  /** Milliseconds that it may take to come back when the others rebalance. */
  rebalanceTimeoutMs: int32,
  /** The ways to share out that the member knows, the preferred one first, with what it has to say for each. */
  protocols: array(struct({ name: string, metadata: bytes }), 100),
  /** Why it joins, for the log. */
  reason: optional(string),
})

/** Answered when the round is complete: later than any other request. */
export const joinGroupResponse = struct({
  error: int32,
  message: optional(string),
  generation: int32,
  protocolType: optional(string),
  protocol: optional(string),
  leader: string,
  /** Its id; with MEMBER_ID_REQUIRED the one to come back with. */
  member: string,
  /** A static leader has come back and nothing has changed: it is not to share out again. */
  skipAssignment: boolean,
  /** For the leader only. */
  members: array(struct({ member: string, instance: optional(string), metadata: bytes }), NAMED_MAX),
})

export const syncGroupRequest = struct({
  group: string,
  member: string,
  instance: optional(string),
  generation: int32,
  protocolType: optional(string),
  protocol: optional(string),
  /** From the leader; of all others nothing is read. */
  assignments: array(struct({ member: string, assignment: bytes }), NAMED_MAX),
})

export const syncGroupResponse = struct({
  error: int32,
  message: optional(string),
  protocolType: optional(string),
  protocol: optional(string),
  assignment: bytes,
})

export const heartbeatRequest = struct({
  group: string,
  member: string,
  instance: optional(string),
  generation: int32,
  /** Milliseconds that the answer may wait for news; it then comes as soon as the group rebalances. 0: at once. */
  maxWaitMs: int32,
})
export const heartbeatResponse = struct({ error: int32, message: optional(string) })

export const leaveGroupRequest = struct({
  group: string,
  /** Whoever gives an instance and no member removes whoever has that name. */
  members: array(struct({ member: string, instance: optional(string), reason: optional(string) }), NAMED_MAX),
})

/** One element a member of the request, in its order. */
export const leaveGroupResponse = struct({
  error: int32,
  message: optional(string),
  members: array(struct({ member: string, error: int32 }), NAMED_MAX),
})

export const commitOffsetsRequest = struct({
  group: string,
  /** Empty, with generation -1: a commit of nobody's, taken while the group has no members. */
  member: string,
  instance: optional(string),
  generation: int32,
  partitions: array(
    struct({
      topic: string,
      partition: partitionNumber,
      /** The offset to go on from. */
      offset: count53,
      leaderEpoch: optional(int32),
      /** At most 4,096 bytes. */
      metadata: string,
    }),
    NAMED_MAX,
  ),
})

/** One element a partition of the request, in its order. */
export const commitOffsetsResponse = struct({
  partitions: array(struct({ error: int32, message: optional(string) }), NAMED_MAX),
})

export const fetchOffsetsRequest = struct({
  group: string,
  /** Absent: all that the group has. */
  partitions: optional(array(struct({ topic: string, partition: partitionNumber }), NAMED_MAX)),
})

export const fetchOffsetsResponse = struct({
  error: int32,
  message: optional(string),
  partitions: array(
    struct({
      topic: string,
      partition: partitionNumber,
      /** Absent where nothing is committed. */
      offset: optional(count53),
      leaderEpoch: optional(int32),
      metadata: string,
      /** Milliseconds since 1970. */
      committedAt: optional(count53),
    }),
    NAMED_MAX,
  ),
})

const GROUP_STATES = 20

/** Asked of every broker: each tells the groups that it coordinates. */
export const listGroupsRequest = struct({
  /** Only groups in these states; none: all. */
  states: array(string, GROUP_STATES),
})

export const listGroupsResponse = struct({
  groups: array(struct({ group: string, protocolType: string, state: string, members: count53 }), 100_000),
  /** There are more than an answer holds. */
  isCut: boolean,
  /** Partitions of the offsets topic that this broker leads and has not read yet: their groups are not here. */
  loading: count53,
})

export const describeGroupsRequest = struct({ groups: array(string, NAMED_MAX) })

/** One element a group of the request, in its order. A group that nobody knows has the state 'Dead', as in Kafka. */
export const describeGroupsResponse = struct({
  groups: array(
    struct({
      error: int32,
      message: optional(string),
      group: string,
      state: string,
      protocolType: string,
      protocol: string,
      generation: int32,
      leader: string,
      /** Milliseconds since 1970 at which it came into its state. */
      stateSince: count53,
      members: array(
        struct({
          member: string,
          instance: optional(string),
          clientId: string,
          host: string,
          sessionTimeoutMs: int32,
          /** Milliseconds since it was last heard of. */
          silentMs: count53,
          metadata: bytes,
          assignment: bytes,
        }),
        NAMED_MAX,
      ),
    }),
    NAMED_MAX,
  ),
})

/** Only groups without members. */
export const deleteGroupsRequest = struct({ groups: array(string, NAMED_MAX) })
export const deleteGroupsResponse = struct({
  groups: array(struct({ group: string, error: int32, message: optional(string) }), NAMED_MAX),
})

/** Only of topics that no member is subscribed to. */
export const deleteOffsetsRequest = struct({
  group: string,
  partitions: array(struct({ topic: string, partition: partitionNumber }), NAMED_MAX),
})
export const deleteOffsetsResponse = struct({
  error: int32,
  message: optional(string),
  partitions: array(struct({ error: int32, message: optional(string) }), NAMED_MAX),
})
