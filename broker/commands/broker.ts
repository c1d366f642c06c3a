// `tidemark broker drain`, `move`, `balance`, `readmit` and `decommission`: which brokers lead and hold what. What takes long
// goes on in the brokers, whether or not somebody waits for it; --wait watches, and outlives brokers that go.

import type { MovedPartition } from '../../client/admin.ts'
import type { BrokerSession } from './broker-session.ts'
import type { CommandContext } from './command.ts'
import { TidemarkError } from '../../shared/errors.ts'
import { sleep, systemClock, systemTimers } from '../../shared/time.ts'
import { withBrokers } from './broker-session.ts'
import { UsageError } from './command.ts'
import { describedByLeaders, growthWarning, type Partition, type Topic } from './described-topics.ts'
import { describeError } from './error-lines.ts'
import { printValue } from './output.ts'

const WATCH_INTERVAL_MS = 250
/** A broker that goes is asked again by then what is left of it, so that nothing that came meanwhile is forgotten. */
const PLAN_INTERVAL_MS = 1_000
const MOVES_AT_ONCE = 1_000
/** As often as it is looked again when neither a move nor its end is to be seen. */
const QUIET_LOOKS = 8
/** Whoever waits so long for nothing is told why. */
const PATIENCE_MS = 10_000
const LINES_MAX = 20
const NOTHING_TO_DO = 'nothing to do'

export async function drainBroker(context: CommandContext): Promise<number> {
  const { arguments: args, output, signal } = context
  const broker = brokerOperand(context)
  const isUndone = args.isOn('undo')
  if (isUndone && args.isOn('wait')) throw new UsageError('broker drain: --undo and --wait exclude each other')
  await withBrokers(context, async (session) => {
    if (isUndone) await session.admin.undrainBroker(broker, { signal })
    else await session.admin.drainBroker(broker, { signal })
    const leads = args.isOn('wait') ? await untilLeadsNothing(context, session, broker) : await leadsOf(session, broker)
    const outcome = isUndone ? 'not drained' : 'drained'
    await printValue(output, [{ broker, outcome, leads }], args.required('format'))
  })
  return 0
}

/** Says how many are left, whenever that has changed. */
async function untilLeadsNothing(context: CommandContext, session: BrokerSession, broker: number): Promise<number> {
  let before: number | undefined
  for (;;) {
    const leads = (await leadsOf(session, broker)) ?? 0
    if (leads === 0) return leads
    if (leads !== before) context.note(`broker ${broker} leads ${leads} partitions still`)
    before = leads
    await sleep(systemTimers, WATCH_INTERVAL_MS, context.signal)
  }
}

/** Undefined where the broker is away. */
async function leadsOf(session: BrokerSession, broker: number): Promise<number | undefined> {
  const { brokers } = await session.ask('clusterInfo', {})
  return brokers.find(({ brokerId }) => brokerId === broker)?.leaders
}

export async function movePartition(context: CommandContext): Promise<number> {
  const { arguments: args, output, signal } = context
  const { topic, partition, replicas } = moveAsked(context)
  const validateOnly = args.isOn('dry-run')
  return await withBrokers(context, async (session) => {
    const moves = [{ topic, partition, replicas }]
    const [moved] = await session.admin.movePartitions({ moves, validateOnly }, { signal })
    const { from = [], to = [], isThere: isNothingToDo = false } = moved ?? {}
    const print = async (outcome: string): Promise<void> => {
      await printValue(output, [{ topic, partition, from, to, outcome }], args.required('format'))
    }
    if (isNothingToDo) {
      await print(NOTHING_TO_DO)
      return 0
    }
    const described = (await session.ask('describeTopics', { topics: [topic] })).topics[0]
    const warning = described === undefined ? undefined : growthWarning(described, partition, replicas.length)
    if (warning !== undefined) context.note(warning)
    if (validateOnly || !args.isOn('wait')) {
      const outcome = replicas.length === 0 ? 'called off' : 'on its way'
      await print(validateOnly ? `would be ${outcome}` : outcome)
      return 0
    }
    if (replicas.length > 0)
      context.note(`${topic}-${partition} is on its way from ${from.join(', ')} to ${to.join(', ')}`)
    const replicasNow = await untilThere(context, session, { topic, partition, to: replicas })
    const isThere = replicas.length === 0 || replicasNow.join(',') === replicas.join(',')
    await print(isThere ? 'done' : `somebody else wants ${replicasNow.join(', ')}`)
    return isThere ? 0 : 1
  })
}

