// How far long work has come, on the error stream, and only where a person looks at it.

import type { CommandContext } from './command.ts'

export interface Progress {
  update(done: number): void
  /** Takes the bar away. Idempotent. */
  stop(): void
}

const SILENT: Progress = { update: () => undefined, stop: () => undefined }

/** A bar from 0 to total; nothing with --quiet or where the error stream is no terminal. */
export async function startProgress(context: CommandContext, what: string, total: number): Promise<Progress> {
  if (!process.stderr.isTTY || context.arguments.isOn('quiet') || total <= 0) return SILENT
  const { default: progress } = await import('cli-progress')
  const bar = new progress.SingleBar(
    {
      format: `${what} {percentage}% {bar} {value}/{total} {eta_formatted}`,
      stream: process.stderr,
      clearOnComplete: true,
      hideCursor: true,
      fps: 8,
    },
    progress.Presets.rect,
  )
  bar.start(total, 0)
  return { update: (done) => bar.update(Math.min(done, total)), stop: () => bar.stop() }
}
