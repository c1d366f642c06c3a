// What Redis has forgotten and this broker has not, as it is merged into Redis again. Owns the comparison of the two; pure.
// Whether Redis is to be told, and when, is the mirror's.

import { TidemarkError } from '../../shared/errors.ts'
import { leadershipFrom, leadershipText, memberText, topicFrom, topicText } from './redis-records.ts'
import { type ClusterView, isNewer } from './redis-view.ts'
import type { RedisHead } from './redis-watch.ts'

/** One record as Redis has it. */
export interface RedisObject {
  readonly kind: 'topic' | 'leadership' | 'broker'
  readonly id: string
  readonly version: number
  /** undefined for what is gone. */
  readonly value: string | undefined
  readonly isDeleted: boolean
}

/** Kind, id and text, as the script takes them. */
export type Merged = readonly [kind: RedisObject['kind'] | 'tombstone', id: string, text: string]

type RedisObjects = ReadonlyMap<string, RedisObject>

const KINDS = new Map([
  ['t', 'topic'],
  ['p', 'leadership'],
  ['b', 'broker'],
] as const)

/** Under which they stand among all that was read. */
export function nameOf({ kind, id }: Pick<RedisObject, 'kind' | 'id'>): string {
  return `${kind} ${id}`
}

/** What is known here of the same thing, if that is newer than what Redis has. */
export function betterThan(view: ClusterView, { kind, id, value, isDeleted }: RedisObject): Merged | undefined {
  if (isDeleted || value === undefined || kind === 'broker') return undefined
  if (kind === 'leadership') {
    const mine = view.leaderships.get(id)
    return mine !== undefined && isNewer(mine, leadershipFrom(value)) ? [kind, id, leadershipText(mine)] : undefined
  }
  const topic = topicFrom(value)
  if (view.tombstones.has(topic.topicId)) return ['tombstone', id, '']
  const mine = view.topics.get(topic.topicId)
  return mine !== undefined && mine.version > topic.version ? [kind, id, topicText(mine)] : undefined
}

/** @throws COORDINATOR_NOT_USABLE for a record that cannot be read */
export function lostTopics(view: ClusterView, objects: RedisObjects, { isRepublishing }: RedisHead): Merged[] {
  const lost: Merged[] = []
  // Deletions first: a topic may have been made anew under the name. Redis forgets old tombstones by itself. One is missed
  // while its topic lives, or when a broker that still has the topic may be about to put it back.
  for (const id of view.tombstones) {
    const found = objects.get(`topic ${id}`)
    const isMissed = isRepublishing ? found?.isDeleted !== true : found?.value !== undefined
    if (isMissed) lost.push(['tombstone', id, ''])
  }
  for (const topic of view.topics.values()) {
    const found = objects.get(`topic ${topic.topicId}`)
    if (found?.isDeleted === true) continue
    if (found?.value === undefined || topicFrom(found.value).version < topic.version) {
      lost.push(['topic', topic.topicId, topicText(topic)])
    }
  }
  return lost
}

export function lostMembers(view: ClusterView, objects: RedisObjects, { isRepublishing }: RedisHead): Merged[] {
  if (!isRepublishing) return []
  const members = [...view.members].filter(([id]) => objects.get(`broker ${id}`)?.value === undefined)
  return members.map(([id, member]) => ['broker', String(id), memberText(member)])
}

/** @throws COORDINATOR_NOT_USABLE for a record that cannot be read */
export function lostLeaderships(view: ClusterView, objects: RedisObjects): Merged[] {
  const newer = [...view.leaderships].filter(([key, mine]) => {
    const text = objects.get(`leadership ${key}`)?.value
    return text === undefined || isNewer(mine, leadershipFrom(text))
  })
  return newer.map(([key, record]) => ['leadership', key, leadershipText(record)])
}

/** As a reading gives them. @throws COORDINATOR_NOT_USABLE */
export function objectsFrom(texts: readonly string[]): readonly RedisObject[] {
  const objects: RedisObject[] = []
  for (let index = 0; index + 2 < texts.length; index += 3) {
    const [member = '', version = '', value = ''] = texts.slice(index, index + 3)
    const kind = KINDS.get(member.slice(0, 1) as 't' | 'p' | 'b')
    if (kind === undefined) throw new TidemarkError('COORDINATOR_NOT_USABLE', `Redis holds an unknown record ${member}`)
    const isDeleted = kind === 'topic' && value === '-'
    objects.push({
      kind,
      id: member.slice(2),
      version: Number(version),
      value: value === '' || isDeleted ? undefined : value,
      isDeleted,
    })
  }
  return objects
}
