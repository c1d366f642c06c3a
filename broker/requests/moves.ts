import type { RequestOf, ResponseOf } from '../../shared/protocol/api.ts'
import { TidemarkError } from '../../shared/errors.ts'
import type { RequestServices } from './request-services.ts'

export class MoveRequests {
  readonly #services: RequestServices

  constructor(services: RequestServices) {
    this.#services = services
  }

  movePartitions(_request: RequestOf<'movePartitions'>): Promise<ResponseOf<'movePartitions'>> {
    throw new TidemarkError('INVALID_REQUEST', `broker ${this.#services.brokerId} cannot move partitions yet`)
  }

  decommissionBroker(_request: RequestOf<'decommissionBroker'>): Promise<ResponseOf<'decommissionBroker'>> {
    throw new TidemarkError('INVALID_REQUEST', `broker ${this.#services.brokerId} cannot move partitions yet`)
  }
}
