// Scenarios in which groups consume, each member a process of its own: what is done to members, and to the brokers that
// coordinate them. Each round heals what it has broken. Judges nothing.

import { type ChaosStage, LEASE_MS } from './chaos-stage.ts'
import { type GroupMembers, type GroupPlan, SESSION_MS } from './group-members.ts'
import type { Scenario } from './scenarios.ts'

const COOPERATIVE: GroupPlan = {
  name: 'cooperative',
  assignor: 'cooperative-sticky',
  kinds: ['message', 'batch', 'stream', 'manual'],
}
/** Everything is given up in between. */
const EAGER: GroupPlan = { name: 'eager', assignor: 'range', kinds: ['batch', 'manual', 'message'] }
const STATIC: GroupPlan = { ...COOPERATIVE, name: 'static', kinds: ['batch', 'manual', 'message'], isStatic: true }

/** Longer than a session, with what others need to take over. */
const ASLEEP_MS = SESSION_MS + 1_500
/** Longer than the lease of whoever sleeps, with what its successor may need. */
const LONG_MS = LEASE_MS + 3_000
/** How long the group may need to go on without a member that hangs. */
const OUT_WITHIN_MS = 20_000
const COORDINATOR_CHANGES_MIN = 5
/** Guests that come and go, besides those that are in the group all the time. */
const GUESTS = [10, 11, 12, 13, 14]

function someSlots(stage: ChaosStage, { slots }: GroupMembers, count: number): number[] {
  const left = [...slots]
  return Array.from({ length: count }, () => left.splice(stage.random.integer(left.length), 1)[0] ?? 0)
}

async function killMembers(stage: ChaosStage, group: GroupMembers): Promise<void> {
  const victims = someSlots(stage, group, 1 + stage.random.integer(2))
  for (const slot of victims) {
    await group.kill(slot)
    await stage.wait(0, 400)
  }
  await stage.wait(0, 2_500)
  for (const slot of victims) group.start(slot)
}

/** For longer than its session, so that others have what it thinks it has when it wakes up. */
async function pauseMember(stage: ChaosStage, group: GroupMembers): Promise<void> {
  const victims = someSlots(stage, group, 1 + stage.random.integer(2))
  for (const slot of victims) group.pause(slot)
  await stage.wait(ASLEEP_MS)
  for (const slot of victims) await group.commitAsZombie(slot, OUT_WITHIN_MS)
  for (const slot of victims) {
    group.resume(slot)
    await stage.wait(0, 500)
  }
}

/** For a time in which it may or may not be taken out. */
async function pauseAboutASession(stage: ChaosStage, group: GroupMembers): Promise<void> {
  const [slot = 0] = someSlots(stage, group, 1)
  group.pause(slot)
  await stage.wait(SESSION_MS / 2, SESSION_MS * 1.3)
  group.resume(slot)
}

/** Many come at once, and go at once: in order, or dead. */
async function storm(stage: ChaosStage, group: GroupMembers): Promise<void> {
  const guests = GUESTS.slice(0, 3 + stage.random.integer(3))
  for (const slot of guests) {
    group.start(slot)
    await stage.wait(0, 150)
  }
  await stage.wait(500, 3_000)
  const ends = guests.map(async (slot) => {
    await stage.wait(0, 600)
    if (stage.random.integer(2) === 0) await group.kill(slot)
    else await group.leave(slot)
  })
  const [slot = 0] = someSlots(stage, group, 1)
  await group.leave(slot)
  group.start(slot)
  await Promise.all(ends)
}

async function killCoordinator(stage: ChaosStage, group: GroupMembers): Promise<void> {
  const broker = await stage.coordinator(group)
  await stage.kill(broker)
  await stage.wait(500, 4_000)
  await stage.start(broker)
}

async function pauseCoordinator(stage: ChaosStage, group: GroupMembers): Promise<void> {
  const broker = await stage.coordinator(group)
  stage.pause(broker)
  await stage.wait(LONG_MS, LONG_MS + 2_000)
  stage.resume(broker)
}

async function anyMemberFault(stage: ChaosStage, group: GroupMembers): Promise<void> {
  const faults = [killMembers, pauseMember, pauseAboutASession, storm]
  await faults[stage.random.integer(faults.length)]?.(stage, group)
}

/** A member and a broker at the same time. */
async function anything(stage: ChaosStage): Promise<void> {
  const group = stage.groups[stage.random.integer(stage.groups.length)] ?? stage.group
  const broker = stage.random.integer(2) === 0 ? await stage.coordinator(group) : await stage.someLeader()
  const brokerFault = async (): Promise<void> => {
    await stage.wait(0, 2_000)
    if (stage.random.integer(2) === 0) {
      await stage.kill(broker)
      await stage.wait(200, 4_000)
      await stage.start(broker)
    } else {
      stage.pause(broker)
      await stage.wait(LONG_MS)
      stage.resume(broker)
    }
  }
  await Promise.all([brokerFault(), anyMemberFault(stage, group)])
}

/** What is done to a coordinator's network, while a member dies. */
async function cutCoordinator(
  stage: ChaosStage,
  what: string,
  cut: (broker: number, others: readonly number[]) => Promise<void>,
): Promise<void> {
  const { group } = stage
  const broker = await stage.coordinator(group)
  stage.tell(`broker ${broker}, which coordinates, ${what}`)
  await cut(broker, stage.others(broker))
  const [slot = 0] = someSlots(stage, group, 1)
  await stage.wait(0, 1_500)
  await group.kill(slot)
  await stage.wait(LONG_MS, LONG_MS + 2_000)
  stage.tell('the network heals')
  await stage.network.heal()
  group.start(slot)
}

