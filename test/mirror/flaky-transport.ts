// A network on which connections break: now and then an answer is lost that was on its way, or a request of which nobody knows
// whether it has arrived. The same seed breaks at the same places, as far as the bytes come in the same pieces.

import type { Random } from '../../shared/random.ts'
import { systemTransport, type Transport } from '../../client/transport.ts'

export interface FlakyTransport extends Transport {
  /** How many connections it has broken. */
  readonly broken: number
}

/** `rate`: of all pieces that come or go, from 0 to 1. */
export function flakyTransport(random: Random, rate: number): FlakyTransport {
  let broken = 0
  const breaks = (): boolean => {
    if (random.fraction() >= rate) return false
    broken += 1
    return true
  }
  return {
    get broken() {
      return broken
    },
    open(address, events) {
      const wire = systemTransport.open(address, {
        ...events,
        onConnect: () => events.onConnect(),
        onData: (chunk) => {
          if (breaks()) wire.destroy()
          else events.onData(chunk)
        },
        onDrain: () => events.onDrain(),
        onClose: (cause) => events.onClose(cause),
      })
      return {
        write(chunks) {
          const isRoom = wire.write(chunks)
          if (breaks()) wire.destroy()
          return isRoom
        },
        destroy: () => wire.destroy(),
      }
    },
  }
}
