// What this broker's data directory holds, partition by partition.

import type { LogDirectoryRequest, LogDirectoryContents } from './other-requests.ts'
import type { RequestServices } from './request-services.ts'
import { NO_ERROR } from './outcome.ts'

export function describeLogDirectory(services: RequestServices, request: LogDirectoryRequest): LogDirectoryContents {
  const isWanted = (topic: string, partition: number): boolean => {
    return request.topics?.some((one) => one.topic === topic && one.partitions.includes(partition)) ?? true
  }
  const partitions = []
  for (const { topic, partition, bytes, log, highWatermark } of services.partitions.all()) {
    if (!isWanted(topic, partition)) continue
    partitions.push({ topic, partition, bytes, offsetLag: Math.max(0, highWatermark - log.logEndOffset) })
  }
  return { ...NO_ERROR, ...services.partitions.directory, partitions }
}
