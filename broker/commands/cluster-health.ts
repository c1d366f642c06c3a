// The health of a cluster from what each of its brokers says. A broker knows only of itself whether its disk is full, and only
// where there is a replica that a leader which is named does not lead: so everyone is asked, and what is bad anywhere is bad.
// Owns how the accounts become one, and what counts as a change; asks for nothing else and prints nothing.

import type { BrokerSession } from './broker-session.ts'
import { askEach } from './each-broker.ts'

export interface Check {
  readonly name: string
  readonly isOk: boolean
  readonly detail: string
}

export interface Health {
  readonly isHealthy: boolean
  readonly checks: readonly Check[]
}

/** What all brokers look at, each as it sees it; the other checks are about the broker itself. */
const OF_THE_CLUSTER: ReadonlySet<string> = new Set(['brokers', 'leaders', 'replicas', 'writes', 'moves', 'disks'])
/** The broker that is asked tells its state in words that change by themselves. */
const COORDINATOR = 'coordinator'
const CONNECTIONS = 'connections'

export async function askHealth(session: BrokerSession): Promise<Health> {
  const { checks, brokers } = await session.ask('clusterInfo', {})
  if (brokers.length < 2) return healthFrom(checks)
  const members = brokers.map(({ brokerId }) => brokerId)
  const answers = await askEach(session, members, 'clusterInfo', {})
  const others = [...answers].map(([broker, answer]) => ({ broker, checks: answer.checks }))
  const silent = members.filter((broker) => !answers.has(broker))
  return healthFrom(asOne(checks, others, silent))
}

export function healthFrom(checks: readonly Check[]): Health {
  return { isHealthy: checks.every(({ isOk }) => isOk), checks }
}

/** Pure. Where the first finds nothing, the others by their numbers; who is known to be away is no news, who is silent is. */
export function asOne(
  first: readonly Check[],
  others: readonly { readonly broker: number; readonly checks: readonly Check[] }[],
  silent: readonly number[],
): readonly Check[] {
  return first.map((check) => {
    if (!check.isOk) return check
    const { name, detail } = check
    if (name === 'brokers' && silent.length > 0) {
      const who = silent.length === 1 ? `broker ${silent[0]} does` : `brokers ${silent.join(', ')} do`
      return { name, isOk: false, detail: `${detail}; ${who} not answer` }
    }
    const bad = others.flatMap(({ broker, checks }) => {
      const found = checks.find((one) => one.name === name && !one.isOk)
      return found === undefined ? [] : [{ broker, detail: found.detail }]
    })
    const [one] = bad
    if (one === undefined) return check
    if (OF_THE_CLUSTER.has(name)) {
      return { name, isOk: false, detail: `${one.detail}; as broker ${one.broker} sees it` }
    }
    // Most of these begin with the number already.
    const each = bad.map(({ broker, detail: said }) =>
      said.startsWith('broker ') ? said : `broker ${broker}: ${said}`,
    )
    return { name, isOk: false, detail: each.join('; ') }
  })
}

/** Pure. Those that are new or other than before, and those that are bad still; undefined where nothing has changed. */
export function changes(before: Health | undefined, now: Health): readonly Check[] | undefined {
  if (before === undefined) return now.checks
  const states = new Map(before.checks.map((check) => [check.name, stateOf(check)]))
  const changed = new Set(now.checks.filter((check) => states.get(check.name) !== stateOf(check)))
  const isGone = before.checks.some(({ name }) => now.checks.every((check) => check.name !== name))
  if (changed.size === 0 && !isGone) return undefined
  if (isGone) return now.checks
  return now.checks.filter((check) => changed.has(check) || !check.isOk)
}

/** Without the times that go on by themselves, the words of the last attempt at Redis, and who was asked of all that are well. */
function stateOf({ name, isOk, detail }: Check): string {
  if (isOk && name === CONNECTIONS) return 'ok'
  const said = name === COORDINATOR ? detail.replaceAll(/ \([^)]*\)/g, '') : detail
  return `${isOk} ${said.replaceAll(/\b\d+(\.\d+)? ?(ms|s|seconds|min)\b/g, '')}`
}
