// What the package offers to whoever runs a broker in a process of their own: `import { createBroker } from 'tidemark/broker'`.

export type { Address, BrokerOptions, BrokerSettings, OptionDescription } from './config.ts'
export type { OptionRow } from './option-table.ts'
export { OPTIONS } from './config.ts'
export type { Broker, BrokerServices } from './broker.ts'
export { createBroker } from './broker.ts'
export type { Environment } from './environment.ts'
export { systemEnvironment } from './environment.ts'
export type { Logger } from '../shared/logger.ts'
export { silentLogger } from '../shared/logger.ts'
export type { ErrorCode } from '../shared/errors.ts'
export { TidemarkError } from '../shared/errors.ts'
