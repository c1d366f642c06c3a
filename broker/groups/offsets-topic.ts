// The topic that groups and their offsets are kept in: its name, how it is to be made, and which of its partitions a group is
// in. Pure. It is the broker's own: clients see it and read it, and may not write to it.

/** As Kafka calls it. */
export const OFFSETS_TOPIC = '__consumer_offsets'

/** Small, so that it is soon read when another broker takes over. */
const SEGMENT_BYTES = 100 * 1024 * 1024

export function isInternalTopic(topic: string): boolean {
  return topic === OFFSETS_TOPIC
}

/**
 * The settings it is made with. `isCompactable`: whether logs can be compacted; if not, everything in it is kept for ever.
 */
export function offsetsTopicConfig(isCompactable: boolean): (readonly [string, string])[] {
  const cleanup: (readonly [string, string])[] = isCompactable
    ? [['cleanup.policy', 'compact']]
    : [
        ['cleanup.policy', 'delete'],
        ['retention.ms', '-1'],
        ['retention.bytes', '-1'],
      ]
  return [...cleanup, ['segment.bytes', String(SEGMENT_BYTES)], ['message.timestamp.type', 'CreateTime']]
}

/** As many replicas as are asked for, and as there are brokers. */
export function offsetsReplicas(wanted: number, brokers: number): number {
  return Math.max(1, Math.min(wanted, brokers))
}

/** The partition that the group is kept in, as Kafka's tools work it out. */
export function partitionOfGroup(group: string, partitions: number): number {
  return (javaHash(group) & 0x7fff_ffff) % partitions
}

/** What String.hashCode is in Java: over UTF-16 units, 32 bits. */
function javaHash(text: string): number {
  let hash = 0
  for (let at = 0; at < text.length; at += 1) hash = (Math.imul(hash, 31) + text.charCodeAt(at)) | 0
  return hash
}
