// The bytes of a voters record: a control record of type voters, alone in its batch (FORMAT.md, Voters records). Owns its
// value; knows nothing of where it stands in a log and of what follows from it.

import { TidemarkError } from '../../shared/errors.ts'
import { brokerId } from '../../shared/ids.ts'
import type { ControlBatchOptions } from '../../shared/record-batch/encode.ts'
import { controlTypeOf, forEachRecord } from '../../shared/record-batch/decode.ts'
import { CONTROL_BIT } from '../../shared/record-batch/format.ts'
import { attributesAt } from '../../shared/record-batch/header.ts'
import type { Voter, VoterSet } from '../../shared/voters.ts'
import { isValidSet } from '../../shared/voters.ts'
import type { VotersRecord } from './voters-history.ts'

const VERSION = 0
const SET_BYTES = 4
const VOTER_BYTES = 6

/** With `next`, both sets must agree until the next record. Both are valid. */
export function encodeVotersRecord(
  set: VoterSet,
  next: VoterSet | undefined,
): Pick<ControlBatchOptions, 'type' | 'version' | 'value'> {
  const parts = [Buffer.from([next === undefined ? 1 : 2]), encodeSet(set)]
  if (next !== undefined) parts.push(encodeSet(next))
  return { type: 'voters', version: VERSION, value: new Uint8Array(Buffer.concat(parts)) }
}

/**
 * The voters record of the batch at the position; undefined for a batch that has none. The batch is sound.
 * @throws CORRUPT_MESSAGE for one that cannot be read, DIRECTORY_FORMAT_UNKNOWN for one of a newer version
 */
export function votersRecordAt(bytes: Uint8Array, at: number): VotersRecord | undefined {
  if ((attributesAt(bytes, at) & CONTROL_BIT) === 0) return undefined
  let found: VotersRecord | undefined
  forEachRecord(bytes, at, (record) => {
    if (controlTypeOf(record) !== 'voters') return
    const version = ((record.key?.[0] ?? 0) << 8) | (record.key?.[1] ?? 0)
    if (version !== VERSION) {
      const text = `a voters record has version ${version}; this software knows version ${VERSION}`
      throw new TidemarkError('DIRECTORY_FORMAT_UNKNOWN', text)
    }
    found = { offset: record.offset, ...decodeSets(record.value ?? new Uint8Array(0)) }
  })
  return found
}

/** Why the voters record of the batch cannot be read; undefined when it can, or when it has none. */
export function votersFaultAt(bytes: Uint8Array, at: number): TidemarkError | undefined {
  try {
    votersRecordAt(bytes, at)
    return undefined
  } catch (error) {
    if (error instanceof TidemarkError) return error
    throw error
  }
}

function encodeSet({ voters, minInSyncReplicas }: VoterSet): Buffer {
  const head = Buffer.alloc(SET_BYTES)
  head.writeUInt16BE(minInSyncReplicas, 0)
  head.writeUInt16BE(voters.length, 2)
  return Buffer.concat([head, ...voters.map(encodeVoter)])
}

function encodeVoter(voter: Voter): Buffer {
  const directory = Buffer.from(voter.directoryId)
  const head = Buffer.alloc(VOTER_BYTES)
  head.writeInt32BE(voter.brokerId, 0)
  head.writeUInt16BE(directory.length, 4)
  return Buffer.concat([head, directory])
}

function decodeSets(value: Uint8Array): Pick<VotersRecord, 'set' | 'next'> {
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength)
  try {
    const count = bytes.readUInt8(0)
    if (count !== 1 && count !== 2) throw unreadable(`it has ${count} sets`)
    const first = decodeSet(bytes, 1)
    const next = count === 2 ? decodeSet(bytes, first.end) : undefined
    const end = next?.end ?? first.end
    if (end !== bytes.length) throw unreadable(`it ends at byte ${end} of ${bytes.length}`)
    return { set: first.set, next: next?.set }
  } catch (error) {
    if (error instanceof RangeError) throw unreadable(error.message)
    throw error
  }
}

/** @throws RangeError when it ends too early, or has what is no broker id */
function decodeSet(bytes: Buffer, at: number): { readonly set: VoterSet; readonly end: number } {
  const minInSyncReplicas = bytes.readUInt16BE(at)
  const count = bytes.readUInt16BE(at + 2)
  const voters: Voter[] = []
  let end = at + SET_BYTES
  for (let index = 0; index < count; index += 1) {
    const id = brokerId(bytes.readInt32BE(end))
    const from = end + VOTER_BYTES
    end = from + bytes.readUInt16BE(end + 4)
    if (end > bytes.length) throw unreadable('it is cut short')
    voters.push({ brokerId: id, directoryId: bytes.toString('utf8', from, end) })
  }
  const set = { voters, minInSyncReplicas }
  if (!isValidSet(set)) throw unreadable('one of its sets cannot be')
  return { set, end }
}

function unreadable(what: string): TidemarkError {
  return new TidemarkError('CORRUPT_MESSAGE', `a voters record cannot be read: ${what}`)
}
