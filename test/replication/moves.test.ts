// A partition over real logs that moves to other brokers while records are written to it, with crashes in between. What was
// acknowledged must be there in the end, at whoever leads, in its place.

import { afterEach, describe, expect, it } from 'vitest'
import type { BrokerId } from '../../shared/ids.ts'
import { brokerId } from '../../shared/ids.ts'
import { forEachRecord } from '../../shared/record-batch/decode.ts'
import { batchBytes } from '../../shared/record-batch/header.ts'
import { isSameSet, type VoterSet } from '../../shared/voters.ts'
import { type Broker, Brokers, settle } from './replica-brokers.ts'

const STEP_MS = 50
const STEPS_MAX = 600

function setOf(...ids: readonly number[]): VoterSet {
  const voters = ids.map((id) => ({ brokerId: brokerId(id), directoryId: `disk-${id}` }))
  return { voters, minInSyncReplicas: Math.floor(ids.length / 2) + 1 }
}

class Move {
  readonly acknowledged = new Map<number, string>()
  readonly brokers: Brokers
  #steps = 0
  #written = 0

  constructor(brokers: Brokers) {
    this.brokers = brokers
  }

  get leader(): Broker | undefined {
    const leaders = this.brokers.list.filter((broker) => broker.replicas[0]?.role === 'leader')
    return leaders.sort((a, b) => (b.replica().leaderEpoch ?? 0) - (a.replica().leaderEpoch ?? 0))[0]
  }

