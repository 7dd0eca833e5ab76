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
    // A machine that is busy with other things is slow, not wrong; what hangs, hangs for longer.
    testTimeout: 300_000,
    hookTimeout: 300_000,
  },
});
