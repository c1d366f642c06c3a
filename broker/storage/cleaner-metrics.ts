// What is to be measured of compaction. Looked at only when somebody asks, but for what is counted as it happens.

import type { Meter } from '../metrics/meter.ts'
import type { LogCleaner } from './log-cleaner.ts'

export function measureCompaction(meter: Meter, cleaner: LogCleaner): void {
  const replaced = meter.counter('tidemark_compacted_bytes_total')
  const freed = meter.counter('tidemark_compaction_freed_bytes_total')
  const duration = meter.histogram('tidemark_compaction_duration_seconds')
  const failures = meter.counter('tidemark_compaction_failures_total')
  cleaner.events = {
    onPass({ seconds, oldBytes, newBytes }) {
      replaced.add(oldBytes)
      freed.add(Math.max(0, oldBytes - newBytes))
      duration.observe(seconds)
    },
    onFailure: () => failures.add(),
  }
  meter.gauge('tidemark_compaction_failing_logs', {}, () => cleaner.troubles.length)
  meter.gauge('tidemark_compaction_dirty_ratio_max', {}, () => cleaner.dirtyRatioMax)
}
