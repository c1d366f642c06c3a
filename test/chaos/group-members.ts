// The members of one group, as processes: started, killed, paused, told to leave. Gathers what they write down into the
// history, and looks at the group from outside. Judges nothing. Invariant: no member outlives the process that started it.

import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, existsSync, openSync, readSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { AssignorName } from '../../client/assignors.ts'
import { type Client, connect } from '../../client/client.ts'
import { pause, within } from '../setup/cluster-load.ts'
import { isAllHandled } from './group-checker.ts'
import type { MemberKind, MemberSettings } from './group-member.ts'
import type { GroupHistoryEvent, History } from './history.ts'
import { commitAs } from './zombie.ts'

export interface GroupPlan {
  readonly name: string
  readonly assignor: AssignorName
  /** One member for each, all the time. */
  readonly kinds: readonly MemberKind[]
  /** Whether members have names of their own, that they come back under. */
  readonly isStatic?: boolean
}

export interface GroupMembersOptions {
  readonly plan: GroupPlan
  readonly history: History
  readonly topic: string
  readonly partitions: number
  /** HOST:PORT of every broker. */
  readonly addresses: readonly string[]
  /** Where members write. */
  readonly root: string
  /** Command and arguments that start the member of a slot where it lives; it must become the member. Default: here. */
  readonly within?: (slot: number) => readonly string[]
}

/** One place in the group, through the lives of its processes. */
interface Member {
  readonly slot: number
  process: string
  child: ChildProcess | undefined
  gone: Promise<void>
  isEnding: boolean
  isPaused: boolean
}

export const SESSION_MS = 3_000
const LOOK_EVERY_MS = 300
const CLOSED_WITHIN_MS = 20_000
const READ_BYTES = 1_048_576
/** Its compiled form, beside this file or in the built tree. */
const PROGRAM = programPath()

function programPath(): string {
  const here = fileURLToPath(new URL('.', import.meta.url))
  const beside = join(here, 'group-member.js')
  return existsSync(beside) ? beside : join(here, '..', '..', 'dist', 'test', 'chaos', 'group-member.js')
}

export class GroupMembers {
  readonly plan: GroupPlan
  readonly #options: GroupMembersOptions
  readonly #client: Client
  /** The present process of each slot. */
  readonly #members = new Map<number, Member>()
  readonly #started: Member[] = []
  readonly #files: { readonly path: string; at: number; rest: Buffer }[] = []
  readonly #isOver = new AbortController()
  readonly #killAll: () => void
  /** Of each process: who it was last, and in which generation. */
  readonly #identity = new Map<string, { readonly member: string; readonly generation: number }>()
  /** When each partition was last handled, milliseconds of the history. */
  readonly #handledAt = new Map<number, number>()
  readonly #generations = new Set<number>()
  #lives = 0
  readonly #looking: Promise<void>

  constructor(options: GroupMembersOptions) {
    this.#options = options
    this.plan = options.plan
    this.#client = connect({ brokers: [...options.addresses] })
    this.#killAll = () => {
      for (const member of this.#started) {
        member.isEnding = true
        member.child?.kill('SIGKILL')
      }
    }
    process.once('exit', this.#killAll)
    for (const slot of options.plan.kinds.keys()) this.start(slot)
    this.#looking = this.#look()
  }

  /** Those that are in it all the time. */
  get slots(): number[] {
    return [...this.plan.kinds.keys()]
  }

