// Assertions that stay on in production. They guard the project's own reasoning, never a peer's input: a bad request is
// an error code, a broken invariant is an InvariantError and stops the partition it belongs to.

/** A rule of the project was broken by the project itself. Never retriable; whoever catches it stops what it was doing. */
export class InvariantError extends Error {
  override readonly name = 'InvariantError'
}

/** Throws InvariantError unless the condition holds. The text is a constant: building one would cost more than the check. */
export function assert(condition: boolean, rule: string): asserts condition {
  if (!condition) throw new InvariantError(rule)
}

/** Closes a switch over a union: does not compile while a case is missing. */
export function assertNever(value: never): never {
  throw new InvariantError(`unexpected case: ${JSON.stringify(value)}`)
}

/** The value, which by the project's own reasoning cannot be absent here. */
export function must<T>(value: T | undefined | null, rule: string): T {
  if (value === undefined || value === null) throw new InvariantError(rule)
  return value
}
