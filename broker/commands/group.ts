// `tidemark group list`, `describe`, `seek` and `delete`: who consumes what, how far behind, and where a group goes on.

import type { Admin } from '../../client/admin.ts'
import type { GroupDescription, GroupOffsetsRequest, GroupPartition } from '../../client/group-admin.ts'
import type { BrokerSession } from './broker-session.ts'
import type { CommandContext } from './command.ts'
import { TidemarkError } from '../../shared/errors.ts'
import { systemClock, systemTimers } from '../../shared/time.ts'
import { withBrokers } from './broker-session.ts'
import { UsageError } from './command.ts'
import { describeError } from './error-lines.ts'
import { parseStart } from './offset-spec.ts'
import { printValue } from './output.ts'

/** Whoever is behind by records that nobody can read in this time is shown without its lag in seconds. */
const READ_MS_MAX = 2_000

export async function listGroups(context: CommandContext): Promise<number> {
  const { arguments: args, output, signal } = context
  const groups = await withBrokers(context, ({ admin }) => admin.listGroups({ signal }))
  const rows = groups.map(({ groupId: group, state, members, protocolType }) => ({
    group,
    state,
    members,
    protocolType,
  }))
  const format = args.required('format')
  if (rows.length === 0 && format === 'table') context.note('there are no groups')
  else await printValue(output, rows, format)
  return 0
}

export async function describeGroup(context: CommandContext): Promise<number> {
  const { arguments: args, output, signal } = context
  const group = args.required('group')
  const format = args.required('format')
  await withBrokers(context, async (session) => {
    const described = await session.admin.describeGroup(group, { signal })
    const seconds = await lagSeconds(context, session, described.partitions)
    const partitions = described.partitions.map((one) => {
      const { topic, partition, offset, endOffset, lag, memberId } = one
      return { topic, partition, offset, end: endOffset, lag, lagSeconds: seconds.get(nameOf(one)), member: memberId }
    })
    if (format !== 'table') {
      await printValue(output, Object.assign({}, described, { partitions: withText(partitions, described) }), format)
      return
    }
    await printValue(output, headOf(described), format)
    if (described.members.length > 0) {
      await output.line('')
      await printValue(output, described.members.map(memberRow), format)
    }
    if (partitions.length === 0) return
    await output.line('')
    await printValue(output, partitions, format)
  })
  return 0
}

/** Where the group goes on; only what would be done is shown unless it is to be done. */
export async function seekGroup(context: CommandContext): Promise<number> {
  const { arguments: args, output, signal } = context
  const groupId = args.required('group')
  const to = targetOf(context)
  const partitions = args.list('partition').map(partitionNumber)
  const topics = args.list('topic')
  const isDone = args.isOn('execute')
  if (partitions.length > 0 && topics.length !== 1) throw new UsageError('group seek: --partition needs one --topic')
  await withBrokers(context, async ({ admin }) => {
    const known = topics.length > 0 ? topics : await topicsOf(admin.fetchOffsets({ groupId }, { signal }))
    if (known.length === 0) {
      throw new UsageError(`group seek: group ${groupId} has committed nothing yet; name a topic with --topic`)
    }
    const rows: object[] = []
    for (const topic of known) {
      const request = { groupId, topic, to, dryRun: !isDone, ...(partitions.length === 0 ? {} : { partitions }) }
      const moved = await admin.resetOffsets(request, { signal })
      rows.push(...moved.map(({ partition, from, to: offset }) => ({ topic, partition, before: from, offset })))
    }
    await printValue(output, rows, args.required('format'))
    if (!isDone) context.note('nothing was changed: the same call with --execute does it')
  })
  return 0
}

/** Whole groups, or with --topic what they have committed in a topic. */
export async function deleteGroups(context: CommandContext): Promise<number> {
  const { arguments: args, output, signal } = context
  const groups = args.list('groups')
  if (groups.length === 0) throw new UsageError('group delete: name at least one group')
  const topic = args.text('topic')
  const partitions = args.list('partition').map(partitionNumber)
  if (topic === undefined && partitions.length > 0) throw new UsageError('group delete: --partition needs --topic')
  let exitCode = 0
  await withBrokers(context, async ({ admin }) => {
    const rows: object[] = []
    for (const groupId of groups) {
      try {
        if (topic === undefined) await admin.deleteGroups([groupId], { signal })
        else await deleteOffsets(admin, { groupId, topic, ...(partitions.length === 0 ? {} : { partitions }) }, signal)
        rows.push({ group: groupId, outcome: topic === undefined ? 'deleted' : `offsets of ${topic} deleted` })
      } catch (error) {
        if (!(error instanceof TidemarkError) || signal.aborted) throw error
        context.note(describeError(error).line)
        rows.push({ group: groupId, outcome: error.code })
        exitCode = 1
      }
    }
    await printValue(output, rows, args.required('format'))
  })
  return exitCode
}

