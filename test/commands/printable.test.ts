import { expect, it } from 'vitest'
import { describeError } from '../../broker/commands/error-lines.ts'
import { printable } from '../../broker/commands/printable.ts'
import { TidemarkError } from '../../shared/errors.ts'

it('spells out what would act on a terminal, and leaves everything else', () => {
  expect(printable('\u001b[31mevil\r\nfake line\u0000\u009b')).toBe('\\x1b[31mevil\\x0d\\x0afake line\\x00\\x9b')
  expect(printable('größer 数据 🙂 a b')).toBe('größer 数据 🙂 a b')
})

it('does so in the line of an error, which remains one', () => {
  const error = new TidemarkError('INVALID_REQUEST', "member '\u001b[2J'\n  is not known")
  expect(describeError(error).line).toBe("member '\\x1b[2J' is not known (INVALID_REQUEST)")
})
