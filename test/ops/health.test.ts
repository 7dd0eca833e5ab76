/** What health names, and when work should be sent here. */
import { expect, test } from 'vitest';
import { type HealthFacts, healthOf, isReady } from '../../src/ops/health.ts';

const WELL: HealthFacts = {
  node: 'n1',
  version: '0.1.0',
  startedAt: 1_000,
  roles: ['edge', 'host'],
  rolesUp: ['edge', 'host'],
  isConnected: true,
  refusedServer: null,
  isStopping: false,
  isRelaxed: false,
  silent: [],
  disk: { freeBytes: 1e12, isLow: false },
  blocked: [],
  quarantined: [],
};

test('a node with nothing wrong is ok and ready', () => {
  expect(healthOf(WELL, 3_000)).toMatchObject({
    status: 'ok',
    isReady: true,
    uptimeMs: 2_000,
    problems: [],
  });
});

test.each<[string, Partial<HealthFacts>, RegExp, boolean]>([
  ['NATS is away', { isConnected: false }, /NATS is away/, false],
  ['a nats-server is too old', { refusedServer: 'nats-server 2.9.10 is too old' }, /2.9.10/, true],
  ['a role has not started', { rolesUp: ['edge'] }, /not started yet: host/, false],
  ['the disk is nearly full', { disk: { freeBytes: 9e6, isLow: true } }, /only 9 MB/, true],
  ['a list is blocked', { blocked: ['dev@example.org'] }, /dev@example.org/, true],
  ['a route is away', { openRoutes: ['mta1', 'mta2'] }, /mta1, mta2/, true],
  ['no route carries mail', { hasNoRoute: true }, /it waits/, true],
  ['a list is set aside', { quarantined: ['dev@example.org'] }, /set aside/, true],
])('%s: it is named, with the next step', (_, facts, what, ready) => {
  const { status, problems, isReady } = healthOf({ ...WELL, ...facts }, 3_000);
  expect(status).toBe('degraded');
  expect(isReady).toBe(ready);
  expect(problems).toHaveLength(1);
  expect(problems[0]?.what).toMatch(what);
  expect(problems[0]?.nextStep).not.toBe('');
});

test('a node that stops is not ready, and that is no problem', () => {
  const stopping = { ...WELL, rolesUp: [], isStopping: true };
  expect(isReady(stopping)).toBe(false);
  expect(healthOf(stopping, 3_000).problems).toEqual([]);
});

test('of a thousand blocked lists a few are named and the rest counted', () => {
  const blocked = Array.from({ length: 1_000 }, (_, i) => `l${i}@example.org`);
  const { problems } = healthOf({ ...WELL, blocked }, 3_000);
  expect(problems[0]?.what).toContain('l4@example.org and 995 more lists');
});
