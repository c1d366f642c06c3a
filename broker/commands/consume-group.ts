// `tidemark consume -g`: records as a member of a group. What has been printed, and no more, is committed: every few seconds,
// at the end, and when Ctrl-C is pressed, so that the next one goes on where this one ended.

import type { Message } from '../../client/record-chunk.ts'
import type { CommandContext } from './command.ts'
import type { RecordPrinter } from './record-format.ts'
import { sleep, systemTimers, type Timer } from '../../shared/time.ts'
import { withBrokers } from './broker-session.ts'
import { UsageError } from './command.ts'
import { parseOffsetRange } from './offset-spec.ts'
import { fieldsOf } from './record-format.ts'

/** How often it is looked whether the end is reached, or the consumer closing. */
const LOOK_EVERY_MS = 100
const CLOSE_TIMEOUT_MS = 5_000

export async function consumeInGroup(
  context: CommandContext,
  groupId: string,
  print: RecordPrinter,
  countMax: number,
): Promise<number> {
  const { arguments: args, output, signal } = context
  const topic = args.required('topic')
  const isToEnd = args.isOn('exit')
  const fromBeginning = isFromBeginning(context)
  if (args.list('partition').length > 0) {
    throw new UsageError('consume: the group shares out the partitions: --partition and --group exclude each other')
  }
  await withBrokers(context, async (session) => {
    const ends = isToEnd ? await session.admin.offsets(topic, { at: 'end', signal }) : []
    const consumer = session.consumer({ groupId, topics: [topic], fromBeginning })
    /** As the ends were at the beginning. With nothing to do for this member the others are at it. */
    const isAtEnd = (): boolean =>
      consumer.assignment().every(({ partition, position }) => position >= (ends[partition]?.offset ?? 0))
    let looking: Timer | undefined
    let left = countMax
    const isOver = new Promise<void>((resolve, reject) => {
      signal.addEventListener('abort', () => resolve(), { once: true })
      consumer.on('error', (error) => {
        if (error.fatal) reject(error)
        else context.note(error.message)
      })
      consumer.on('moved', ({ partition, from, to, reason }) => {
        context.note(`${topic}-${partition}: goes on at ${to} instead of ${from}: ${reason}`)
      })
      consumer.on('revoked', ({ partitions, isLost, reason }) => {
        const names = partitions.map((one) => `${one.topic}-${one.partition}`)
        if (isLost && names.length > 0) context.note(`lost ${names.join(', ')}: ${reason}`)
      })
      const look = (): void => {
        if (isAtEnd()) resolve()
        else looking = systemTimers.after(LOOK_EVERY_MS, look)
      }
      const eachBatch = async (payload: EachBatch): Promise<void> => {
        for (const message of payload.batch.messages.slice(0, left)) {
          if (output.gather(print(fieldsOf(message)))) await output.flush()
          left -= 1
          payload.resolve(message.offset)
        }
        await output.flush()
        if (left > 0) return
        resolve()
        // What is behind stays for whoever comes next: a handler that returns before it is told that all is over has done it all.
        while (!payload.isStale()) await sleep(systemTimers, LOOK_EVERY_MS)
      }
      // One at a time: a count is kept exactly, and lines of several partitions do not mix.
      consumer.run({ eachBatch, concurrency: 1 }).then(
        () => (isToEnd ? look() : undefined),
        (error: unknown) => reject(error as Error),
      )
    })
    try {
      await isOver
    } finally {
      looking?.cancel()
      await consumer.close({ timeoutMs: CLOSE_TIMEOUT_MS })
    }
  })
  return 0
}

interface EachBatch {
  readonly batch: { readonly messages: readonly Message[] }
  resolve(offset: number): void
  isStale(): boolean
}

/** Where the group begins, in partitions of which it has committed nothing. @throws UsageError */
function isFromBeginning({ arguments: args }: CommandContext): boolean {
  const { from, untilTimestamp } = parseOffsetRange(args.list('offset'))
  if (untilTimestamp === undefined && (from.kind === 'start' || from.kind === 'end')) return from.kind === 'start'
  throw new UsageError(
    'consume: a group goes on where it has committed; --offset may be start or end, for where nothing is; see group seek',
  )
}
