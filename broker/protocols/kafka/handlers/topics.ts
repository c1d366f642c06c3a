// Making, growing and deleting topics.

import type { RequestOf as Question } from '../../../../shared/protocol/api.ts'
import type { AllRequests, AskedPartitions, AskedTopic } from '../../../requests/other-requests.ts'
import type { RequestOf, ResponseOf } from '../api.ts'
import { createTopics } from '../19-create-topics.ts'
import { deleteTopics } from '../20-delete-topics.ts'
import { createPartitions } from '../37-create-partitions.ts'
import { TidemarkError } from '../../../../shared/errors.ts'
import { kafkaCode, kafkaCodeOf } from '../error-mapping.ts'
import { NO_UUID } from '../primitives.ts'
import { settingSource } from './configs.ts'
import { type AnyHandler, type Call, handler } from './handler.ts'

type NewTopic = RequestOf<typeof createTopics>['topics'][number]
type AskedNewTopic = Question<'createTopics'>['topics'][number] & AskedTopic

export function topicHandlers(requests: AllRequests): readonly AnyHandler[] {
  return [createTopicsHandler(requests), deleteTopicsHandler(requests), createPartitionsHandler(requests)]
}

function createTopicsHandler(requests: AllRequests): AnyHandler {
  return handler({
    api: createTopics,
    answer: (request, call) => answerCreate(requests, request, call),
    refuse: ({ topics }, { code, message }) => ({
      topics: topics.map(({ name }) => ({
        name,
        topicId: NO_UUID,
        errorCode: kafkaCode(code),
        errorMessage: message,
        configs: [],
      })),
    }),
  })
}

function deleteTopicsHandler(requests: AllRequests): AnyHandler {
  return handler({
    api: deleteTopics,
    answer: (request, call) => answerDelete(requests, request, call),
    refuse: (request, { code, message }, { version }) => ({
      responses: targetsOf(request, version).map(({ name, topicId }) => {
        return { name, topicId, errorCode: kafkaCode(code), errorMessage: message }
      }),
    }),
  })
}

function createPartitionsHandler(requests: AllRequests): AnyHandler {
  return handler({
    api: createPartitions,
    async answer({ topics, validateOnly }, { context }) {
      const results = await Promise.all(
        topics.map(async ({ name, count, assignments }) => {
          const replicas = assignments?.map(({ brokerIds }) => brokerIds)
          const wish: Question<'addPartitions'> & AskedPartitions = {
            topic: name,
            partitions: count,
            validateOnly,
            replicas,
          }
          try {
            await requests.ask('addPartitions', wish, context)
            return { name, errorCode: 0 }
          } catch (error) {
            if (!(error instanceof TidemarkError)) throw error
            return { name, errorCode: error.kafkaCode, errorMessage: error.message }
          }
        }),
      )
      return { results }
    },
    refuse: ({ topics }, { code, message }) => ({
      results: topics.map(({ name }) => ({ name, errorCode: kafkaCode(code), errorMessage: message })),
    }),
  })
}

async function answerCreate(
  requests: AllRequests,
  { topics, timeoutMs, validateOnly }: RequestOf<typeof createTopics>,
  { context }: Call,
): Promise<ResponseOf<typeof createTopics>> {
  const refusals = topics.map(whyNot)
  const legal = topics.filter((_, index) => refusals[index] === undefined)
  const question = { topics: legal.map(asked), validateOnly, timeoutMs: Math.max(0, timeoutMs) }
  const created = await requests.ask('createTopics', question, context)
  let at = 0
  return {
    topics: topics.map(({ name }, index) => {
      const refusal = refusals[index]
      const nothing = { topicId: NO_UUID, configs: [] }
      if (refusal !== undefined) return { name, ...nothing, ...refusal }
      const {
        error = 0,
        message,
        topicId = NO_UUID,
        partitions = -1,
        replicationFactor = -1,
      } = created.topics[at++] ?? {}
      if (error !== 0) return { name, ...nothing, errorCode: kafkaCodeOf(error), errorMessage: message }
      const configs = validateOnly ? [] : settingsOf(requests, name)
      return {
        name,
        topicId,
        errorCode: 0,
        errorMessage: undefined,
        numPartitions: partitions,
        replicationFactor,
        configs,
      }
    }),
  }
}

/** What our own request could not even say. */
function whyNot({ configs, assignments }: NewTopic): { errorCode: number; errorMessage: string } | undefined {
  const unset = configs.find(({ value }) => value === undefined)
  if (unset !== undefined) {
    return {
      errorCode: kafkaCode('INVALID_CONFIG'),
      errorMessage: `${unset.name} has no value; leave it out for the default`,
    }
  }
  const numbers = new Set(assignments.map(({ partitionIndex }) => partitionIndex))
  const isWhole = numbers.size === assignments.length && assignments.every((_, index) => numbers.has(index))
  if (isWhole) return undefined
  const errorMessage = 'the partitions that brokers are named for must be 0, 1, 2 and so on, each once'
  return { errorCode: kafkaCode('INVALID_REPLICA_ASSIGNMENT'), errorMessage }
}

function asked({ name, numPartitions, replicationFactor, assignments, configs }: NewTopic): AskedNewTopic {
  const rows = assignments.toSorted((a, b) => a.partitionIndex - b.partitionIndex)
  return {
    topic: name,
    partitions: numPartitions === -1 ? undefined : numPartitions,
    replicationFactor: replicationFactor === -1 ? undefined : replicationFactor,
    config: configs.map(({ name: key, value = '' }) => [key, value]),
    ...(rows.length === 0 ? {} : { replicas: rows.map(({ brokerIds }) => brokerIds) }),
  }
}

function settingsOf(requests: AllRequests, name: string) {
  const [described] = requests.other.describeConfigs({ resources: [{ kind: 'topic', name, settings: undefined }] })
  return (described?.settings ?? []).map((setting) => ({
    name: setting.name,
    value: setting.value,
    readOnly: setting.isReadOnly,
    configSource: settingSource(setting.source),
    isSensitive: false,
  }))
}

/** By name in all versions; since version 6 by id as well. */
function targetsOf(request: RequestOf<typeof deleteTopics>, version: number) {
  if (version < 6) return request.topicNames.map((name) => ({ name, topicId: NO_UUID }))
  return request.topics.map(({ name, topicId }) => ({ name, topicId }))
}

async function answerDelete(
  requests: AllRequests,
  request: RequestOf<typeof deleteTopics>,
  { version, context }: Call,
): Promise<ResponseOf<typeof deleteTopics>> {
  const targets = targetsOf(request, version).map(({ name, topicId }) => {
    return { topicId, name: name ?? requests.topicName(topicId) }
  })
  const topics = targets.flatMap(({ name }) => name ?? [])
  const deleted = await requests.ask('deleteTopics', { topics, timeoutMs: Math.max(0, request.timeoutMs) }, context)
  let at = 0
  return {
    responses: targets.map(({ name, topicId }) => {
      if (name === undefined) return { name, topicId, errorCode: kafkaCode('UNKNOWN_TOPIC_ID') }
      const { error = 0, message } = deleted.topics[at++] ?? {}
      return { name, topicId, errorCode: kafkaCodeOf(error), errorMessage: message }
    }),
  }
}
