/** What the doctor makes of answers: each fault is named, with the list or stream and the next step. */
import { describe, expect, test } from 'vitest';
import type { Check } from '../../src/cli/checks.ts';
import { healthOf, syncOf } from '../../src/cli/doctor-nats.ts';
import { ofNode, ofSlots } from '../../src/cli/doctor-nodes.ts';
import type { SlotRow } from '../../src/cli/places.ts';

const told = (checks: readonly Check[], level: Check['level']): string[] =>
  checks.filter((check) => check.level === level).map(({ what, text }) => `${what}: ${text}`);

describe('a node', () => {
  const answer = { node: 'n1', asOf: 100_000, diskFreeBytes: 1e12 };

  test('that is well has nothing to mend', () => {
    expect(ofNode(answer, 100_000, 10).map(({ level }) => level)).toEqual(['ok', 'ok']);
  });

  test('whose clock is off is told, but not for the time that its answer took', () => {
    expect(told(ofNode(answer, 95_000, 10), 'warn')).toEqual([
      'clock: n1 is 5s ahead of this machine: see that both keep time',
    ]);
    expect(told(ofNode(answer, 105_000, 10), 'warn')[0]).toContain('behind this machine');
    expect(told(ofNode(answer, 95_000, 8_000), 'warn')).toEqual([]);
  });

  test('names its blocked lists and those set aside, with what to do', () => {
    const sick = {
      ...answer,
      blocked: ['dev@example.org'],
      quarantined: [{ list: 'ops@example.org', why: 'record 4 does not follow' }],
      problems: ['NATS is away'],
    };
    const [blocked, aside] = told(ofNode(sick, 100_000, 10), 'fail');
    expect(blocked).toMatch(/^lists: dev@example.org is blocked.*troupe inspect list dev@/);
    expect(aside).toMatch(/^lists: ops@example.org is set aside on n1 \(record 4.*--repair ops@/);
    expect(told(ofNode(sick, 100_000, 10), 'warn')).toEqual(['node: n1: NATS is away']);
  });

  test('without room is told', () => {
    expect(told(ofNode({ ...answer, diskFreeBytes: 1e8 }, 100_000, 10), 'fail')[0]).toContain(
      'free on node n1: new work is refused',
    );
  });
});

describe('slots', () => {
  const slot = (number: number, owner: string | null, shouldOwn = 'a'): SlotRow => ({
    slot: number,
    owner,
    since: 1,
    shouldOwn,
    next: null,
    lists: 0,
    epoch: 1,
  });

  test('without an owner are named, and not all of them', () => {
    const all = Array.from({ length: 64 }, (_, i) => slot(i, i < 60 ? null : 'a'));
    expect(told(ofSlots(all), 'fail')[0]).toContain(
      'nobody owns 0, 1, 2, 3, 4, 5, 6, 7 and 52 more',
    );
  });

  test('on their way to another node are counted', () => {
    expect(told(ofSlots([slot(0, 'a'), slot(1, 'b')]), 'ok')).toEqual([
      'slots: each of 2 has an owner; 1 are to be handed over',
    ]);
  });
});

describe('how a server syncs', () => {
  test('is right, wrong, or not seen; and that is not to be well', () => {
    const at = 'http://10.0.0.1:8222';
    expect(syncOf(at, { name: 'nats-1', isAlways: true })).toMatchObject({ level: 'ok' });
    expect(told([syncOf(at, { name: 'nats-1', isAlways: false })], 'fail')[0]).toMatch(
      /^sync: nats-1 lacks `sync_interval: always`/,
    );
    expect(told([syncOf(at, null)], 'warn')[0]).toMatch(/^sync: not seen: nothing says at http:/);
  });
});

describe('a stream', () => {
  const well = {
    name: 'TROUPE_MAIL',
    messages: 1,
    bytes: 10,
    bytesMax: 100,
    replicas: 3,
    leader: 'n1',
    sick: [],
  };

  test('that is well has nothing to mend', () => {
    expect(healthOf(well, true)).toEqual([]);
    expect(healthOf({ ...well, replicas: 1, leader: '' }, false)).toEqual([]);
  });

  test('is told when full, without a leader, with too few copies or a sick one', () => {
    const sick = { ...well, bytes: 90, leader: null, replicas: 1, sick: ['nats-2'] };
    const texts = healthOf(sick, true).map(({ level, text }) => `${level} ${text}`);
    expect(texts).toEqual([
      'warn TROUPE_MAIL is 90 % full (100 B)',
      'fail TROUPE_MAIL has no leader: see that most nats-servers run',
      expect.stringContaining('TROUPE_MAIL has 1 of 3 copies'),
      'warn TROUPE_MAIL: the copies on nats-2 are offline or behind',
    ]);
  });
});
