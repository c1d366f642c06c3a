// Waiting until something is so, looked at whenever something has changed.

export class Waiters {
  readonly #waiting = new Set<() => void>()

  /** Something has changed. */
  tell(): void {
    for (const wake of this.#waiting) wake()
    this.#waiting.clear()
  }

  /** Whether it came to be so within the time. */
  async until(isSo: () => boolean, limitMs: number): Promise<boolean> {
    const deadline = performance.now() + limitMs
    const timer = setTimeout(() => this.tell(), limitMs)
    while (!isSo() && performance.now() < deadline) {
      await new Promise<void>((resolve) => this.#waiting.add(resolve))
    }
    clearTimeout(timer)
    return isSo()
  }
}
