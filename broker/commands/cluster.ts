// `tidemark cluster info` and `cluster health`.

import type { CommandContext } from './command.ts'
import { TidemarkError } from '../../shared/errors.ts'
import { sleep, systemClock, systemTimers } from '../../shared/time.ts'
import { withBrokers } from './broker-session.ts'
import { askHealth, changes, type Check, type Health, healthFrom } from './cluster-health.ts'
import { askEach } from './each-broker.ts'
import { describeError } from './error-lines.ts'
import { printValue } from './output.ts'

const WATCH_INTERVAL_MS = 1_000

export async function clusterInfo(context: CommandContext): Promise<number> {
  const { arguments: args, output } = context
  const { info, held } = await withBrokers(context, async (session) => {
    const told = await session.ask('clusterInfo', {})
    // Each knows only of itself how much it holds.
    const answers = await askEach(session, membersOf(told.brokers), 'clusterInfo', {})
    const bytes = told.brokers.map(({ brokerId }) => {
      const own = answers.get(brokerId)?.brokers.find((one) => one.brokerId === brokerId)
      return [brokerId, own?.bytes] as const
    })
    return { info: told, held: new Map(bytes) }
  })
  const format = args.required('format')
  if (format !== 'table') {
    const brokers = info.brokers.map((broker) => ({ ...broker, bytes: held.get(broker.brokerId) ?? null }))
    await printValue(output, { ...info, brokers }, format)
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
    bytes: held.get(brokerId),
  }))
  context.note(`cluster ${info.cluster}; * administers topics`)
  const away = info.checks.find(({ name, isOk }) => name === 'brokers' && !isOk)
  if (away !== undefined) context.note(away.detail)
  await printValue(output, rows, format)
  return 0
}

export async function clusterHealth(context: CommandContext): Promise<number> {
  const { arguments: args, signal } = context
  const isWatching = args.isOn('watch') || args.isOn('exit-when-healthy')
  if (!isWatching) {
    const health = await withBrokers(context, askHealth)
    await printHealth(context, health, health.checks)
    return health.isHealthy ? 0 : 1
  }
  const watched = new WatchedBroker(context)
  let shown: Health | undefined
  while (!signal.aborted) {
    const health = await watched.health()
    const changed = changes(shown, health)
    if (changed !== undefined) {
      await printHealth(context, health, changed, args.isOn('watch') ? systemClock.now() : undefined)
      shown = health
    }
    if (health.isHealthy && args.isOn('exit-when-healthy')) return 0
    await sleep(systemTimers, WATCH_INTERVAL_MS, signal)
  }
  return 0
}

function membersOf(brokers: readonly { readonly brokerId: number }[]): readonly number[] {
  return brokers.map(({ brokerId }) => brokerId)
}

/** One broker as long as it answers, then the next that is named: each tells a little of what only it sees. */
class WatchedBroker {
  readonly #context: CommandContext
  readonly #brokers: readonly string[]
  #at = 0

  constructor(context: CommandContext) {
    this.#context = context
    this.#brokers = context.arguments.required('brokers').split(',')
  }

  /** Whoever watches wants to see that nobody answers, not to be thrown out for it. */
  async health(): Promise<Health> {
    const details: string[] = []
    for (let tries = 0; tries < this.#brokers.length; tries += 1) {
      try {
        return await withBrokers(this.#context, askHealth, this.#brokers[this.#at])
      } catch (error) {
        if (!(error instanceof TidemarkError) || this.#context.signal.aborted) throw error
        details.push(describeError(error).line)
        this.#at = (this.#at + 1) % this.#brokers.length
      }
    }
    return healthFrom([{ name: 'answer', isOk: false, detail: details.join('; ') }])
  }
}

/** With the time where it is one of several; programs get all checks, whichever are shown. */
async function printHealth(
  { arguments: args, output }: CommandContext,
  { isHealthy, checks }: Health,
  shown: readonly Check[],
  at?: number,
): Promise<void> {
  const time = at === undefined ? undefined : `${new Date(at).toISOString().slice(0, 19)}Z`
  const format = args.required('format')
  if (format !== 'table')
    return await printValue(output, { ...(time === undefined ? {} : { time }), healthy: isHealthy, checks }, format)
  const word = isHealthy ? 'healthy' : 'not healthy'
  await output.line(time === undefined ? word : `${word} at ${time}`)
  const rows = shown.map(({ name, isOk, detail }) => ({ check: name, verdict: isOk ? 'ok' : 'bad', detail }))
  if (rows.length > 0) await printValue(output, rows, format)
}
