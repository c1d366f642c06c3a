// What can be wrong with a history, by name. The names are those of Jepsen's workload for logs where it has one, so that
// results can be compared.

export type AnomalyName =
  /** Acknowledged, and passed over: something behind it was read, it never was. */
  | 'lost-write'
  /** Acknowledged, and never read, nor anything behind it. */
  | 'unseen'
  /** One value at two offsets. */
  | 'duplicate'
  /** One offset with two values. */
  | 'inconsistent-offsets'
  /** Read, although its producer was told that it was certainly not written. */
  | 'G1a'
  /** Read, although nobody wrote it. */
  | 'phantom'
  /** A consumer jumped over a record; `int-`: within what it was given at once. */
  | 'poll-skip'
  | 'int-poll-skip'
  /** A consumer went back. */
  | 'nonmonotonic-poll'
  | 'int-nonmonotonic-poll'
  /** What a producer sent later stands earlier; `int-`: within what it sent at once. */
  | 'nonmonotonic-send'
  | 'int-nonmonotonic-send'
  /** The end of a partition that one process was told went back. */
  | 'nonmonotonic-end'
  /** Two brokers led in one epoch. */
  | 'two-leaders'
  /** Two replicas have other bytes. */
  | 'replicas-differ'
  /** A consumer was told that what it had not read yet is not there. */
  | 'unreadable'
  /** A partition had two owners in one generation, or one came before the other had given it up. */
  | 'two-owners'
  /** A member handled what it did not have (any more). */
  | 'not-owned'
  /** A member jumped over a record, or a group has never handled it. */
  | 'group-skip'
  /** A member went back within what it had, or began before what had been committed. */
  | 'redelivered'
  /** A committed offset lies past a record that nobody has handled. */
  | 'commit-ahead'
  /** A committed offset went back within a generation. */
  | 'commit-back'
  /** What was handled is not committed when all members have gone in order. */
  | 'commit-behind'
  /** A member that was taken out has committed. */
  | 'zombie-commit'
  | 'generation-back'
  /** See MemberTrouble. */
  | 'member-failed'
  /** See Trouble. */
  | 'broker-died'
  | 'broker-failed'
  | 'not-recovered'

export interface Anomaly {
  readonly name: AnomalyName
  readonly what: string
}

/** The first of the ascending numbers that is not below `from`. */
export function firstFrom(ascending: readonly number[], from: number): number | undefined {
  let [low, high] = [0, ascending.length]
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((ascending[middle] ?? 0) < from) low = middle + 1
    else high = middle
  }
  return ascending[low]
}
