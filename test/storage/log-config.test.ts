import { describe, expect, it } from 'vitest'
import {
  describeTopicConfig,
  minInSyncReplicasOf,
  parseTopicConfig,
  TOPIC_CONFIG,
} from '../../broker/storage/log-config.ts'
import { TidemarkError } from '../../shared/errors.ts'

function refusalOf(entries: Record<string, string>): string {
  try {
    parseTopicConfig(entries)
  } catch (error) {
    if (error instanceof TidemarkError && error.code === 'INVALID_CONFIG') return error.message
    throw error
  }
  throw new Error('not refused')
}

describe('the settings of a topic', () => {
  it("are Kafka's by default", () => {
    expect(parseTopicConfig({})).toEqual({
      durability: 'os',
      retentionMs: 604_800_000,
      retentionBytes: undefined,
      segmentBytes: 1_073_741_824,
      segmentMs: 604_800_000,
      minInSyncReplicas: 1,
      maxMessageBytes: 1_048_588,
      timestampType: 'CreateTime',
      timestampBeforeMsMax: Number.MAX_SAFE_INTEGER,
      timestampAfterMsMax: Number.MAX_SAFE_INTEGER,
      indexIntervalBytes: 4_096,
      flushMs: Number.MAX_SAFE_INTEGER,
      compaction: undefined,
    })
  })

  it('say when a log is compacted, by the defaults of Kafka', () => {
    const compaction = { dirtyRatioMin: 0.5, lagMsMin: 0, lagMsMax: Number.MAX_SAFE_INTEGER, tombstoneMs: 86_400_000 }
    expect(parseTopicConfig({ 'cleanup.policy': 'compact' })).toMatchObject({ compaction, retentionMs: undefined })
    expect(parseTopicConfig({ 'cleanup.policy': 'delete, compact', 'retention.bytes': '7' })).toMatchObject({
      compaction,
      retentionMs: 604_800_000,
      retentionBytes: 7,
    })
    expect(
      parseTopicConfig({
        'cleanup.policy': 'compact',
        'retention.bytes': '7',
        'min.cleanable.dirty.ratio': '0.1',
        'min.compaction.lag.ms': '5',
        'max.compaction.lag.ms': '1000',
        'delete.retention.ms': '0',
      }),
    ).toMatchObject({
      compaction: { dirtyRatioMin: 0.1, lagMsMin: 5, lagMsMax: 1_000, tombstoneMs: 0 },
      retentionBytes: undefined,
      segmentMs: 1_000,
    })
  })

  it('are refused where they make no sense for compaction', () => {
    for (const value of ['', 'compact,', 'compact;delete', 'compacted', 'none']) {
      expect(refusalOf({ 'cleanup.policy': value })).toBe(
        `cleanup.policy="${value}" is not allowed: "delete" or "compact" is, or both with a comma between them`,
      )
    }
    for (const value of ['', '1.1', '-0.1', '.5', '1e-3', 'NaN']) {
      expect(refusalOf({ 'min.cleanable.dirty.ratio': value })).toContain('a number from 0 to 1 is')
    }
    expect(refusalOf({ 'min.compaction.lag.ms': '10', 'max.compaction.lag.ms': '9' })).toBe(
      'min.compaction.lag.ms=10 is above max.compaction.lag.ms=9',
    )
  })

  it('come from the topic, then from the broker', () => {
    const defaults = { 'retention.ms': '1000', 'retention.bytes': '5' }
    expect(parseTopicConfig({ 'retention.ms': '-1' }, defaults)).toMatchObject({
      retentionMs: undefined,
      retentionBytes: 5,
    })
  })

  it('name key, value and range when a value is refused', () => {
    expect(refusalOf({ 'segment.bytes': '12' })).toBe(
      'segment.bytes="12" is not allowed: an integer from 1024 to 2147483647 (bytes) is',
    )
    for (const value of ['', ' 1', '1.5', '1e3', '0x10', 'NaN', '-2', '99999999999999999999']) {
      expect(refusalOf({ 'retention.ms': value })).toContain('retention.ms=')
    }
    expect(refusalOf({ durability: 'none' })).toBe('durability="none" is not allowed: "os" or "fsync" is')
  })

  it('suggest the nearest key for one that does not exist', () => {
    expect(refusalOf({ 'retention.msec': '1' })).toBe(
      'there is no topic setting "retention.msec"; did you mean retention.ms?',
    )
    expect(refusalOf({ something: '1' })).toBe('there is no topic setting "something"')
    expect(refusalOf({ toString: '1' })).toContain('there is no topic setting')
    expect(refusalOf({ 'local.retention.ms': '1' })).toContain('does not support')
  })

  it('take what tools of Kafka write and read back, unless it asks for what there is not', () => {
    expect(parseTopicConfig({ preallocate: 'false', 'segment.jitter.ms': '0' })).toEqual(parseTopicConfig({}))
    expect(refusalOf({ 'remote.storage.enable': 'true' })).toBe(
      'remote.storage.enable="true" is not allowed: "false" is',
    )
    expect(refusalOf({ 'unclean.leader.election.enable': 'true' })).toContain('"false" is')
    expect(refusalOf({ 'segment.index.bytes': 'x' })).toContain('segment.index.bytes=')
  })

  it("take Kafka's greatest number for no limit", () => {
    expect(parseTopicConfig({ 'flush.ms': '9223372036854775807' }).flushMs).toBe(Number.MAX_SAFE_INTEGER)
  })

  it('mean fsync by flush.messages=1, unless they contradict themselves', () => {
    expect(parseTopicConfig({ 'flush.messages': '1' }).durability).toBe('fsync')
    expect(parseTopicConfig({ 'flush.messages': '100' }).durability).toBe('os')
    expect(parseTopicConfig({ durability: 'os' }, { 'flush.messages': '1' }).durability).toBe('os')
    expect(parseTopicConfig({ 'flush.messages': '1' }, { durability: 'os' }).durability).toBe('fsync')
    expect(refusalOf({ durability: 'os', 'flush.messages': '1' })).toContain('contradict')
  })

  it('are described with where each value comes from', () => {
    const described = describeTopicConfig({ 'segment.ms': '7' }, { 'retention.bytes': '5' })
    expect(described.map(({ name }) => name)).toEqual(Object.keys(TOPIC_CONFIG))
    expect(described.find(({ name }) => name === 'segment.ms')).toMatchObject({
      value: '7',
      isDefault: false,
      source: 'topic',
      unit: 'ms',
    })
    expect(described.find(({ name }) => name === 'retention.bytes')).toMatchObject({ value: '5', source: 'broker' })
    expect(described.find(({ name }) => name === 'durability')).toMatchObject({ value: 'os', source: 'default' })
  })
})

describe('how many replicas must hold a record', () => {
  const of = (replicationFactor: number, config = {}, defaults = {}) =>
    minInSyncReplicasOf({ replicationFactor, config }, defaults)

  it('is the majority of them, unless the topic or the broker says otherwise', () => {
    expect([1, 2, 3, 4, 5].map((replicationFactor) => of(replicationFactor))).toEqual([1, 2, 2, 3, 3])
    expect(of(3, {}, { 'min.insync.replicas': '3' })).toBe(3)
    expect(of(3, { 'min.insync.replicas': '1' }, { 'min.insync.replicas': '3' })).toBe(1)
  })

  it('is never more than there are', () => {
    expect(() => of(2, { 'min.insync.replicas': '3' })).toThrow(
      'min.insync.replicas=3 is above the replication factor, which is 2; lower it, or ask for more replicas',
    )
    expect(() => of(1, {}, { 'min.insync.replicas': '2' })).toThrow(
      'min.insync.replicas=2, which the broker sets for all topics, is above the replication factor, which is 1; lower it, or ask for more replicas',
    )
    expect(() => of(1, { 'min.insync.replicas': 'two' })).toThrow('min.insync.replicas="two" is not allowed')
  })
})
