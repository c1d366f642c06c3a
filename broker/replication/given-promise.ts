// The promise that a replica has given, and whom it follows by it. Owns what of it is durable, who waits to be told of it, and
// the highest epoch that was ever heard of; which promise may be given is decided by whoever asks for it.
//
// Invariants: the epoch never falls; nothing is durable that was not given in this life, or read from the disk at its start.

import type { BrokerId, LeaderEpoch } from '../../shared/ids.ts'
import type { ReplicaPromise } from './replication-events.ts'
import { assert } from '../../shared/assert.ts'

export class GivenPromise {
  #promise: ReplicaPromise | undefined
  /** The last one that is known to be durable. */
  #durable: ReplicaPromise | undefined
  #following: BrokerId | undefined
  #hasHeard = false
  #fencedBy: BrokerId | undefined
  #epochSeen: LeaderEpoch | undefined

  /** As the disk remembers it. */
  constructor(promise: ReplicaPromise | undefined) {
    this.#promise = promise
    this.#durable = promise
    this.#following = promise?.leader
    this.#epochSeen = promise?.epoch
  }

  get newest(): ReplicaPromise | undefined {
    return this.#promise
  }

  /** The newest, if it is durable: a replica may act by it. */
  get inEffect(): ReplicaPromise | undefined {
    return this.isDurable ? this.#promise : undefined
  }

  get isDurable(): boolean {
    return this.#promise === this.#durable
  }

  /** The broker that is said to lead the promised epoch; who really does answers fetches, and nobody else. */
  get following(): BrokerId | undefined {
    return this.#following
  }

  /** It has answered in the promised epoch: it leads for sure. */
  get hasHeard(): boolean {
    return this.#hasHeard
  }

  /** At least that of the promise. */
  get epochSeen(): LeaderEpoch | undefined {
    return this.#epochSeen
  }

  isTo(leader: BrokerId, epoch: LeaderEpoch): boolean {
    return this.#promise?.epoch === epoch && this.#promise.leader === leader
  }

  give(promise: ReplicaPromise): void {
    assert(promise.epoch >= (this.#promise?.epoch ?? 0), 'a promise never falls')
    this.#promise = promise
    this.#following = promise.leader
    this.#hasHeard = false
    this.#fencedBy = undefined
    this.noteEpoch(promise.epoch)
  }

  /** The broker is to be told of the promise when it is durable. */
  tellWhenDurable(candidate: BrokerId): void {
    this.#fencedBy = candidate
  }

  /** Answers who is to be told. */
  onDurable(): BrokerId | undefined {
    const fencedBy = this.#fencedBy
    this.#durable = this.#promise
    this.#fencedBy = undefined
    return fencedBy
  }

  /** In the promised epoch it is this broker that leads, whomever it was promised to. Answers whether that is news. */
  follow(leader: BrokerId): boolean {
    if (this.#following === leader) return false
    this.#following = leader
    this.#hasHeard = false
    return true
  }

  hear(): void {
    this.#hasHeard = true
  }

  noteEpoch(epoch: LeaderEpoch): void {
    if (this.#epochSeen === undefined || epoch > this.#epochSeen) this.#epochSeen = epoch
  }
}
