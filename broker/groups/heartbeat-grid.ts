// When a heartbeat that waits is answered if there is no news. Pure.
//
// Those that would be answered one by one are answered together, a little early: a broker that wakes up four times a second
// for the heartbeats of all its groups costs half of one that wakes up for each (scripts/bench-groups.ts).

const GRID_MS = 250

/** At most waitMs from now; long waits end at the same moments for all. */
export function heartbeatDeadline(now: number, waitMs: number): number {
  if (waitMs < 4 * GRID_MS) return now + waitMs
  return Math.floor((now + waitMs) / GRID_MS) * GRID_MS
}
