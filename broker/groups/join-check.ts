// Whether somebody may join a group as it says it would: timeouts, protocols, bytes. Owns the refusals that depend on nothing
// but the group's members and its limits. Pure.

import type { GroupEvent, GroupRefusal } from './group-events.ts'
import type { GroupMembers, Member } from './group-members.ts'
import { bytesOfMember } from './group-members.ts'

type Join = Extract<GroupEvent, { readonly kind: 'join' }>

export interface JoinLimits {
  readonly sessionTimeoutMsMin: number
  readonly sessionTimeoutMsMax: number
  /** Bytes of what all members say and are given together. */
  readonly bytesMax: number
}

const NAME_BYTES_MAX = 256
/** Ways to share out that one member may name: each is looked for among those of all others. */
const PROTOCOLS_MAX = 100
const REASON_LENGTH_MAX = 200

/** `former`: the member that it is, or whose place it takes; `protocolType`: of the group. */
export function whyNotJoin(
  limits: JoinLimits,
  members: GroupMembers,
  protocolType: string | undefined,
  join: Join,
): GroupRefusal | undefined {
  const { sessionTimeoutMsMin: least, sessionTimeoutMsMax: most, bytesMax } = limits
  const { sessionTimeoutMs, member, instance = '', protocolType: type } = join
  if (Buffer.byteLength(instance) > NAME_BYTES_MAX || Buffer.byteLength(type) > NAME_BYTES_MAX) {
    const message = `the name of a static member and the type of its protocols have at most ${NAME_BYTES_MAX} bytes`
    return { error: 'INVALID_REQUEST', message }
  }
  if (sessionTimeoutMs < least || sessionTimeoutMs > most) {
    const message = `the session timeout must be from ${least} to ${most} ms, not ${sessionTimeoutMs}`
    return { error: 'INVALID_SESSION_TIMEOUT', message }
  }
  // One that comes back by its name takes the place of the old one, which says nothing any more.
  const former = members.get(member) ?? (join.instance === undefined ? undefined : members.ofInstance(join.instance))
  const inconsistent = whyInconsistent(members, protocolType, join, former)
  if (inconsistent !== undefined) return inconsistent
  const bytes = bytesOfMember(join) + members.bytesBesides(former)
  if (bytes <= bytesMax) return undefined
  const message = `what the members of the group say would have ${bytes} bytes; at most ${bytesMax} are taken`
  return { error: 'GROUP_MAX_SIZE_REACHED', message }
}

function whyInconsistent(
  members: GroupMembers,
  protocolType: string | undefined,
  join: Join,
  former: Member | undefined,
): GroupRefusal | undefined {
  const error = 'INCONSISTENT_GROUP_PROTOCOL'
  if (join.protocolType === '') return { error, message: 'a member must name the type of its protocols' }
  if (join.protocols.length === 0) return { error, message: 'a member must name at least one protocol' }
  if (join.protocols.length > PROTOCOLS_MAX) {
    return { error, message: `a member may name ${PROTOCOLS_MAX} protocols, not ${join.protocols.length}` }
  }
  if (members.size === (former === undefined ? 0 : 1)) return undefined
  if (join.protocolType !== protocolType) {
    return { error, message: `the group is one of type '${protocolType ?? ''}', not '${join.protocolType}'` }
  }
  if (members.hasCommon(join.protocols, former)) return undefined
  const names = join.protocols.map(({ name }) => name).join(', ')
  return { error, message: `no protocol of the member (${names}) is known to all others of the group` }
}

/** Clients that name none may take as long as their session. */
export function rebalanceTimeoutOf({ rebalanceTimeoutMs, sessionTimeoutMs }: Join): number {
  return rebalanceTimeoutMs > 0 ? rebalanceTimeoutMs : sessionTimeoutMs
}

/** What a member says of why, for the log; somebody else chooses how long it is. */
export function because(reason: string | undefined): string {
  return reason === undefined || reason === '' ? '' : `: ${reason.slice(0, REASON_LENGTH_MAX)}`
}
