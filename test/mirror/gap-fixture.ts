// A batch of which compaction has left nothing but its offsets.

import type { LeaderEpoch } from '../../shared/ids.ts'
import { GAP_BYTES, writeGap } from '../../broker/storage/gap-batch.ts'

export function gapBatch(baseOffset: number, endOffset: number): Uint8Array {
  const bytes = new Uint8Array(GAP_BYTES)
  writeGap(bytes, 0, { baseOffset, endOffset, epoch: 0 as LeaderEpoch })
  return bytes
}
