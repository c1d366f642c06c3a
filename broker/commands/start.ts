// `tidemark start`: gathers the settings and becomes the daemon.

import type { CommandContext } from './command.ts'
import { gatherSettings } from '../config-file.ts'
import { runDaemon } from '../main.ts'
import { splitPair } from './command.ts'

/** Flags of this command that are no settings of the broker. */
const OWN_FLAGS: ReadonlySet<string> = new Set(['config', 'set', 'verbose', 'quiet'])

export async function start(context: CommandContext): Promise<number> {
  const { arguments: args, environment } = context
  const given = args.entries().filter(([name]) => !OWN_FLAGS.has(name))
  const pairs = args.list('set').map((pair) => splitPair(pair, '--set'))
  const settings = await gatherSettings({ flags: [...given, ...pairs], environment, configFile: args.text('config') })
  return await runDaemon(settings)
}
