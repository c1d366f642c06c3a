// `tidemark cluster info` and `cluster health`.

import type { CommandContext } from './command.ts'
import { TidemarkError } from '../../shared/errors.ts'
import { sleep, systemTimers } from '../../shared/time.ts'
import { withBrokers } from './broker-session.ts'
import { describeError } from './error-lines.ts'
import { printValue } from './output.ts'

interface Health {
  readonly isHealthy: boolean
  readonly checks: readonly { readonly name: string; readonly isOk: boolean; readonly detail: string }[]
}

const WATCH_INTERVAL_MS = 1_000

export async function clusterInfo(context: CommandContext): Promise<number> {
  const { arguments: args, output } = context
  const info = await withBrokers(context, (session) => session.ask('clusterInfo', {}))
  const format = args.required('format')
  if (format !== 'table') {
    await printValue(output, info, format)
    return 0
  }
  const rows = info.brokers.map(({ brokerId, host, port, startedAt, ...broker }) => ({
    broker: `${brokerId}${brokerId === info.controllerId ? '*' : ''}`,
    address: `${host}:${port}`,
    rack: broker.rack,
    software: broker.software,
    since: new Date(startedAt).toISOString(),
    topics: broker.topics,
    replicas: broker.partitions,
    leads: broker.leaders,
    drained: broker.isDraining === true ? 'yes' : undefined,
    // Only the broker that answers knows what it holds.
    bytes: broker.bytes === 0 ? undefined : broker.bytes,
  }))
  context.note(`cluster ${info.cluster}; * administers topics`)
  await printValue(output, rows, format)
  return 0
}

export async function clusterHealth(context: CommandContext): Promise<number> {
  const { arguments: args, signal } = context
  const isWatching = args.isOn('watch') || args.isOn('exit-when-healthy')
  if (!isWatching) {
    const health = await askHealth(context)
    await printHealth(context, health)
    return health.isHealthy ? 0 : 1
  }
  let shown: string | undefined
  while (!signal.aborted) {
    const health = await askHealthOrWhyNot(context)
    const state = JSON.stringify(health)
    if (state !== shown) await printHealth(context, health)
    shown = state
    if (health.isHealthy && args.isOn('exit-when-healthy')) return 0
    await sleep(systemTimers, WATCH_INTERVAL_MS, signal)
  }
  return 0
}

async function askHealth(context: CommandContext): Promise<Health> {
  const { checks } = await withBrokers(context, (session) => session.ask('clusterInfo', {}))
  return { isHealthy: checks.every(({ isOk }) => isOk), checks }
}

/** Whoever watches wants to see that nobody answers, not to be thrown out for it. */
async function askHealthOrWhyNot(context: CommandContext): Promise<Health> {
  try {
    return await askHealth(context)
  } catch (error) {
    if (!(error instanceof TidemarkError) || context.signal.aborted) throw error
    return { isHealthy: false, checks: [{ name: 'answer', isOk: false, detail: describeError(error).line }] }
  }
}

async function printHealth({ arguments: args, output }: CommandContext, { isHealthy, checks }: Health): Promise<void> {
  const format = args.required('format')
  if (format !== 'table') return await printValue(output, { healthy: isHealthy, checks }, format)
  await output.line(isHealthy ? 'healthy' : 'not healthy')
  const rows = checks.map(({ name, isOk, detail }) => ({ check: name, verdict: isOk ? 'ok' : 'bad', detail }))
  if (rows.length > 0) await printValue(output, rows, format)
}
