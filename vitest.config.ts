import { defineConfig } from 'vitest/config'

const isCi = process.env['CI'] === 'true' || process.env['CI'] === '1'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Takes minutes and hundreds of megabytes, so it is run by a name of its own.
    exclude: ['test/ecosystem/**'],
    globalSetup: ['test/setup/global-setup.ts'],
    // Processes, not threads: suites start brokers and servers, and a crash must take one file down, not all.
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 30_000,
    // A test that passes at the second try has failed.
    retry: 0,
    reporters: isCi ? ['default', ['json', { outputFile: '.cache/test-results.json' }]] : ['default'],
  },
})
