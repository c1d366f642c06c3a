// A short walk through the scenarios of scripts/chaos.ts: processes killed and cut off from each other, with all that clients
// saw judged. Needs the built command and the built script.

import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { describeWithRedis } from '../setup/redis.ts'

const SCRIPT = join(import.meta.dirname, '..', '..', 'dist', 'scripts', 'chaos.js')
const SIZE = ['--seconds', '5', '--records', '2000', '--leader-changes', '1', '--rebalances', '1']

function run(words: readonly string[]): Promise<{ readonly code: number | string; readonly said: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [SCRIPT, ...words], (error, stdout, stderr) => {
      resolve({ code: error?.code ?? 0, said: `${stdout}${stderr}` })
    })
  })
}

describeWithRedis('a cluster shows its clients no anomaly', () => {
  it.each(['kill-majority', 'cut-one-way', 'group-kill-coordinator'])('%s', { timeout: 180_000 }, async (scenario) => {
    expect(existsSync(SCRIPT), 'the script is built').toBe(true)
    const out = await mkdtemp(join(tmpdir(), 'tidemark-chaos-'))
    try {
      const { code, said } = await run(['--only', scenario, '--out', out, ...SIZE])
      expect(said).toMatch(/no anomaly|SKIPPED, network namespaces/)
      expect(code).toBe(0)
    } finally {
      await rm(out, { recursive: true, force: true })
    }
  })
})
