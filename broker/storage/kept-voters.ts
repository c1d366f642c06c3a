// The voters records of one log, in memory and in their file. Owns when the file is written and what it may say; what the
// records mean is voters-history.ts.
//
// Invariant: the file knows every voters record below the recovery point and below the log start, and none that was never
// written. What it says at or above the recovery point is believed only where the log itself has lost the bytes.

import { TidemarkError } from '../../shared/errors.ts'
import type { Offset } from '../../shared/ids.ts'
import { brokerId, offset as toOffset } from '../../shared/ids.ts'
import type { Voter, VoterSet } from '../../shared/voters.ts'
import { isValidSet } from '../../shared/voters.ts'
import { fieldOf, readCheckpoint, writeCheckpoint } from './checkpoint-file.ts'
import { VOTERS_FILE } from './file-names.ts'
import type { StorageContext } from './storage-context.ts'
import { VotersHistory } from './voters-history.ts'
import type { VotersRecord } from './voters-history.ts'

/** What is in force once the log begins at the offset; until then the records of the file are. */
interface Restart {
  readonly logStartOffset: Offset
  readonly record: VotersRecord | undefined
}

export class KeptVoters {
  readonly #context: StorageContext
  readonly #directory: string
  readonly #history: VotersHistory
  /** Without those that are staged and may be taken back; undefined when there are none. */
  #written: readonly VotersRecord[] | undefined
  #restart: Restart | undefined
  #hasUnsaved: boolean

  /** With `isSaved`, the file says just that. */
  constructor(context: StorageContext, directory: string, records: readonly VotersRecord[], isSaved: boolean) {
    this.#context = context
    this.#directory = directory
    this.#history = new VotersHistory(records)
    this.#hasUnsaved = !isSaved
  }

  get records(): readonly VotersRecord[] {
    return this.#history.records
  }

  get hasUnsaved(): boolean {
    return this.#hasUnsaved
  }

  heldEndOffset(writtenEndOffset: Offset, syncedEndOffset: Offset): Offset {
    return this.#history.heldEndOffset(writtenEndOffset, syncedEndOffset)
  }

  /** The record has been staged. */
  append(record: VotersRecord): void {
    this.#written ??= this.#history.records
    this.#history.append(record)
    this.#hasUnsaved = true
  }

  /** What was staged is written. */
  onWritten(): void {
    this.#written = undefined
  }

  /** What was staged is taken back, from the offset on. */
  undo(offset: Offset): void {
    this.#history.truncateTo(offset)
    this.#written = undefined
  }

