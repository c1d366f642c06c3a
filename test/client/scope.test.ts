// How long work in the client may go on.

import { expect, it } from 'vitest'
import { Scope } from '../../client/scope.ts'
import { systemEnvironment } from '../../client/environment.ts'

it('a scope that is over leaves no failure of what was begun in it unheard', async () => {
  const unheard: unknown[] = []
  const onUnheard = (reason: unknown): void => void unheard.push(reason)
  process.on('unhandledRejection', onUnheard)
  const scope = new Scope(systemEnvironment, { what: 'listOffsets', signal: AbortSignal.abort() })
  await expect(scope.race(Promise.reject(new Error('begun all the same')))).rejects.toMatchObject({ code: 'ABORTED' })
  await new Promise((resolve) => setImmediate(resolve))
  process.off('unhandledRejection', onUnheard)
  expect(unheard).toEqual([])
})
