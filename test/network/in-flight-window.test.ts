import { describe, expect, it } from 'vitest'
import { InFlightWindow } from '../../broker/network/in-flight-window.ts'

const KIB = 1024
const LIMITS = { requestsMax: 3, bytesMax: 1_000 }
const OUTPUT_BYTES_MAX = 1024 * KIB

describe('InFlightWindow', () => {
  it('has room until there are as many requests as may be', () => {
    const window = new InFlightWindow(LIMITS)
    window.enter(1)
    window.enter(1)
    expect(window.hasRoom).toBe(true)
    window.enter(1)
    expect(window.hasRoom).toBe(false)
    window.leave(1)
    expect(window.hasRoom).toBe(true)
  })

  it('has room until there are as many bytes, but always for one request', () => {
    const window = new InFlightWindow(LIMITS)
    expect(window.hasRoom).toBe(true)
    window.enter(5_000)
    expect(window.hasRoom).toBe(false)
    window.leave(5_000)
    expect(window.hasRoom).toBe(true)
  })

  it('grants half of the output that is left, never less than 64 KiB and never more than was wanted', () => {
    const window = new InFlightWindow(LIMITS)
    expect(window.grantOutput(100, 0, OUTPUT_BYTES_MAX)).toBe(100)
    expect(window.grantOutput(10_000 * KIB, 24 * KIB - 100, OUTPUT_BYTES_MAX)).toBe(500 * KIB)
    expect(window.grantOutput(10_000 * KIB, 2_000 * KIB, OUTPUT_BYTES_MAX)).toBe(64 * KIB)
    expect(window.grantOutput(0, 0, OUTPUT_BYTES_MAX)).toBe(0)
    expect(window.expectedOutputBytes).toBe(100 + 564 * KIB)
    window.settleOutput(500 * KIB)
    expect(window.expectedOutputBytes).toBe(100 + 64 * KIB)
  })
})
