// Plays of a cluster: each file of test/scripts holds its commands and what comes of them. `npx vitest run
// test/replication/plays.test.ts -u` writes them anew, and the difference is to be read.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { play } from './play.ts'

const DIRECTORY = join(import.meta.dirname, '../scripts')

describe('a play of a cluster goes as it is written', () => {
  it.each(readdirSync(DIRECTORY))('%s', async (name) => {
    const path = join(DIRECTORY, name)
    const played = play(readFileSync(path, 'utf8'))
    expect(played).not.toContain('\n! ')
    await expect(played).toMatchFileSnapshot(path)
  })
})
