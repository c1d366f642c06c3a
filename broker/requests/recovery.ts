import type { RequestOf, ResponseOf } from '../../shared/protocol/api.ts'
import { TidemarkError } from '../../shared/errors.ts'
import type { RequestServices } from './request-services.ts'

export function recoverPartition(
  services: RequestServices,
  _request: RequestOf<'recoverPartition'>,
): Promise<ResponseOf<'recoverPartition'>> {
  throw new TidemarkError('INVALID_REQUEST', `broker ${services.brokerId} cannot recover partitions yet`)
}
