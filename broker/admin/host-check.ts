// Which Host headers a server on this machine answers. A web page that the user happens to look at can make the browser
// ask a name that its owner has pointed at 127.0.0.1; such a request carries that name, and is refused by it.

const LOOPBACK_NAMES: ReadonlySet<string> = new Set(['localhost', '127.0.0.1', '::1', '[::1]'])

function isLoopback(host: string): boolean {
  return LOOPBACK_NAMES.has(host.toLowerCase()) || /^127(\.\d{1,3}){3}$/.test(host)
}

/**
 * Whether a request with this Host header may be answered by a server that listens at boundHost. One that was opened to
 * the network by its operator answers to every name: what may reach it is then the network's affair.
 */
export function isHostAllowed(header: string | undefined, boundHost: string): boolean {
  if (!isLoopback(boundHost)) return true
  const host = /^(\[[0-9a-f:.]+\]|[^:[\]]+)(:\d{1,5})?$/i.exec(header ?? '')?.[1]
  return host !== undefined && isLoopback(host)
}
