// Listens to what a client and the brokers say to each other about groups: past the client, and before it hears of anything.
// Changes nothing. What is made of it is the listener's.

import type { Transport } from '../../client/transport.ts'
import { FRAME_BYTES_MAX } from '../../shared/limits.ts'
import { apiNameOf, APIS, type RequestOf, type ResponseOf } from '../../shared/protocol/api.ts'
import { decodeFrame } from '../../shared/protocol/frame.ts'
import { FrameDecoder } from '../../shared/protocol/frame-decoder.ts'

/** Each is told of a request when it is written, and answers who is to be told of its answer, if there is one. */
export interface GroupListener {
  joinGroup(request: RequestOf<'joinGroup'>, broker: string): (answer: ResponseOf<'joinGroup'>) => void
  syncGroup(request: RequestOf<'syncGroup'>, broker: string): (answer: ResponseOf<'syncGroup'>) => void
  commitOffsets(request: RequestOf<'commitOffsets'>, broker: string): (answer: ResponseOf<'commitOffsets'>) => void
  fetchOffsets(request: RequestOf<'fetchOffsets'>, broker: string): (answer: ResponseOf<'fetchOffsets'>) => void
}

type Heard = keyof GroupListener

/** Where the number of the api and the correlation id stand in what opens a frame. */
const API_AT = 5
const LENGTH_BYTES = 4

export function overheard(transport: Transport, listener: GroupListener): Transport {
  return {
    open(address, events) {
      const { host } = address
      const waiting = new Map<number, (body: unknown) => void>()
      const decoder = new FrameDecoder(
        {
          onFrame: (bytes) => {
            if (!isHeard(bytes[API_AT - LENGTH_BYTES])) return true
            const frame = decodeFrame(bytes)
            const onAnswer = waiting.get(frame.correlationId)
            waiting.delete(frame.correlationId)
            if (frame.kind === 'response') onAnswer?.(frame.body)
            return true
          },
          reserve: () => true,
          release: () => undefined,
        },
        FRAME_BYTES_MAX,
      )
      const wire = transport.open(address, {
        onConnect: () => events.onConnect(),
        onData: (chunk) => {
          decoder.push(chunk)
          events.onData(chunk)
        },
        onDrain: () => events.onDrain(),
        onClose: (cause) => events.onClose(cause),
      })
      return {
        write: (chunks) => {
          const [head] = chunks
          if (head !== undefined && isHeard(head[API_AT])) {
            const { api, correlationId, body } = decodeFrame(head.subarray(LENGTH_BYTES))
            waiting.set(correlationId, hear(listener, nameOf(api), body, host))
          }
          return wire.write(chunks)
        },
        destroy: () => wire.destroy(),
      }
    },
  }
}

function isHeard(api: number | undefined): boolean {
  return api !== undefined && nameOf(api) !== undefined
}

function nameOf(api: number): Heard | undefined {
  const name = apiNameOf(api)
  switch (name) {
    case 'joinGroup':
    case 'syncGroup':
    case 'commitOffsets':
    case 'fetchOffsets':
      return name
    default:
      return undefined
  }
}

function hear(listener: GroupListener, name: Heard | undefined, body: unknown, host: string): (body: unknown) => void {
  switch (name) {
    case 'joinGroup': {
      const onAnswer = listener.joinGroup(APIS.joinGroup.request.decode(body, name), host)
      return (answer) => onAnswer(APIS.joinGroup.response.decode(answer, name))
    }
    case 'syncGroup': {
      const onAnswer = listener.syncGroup(APIS.syncGroup.request.decode(body, name), host)
      return (answer) => onAnswer(APIS.syncGroup.response.decode(answer, name))
    }
    case 'commitOffsets': {
      const onAnswer = listener.commitOffsets(APIS.commitOffsets.request.decode(body, name), host)
      return (answer) => onAnswer(APIS.commitOffsets.response.decode(answer, name))
    }
    case 'fetchOffsets': {
      const onAnswer = listener.fetchOffsets(APIS.fetchOffsets.request.decode(body, name), host)
      return (answer) => onAnswer(APIS.fetchOffsets.response.decode(answer, name))
    }
    default:
      return () => undefined
  }
}
