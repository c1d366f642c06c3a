// Whether all is well, as a list of things that were looked at. Pure: it is given the checks and words the verdict.

export interface HealthCheck {
  readonly name: string
  readonly isOk: boolean
  /** What was found, in a few words; of a failed check, also what to do. */
  readonly detail: string
}

export interface Verdict {
  readonly isHealthy: boolean
  /** One line a check, the failed ones in front. */
  readonly lines: readonly string[]
}

export function verdictOf(checks: readonly HealthCheck[]): Verdict {
  const failed = checks.filter(({ isOk }) => !isOk)
  const passed = checks.filter(({ isOk }) => isOk)
  return {
    isHealthy: failed.length === 0,
    lines: [
      ...failed.map(({ name, detail }) => `[-] ${name}: ${detail}`),
      ...passed.map(({ name, detail }) => `[+] ${name}: ${detail}`),
    ],
  }
}
