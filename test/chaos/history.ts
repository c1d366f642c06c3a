// What clients saw and did, one event a line of JSON. Owns the shape of the events, and their way to a file and back; judges
// nothing. Invariants: events stand in the order in which they happened to their process; a value names the process that
// wrote it and its number there, so that none is ever written twice on purpose.

import { createReadStream, createWriteStream, type WriteStream } from 'node:fs'
import { once } from 'node:events'
import { createInterface } from 'node:readline'

/** -1: all. */
export type Acks = -1 | 0 | 1

/** A producer begins to send some values, all to one partition, in this order. */
export interface SendInvoked {
  readonly op: 'send'
  readonly phase: 'invoke'
  /** Milliseconds on a clock of the run that goes only forward. */
  readonly at: number
  readonly process: string
  /** Ascending in the process, in the order in which it asked. */
  readonly id: number
  readonly acks: Acks
  readonly partition: number
  readonly values: readonly string[]
}

/** ok: acknowledged at these offsets, -1 where that is not told; fail: certainly never written; info: nobody knows. */
export interface SendDone {
  readonly op: 'send'
  readonly phase: 'ok' | 'fail' | 'info'
  readonly at: number
  readonly process: string
  readonly id: number
  readonly offsets?: readonly number[]
  readonly error?: string
}

/** A consumer begins to read these partitions at these offsets. */
export interface Assigned {
  readonly op: 'assign'
  readonly at: number
  readonly process: string
  readonly from: Readonly<Record<number, number>>
}

export type PolledRecord = readonly [partition: number, offset: number, value: string]

/** A consumer was given these records, in this order. */
export interface Polled {
  readonly op: 'poll'
  readonly at: number
  readonly process: string
  readonly records: readonly PolledRecord[]
}

/** A consumer was refused for good. */
export interface PollFailed {
  readonly op: 'poll-failed'
  readonly at: number
  readonly process: string
  readonly error: string
}

/** Somebody asked where partitions end. */
export interface EndsSeen {
  readonly op: 'ends'
  readonly at: number
  readonly process: string
  readonly ends: readonly (readonly [partition: number, endOffset: number])[]
}

/** Of a broker's own log: it began to lead. */
export interface Led {
  readonly op: 'leads'
  readonly at: number
  readonly broker: number
  readonly partition: number
  readonly epoch: number
}

/** What stands on the disk of one replica at the end, where all should have the same. */
export interface Held {
  readonly op: 'holds'
  readonly at: number
  readonly broker: number
  readonly partition: number
  readonly bytes: number
  readonly sum: string
}

/** What a member of a group says of itself: a process of its own, one life of it. */
interface OfMember {
  readonly at: number
  readonly group: string
  readonly process: string
  /** As the member knows it at that moment; -1 while it is in none. */
  readonly generation: number
}

/** A process was started. Those of one instance are one static member. */
export interface MemberUp {
  readonly op: 'member-up'
  readonly at: number
  readonly group: string
  readonly process: string
  readonly instance?: string
}

/** The process is no more, at the latest at that time. */
export interface MemberGone {
  readonly op: 'member-gone'
  readonly at: number
  readonly group: string
  readonly process: string
}

/** Partitions came to it, to be handled from these offsets on. */
export interface PartitionsOwned extends OfMember {
  readonly op: 'owns'
  readonly member: string
  readonly from: Readonly<Record<number, number>>
}

/** Partitions went. Lost: others may have had them before. */
export interface PartitionsGivenUp extends OfMember {
  readonly op: 'gave-up'
  readonly partitions: readonly number[]
  readonly isLost: boolean
}

/** Records are done: told before the client knows it. The generation is that of when it began with them. */
export interface RecordsHandled extends OfMember {
  readonly op: 'handle'
  readonly began: number
  readonly records: readonly PolledRecord[]
}

/** Its commit was acknowledged; the generation is the one that it was asked for in. */
export interface OffsetsCommitted extends OfMember {
  readonly op: 'commit'
  readonly offsets: readonly (readonly [partition: number, offset: number])[]
}

/** What no member may meet: it was refused for good, or records that it wanted are not there. */
export interface MemberTrouble extends OfMember {
  readonly op: 'member-trouble'
  readonly what: string
}

/** Somebody asked in which generation a group is, and then, of the same coordinator or another, what is committed. */
export interface GroupSeen extends OfMember {
  readonly op: 'group-seen'
  /** Whether its members have their shares: before that, a generation may come to nothing with its coordinator. */
  readonly isStable: boolean
  readonly offsets: readonly (readonly [partition: number, offset: number])[]
  /** All members have gone in order, everything has been handled. */
  readonly isEnd?: boolean
}

/** Of a broker's own log: it began to coordinate the group. */
export interface Coordinated {
  readonly op: 'coordinates'
  readonly at: number
  readonly group: string
  readonly broker: number
  readonly epoch: number
}

/** A commit in the name of a member that was taken out, in its old generation. No error: it was taken. */
export interface ZombieCommit extends OfMember {
  readonly op: 'zombie'
  readonly error?: string
}

export type GroupHistoryEvent =
  | MemberUp
  | MemberGone
  | PartitionsOwned
  | PartitionsGivenUp
  | RecordsHandled
  | OffsetsCommitted
  | MemberTrouble
  | GroupSeen
  | ZombieCommit
  | Coordinated

/** Something was done to the cluster. */
export interface FaultMade {
  readonly op: 'fault'
  readonly at: number
  readonly what: string
}

/** Something went wrong that no client has to see: a broker that ended by itself, or a cluster that did not recover. */
export interface Trouble {
  readonly op: 'trouble'
  readonly at: number
  readonly kind: 'broker-died' | 'broker-failed' | 'not-recovered'
  readonly what: string
}

export type HistoryEvent =
  | SendInvoked
  | SendDone
  | Assigned
  | Polled
  | PollFailed
  | EndsSeen
  | Led
  | Held
  | FaultMade
  | Trouble
  | GroupHistoryEvent

/** An event without its time, which the history knows. */
export type Happening = HistoryEvent extends infer One ? (One extends HistoryEvent ? Omit<One, 'at'> : never) : never

export class History {
  readonly events: HistoryEvent[] = []
  readonly #startedAt = performance.now()
  readonly #file: WriteStream | undefined

  /** Kept in memory, and written to the file as it grows, so that a run that dies leaves it. */
  constructor(path?: string) {
    this.#file = path === undefined ? undefined : createWriteStream(path)
  }

  /** Milliseconds since the history began. */
  now(): number {
    return Math.round((performance.now() - this.#startedAt) * 100) / 100
  }

  /** When the history began, by the clock that all processes of the machine share: milliseconds of process.hrtime(). */
  get zeroMs(): number {
    return monotonicMs() - this.now()
  }

  add(happening: Happening, at = this.now()): void {
    const event = { at, ...happening }
    this.events.push(event)
    this.#file?.write(`${JSON.stringify(event)}\n`)
  }

  /** Resolves when the file is whole. */
  async close(): Promise<void> {
    if (this.#file === undefined) return
    this.#file.end()
    await once(this.#file, 'close')
  }
}

/** Of the machine's clock that goes only forward. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6
}

/** @throws when a line is no JSON. */
export async function readHistory(path: string): Promise<HistoryEvent[]> {
  const events: HistoryEvent[] = []
  for await (const line of createInterface({ input: createReadStream(path) })) {
    if (line !== '') events.push(JSON.parse(line) as HistoryEvent)
  }
  return events
}
