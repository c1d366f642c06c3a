import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Lease } from '../../broker/coordination/lease.ts'

describe('a lease', () => {
  it('is valid from before its request was sent, less what clocks may differ in', () => {
    const lease = new Lease(6_000)
    expect(lease.validUntil).toBe(0)
    lease.confirm(1_000)
    expect(lease.validUntil).toBe(6_500)
    expect([lease.isValidAt(6_499), lease.isValidAt(6_500)]).toEqual([true, false])
    const long = new Lease(60_000)
    long.confirm(0)
    expect(long.validUntil).toBe(57_000)
  })

  it('is not shortened by an older answer that comes late', () => {
    const lease = new Lease(6_000)
    lease.confirm(2_000)
    lease.confirm(1_000)
    expect(lease.validUntil).toBe(7_500)
  })

  it('owes nothing to an earlier one once it has been dropped', () => {
    const lease = new Lease(6_000)
    lease.confirm(5_000)
    lease.drop()
    expect(lease.validUntil).toBe(0)
    lease.confirm(1_000)
    expect(lease.validUntil).toBe(6_500)
  })

  it('tells of its loss once for every time that it was held', () => {
    const lease = new Lease(6_000)
    expect(lease.takeLoss(0)).toBe(false)
    lease.confirm(0)
    expect([lease.takeLoss(5_499), lease.takeLoss(5_500), lease.takeLoss(5_501)]).toEqual([false, true, false])
    lease.confirm(6_000)
    lease.drop()
    expect([lease.takeLoss(6_001), lease.takeLoss(6_001)]).toEqual([true, false])
  })

  it('ends before its keeper lets it go, however long requests and answers take', () => {
    const trip = fc.record({ waitMs: fc.nat(3_000), thereMs: fc.nat(4_000), backMs: fc.nat(4_000) })
    fc.assert(
      fc.property(fc.array(trip, { minLength: 1, maxLength: 20 }), (trips) => {
        const lease = new Lease(6_000)
        let nowMs = 0
        let keptUntilMs = Number.POSITIVE_INFINITY
        for (const { waitMs, thereMs, backMs } of trips) {
          const sentAtMs = nowMs + waitMs
          const appliedAtMs = sentAtMs + thereMs
          if (appliedAtMs >= keptUntilMs) break
          keptUntilMs = appliedAtMs + 6_000
          nowMs = appliedAtMs + backMs
          lease.confirm(sentAtMs)
          expect(lease.validUntil).toBeLessThan(keptUntilMs)
        }
      }),
    )
  })
})
