// `tidemark offsets`: where each partition begins and ends, and where it stood at a time.

import type { CommandContext } from './command.ts'
import { withBrokers } from './broker-session.ts'
import { UsageError } from './command.ts'
import { printValue } from './output.ts'

export async function offsets(context: CommandContext): Promise<number> {
  const { arguments: args, output } = context
  const topic = args.required('topic')
  const atText = args.text('at')
  const timestamp = atText === undefined ? undefined : parseTimestamp(atText, '--at')
  const rows = await withBrokers(context, async ({ admin }) => {
    const { signal } = context
    const starts = await admin.offsets(topic, { at: 'start', signal })
    const ends = await admin.offsets(topic, { at: 'end', signal })
    const then = timestamp === undefined ? undefined : await admin.offsets(topic, { at: new Date(timestamp), signal })
    return starts.map(({ partition, offset: start = 0 }, index) => {
      const end = ends[index]?.offset ?? start
      const row = { topic, partition, start, end, offsets: end - start }
      return then === undefined ? row : Object.assign(row, { at: then[index]?.offset ?? end })
    })
  })
  await printValue(output, rows, args.required('format'))
  return 0
}

/** Milliseconds since 1970, or a date as ISO 8601 has it. @throws UsageError */
export function parseTimestamp(text: string, flag: string): number {
  const value = /^\d+$/.test(text) ? Number(text) : Date.parse(text)
  if (Number.isSafeInteger(value) && value >= 0) return value
  throw new UsageError(`${flag} must be milliseconds since 1970 or a date such as 2026-11-21T08:00:00Z, not '${text}'`)
}
