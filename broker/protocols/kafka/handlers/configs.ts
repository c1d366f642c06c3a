// Settings of topics and brokers: what they are, and changing those of topics.

import type { RequestOf as Question } from '../../../../shared/protocol/api.ts'
import type { AllRequests, AskedAlteration, DescribedSetting } from '../../../requests/other-requests.ts'
import type { RequestOf } from '../api.ts'
import { describeConfigs } from '../32-describe-configs.ts'
import { alterConfigs } from '../33-alter-configs.ts'
import { incrementalAlterConfigs } from '../44-incremental-alter-configs.ts'
import { listConfigResources } from '../74-list-config-resources.ts'
import { TidemarkError } from '../../../../shared/errors.ts'
import { kafkaCode, kafkaCodeOf } from '../error-mapping.ts'
import { type AnyHandler, type Call, distinct, handler } from './handler.ts'

const RESOURCES = { topic: 2, broker: 4 }
const OPERATIONS = { set: 0, remove: 1, append: 2, subtract: 3 }
const TYPES: Record<DescribedSetting['type'], number> = {
  boolean: 1,
  string: 2,
  integer: 5,
  ratio: 6,
  list: 7,
  secret: 9,
}

/** As Kafka numbers where a value comes from. */
export function settingSource(source: DescribedSetting['source']): number {
  return { topic: 1, broker: 4, default: 5 }[source]
}

interface Resource {
  readonly resourceType: number
  readonly resourceName: string
}

type Alteration = Question<'alterTopic'> & AskedAlteration

export function configHandlers(requests: AllRequests): readonly AnyHandler[] {
  return [
    describeConfigsHandler(requests),
    alterConfigsHandler(requests),
    incrementalAlterConfigsHandler(requests),
    listConfigResourcesHandler(requests),
  ]
}

function describeConfigsHandler(requests: AllRequests): AnyHandler {
  return handler({
    api: describeConfigs,
    isLong: true,
    answer: ({ resources, includeSynonyms, includeDocumentation }) => ({
      // Each once: what it says of one is a hundred times as long as the question.
      results: distinct(resources, keyOfResource).map(({ resourceType, resourceName, configurationKeys }) => {
        const kind = resourceType === RESOURCES.topic ? 'topic' : 'broker'
        if (resourceType !== RESOURCES[kind]) {
          const { errorCode, errorMessage } = unknownResource(resourceType)
          return { errorCode, errorMessage, resourceType, resourceName, configs: [] }
        }
        const resource = { kind, name: resourceName, settings: configurationKeys } as const
        const [described] = requests.other.describeConfigs({ resources: [resource] })
        const { error = 0, message, settings = [] } = described ?? {}
        const configs = settings.map((setting) => describedSetting(setting, includeSynonyms, includeDocumentation))
        return { errorCode: kafkaCodeOf(error), errorMessage: message, resourceType, resourceName, configs }
      }),
    }),
    refuse: ({ resources }, { code, message }) => ({
      results: resources.map(({ resourceType, resourceName }) => {
        return { errorCode: kafkaCode(code), errorMessage: message, resourceType, resourceName, configs: [] }
      }),
    }),
  })
}

function alterConfigsHandler(requests: AllRequests): AnyHandler {
  return handler({
    api: alterConfigs,
    answer: async ({ resources, validateOnly }, call) => ({
      responses: await inTurn(resources, (resource) => {
        return alter(requests, resource, () => replacement(resource, validateOnly), call)
      }),
    }),
    refuse: ({ resources }, { code, message }) => ({ responses: resources.map(refusedWith(code, message)) }),
  })
}

function incrementalAlterConfigsHandler(requests: AllRequests): AnyHandler {
  return handler({
    api: incrementalAlterConfigs,
    answer: async ({ resources, validateOnly }, call) => ({
      responses: await inTurn(resources, (resource) => {
        return alter(requests, resource, () => changes(resource, validateOnly), call)
      }),
    }),
    refuse: ({ resources }, { code, message }) => ({ responses: resources.map(refusedWith(code, message)) }),
  })
}

