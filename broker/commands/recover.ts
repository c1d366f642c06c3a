// `tidemark topic recover`: what each replica of a partition without a leader still has, and the decision to go on with one.

import type { PartitionRecovery } from '../../client/admin.ts'
import type { BrokerSession } from './broker-session.ts'
import type { CommandContext } from './command.ts'
import { TidemarkError } from '../../shared/errors.ts'
import { withBrokers } from './broker-session.ts'
import { UsageError } from './command.ts'
import { describeError } from './error-lines.ts'
import { printValue } from './output.ts'

export async function recoverPartition(context: CommandContext): Promise<number> {
  const { arguments: args, output, signal } = context
  const topic = args.required('topic')
  const partition = args.integer('partition')
  const only = args.integer('broker')
  const isLossAccepted = args.isOn('accept-data-loss')
  if (partition === undefined) throw new UsageError('topic recover: say which partition with --partition N')
  if (isLossAccepted && only === undefined) {
    throw new UsageError('topic recover: --accept-data-loss needs --broker N: the one whose replica is to go on')
  }
  return await withBrokers(context, async (session) => {
    const brokers = only === undefined ? await brokersThere(session, topic, partition) : [only]
    const rows: object[] = []
    for (const broker of brokers) {
      const asked = { topic, partition, brokerId: broker, isLossAccepted }
      try {
        rows.push(rowOf(context, broker, await session.admin.recoverPartition(asked, { signal })))
      } catch (error) {
        if (!(error instanceof TidemarkError) || brokers.length === 1) throw error
        context.note(`broker ${broker}: ${describeError(error).line}`)
      }
    }
    await printValue(output, rows, args.required('format'))
    if (!isLossAccepted) context.note('nothing was changed')
    return rows.length > 0 ? 0 : 1
  })
}

function rowOf({ note, arguments: args }: CommandContext, broker: number, recovery: PartitionRecovery): object {
  const { isDone, logStartOffset, highWatermark, logEndOffset, notes } = recovery
  const isTable = args.required('format') === 'table'
  if (isTable) for (const line of notes) note(`broker ${broker}: ${line}`)
  const row = { broker, logStart: logStartOffset, highWatermark, logEnd: logEndOffset, leads: isDone }
  return isTable ? row : Object.assign(row, { notes })
}

/** Those that are members and have a replica. @throws UNKNOWN_TOPIC_OR_PARTITION, CONNECTION_FAILED */
async function brokersThere(session: BrokerSession, topic: string, partition: number): Promise<readonly number[]> {
  const { partitions } = await session.admin.describeTopic(topic)
  const { brokers } = await session.admin.describeCluster()
  const replicas = partitions.find((one) => one.partition === partition)?.replicas
  if (replicas === undefined) {
    throw new TidemarkError('UNKNOWN_TOPIC_OR_PARTITION', `there is no partition ${topic}-${partition}`)
  }
  const there = replicas.filter((id) => brokers.some(({ brokerId }) => brokerId === id))
  if (there.length > 0) return there
  throw new TidemarkError(
    'CONNECTION_FAILED',
    `no broker with a replica of ${topic}-${partition} is there: start one of ${replicas.join(', ')}`,
  )
}