  /** How often the group was seen to share out anew. */
  get rebalances(): number {
    return Math.max(0, this.#generations.size - 1)
  }

  /** Starts a process for the slot; those beyond the plan are guests. */
  start(slot: number): void {
    const { plan, topic, addresses, root, history, within: place = () => [] } = this.#options
    this.#lives += 1
    const name = `${plan.name}-${slot}.${this.#lives}`
    const file = join(root, `member-${name}.jsonl`)
    const kind = plan.kinds[slot % plan.kinds.length] ?? 'message'
    const instance = plan.isStatic === true ? `${plan.name}-${slot}` : undefined
    const settings: MemberSettings = {
      brokers: addresses,
      topic,
      group: plan.name,
      process: name,
      kind,
      assignor: plan.assignor,
      ...(instance !== undefined && { instance }),
      sessionTimeoutMs: SESSION_MS,
      file,
      zeroMs: history.zeroMs,
    }
    this.#files.push({ path: file, at: 0, rest: Buffer.of() })
    history.add({ op: 'member-up', group: plan.name, process: name, ...(instance !== undefined && { instance }) })
    const [program, ...words] = [...place(slot), process.execPath, PROGRAM, JSON.stringify(settings)]
    const child = spawn(program, words, { stdio: ['ignore', 'ignore', 'inherit'] })
    const member: Member = { slot, process: name, child, gone: Promise.resolve(), isEnding: false, isPaused: false }
    this.#members.set(slot, member)
    this.#started.push(member)
    member.gone = new Promise((resolve) => {
      child.once('exit', (code, signal) => {
        member.child = undefined
        const end = code ?? signal
        history.add({ op: 'member-gone', group: plan.name, process: name })
        const trouble = { group: plan.name, process: name, generation: -1, what: `it ended with ${end}` }
        if (!member.isEnding) history.add({ op: 'member-trouble', ...trouble })
        resolve()
      })
    })
  }

  /** SIGKILL; resolves when it is gone. */
  async kill(slot: number): Promise<void> {
    const member = this.#member(slot)
    this.#tell(`member ${member.process} is killed`)
    member.isEnding = true
    member.child?.kill('SIGKILL')
    await member.gone
  }

  pause(slot: number): void {
    const member = this.#member(slot)
    this.#tell(`member ${member.process} is paused`)
    member.isPaused = true
    member.child?.kill('SIGSTOP')
  }

  resume(slot: number): void {
    const member = this.#member(slot)
    this.#tell(`member ${member.process} goes on`)
    member.isPaused = false
    member.child?.kill('SIGCONT')
  }

  /**
   * Of a static member that hangs: another process comes in under its name, and the first one wakes up and has to go. Resolves
   * when it has.
   */
  async replace(slot: number): Promise<void> {
    const former = this.#member(slot)
    former.isEnding = true
    this.start(slot)
    const { history, plan } = this.#options
    const deadline = performance.now() + CLOSED_WITHIN_MS
    const name = this.#member(slot).process
    while (this.#identity.get(name) === undefined && performance.now() < deadline) {
      this.gather()
      await pause(50)
    }
    this.#tell(`member ${former.process} goes on, whose name ${name} has`)
    former.child?.kill('SIGCONT')
    if ((await within(former.gone, CLOSED_WITHIN_MS)) !== 'late') return
    const what = `it goes on although ${name} has its name`
    history.add({ op: 'member-trouble', group: plan.name, process: former.process, generation: -1, what })
    former.child?.kill('SIGKILL')
    await former.gone
  }

  /** In order; resolves when it has gone, or was killed because it did not. */
  async leave(slot: number): Promise<void> {
    const member = this.#member(slot)
    this.#tell(`member ${member.process} leaves`)
    member.isEnding = true
    member.child?.kill('SIGTERM')
    if ((await within(member.gone, CLOSED_WITHIN_MS)) !== 'late') return
    const what = `it did not end within ${CLOSED_WITHIN_MS} ms`
    const { history, plan } = this.#options
    history.add({ op: 'member-trouble', group: plan.name, process: member.process, generation: -1, what })
    await this.kill(slot)
  }

  /**
   * Commits in the name of a member that hangs, once the group has gone on without it. Resolves when that has been answered,
   * or the group did not go on within the time.
   */
  async commitAsZombie(slot: number, timeoutMs: number): Promise<void> {
    const { plan, topic, history, addresses } = this.#options
    const { process: name } = this.#member(slot)
    this.gather()
    const identity = this.#identity.get(name)
    if (identity === undefined || plan.isStatic === true) return
    const deadline = performance.now() + timeoutMs
    const options = { timeoutMs: 1_000 }
    for (; performance.now() < deadline; await pause(100)) {
      const described = await this.#client
        .admin()
        .describeGroup(plan.name, options)
        .catch(() => undefined)
      if (described === undefined || described.state !== 'Stable') continue
      if (described.members.some(({ memberId }) => memberId === identity.member)) continue
      const error = await commitAs(addresses, { group: plan.name, topic, ...identity }).catch(() => 'unknown')
      if (error === 'unknown') continue
      const { generation } = identity
      const outcome = error === undefined ? {} : { error }
      history.add({ op: 'zombie', group: plan.name, process: name, generation, ...outcome })
      return
    }
  }

  /** Resolves when every partition has been handled by somebody since now. @throws after timeoutMs. */
  async progress(timeoutMs: number): Promise<void> {
    const { partitions, history, plan } = this.#options
    const from = history.now()
    const deadline = performance.now() + timeoutMs
    for (;;) {
      this.gather()
      const all = Array.from({ length: partitions }, (_, partition) => partition)
      const waiting = all.filter((partition) => (this.#handledAt.get(partition) ?? -1) <= from)
      if (waiting.length === 0) return
      if (performance.now() > deadline)
        throw new Error(`group ${plan.name} handled nothing of partitions ${waiting.join(', ')} for ${timeoutMs} ms`)
      await pause(50)
    }
  }

  /** Until all that stands in the topic has been handled; then all go in order. @throws when that does not come about. */
  async finish(timeoutMs: number): Promise<void> {
    const { history, plan } = this.#options
    const deadline = performance.now() + timeoutMs
    for (this.gather(); !isAllHandled(plan.name, history.events); this.gather()) {
      if (performance.now() > deadline) {
        // Nothing is seen of what is not gathered any more.
        this.#isOver.abort()
        await this.#looking
        this.gather()
        throw new Error(`group ${plan.name} is not done after ${timeoutMs} ms`)
      }
      await pause(300)
    }
    await Promise.all([...this.#members.values()].filter(({ child }) => child).map(({ slot }) => this.leave(slot)))
    this.gather()
    this.#isOver.abort()
    await this.#looking
    await this.#seeOnce(true)
  }

  /** What members have written since the last time. */
  gather(): void {
    for (const file of this.#files) {
      if (!existsSync(file.path)) continue
      const handle = openSync(file.path, 'r')
      try {
        const bytes = Buffer.allocUnsafe(READ_BYTES)
        for (;;) {
          const count = readSync(handle, bytes, 0, bytes.length, file.at)
          if (count === 0) break
          file.at += count
          file.rest = this.#take(Buffer.concat([file.rest, bytes.subarray(0, count)]))
        }
      } finally {
        closeSync(handle)
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver.abort()
    this.#killAll()
    await Promise.all(this.#started.map(({ gone }) => gone))
    process.off('exit', this.#killAll)
    await this.#looking
    await this.#client.close({ timeoutMs: 200 }).catch(() => undefined)
  }

  /** Whole lines; answers what is left. */
  #take(bytes: Buffer): Buffer {
    let from = 0
    for (let end = bytes.indexOf(10); end >= 0; end = bytes.indexOf(10, from)) {
      this.#onEvent(JSON.parse(bytes.toString('utf8', from, end)) as GroupHistoryEvent)
      from = end + 1
    }
    return bytes.subarray(from)
  }

  #onEvent(event: GroupHistoryEvent): void {
    const { at, ...happening } = event
    this.#options.history.add(happening, at)
    if (event.op === 'owns') {
      this.#generations.add(event.generation)
      this.#identity.set(event.process, { member: event.member, generation: event.generation })
    }
    if (event.op === 'commit') this.#generations.add(event.generation)
    if (event.op !== 'handle') return
    for (const [partition] of event.records) {
      this.#handledAt.set(partition, Math.max(at, this.#handledAt.get(partition) ?? -1))
    }
  }

  async #look(): Promise<void> {
    while (!this.#isOver.signal.aborted) {
      await this.#seeOnce(false)
      await pause(LOOK_EVERY_MS)
    }
  }

  async #seeOnce(isEnd: boolean): Promise<void> {
    const { history, plan } = this.#options
    const request = this.#client.admin().describeGroup(plan.name, { timeoutMs: isEnd ? 20_000 : 2_000 })
    const described = await request.catch(() => undefined)
    if (described === undefined) return
    const { generation, partitions, state } = described
    const offsets = partitions.flatMap(({ partition, offset }) => {
      return offset === undefined ? [] : [[partition, offset] as const]
    })
    const seen = { generation, isStable: state === 'Stable', offsets, ...(isEnd && { isEnd }) }
    history.add({ op: 'group-seen', group: plan.name, process: 'observer', ...seen })
  }

  #member(slot: number): Member {
    const member = this.#members.get(slot)
    if (member === undefined) throw new Error(`group ${this.plan.name} has no member ${slot}`)
    return member
  }

  #tell(what: string): void {
    this.#options.history.add({ op: 'fault', what })
  }
}
