/** A chunk and several routes: what becomes of it when the one it was given to fails. */
import { afterEach, expect, test } from 'vitest';
import type { RouteConfig, RoutingConfig } from '../../src/config.ts';
import type { Cooked } from '../../src/mail/cook.ts';
import { DELAYS, LIFE_MS } from '../../src/runners/retry-schedule.ts';
import type { Routes } from '../../src/smtp/routes.ts';
import { createFakeClock } from '../support/fake/clock.ts';
import { createFakeJournal } from '../support/fake/journal.ts';
import { createFakeKv } from '../support/fake/kv.ts';
import { createFakeSmtp, type FakeSmtp } from '../support/fake/smtp.ts';
import { chunkOf, member, outgoingStory } from '../support/outgoing-story.ts';
import { openTestRoutes, routeOf } from '../support/routes.ts';

const opened: Routes[] = [];
afterEach(() => {
  for (const routes of opened.splice(0)) routes.stop();
});

const CLOSING = { code: 421, status: '4.3.2', reply: 'closing' };

const start = (...file: readonly RouteConfig[]) => startWith([], ...file);

async function startWith(rules: RoutingConfig['rules'], ...file: readonly RouteConfig[]) {
  const clock = createFakeClock();
  const mtas = new Map(file.map(({ name }) => [name, createFakeSmtp()]));
  const mta = (name: string): FakeSmtp => mtas.get(name) ?? createFakeSmtp();
  const kv = createFakeKv();
  const routes = await openTestRoutes(({ name }) => mta(name), clock, {
    ...{ file, kv },
    routing: { strategy: 'weighted', rules },
  });
  opened.push(routes);
  const { journal } = createFakeJournal(clock);
  const story = outgoingStory({ route: routes, journal, clock });
  const sent = (): string[] =>
    [...mtas.values()].flatMap(({ mails }) => mails.flatMap((mail) => mail.recipients));
  return { ...story, mta, sent, clock, routes, kv, journal };
}

/** The weights make it the first by far. */
const FIRST = routeOf('first', { weight: 1_000, connections: 1 });
const SECOND = routeOf('second', { connections: 1 });
const everybody = (members: number): string[] =>
  Array.from({ length: members }, (_, n) => member(n));

test('a route that dies in the middle: the rest goes by another at once, nobody twice, and both are told', async () => {
  const { mta, sent, dispose, result, later } = await start(FIRST, SECOND);
  mta('first').rule = (to) => {
    if (to !== member(3)) return null;
    mta('first').isDown = true;
    return 'lost before';
  };
  const chunk = chunkOf(10);
  expect(await dispose(chunk)).toEqual({ kind: 'done' });
  expect(sent().sort()).toEqual(everybody(10).sort());
  expect([mta('first').mails.length, mta('second').mails.length]).toEqual([3, 7]);
  expect(result(chunk)).toMatchObject({ deferred: [], refused: [] });
  const by = (name: string): string[] => mta(name).mails.flatMap((mail) => mail.recipients);
  const told = Map.groupBy(result(chunk)?.accepted ?? [], ([, , { route }]) => route);
  for (const name of ['first', 'second']) {
    const numbers = chunk.to.flatMap(([number, to]) => (by(name).includes(to) ? [number] : []));
    expect(told.get(name)?.map(([number]) => number)).toEqual(numbers);
  }
  expect(later.size).toBe(0);
});

test('who is answered 421 each time is heard by another route, and waits only if that says so too', async () => {
  const { mta, sent, dispose, result, later } = await start(FIRST, SECOND);
  mta('first').rule = (to) => (to === member(1) || to === member(2) ? CLOSING : null);
  mta('second').rule = (to) => (to === member(2) ? CLOSING : null);
  const chunk = chunkOf(4);
  await dispose(chunk);
  expect(sent().sort()).toEqual([member(0), member(1), member(3)]);
  expect(result(chunk)?.deferred).toMatchObject([{ number: 7, code: 421 }]);
  expect([...later.values()].flatMap((next) => next.chunk.to).map(([number]) => number)).toEqual([
    7,
  ]);
});

test('a dot that an MTA died at is sent by another at once; one that it only lost a connection at waits', async () => {
  const { mta, dispose, result, later } = await start(FIRST, SECOND);
  mta('first').rule = (to) => (to === member(1) ? 'lost after' : null);
  await dispose(chunkOf(3));
  expect(result(chunkOf(3))?.deferred).toMatchObject([{ number: 4, code: 0 }]);
  later.clear();
  mta('first').rule = (to) => {
    if (to !== member(1)) return null;
    mta('first').isDown = true;
    return 'lost after';
  };
  const next = chunkOf(3, { post: '8' });
  await dispose(next);
  expect(result(next)?.deferred).toEqual([]);
  expect(result(next)?.accepted.map(([number, , { route }]) => [number, route])).toEqual([
    [1, 'first'],
    [4, 'second'],
    [7, 'second'],
  ]);
  expect(mta('second').mails.flatMap(({ recipients }) => recipients)).toContain(member(1));
  expect(later.size).toBe(0);
});

test('with no route left it waits, longer each time, in the lowest class, and goes out when one is back', async () => {
  const { mta, sent, dispose, later, clock } = await start(FIRST, SECOND);
  for (const name of ['first', 'second']) mta(name).isDown = true;
  let chunk = chunkOf(3, {}, clock.now());
  const delays: number[] = [];
  for (let attempt = 0; attempt < 6; attempt += 1) {
    expect(await dispose(chunk)).toEqual({ kind: 'done' });
    const [next] = later.values();
    later.clear();
    if (next === undefined) throw new Error('nothing waits');
    expect(next.chunk).toMatchObject({ class: 'retry', try: attempt + 1, to: chunk.to });
    delays.push(next.at - clock.now());
    await clock.advance(next.at - clock.now());
    chunk = next.chunk;
  }
  for (const [i, delay] of delays.slice(1).entries()) expect(delay).toBeGreaterThan(delays[i] ?? 0);
  expect(Math.max(...delays)).toBeLessThanOrEqual(DELAYS.route[1] * 1.1);
  mta('second').isDown = false;
  await clock.advance(60_000);
  await dispose(chunk);
  expect(sent().sort()).toEqual(everybody(3).sort());
});

