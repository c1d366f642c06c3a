// Builds dist/ from the sources. Plain JavaScript, because it runs before anything has been compiled: `prepare` calls
// it at the end of `npm ci`. With --if-possible a missing compiler is said and skipped, so that an installation without
// development dependencies ends well; whoever asked for a build by name gets an error instead.
// Owns: the compiler run, removal of outputs whose source is gone, the executable bit of the command.

import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const output = join(root, 'dist')

const compiler = findCompiler()
if (compiler === undefined) {
  if (process.argv.includes('--if-possible')) {
    console.error('tidemark: TypeScript is not installed, so dist/ is not built; run `npm ci` for a working checkout')
    process.exit(0)
  }
  console.error('tidemark: cannot build without TypeScript; run `npm ci` first')
  process.exit(1)
}

const result = spawnSync(process.execPath, [compiler, '--project', root], { cwd: root, stdio: 'inherit' })
if (existsSync(output)) removeOrphans(output)
for (const command of commands()) if (existsSync(command)) chmodSync(command, 0o755)
process.exit(result.status ?? 1)

function findCompiler() {
  const require = createRequire(join(root, 'package.json'))
  try {
    const manifest = require.resolve('typescript/package.json')
    return join(dirname(manifest), require(manifest).bin.tsc)
  } catch (error) {
    if (error.code === 'MODULE_NOT_FOUND') return undefined
    throw error
  }
}

// The compiler never deletes: without this, a file that was renamed would stay importable, and be published, for ever.
function removeOrphans(directory) {
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name)
    if (entry.isDirectory()) removeOrphans(path)
    const compiled = /^(.*?)(\.d)?\.[jt]s(\.map)?$/.exec(relative(output, path))
    if (entry.isFile() && compiled !== null && !existsSync(join(root, `${compiled[1]}.ts`)))
      rmSync(path, { force: true })
  }
}

function commands() {
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  return Object.values(manifest.bin).map((path) => join(root, path))
}
