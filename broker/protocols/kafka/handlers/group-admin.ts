// What tools see of groups, and take away from them.

import type { AllRequests } from '../../../requests/other-requests.ts'
import { describeGroups } from '../15-describe-groups.ts'
import { listGroups } from '../16-list-groups.ts'
import { deleteGroups } from '../42-delete-groups.ts'
import { offsetDelete } from '../47-offset-delete.ts'
import { groupCode, kafkaCode, kafkaCodeOf } from '../error-mapping.ts'
import { type AnyHandler, handler } from './handler.ts'

/** The only kind of group that there is: its members share out among themselves. */
const CLASSIC = 'classic'

export function groupAdminHandlers(requests: AllRequests): readonly AnyHandler[] {
  return [
    describeGroupsHandler(requests),
    listGroupsHandler(requests),
    deleteGroupsHandler(requests),
    offsetDeleteHandler(requests),
  ]
}

function describeGroupsHandler(requests: AllRequests): AnyHandler {
  return handler({
    api: describeGroups,
    isLong: true,
    async answer({ groups }, { context }) {
      const described = await requests.ask('describeGroups', { groups }, context)
      return {
        groups: described.groups.map(({ error, group, state, protocolType, protocol, members }) => ({
          errorCode: kafkaCodeOf(error),
          groupId: group,
          groupState: state,
          protocolType,
          protocolData: protocol,
          members: members.map(({ member, instance, clientId, host, metadata, assignment }) => ({
            memberId: member,
            groupInstanceId: instance,
            clientId,
            clientHost: `/${host}`,
            memberMetadata: metadata,
            memberAssignment: assignment,
          })),
        })),
      }
    },
    refuse: ({ groups }, { code }) => ({
      groups: groups.map((groupId) => {
        const nothing = { groupState: '', protocolType: '', protocolData: '', members: [] }
        return { errorCode: groupCode(code), groupId, ...nothing }
      }),
    }),
  })
}

function listGroupsHandler(requests: AllRequests): AnyHandler {
  return handler({
    api: listGroups,
    isLong: true,
    async answer({ statesFilter, typesFilter }, { context }) {
      const isNone = typesFilter.length > 0 && !typesFilter.some((type) => type.toLowerCase() === CLASSIC)
      if (isNone) return { errorCode: 0, groups: [] }
      const { groups, loading } = await requests.ask('listGroups', { states: statesFilter }, context)
      return {
        errorCode: loading > 0 ? kafkaCode('COORDINATOR_LOAD_IN_PROGRESS') : 0,
        groups: groups.map(({ group, protocolType, state }) => {
          return { groupId: group, protocolType, groupState: state, groupType: CLASSIC }
        }),
      }
    },
    refuse: (_request, { code }) => ({ errorCode: groupCode(code), groups: [] }),
  })
}

function deleteGroupsHandler(requests: AllRequests): AnyHandler {
  return handler({
    api: deleteGroups,
    async answer({ groupsNames }, { context }) {
      const { groups } = await requests.ask('deleteGroups', { groups: groupsNames }, context)
      return { results: groups.map(({ group, error }) => ({ groupId: group, errorCode: kafkaCodeOf(error) })) }
    },
    refuse: ({ groupsNames }, { code }) => ({
      results: groupsNames.map((groupId) => ({ groupId, errorCode: groupCode(code) })),
    }),
  })
}

function offsetDeleteHandler(requests: AllRequests): AnyHandler {
  return handler({
    api: offsetDelete,
    async answer({ groupId, topics }, { context }) {
      const partitions = topics.flatMap(({ name, partitions: parts }) => {
        return parts.map(({ partitionIndex }) => ({ topic: name, partition: partitionIndex }))
      })
      const deleted = await requests.ask('deleteOffsets', { group: groupId, partitions }, context)
      let at = 0
      return {
        errorCode: kafkaCodeOf(deleted.error),
        topics: topics.map(({ name, partitions: parts }) => ({
          name,
          partitions: parts.map(({ partitionIndex }) => {
            return { partitionIndex, errorCode: kafkaCodeOf(deleted.partitions[at++]?.error ?? 0) }
          }),
        })),
      }
    },
    refuse: (_request, { code }) => ({ errorCode: groupCode(code), topics: [] }),
  })
}
