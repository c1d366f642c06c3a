// `tidemark topic …`: create, list, describe, alter, delete, add-partitions, trim. One that is refused does not hold up
// the rest: each refusal is a line, and the exit code tells that there was one.

import type { TidemarkError } from '../../shared/errors.ts'
import type { BrokerSession } from './broker-session.ts'
import type { CommandContext } from './command.ts'
import { refusalOf, withBrokers } from './broker-session.ts'
import { totalsOf, withKnownFigures } from '../../shared/partition-figures.ts'
import { splitPair, UsageError } from './command.ts'
import { describedByLeaders, electionWarnings, type Partition, type Topic } from './described-topics.ts'
import { describeError } from './error-lines.ts'
import { printValue } from './output.ts'

export async function createTopics(context: CommandContext): Promise<number> {
  const { arguments: args, output } = context
  const config = args.list('config').map((pair) => splitPair(pair, '--config'))
  const isDryRun = args.isOn('dry-run')
  const topics = await withBrokers(context, async (session) => {
    const answer = await session.ask('createTopics', {
      topics: operands(context, 'topics').map((topic) => ({
        topic,
        partitions: args.integer('partitions'),
        replicationFactor: args.integer('replication'),
        config: config.map(([name, value]) => [name, value] as const),
      })),
      validateOnly: isDryRun,
      timeoutMs: args.number('timeout'),
    })
    const made = answer.topics.filter(({ error, replicationFactor = 1 }) => error === 0 && replicationFactor > 2)
    if (made.length > 0 && !isDryRun) {
      const described = await session.ask('describeTopics', { topics: made.map(({ topic }) => topic) })
      for (const warning of electionWarnings(described.topics)) context.note(warning)
    }
    return answer.topics
  })
  const rows = topics.map(({ topic, error, message, partitions, replicationFactor }) => {
    const refusal = refusalOf({ error, message }, `topic ${topic}`)
    const isThere = refusal?.code === 'TOPIC_ALREADY_EXISTS' && args.isOn('if-not-exists')
    if (refusal !== undefined && !isThere) return sayRefusal(refusal)
    const outcome = isThere ? 'exists' : isDryRun ? 'would be created' : 'created'
    return { topic, partitions, replicas: replicationFactor, outcome }
  })
  return await printOutcomes(context, rows, output)
}

export async function listTopics(context: CommandContext): Promise<number> {
  const { arguments: args, output } = context
  const topics = await withBrokers(context, (session) => describedByLeaders(session, undefined, silenceNote(context)))
  if (topics.length === 0 && args.required('format') === 'table') {
    context.note('there are no topics; `tidemark topic create NAME` makes one')
    return 0
  }
  await printValue(output, topics.map(summaryOf), args.required('format'))
  return 0
}

export async function describeTopics(context: CommandContext): Promise<number> {
  const { arguments: args, output } = context
  const names = args.list('topics')
  const all = await withBrokers(context, (session) =>
    describedByLeaders(session, names.length === 0 ? undefined : names, silenceNote(context)),
  )
  const refusals = all.flatMap((topic) => refusalOf(topic, `topic ${topic.topic}`) ?? [])
  for (const refusal of refusals) sayRefusal(refusal)
  const topics = all.filter(({ error }) => error === 0)
  const format = args.required('format')
  if (format !== 'table') {
    const described = topics.map(({ error: _error, message: _message, partitions, ...topic }) => {
      return { ...topic, partitions: partitions.map(withKnownFigures) }
    })
    await printValue(output, described, format)
  } else if (args.isOn('partitions')) {
    const rows = topics.flatMap((topic) => topic.partitions.map((partition) => partitionRow(topic.topic, partition)))
    if (rows.length > 0) await printValue(output, rows, format)
  } else {
    for (const [index, topic] of topics.entries()) {
      if (index > 0) await output.line('')
      await printTopic(context, topic)
    }
  }
  for (const warning of electionWarnings(topics)) context.note(warning)
  return refusals.length === 0 ? 0 : 1
}

function silenceNote({ note }: CommandContext): (broker: number) => void {
  return (broker) => note(`broker ${broker} leads and did not answer in time: the others told what they know`)
}

export async function alterTopic(context: CommandContext): Promise<number> {
  const { arguments: args, output } = context
  const topic = args.required('topic')
  const set = args.list('config').map((pair) => splitPair(pair, '--config'))
  const remove = args.list('reset')
  if (set.length + remove.length === 0)
    throw new UsageError('topic alter: say what with --config KEY=VALUE or --reset KEY')
  await withBrokers(context, (session) =>
    session.ask('alterTopic', {
      topic,
      set: set.map(([name, value]) => [name, value] as const),
      remove,
      validateOnly: args.isOn('dry-run'),
    }),
  )
  const outcome = args.isOn('dry-run') ? 'would be altered' : 'altered'
  return await printOutcomes(context, [{ topic, outcome }], output)
}

