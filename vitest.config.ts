import { defineConfig } from 'vitest/config';

/** Quick tests run in `npm run verify`; the slow ones (whole program, faults, Postfix) in `npm test`. */
const SLOW = [
  'test/system/**',
  'test/faults/**',
  'test/crashlab/**',
  'test/simulation/**',
  'test/examples/**',
];

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    exclude: process.env.TROUPE_TEST === 'quick' ? SLOW : [],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 120_000,
    hookTimeout: 180_000,
  },
});
