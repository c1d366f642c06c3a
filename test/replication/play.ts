// Plays of a cluster as text: lines that begin with "> " are commands, those with "# " say why, and the rest is what happened.
// A play is its own expected output: it is read, played again and compared.

import { REPLICA_RULES, type ReplicaRules } from '../../broker/replication/replica-rules.ts'
import { InvariantError } from '../../shared/assert.ts'
import { brokerId, leaderEpoch } from '../../shared/ids.ts'
import { ClusterModel, type ModelNode } from './cluster-model.ts'
import { OracleError } from './cluster-oracle.ts'
import { describeNode, describeStep } from './describe.ts'

/** Plays the commands of the text; answers the text anew, with what happened now. */
export function play(text: string, rules: ReplicaRules = REPLICA_RULES): string {
  const output: string[] = []
  const stage = new Stage(rules, output)
  for (const line of text.split('\n')) {
    if (line.startsWith('#')) {
      if (output.length > 0 && output.at(-1)?.startsWith('#') !== true) output.push('')
      output.push(line)
    }
    if (!line.startsWith('> ')) continue
    if (output.at(-1)?.startsWith('#') === true) output.push('')
    output.push(line)
    try {
      stage.run(line.slice(2).split(' '))
    } catch (error) {
      if (!(error instanceof OracleError || error instanceof InvariantError)) throw error
      output.push(`! ${error.message}`)
      break
    }
  }
  return `${output.join('\n')}\n`
}

class Stage {
  readonly #rules: ReplicaRules
  readonly #output: string[]
  #cluster: ClusterModel | undefined
  readonly #cutOff = new Set<number>()
  #isQuiet = false

  constructor(rules: ReplicaRules, output: string[]) {
    this.#rules = rules
    this.#output = output
  }

  run(words: readonly string[]): void {
    const [verb = '', ...rest] = words
    if (verb === 'cluster') return this.#build(rest)
    const cluster = this.#model
    const number = (at: number): number => Number(rest[at])
    const node = (): ModelNode => cluster.node(number(0))
    const { now } = cluster
    switch (verb) {
      case 'campaign': {
        const epochHint = rest[1] === undefined ? undefined : leaderEpoch(number(1))
        return cluster.step(node(), { kind: 'campaign-suggested', epochHint, now })
      }
      case 'produce':
        return this.#say(`value ${cluster.produce(node()) ?? 'refused'}`)
      case 'fetch':
        return this.#say(cluster.fetch(node()) ? undefined : 'nothing to fetch')
      case 'write':
        return cluster.finishWrite(node())
      case 'sync':
        return cluster.sync(node())
      case 'kill':
        return cluster.kill(node())
      case 'start':
        return cluster.start(node())
      case 'lose-power':
        return cluster.losePower(node(), number(1), rest[2] === 'and-the-cut')
      case 'replace-disk':
        return cluster.replaceDisk(node())
      case 'cut-off':
        return void this.#cutOff.add(number(0))
      case 'rejoin':
        return void this.#cutOff.delete(number(0))
      case 'announce':
        return cluster.announce(node())
      case 'lease':
        return this.#lease(node(), rest[1])
      case 'change-voters': {
        const nodes = (rest[1] ?? '').split(',').map((id) => cluster.node(Number(id)))
        cluster.wanted = cluster.setOf(nodes, rest[2] === undefined ? Math.floor(nodes.length / 2) + 1 : number(2))
        return cluster.changeVoters(node())
      }
      case 'recover':
        return cluster.step(node(), { kind: 'recovery-asked', now })
      case 'retire':
        return cluster.retire(node())
      case 'leave':
        return cluster.leave(node(), true, rest[1] === undefined ? undefined : brokerId(number(1)))
      case 'hand-over':
        return cluster.step(node(), { kind: 'hand-over-asked', to: brokerId(number(1)), now })
      case 'pass':
        return this.#pass(number(0))
      case 'drop':
        return this.#drop(number(0), number(1))
      case 'deliver':
        return this.#deliver(rest[0] === undefined ? Infinity : number(0))
      case 'settle':
        return this.#settle()
      case 'replicate':
        return this.#replicate()
      case 'batch':
        return void (cluster.batch = number(0))
      case 'quietly':
        this.#isQuiet = true
        this.run(rest)
        this.#isQuiet = false
        return undefined
      case 'compact':
        return cluster.compact(node())
      case 'drop-tombstones':
        return cluster.dropTombstones(node(), false)
      case 'show':
        for (const each of cluster.nodes) this.#output.push(describeNode(each))
        return undefined
      default:
        throw new RangeError(`no such command: ${words.join(' ')}`)
    }
  }

  get #model(): ClusterModel {
    if (this.#cluster === undefined) throw new RangeError('a play begins with: cluster')
    return this.#cluster
  }

  #build(words: readonly string[]): void {
    const [replicas = '3', minInSyncReplicas = '2', durability = 'os', suspectPolicy = 'wait', spares = '0'] = words
    const output = this.#output
    this.#isQuiet = true
    this.#cluster = new ClusterModel({
      replicas: Number(replicas),
      spares: Number(spares),
      minInSyncReplicas: Number(minInSyncReplicas),
      durability: durability === 'fsync' ? 'fsync' : 'os',
      suspectPolicy: suspectPolicy === 'balanced' ? 'balanced' : 'wait',
      // Most plays begin with a record in each epoch; those about empty logs say so.
      rules: words.includes('owing') ? this.#rules : { ...this.#rules, mayOweEpochStart: () => false },
      isCompacted: words.includes('compacted'),
      trace: (node, role, event, effects) => {
        const isChange = effects.length > 0 || node.replica?.role !== role
        if (isChange && !this.#isQuiet) output.push(describeStep(node, role, event, effects))
      },
    })
    this.#isQuiet = false
  }

  #say(text: string | undefined): void {
    if (text !== undefined) this.#output.push(text)
  }

  #lease(node: ModelNode, word: string | undefined): void {
    const { now } = this.#model
    if (word === 'held') return this.#model.step(node, { kind: 'lease-held', now })
    return this.#model.step(node, { kind: 'lease-lost', reason: word === 'taken' ? 'taken' : 'expired', now })
  }

  #pass(durationMs: number): void {
    this.#model.now += durationMs
    for (const node of this.#model.nodes) this.#model.step(node, { kind: 'tick', now: this.#model.now })
  }

  #drop(from: number, to: number): void {
    const { messages } = this.#model
    const kept = messages.filter((message) => message.from !== from || message.to !== to)
    messages.splice(0, messages.length, ...kept)
  }

  /** So many messages, the oldest first, and those that come of them; none from or to a replica that is cut off. */
  #deliver(count: number): void {
    const { messages } = this.#model
    for (let delivered = 0; delivered < count; delivered += 1) {
      const message = messages.shift()
      if (message === undefined) return
      if (!this.#cutOff.has(message.from) && !this.#cutOff.has(message.to)) this.#model.deliver(message)
    }
  }

  /** As deliver, and every write reaches its disk. */
  #settle(): void {
    for (let round = 0; round < 20; round += 1) {
      this.#deliver(Infinity)
      for (const node of this.#model.nodes) while (node.writes.length > 0) this.#model.finishWrite(node)
      if (this.#model.messages.length === 0) return
    }
  }

  /** Followers fetch until all have what their leader has. */
  #replicate(): void {
    for (let round = 0; round < 20; round += 1) {
      for (const node of this.#model.nodes) this.#model.fetch(node)
      this.#settle()
    }
  }
}