export async function decommissionBroker(context: CommandContext): Promise<number> {
  const { arguments: args, output, signal } = context
  const broker = brokerOperand(context)
  const validateOnly = args.isOn('dry-run')
  return await withBrokers(context, async (session) => {
    const { moved, left } = await session.admin.decommissionBroker(broker, { validateOnly, signal })
    if (moved.length > 0) {
      const outcome = validateOnly ? 'would be moved' : 'on its way'
      const rows = moved.map(({ topic, partition, from, to }) => ({ topic, partition, from, to, outcome }))
      await printValue(output, rows, args.required('format'))
    }
    if (validateOnly) return 0
    const isDone = left === 0 || (args.isOn('wait') && (await untilNothingLeft(context, session, broker, left)))
    if (isDone) context.note(`broker ${broker} holds nothing any more: it may be stopped for good`)
    else
      context.note(`broker ${broker} holds ${replicasOf(left)} still: do not stop it; the same call with --wait waits`)
    return 0
  })
}

/** A move to the brokers where a partition is already: to the disks that they have now. */
export async function readmitBroker(context: CommandContext): Promise<number> {
  const { arguments: args, output, signal } = context
  const broker = brokerOperand(context)
  return await withBrokers(context, async (session) => {
    const topics = await session.admin.describeTopics(undefined, { signal })
    const moves = topics.flatMap(({ topic, partitions }) => {
      const strange = partitions.filter(({ replicas, movingTo }) => replicas.includes(broker) && movingTo === undefined)
      return strange.map(({ partition, replicas }) => ({ topic, partition, replicas }))
    })
    const moved: MovedPartition[] = []
    for (let from = 0; from < moves.length; from += MOVES_AT_ONCE) {
      const some = moves.slice(from, from + MOVES_AT_ONCE)
      moved.push(...(await session.admin.movePartitions({ moves: some }, { signal })))
    }
    const begun = moved.filter(({ isThere }) => !isThere)
    const isWaiting = args.isOn('wait')
    if (begun.length === 0) {
      context.note(`${NOTHING_TO_DO}: what broker ${broker} has counts, or is on its way already`)
    } else if (isWaiting) {
      const lines = begun.map(({ topic, partition, to }) => `${topic}-${partition} is on its way to ${to.join(', ')}`)
      noteSome(context, lines)
      await untilNoneMoves(context, session, begun)
    }
    const rows = moved.map(({ topic, partition, to: replicas, isThere }) => {
      const outcome = isThere ? NOTHING_TO_DO : isWaiting ? 'done' : 'on its way'
      return { topic, partition, replicas, outcome }
    })
    if (rows.length > 0 || args.required('format') !== 'table') {
      await printValue(output, rows, args.required('format'))
    }
    return 0
  })
}

export async function balanceBrokers(context: CommandContext): Promise<number> {
  const { arguments: args, output, signal } = context
  const validateOnly = args.isOn('dry-run')
  const isWaiting = args.isOn('wait') && !validateOnly
  const rows: object[] = []
  await withBrokers(context, async (session) => {
    for (;;) {
      const { moved, underWay } = await session.admin.balanceReplicas({
        movesMax: args.number('max'),
        validateOnly,
        signal,
      })
      if (underWay > 0) context.note(`${underWay} partitions were on their way before, and are left alone`)
      if (moved.length === 0) context.note(rows.length === 0 ? `${NOTHING_TO_DO}: the brokers are even` : 'even')
      const outcome = validateOnly ? 'would be moved' : isWaiting ? 'done' : 'on its way'
      rows.push(...moved.map(({ topic, partition, from, to }) => ({ topic, partition, from, to, outcome })))
      if (!isWaiting || moved.length === 0) return
      noteSome(
        context,
        moved.map(({ topic, partition, to }) => `${topic}-${partition} is on its way to ${to.join(', ')}`),
      )
      await untilNoneMoves(context, session, moved)
    }
  })
  if (rows.length > 0 || args.required('format') !== 'table') await printValue(output, rows, args.required('format'))
  return 0
}

/** Until the partitions are where they were sent. */
async function untilNoneMoves(
  context: CommandContext,
  session: BrokerSession,
  begun: readonly MovedPartition[],
): Promise<void> {
  const mine = new Set(begun.map(({ topic, partition }) => `${topic}-${partition}`))
  const patience = new Patience(context)
  // Each time perhaps another broker is asked, which may not have heard of the moves yet.
  for (let quiet = 0; quiet < QUIET_LOOKS;) {
    const described = await whileBrokersGo(context, () => session.admin.describeTopics())
    const left = described?.flatMap(({ topic, partitions }) => {
      const moving = partitions.filter(({ movingTo }) => movingTo !== undefined)
      return moving.flatMap(({ partition, reason = 'its records are copied' }) => {
        const name = `${topic}-${partition}`
        return mine.has(name) ? [{ name, why: `${name} waits: ${reason}` }] : []
      })
    })
    quiet = left?.length === 0 ? quiet + 1 : 0
    if (left !== undefined && left.length > 0) {
      const names = left.map(({ name }) => name).join()
      patience.look(
        names,
        left.map(({ why }) => why),
      )
    }
    await sleep(systemTimers, WATCH_INTERVAL_MS, context.signal)
  }
}

/** Says what is waited for, and why, when that has been the same for some time; the same only once. */
class Patience {
  readonly #context: CommandContext
  #state: string | undefined
  #since = 0
  #said: string | undefined

