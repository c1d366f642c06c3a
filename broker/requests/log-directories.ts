// What this broker's data directory holds, partition by partition.

import type { LogDirectoryRequest, LogDirectoryContents } from './other-requests.ts'
import type { RequestServices } from './request-services.ts'
import { NO_ERROR } from './outcome.ts'

export function describeLogDirectory(services: RequestServices, request: LogDirectoryRequest): LogDirectoryContents {
  const isWanted = wantedOf(request)
  const partitions = []
  for (const { topic, partition, bytes, log, highWatermark } of services.partitions.all()) {
    if (!isWanted(topic, partition)) continue
    partitions.push({ topic, partition, bytes, offsetLag: Math.max(0, highWatermark - log.logEndOffset) })
  }
  return { ...NO_ERROR, ...services.partitions.directory, partitions }
}

function wantedOf({ topics }: LogDirectoryRequest): (topic: string, partition: number) => boolean {
  if (topics === undefined) return () => true
  const wanted = new Map<string, Set<number>>()
  for (const { topic, partitions } of topics) {
    const known = wanted.get(topic) ?? new Set()
    wanted.set(topic, known)
    for (const partition of partitions) known.add(partition)
  }
  return (topic, partition) => wanted.get(topic)?.has(partition) === true
}
