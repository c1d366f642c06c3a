// A network of the test's own: each broker and Redis in a network namespace, all on one bridge, with whoever started it.
// Ways between two of them can be cut, in one direction or both: packets vanish without a word, as on a broken switch.
// Owns processes that hold the namespaces, and nothing else of the machine: it all goes with them. Needs to run where it
// may make namespaces, and inside one already, so that the machine's own network stays as it is.

import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process'
import { readlink } from 'node:fs/promises'
import { promisify } from 'node:util'
import { pause } from '../setup/cluster-load.ts'

const run = promisify(execFile)

/** A broker by its id, Redis, a member of a group by its slot, or all other clients, which live where the test does. */
export type Place = number | 'redis' | 'clients' | `member-${number}`

const SUBNET = '10.77.0'
const HOST_OF: Readonly<Record<'redis' | 'clients', number>> = { redis: 100, clients: 254 }
const FIRST_MEMBER = 150
/** Nobody has it: what is sent there is lost. */
const NOWHERE = '02:00:00:00:de:ad'

/** Whether this machine lets us make networks: to be asked before `insideOwnNetwork`. */
export function canMakeNetworks(): boolean {
  const words = [
    '-n',
    'sh',
    '-c',
    'ip link add tm0 type veth peer name tm1 && ip link add tm2 type bridge && command -v nsenter',
  ]
  return spawnSync('unshare', words, { stdio: 'ignore' }).status === 0
}

/** The command that runs another with a network of its own, in which nothing is but itself. */
export function insideOwnNetwork(words: readonly string[]): readonly string[] {
  return ['unshare', '-n', 'sh', '-c', 'ip link set lo up && exec "$@"', 'sh', ...words]
}

export class Network {
  readonly #holders = new Map<Place, ChildProcess>()
  readonly #cuts = new Set<string>()
  readonly #kill: () => void

  private constructor() {
    this.#kill = () => {
      for (const holder of this.#holders.values()) holder.kill('SIGKILL')
    }
    process.once('exit', this.#kill)
  }

  static async make(places: readonly Exclude<Place, 'clients'>[]): Promise<Network> {
    const network = new Network()
    await run('ip', ['link', 'add', 'tidemark', 'type', 'bridge'])
    await run('ip', ['addr', 'add', `${network.host('clients')}/24`, 'dev', 'tidemark'])
    await run('ip', ['link', 'set', 'tidemark', 'up'])
    for (const place of places) await network.#add(place)
    return network
  }

  host(place: Place): string {
    if (typeof place === 'number') return `${SUBNET}.${place}`
    const slot = slotOf(place)
    return `${SUBNET}.${slot === undefined ? HOST_OF[place === 'redis' ? place : 'clients'] : FIRST_MEMBER + slot}`
  }

  /** What stands before a command that is to run there. */
  within(place: Place): readonly string[] {
    const pid = this.#holders.get(place)?.pid
    return pid === undefined ? [] : ['nsenter', '-t', `${pid}`, '-n', '--']
  }

  /** What one place sends to the other is lost from now on; the other way stays as it is. */
  async cutOneWay(from: Place, to: Place): Promise<void> {
    this.#cuts.add(`${from} ${to}`)
    await this.#ip(from, [
      'neigh',
      'replace',
      this.host(to),
      'lladdr',
      NOWHERE,
      'dev',
      deviceOf(from),
      'nud',
      'permanent',
    ])
  }

  async cut(one: Place, other: Place): Promise<void> {
    await this.cutOneWay(one, other)
    await this.cutOneWay(other, one)
  }

  async heal(): Promise<void> {
    for (const cut of [...this.#cuts]) {
      const [from = '', to = ''] = cut.split(' ')
      const [here, there] = [placeOf(from), placeOf(to)]
      await this.#ip(here, ['neigh', 'del', this.host(there), 'dev', deviceOf(here)])
      this.#cuts.delete(cut)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#kill()
    process.off('exit', this.#kill)
    // A namespace goes some time after its last process, and what is in it with it.
    for (const place of this.#holders.keys()) await run('ip', ['link', 'del', outsideOf(place)]).catch(() => undefined)
    await run('ip', ['link', 'del', 'tidemark']).catch(() => undefined)
  }

  async #add(place: Exclude<Place, 'clients'>): Promise<void> {
    const holder = spawn('unshare', ['-n', 'sleep', 'infinity'], { stdio: 'ignore' })
    this.#holders.set(place, holder)
    const own = await readlink('/proc/self/ns/net')
    // It has begun in our namespace.
    while ((await readlink(`/proc/${holder.pid}/ns/net`).catch(() => own)) === own) await pause(5)
    const outside = outsideOf(place)
    await run('ip', ['link', 'add', outside, 'type', 'veth', 'peer', 'name', 'inside', 'netns', `${holder.pid}`])
    await run('ip', ['link', 'set', outside, 'master', 'tidemark', 'up'])
    await this.#ip(place, ['link', 'set', 'lo', 'up'])
    await this.#ip(place, ['addr', 'add', `${this.host(place)}/24`, 'dev', 'inside'])
    await this.#ip(place, ['link', 'set', 'inside', 'up'])
  }

  async #ip(place: Place, words: readonly string[]): Promise<void> {
    const [program = '', ...rest] = [...this.within(place), 'ip', ...words]
    await run(program, rest)
  }
}

const outsideOf = (place: Place): string => `to-${place}`
const deviceOf = (place: Place): string => (place === 'clients' ? 'tidemark' : 'inside')

function placeOf(text: string): Place {
  const slot = slotOf(text)
  if (slot !== undefined) return `member-${slot}`
  return text === 'redis' || text === 'clients' ? text : Number(text)
}

function slotOf(place: string): number | undefined {
  return place.startsWith('member-') ? Number(place.slice('member-'.length)) : undefined
}
