// hello: the first request of every native connection. Tells both sides who they are and what they may send.

import { array, int32, optional, string, struct, uint32 } from './schema.ts'

export const helloRequest = struct({
  clientId: string,
  /** Name and version of the library, for logs and metrics. */
  software: string,
})

export const helloResponse = struct({
  brokerId: int32,
  cluster: string,
  software: string,
  /** Bytes of a frame after its length field that this broker takes. */
  frameBytesMax: uint32,
  /** Requests that may wait for their answers on this connection; the broker reads no further beyond it. */
  inFlightMax: uint32,
  apis: array(struct({ api: uint32, versionMin: uint32, versionMax: uint32 })),
  rack: optional(string),
})
