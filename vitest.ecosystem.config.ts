// Programs of Kafka's ecosystem against tidemark. It is no part of `npm test`, because it takes minutes and fetches hundreds of
// megabytes: `npm run test:ecosystem`.

import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/ecosystem/**/*.test.ts'],
    globalSetup: ['test/setup/global-setup.ts'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 120_000,
    retry: 0,
  },
})
