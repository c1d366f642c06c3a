// A cluster of the model in words, for plays and for the trace of a failing seed.

import type { ReplicaEffect, ReplicaEvent, Role } from '../../broker/replication/replication-events.ts'
import type { VoterSet } from '../../shared/voters.ts'
import type { ModelNode } from './cluster-model.ts'
import type { Entry } from './model-log.ts'

/** One line: who, in which role, what happened, and what came of it. */
export function describeStep(
  node: ModelNode,
  role: Role,
  event: ReplicaEvent,
  effects: readonly ReplicaEffect[],
): string {
  const becomes = node.replica === undefined || node.replica.role === role ? '' : ` => ${node.replica.role}`
  const lines = [`${node.id} ${role}${becomes}: ${describe(event)}`]
  for (const effect of effects) lines.push(`    ${describe(effect)}`)
  return lines.join('\n')
}

/** One line a replica: role, promise, log from its start on, high watermark. */
export function describeNode(node: ModelNode): string {
  const { replica, log } = node
  const records = []
  for (let at = log.logStartOffset as number; at < log.logEndOffset; at += 1) {
    const entry = log.at(at)
    if (entry !== undefined) records.push(`${describeEntry(entry)}/${entry.epoch}`)
  }
  const promise = node.replica?.promise ?? node.promise
  const promised = promise === undefined ? 'nothing' : `epoch ${promise.epoch} to ${promise.leader}`
  const doubt = replica?.isNewcomer === true ? ', newcomer' : ', suspect'
  const suspect = replica?.isSuspect === true ? doubt : ''
  const from = log.logStartOffset === 0 ? '' : `from ${log.logStartOffset}: `
  const highWatermark = replica === undefined ? '' : `, high watermark ${replica.highWatermark}`
  return `${node.id} ${replica?.role ?? 'down'}, promised ${promised}${suspect}, log ${from}[${records.join(' ')}]${highWatermark}`
}

function describeEntry({ value, voters, gone }: Entry): string {
  if (gone !== undefined) return '-'
  if (voters === undefined) return value === 0 ? 'start' : String(value)
  const to = voters.next === undefined ? '' : ` to ${describeSet(voters.next)}`
  return `(${describeSet(voters.set)}${to})`
}

function describeSet({ voters, minInSyncReplicas }: VoterSet): string {
  return `${minInSyncReplicas} of ${voters.map(({ brokerId }) => brokerId).join(',')}`
}

function describe(value: ReplicaEvent | ReplicaEffect): string {
  const words = Object.entries(value).filter(([key, part]) => key !== 'kind' && key !== 'now' && part !== undefined)
  return [value.kind, ...words.map(([key, part]) => `${key}=${describePart(part)}`)].join(' ')
}

function describePart(part: unknown): string {
  if (typeof part !== 'object' || part === null) return String(part)
  if (Array.isArray(part)) return part.map(describePart).join(',')
  if ('voters' in part && 'minInSyncReplicas' in part) return describeSet(part as VoterSet)
  const words = Object.entries(part).filter(([key, inner]) => inner !== undefined && key !== 'directoryId')
  return `(${words.map(([key, inner]) => `${key}=${describePart(inner)}`).join(' ')})`
}
