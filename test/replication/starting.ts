// The rules with one thing simpler: every leader begins with its epoch-start record, an empty log or not. Most tests are about
// what comes then, and count offsets from there.

import { REPLICA_RULES, type ReplicaRules } from '../../broker/replication/replica-rules.ts'

export const STARTING_RULES: ReplicaRules = { ...REPLICA_RULES, mayOweEpochStart: () => false }