  /** A moment passes: somebody leads or tries to, records are written, and all is asked for again. */
  async step(wanted: VoterSet | undefined): Promise<void> {
    this.#steps += 1
    const { leader } = this
    if (leader === undefined) {
      const able = this.brokers.list.filter(({ replicas }) => replicas[0]?.state.isVoter === true)
      if (this.#steps % 4 === 0) able[(this.#steps / 4) % able.length]?.replica().campaign(undefined)
    } else {
      const value = `value ${(this.#written += 1)}`
      leader.append([value], 0, ({ refusal, baseOffset }) => {
        if (refusal === undefined && baseOffset !== undefined) this.acknowledged.set(baseOffset, value)
      })
      if (wanted !== undefined && this.#steps % 3 === 0) leader.replica().changeVoters(wanted)
      const epoch = leader.replica().leaderEpoch
      for (const other of this.brokers.list) {
        if (other !== leader && epoch !== undefined) {
          other.replicas[0]?.step({ kind: 'leader-announced', leader: leader.id, epoch })
        }
      }
    }
    await settle()
    this.brokers.time.advance(STEP_MS)
    for (const broker of this.brokers.list) broker.replicas[0]?.tick()
    await settle()
  }

  /** Until the voters are those, and one of them leads; answers after how many steps. */
  async to(wanted: VoterSet, onStep: (step: number) => Promise<void> = async () => undefined): Promise<number> {
    for (let step = 0; step < STEPS_MAX; step += 1) {
      await onStep(step)
      await this.step(wanted)
      const state = this.leader?.replica().state
      const isThere = state?.settledVoters !== undefined && isSameSet(state.settledVoters, wanted)
      if (isThere && state.isVoter) return step
    }
    throw new Error(`${JSON.stringify(wanted)} is not reached: ${this.describe()}`)
  }

  describe(): string {
    return this.brokers.list
      .map(({ id, replicas }) => {
        const [replica] = replicas
        const why = replica?.votersRefusal
        return `${id} ${replica?.role} ${replica?.state.promise?.epoch} ${replica?.stopReason} ${replica?.partition.log.writtenEndOffset} ${why?.why} ${why?.behind.join()} `
      })
      .join('; ')
  }

  /** What was acknowledged and does not stand where it was at the leader, or at a voter as far as its log goes. */
  async losses(): Promise<readonly string[]> {
    for (let step = 0; step < 20; step += 1) await this.step(undefined)
    const { leader } = this
    if (leader === undefined || this.acknowledged.size < 20) return [`too little has happened: ${this.describe()}`]
    const losses = this.brokers.list.flatMap(({ replicas }) => replicas[0]?.stopReason ?? [])
    for (const { brokerId: id } of leader.replica().voters) {
      const { values, end } = await valuesOf(this.brokers.of(id))
      for (const [at, value] of this.acknowledged) {
        const isAway = id !== leader.id && at >= end
        if (!isAway && values.get(at) !== value) losses.push(`${value} at ${at} is ${values.get(at)} on broker ${id}`)
      }
    }
    return losses
  }
}

async function valuesOf(broker: Broker): Promise<{ readonly values: Map<number, string>; readonly end: number }> {
  const log = broker.log()
  const values = new Map<number, string>()
  let at = log.logStartOffset
  while (at < log.writtenEndOffset) {
    const slice = await log.read(at, 1_000_000, log.writtenEndOffset)
    for (let byte = 0; byte < slice.bytes.length; byte += batchBytes(slice.bytes, byte)) {
      forEachRecord(slice.bytes, byte, ({ offset, value }) => {
        if (value !== null) values.set(offset, new TextDecoder().decode(value))
      })
    }
    at = slice.endOffset
    slice.release()
  }
  return { values, end: log.writtenEndOffset }
}

let move: Move

async function begin(brokers: number, voters: number, durability = 'os'): Promise<void> {
  const entries = { durability }
  move = new Move(await Brokers.start({ brokers, voters, minInSyncReplicas: Math.floor(voters / 2) + 1, entries }))
  await move.to(setOf(...Array.from({ length: voters }, (_, at) => at + 1)))
}

async function restart(id: BrokerId | undefined): Promise<void> {
  if (id !== undefined) await move.brokers.of(id).restart()
}

afterEach(() => move.brokers.close())

describe.each(['os', 'fsync'])('a partition that moves while it is written to (%s)', (durability) => {
  it('leaves a broker for another, and its leader with it', async () => {
    await begin(4, 3, durability)
    await restart(brokerId(2))
    await move.to(setOf(2, 3, 4))
    expect(move.brokers.of(brokerId(1)).replica().role).toBe('follower')
    expect(await move.losses()).toEqual([])
  })

  it('leaves all its brokers for others', async () => {
    await begin(6, 3, durability)
    await move.to(setOf(4, 5, 6))
    expect(move.leader?.id).toBeGreaterThan(3)
    expect(await move.losses()).toEqual([])
  })

  it('gets more replicas, and fewer', async () => {
    await begin(5, 1, durability)
    await move.to(setOf(1, 2, 3))
    await move.to(setOf(1, 2, 3, 4, 5))
    await move.to(setOf(5))
    expect(await move.losses()).toEqual([])
  })

  it('may be called back half way', async () => {
    await begin(6, 3, durability)
    for (let step = 0; step < 4; step += 1) await move.step(setOf(4, 5, 6))
    await move.to(setOf(1, 2, 3))
    expect(await move.losses()).toEqual([])
  })
})

describe('a move in which processes end', () => {
  it.each(['leader', 'newcomer', 'old follower', 'all'] as const)('survives that at each step: %s', async (who) => {
    for (let at = 1; at <= 12; at += 1) {
      await begin(6, 3)
      await move.to(setOf(4, 5, 6), async (step) => {
        if (step !== at) return
        if (who === 'leader') await restart(move.leader?.id)
        if (who === 'newcomer') await restart(brokerId(4))
        if (who === 'old follower') await restart(brokerId(2))
        if (who === 'all') for (const id of move.brokers.ids) await restart(id)
      })
      expect(await move.losses()).toEqual([])
      move.brokers.close()
    }
  })

  it('survives one at every few steps, of whoever comes next', async () => {
    await begin(6, 3)
    for (const wanted of [setOf(2, 3, 4), setOf(4, 5, 6), setOf(1, 5, 6), setOf(1, 2, 3)]) {
      await move.to(wanted, async (step) => {
        if (step % 7 === 3) await restart(brokerId(1 + (step % 6)))
      })
    }
    expect(await move.losses()).toEqual([])
  })
})
