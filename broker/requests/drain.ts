// Draining: this broker is to lead nothing that another can lead, and to be given no more replicas. Owns who may be asked;
// where the mark is kept, and what comes of it, is others' business.

import type { RequestOf } from '../../shared/protocol/api.ts'
import { TidemarkError } from '../../shared/errors.ts'
import type { RequestServices } from './request-services.ts'

/** The mark stands when it resolves. @throws INVALID_REQUEST, COORDINATOR_NOT_AVAILABLE while nobody else can be told */
export async function drainBroker(services: RequestServices, request: RequestOf<'drainBroker'>): Promise<void> {
  const { drain, brokerId, logger } = services
  const { broker, isDraining } = request
  if (drain === undefined) {
    throw new TidemarkError('INVALID_REQUEST', 'this broker is alone: nobody else could lead what it leads')
  }
  if (broker !== brokerId) {
    const text = `broker ${broker} keeps the mark by itself, and this is broker ${brokerId}: ask that one`
    throw new TidemarkError('INVALID_REQUEST', text)
  }
  await drain(isDraining)
  logger.info({ isDraining }, isDraining ? 'this broker is drained from now on' : 'this broker is drained no more')
}
