// Whoever imports only the client must not pay for the broker's packages. The compiled client is imported in a process
// of its own, which records each module that is asked for, by import and by require.

import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'

const run = promisify(execFile)
const ENTRY = join(import.meta.dirname, '../../dist/client/index.js')
const FOREIGN = ['ioredis', 'prom-client', 'yargs', 'pino', 'hono', 'yaml'] as const

const HOOKS = `
  import { writeSync } from 'node:fs'
  export async function resolve(specifier, context, next) {
    const resolved = await next(specifier, context)
    writeSync(1, resolved.url + '\\n')
    return resolved
  }`

/** The URLs and paths of all modules that a process loads for one import. */
async function modulesLoadedBy(entry: string): Promise<readonly string[]> {
  const script = `
    import { createRequire, register } from 'node:module'
    register(${JSON.stringify(`data:text/javascript,${encodeURIComponent(HOOKS)}`)})
    await import(${JSON.stringify(entry)})
    console.log(Object.keys(createRequire(import.meta.url).cache ?? {}).join('\\n'))`
  const { stdout } = await run(process.execPath, ['--no-warnings', '--input-type=module', '--eval', script], {
    cwd: join(import.meta.dirname, '../..'),
  })
  return stdout.split('\n').filter((line) => line !== '')
}

function foreignAmong(modules: readonly string[]): readonly string[] {
  return FOREIGN.filter((name) => modules.some((module) => module.includes(`/node_modules/${name}/`)))
}

it.skipIf(!existsSync(ENTRY))(
  'the compiled client loads none of the packages of the broker (skipped: no dist/)',
  async () => {
    const modules = await modulesLoadedBy(pathToFileURL(ENTRY).href)
    expect(modules).toContain(pathToFileURL(ENTRY).href)
    expect(foreignAmong(modules)).toEqual([])
    expect(modules.filter((module) => module.includes('/dist/broker/'))).toEqual([])
  },
)

it('a package of the broker would be noticed, imported or required', async () => {
  expect(foreignAmong(await modulesLoadedBy('yargs'))).toContain('yargs')
  const requiring = "import { createRequire } from 'node:module'; createRequire(process.cwd() + '/x.js')('ioredis')"
  const modules = await modulesLoadedBy(`data:text/javascript,${encodeURIComponent(requiring)}`)
  expect(foreignAmong(modules)).toContain('ioredis')
})
