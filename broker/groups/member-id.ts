// The ids of static members, which tell who has come in later under a name. A coordinator tells a member its id before that is
// written down, so the next coordinator may know only the id before: by this it does not take the newer member for the older.
// Pure.
//
// An id is name-epoch.number-uuid: the leader epoch of the coordinator that gave it out, and a number that grows with each
// one that the broker gives out.

const ID = /-(?<epoch>\d+)\.(?<number>\d+)-[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}$/

export function staticMemberId(
  instance: string,
  given: { readonly leaderEpoch: number; readonly number: number },
  uuid: string,
): string {
  return `${instance}-${given.leaderEpoch}.${given.number}-${uuid}`
}

/** Whether one id was given out after another. Not so where nobody can say: ids may be of another making. */
export function isLaterId(id: string, other: string): boolean {
  const [one, before] = [ID.exec(id)?.groups, ID.exec(other)?.groups]
  if (one === undefined || before === undefined) return false
  const epochs = Number(one['epoch']) - Number(before['epoch'])
  return epochs === 0 ? Number(one['number']) > Number(before['number']) : epochs > 0
}
