// A Redis for simulated clusters: what stands in it, and the coordinator's scripts, told again in TypeScript. Owns its data,
// its life (which run, which data) and its clock; how commands reach it, and how they fail to, is sim-redis-link.ts's.
//
// Each script does what the Lua of the same name in redis-scripts.ts does; the suite of all coordinators holds them to it.

import { must } from '../../shared/assert.ts'
import type { Random } from '../../shared/random.ts'
import type { TopicDefinition } from '../../broker/coordination/coordinator.ts'

type Texts = readonly string[]
type Reply = (string | number | Reply)[]

interface Leadership {
  readonly epoch: number
  readonly version: number
  readonly leader: string
  readonly inSync: string
  readonly request: string
}

/** All keys of one cluster. */
interface Keyspace {
  readonly meta: Map<string, string>
  /** Members by the version of their last change. */
  readonly changed: Map<string, number>
  readonly brokers: Map<string, string>
  readonly topics: Map<string, string>
  readonly names: Map<string, string>
  readonly leaders: Map<string, string>
  readonly tombstones: Set<string>
  readonly requests: Map<string, readonly [string, string]>
  readonly republished: Set<string>
  readonly expected: Set<string>
  readonly sessions: Map<string, { readonly session: string; readonly untilMs: number }>
}

/** What a snapshot of all data holds; to be put back at most once. */
export type RedisSnapshot = Map<string, Keyspace>

/** The keys before the session keys. */
const FIXED_KEYS = 11
const PART_LENGTH = 7
/** The keys that are one each. */
const EVICTED = [
  'meta',
  'changed',
  'brokers',
  'topics',
  'names',
  'leaders',
  'tombstones',
  'requests',
  'republished',
  'expected',
] as const

export class SimRedis {
  readonly #now: () => number
  readonly #random: Random
  /** What is told to whoever listens on a channel. */
  onPublished: (channel: string, message: string) => void = () => undefined
  /** For tests of the simulation: a restart looks as if there had been none. */
  hidesRollbacks = false
  /** A replica takes nothing but what reads. */
  role: 'master' | 'slave' = 'master'
  #life: string
  #data: RedisSnapshot = new Map()

  constructor(parts: { readonly now: () => number; readonly random: Random }) {
    this.#now = parts.now
    this.#random = parts.random
    this.#life = parts.random.uuid()
  }

