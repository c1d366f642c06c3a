// Asking the same of several brokers, one after the other, until one answers: the next is asked when one has refused, or
// has kept silent for a while; the silent one may still answer first. Owns who is asked when. Knows nothing of what is
// asked, and closes nothing.

import type { TidemarkError } from '../shared/errors.ts'
import type { ClientEnvironment } from './environment.ts'
import { NotConnectedError, toTidemarkError } from './errors.ts'
import { Scope } from './scope.ts'
import type { Address } from './transport.ts'

export interface HedgeOptions<T> {
  readonly environment: ClientEnvironment
  readonly scope: Scope
  /** Milliseconds that one broker may keep silent before another is asked beside it. */
  readonly silenceMs: number
  /** Whom to ask, the best first; asked for again when all have been asked and some still keep silent. */
  readonly candidates: () => readonly Address[]
  readonly attempt: (address: Address, scope: Scope) => Promise<T>
  /** A broker has not answered in time. It is still waited for. */
  readonly onSilent: (address: Address) => void
}

/** The first answer. @throws the last error when every broker has failed, one that will not pass, the scope's reason. */
export async function hedge<T>(what: string, options: HedgeOptions<T>): Promise<T> {
  const { environment, scope } = options
  scope.check()
  const attempts = new Scope(environment, { what, signal: scope.signal })
  try {
    return await scope.race(new Promise<T>((resolve, reject) => new Race(options, attempts, resolve, reject).start()))
  } finally {
    // Who is still being asked is not waited for any more.
    attempts.cancel(new NotConnectedError(`${what}: another broker has answered`))
  }
}

class Race<T> {
  readonly #options: HedgeOptions<T>
  readonly #attempts: Scope
  readonly #resolve: (answer: T) => void
  readonly #reject: (error: TidemarkError) => void
  /** Who is being asked. */
  readonly #asked = new Set<string>()
  #queue: readonly Address[] = []
  #failure: TidemarkError = new NotConnectedError('no broker is known')
  #isOver = false

  constructor(
    options: HedgeOptions<T>,
    attempts: Scope,
    resolve: (answer: T) => void,
    reject: (error: TidemarkError) => void,
  ) {
    this.#options = options
    this.#attempts = attempts
    this.#resolve = resolve
    this.#reject = reject
  }

  start(): void {
    this.#queue = this.#options.candidates()
    this.#attempts.signal.addEventListener('abort', () => (this.#isOver = true), { once: true })
    this.#askNext()
    this.#askMoreLater()
  }

  #askNext(): void {
    const [address, ...others] = this.#queue
    this.#queue = others
    if (address === undefined) {
      if (this.#asked.size > 0) return
      this.#isOver = true
      return this.#reject(this.#failure)
    }
    const key = `${address.host}:${address.port}`
    this.#asked.add(key)
    this.#options.attempt(address, this.#attempts).then(
      (answer) => {
        this.#isOver = true
        this.#resolve(answer)
      },
      (thrown: unknown) => {
        this.#asked.delete(key)
        if (this.#isOver) return
        const error = toTidemarkError(thrown, 'CONNECTION_FAILED', key)
        if (!error.retriable) {
          this.#isOver = true
          return this.#reject(error)
        }
        this.#failure = error
        this.#askNext()
      },
    )
  }

  #askMoreLater(): void {
    const { silenceMs, candidates, onSilent } = this.#options
    this.#attempts.sleep(silenceMs).then(
      () => {
        if (this.#isOver) return
        const isAsked = ({ host, port }: Address): boolean => this.#asked.has(`${host}:${port}`)
        if (this.#queue.length === 0) this.#queue = candidates().filter((address) => !isAsked(address))
        for (const address of candidates()) if (isAsked(address)) onSilent(address)
        if (this.#queue.length > 0) this.#askNext()
        this.#askMoreLater()
      },
      () => undefined,
    )
  }
}
