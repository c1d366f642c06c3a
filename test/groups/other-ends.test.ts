// Where partitions of other brokers end: who is asked, for how much at a time, for how long, and what is known afterwards.

import { describe, expect, it } from 'vitest'
import { OtherEnds } from '../../broker/groups/other-ends.ts'
import { ERRORS } from '../../shared/errors.ts'
import { brokerId } from '../../shared/ids.ts'
import type { RequestOf } from '../../shared/protocol/api.ts'
import { systemClock } from '../../shared/time.ts'
import { gate } from '../client/consumer-stage.ts'

type Asked = RequestOf<'listOffsets'>['partitions']
type Answers = { partitions: { error: number; message: undefined; offset: number | undefined }[] }

const ok = (offset: number) => ({ error: 0, message: undefined, offset })
const refused = { error: ERRORS.NOT_LEADER_OR_FOLLOWER.number, message: undefined, offset: undefined }

/** Topic t: partition 0 is led by broker 1, 1 and 2 by broker 2, nobody leads 3, broker 9 of partition 9 is not reached. */
class Stage {
  readonly asked: { to: number; partitions: Asked }[] = []
  answer: (to: number, partitions: Asked) => Promise<Answers> | Answers = (to, partitions) => {
    return { partitions: partitions.map(({ partition }) => ok(to * 100 + partition)) }
  }
  /** Ends the wait of the look. */
  onLate: () => void = () => undefined
  readonly ends: OtherEnds

  constructor() {
    const leader = (partition: number) => (partition === 0 ? 1 : partition === 3 ? undefined : partition === 9 ? 9 : 2)
    this.ends = new OtherEnds({
      leaderOf: (topic, partition) => {
        const id = topic === 't' ? leader(partition) : undefined
        return id === undefined ? undefined : brokerId(id)
      },
      isConnected: (to) => to !== 9,
      listOffsets: async (to, partitions) => {
        this.asked.push({ to, partitions })
        return (await this.answer(to, partitions)).partitions
      },
      clock: systemClock,
      timers: {
        after: (_, callback) => {
          this.onLate = callback
          return { cancel: () => undefined }
        },
        atEndOfTurn: () => undefined,
      },
    })
  }

  of(...partitions: number[]): (number | undefined)[] {
    return partitions.map((partition) => this.ends.of({ topic: 't', partition }))
  }
}

const names = (...partitions: number[]) => partitions.map((partition) => ({ topic: 't', partition }))

describe('the ends of partitions that are elsewhere', () => {
  it('are asked of their leaders, each once for all of its partitions; what nobody can say is not known', async () => {
    const stage = new Stage()
    await stage.ends.look([...names(0, 1, 2, 3, 9, 1), { topic: 'gone', partition: 0 }])
    expect(stage.asked.map(({ to, partitions }) => [to, partitions.map(({ partition }) => partition)])).toEqual([
      [1, [0]],
      [2, [1, 2]],
    ])
    expect(stage.of(0, 1, 2, 3, 9)).toEqual([100, 201, 202, undefined, undefined])
    expect(stage.ends.of({ topic: 'gone', partition: 0 })).toBeUndefined()
  })

  it('are forgotten with the next look: what has not been answered since is not known', async () => {
    const stage = new Stage()
    await stage.ends.look(names(0, 1))
    stage.answer = (to) => (to === 1 ? Promise.reject(new Error('gone')) : { partitions: [refused] })
    await stage.ends.look(names(0, 1))
    expect(stage.of(0, 1)).toEqual([undefined, undefined])
  })

  it('are waited for no longer than a look may take, and no second time from whoever is silent', async () => {
    const stage = new Stage()
    const { promise: silence, open } = gate<Answers>()
    stage.answer = (to, partitions) => (to === 1 ? { partitions: partitions.map(() => ok(7)) } : silence)
    const look = stage.ends.look(names(0, 1))
    await new Promise(setImmediate)
    stage.onLate()
    await look
    expect(stage.of(0, 1)).toEqual([7, undefined])
    await stage.ends.look(names(0, 1))
    expect(stage.asked.map(({ to }) => to)).toEqual([1, 2, 1])
    open({ partitions: [ok(8)] })
    await new Promise(setImmediate)
    await stage.ends.look(names(1)).catch(() => undefined)
    expect(stage.asked.at(-1)).toMatchObject({ to: 2 })
  })

  it('are asked for a thousand at a time, and ten thousand a look', async () => {
    const stage = new Stage()
    await stage.ends.look(names(...Array.from({ length: 10_500 }, (_, index) => index + 10)))
    expect(stage.asked.map(({ partitions }) => partitions.length)).toEqual(Array.from({ length: 10 }, () => 1_000))
    expect(stage.of(10, 10_009, 10_010)).toEqual([210, 10_209, undefined])
  })
})