test('a notice that is tried again goes by the routes for notices each time, in the class of retries', async () => {
  const rules = [{ class: 'notice', routes: ['second'] }] as const;
  const { mta, dispose, later } = await startWith(rules, FIRST, SECOND);
  mta('second').rule = () => ({ code: 450, status: '4.2.0', reply: 'not now' });
  await dispose(chunkOf(1, { class: 'notice' }));
  for (const attempt of [1, 2]) {
    const [next] = later.values();
    later.clear();
    expect(next?.chunk).toMatchObject({ class: 'retry', was: 'notice', try: attempt });
    if (attempt === 2) mta('second').rule = () => null;
    if (next !== undefined) await dispose({ ...next.chunk, waits: [] });
  }
  expect([mta('first').connections, mta('second').mails.length]).toEqual([0, 1]);
});

test('a chunk in hand leaves a route that an operator drains after the transaction under way', async () => {
  const { mta, sent, dispose, later, routes } = await start(FIRST, SECOND);
  mta('first').rule = (to) => {
    if (to === member(3)) void routes.obey({ do: 'drain', name: 'first' });
    return null;
  };
  await dispose(chunkOf(10));
  expect([mta('first').mails.length, mta('second').mails.length]).toEqual([4, 6]);
  expect(sent().sort()).toEqual(everybody(10).sort());
  expect(later.size).toBe(0);
});

test('a chunk in hand leaves a route that another node has seen die, and one that is taken away', async () => {
  for (const how of ['open', 'removed'] as const) {
    const { mta, sent, dispose, routes, kv } = await start(FIRST, SECOND);
    const state = { mode: 'open', failures: 1, openings: 1, step: 0 };
    const row = { state, at: 0, by: 'n2', how: 'refused' };
    mta('first').rule = (to) => {
      if (to !== member(3)) return null;
      if (how === 'removed') void routes.obey({ do: 'rm', name: 'first' });
      else void kv.create('health.first', new TextEncoder().encode(JSON.stringify(row)));
      return null;
    };
    await dispose(chunkOf(50));
    expect(mta('first').mails.length, how).toBeLessThan(10);
    expect(sent().sort()).toEqual(everybody(50).sort());
  }
});

test('an envelope that waits for its time at a rated route does not go by it once it is drained', async () => {
  const first = { ...FIRST, rate: 1 };
  const { mta, sent, dispose, routes, clock } = await start(first, SECOND);
  const disposed = dispose(chunkOf(4));
  await clock.advance(1_500);
  expect(mta('first').mails.length).toBe(2);
  await routes.obey({ do: 'drain', name: 'first' });
  await clock.advance(60_000);
  await disposed;
  expect([mta('first').mails.length, mta('second').mails.length]).toEqual([2, 2]);
  expect(sent().sort()).toEqual(everybody(4).sort());
});

test('whose copy is being signed when the route is left is sent to by the next alone', async () => {
  const { mta, sent, routes, journal, clock } = await start(FIRST, SECOND);
  const [signing, signed] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const sign = (): Promise<void> => {
    signing.resolve();
    return signed.promise;
  };
  const dkim = { prepare: (cooked: Cooked) => ({ ...cooked, sign }) };
  const { dispose } = outgoingStory({ route: routes, journal, clock, dkim });
  const disposed = dispose(chunkOf(4));
  await signing.promise;
  await routes.obey({ do: 'drain', name: 'first' });
  await clock.advance(0);
  signed.resolve();
  await disposed;
  expect([mta('first').mails.length, mta('second').mails.length]).toEqual([0, 4]);
  expect(sent().sort()).toEqual(everybody(4).sort());
});

test('whom no route reached until the end is given up on, and that says nothing of the mailbox', async () => {
  const { dispose, result, bounces, clock } = await start();
  const chunk = chunkOf(1, { try: 40 }, clock.now() - LIFE_MS);
  await dispose(chunk);
  expect(result(chunk)?.refused).toMatchObject([{ code: 554, status: '5.4.7' }]);
  expect(bounces).toMatchObject([{ reason: 'system', permanent: true }]);
});

test('who is given up on while no route is left: the event has the last answer, whose it was, and how often it was tried', async () => {
  const { mta, dispose, later, bounces, clock } = await start(
    FIRST,
    routeOf('second', { role: 'fallback' }),
  );
  mta('first').isDown = true;
  mta('second').rule = () => ({ code: 450, status: '4.2.0', reply: 'Greylisted' });
  let chunk = chunkOf(1, {}, clock.now());
  let tries = 0;
  for (;;) {
    await dispose(chunk);
    tries += 1;
    const [next] = later.values();
    if (next === undefined) break;
    later.clear();
    mta('second').isDown = true;
    // Nothing is due for so long: its life is over at the third try.
    await clock.advance(Math.max(next.at - clock.now(), tries === 2 ? LIFE_MS : 0));
    chunk = next.chunk;
  }
  expect([tries, bounces.length]).toEqual([3, 1]);
  expect(bounces[0]).toMatchObject({
    ...{ route: 'second', reason: 'system', status: '5.4.7' },
    diagnostic:
      '554 5.4.7 given up after 3 tries: no route could be reached; the last answer: 450 4.2.0 Greylisted',
  });
});
