// The address of a Redis, as people write it: redis://user:password@host:port/database, rediss: with TLS. Owns what is
// legal and how it is shown; a password is never a part of what is shown, nor of an error. Pure.

import { TidemarkError } from './errors.ts'

export interface RedisAddress {
  readonly host: string
  readonly port: number
  readonly database: number
  /** Undefined for the default user. */
  readonly user: string | undefined
  readonly password: string | undefined
  readonly isEncrypted: boolean
  /** HOST:PORT/DATABASE, for people. */
  readonly place: string
}

const PORT = 6379
const EXAMPLE = 'redis://127.0.0.1:6379/0'

/** @throws INVALID_OPTION, naming the setting `redis` and not showing its value */
export function parseRedisUrl(text: string): RedisAddress {
  if (!URL.canParse(text)) throw invalid('it is not an address')
  const { protocol, hostname, port, pathname, username, password, search, hash } = new URL(text)
  if (protocol !== 'redis:' && protocol !== 'rediss:') throw invalid('it begins with neither redis:// nor rediss://')
  if (hostname === '') throw invalid('it names no host')
  const database = pathname === '' || pathname === '/' ? '/0' : pathname
  if (!/^\/\d{1,5}$/.test(database)) throw invalid('what follows the port is not the number of a database')
  if (search !== '' || hash !== '') throw invalid('nothing may follow the number of the database')
  const shownPort = port === '' ? PORT : Number(port)
  return {
    host: hostname.replace(/^\[(.*)\]$/, '$1'),
    port: shownPort,
    database: Number(database.slice(1)),
    user: username === '' ? undefined : decoded(username),
    password: password === '' ? undefined : decoded(password),
    isEncrypted: protocol === 'rediss:',
    place: `${hostname}:${shownPort}${database}`,
  }
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw invalid('a % in the user or password begins no code; write % as %25')
  }
}

function invalid(reason: string): TidemarkError {
  return new TidemarkError('INVALID_OPTION', `redis: ${reason}; write it as ${EXAMPLE}`)
}