  /** Durable when it resolves. Nothing is done when the file says it already. @throws DiskError */
  async save(): Promise<void> {
    if (!this.#hasUnsaved) return
    this.#hasUnsaved = this.#written !== undefined
    await this.#write(this.#written ?? this.#history.records)
  }

  /**
   * Nothing that stands at or above the offset may be remembered: the log is about to be cut there. The recovery point has
   * been lowered, so that a recovery finds in the log whatever has not been cut. @throws DiskError, and nothing has changed
   */
  async truncateTo(offset: Offset): Promise<void> {
    const kept = this.#history.records.filter((record) => record.offset < offset)
    if (kept.length === this.#history.records.length) return
    await this.#write(kept)
    this.#history.truncateTo(offset)
    this.#hasUnsaved = false
  }

  /** The log begins at the offset. */
  trimTo(logStartOffset: Offset): void {
    const { records } = this.#history
    this.#history.trimTo(logStartOffset)
    if (this.#history.records !== records) this.#hasUnsaved = true
  }

  /**
   * The log is about to become empty and to begin at the offset, where this record is in force: says so, for as soon as the
   * log does begin there. @throws DiskError
   */
  async beforeRestart(logStartOffset: Offset, record: VotersRecord | undefined): Promise<void> {
    const { records } = this.#history
    if (records.length === 0 && record === undefined) return
    const restart = { logStartOffset, record }
    await this.#write(records, restart)
    this.#restart = restart
    this.#hasUnsaved = false
  }

  /** The log begins where it says, be it where it was about to or where it began before. */
  settleRestart(logStartOffset: Offset): void {
    if (this.#restart === undefined) return
    if (logStartOffset >= this.#restart.logStartOffset) this.#history.restartWith(this.#restart.record)
    this.#restart = undefined
    this.#hasUnsaved = true
  }

  async #write(records: readonly VotersRecord[], restart?: Restart): Promise<void> {
    try {
      const value = {
        records: records.map(encode),
        ...(restart === undefined ? {} : { restart: encodeRestart(restart) }),
      }
      await writeCheckpoint(this.#context.disk, `${this.#directory}/${VOTERS_FILE}`, value)
    } catch (error) {
      this.#hasUnsaved = true
      throw error
    }
  }
}

/** What a voters file says. */
export interface FoundVoters {
  readonly records: readonly VotersRecord[]
  readonly restart: Restart | undefined
}

export const NO_VOTERS: FoundVoters = { records: [], restart: undefined }

/** What it says of a log that begins at the offset. */
export function votersOfLog({ records, restart }: FoundVoters, logStartOffset: Offset): readonly VotersRecord[] {
  if (restart !== undefined && restart.logStartOffset <= logStartOffset) {
    return restart.record === undefined ? [] : [restart.record]
  }
  const history = new VotersHistory(records)
  history.trimTo(logStartOffset)
  return history.records
}

/** Undefined when the file is damaged, which the events are told. @throws DIRECTORY_FORMAT_UNKNOWN, DiskError */
export function readVoters(context: StorageContext, directory: string): FoundVoters | undefined {
  try {
    return decode(readCheckpoint(context.disk, `${directory}/${VOTERS_FILE}`))
  } catch (error) {
    const isDamaged = error instanceof RangeError || (error instanceof TidemarkError && error.code === 'FILE_CORRUPT')
    if (!isDamaged) throw error
    context.events.onCacheRebuilt?.(directory, VOTERS_FILE, error.message)
    return undefined
  }
}

function encode({ offset, set, next }: VotersRecord): object {
  return { offset, set, next: next ?? null }
}

function encodeRestart({ logStartOffset, record }: Restart): object {
  return { logStartOffset, record: record === undefined ? null : encode(record) }
}

/** @throws RangeError for what is none */
function decode(value: unknown): FoundVoters {
  const rows = fieldOf(value, 'records')
  const restart = fieldOf(value, 'restart')
  if (!Array.isArray(rows)) throw new RangeError('it has no list of records')
  const records = rows.map(decodeRecord)
  const isAscending = records.every((record, at) => record.offset > (records[at - 1]?.offset ?? -1))
  if (!isAscending) throw new RangeError('its records are in no order')
  if (restart === undefined) return { records, restart }
  const record = fieldOf(restart, 'record')
  const logStartOffset = toOffset(numberOf(fieldOf(restart, 'logStartOffset')))
  return { records, restart: { logStartOffset, record: record === null ? undefined : decodeRecord(record) } }
}

function decodeRecord(row: unknown): VotersRecord {
  const next = fieldOf(row, 'next')
  const set = decodeSet(fieldOf(row, 'set'))
  return { offset: toOffset(numberOf(fieldOf(row, 'offset'))), set, next: next === null ? undefined : decodeSet(next) }
}

function decodeSet(value: unknown): VoterSet {
  const rows = fieldOf(value, 'voters')
  if (!Array.isArray(rows)) throw new RangeError('a set has no list of voters')
  const voters = rows.map(decodeVoter)
  const set = { voters, minInSyncReplicas: numberOf(fieldOf(value, 'minInSyncReplicas')) }
  if (!isValidSet(set)) throw new RangeError('one of its sets cannot be')
  return set
}

function decodeVoter(row: unknown): Voter {
  const directoryId = fieldOf(row, 'directoryId')
  if (typeof directoryId !== 'string') throw new RangeError('a voter has no directory')
  return { brokerId: brokerId(numberOf(fieldOf(row, 'brokerId'))), directoryId }
}

function numberOf(value: unknown): number {
  return typeof value === 'number' ? value : Number.NaN
}
