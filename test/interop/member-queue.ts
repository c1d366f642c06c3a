// What a member of a group has and has not yet been asked for, for clients in JavaScript: its partitions, its records, and how
// far those that were taken have come. Knows no client.

import type { PlacedRecord } from './foreign-client.ts'
import { Waiters } from './waiters.ts'

interface Spot {
  readonly topic: string
  readonly partition: number
}

const WAIT_MS = 25_000

export class MemberQueue {
  #records: PlacedRecord[] = []
  #partitions: readonly string[] = []
  readonly #taken = new Map<string, Spot & { readonly offset: number }>()
  #failure: Error | undefined
  readonly #waiters = new Waiters()

  /** The offsets to go on from, of everything that was taken. */
  get taken(): readonly (Spot & { readonly offset: number })[] {
    return [...this.#taken.values()]
  }

  push(record: PlacedRecord): void {
    this.#records.push(record)
    this.#waiters.tell()
  }

  /** What it has from now on; records of other partitions are not handed out any more. */
  assign(partitions: readonly Spot[]): void {
    this.#partitions = partitions.map(nameOf).toSorted()
    this.forget((spot) => !this.#partitions.includes(nameOf(spot)))
    this.#waiters.tell()
  }

  /** Whoever waits hears of it. */
  fail(error: Error): void {
    this.#failure = error
    this.#waiters.tell()
  }

  forget(isGone: (spot: Spot) => boolean): void {
    this.#records = this.#records.filter((record) => !isGone(record))
    for (const [name, spot] of this.#taken) if (isGone(spot)) this.#taken.delete(name)
  }

  async assigned(count: number): Promise<readonly string[]> {
    await this.#until(() => this.#partitions.length === count, `${count} partitions`)
    return this.#partitions
  }

  async take(count: number): Promise<readonly PlacedRecord[]> {
    await this.#until(() => this.#records.length >= count, `${count} records`)
    const some = this.#records.splice(0, count)
    for (const record of some) {
      const { topic, partition, offset } = record
      this.#taken.set(nameOf(record), { topic, partition, offset: offset + 1 })
    }
    return some
  }

  async #until(isSo: () => boolean, what: string): Promise<void> {
    await this.#waiters.until(() => isSo() || this.#failure !== undefined, WAIT_MS)
    if (isSo()) return
    if (this.#failure !== undefined) throw this.#failure
    throw new Error(`still waiting for ${what}: ${this.#partitions.join(' ')}, ${this.#records.length} records`)
  }
}

/** The queue of a member that is there. */
export function memberOf<Member>(members: ReadonlyMap<string, Member>, name: string): Member {
  const member = members.get(name)
  if (member === undefined) throw new Error(`there is no member ${name}`)
  return member
}

function nameOf({ topic, partition }: Spot): string {
  return `${topic}-${partition}`
}
