// Asks several brokers the same, for what each knows of itself only. Owns how long they are waited for: one that hangs must
// not hold up what the others have said.

import type { ApiName, RequestOf, ResponseOf } from '../../shared/protocol/api.ts'
import type { BrokerSession } from './broker-session.ts'
import { TidemarkError } from '../../shared/errors.ts'
import { sleep, systemTimers } from '../../shared/time.ts'

const WAIT_MS_MAX = 1_500

/** By broker, in the order of their numbers; who fails or does not answer soon is left out. */
export async function askEach<Name extends ApiName>(
  session: BrokerSession,
  brokers: readonly number[],
  api: Name,
  request: RequestOf<Name>,
): Promise<ReadonlyMap<number, ResponseOf<Name>>> {
  const answers = new Map<number, ResponseOf<Name>>()
  if (brokers.length === 0) return answers
  const asked = brokers.map(async (broker) => {
    try {
      answers.set(broker, await session.ask(api, request, broker))
    } catch (error) {
      if (!(error instanceof TidemarkError)) throw error
    }
  })
  const impatience = new AbortController()
  await Promise.race([Promise.all(asked), sleep(systemTimers, WAIT_MS_MAX, impatience.signal)])
  impatience.abort()
  return new Map([...answers].toSorted(([one], [other]) => one - other))
}
