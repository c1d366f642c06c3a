// Does to groups what goes wrong with them: to the machines of members, and to the brokers that coordinate. Draws from the
// faults that the seed allows; when the time of faults is over all members that are to be there come back.

import type { Random } from '../../shared/random.ts'
import type { GroupMachine } from './group-member.ts'
import type { GroupOracle } from './group-oracle.ts'
import type { GroupFault } from './group-plan.ts'
import type { Scheduler } from './scheduler.ts'
import type { SimBroker } from './sim-broker.ts'
import type { SimNetwork } from './sim-network.ts'
import type { SimRedisServer } from './sim-redis-link.ts'

export interface GroupNemesisParts {
  readonly scheduler: Scheduler
  readonly random: Random
  readonly network: SimNetwork
  readonly redis: SimRedisServer
  readonly oracle: GroupOracle
  readonly brokers: readonly SimBroker[]
  readonly machines: readonly GroupMachine[]
  readonly faults: readonly GroupFault[]
  readonly everyMs: number
  readonly troubleMsMax: number
  readonly note: (who: string, what: string, details: string) => void
}

/** Within so many milliseconds those of a storm come and go. */
const STORM_MS = 60

export class GroupNemesis {
  readonly begun = new Map<GroupFault, number>()
  readonly #parts: GroupNemesisParts
  #isOver = false

  constructor(parts: GroupNemesisParts) {
    this.#parts = parts
  }

  start(): void {
    if (this.#parts.faults.length > 0) this.#next()
  }

  /** Mends everything that is not mended by others; members come back, some stay away for good. */
  end(): void {
    this.#isOver = true
    const { machines, random } = this.#parts
    for (const [index, machine] of machines.entries()) {
      machine.recordsToLive = Infinity
      for (const { process } of machine.lives) process.resume()
      const isFirst = index === 0 || machines[index - 1]?.group !== machine.group
      if (isFirst || random.integer(4) > 0) machine.startAfter(1 + this.#ms(1_000))
      else machine.close()
    }
  }

  #next(): void {
    const { scheduler, random, everyMs, faults } = this.#parts
    scheduler.after(-Math.log(1 - random.fraction()) * everyMs, () => {
      if (this.#isOver) return
      const fault = faults[random.integer(faults.length)]
      if (fault !== undefined) this.#begin(fault)
      this.#next()
    })
  }

  #begin(fault: GroupFault): void {
    const { random, machines, note } = this.#parts
    const machine = this.#any(machines)
    this.begun.set(fault, (this.begun.get(fault) ?? 0) + 1)
    note('nemesis', fault, machine.host)
    switch (fault) {
      case 'member-killed':
        machine.kill()
        return machine.startAfter(this.#downMs())
      case 'member-without-power':
        machine.powerLoss()
        return machine.startAfter(this.#downMs())
      case 'member-paused':
        return machine.process.pause(this.#ms(3 * machine.group.sessionTimeoutMs))
      case 'member-replaced':
        return machine.replace(this.#ms(3 * machine.group.sessionTimeoutMs), this.#ms(machine.group.sessionTimeoutMs))
      case 'dies-handling':
        machine.recordsToLive = 1 + random.integer(20)
        return
      case 'storm':
        return this.#storm(machine)
      case 'member-cut':
        return this.#cut(machine, [machine.host])
      default:
        return this.#beginAtCoordinator(fault, machine)
    }
  }

  #beginAtCoordinator(fault: GroupFault, machine: GroupMachine): void {
    const { brokers, oracle, machines, random } = this.#parts
    const host = oracle.groups.get(machine.group.name)?.coordinator
    const broker = brokers.find((one) => one.host === host)
    if (broker === undefined) return
    switch (fault) {
      case 'coordinator-killed':
        if (!broker.process.isAlive) return
        broker.kill()
        return broker.startAfter(this.#downMs())
      case 'coordinator-paused':
        return broker.process.pause(this.#ms(this.#parts.troubleMsMax))
      case 'coordinator-restarted':
        return broker.stop(() => broker.startAfter(this.#downMs()))
      case 'coordinator-cut': {
        const some = machines.filter(({ group }) => group === machine.group && random.integer(2) === 0)
        return this.#cut(
          machine,
          some.map((one) => one.host),
        )
      }
      case 'coordinator-isolated': {
        const others = brokers.filter((one) => one !== broker).map((one) => one.host)
        // Who is cut off from Redis as well for long enough is deposed, and may not hear of it for a while.
        const isFromRedis = random.integer(3) > 0
        const forMs = isFromRedis ? this.#parts.troubleMsMax * random.fraction() : this.#ms(this.#parts.troubleMsMax)
        if (isFromRedis) this.#cutFromRedis(broker, forMs)
        return this.#cut(machine, others, forMs)
      }
      default:
        return
    }
  }

  #cutFromRedis({ host }: SimBroker, forMs: number): void {
    const { redis, scheduler } = this.#parts
    redis.cut(host)
    scheduler.after(forMs, () => redis.heal(host))
  }

  /** Between the coordinator of the machine's group and hosts, in one direction or both. */
  #cut({ group }: GroupMachine, hosts: readonly string[], forMs = this.#ms(this.#parts.troubleMsMax)): void {
    const { network, oracle, random, scheduler } = this.#parts
    const coordinator = oracle.groups.get(group.name)?.coordinator
    if (coordinator === undefined) return
    const way = random.integer(3)
    for (const host of hosts) {
      if (way !== 1) network.cut(host, coordinator)
      if (way !== 0) network.cut(coordinator, host)
    }
    scheduler.after(forMs, () => {
      for (const host of hosts) {
        network.heal(host, coordinator)
        network.heal(coordinator, host)
      }
    })
  }

  /** Many members come and go at once. */
  #storm({ group }: GroupMachine): void {
    const { machines, random, scheduler } = this.#parts
    for (const machine of machines) {
      if (machine.group !== group || random.integer(4) === 0) continue
      const comesAfterMs = this.#ms(STORM_MS)
      scheduler.after(random.integer(STORM_MS), () => {
        if (this.#isOver) return
        if (!machine.isAlive) return machine.startAfter(comesAfterMs)
        const isInOrder = random.integer(2) === 0
        const again = (): void => {
          if (random.integer(4) > 0 || this.#isOver) machine.startAfter(comesAfterMs)
        }
        if (isInOrder) return machine.close(again)
        machine.kill()
        again()
      })
    }
  }

  #any<T>(list: readonly T[]): T {
    const one = list[this.#parts.random.integer(list.length)]
    if (one === undefined) throw new Error('nothing to pick from')
    return one
  }

  #downMs(): number {
    return 1 + this.#ms(this.#parts.random.integer(4) === 0 ? this.#parts.troubleMsMax : 1_500)
  }

  /** From next to nothing to maxMs, small ones as likely as large ones. */
  #ms(maxMs: number): number {
    return maxMs ** this.#parts.random.fraction()
  }
}
