// The names of all keys in Redis, in one place. Owns the prefix and the hash tag: a cluster's keys live in one slot, and an
// ACL rule `~{tidemark:NAME}:*` covers them. Nothing that a user names is a part of a key: topics, requests and partitions
// are fields of hashes.

import { TidemarkError } from '../../shared/errors.ts'
import type { BrokerId } from '../../shared/ids.ts'

const CLUSTER_PATTERN = /^[A-Za-z0-9._-]{1,100}$/

/** The keys that every script is given, in this order; the scripts' prelude names them. */
const FIXED_KEYS = [
  'meta',
  'changed',
  'brokers',
  'topics',
  'names',
  'leaders',
  'tombstones',
  'requests',
  'request-times',
  'republished',
  'expected',
] as const

export interface RedisKeys {
  readonly fixed: readonly string[]
  /** Tells of changes, as a hint. */
  readonly channel: string
  /** Holds a broker's session as long as it lives. */
  session(id: BrokerId): string
}

/** @throws INVALID_OPTION for a cluster name that would not make a plain key. */
export function redisKeys(cluster: string): RedisKeys {
  if (!CLUSTER_PATTERN.test(cluster)) {
    throw new TidemarkError(
      'INVALID_OPTION',
      `cluster: ${JSON.stringify(cluster)} cannot be a part of a key in Redis; use letters, digits, dot, dash and underscore, at most 100`,
    )
  }
  const prefix = `{tidemark:${cluster}}:`
  return {
    fixed: FIXED_KEYS.map((name) => prefix + name),
    channel: `${prefix}changed`,
    session: (id) => `${prefix}session:${id}`,
  }
}
