// What a compacted log owes whoever reads it. Judges; reads nothing itself. Records are texts, `key=value`.

/** The value of a record that deletes what its key stands for. */
export const TOMBSTONE = '(none)'

/**
 * Of the records that were written in [logStartOffset, owedEnd) all may be gone but the last of each key; and that too if it
 * is a tombstone and has nothing left to delete.
 */
export function checkCompacted(
  found: readonly (readonly [offset: number, text: string])[],
  written: readonly string[],
  owed: { readonly logStartOffset: number; readonly owedEnd: number },
  fail: (fault: string) => void,
): void {
  /** By key: the first record that is there, and the last. */
  const first = new Map<string, number>()
  const last = new Map<string, number>()
  let before = -1
  for (const [offset, text] of found) {
    if (offset <= before) fail(`offset ${offset} follows ${before}`)
    before = offset
    const key = keyOf(text)
    if (!first.has(key)) first.set(key, offset)
    last.set(key, offset)
  }
  /** By key: the last record that was written. */
  const newest = new Map<string, number>()
  for (let offset = owed.logStartOffset; offset < owed.owedEnd; offset++) {
    const text = written[offset]
    if (text !== undefined) newest.set(keyOf(text), offset)
  }
  for (const [key, offset] of newest) {
    if ((last.get(key) ?? -1) >= offset) continue
    const text = written[offset] ?? ''
    if (text !== `${key}=${TOMBSTONE}`)
      fail(`offset ${offset}, ${text.slice(0, 30)}, is gone, and nothing supersedes it`)
    else if (first.has(key)) fail(`offset ${offset}, a tombstone of ${key}, is gone, and ${first.get(key)} is back`)
  }
}

function keyOf(text: string): string {
  return text.slice(0, text.indexOf('='))
}
