// What replicas here send to replicas elsewhere, besides fetches: fences, announcements and suggestions. Owns that all of one
// turn of the event loop go to a broker in one request of each kind, and brings the answers back to the replicas. A message
// that could not be sent is forgotten: whoever sent it tries again when it still matters.

import type { BrokerId, LeaderEpoch } from '../../shared/ids.ts'
import type { Logger } from '../../shared/logger.ts'
import type { RequestOf, ResponseOf } from '../../shared/protocol/api.ts'
import type { Timer, Timers } from '../../shared/time.ts'
import type { PeerAnswer, PeerRequest, Peers } from './peers.ts'
import type { Replica } from './replica.ts'
import { brokerId as toBrokerId, leaderEpoch, offset } from '../../shared/ids.ts'
import { TidemarkError } from '../../shared/errors.ts'
import { FENCE_ANSWERS, PEER_PARTITIONS_MAX } from '../../shared/protocol/peers.ts'
import { unlessGarbage } from './peers.ts'

/** A promise is one write and one sync; a peer that takes longer is of no use to a campaign. */
const ANSWER_MS_MAX = 5_000
const FENCE_AGAIN_MS = 50

interface Letter {
  readonly replica: Replica
  readonly epoch: LeaderEpoch
}

/** As a peer has sent it. */
interface Refusal {
  readonly promisedEpoch: number
  readonly leader: number | undefined
}

/** What waits for the end of the turn, by broker. */
class Outbox {
  #letters = new Map<BrokerId, Letter[]>()
  #isScheduled = false
  readonly #timers: Timers
  readonly #send: (to: BrokerId, letters: readonly Letter[]) => void

  constructor(timers: Timers, send: (to: BrokerId, letters: readonly Letter[]) => void) {
    this.#timers = timers
    this.#send = send
  }

  add(to: BrokerId, letter: Letter): void {
    const letters = this.#letters.get(to)
    if (letters === undefined) this.#letters.set(to, [letter])
    else letters.push(letter)
    if (this.#isScheduled) return
    this.#isScheduled = true
    this.#timers.atEndOfTurn(() => this.#flush())
  }

  #flush(): void {
    this.#isScheduled = false
    const letters = this.#letters
    this.#letters = new Map()
    for (const [to, all] of letters) {
      for (let at = 0; at < all.length; at += PEER_PARTITIONS_MAX) {
        this.#send(to, all.slice(at, at + PEER_PARTITIONS_MAX))
      }
    }
  }
}

export interface FenceMailOptions {
  readonly brokerId: BrokerId
  readonly peers: Peers
  readonly timers: Timers
  readonly logger: Logger
}

export class FenceMail {
  readonly #options: FenceMailOptions
  readonly #fences: Outbox
  readonly #announcements: Outbox
  readonly #suggestions: Outbox
  /** Fences that were not answered. */
  readonly #again: (Letter & { readonly to: BrokerId })[] = []
  #timer: Timer | undefined

  constructor(options: FenceMailOptions) {
    this.#options = options
    const { timers } = options
    this.#fences = new Outbox(timers, (to, letters) => this.#sendFences(to, letters))
    this.#announcements = new Outbox(timers, (to, letters) => this.#sendAnnouncements(to, letters))
    this.#suggestions = new Outbox(timers, (to, letters) => this.#sendSuggestions(to, letters))
  }

  fence(replica: Replica, to: BrokerId, epoch: LeaderEpoch): void {
    this.#fences.add(to, { replica, epoch })
  }

  announce(replica: Replica, to: BrokerId, epoch: LeaderEpoch): void {
    this.#announcements.add(to, { replica, epoch })
  }

  suggest(replica: Replica, to: BrokerId, epochSeen: LeaderEpoch): void {
    this.#suggestions.add(to, { replica, epoch: epochSeen })
  }

  /** Asks nobody again. */
  stop(): void {
    this.#timer?.cancel()
  }

  #sendFences(from: BrokerId, letters: readonly Letter[]): void {
    const request = { brokerId: this.#options.brokerId, partitions: letters.map(partitionOf) }
    const onAnswer = ({ body }: PeerAnswer<'fence'>): void => {
      for (const [index, letter] of letters.entries()) {
        const answer = body.partitions[index]
        if (answer !== undefined) this.#onFenceAnswer(from, letter, answer)
      }
    }
    // Who cannot be reached will not answer: a campaign that needs it is over now, not when its time is.
    const onLost = (): void => {
      for (const letter of letters) this.#refuse(from, letter, { promisedEpoch: letter.epoch, leader: undefined })
    }
    this.#ask(from, 'fence', request, onAnswer, onLost)
  }

