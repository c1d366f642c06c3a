// Which names a topic may have: Kafka's rule, so that a name that is good here is good everywhere.

import { TOPIC_NAME_LENGTH_MAX } from '../../shared/limits.ts'

const LEGAL = /^[a-zA-Z0-9._-]+$/

/** Why a topic cannot have the name; undefined when it can. */
export function topicNameFault(name: string): string | undefined {
  if (name === '') return 'a topic name is not empty'
  if (name === '.' || name === '..') return `a topic cannot be named '${name}'`
  if (name.length > TOPIC_NAME_LENGTH_MAX) {
    return `the topic name has ${name.length} characters, at most ${TOPIC_NAME_LENGTH_MAX} are allowed`
  }
  if (!LEGAL.test(name)) return `topic name ${JSON.stringify(name)}: only letters, digits, '.', '_' and '-' are allowed`
  return undefined
}
