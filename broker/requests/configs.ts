// The settings of topics and of this broker, with what they are, who set them and what they mean.

import type { ErrorCode } from '../../shared/errors.ts'
import type { ConfigsRequest, DescribedResource, DescribedSetting } from './other-requests.ts'
import type { BrokerSetting, RequestServices } from './request-services.ts'
import { NO_ERROR, outcomeOf, refused } from './outcome.ts'

type Resource = ConfigsRequest['resources'][number]

export function describeConfigs(services: RequestServices, request: ConfigsRequest): readonly DescribedResource[] {
  return request.resources.map((resource) => {
    const described = resource.kind === 'topic' ? ofTopic(services, resource) : ofBroker(services, resource)
    const { settings } = resource
    if (settings === undefined) return described
    return { ...described, settings: described.settings.filter(({ name }) => settings.includes(name)) }
  })
}

function ofTopic(services: RequestServices, { name }: Resource): DescribedResource {
  const topic = services.coordinator.topics.byName(name)
  if (topic === undefined) return refusedResource('UNKNOWN_TOPIC_OR_PARTITION', `there is no topic ${name}`)
  try {
    const settings = services.partitions.describeConfig(topic.config).map((setting): DescribedSetting => {
      const { value, source, about, type } = setting
      const kind = type === 'number' ? 'integer' : type === 'choice' ? 'string' : type
      return { name: setting.name, value, type: kind, source, isReadOnly: false, about }
    })
    return { ...NO_ERROR, settings }
  } catch (error) {
    return { ...outcomeOf(error, services.logger), settings: [] }
  }
}

/** Those of the broker that is asked: every broker is started with its own. */
function ofBroker(services: RequestServices, { name }: Resource): DescribedResource {
  if (name === '') return { ...NO_ERROR, settings: [] }
  if (name !== String(services.brokerId)) {
    return refusedResource(
      'INVALID_REQUEST',
      `this is broker ${services.brokerId}; ask broker ${name} for its settings`,
    )
  }
  const settings = services.settings?.() ?? []
  return { ...NO_ERROR, settings: settings.map(settingOf) }
}

function settingOf({ name, value, isDefault, isSecret, about }: BrokerSetting): DescribedSetting {
  const type = isSecret ? 'secret' : typeOf(value)
  const source = isDefault ? 'default' : 'broker'
  const text = value === undefined || isSecret ? undefined : String(value)
  return { name, value: text, type, source, isReadOnly: true, about }
}

function typeOf(value: BrokerSetting['value']): 'boolean' | 'integer' | 'string' {
  if (typeof value === 'boolean') return 'boolean'
  return typeof value === 'number' ? 'integer' : 'string'
}

function refusedResource(error: ErrorCode, message: string): DescribedResource {
  return { ...refused(error, message), settings: [] }
}
