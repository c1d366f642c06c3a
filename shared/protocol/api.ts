// The table of native requests: number, versions, messages. One row an API; everything that sends, answers or documents
// a request reads it here.

import {
  addPartitionsRequest,
  addPartitionsResponse,
  alterTopicRequest,
  alterTopicResponse,
  createTopicsRequest,
  createTopicsResponse,
  deleteTopicsRequest,
  deleteTopicsResponse,
  describeTopicsRequest,
  describeTopicsResponse,
  trimRequest,
  trimResponse,
} from './admin.ts'
import { clusterInfoRequest, clusterInfoResponse } from './cluster.ts'
import { fetchRequest, fetchResponse } from './fetch.ts'
import {
  commitOffsetsRequest,
  commitOffsetsResponse,
  deleteGroupsRequest,
  deleteGroupsResponse,
  deleteOffsetsRequest,
  deleteOffsetsResponse,
  describeGroupsRequest,
  describeGroupsResponse,
  fetchOffsetsRequest,
  fetchOffsetsResponse,
  findCoordinatorRequest,
  findCoordinatorResponse,
  heartbeatRequest,
  heartbeatResponse,
  joinGroupRequest,
  joinGroupResponse,
  leaveGroupRequest,
  leaveGroupResponse,
  listGroupsRequest,
  listGroupsResponse,
  syncGroupRequest,
  syncGroupResponse,
} from './groups.ts'
import { helloRequest, helloResponse } from './hello.ts'
import { metadataRequest, metadataResponse } from './metadata.ts'
import { listOffsetsRequest, listOffsetsResponse } from './offsets.ts'
import {
  announceLeadersRequest,
  announceLeadersResponse,
  fenceRequest,
  fenceResponse,
  dismissReplicasRequest,
  dismissReplicasResponse,
  probeBrokerRequest,
  probeBrokerResponse,
  replicaFetchRequest,
  replicaFetchResponse,
  suggestLeaderRequest,
  suggestLeaderResponse,
} from './peers.ts'
import {
  balanceReplicasRequest,
  balanceReplicasResponse,
  decommissionBrokerRequest,
  decommissionBrokerResponse,
  drainBrokerRequest,
  drainBrokerResponse,
  electLeadersRequest,
  electLeadersResponse,
  movePartitionsRequest,
  movePartitionsResponse,
  recoverPartitionRequest,
  recoverPartitionResponse,
} from './operations.ts'
import { initProducerIdRequest, initProducerIdResponse, produceRequest, produceResponse } from './produce.ts'
import type { AnyField, Field, ValueOf } from './schema.ts'
import { optional, string, struct, int32 } from './schema.ts'

interface ApiRow {
  readonly number: number
  readonly versionMin: number
  readonly versionMax: number
  readonly request: AnyField
  readonly response: AnyField
}

export const APIS = {
  hello: row(0, helloRequest, helloResponse),
  metadata: row(1, metadataRequest, metadataResponse),
  produce: row(2, produceRequest, produceResponse),
  fetch: row(3, fetchRequest, fetchResponse),
  listOffsets: row(4, listOffsetsRequest, listOffsetsResponse),
  initProducerId: row(5, initProducerIdRequest, initProducerIdResponse),
  createTopics: row(6, createTopicsRequest, createTopicsResponse),
  deleteTopics: row(7, deleteTopicsRequest, deleteTopicsResponse),
  alterTopic: row(8, alterTopicRequest, alterTopicResponse),
  addPartitions: row(9, addPartitionsRequest, addPartitionsResponse),
  trim: row(10, trimRequest, trimResponse),
  describeTopics: row(11, describeTopicsRequest, describeTopicsResponse),
  clusterInfo: row(12, clusterInfoRequest, clusterInfoResponse),
  drainBroker: row(13, drainBrokerRequest, drainBrokerResponse),
  movePartitions: row(14, movePartitionsRequest, movePartitionsResponse),
  decommissionBroker: row(15, decommissionBrokerRequest, decommissionBrokerResponse),
  recoverPartition: row(16, recoverPartitionRequest, recoverPartitionResponse),
  findCoordinator: row(17, findCoordinatorRequest, findCoordinatorResponse),
  joinGroup: row(18, joinGroupRequest, joinGroupResponse),
  syncGroup: row(19, syncGroupRequest, syncGroupResponse),
  heartbeat: row(20, heartbeatRequest, heartbeatResponse),
  leaveGroup: row(21, leaveGroupRequest, leaveGroupResponse),
  commitOffsets: row(22, commitOffsetsRequest, commitOffsetsResponse),
  fetchOffsets: row(23, fetchOffsetsRequest, fetchOffsetsResponse),
  listGroups: row(24, listGroupsRequest, listGroupsResponse),
  describeGroups: row(25, describeGroupsRequest, describeGroupsResponse),
  deleteGroups: row(26, deleteGroupsRequest, deleteGroupsResponse),
  deleteOffsets: row(27, deleteOffsetsRequest, deleteOffsetsResponse),
  balanceReplicas: row(28, balanceReplicasRequest, balanceReplicasResponse),
  electLeaders: row(29, electLeadersRequest, electLeadersResponse),
  replicaFetch: row(32, replicaFetchRequest, replicaFetchResponse),
  fence: row(33, fenceRequest, fenceResponse),
  announceLeaders: row(34, announceLeadersRequest, announceLeadersResponse),
  suggestLeader: row(35, suggestLeaderRequest, suggestLeaderResponse),
  probeBroker: row(36, probeBrokerRequest, probeBrokerResponse),
  dismissReplicas: row(37, dismissReplicasRequest, dismissReplicasResponse),
} as const satisfies Record<string, ApiRow>

export type ApiName = keyof typeof APIS
export type RequestOf<Name extends ApiName> = ValueOf<(typeof APIS)[Name]['request']>
export type ResponseOf<Name extends ApiName> = ValueOf<(typeof APIS)[Name]['response']>

/** The body of an error frame: the request as a whole was refused. */
export const errorBody = struct({
  /** Number of a row of shared/errors.ts. */
  error: int32,
  message: optional(string),
})

const NAMES = Object.keys(APIS) as readonly ApiName[]
const NAME_BY_NUMBER: readonly (ApiName | undefined)[] = NAMES.reduce<(ApiName | undefined)[]>((names, name) => {
  names[APIS[name].number] = name
  return names
}, [])

export function apiNameOf(number: number): ApiName | undefined {
  return NAME_BY_NUMBER[number]
}

function row<Request, Response>(number: number, request: Field<Request>, response: Field<Response>) {
  return { number, versionMin: 0, versionMax: 0, request, response } as const
}
