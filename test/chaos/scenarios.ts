// The scenarios: what is done to a cluster, one round at a time, again and again until enough has happened. Each round heals
// what it has broken. Judges nothing.

import { type ChaosStage, LEASE_MS } from './chaos-stage.ts'
import type { GroupPlan } from './group-members.ts'
import { GROUP_SCENARIOS } from './group-scenarios.ts'

export interface Scenario {
  readonly about: string
  /** Whether ways between brokers, Redis and clients are cut. */
  readonly hasNetwork?: boolean
  /** Default 3. */
  readonly brokers?: number
  /** Leaders that must have changed, if not as many as everywhere. */
  readonly leaderChangesMin?: number
  /** How often another broker must have come to coordinate its groups. Default: not at all. */
  readonly coordinatorChangesMin?: number
  /** Groups that consume all the time, each member a process. */
  readonly groups?: readonly GroupPlan[]
  /** Before the rounds. */
  readonly prepare?: (stage: ChaosStage) => Promise<void>
  /** One round; afterwards nothing is broken, and the cluster may take its time to recover. */
  readonly round: (stage: ChaosStage) => Promise<void>
}

/** Longer than the lease of whoever sleeps, with what its successor may need. */
const LONG_MS = LEASE_MS + 3_000

/** A leader that nobody follows gives back what it leads, although it has its lease. */
const GIVEN_BACK_MS = 9_000

/** One broker after the other. */
async function restartAll(stage: ChaosStage): Promise<void> {
  for (const id of stage.cluster.ids) {
    await stage.stop(id)
    await stage.wait(0, 500)
    await stage.start(id)
    await stage.whole()
  }
}

async function killLeader(stage: ChaosStage): Promise<void> {
  const leader = await stage.someLeader()
  await stage.kill(leader)
  await stage.wait(200, 3_000)
  await stage.start(leader)
}

/** What a leader is cut off from, for longer than its lease. */
async function cutOff(
  stage: ChaosStage,
  what: string,
  cut: (leader: number, others: readonly number[]) => Promise<void>,
  forMs = LONG_MS,
): Promise<void> {
  const leader = await stage.someLeader()
  stage.tell(`broker ${leader} ${what}`)
  await cut(leader, stage.others(leader))
  await stage.wait(forMs, forMs + 2_000)
  stage.tell('the network heals')
  await stage.network.heal()
}

const ROUNDS_AT_RANDOM = [
  'kill',
  'pause',
  'stop',
  'redis-kill',
  'redis-pause',
  'redis-flush',
  'redis-rollback',
] as const

/** Any fault, and a second one before the first has healed. */
async function anything(stage: ChaosStage): Promise<void> {
  const heals: (() => Promise<void> | void)[] = []
  const untouched = new Set(stage.cluster.ids)
  let hasRedis = true
  for (let faults = 0; faults < 2; faults += 1) {
    const id = stage.oneOf([...untouched])
    const fault = ROUNDS_AT_RANDOM[stage.random.integer(ROUNDS_AT_RANDOM.length)]
    if (fault === 'kill' || fault === 'pause' || fault === 'stop') untouched.delete(id)
    else if (!hasRedis) continue
    if (fault === 'kill') {
      await stage.kill(id)
      heals.push(() => stage.start(id))
    } else if (fault === 'pause') {
      stage.pause(id)
      heals.push(() => stage.resume(id))
    } else if (fault === 'stop') {
      await stage.stop(id)
      heals.push(() => stage.start(id))
    } else {
      hasRedis = false
      heals.unshift(await harmRedis(stage, fault ?? 'redis-kill'))
    }
    await stage.wait(0, LONG_MS)
  }
  for (const heal of heals) await heal()
}

/** Answers how it is healed. */
async function harmRedis(stage: ChaosStage, fault: string): Promise<() => Promise<void> | void> {
  const { redis } = stage
  stage.tell(fault)
  if (fault === 'redis-kill') {
    await redis.kill()
    return () => redis.restart()
  }
  if (fault === 'redis-pause') {
    redis.pause()
    return () => redis.resume()
  }
  if (fault === 'redis-flush') await redis.empty()
  else await redis.rollBack()
  return () => undefined
}

