// A compacted topic by the command alone. Needs the built command.

import { expect, it } from 'vitest'
import { run, startDaemon, temporaryDirectory } from './tidemark-process.ts'

it('makes a compacted topic, and shows its settings', async () => {
  const directory = temporaryDirectory()
  const bounds = ['--compaction-interval-ms', '20', '--compaction-memory-bytes', '1MiB']
  const daemon = await startDaemon(directory.path, [...bounds, '--compaction-bytes-per-second', '1000000'])
  try {
    const command = (...words: string[]): ReturnType<typeof run> => run([...words, '-b', daemon.brokers])
    const policy = ['--config', 'cleanup.policy=compact', '--config', 'delete.retention.ms=1000']
    expect((await command('topic', 'create', 'state', ...policy)).code).toBe(0)
    const { stdout } = await command('topic', 'describe', 'state')
    expect(stdout).toMatch(/^cleanup\.policy +compact +topic /m)
    expect(stdout).toMatch(/^delete\.retention\.ms +1000 +topic /m)
    const refused = await command('topic', 'create', 'other', '--config', 'cleanup.policy=compress')
    expect(refused.stderr).toContain('cleanup.policy="compress" is not allowed')
    expect(refused.code).not.toBe(0)
  } finally {
    daemon.process.child.kill('SIGKILL')
    await daemon.process.finished()
    directory.remove()
  }
})
