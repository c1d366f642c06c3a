// The daemon: one broker, its log, and the signals that stop it. Owns the line that says it is ready, the order of log and
// broker, and the exit code; knows nothing of what a broker does.
//
// The first SIGTERM or SIGINT stops in order and ends with 0, also when it comes while the broker is still starting. The
// second one ends at once. What nobody has caught ends the process without marking the data directory as closed in order,
// so that the next start looks at it again.

import type { Address, BrokerSettings } from './config.ts'
import type { GatheredSettings } from './config-file.ts'
import type { Log } from './log.ts'
import { createBroker, type Broker } from './broker.ts'
import { describeOptions, propertyName } from './config.ts'
import { systemEnvironment } from './environment.ts'
import { createLog } from './log.ts'

const EXIT_AT_ONCE = { SIGINT: 130, SIGTERM: 143 } as const
type StopSignal = keyof typeof EXIT_AT_ONCE

/** Runs until it is stopped; resolves with the exit code. @throws TidemarkError when the broker cannot start */
export async function runDaemon(settings: GatheredSettings): Promise<number> {
  const { options, warnings } = settings
  const log = await createLog({ level: options.logLevel, format: options.logFormat })
  try {
    for (const warning of warnings) log.warn({}, warning)
    const effective = describeOptions(settings).map(({ name, value }) => [name, value] as const)
    log.info({ pid: process.pid, node: process.version, settings: Object.fromEntries(effective) }, 'starting')
    return await serve(settings, log)
  } finally {
    await log.flush()
  }
}

async function serve(settings: GatheredSettings, log: Log): Promise<number> {
  const stopAsked = new Promise<StopSignal>((resolve) => {
    const onSignal = (signal: StopSignal): void => {
      process.off('SIGINT', onSignal).off('SIGTERM', onSignal)
      resolve(signal)
      const atOnce = (second: StopSignal): void => {
        log.warn({ signal: second }, 'stopping at once; the next start will recover')
        endWith(EXIT_AT_ONCE[second], log)
      }
      process.on('SIGINT', atOnce).on('SIGTERM', atOnce)
    }
    process.on('SIGINT', onSignal).on('SIGTERM', onSignal)
  })
  endOnWhatNobodyCaught(log)
  const broker = await createBroker(systemEnvironment(), givenSettings(settings), { logger: log })
  sayReady(broker)
  const signal = await stopAsked
  log.info({ signal }, 'stopping')
  await broker.stop()
  log.info({}, 'stopped')
  return 0
}

/** The one line that whoever started the daemon waits for. */
function sayReady(broker: Broker): void {
  // Whoever read the line may be gone by now, which is nothing to die of.
  process.stdout.on('error', () => undefined)
  const http = broker.http === undefined ? 'off' : addressText(broker.http)
  process.stdout.write(
    `tidemark ready listen=${addressText(broker.listen)} http=${http} broker=${broker.brokerId} cluster=${broker.cluster}\n`,
  )
}

function endOnWhatNobodyCaught(log: Log): void {
  const end = (error: unknown): void => {
    log.error({ error }, 'the broker met an error that nobody has caught; ending')
    endWith(1, log)
  }
  process.on('uncaughtException', end)
  process.on('unhandledRejection', end)
}

/** Ends the process as soon as the log has been written, whatever else is going on. */
function endWith(code: number, log: Log): void {
  const end = (): void => process.exit(code)
  log.flush().then(end, end)
}

function givenSettings({ options, given }: GatheredSettings): BrokerSettings {
  const values: Readonly<Record<string, unknown>> = { ...options }
  return Object.fromEntries([...given].map((name) => [propertyName(name), values[propertyName(name)]]))
}

function addressText({ host, port }: Address): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}
