import { expect, it } from 'vitest'
import { APIS } from '../../../shared/protocol/api.ts'
import { wordsOf } from '../../../shared/protocol/api-words.ts'

it('every request has words that a person uses, to stand behind "refused to"', () => {
  expect(wordsOf('decommissionBroker')).toBe('decommission broker')
  expect(wordsOf('metadata')).toBe('tell who leads what')
  for (const name of Object.keys(APIS)) expect(wordsOf(name)).toMatch(/^[a-z]+( [a-z]+)*$/)
})