export async function deleteTopics(context: CommandContext): Promise<number> {
  const { arguments: args, output } = context
  const { topics } = await withBrokers(context, (session) =>
    session.ask('deleteTopics', { topics: operands(context, 'topics'), timeoutMs: args.number('timeout') }),
  )
  const rows = topics.map((outcome) => {
    const refusal = refusalOf(outcome, `topic ${outcome.topic}`)
    const isGone = refusal?.code === 'UNKNOWN_TOPIC_OR_PARTITION' && args.isOn('if-exists')
    if (refusal !== undefined && !isGone) return sayRefusal(refusal)
    return { topic: outcome.topic, outcome: isGone ? 'was not there' : 'deleted' }
  })
  return await printOutcomes(context, rows, output)
}

export async function addPartitions(context: CommandContext): Promise<number> {
  const { arguments: args, output } = context
  const topic = args.required('topic')
  const partitions = args.integer('partitions')
  if (partitions === undefined)
    throw new UsageError('topic add-partitions: say how many there shall be with --partitions N')
  const validateOnly = args.isOn('dry-run')
  await withBrokers(context, (session) => session.ask('addPartitions', { topic, partitions, validateOnly }))
  const outcome = validateOnly ? 'would be altered' : 'altered'
  return await printOutcomes(context, [{ topic, partitions, outcome }], output)
}

export async function trimTopic(context: CommandContext): Promise<number> {
  const { arguments: args, output } = context
  const topic = args.required('topic')
  const beforeOffset = trimTarget(args.text('before'))
  const trimmed = await withBrokers(context, async (session) => {
    const only = args.integer('partition')
    const numbers = only === undefined ? await partitionNumbers(session, topic) : [only]
    const partitions = numbers.map((partition) => ({ partition, beforeOffset }))
    return await session.admin.trim({ topic, partitions }, { signal: context.signal })
  })
  const rows = trimmed.map(({ partition, logStartOffset }) => ({ topic, partition, logStartOffset }))
  await printValue(output, rows, args.required('format'))
  return 0
}

/** The numbers of the partitions of a topic. @throws UNKNOWN_TOPIC_OR_PARTITION */
export async function partitionNumbers(session: BrokerSession, topic: string): Promise<readonly number[]> {
  const { topics } = await session.ask('metadata', { topics: [topic], createMissing: false })
  const found = topics[0]
  const refusal = found === undefined ? undefined : refusalOf(found, `topic ${topic}`)
  if (refusal !== undefined) throw refusal
  return (found?.partitions ?? []).map(({ partition }) => partition).toSorted((a, b) => a - b)
}

function trimTarget(text: string | undefined): number | 'end' {
  if (text === 'end') return text
  if (text !== undefined && /^\d+$/.test(text) && Number.isSafeInteger(Number(text))) return Number(text)
  throw new UsageError(`topic trim: --before must be an offset or 'end'${text === undefined ? '' : `, not '${text}'`}`)
}

function operands(context: CommandContext, name: string): readonly string[] {
  const names = context.arguments.list(name)
  if (names.length === 0) throw new UsageError('the name of a topic is missing')
  return names
}

function sayRefusal(refusal: TidemarkError): undefined {
  console.error(`tidemark: ${describeError(refusal).line}`)
}

async function printOutcomes(
  context: CommandContext,
  rows: readonly (object | undefined)[],
  output: CommandContext['output'],
): Promise<number> {
  const done = rows.filter((row) => row !== undefined)
  const format = context.arguments.required('format')
  if (done.length > 0 || format !== 'table') await printValue(output, done, format)
  return done.length === rows.length ? 0 : 1
}

function summaryOf({ topic, partitions, replicationFactor, config }: Topic): object {
  const { offsets, bytes } = totalsOf(partitions)
  return {
    topic,
    partitions: partitions.length,
    replicas: replicationFactor,
    offsets: offsets ?? null,
    bytes: bytes ?? null,
    durability: config.find(({ name }) => name === 'durability')?.value,
  }
}

function partitionRow(topic: string, one: Partition): object {
  const isLed = one.leader !== undefined
  const { leader: lastLeader, inSyncReplicas: lastInSync = [] } = one.last ?? {}
  const isKnown = one.figuresOf !== undefined
  const known = <T>(figure: T): T | undefined => (isKnown ? figure : undefined)
  return {
    topic,
    partition: one.partition,
    leader: isLed ? one.leader : noneSince(lastLeader === undefined ? [] : [lastLeader]),
    epoch: one.leaderEpoch,
    replicas: one.replicas,
    movingTo: one.movingTo,
    inSync: isLed ? one.inSyncReplicas : noneSince(lastInSync),
    logStart: known(one.logStartOffset),
    highWatermark: known(one.highWatermark),
    logEnd: known(one.logEndOffset),
    recoveryPoint: known(one.recoveryPoint),
    segments: known(one.segments),
    bytes: known(one.bytes),
    state: one.reason === undefined ? one.state : `${one.state} (${one.reason})`,
  }
}

/** Without a leader nobody knows who is in sync, either: only who was. */
function noneSince(last: readonly number[]): string {
  return last.length === 0 ? 'none' : `none (last ${last.join(',')})`
}

async function printTopic({ output }: CommandContext, topic: Topic): Promise<void> {
  await printValue(output, { ...summaryOf(topic), topicId: topic.topicId }, 'table')
  await output.line('')
  const settings = topic.config.map(({ name, value, isDefault, about }) => ({
    setting: name,
    value,
    from: isDefault ? 'default' : 'topic',
    about,
  }))
  await printValue(output, settings, 'table')
}