/** @throws UNKNOWN_TOPIC_OR_PARTITION when there are none: the name may be another's, or mistyped */
async function deleteOffsets(admin: Admin, request: GroupOffsetsRequest, signal: AbortSignal): Promise<void> {
  const deleted = await admin.deleteOffsets(request, { signal })
  if (deleted.length > 0) return
  const { groupId, topic = '', partitions = [] } = request
  const where = partitions.length === 0 ? topic : `${topic}-${partitions.join(', -')}`
  throw new TidemarkError('UNKNOWN_TOPIC_OR_PARTITION', `group ${groupId} has committed nothing in ${where}`)
}

/** By the time of the record that comes next; nothing where there is none, or where it cannot be read. */
async function lagSeconds(
  { signal }: CommandContext,
  session: BrokerSession,
  partitions: readonly GroupPartition[],
): Promise<ReadonlyMap<string, number>> {
  const seconds = new Map<string, number>()
  const behind = new Map<string, Map<number, number>>()
  for (const one of partitions) {
    if (one.lag === 0) seconds.set(nameOf(one), 0)
    if (one.offset === undefined || one.lag === undefined || one.lag === 0) continue
    const offsets = behind.get(one.topic) ?? new Map<number, number>()
    behind.set(one.topic, offsets.set(one.partition, one.offset))
  }
  await Promise.all(
    [...behind].map(async ([topic, from]) => {
      const reader = session.read(topic, { from, partitions: [...from.keys()], signal, onOutOfRange: 'earliest' })
      const timer = systemTimers.after(READ_MS_MAX, () => reader.close())
      try {
        for await (const [first] of reader.batches()) {
          if (first === undefined || !from.delete(first.partition)) continue
          const lateMs = Math.max(0, systemClock.now() - first.timestamp)
          seconds.set(nameOf(first), Math.round(lateMs / 100) / 10)
          if (from.size === 0) return
        }
      } catch {
        // What cannot be read has no lag in seconds; that in records is shown all the same.
        if (signal.aborted) signal.throwIfAborted()
      } finally {
        timer.cancel()
        reader.close()
      }
    }),
  )
  return seconds
}

function headOf(described: GroupDescription): object {
  const { groupId: group, state, protocol, generation, members, partitions } = described
  const known = partitions.map(({ lag }) => lag)
  const lag = known.includes(undefined) ? undefined : known.reduce<number>((sum, one) => sum + (one ?? 0), 0)
  return { group, state, protocol: protocol === '' ? undefined : protocol, generation, members: members.length, lag }
}

function memberRow(member: GroupDescription['members'][number]): object {
  const { memberId, instanceId: instance, clientId: client, host, silentMs, partitions } = member
  const assigned = partitions?.map(nameOf)
  return { member: memberId, instance, client, host, silentSeconds: Math.round(silentMs / 100) / 10, assigned }
}

/** What people wrote beside their offsets is long, and only for those who read it by a program. */
function withText(rows: readonly { topic: string; partition: number }[], { partitions }: GroupDescription): object[] {
  return rows.map((row, at) => {
    const { metadata, committedAt } = partitions[at] ?? {}
    return Object.assign({}, row, { metadata, committedAt })
  })
}

async function topicsOf(offsets: Promise<readonly { topic: string }[]>): Promise<string[]> {
  return [...new Set((await offsets).map(({ topic }) => topic))]
}

function targetOf({ arguments: args }: CommandContext): Date | number | 'earliest' | 'latest' | { shift: number } {
  const text = args.text('to')
  const shift = args.text('shift')
  if ((text === undefined) === (shift === undefined)) {
    throw new UsageError('group seek: say where to with --to start, end, N or @TIMESTAMP, or with --shift N')
  }
  if (shift !== undefined) {
    if (/^[+-]?\d{1,15}$/.test(shift)) return { shift: Number(shift) }
    throw new UsageError(`group seek: --shift must be how many records to go on or back, not '${shift}'`)
  }
  const target = parseStart(text ?? '', 'group seek: --to')
  if (target?.kind === 'start') return 'earliest'
  if (target?.kind === 'end') return 'latest'
  if (target?.kind === 'offset') return target.offset
  if (target?.kind === 'timestamp') return new Date(target.timestamp)
  throw new UsageError(`group seek: --to must be start, end, N or @TIMESTAMP, not '${text ?? ''}'; --shift goes back`)
}

function partitionNumber(text: string): number {
  if (/^\d{1,10}$/.test(text)) return Number(text)
  throw new UsageError(`--partition must be the number of a partition, not '${text}'`)
}

function nameOf({ topic, partition }: { readonly topic: string; readonly partition: number }): string {
  return `${topic}-${partition}`
}
