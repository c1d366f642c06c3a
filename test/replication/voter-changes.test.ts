// What the catalogue wants of a partition's voters, carried out over real logs by whoever leads; and what the catalogue is told.

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { InProcessCoordinator } from '../../broker/coordination/in-process-coordinator.ts'
import type { TopicChange, TopicDefinition } from '../../broker/coordination/coordinator.ts'
import { isWanted, settle, VoterChanges } from '../../broker/replication/voter-changes.ts'
import type { BrokerId } from '../../shared/ids.ts'
import { brokerId, leaderEpoch, timestampMs } from '../../shared/ids.ts'
import { silentLogger } from '../../shared/logger.ts'
import { seededRandom } from '../../shared/random.ts'
import type { Voter } from '../../shared/voters.ts'
import { type Broker, Brokers, settle as settleAll, TOPIC } from './replica-brokers.ts'

const [ONE, TWO, THREE, FOUR] = [1, 2, 3, 4].map(brokerId)

function voters(...ids: readonly number[]): Voter[] {
  return ids.map((id) => ({ brokerId: brokerId(id), directoryId: `disk-${id}` }))
}

function topicOf(changes: Partial<TopicDefinition> = {}): TopicDefinition {
  return {
    topicId: TOPIC,
    name: 't',
    partitions: 1,
    replicationFactor: 3,
    config: {},
    assignment: [[1, 2, 3].map(brokerId)],
    directories: { '1': 'disk-1', '2': 'disk-2', '3': 'disk-3' },
    version: 1,
    createdAt: timestampMs(0),
    ...changes,
  }
}

describe('what a topic becomes when partitions have other voters', () => {
  const assignment = [[1, 2, 3].map(brokerId), [2, 3, 1].map(brokerId)]
  const topic = topicOf({ partitions: 2, assignment, moves: { '0': voters(4, 2, 3), '1': voters(4, 5, 6) } })

  it('names their brokers, remembers the voters of the beginning, and wants nothing of them any more', () => {
    expect(settle(topic, new Map([[0, voters(4, 2, 3)]]))).toEqual({
      assignment: [[4, 2, 3], assignment[1]],
      origins: { '0': voters(1, 2, 3) },
      moves: { '1': voters(4, 5, 6) },
    })
  })

  it('keeps the beginning that it knows already', () => {
    const origins = { '0': voters(7, 8) }
    expect(settle({ ...topic, origins }, new Map([[0, voters(1)]])).origins).toEqual(origins)
  })

  it('is wanted by a broker that has a replica, and by one that is to get one', () => {
    expect([1, 4, 6].map((id) => isWanted(topic, 0, brokerId(id)))).toEqual([true, true, false])
  })
})