/** From all brokers, or from the one that coordinates alone: then it reads on, and works on what others have by then. */
async function cutMember(stage: ChaosStage): Promise<void> {
  const { group } = stage
  const [slot = 0] = someSlots(stage, group, 1)
  const isFromAll = stage.random.integer(2) === 0
  const brokers = isFromAll ? stage.cluster.ids : [await stage.coordinator(group)]
  stage.tell(`member ${slot} is cut off from ${isFromAll ? 'all brokers' : `broker ${brokers[0]}, which coordinates`}`)
  for (const broker of brokers) await stage.network.cut(`member-${slot}`, broker)
  await stage.wait(ASLEEP_MS)
  await group.commitAsZombie(slot, OUT_WITHIN_MS)
  await stage.wait(0, 2_000)
  stage.tell('the network heals')
  await stage.network.heal()
}

export const GROUP_SCENARIOS: Readonly<Record<string, Scenario>> = {
  'group-kill-members': {
    about: 'members of a group are killed (SIGKILL) and start again',
    groups: [COOPERATIVE],
    leaderChangesMin: 0,
    round: (stage) => killMembers(stage, stage.group),
  },

  'group-pause-members': {
    about: 'members hang (SIGSTOP) past their session, somebody commits in their name, and they wake up',
    groups: [COOPERATIVE],
    leaderChangesMin: 0,
    async round(stage) {
      await pauseMember(stage, stage.group)
      await pauseAboutASession(stage, stage.group)
    },
  },

  'group-storm': {
    about: 'many members come at once and go at once',
    groups: [COOPERATIVE],
    leaderChangesMin: 0,
    round: (stage) => storm(stage, stage.group),
  },

  'group-eager': {
    about: 'members that give everything up in between are killed, hang, and come and go in storms',
    groups: [EAGER],
    leaderChangesMin: 0,
    round: (stage) => anyMemberFault(stage, stage.group),
  },

  'group-static': {
    about:
      'static members are killed and come back, within their session and after it, hang, and are replaced meanwhile',
    groups: [STATIC],
    leaderChangesMin: 0,
    async round(stage) {
      const { group } = stage
      const [first = 0, second = 0] = someSlots(stage, group, 2)
      await group.kill(first)
      await stage.wait(0, SESSION_MS * 1.5)
      group.start(first)
      await stage.wait(0, 1_000)
      group.pause(second)
      if (stage.random.integer(2) === 0) {
        await stage.wait(ASLEEP_MS)
        group.resume(second)
      } else {
        await stage.wait(0, ASLEEP_MS)
        await group.replace(second)
      }
    },
  },

  'group-kill-coordinator': {
    about: 'the broker that coordinates a group is killed and starts again, and now and then a member with it',
    leaderChangesMin: 0,
    coordinatorChangesMin: COORDINATOR_CHANGES_MIN,
    groups: [COOPERATIVE],
    async round(stage) {
      await killCoordinator(stage, stage.group)
      if (stage.random.integer(2) === 0) await stage.whole()
      await Promise.all([killCoordinator(stage, stage.group), killMembers(stage, stage.group)])
    },
  },

  'group-pause-coordinator': {
    about: 'the broker that coordinates a group hangs for longer than its lease, while members come, go and hang',
    leaderChangesMin: 0,
    coordinatorChangesMin: COORDINATOR_CHANGES_MIN,
    groups: [COOPERATIVE],
    round: async (stage) => {
      await Promise.all([pauseCoordinator(stage, stage.group), anyMemberFault(stage, stage.group)])
    },
  },

  'group-cut-coordinator': {
    about: 'the broker that coordinates a group is cut off from everything, and a member dies meanwhile',
    leaderChangesMin: 0,
    coordinatorChangesMin: COORDINATOR_CHANGES_MIN,
    groups: [COOPERATIVE],
    hasNetwork: true,
    round: (stage) =>
      cutCoordinator(stage, 'is cut off from everything', async (broker, others) => {
        const members = stage.group.slots.map((slot) => `member-${slot}` as const)
        for (const place of [...others, 'redis', 'clients', ...members] as const) await stage.network.cut(broker, place)
      }),
  },

  'group-cut-brokers': {
    about: 'the broker that coordinates a group is cut off from the others; members and Redis reach it',
    leaderChangesMin: 0,
    coordinatorChangesMin: COORDINATOR_CHANGES_MIN,
    groups: [COOPERATIVE],
    hasNetwork: true,
    round: (stage) =>
      cutCoordinator(stage, 'is cut off from the others', async (broker, others) => {
        for (const place of others) await stage.network.cut(broker, place)
      }),
  },

  'group-cut-members': {
    about: 'a member is cut off from all brokers, or from its coordinator alone, for longer than its session',
    groups: [COOPERATIVE],
    hasNetwork: true,
    leaderChangesMin: 0,
    round: cutMember,
  },

  'group-everything': {
    about: 'two groups, and a member and a broker at a time that are killed or hang',
    leaderChangesMin: 0,
    coordinatorChangesMin: COORDINATOR_CHANGES_MIN,
    groups: [COOPERATIVE, { ...EAGER, kinds: ['batch', 'manual'] }],
    round: anything,
  },
}