function listConfigResourcesHandler(requests: AllRequests): AnyHandler {
  return handler({
    api: listConfigResources,
    async answer({ resourceTypes }, { version, context }) {
      // Version 0 asks for what clients are to measure, of which there is nothing.
      if (version === 0) return { errorCode: 0, configResources: [] }
      const isWanted = (type: number): boolean => resourceTypes.length === 0 || resourceTypes.includes(type)
      const { topics, brokers } = await requests.ask('metadata', { topics: undefined, createMissing: false }, context)
      const named = [
        ...topics.map(({ topic }) => ({ resourceName: topic, resourceType: RESOURCES.topic })),
        ...brokers.map(({ brokerId }) => ({ resourceName: String(brokerId), resourceType: RESOURCES.broker })),
      ]
      return { errorCode: 0, configResources: named.filter(({ resourceType }) => isWanted(resourceType)) }
    },
    refuse: (_request, { code }) => ({ errorCode: kafkaCode(code), configResources: [] }),
  })
}

function keyOfResource({ resourceType, resourceName }: Resource): string {
  return `${resourceType} ${resourceName}`
}

function describedSetting(setting: DescribedSetting, hasSynonyms: boolean, hasDocumentation: boolean) {
  const { name, value, type, source, isReadOnly, about } = setting
  const configSource = settingSource(source)
  return {
    name,
    value,
    readOnly: isReadOnly,
    configSource,
    isSensitive: type === 'secret',
    synonyms: hasSynonyms && value !== undefined ? [{ name, value, source: configSource }] : [],
    configType: TYPES[type],
    documentation: hasDocumentation ? about : undefined,
  }
}

async function alter(
  requests: AllRequests,
  { resourceType, resourceName }: Resource,
  alteration: () => Alteration,
  { context }: Call,
) {
  const resource = { resourceType, resourceName }
  if (resourceType === RESOURCES.broker) {
    const errorMessage = 'a broker is given its settings when it is started'
    return { errorCode: kafkaCode('INVALID_REQUEST'), errorMessage, ...resource }
  }
  if (resourceType !== RESOURCES.topic) return { ...unknownResource(resourceType), ...resource }
  try {
    await requests.ask('alterTopic', alteration(), context)
    return { errorCode: 0, errorMessage: undefined, ...resource }
  } catch (error) {
    if (!(error instanceof TidemarkError)) throw error
    return { errorCode: error.kafkaCode, errorMessage: error.message, ...resource }
  }
}

/** What is not named goes back to its default. @throws INVALID_CONFIG */
function replacement(
  { resourceName, configs }: RequestOf<typeof alterConfigs>['resources'][number],
  validateOnly: boolean,
): Alteration {
  const set = configs.map(({ name, value }) => [name, valueOf(name, value)] as const)
  return { topic: resourceName, set, remove: [], validateOnly, replaces: true }
}

/** @throws INVALID_CONFIG, INVALID_REQUEST */
function changes(
  { resourceName, configs }: RequestOf<typeof incrementalAlterConfigs>['resources'][number],
  validateOnly: boolean,
): Alteration {
  const names = new Set<string>()
  const twice = configs.find(({ name }) => names.size === names.add(name).size)
  if (twice !== undefined) throw new TidemarkError('INVALID_REQUEST', `${twice.name} is there twice`)
  const unknown = configs.find(({ configOperation }) => !Object.values(OPERATIONS).includes(configOperation))
  if (unknown !== undefined) {
    throw new TidemarkError('INVALID_REQUEST', `there is no operation ${unknown.configOperation} for ${unknown.name}`)
  }
  const valuesOf = (operation: number) => {
    const some = configs.filter(({ configOperation }) => configOperation === operation)
    return some.map(({ name, value }) => [name, valueOf(name, value)] as const)
  }
  const removed = configs.filter(({ configOperation }) => configOperation === OPERATIONS.remove)
  return {
    topic: resourceName,
    set: valuesOf(OPERATIONS.set),
    remove: removed.map(({ name }) => name),
    append: valuesOf(OPERATIONS.append),
    subtract: valuesOf(OPERATIONS.subtract),
    validateOnly,
  }
}

function valueOf(name: string, value: string | undefined): string {
  if (value !== undefined) return value
  throw new TidemarkError('INVALID_CONFIG', `${name} has no value`)
}

function unknownResource(type: number) {
  return { errorCode: kafkaCode('INVALID_REQUEST'), errorMessage: `nothing of type ${type} has settings here` }
}

function refusedWith(code: Parameters<typeof kafkaCode>[0], errorMessage: string) {
  return ({ resourceType, resourceName }: Resource) => ({
    errorCode: kafkaCode(code),
    errorMessage,
    resourceType,
    resourceName,
  })
}

/** One after the other: two changes of one topic must not meet. */
async function inTurn<Item, Result>(items: readonly Item[], work: (item: Item) => Promise<Result>): Promise<Result[]> {
  const results: Result[] = []
  for (const item of items) results.push(await work(item))
  return results
}
