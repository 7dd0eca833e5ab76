/** What `/metrics` says, and that no name is counted that it does not know. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { COUNTERS, DURATIONS } from '../../src/ops/metric-names.ts';
import { createMetrics, type Gathered, LABEL_SETS_MAX } from '../../src/ops/metrics.ts';

const SRC = join(import.meta.dirname, '../../src');

function metrics(gather: () => Promise<Gathered> = async () => ({}), isStrict = true) {
  return createMetrics({ clock: systemClock, gather, isStrict });
}

const lineOf = (page: string, start: string): string | undefined =>
  page.split('\n').find((line) => line.startsWith(start));

describe('counting', () => {
  test('comes out under the full name, with labels', async () => {
    const { meter, page } = metrics();
    meter.count('edge_accepted', { protocol: 'smtp' });
    meter.count('edge_accepted', { protocol: 'smtp' }, 2);
    meter.observe('turn_ms', 3);
    const text = await page();
    expect(lineOf(text, 'troupe_edge_accepted_total{')).toBe(
      'troupe_edge_accepted_total{protocol="smtp"} 3',
    );
    expect(lineOf(text, 'troupe_turn_seconds_sum')).toBe('troupe_turn_seconds_sum 0.003');
  });

  test.each([
    ['a name that is in no table', 'nonsense', {}, 1],
    ['a label that is in no table', 'turn_ms', { list: 'x' }, 1],
    ['a label of a counter without any', 'mailbox_put_off', { list: 'x' }, 1],
    ['a number that is none', 'mailbox_put_off', {}, Number.NaN],
  ])('%s is a bug in tests, and only counted in production', async (_, name, labels, by) => {
    const add = name.endsWith('_ms') ? 'observe' : 'count';
    const call = ({ meter }: ReturnType<typeof metrics>): void => {
      if (add === 'observe') meter.observe(name, by, labels);
      else meter.count(name, labels, by);
    };
    expect(() => call(metrics())).toThrow(/metric/);
    const production = metrics(undefined, false);
    call(production);
    expect(lineOf(await production.page(), 'troupe_metrics_unknown_total')).toMatch(/ 1$/);
  });

  test('a label whose values never end is cut off: memory has a bound', async () => {
    const { meter, page } = metrics();
    for (let i = 0; i < 3 * LABEL_SETS_MAX; i++) {
      meter.count('edge_refused', { protocol: 'smtp', code: String(i) });
    }
    const lines = (await page())
      .split('\n')
      .filter((l) => l.startsWith('troupe_edge_refused_total{'));
    expect(lines).toHaveLength(LABEL_SETS_MAX + 1);
    expect(lines).toContain(
      `troupe_edge_refused_total{protocol="other",code="other"} ${2 * LABEL_SETS_MAX}`,
    );
  });
});

describe('what is gathered on a scrape', () => {
  test('depths and ages of queues, parked messages and streams', async () => {
    const now = Date.now();
    const { page } = metrics(async () => ({
      queues: [{ name: 'mail.post', waiting: 3, inHand: 1, oldestAt: now - 5_000 }],
      parked: new Map([['incoming', 2]]),
      streams: [
        {
          name: 'TROUPE_MAIL',
          messages: 1,
          bytes: 10,
          bytesMax: 100,
          replicas: 1,
          leader: '',
          sick: [],
        },
      ],
      isConnected: true,
    }));
    const text = await page();
    expect(lineOf(text, 'troupe_queue_waiting{')).toBe('troupe_queue_waiting{queue="mail.post"} 3');
    const age = Number(lineOf(text, 'troupe_queue_oldest_seconds{')?.split(' ').at(-1));
    expect(age).toBeGreaterThanOrEqual(5);
    expect(lineOf(text, 'troupe_parked{')).toBe('troupe_parked{where="incoming"} 2');
    expect(lineOf(text, 'troupe_stream_bytes_max{')).toBe(
      'troupe_stream_bytes_max{stream="TROUPE_MAIL"} 100',
    );
    expect(lineOf(text, 'troupe_nats_connected')).toBe('troupe_nats_connected 1');
    expect(text).toContain('troupe_process_cpu_seconds_total');
  });

  test('each route as it is now, and not what it was before or what is taken away', async () => {
    const connections = { open: 5, idle: 2, max: 8 };
    const figures = { role: 'primary', weight: 3, share: 0.5, inHand: 4, waiting: 1, connections };
    let routes = [
      { ...figures, name: 'a', mode: 'closed' },
      { ...figures, name: 'b', mode: 'open', share: 0 },
    ];
    let ms = 0;
    const clock = { now: () => ms, monotonic: () => ms };
    const { page } = createMetrics({ clock, gather: async () => ({ routes }) });
    const lines = async () =>
      (await page()).split('\n').filter((line) => line.startsWith('troupe_route_'));
    const before = await lines();
    expect(before).toContain('troupe_route_state{route="b",state="open",role="primary"} 1');
    expect(before).toContain('troupe_route_share{route="a"} 0.5');
    expect(before).toContain('troupe_route_connections_in_use{route="a"} 3');
    routes = [{ ...figures, name: 'b', mode: 'closed' }];
    ms += 1_000;
    const after = await lines();
    expect(after).toHaveLength(before.length / 2);
    expect(after).toContain('troupe_route_state{route="b",state="closed",role="primary"} 1');
  });

  test('a scrape while NATS is away still answers, and says so', async () => {
    const { page } = metrics(async () => {
      throw new Error('away');
    });
    expect(lineOf(await page(), 'troupe_nats_connected')).toBe('troupe_nats_connected 0');
  });

  test('what is no longer parked is no longer shown', async () => {
    let parked = new Map([['incoming', 2]]);
    let ms = 0;
    const clock = { now: () => ms, monotonic: () => ms };
    const { page } = createMetrics({ clock, gather: async () => ({ parked }) });
    expect(await page()).toContain('where="incoming"');
    parked = new Map();
    expect(await page(), 'within a second what was gathered is shared').toContain('incoming');
    ms += 1_000;
    expect(await page()).not.toContain('where="incoming"');
  });
});

test('every name that the source counts or times under is in the table', () => {
  const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' }).filter((f) =>
    f.endsWith('.ts'),
  );
  const used = { count: new Set<string>(), observe: new Set<string>() };
  for (const file of files) {
    const text = readFileSync(join(SRC, file), 'utf8');
    // A name that is put together: each ending must be one that the table has.
    for (const [, prefix] of text.matchAll(/[mM]eter\.count\(`([a-z_]+)\$\{/g)) {
      expect(Object.keys(COUNTERS).some((name) => name.startsWith(prefix ?? '?'))).toBe(true);
    }
    for (const [, how, name] of text.matchAll(/[mM]eter\.(count|observe)\(\s*'([a-z_]+)'/g)) {
      used[how === 'count' ? 'count' : 'observe'].add(name ?? '');
    }
  }
  expect(used.count.size).toBeGreaterThan(5);
  expect([...used.count].filter((name) => COUNTERS[name] === undefined)).toEqual([]);
  expect([...used.observe].filter((name) => DURATIONS[name] === undefined)).toEqual([]);
});
