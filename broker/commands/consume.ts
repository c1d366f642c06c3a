// `tidemark consume`: records to the output stream, as fast as whoever reads it takes them. Values are never decoded
// unless JSON is asked for.

import type { Message } from '../../client/record-chunk.ts'
import type { ReadPosition, ReadPositions } from '../../client/read-position.ts'
import type { BrokerSession } from './broker-session.ts'
import type { CommandContext } from './command.ts'
import type { StartAt } from './offset-spec.ts'
import type { RecordPrinter } from './record-format.ts'
import { assertNever } from '../../shared/assert.ts'
import { systemTimers } from '../../shared/time.ts'
import { withBrokers } from './broker-session.ts'
import { UsageError } from './command.ts'
import { consumeInGroup } from './consume-group.ts'
import { parseOffsetRange } from './offset-spec.ts'
import { compileFormat, fieldsOf, printJson, printValueLine } from './record-format.ts'

type Batch = readonly Message[]

export async function consume(context: CommandContext): Promise<number> {
  const { arguments: args } = context
  const print = printerOf(context)
  const group = args.text('group')
  if (group !== undefined) {
    return await consumeInGroup(context, group, print, args.integer('count') ?? Number.POSITIVE_INFINITY)
  }
  const range = parseOffsetRange(args.list('offset'))
  const partitions = args.list('partition').map(parsePartition)
  const countMax = args.integer('count') ?? Number.POSITIVE_INFINITY
  if (countMax === 0) return 0
  const to =
    range.untilTimestamp === undefined ? (args.isOn('exit') ? 'end' : undefined) : new Date(range.untilTimestamp)
  return await withBrokers(context, async (session) => {
    const reader = session.read(args.required('topic'), {
      from:
        range.from.kind === 'offset'
          ? await nearestOffsets(context, session, range.from.offset, partitions)
          : readPosition(range.from),
      ...(to === undefined ? {} : { to }),
      ...(partitions.length === 0 ? {} : { partitions }),
      signal: context.signal,
    })
    try {
      await printAll(context, reader.batches(), print, countMax)
    } finally {
      reader.close()
    }
    return 0
  })
}

/**
 * Where each partition is read from when one offset is asked of all: partitions are not equally long, so one that does not
 * have the offset, not yet or not any more, is read from the nearest that it has.
 */
async function nearestOffsets(
  { arguments: args, note, signal }: CommandContext,
  session: BrokerSession,
  offset: number,
  partitions: readonly number[],
): Promise<ReadPositions> {
  const topic = args.required('topic')
  const which = { signal, ...(partitions.length === 0 ? {} : { partitions }) }
  const ends = await session.admin.offsets(topic, { ...which, at: 'end' })
  const starts = await session.admin.offsets(topic, { ...which, at: 'start' })
  const nearest = new Map<number, number>()
  for (const { partition, offset: end } of ends) nearest.set(partition, Math.min(offset, end ?? offset))
  if (ends.every(({ offset: end }) => end !== undefined && end < offset)) {
    const every = partitions.length === 0 ? `every partition of ${topic}` : 'what was asked for'
    note(`offset ${offset} is past the end of ${every}${args.isOn('exit') ? '' : '; waiting for new records'}`)
  }
  const trimmed = starts.filter(({ offset: start }) => start !== undefined && start > offset)
  for (const { partition, offset: start } of trimmed) nearest.set(partition, start ?? offset)
  if (trimmed.length > 0) {
    const shown = trimmed.slice(0, 10).map(({ partition, offset: start }) => `${partition} from ${start ?? '?'}`)
    const more = trimmed.length > shown.length ? ', …' : ''
    note(
      `offset ${offset} is gone in some partitions, which are read from where they begin: ${shown.join(', ')}${more}`,
    )
  }
  return nearest
}

async function printAll(
  { output }: CommandContext,
  batches: AsyncIterator<Batch, undefined>,
  print: RecordPrinter,
  countMax: number,
): Promise<void> {
  let left = countMax
  try {
    for (;;) {
      const next = batches.next()
      // What is there is written together; what is printed does not wait for what is not there yet.
      if (!(await isReady(next))) await output.flush()
      const { value: batch, done } = await next
      if (done === true) return
      for (const message of batch) {
        if (output.gather(print(fieldsOf(message)))) await output.flush()
        left--
        if (left === 0) return
      }
    }
  } finally {
    await output.flush()
  }
}

/** Whether the promise is settled by the end of this turn of the event loop. */
function isReady(promise: Promise<unknown>): Promise<boolean> {
  const settled = promise.then(
    () => true,
    () => true,
  )
  return Promise.race([settled, new Promise<false>((resolve) => systemTimers.atEndOfTurn(() => resolve(false)))])
}

function printerOf({ arguments: args }: CommandContext): RecordPrinter {
  const format = args.text('format')
  if (format !== undefined && args.isOn('json')) throw new UsageError('consume: --json and --format exclude each other')
  // As everywhere else; nobody means a text that is the same for all records.
  if (args.isOn('json') || format === 'json') return printJson
  return format === undefined ? printValueLine : compileFormat(format)
}

function parsePartition(text: string): number {
  if (!/^\d{1,10}$/.test(text)) throw new UsageError(`--partition must be the number of a partition, not '${text}'`)
  return Number(text)
}

function readPosition(start: StartAt): ReadPosition {
  switch (start.kind) {
    case 'start':
    case 'end':
      return start.kind
    case 'offset':
      return start.offset
    case 'tail':
      return start.records === 0 ? 'end' : -start.records
    case 'timestamp':
      return new Date(start.timestamp)
    default:
      return assertNever(start)
  }
}
