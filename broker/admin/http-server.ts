// The admin port: bytes and limits. Owns the socket, what is refused before anything is read, and the stop. What is
// answered stands in routes.ts, which is loaded with its packages at the first request, so that no start waits for it.
//
// Invariants: nothing here changes the broker; a request cannot have a body; after stop() no handle is left.

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Logger } from '../../shared/logger.ts'
import type { AdminSources } from './routes.ts'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { TidemarkError } from '../../shared/errors.ts'
import { isHostAllowed } from './host-check.ts'

export interface AdminServerOptions {
  readonly host: string
  /** 0 picks a free one. */
  readonly port: number
  readonly sources: AdminSources
  readonly logger: Logger
}

export interface AdminServer {
  readonly host: string
  readonly port: number
  /** Closes everything at once: nothing here is worth waiting for. Idempotent. */
  stop(): Promise<void>
}

type Handler = (incoming: IncomingMessage, outgoing: ServerResponse) => Promise<void>

const HEADER_BYTES_MAX = 16 * 1024
const CONNECTIONS_MAX = 128
const HEADERS_TIMEOUT_MS = 10_000
const IDLE_TIMEOUT_MS = 60_000
const KEEP_ALIVE_MS = 15_000

/** @throws ADDRESS_IN_USE, INVALID_OPTION when the address is none of this machine */
export async function startAdminServer(options: AdminServerOptions): Promise<AdminServer> {
  const { logger } = options
  let handler: Promise<Handler> | undefined
  const server = createServer(
    {
      maxHeaderSize: HEADER_BYTES_MAX,
      headersTimeout: HEADERS_TIMEOUT_MS,
      requestTimeout: HEADERS_TIMEOUT_MS,
      keepAliveTimeout: KEEP_ALIVE_MS,
      connectionsCheckingInterval: 1_000,
    },
    (incoming, outgoing) => {
      if (refuse(incoming, outgoing, options.host)) return
      handler ??= loadHandler(options)
      handler
        .then((handle) => handle(incoming, outgoing))
        .catch((error: unknown) => {
          logger.error({ error, path: incoming.url }, 'admin request failed')
          outgoing.destroy()
        })
    },
  )
  server.maxConnections = CONNECTIONS_MAX
  server.setTimeout(IDLE_TIMEOUT_MS)
  server.on('clientError', (_error, socket) => {
    if (socket.writable) socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n')
  })
  server.listen(options.port, options.host)
  try {
    await once(server, 'listening')
  } catch (cause) {
    throw listenError(cause, options)
  }
  // A connection that the system could not hand over is nothing to die of.
  server.on('error', (error) => logger.warn({ error: error.message }, 'an admin connection could not be accepted'))
  const address = server.address()
  const port = address === null || typeof address === 'string' ? options.port : address.port
  let stopped: Promise<void> | undefined
  return {
    host: options.host,
    port,
    stop() {
      stopped ??= new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      })
      return stopped
    },
  }
}

async function loadHandler(options: AdminServerOptions): Promise<Handler> {
  const [{ createRoutes }, { getRequestListener }] = await Promise.all([
    import('./routes.ts'),
    import('@hono/node-server'),
  ])
  const routes = createRoutes(options.sources, options.logger)
  // The global Request and Response belong to whoever embeds the broker.
  return getRequestListener((request) => routes.fetch(request), { overrideGlobalObjects: false })
}

/** Answers what cannot be served, whatever the path. */
function refuse(incoming: IncomingMessage, outgoing: ServerResponse, boundHost: string): boolean {
  const { method, headers } = incoming
  if (!isHostAllowed(headers.host, boundHost)) {
    return deny(outgoing, 403, `this port answers to localhost, not to '${headers.host ?? ''}'`)
  }
  if (method !== 'GET' && method !== 'HEAD') {
    outgoing.setHeader('Allow', 'GET, HEAD')
    return deny(outgoing, 405, `${method ?? ''} is not for this port, which only shows: use GET`)
  }
  if (headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) !== 0) {
    return deny(outgoing, 413, 'a request to this port has no body')
  }
  return false
}

function deny(outgoing: ServerResponse, status: number, message: string): true {
  // Whatever the peer is still sending is not read: the connection goes with the answer.
  outgoing.writeHead(status, { 'Content-Type': 'application/json', Connection: 'close' })
  outgoing.end(`${JSON.stringify({ error: message })}\n`)
  return true
}

function listenError(cause: unknown, { host, port }: AdminServerOptions): TidemarkError {
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown'
  if (code === 'EADDRINUSE') {
    return new TidemarkError('ADDRESS_IN_USE', `http ${host}:${port} is taken; choose another with --http HOST:PORT`, {
      cause,
    })
  }
  return new TidemarkError('INVALID_OPTION', `http: cannot listen on ${host}:${port} (${code})`, { cause })
}