  /** One command: whole or not at all, at this moment. */
  run(name: string, keys: Texts, args: Texts): unknown {
    const script = must(SCRIPTS[name], `there is a script ${name}`)
    const prefix = (keys[0] ?? '').replace(/meta$/, '')
    let data = this.#data.get(prefix)
    if (data === undefined) {
      data = emptyKeyspace()
      this.#data.set(prefix, data)
    }
    const nowMs = this.#now()
    for (const [key, { untilMs }] of data.sessions) if (untilMs <= nowMs) data.sessions.delete(key)
    const before = versionOf(data)
    const call = { data, life: this.#life, role: this.role, nowMs, sessionKeys: keys.slice(FIXED_KEYS) }
    const reply = script(call, args)
    const version = versionOf(data)
    if (version !== before) this.onPublished(`${prefix}changed`, String(version))
    return reply
  }

  snapshot(): RedisSnapshot {
    return structuredClone(this.#data)
  }

  /** Another run over the data it has, over older data, or over none. */
  restart(data: RedisSnapshot = this.#data): void {
    if (this.hidesRollbacks) {
      for (const [prefix, { meta }] of data) meta.set('version', String(this.#versionOf(prefix)))
    } else {
      this.#life = this.#random.uuid()
    }
    this.#data = data
  }

  #versionOf(prefix: string): number {
    const data = this.#data.get(prefix)
    return data === undefined ? 0 : versionOf(data)
  }

  /** As FLUSHALL: the run goes on, and all data is gone. */
  empty(): void {
    this.#data = new Map()
  }

  /** One key of every cluster is gone, as by a hand or an eviction. */
  loseKey(key: 'topics' | 'names' | 'leaders' | 'brokers' | 'sessions'): void {
    for (const data of this.#data.values()) data[key].clear()
  }

  /** Any one key, of each cluster, as an eviction takes it; a session is a key of its own. Tells which. */
  evictKey(): string {
    const told: string[] = []
    for (const data of this.#data.values()) {
      const names = [...EVICTED, ...data.sessions.keys()]
      const name = must(names[this.#random.integer(names.length)], 'there is a key')
      const key = EVICTED.find((one) => one === name)
      if (key === undefined) data.sessions.delete(name)
      else data[key].clear()
      told.push(key ?? `session:${name}`)
    }
    return told.join(', ')
  }
}

interface Call {
  readonly data: Keyspace
  readonly life: string
  readonly role: string
  readonly nowMs: number
  readonly sessionKeys: Texts
}

type Script = (call: Call, args: Texts) => Reply

const SCRIPTS: Readonly<Record<string, Script>> = {
  read,
  'begin-history': beginHistory,
  merge,
  republished,
  'take-session': takeSession,
  'renew-session': renewSession,
  'end-session': endSession,
  'create-topic': createTopic,
  'change-topic': changeTopic,
  'delete-topic': deleteTopic,
  'change-leaderships': changeLeaderships,
}

function read({ data, life, role, sessionKeys }: Call, [since = '0', limit = '0', isCounting]: Texts): Reply {
  const { meta } = data
  const objects: Reply = []
  if (versionOf(data) > Number(since)) {
    const changed = [...data.changed].filter(([, version]) => version > Number(since))
    changed.sort(([, one], [, other]) => one - other)
    for (const [member, version] of changed.slice(0, Number(limit)))
      objects.push(member, version, valueOf(data, member))
  }
  return [
    life,
    role,
    meta.get('life') ?? '',
    meta.get('history') ?? '',
    meta.get('version') ?? '0',
    meta.get('mode') ?? '',
    meta.get('clusterId') ?? '',
    ...[data.topics, data.names, data.leaders, data.brokers].map(({ size }) => (isCounting === '1' ? size : -1)),
    isRepublishing(data) ? [...data.republished] : [],
    sessionKeys.map((key) => data.sessions.get(key)?.session ?? ''),
    objects,
    isCounting === '1' ? data.changed.size - data.tombstones.size : -1,
    meta.get('formerClusterId') ?? '',
  ]
}

function valueOf(data: Keyspace, member: string): string {
  const id = member.slice(2)
  switch (member.slice(0, 1)) {
    case 't':
      return data.topics.get(id) ?? (data.tombstones.has(id) ? '-' : '')
    case 'p':
      return data.leaders.get(id) ?? ''
    default:
      return data.brokers.get(id) ?? ''
  }
}

function beginHistory({ data, life, nowMs }: Call, args: Texts): Reply {
  const [before, lifeThen, history = '', version, clusterId = '', knowsNothing, takesOver] = args
  const { meta } = data
  if ((meta.get('history') ?? '') !== before || life !== lifeThen) return ['moved']
  const ours = meta.get('clusterId') ?? clusterId
  if (ours !== clusterId && takesOver === '1') {
    if (data.topics.size + data.tombstones.size > 0) return ['another']
    meta.set('formerClusterId', ours)
    meta.set('clusterId', clusterId)
  }
  const isEmpty = [data.topics, data.leaders, data.tombstones, data.brokers].every(({ size }) => size === 0)
  meta.set('mode', knowsNothing === '1' && before === '' && isEmpty ? 'normal' : 'republishing')
  meta.set('version', String(Math.max(versionOf(data), Number(version)) + 1))
  meta.set('history', history)
  meta.set('life', life)
  meta.set('since', String(secondOf(nowMs)))
  if (!meta.has('clusterId')) meta.set('clusterId', clusterId)
  data.republished.clear()
  data.expected.clear()
  data.names.clear()
  for (const [id, text] of data.topics) data.names.set(topicIn(text).name, id)
  const known = [
    ...[...data.topics.keys(), ...data.tombstones].map((id) => `t:${id}`),
    ...[...data.leaders.keys()].map((id) => `p:${id}`),
    ...[...data.brokers.keys()].map((id) => `b:${id}`),
  ]
  for (const member of data.changed.keys()) if (!known.includes(member)) data.changed.delete(member)
  for (const member of known) if (!data.changed.has(member)) touch(data, member)
  return ['begun']
}

function merge(call: Call, [history, version, ...objects]: Texts): Reply {
  const { data } = call
  if (!isBelieved(call, history, version)) return ['stale']
  const result: Reply = ['done']
  for (let index = 0; index + 2 < objects.length; index += 3) {
    const [kind, id = '', value = ''] = objects.slice(index, index + 3)
    if (kind === 'topic') {
      if (!mergeTopic(data, id, value)) result.push(id)
    } else if (kind === 'tombstone') {
      removeTopic(data, id)
      if (!data.tombstones.has(id)) bury(data, id)
    } else if (kind === 'leadership') {
      mergeLeadership(data, id, value)
    } else if (kind === 'broker' && !data.brokers.has(id)) {
      data.brokers.set(id, value)
      touch(data, `b:${id}`)
    }
  }
  return result
}

/** False: another topic has its name. */
function mergeTopic(data: Keyspace, id: string, text: string): boolean {
  if (data.tombstones.has(id)) return true
  const mine = topicIn(text)
  const owner = data.names.get(mine.name)
  if (owner !== undefined && owner !== id) return false
  const current = data.topics.get(id)
  if (current === undefined || topicIn(current).version < mine.version) {
    data.topics.set(id, text)
    touch(data, `t:${id}`)
  }
  data.names.set(mine.name, id)
  return true
}

function mergeLeadership(data: Keyspace, id: string, text: string): void {
  const mine = leadershipIn(text)
  const current = leadershipIn(data.leaders.get(id))
  if (mine === undefined || !data.topics.has(id.split(':')[0] ?? '')) return
  const isSameEpoch = mine.epoch === current?.epoch
  if (current !== undefined && mine.epoch <= current.epoch && !(isSameEpoch && mine.version > current.version)) return
  data.leaders.set(id, text)
  touch(data, `p:${id}`)
}

function republished(call: Call, [history, version, self = '', grace, ...known]: Texts): Reply {
  const { data, nowMs } = call
  if (!isBelieved(call, history, version)) return ['stale']
  if (!isRepublishing(data)) return ['normal']
  data.republished.add(self)
  for (const id of [self, ...known]) data.expected.add(id)
  const [done, expected] = [data.republished.size, data.expected.size]
  const isGraceOver = secondOf(nowMs) - Number(data.meta.get('since')) >= Number(grace)
  if (done < expected && !(isGraceOver && done * 2 >= expected)) return ['republishing']
  data.meta.set('mode', 'normal')
  return ['normal']
}

function takeSession(call: Call, args: Texts): Reply {
  const [history, version, id = '', session = '', ttlMs, record = '', replaces] = args
  const { data, nowMs } = call
  if (!isBelieved(call, history, version)) return ['stale']
  const key = call.sessionKeys[0] ?? ''
  const holder = data.sessions.get(key)
  if (holder !== undefined && holder.session !== replaces && !isEarlierOf(holder.session, session)) {
    return ['held', holder.session, Math.ceil(holder.untilMs - nowMs), data.brokers.get(id) ?? '']
  }
  data.sessions.set(key, { session, untilMs: nowMs + Number(ttlMs) })
  if (holder?.session !== session || data.brokers.get(id) !== record) {
    data.brokers.set(id, record)
    touch(data, `b:${id}`)
  }
  return ['done']
}

/** Whether the holder is a session of the same life, and not a later one. */
function isEarlierOf(holder: string, session: string): boolean {
  const [heldLife, heldNumber] = holder.split('/')
  const [ownLife, ownNumber] = session.split('/')
  return heldLife === ownLife && Number(heldNumber) <= Number(ownNumber)
}

function renewSession({ data, nowMs, sessionKeys }: Call, [session = '', ttlMs]: Texts): Reply {
  const key = sessionKeys[0] ?? ''
  const holder = data.sessions.get(key)?.session ?? ''
  if (holder !== session) return ['lost', holder]
  data.sessions.set(key, { session, untilMs: nowMs + Number(ttlMs) })
  return ['done']
}

function endSession({ data, sessionKeys }: Call, [id = '', session]: Texts): Reply {
  const key = sessionKeys[0] ?? ''
  const holder = data.sessions.get(key)
  if (holder === undefined) return ['done']
  if (holder.session !== session) return ['moved-on']
  data.sessions.delete(key)
  touch(data, `b:${id}`)
  return ['done']
}

function createTopic(call: Call, [history, version, request = '', id = '', name = '', text = '']: Texts): Reply {
  const { data } = call
  const refused = refuse(call, history, version, request)
  if (refused !== undefined) return refused
  if (data.tombstones.has(id)) return ['deleted']
  const existing = data.topics.get(data.names.get(name) ?? id)
  if (existing !== undefined) return remember(data, request, 'exists', existing)
  data.topics.set(id, text)
  data.names.set(name, id)
  touch(data, `t:${id}`)
  return remember(data, request, 'done', text)
}

function changeTopic(call: Call, [history, version, request = '', id = '', expected, text = '']: Texts): Reply {
  const { data } = call
  const refused = refuse(call, history, version, request)
  if (refused !== undefined) return refused
  const current = data.topics.get(id)
  if (current === undefined) return remember(data, request, 'missing', '')
  if (topicIn(current).version !== Number(expected)) return remember(data, request, 'conflict', current)
  data.topics.set(id, text)
  touch(data, `t:${id}`)
  return remember(data, request, 'done', text)
}

function deleteTopic(call: Call, [history, version, request = '', id = '']: Texts): Reply {
  const { data } = call
  const refused = refuse(call, history, version, request)
  if (refused !== undefined) return refused
  const current = data.topics.get(id)
  if (current === undefined) return remember(data, request, 'missing', '')
  removeTopic(data, id)
  bury(data, id)
  return remember(data, request, 'done', current)
}

function changeLeaderships(call: Call, args: Texts): Reply {
  const [history, version, request = '', self = '', session, ...rest] = args
  const { data } = call
  if (!isBelieved(call, history, version)) return ['stale']
  if (data.sessions.get(call.sessionKeys[0] ?? '')?.session !== session) return ['no-session']
  const parts: Texts[] = []
  for (let index = 0; index < rest.length; index += PART_LENGTH) parts.push(rest.slice(index, index + PART_LENGTH))
  if (isRepublishing(data)) {
    const isHeldBack = parts.some(([what, id = '', partition]) => what === 'suggest' && isWaiting(data, id, partition))
    if (isHeldBack) return ['republishing']
  }
  const result: Reply = ['done']
  for (const part of parts) result.push(...changeLeadership(data, request, self, part))
  return result
}

/** Whether most of the partition's replicas have not said yet what they know. */
function isWaiting(data: Keyspace, id: string, partition: string | undefined): boolean {
  const text = data.topics.get(id)
  const replicas = text === undefined ? undefined : topicIn(text).assignment?.[Number(partition)]
  if (replicas === undefined) return false
  return replicas.filter((replica) => data.republished.has(String(replica))).length * 2 <= replicas.length
}

function changeLeadership(data: Keyspace, request: string, self: string, part: Texts): [string, string] {
  const [what, id = '', partition = '', epochText, leaderAsked = '', inSyncAsked = '', expected = ''] = part
  const topicText = data.topics.get(id)
  const epoch = Number(epochText)
  if (topicText === undefined || Number(partition) < 0 || Number(partition) >= topicIn(topicText).partitions) {
    return ['missing', '']
  }
  const member = `${id}:${partition}`
  const text = data.leaders.get(member) ?? ''
  const current = leadershipIn(text)
  if (current !== undefined && current.request === request && current.epoch === epoch) return ['done', text]
  const isExpected = expected === '' || (current?.version ?? 0) === Number(expected)
  const isAllowed =
    what === 'suggest'
      ? current === undefined || epoch > current.epoch
      : current !== undefined && current.epoch === epoch && current.leader === self
  if (!isExpected || !isAllowed) return ['fenced', text]
  const leader = what === 'in-sync' ? self : what === 'resign' ? '' : leaderAsked
  const inSync = what === 'resign' ? (current?.inSync ?? '') : inSyncAsked
  const next = `${epoch}|${(current?.version ?? 0) + 1}|${leader}|${inSync}|${request}`
  data.leaders.set(member, next)
  touch(data, `p:${member}`)
  return ['done', next]
}

function isBelieved({ data, life }: Call, history: string | undefined, version: string | undefined): boolean {
  const { meta } = data
  return meta.get('history') === history && versionOf(data) >= Number(version) && meta.get('life') === life
}

function isRepublishing({ meta }: Keyspace): boolean {
  return meta.get('mode') === 'republishing'
}

/** The outcome that the request had before, or why it cannot be done now; undefined if it is to be done. */
function refuse(
  call: Call,
  history: string | undefined,
  version: string | undefined,
  request: string,
): Reply | undefined {
  if (!isBelieved(call, history, version)) return ['stale']
  const known = call.data.requests.get(request)
  if (known !== undefined) return [...known]
  return isRepublishing(call.data) ? ['republishing'] : undefined
}

function remember(data: Keyspace, request: string, kind: string, text: string): Reply {
  data.requests.set(request, [kind, text])
  return [kind, text]
}

function removeTopic(data: Keyspace, id: string): void {
  const text = data.topics.get(id)
  if (text === undefined) return
  const { name, partitions } = topicIn(text)
  data.topics.delete(id)
  if (data.names.get(name) === id) data.names.delete(name)
  for (let partition = 0; partition < partitions; partition++) {
    data.leaders.delete(`${id}:${partition}`)
    data.changed.delete(`p:${id}:${partition}`)
  }
}

function bury(data: Keyspace, id: string): void {
  data.tombstones.add(id)
  touch(data, `t:${id}`)
}

function touch(data: Keyspace, member: string): void {
  const version = versionOf(data) + 1
  data.meta.set('version', String(version))
  data.changed.set(member, version)
}

function versionOf({ meta }: Keyspace): number {
  return Number(meta.get('version') ?? '0')
}

function topicIn(text: string): TopicDefinition {
  return JSON.parse(text) as TopicDefinition
}

function leadershipIn(text: string | undefined): Leadership | undefined {
  const [, epoch, version, leader = '', inSync = '', request = ''] =
    /^(\d+)\|(\d+)\|(\d*)\|([\d,]*)\|([0-9a-f]*)$/.exec(text ?? '') ?? []
  if (epoch === undefined) return undefined
  return { epoch: Number(epoch), version: Number(version), leader, inSync, request }
}

function secondOf(ms: number): number {
  return Math.floor(ms / 1000)
}

function emptyKeyspace(): Keyspace {
  return {
    meta: new Map(),
    changed: new Map(),
    brokers: new Map(),
    topics: new Map(),
    names: new Map(),
    leaders: new Map(),
    tombstones: new Set(),
    requests: new Map(),
    republished: new Set(),
    expected: new Set(),
    sessions: new Map(),
  }
}