  constructor(context: CommandContext) {
    this.#context = context
  }

  look(state: string, lines: readonly string[]): void {
    const now = systemClock.monotonic()
    if (state !== this.#state) {
      this.#state = state
      this.#since = now
    }
    if (now - this.#since < PATIENCE_MS) return
    this.#since = now
    const said = lines.join('\n')
    if (said !== this.#said) noteSome(this.#context, lines)
    this.#said = said
  }
}

function noteSome({ note }: CommandContext, lines: readonly string[]): void {
  for (const line of lines.slice(0, LINES_MAX)) note(line)
  if (lines.length > LINES_MAX) note(`and ${lines.length - LINES_MAX} others`)
}

/** Resolves with the replicas when no move is under way any more. */
async function untilThere(
  context: CommandContext,
  session: BrokerSession,
  move: { readonly topic: string; readonly partition: number; readonly to: readonly number[] },
): Promise<readonly number[]> {
  const { topic, partition, to } = move
  let shown = 'on its way'
  let waits = 0
  const patience = new Patience(context)
  for (;;) {
    // Its leader knows best what a move waits for.
    const one = await whileBrokersGo(context, async () =>
      partitionOf(topic, await describedByLeaders(session, [topic]), partition),
    )
    const isElsewhere = one?.movingTo === undefined && one?.replicas.join(',') !== to.join(',')
    if (one !== undefined && one.movingTo === undefined) {
      // The broker that was asked may not have heard of the move yet.
      waits += 1
      if (!isElsewhere || waits > QUIET_LOOKS) return one.replicas
    } else waits = 0
    const state = one?.reason ?? shown
    if (state !== shown) context.note(`${topic}-${partition}: ${state}`)
    shown = state
    if (one !== undefined) patience.look(state, [`${topic}-${partition} waits: ${state}`])
    await sleep(systemTimers, WATCH_INTERVAL_MS, context.signal)
  }
}

async function untilNothingLeft(
  context: CommandContext,
  session: BrokerSession,
  broker: number,
  before: number,
): Promise<true> {
  let shown = before
  context.note(`broker ${broker} holds ${replicasOf(shown)} still`)
  for (;;) {
    await sleep(systemTimers, PLAN_INTERVAL_MS, context.signal)
    const left = await whileBrokersGo(context, () => leftOf(session, broker))
    if (left === undefined) continue
    if (left === 0) return true
    if (left !== shown) context.note(`broker ${broker} holds ${replicasOf(left)} still`)
    shown = left
  }
}

function replicasOf(count: number): string {
  return count === 1 ? '1 replica' : `${count} replicas`
}

/** Asks again for what came meanwhile. A broker that is away and has lost its last replica is known to nobody any more. */
async function leftOf(session: BrokerSession, broker: number): Promise<number> {
  try {
    return (await session.admin.decommissionBroker(broker)).left
  } catch (error) {
    if (!(error instanceof TidemarkError) || error.code !== 'INVALID_REQUEST') throw error
    const topics = await session.admin.describeTopics()
    const holds = topics.flatMap(({ partitions }) =>
      partitions.map(({ replicas, movingTo = [] }) => [...replicas, ...movingTo]),
    )
    if (holds.some((brokers) => brokers.includes(broker))) throw error
    return 0
  }
}

/** Undefined when nobody could say just now: whoever waits goes on. */
async function whileBrokersGo<T>(context: CommandContext, ask: () => Promise<T>): Promise<T | undefined> {
  try {
    return await ask()
  } catch (error) {
    if (!(error instanceof TidemarkError) || !error.retriable || context.signal.aborted) throw error
    context.note(describeError(error).line)
    return undefined
  }
}

function partitionOf(topic: string, described: readonly Topic[], partition: number): Partition {
  const found = described[0]?.partitions.find((one) => one.partition === partition)
  if (found !== undefined) return found
  throw new TidemarkError('UNKNOWN_TOPIC_OR_PARTITION', `there is no partition ${topic}-${partition}`)
}

function moveAsked({ arguments: args }: CommandContext): { topic: string; partition: number; replicas: number[] } {
  const topic = args.text('topic')
  const partition = args.integer('partition')
  const to = args.text('to')
  if (topic === undefined || partition === undefined) {
    throw new UsageError('broker move: say which partition with --topic NAME --partition N')
  }
  if (args.isOn('cancel') === (to !== undefined)) {
    throw new UsageError('broker move: say where to with --to 1,2,3, or --cancel')
  }
  const replicas = to === undefined ? [] : to.split(',').map((text) => brokerNumber(text.trim(), '--to'))
  return { topic, partition, replicas }
}

function brokerOperand(context: CommandContext): number {
  return brokerNumber(context.arguments.required('broker'), 'the number of a broker')
}

function brokerNumber(text: string, what: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text)
  const isList = what.startsWith('--')
  throw new UsageError(
    `${what} must be ${isList ? 'numbers of brokers, with commas' : 'a whole number'}, not '${text}'`,
  )
}
