// Runs what must not be interleaved with its like, one after the other. Pure.

export class Exclusive {
  #last: Promise<void> = Promise.resolve()

  /** Begins when all that was given before has ended, however it has; resolves or rejects as the work does. */
  run<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work)
    this.#last = result.then(ignore, ignore)
    return result
  }
}

function ignore(): void {}
