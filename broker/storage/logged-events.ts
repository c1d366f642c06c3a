// What befalls the logs, said in the log. Owns the words and how loud they are; passes everything on to whoever else wants
// to know, such as the metrics.

import type { Logger } from '../../shared/logger.ts'
import type { LogEvents } from './storage-context.ts'

export function loggedEvents(logger: Logger, next: LogEvents = {}): LogEvents {
  return {
    onRoll(log, baseOffset) {
      next.onRoll?.(log, baseOffset)
    },
    onTruncate(log, event) {
      logger.warn({ log, ...event }, 'a log was cut back')
      next.onTruncate?.(log, event)
    },
    onQuarantine(log, range) {
      logger.error({ log, ...range }, 'records were lost to corruption; their offsets are in quarantine')
      next.onQuarantine?.(log, range)
    },
    onLogStartLost(log, event) {
      logger.error({ log, ...event }, 'the log start is gone or wrong; it is taken from the last checkpoint again')
      next.onLogStartLost?.(log, event)
    },
    onCorruptRead(log, error) {
      logger.error({ log, error: error.message }, 'a read has met bytes that are no batch')
      next.onCorruptRead?.(log, error)
    },
    onCacheRebuilt(log, file, why) {
      logger.info({ log, file, why }, 'a small file of a log was made anew')
      next.onCacheRebuilt?.(log, file, why)
    },
    onDelete(log, event) {
      logger.info({ log, ...event }, 'segments were removed')
      next.onDelete?.(log, event)
    },
    onNewEpoch(log, epoch, startOffset) {
      next.onNewEpoch?.(log, epoch, startOffset)
    },
    onReadOnly(log, error) {
      logger.error({ log, error: error.message }, 'a log takes no more appends')
      next.onReadOnly?.(log, error)
    },
    onOffline(log, error) {
      logger.error({ log, error: error.message }, 'a log is offline')
      next.onOffline?.(log, error)
    },
  }
}
