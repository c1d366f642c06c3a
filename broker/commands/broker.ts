// `tidemark broker drain`: which brokers lead and hold what. What takes long goes on in the brokers; --wait only watches.

import type { BrokerSession } from './broker-session.ts'
import type { CommandContext } from './command.ts'
import { sleep, systemTimers } from '../../shared/time.ts'
import { withBrokers } from './broker-session.ts'
import { UsageError } from './command.ts'
import { printValue } from './output.ts'

const WATCH_INTERVAL_MS = 250

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

function brokerOperand(context: CommandContext): number {
  const text = context.arguments.required('broker')
  if (/^\d{1,9}$/.test(text)) return Number(text)
  throw new UsageError(`the number of a broker is a whole number, not '${text}'`)
}
