// Which address of a broker a client is told: the one of the listener that the client came by, since that is the network which
// it is in.

import type { BrokerRecord } from '../coordination/coordinator.ts'
import type { RequestContext } from './requests.ts'

/** A broker that has no such listener is told by its first: it may be reached there. */
export function addressFor(
  broker: BrokerRecord,
  { listener }: Pick<RequestContext, 'listener'>,
): { readonly host: string; readonly port: number } {
  const { host, port, listeners } = broker
  return (listener === undefined ? undefined : listeners?.[listener]) ?? { host, port }
}
