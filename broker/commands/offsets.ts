// `tidemark offsets`: where each partition begins and ends, and where it stood at a time.

import type { CommandContext } from './command.ts'
import { OFFSET_AT } from '../../shared/protocol/offsets.ts'
import { refusalOf, withBrokers } from './broker-session.ts'
import { UsageError } from './command.ts'
import { printValue } from './output.ts'
import { partitionNumbers } from './topic.ts'

export async function offsets(context: CommandContext): Promise<number> {
  const { arguments: args, output } = context
  const topic = args.required('topic')
  const atText = args.text('at')
  const timestamp = atText === undefined ? undefined : parseTimestamp(atText, '--at')
  const rows = await withBrokers(context, async (session) => {
    const partitions = await partitionNumbers(session, topic)
    const offsetsAt = async (at: number): Promise<readonly (number | undefined)[]> => {
      const request = partitions.map((partition) => ({ topic, partition, leaderEpoch: undefined, at }))
      const answer = await session.ask('listOffsets', { partitions: request })
      return answer.partitions.map((one, index) => {
        const refusal = refusalOf(one, `${topic}-${partitions[index] ?? 0}`)
        if (refusal !== undefined) throw refusal
        return one.offset
      })
    }
    const starts = await offsetsAt(OFFSET_AT.earliest)
    const ends = await offsetsAt(OFFSET_AT.latest)
    const then = timestamp === undefined ? undefined : await offsetsAt(timestamp)
    return partitions.map((partition, index) => {
      const start = starts[index]
      const end = ends[index]
      const row = { topic, partition, start, end, records: (end ?? 0) - (start ?? 0) }
      return then === undefined ? row : Object.assign(row, { at: then[index] ?? end })
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
