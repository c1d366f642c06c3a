// What answers the requests of one API: translates the message to a question, asks it, and translates the answer. Holds no
// meaning of its own.

import type { ErrorCode } from '../../../../shared/errors.ts'
import type { RequestContext } from '../../../requests/requests.ts'
import type { AnyApi, RequestOf, ResponseOf } from '../api.ts'

/** Who asks, and in which version. */
export interface Call {
  readonly version: number
  readonly context: RequestContext
}

export interface Refusal {
  readonly code: ErrorCode
  readonly message: string
}

export interface Handler<A extends AnyApi> {
  readonly api: A
  /** Its answers may be a thousand times as long as its requests, and nobody has said how long they may be. */
  readonly isLong?: true
  answer(request: RequestOf<A>, call: Call): ResponseOf<A> | Promise<ResponseOf<A>>
  /**
   * What is answered when the request as a whole is refused; undefined where the message has no place for it: the connection
   * is closed then.
   */
  refuse(request: RequestOf<A>, refusal: Refusal, call: Call): ResponseOf<A> | undefined
}

/** A handler of whatever API. */
export interface AnyHandler {
  readonly api: AnyApi
  readonly isLong: boolean
  answer(request: unknown, call: Call): unknown
  refuse(request: unknown, refusal: Refusal, call: Call): unknown
}

/** The request that it is given is one that its own API has read: the table of handlers sees to that. */
export function handler<A extends AnyApi>(one: Handler<A>): AnyHandler {
  return {
    api: one.api,
    isLong: one.isLong === true,
    answer: (request, call) => one.answer(request as RequestOf<A>, call),
    refuse: (request, refusal, call) => one.refuse(request as RequestOf<A>, refusal, call),
  }
}

/** The first of each key: what is told of once costs once, however often it was asked for. */
export function distinct<Row>(rows: readonly Row[], keyOf: (row: Row) => string | number): readonly Row[] {
  const first = new Map<string | number, Row>()
  for (const row of rows) {
    const key = keyOf(row)
    if (!first.has(key)) first.set(key, row)
  }
  return first.size === rows.length ? rows : [...first.values()]
}

/** Rows by the name in them, in the order in which the names first come. */
export function byName<Row extends { readonly topic: string }>(
  rows: readonly Row[],
): ReadonlyMap<string, readonly Row[]> {
  const grouped = new Map<string, Row[]>()
  for (const row of rows) {
    const known = grouped.get(row.topic)
    if (known === undefined) grouped.set(row.topic, [row])
    else known.push(row)
  }
  return grouped
}
