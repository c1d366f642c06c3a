// Whether a static member that has come back wants what it wanted before. Owns which bytes of a consumer's subscription say
// so: its topics. What it had when it last joined, and in which generation, stands in them too, and a process that has just
// begun cannot know that. Pure.

import { isSameBytes } from './group-members.ts'
import { subscribedTopics } from './group-records.ts'

const CONSUMER = 'consumer'

/** What cannot be read as a consumer's subscription is compared as it is. */
export function isSameWish(protocolType: string | undefined, before: Uint8Array, now: Uint8Array): boolean {
  if (isSameBytes(before, now)) return true
  if (protocolType !== CONSUMER) return false
  const topics = subscribedTopics(before)
  const topicsNow = subscribedTopics(now)
  if (topics === undefined || topicsNow === undefined) return false
  return topics.length === topicsNow.length && isSameSet(new Set(topics), new Set(topicsNow))
}

function isSameSet(one: ReadonlySet<string>, other: ReadonlySet<string>): boolean {
  return one.size === other.size && [...one].every((topic) => other.has(topic))
}