export const SCENARIOS: Readonly<Record<string, Scenario>> = {
  healthy: {
    about: 'nothing happens to it',
    leaderChangesMin: 0,
    round: (stage) => stage.wait(2_000),
  },

  'kill-leader': {
    about: 'leaders are killed (SIGKILL) and start again',
    round: killLeader,
  },

  'kill-again': {
    about: 'brokers are killed again before they have caught up',
    async round(stage) {
      const id = await stage.someLeader()
      for (let times = 0; times < 3; times += 1) {
        await stage.kill(id)
        await stage.wait(0, 800)
        await stage.start(id)
        await stage.wait(0, 800)
      }
    },
  },

  'kill-majority': {
    about: 'two of three are killed at once',
    async round(stage) {
      const [first, second] = [stage.oneOf(stage.cluster.ids), await stage.someLeader()]
      const victims = first === second ? [second, stage.oneOf(stage.others(second))] : [first, second]
      await Promise.all(victims.map((id) => stage.kill(id)))
      await stage.wait(500, LONG_MS)
      for (const id of victims) {
        await stage.start(id)
        await stage.wait(0, 1_000)
      }
    },
  },

  'kill-all': {
    about: 'all three are killed at once',
    async round(stage) {
      await Promise.all(stage.cluster.ids.map((id) => stage.kill(id)))
      await stage.wait(0, 2_000)
      const late = stage.oneOf(stage.cluster.ids)
      await Promise.all(stage.others(late).map((id) => stage.start(id)))
      await stage.wait(0, 2_000)
      await stage.start(late)
    },
  },

  'pause-leader': {
    about: 'leaders hang (SIGSTOP) for longer than their lease, and wake up',
    async round(stage) {
      const leader = await stage.someLeader()
      stage.pause(leader)
      await stage.wait(LONG_MS, LONG_MS + 2_000)
      stage.resume(leader)
    },
  },

  'pause-majority': {
    about: 'two of three hang for longer than their lease',
    async round(stage) {
      const awake = stage.oneOf(stage.cluster.ids)
      for (const id of stage.others(awake)) stage.pause(id)
      await stage.wait(LONG_MS, LONG_MS + 1_000)
      for (const id of stage.others(awake)) {
        stage.resume(id)
        await stage.wait(0, 1_000)
      }
    },
  },

  'pause-kill': {
    about: 'a leader hangs, its successor is killed, and the first wakes up',
    async round(stage) {
      const leader = await stage.someLeader()
      stage.pause(leader)
      await stage.wait(LONG_MS)
      const victim = stage.oneOf(stage.others(leader))
      await stage.kill(victim)
      await stage.wait(0, 500)
      stage.resume(leader)
      await stage.wait(0, 2_000)
      await stage.start(victim)
    },
  },

  'redis-kill': {
    about:
      'Redis is killed, is away for longer than every lease, and starts on its files; a leader is killed meanwhile',
    async round(stage) {
      stage.tell('Redis is killed')
      await stage.redis.kill()
      await stage.wait(0, LONG_MS)
      const leader = await stage.someLeader()
      await stage.kill(leader)
      await stage.wait(LONG_MS)
      stage.tell('Redis starts')
      await stage.redis.restart()
      // Who is back at once leads again.
      await stage.wait(0, LONG_MS)
      await stage.start(leader)
    },
  },

  'redis-flush': {
    about: 'Redis loses everything (FLUSHALL), and a leader is killed',
    async round(stage) {
      stage.tell('Redis is emptied')
      await stage.redis.empty()
      await stage.wait(0, 1_500)
      await killLeader(stage)
    },
  },

  'redis-pause': {
    about: 'Redis hangs for longer than every lease, and a leader is killed',
    async round(stage) {
      stage.tell('Redis is paused')
      stage.redis.pause()
      await stage.wait(LONG_MS)
      const leader = await stage.someLeader()
      await stage.kill(leader)
      await stage.wait(0, 1_000)
      stage.tell('Redis goes on')
      stage.redis.resume()
      await stage.wait(0, 1_000)
      await stage.start(leader)
    },
  },

  'redis-rollback': {
    about: 'Redis is put back to files of before several elections',
    prepare: (stage) => stage.redis.backUp(),
    async round(stage) {
      await killLeader(stage)
      await stage.whole()
      stage.tell('Redis is put back to its beginning')
      await stage.redis.rollBack()
      await stage.wait(0, 2_000)
      await killLeader(stage)
    },
  },

  'rolling-restart': {
    about: 'one broker after the other is stopped in order and starts again',
    round: restartAll,
  },

  'lost-disk': {
    about: 'a broker comes back with an empty directory, and others are killed and stopped',
    async prepare(stage) {
      const id = stage.oneOf(stage.cluster.ids)
      await stage.kill(id)
      stage.tell(`broker ${id} loses its disk`)
      await stage.cluster.wipe(id)
      stage.lost.add(id)
      await stage.start(id)
    },
    // Both of the others are needed for everything: only who is stopped in order can hand over.
    async round(stage) {
      const leader = await stage.someLeader()
      if (stage.random.integer(3) === 0) await stage.kill(leader)
      else await stage.stop(leader)
      await stage.wait(0, 1_000)
      await stage.start(leader)
    },
  },

  'replaced-disk': {
    about: 'a broker comes back with an empty directory and gets its replicas anew, while others are killed',
    async round(stage) {
      const id = stage.oneOf(stage.cluster.ids)
      await stage.kill(id)
      stage.tell(`broker ${id} loses its disk`)
      await stage.cluster.wipe(id)
      await stage.start(id)
      for (const partition of stage.partitions) await stage.move(partition, await stage.replicasOf(partition))
      await stage.wait(0, 2_000)
      const leader = await stage.someLeader()
      const other = leader === id ? stage.oneOf(stage.others(id)) : leader
      await stage.kill(other)
      await stage.wait(0, 2_000)
      await stage.start(other)
    },
  },

  moving: {
    about: 'partitions move between four brokers, while leaders are killed',
    brokers: 4,
    async round(stage) {
      for (const partition of stage.partitions) {
        const before = await stage.replicasOf(partition)
        const away = stage.oneOf(before)
        const newcomer = stage.oneOf(stage.cluster.ids.filter((id) => !before.includes(id)))
        await stage.move(
          partition,
          before.map((id) => (id === away ? newcomer : id)),
        )
      }
      await stage.wait(0, 1_500)
      await killLeader(stage)
    },
  },

  'cut-off': {
    about: 'a leader is cut off from everything, clients and Redis included',
    hasNetwork: true,
    round: (stage) =>
      cutOff(stage, 'is cut off from everything', async (leader, others) => {
        for (const place of [...others, 'redis', 'clients'] as const) await stage.network.cut(leader, place)
      }),
  },

  'cut-from-followers': {
    about: 'a leader is cut off from its followers alone: clients and Redis reach it',
    hasNetwork: true,
    round: (stage) =>
      cutOff(
        stage,
        'is cut off from the other brokers',
        async (leader, others) => {
          for (const other of others) await stage.network.cut(leader, other)
        },
        GIVEN_BACK_MS,
      ),
  },

  'cut-from-redis': {
    about: 'a leader is cut off from Redis alone',
    hasNetwork: true,
    round: (stage) => cutOff(stage, 'is cut off from Redis', (leader) => stage.network.cut(leader, 'redis')),
  },

  'cut-one-way': {
    about: 'what a leader sends to the others is lost; it hears them',
    hasNetwork: true,
    round: (stage) =>
      cutOff(stage, 'is not heard any more', async (leader, others) => {
        for (const place of [...others, 'redis'] as const) await stage.network.cutOneWay(leader, place)
      }),
  },

  'cut-ring': {
    about:
      'a leader and one follower do not reach each other, everything else does; then the leader is stopped or killed',
    hasNetwork: true,
    async round(stage) {
      const leader = await stage.someLeader()
      const other = stage.oneOf(stage.others(leader))
      stage.tell(`brokers ${leader} and ${other} do not reach each other`)
      await stage.network.cut(leader, other)
      await stage.wait(LONG_MS)
      if (stage.random.integer(2) === 0) await stage.stop(leader)
      else await stage.kill(leader)
      await stage.wait(0, 2_000)
      await stage.start(leader)
      await stage.wait(0, 1_000)
      stage.tell('the network heals')
      await stage.network.heal()
    },
  },

  'cut-and-kill': {
    about: 'a leader is cut off from its followers, and one of these is killed and starts again',
    hasNetwork: true,
    async round(stage) {
      const leader = await stage.someLeader()
      stage.tell(`broker ${leader} is cut off from the other brokers`)
      for (const other of stage.others(leader)) await stage.network.cut(leader, other)
      await stage.wait(0, GIVEN_BACK_MS)
      const victim = stage.oneOf(stage.others(leader))
      await stage.kill(victim)
      await stage.wait(0, 1_500)
      stage.tell('the network heals')
      await stage.network.heal()
      await stage.wait(0, 1_500)
      await stage.start(victim)
    },
  },

  everything: {
    about: 'two faults of any kind at a time',
    prepare: (stage) => stage.redis.backUp(),
    round: anything,
  },

  ...GROUP_SCENARIOS,
}