  #onFenceAnswer(from: BrokerId, letter: Letter, answer: ResponseOf<'fence'>['partitions'][number]): void {
    const { replica, epoch } = letter
    const { directoryId, isSuspect, latestEpoch, logEndOffset, promisedEpoch, leader } = answer
    if (answer.answer === FENCE_ANSWERS.none) return this.#fenceAgain(from, letter)
    if (answer.answer === FENCE_ANSWERS.refused && promisedEpoch !== undefined) {
      return this.#refuse(from, letter, { promisedEpoch, leader })
    }
    if (answer.answer !== FENCE_ANSWERS.granted || directoryId === undefined) return
    const position = unlessGarbage(() => ({
      latestEpoch: latestEpoch === undefined ? undefined : leaderEpoch(latestEpoch),
      logEndOffset: offset(logEndOffset),
    }))
    if (position === undefined) return this.#onGarbage(from, 'fence')
    const grant = { from, epoch, directoryId, isSuspect, position }
    replica.step({ kind: 'fence-granted', grant, now: replica.monotonic() })
  }

  /** A broker may hear of a new topic a moment after the candidate. */
  #fenceAgain(to: BrokerId, { replica, epoch }: Letter): void {
    const isAsking = (one: Letter): boolean =>
      one.replica.role === 'candidate' && one.replica.state.promise?.epoch === one.epoch
    if (!isAsking({ replica, epoch })) return
    this.#again.push({ replica, to, epoch })
    this.#timer ??= this.#options.timers.after(
      FENCE_AGAIN_MS,
      () => {
        this.#timer = undefined
        for (const one of this.#again.splice(0)) if (isAsking(one)) this.fence(one.replica, one.to, one.epoch)
      },
      { background: true },
    )
  }

  #sendAnnouncements(to: BrokerId, letters: readonly Letter[]): void {
    const request = { brokerId: this.#options.brokerId, partitions: letters.map(partitionOf) }
    this.#ask(to, 'announceLeaders', request, ({ body }) => {
      for (const { index, promisedEpoch, leader } of body.refused) {
        const letter = letters[index]
        if (letter !== undefined) this.#refuse(to, letter, { promisedEpoch, leader })
      }
    })
  }

  #sendSuggestions(to: BrokerId, letters: readonly Letter[]): void {
    const partitions = letters.map(({ replica, epoch }) => {
      const { topicId, partition } = replica.identity
      return { topicId, partition, epochSeen: epoch }
    })
    this.#ask(to, 'suggestLeader', { brokerId: this.#options.brokerId, partitions }, () => undefined)
  }

  #refuse(from: BrokerId, { replica, epoch }: Letter, refusal: Refusal): void {
    const read = unlessGarbage(() => ({
      leader: refusal.leader === undefined ? undefined : toBrokerId(refusal.leader),
      promisedEpoch: leaderEpoch(refusal.promisedEpoch),
    }))
    if (read === undefined) return this.#onGarbage(from, 'refusal')
    replica.step({ kind: 'fence-refused', from, epoch, ...read })
  }

  /** The other partitions of the answer are not to suffer for it. */
  #onGarbage(peer: BrokerId, what: string): void {
    this.#options.logger.warn({ peer, what }, 'a peer has answered what cannot be')
  }

  #ask<Name extends PeerRequest>(
    to: BrokerId,
    name: Name,
    request: RequestOf<Name>,
    onAnswer: (answer: PeerAnswer<Name>) => void,
    onLost: () => void = () => undefined,
  ): void {
    const { peers, logger } = this.#options
    peers
      .ask(to, name, request, { timeoutMs: ANSWER_MS_MAX })
      .then(onAnswer, (error: unknown) => {
        logger.debug({ peer: to, what: name, error: String(error) }, 'a peer was not reached')
        if (error instanceof TidemarkError && error.code === 'CONNECTION_FAILED') onLost()
      })
      .catch((error: unknown) => logger.error({ peer: to, what: name, error: String(error) }, 'an answer was lost'))
  }
}

function partitionOf({ replica, epoch }: Letter): { topicId: string; partition: number; epoch: number } {
  const { topicId, partition } = replica.identity
  return { topicId, partition, epoch }
}
