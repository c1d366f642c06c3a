// What replicas here send to replicas elsewhere, besides fetches: fences, announcements and suggestions. Owns that all of one
// turn of the event loop go to a broker in one request of each kind, and brings the answers back to the replicas. A message
// that could not be sent is forgotten: whoever sent it tries again when it still matters.

import type { BrokerId, LeaderEpoch } from '../../shared/ids.ts'
import type { Logger } from '../../shared/logger.ts'
import type { RequestOf } from '../../shared/protocol/api.ts'
import type { Timers } from '../../shared/time.ts'
import type { PeerAnswer, PeerRequest, Peers } from './peers.ts'
import type { Replica } from './replica.ts'
import { brokerId as toBrokerId, leaderEpoch, offset } from '../../shared/ids.ts'
import { TidemarkError } from '../../shared/errors.ts'
import { FENCE_ANSWERS, PEER_PARTITIONS_MAX } from '../../shared/protocol/peers.ts'

/** A promise is one write and one sync; a peer that takes longer is of no use to a campaign. */
const ANSWER_MS_MAX = 5_000
const FENCE_AGAIN_MS = 50

interface Letter {
  readonly replica: Replica
  readonly epoch: LeaderEpoch
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

  #sendFences(from: BrokerId, letters: readonly Letter[]): void {
    const request = { brokerId: this.#options.brokerId, partitions: letters.map(partitionOf) }
    const onAnswer = ({ body }: PeerAnswer<'fence'>): void => {
      for (const [index, { replica, epoch }] of letters.entries()) {
        const answer = body.partitions[index]
        if (answer?.answer === FENCE_ANSWERS.refused && answer.promisedEpoch !== undefined) {
          this.#refuse(replica, { from, epoch, promisedEpoch: answer.promisedEpoch, leader: answer.leader })
        }
        if (answer?.answer === FENCE_ANSWERS.none) this.#fenceAgain(replica, from, epoch)
        if (answer?.answer !== FENCE_ANSWERS.granted || answer.directoryId === undefined) continue
        const { directoryId, isSuspect, latestEpoch, logEndOffset } = answer
        const position = {
          latestEpoch: latestEpoch === undefined ? undefined : leaderEpoch(latestEpoch),
          logEndOffset: offset(logEndOffset),
        }
        const grant = { from, epoch, directoryId, isSuspect, position }
        replica.step({ kind: 'fence-granted', grant, now: replica.monotonic() })
      }
    }
    // Who cannot be reached will not answer: a campaign that needs it is over now, not when its time is.
    const onLost = (): void => {
      for (const { replica, epoch } of letters) {
        this.#refuse(replica, { from, epoch, promisedEpoch: epoch, leader: undefined })
      }
    }
    this.#ask(from, 'fence', request, onAnswer, onLost)
  }

  /** A broker may hear of a new topic a moment after the candidate. */
  #fenceAgain(replica: Replica, to: BrokerId, epoch: LeaderEpoch): void {
    const again = (): void => {
      if (replica.role === 'candidate' && replica.state.promise?.epoch === epoch) this.fence(replica, to, epoch)
    }
    this.#options.timers.after(FENCE_AGAIN_MS, again, { background: true })
  }

  #sendAnnouncements(to: BrokerId, letters: readonly Letter[]): void {
    const request = { brokerId: this.#options.brokerId, partitions: letters.map(partitionOf) }
    this.#ask(to, 'announceLeaders', request, ({ body }) => {
      for (const { index, promisedEpoch, leader } of body.refused) {
        const letter = letters[index]
        if (letter === undefined) continue
        this.#refuse(letter.replica, { from: to, epoch: letter.epoch, promisedEpoch, leader })
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

  #refuse(
    replica: Replica,
    refusal: {
      readonly from: BrokerId
      readonly epoch: LeaderEpoch
      promisedEpoch: number
      leader: number | undefined
    },
  ): void {
    const { from, epoch } = refusal
    const leader = refusal.leader === undefined ? undefined : toBrokerId(refusal.leader)
    const promisedEpoch = leaderEpoch(refusal.promisedEpoch)
    replica.step({ kind: 'fence-refused', from, epoch, promisedEpoch, leader })
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
