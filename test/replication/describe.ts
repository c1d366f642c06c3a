// A cluster of the model in words, for plays and for the trace of a failing seed.

import type { ReplicaEffect, ReplicaEvent, Role } from '../../broker/replication/replication-events.ts'
import type { ModelNode } from './cluster-model.ts'

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
    if (entry !== undefined) records.push(entry.value === 0 ? `start/${entry.epoch}` : `${entry.value}/${entry.epoch}`)
  }
  const promise = node.replica?.promise ?? node.promise
  const promised = promise === undefined ? 'nothing' : `epoch ${promise.epoch} to ${promise.leader}`
  const suspect = replica?.isSuspect === true ? ', suspect' : ''
  const from = log.logStartOffset === 0 ? '' : `from ${log.logStartOffset}: `
  const highWatermark = replica === undefined ? '' : `, high watermark ${replica.highWatermark}`
  return `${node.id} ${replica?.role ?? 'down'}, promised ${promised}${suspect}, log ${from}[${records.join(' ')}]${highWatermark}`
}

function describe(value: ReplicaEvent | ReplicaEffect): string {
  const words = Object.entries(value).filter(([key, part]) => key !== 'kind' && key !== 'now' && part !== undefined)
  return [value.kind, ...words.map(([key, part]) => `${key}=${describePart(part)}`)].join(' ')
}

function describePart(part: unknown): string {
  if (typeof part !== 'object' || part === null) return String(part)
  if (Array.isArray(part)) return part.join(',')
  const words = Object.entries(part).filter(([key, inner]) => inner !== undefined && key !== 'directoryId')
  return `(${words.map(([key, inner]) => `${key}=${describePart(inner)}`).join(' ')})`
}
