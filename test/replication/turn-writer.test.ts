import { expect, it } from 'vitest'
import { TurnWriter } from '../../broker/replication/turn-writer.ts'
import { systemTimers } from '../../shared/time.ts'

it('writes at the end of the turn, or at the end of the callback for who is in a hurry, and each time once', async () => {
  const told: string[] = []
  const writer = new TurnWriter(systemTimers)
  const dirty = (name: string): void => writer.register({ flush: () => told.push(name) })
  const endOfTurn = new Promise<void>((resolve) => systemTimers.atEndOfTurn(resolve))
  dirty('small')
  await Promise.resolve()
  expect(told).toEqual([])
  dirty('large')
  writer.hurry()
  writer.hurry()
  expect(told).toEqual([])
  await Promise.resolve()
  expect(told).toEqual(['small', 'large'])
  dirty('later')
  await endOfTurn
  await new Promise<void>((resolve) => systemTimers.atEndOfTurn(resolve))
  expect(told).toEqual(['small', 'large', 'later'])
})
