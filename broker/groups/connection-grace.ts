// How long a member may be without a connection before it counts as gone. Pure.

import type { Member } from './group-members.ts'

/** A member whose connection has closed has so long to be heard on another one, milliseconds. */
export const CONNECTION_GRACE_MS = 500
/** One that says nothing but its heartbeats has until the next of them, and a moment to connect. */
const BEAT_GRACE_MS = 1_000

export function graceMsOf({ isHeardByBeats, sessionTimeoutMs }: Member): number {
  return isHeardByBeats ? Math.floor(sessionTimeoutMs / 3) + BEAT_GRACE_MS : CONNECTION_GRACE_MS
}
