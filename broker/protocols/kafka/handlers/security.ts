// What is asked of brokers that know their clients, and answered as a broker of Kafka's does that does not: clients tell their
// users so at once, where a closed connection would have them try for ever.

import { saslHandshake } from '../17-sasl-handshake.ts'
import { describeAcls } from '../29-describe-acls.ts'
import { kafkaCode } from '../error-mapping.ts'
import { type AnyHandler, handler } from './handler.ts'

export function securityHandlers(): readonly AnyHandler[] {
  return [saslHandshakeHandler(), describeAclsHandler()]
}

function saslHandshakeHandler(): AnyHandler {
  return handler({
    api: saslHandshake,
    answer: () => ({ errorCode: kafkaCode('ILLEGAL_SASL_STATE'), mechanisms: [] }),
    refuse: (_request, { code }) => ({ errorCode: kafkaCode(code), mechanisms: [] }),
  })
}

function describeAclsHandler(): AnyHandler {
  const message = 'there are no access lists here: everybody may do everything'
  return handler({
    api: describeAcls,
    answer: () => ({ errorCode: kafkaCode('SECURITY_DISABLED'), errorMessage: message, resources: [] }),
    refuse: (_request, { code, message: why }) => ({ errorCode: kafkaCode(code), errorMessage: why, resources: [] }),
  })
}
