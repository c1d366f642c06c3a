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
  SendInvoked | SendDone | Assigned | Polled | PollFailed | EndsSeen | Led | Held | FaultMade | Trouble

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

/** @throws when a line is no JSON. */
export async function readHistory(path: string): Promise<HistoryEvent[]> {
  const events: HistoryEvent[] = []
  for await (const line of createInterface({ input: createReadStream(path) })) {
    if (line !== '') events.push(JSON.parse(line) as HistoryEvent)
  }
  return events
}
