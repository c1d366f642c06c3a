import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { TidemarkError } from '../../../shared/errors.ts'
import { type FrameBuffers, FrameDecoder } from '../../../shared/protocol/frame-decoder.ts'

/** Gathers copies of the frames; stalls and refuses as it is told to. */
class Sink {
  readonly frames: string[] = []
  reserved = 0
  /** Answers of onFrame and reserve, in turn; true when they are used up. */
  readonly answers: boolean[] = []
  readonly reservations: boolean[] = []

  onFrame(frame: Uint8Array): boolean {
    this.frames.push(Buffer.from(frame).toString('hex'))
    return this.answers.shift() ?? true
  }

  reserve(bytes: number): boolean {
    const isGranted = this.reservations.shift() ?? true
    if (isGranted) this.reserved += bytes
    return isGranted
  }

  release(bytes: number): void {
    this.reserved -= bytes
  }
}

/** Overwrites what is given back, so that a view that outlives its call shows. */
class PoisoningBuffers implements FrameBuffers {
  taken = 0

  take(bytes: number): Uint8Array {
    this.taken += 1
    return new Uint8Array(bytes + 7).fill(0xaa)
  }

  give(buffer: Uint8Array): void {
    this.taken -= 1
    buffer.fill(0xee)
  }
}

function streamOf(frames: readonly Uint8Array[]): Buffer {
  return Buffer.concat(
    frames.flatMap((frame) => {
      const length = Buffer.alloc(4)
      length.writeUInt32BE(frame.length)
      return [length, frame]
    }),
  )
}

/** Cuts the stream at the positions, which are taken modulo its length. */
function chunksOf(stream: Uint8Array, cuts: readonly number[]): readonly Uint8Array[] {
  const sorted = [...new Set(cuts.map((cut) => cut % (stream.length + 1)))].sort((a, b) => a - b)
  const ends = [...sorted, stream.length]
  return ends.map((end, index) => Uint8Array.from(stream.subarray(ends[index - 1] ?? 0, end)))
}

const anyFrames = fc.array(fc.uint8Array({ maxLength: 300, size: 'max' }), { maxLength: 20 })
const anyCuts = fc.array(fc.nat({ max: 10_000 }), { maxLength: 60 })

describe('FrameDecoder', () => {
  it('gives the same frames however the stream is cut, stalled and resumed, and owes nothing at the end', () => {
    fc.assert(
      fc.property(
        anyFrames,
        anyCuts,
        fc.array(fc.boolean(), { maxLength: 20 }),
        fc.array(fc.boolean(), { maxLength: 20 }),
        fc.boolean(),
        (frames, cuts, answers, reservations, isPooled) => {
          const sink = new Sink()
          sink.answers.push(...answers)
          sink.reservations.push(...reservations)
          const buffers = new PoisoningBuffers()
          const decoder = new FrameDecoder(sink, 1_000, isPooled ? buffers : undefined)
          for (const chunk of chunksOf(streamOf(frames), cuts)) {
            decoder.push(chunk)
            // The chunk's memory is used again for the next one.
            chunk.fill(0xdd)
            while (decoder.isStalled) decoder.resume()
          }
          expect(sink.frames).toEqual(frames.map((frame) => Buffer.from(frame).toString('hex')))
          expect(decoder.isAtBoundary).toBe(true)
          expect(sink.reserved).toBe(0)
          expect(buffers.taken).toBe(0)
        },
      ),
      { numRuns: 2_000 },
    )
  })

  it('keeps what is pushed while it is stalled', () => {
    const sink = new Sink()
    sink.answers.push(false)
    const decoder = new FrameDecoder(sink, 1_000)
    const stream = streamOf([Buffer.from('a'), Buffer.from('b'), Buffer.from('c')])
    decoder.push(stream.subarray(0, 7))
    decoder.push(stream.subarray(7, 12))
    decoder.push(stream.subarray(12))
    expect(sink.frames).toEqual(['61'])
    decoder.resume()
    expect(sink.frames).toEqual(['61', '62', '63'])
  })

  it('refuses a length beyond the limit before it asks for memory, and takes the limit itself', () => {
    const sink = new Sink()
    const decoder = new FrameDecoder(sink, 10)
    decoder.push(streamOf([Buffer.alloc(10)]))
    expect(sink.frames).toHaveLength(1)
    expect(() => decoder.push(Buffer.from([0, 0, 0, 11]))).toThrow('a frame of 11 bytes; at most 10')
    expect(sink.reserved).toBe(0)
  })

  it('gives back the memory of half a frame when it is closed', () => {
    const sink = new Sink()
    const buffers = new PoisoningBuffers()
    const decoder = new FrameDecoder(sink, 1_000, buffers)
    decoder.push(streamOf([Buffer.alloc(100)]).subarray(0, 50))
    expect([sink.reserved, buffers.taken]).toEqual([100, 1])
    decoder.close()
    expect([sink.reserved, buffers.taken]).toEqual([0, 0])
  })

  it('throws nothing but FRAME_TOO_LARGE for arbitrary bytes', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 50 }), { maxLength: 20 }), (chunks) => {
        const decoder = new FrameDecoder(new Sink(), 100)
        let code = 'FRAME_TOO_LARGE'
        try {
          for (const chunk of chunks) decoder.push(chunk)
        } catch (error) {
          code = error instanceof TidemarkError ? error.code : String(error)
        }
        expect(code).toBe('FRAME_TOO_LARGE')
      }),
      { numRuns: 2_000 },
    )
  })
})
