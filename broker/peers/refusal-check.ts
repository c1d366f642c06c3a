// Whether an address refuses connections: the difference between a process that is gone and one that is slow. One attempt,
// which leaves nothing behind.

import type { Timers } from '../../shared/time.ts'
import type { Address, Transport } from '../../client/transport.ts'

/** Who has said nothing by then is not gone; milliseconds. */
const ATTEMPT_MS = 500

/** Says false when the signal aborts it. */
export function isRefusing(
  environment: { readonly transport: Transport; readonly timers: Timers },
  address: Address,
  signal: AbortSignal,
): Promise<boolean> {
  if (signal.aborted) return Promise.resolve(false)
  return new Promise((resolve) => {
    const finish = (isRefused: boolean): void => {
      timer.cancel()
      signal.removeEventListener('abort', giveUp)
      wire.destroy()
      resolve(isRefused)
    }
    const giveUp = (): void => finish(false)
    const timer = environment.timers.after(ATTEMPT_MS, giveUp)
    signal.addEventListener('abort', giveUp, { once: true })
    const wire = environment.transport.open(address, {
      onConnect: giveUp,
      onData: () => undefined,
      onDrain: () => undefined,
      onClose: (cause) => finish(isRefusal(cause)),
    })
  })
}

/** A name may stand for several addresses: one of them that is only silent may be where the process lives. */
function isRefusal(cause: unknown): boolean {
  if (cause instanceof AggregateError) return cause.errors.length > 0 && cause.errors.every(isRefusal)
  return cause instanceof Error && 'code' in cause && cause.code === 'ECONNREFUSED'
}
