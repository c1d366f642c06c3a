import { expect, it } from 'vitest'
import { OutputShare } from '../../broker/network/output-share.ts'

const KIB = 1024
const MIB = 1024 * KIB

it('gives a connection all that it may have while there is plenty', () => {
  const share = new OutputShare({ totalBytesMax: 100 * MIB, connectionBytesMax: 8 * MIB })
  expect(share.connectionBytesMax).toBe(8 * MIB)
  share.change(84 * MIB)
  expect(share.connectionBytesMax).toBe(8 * MIB)
})

it('gives half of what is left when there is little, and never nothing', () => {
  const share = new OutputShare({ totalBytesMax: 100 * MIB, connectionBytesMax: 8 * MIB })
  share.change(90 * MIB)
  expect(share.connectionBytesMax).toBe(5 * MIB)
  share.change(20 * MIB)
  expect(share.connectionBytesMax).toBe(64 * KIB)
  share.change(-100 * MIB)
  expect(share.heldBytes).toBe(10 * MIB)
  expect(share.connectionBytesMax).toBe(8 * MIB)
})
