import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { OutputBuffer } from '../../broker/network/output-buffer.ts'

describe('OutputBuffer', () => {
  it('makes one buffer of small pieces and passes large ones on uncopied', () => {
    const output = new OutputBuffer()
    const large = Buffer.alloc(5_000, 2)
    output.append(Buffer.from('one '))
    output.append(Buffer.from('two'))
    output.append(large)
    output.append(Buffer.from('three'))
    const { buffers, bytes } = output.take()
    expect(bytes).toBe(7 + 5_000 + 5)
    expect(buffers.map((buffer) => buffer.length)).toEqual([7, 5_000, 5])
    expect(Buffer.from(buffers[0] ?? []).toString()).toBe('one two')
    expect(buffers[1]).toBe(large)
    expect(output.isEmpty).toBe(true)
  })

  it('keeps the order of whatever is put in, in place, copied or by reference, of several at once', () => {
    const length = fc.oneof(fc.nat({ max: 50 }), fc.nat({ max: 6_000 }), fc.constantFrom(4_095, 4_096, 4_097))
    const anyBytes = fc.tuple(length, fc.nat({ max: 0xff })).map(([bytes, fill]) => new Uint8Array(bytes).fill(fill))
    const piece = fc.tuple(fc.constantFrom('append', 'slice', 'scratch'), anyBytes)
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat({ max: 1 }), piece), { maxLength: 30 }), (pieces) => {
        const outputs = [new OutputBuffer(), new OutputBuffer()]
        const expected: Uint8Array[][] = [[], []]
        const released = [0, 0]
        for (const [to, [kind, bytes]] of pieces) {
          const output = outputs[to]
          if (output === undefined) continue
          expected[to]?.push(Uint8Array.from(bytes))
          if (kind === 'slice') output.appendSlice(bytes, () => (released[to] = (released[to] ?? 0) + 1))
          else if (kind === 'append' || bytes.length > 4_096) output.append(bytes)
          else {
            output.scratch(bytes.length).set(bytes, output.scratchAt)
            output.wrote(bytes.length)
          }
        }
        const turns = outputs.map((output) => output.take())
        // The scratch buffers go round: what was taken must not change when they are written again.
        const later = new OutputBuffer()
        later.append(new Uint8Array(4_000).fill(0xee))
        for (const [index, turn] of turns.entries()) {
          expect(Buffer.compare(Buffer.concat(turn.buffers), Buffer.concat(expected[index] ?? []))).toBe(0)
          expect(turn.bytes).toBe(Buffer.concat(expected[index] ?? []).length)
          for (const release of turn.releases) release()
          const slices = pieces.filter(([to, [kind]]) => to === index && kind === 'slice').length
          expect(released[index]).toBe(slices)
        }
      }),
      { numRuns: 300 },
    )
  })
})