describe('the voters of a partition', () => {
  let brokers: Brokers
  let catalogue: InProcessCoordinator
  let changes: VoterChanges[]
  let released: BrokerId[]

  beforeEach(async () => {
    brokers = await Brokers.start({ brokers: 4, voters: 3, minInSyncReplicas: 2 })
    const kept = topicOf()
    catalogue = new InProcessCoordinator({
      cluster: 'test',
      brokerId: brokerId(1),
      incarnation: 'life',
      store: { list: () => [kept], put: async () => undefined, remove: async () => undefined },
      clock: brokers.time,
      timers: brokers.time,
      random: seededRandom(1),
      logger: silentLogger,
    })
    await catalogue.start()
    released = []
    changes = brokers.list.map((broker, at) => {
      return new VoterChanges({
        self: broker.id,
        coordinator: catalogue,
        replicas: () => broker.replicas,
        askToGo: async (replica, to) => {
          await settleAll()
          const { latestEpoch } = replica.partition.log
          const isReached = broker.carrier.isConnected(to)
          return isReached && brokers.of(to).replicas[0]?.dismiss(broker.id, `disk-${broker.id}`, latestEpoch) === true
        },
        release: async (replica, mayGo) => {
          broker.stopFetching(replica)
          replica.stop()
          broker.replicas.splice(0)
          if (!(await mayGo())) throw new Error('it has been let go of before')
          released.push(broker.id)
          return true
        },
        clock: brokers.time,
        random: seededRandom(10 + at),
        logger: silentLogger,
      })
    })
    newcomer().carrier.cut(brokerId(1))
    await brokers.elect(brokerId(1))
    const epoch = leader().replica().leaderEpoch
    if (epoch !== undefined) leader().publishLeadership(leader().replica(), epoch)
    await settleAll()
  })

  afterEach(async () => {
    brokers.close()
    await catalogue.stop()
  })

  /** It does not reach the leader at first. */
  function newcomer(): Broker {
    return brokers.of(brokerId(4))
  }

  function leader(): Broker {
    const found = brokers.list.find(({ replicas }) => replicas[0]?.role === 'leader')
    if (found === undefined) throw new Error('nobody leads')
    return found
  }

  function topic(): TopicDefinition {
    const found = catalogue.topics.get(TOPIC)
    if (found === undefined) throw new Error('there is no topic')
    return found
  }

  async function want(change: TopicChange): Promise<void> {
    await catalogue.topics.change(`r${topic().version}`, TOPIC, topic().version, change)
  }

  async function pass(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += 50) {
      await settleAll()
      brokers.time.advance(50)
      for (const broker of brokers.list) broker.replicas[0]?.tick()
      for (const change of changes) change.tick()
    }
    await settleAll()
  }

  it('become those that are wanted, and the old one deletes its log', async () => {
    newcomer().carrier.connect(brokerId(1))
    await leader().produce(['a'])
    await want({ moves: { '0': voters(2, 3, 4) } })
    await pass(8_000)
    const { assignment, moves, origins } = topic()
    expect({ assignment, moves, origins }).toEqual({ assignment: [[2, 3, 4]], origins: { '0': voters(1, 2, 3) } })
    expect(released).toEqual([ONE])
    expect([TWO, THREE, FOUR]).toContain(leader().id)
    expect((await leader().produce(['b'])).refusal).toBeUndefined()
  })

  it('do not change before a newcomer has caught up, and it is said who is behind', async () => {
    await want({ moves: { '0': voters(2, 3, 4) } })
    await pass(3_000)
    const replica = leader().replica()
    expect(changes[0]?.changeOf(replica)).toEqual({
      wanted: voters(2, 3, 4),
      voters: voters(1, 2, 3),
      why: 'newcomers-behind',
      behind: [4],
    })
    await want({ moves: {} })
    expect(changes[0]?.changeOf(replica)).toBeUndefined()
    newcomer().carrier.connect(brokerId(1))
    await pass(8_000)
    expect(topic().assignment).toEqual([[1, 2, 3]])
    // It was never named by the log, and nobody wants it.
    expect(released).toEqual([FOUR])
  })

  it('are what the log says, where the catalogue has forgotten it', async () => {
    newcomer().carrier.connect(brokerId(1))
    await want({ moves: { '0': voters(1, 2, 4) } })
    await pass(8_000)
    expect(topic().assignment).toEqual([[1, 2, 4]])
    expect(released).toEqual([THREE])
    await want({ assignment: [[1, 2, 3].map(brokerId)] })
    await pass(4_000)
    expect(topic().assignment).toEqual([[1, 2, 4]])
  })

  it('are never those of a replica that goes: it goes when its leader needs it no more, and not before', async () => {
    const asked = async (): Promise<boolean> => {
      const { latestEpoch } = newcomer().replica().partition.log
      return leader().replica().dismiss(brokerId(4), 'disk-4', latestEpoch)
    }
    await want({ moves: { '0': voters(1, 2, 4) } })
    newcomer().carrier.connect(brokerId(1))
    await pass(8_000)
    expect(topic().assignment).toEqual([[1, 2, 4]])
    expect(await asked()).toBe(false)
    await want({ moves: { '0': voters(1, 2) } })
    newcomer().carrier.cut(brokerId(1))
    await pass(4_000)
    expect([topic().assignment, released]).toEqual([[[1, 2]], [THREE]])
    // By its own log it is still a voter. It has slept, and promises itself more than its leader has: that one it never hears.
    newcomer().replica().campaign(undefined)
    await pass(3_000)
    const { state } = newcomer().replica()
    expect([state.isVoter, state.hasHeardLeader]).toEqual([true, false])
    expect(state.promise?.epoch).toBeGreaterThan(leader().replica().leaderEpoch ?? Infinity)
    await catalogue.leaderships.claim(TOPIC, 0, leader().replica().leaderEpoch ?? leaderEpoch(0))
    newcomer().carrier.connect(brokerId(1))
    await pass(3_000)
    expect([leader().id, released]).toEqual([ONE, [THREE, FOUR]])
  })

  it('do not count on a replica that has been let go, before it shows again what it holds', async () => {
    await want({ moves: { '0': voters(1, 2, 3, 4) } })
    newcomer().carrier.connect(brokerId(1))
    await brokers.until(() => newcomer().log().writtenEndOffset > 0 && !newcomer().replica().state.isNewcomer)
    newcomer().carrier.cut(brokerId(1))
    const replica = leader().replica()
    const all = { voters: voters(1, 2, 3, 4), minInSyncReplicas: 2 }
    expect(replica.dismiss(brokerId(4), 'disk-4', newcomer().log().latestEpoch)).toBe(true)
    replica.changeVoters(all)
    expect(replica.votersRefusal).toMatchObject({ why: 'newcomers-behind', behind: [4] })
    newcomer().carrier.connect(brokerId(1))
    await brokers.until(() => (replica.changeVoters(all), replica.votersRefusal === undefined))
  })

  /** The newcomer is cut off in the moment in which it has got a voice, and must have one. */
  async function beginWithout(moves: TopicChange['moves']): Promise<void> {
    await want(moves === undefined ? {} : { moves })
    newcomer().carrier.connect(brokerId(1))
    for (let times = 0; leader().replica().state.voterSets.length === 1 && times < 100; times += 1) {
      brokers.time.advance(50)
      for (const change of changes) change.tick()
      if (leader().replica().state.voterSets.length === 2) newcomer().carrier.cut(brokerId(1))
      await settleAll()
    }
    expect(leader().replica().state.voterSets).toHaveLength(2)
  }

  it.each([
    ['nothing', {}, [1, 2, 3]],
    ['another change', { '0': voters(1, 2) }, [1, 2]],
  ])(
    'are the old ones again when the new ones are gone as it begins, and %s is wanted then',
    async (_, moves, then) => {
      await beginWithout({ '0': voters(1, 4) })
      const waiting = leader().produce(['a'])
      await pass(3_000)
      expect(await Promise.race([waiting, settleAll().then(() => 'waiting')])).toBe('waiting')
      await want({ moves })
      await pass(3_000)
      expect((await waiting).refusal).toBeUndefined()
      expect(leader().replica().state.settledVoters?.voters).toEqual(voters(...then))
      expect(topic().assignment).toEqual([then])
      newcomer().carrier.connect(brokerId(1))
      await pass(3_000)
      expect(released).toContain(FOUR)
    },
  )

  it('are one alone when an operator has it go on, and those that are wanted again afterwards', async () => {
    await leader().produce(['a'])
    await want({ moves: { '0': voters(2, 3, 4) } })
    await pass(500)
    for (const id of [1, 3, 4]) brokers.of(brokerId(id)).close()
    const two = brokers.of(brokerId(2))
    for (const id of [1, 3, 4]) two.carrier.cut(brokerId(id))
    expect(two.replica().recover()).toBe(true)
    await pass(1_000)
    expect(two.replica().role).toBe('leader')
    expect(two.replica().voters).toEqual(voters(2))
    expect((await two.produce(['b'])).refusal).toBeUndefined()
    await pass(2_000)
    expect(changes[1]?.changeOf(two.replica())?.behind).toEqual([3, 4])
    for (const id of [1, 3, 4]) {
      two.carrier.connect(brokerId(id))
      await brokers.of(brokerId(id)).restart()
    }
    const { leaderEpoch } = two.replica()
    if (leaderEpoch !== undefined) two.publishLeadership(two.replica(), leaderEpoch)
    await pass(8_000)
    expect(topic().assignment).toEqual([[2, 3, 4]])
    expect(two.replica().state.voterSets).toEqual([{ voters: voters(2, 3, 4), minInSyncReplicas: 2 }])
    expect(await brokers.of(brokerId(3)).bytes()).toBe(await two.bytes())
  })
})
