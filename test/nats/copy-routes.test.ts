import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import type { PostFacts } from '../../actors/protocol-posts.ts';
import { type AnswerTo, type AskReply, NO_OWNER } from '../../src/nats/ask.ts';
import { routesOf, UNFINISHED_MS } from '../../src/nats/copy-routes.ts';
import { resultsOf } from '../../src/nats/outlets.ts';
import { newKey } from '../contract/ledger.ts';
import { aResult, BY, took } from '../support/chunk.ts';
import { createFakeClock } from '../support/fake/clock.ts';
import { type Site, startSite } from '../support/nats.ts';

let site: Site;
beforeAll(async () => {
  site = await startSite();
});
afterAll(() => site.stop());

/** A list's owner who knows of posts in ranges of 500 members; counts what it is asked. */
function owner(reply: AskReply<PostFacts> | null = null) {
  const asked: number[] = [];
  const facts = { width: 500 } as PostFacts;
  const known: AskReply<PostFacts> = {
    ...{ ok: true, answer: facts, node: 'n', epoch: 1, seq: 1, n: 1 },
  };
  return {
    asked,
    async question<Q>(_key: unknown, question: Q) {
      asked.push((question as { post: number }).post);
      return (reply ?? known) as AskReply<AnswerTo<never>>;
    },
  };
}

test('the route of a copy is the one that took it, or else the last that was tried', async () => {
  const key = newKey();
  const { tell } = resultsOf(site.nats, site.publisher);
  const of = (chunk: string, attempt: number) => ({ key, post: '7', chunk, try: attempt });
  const busy = { ...BY, route: 'a', code: 451, status: '', reply: 'busy' };
  const none = { deferred: [], refused: [] };
  const waiting = [503, 504, 505].map((number) => ({ number, ...busy }));
  await tell(
    of('1', 0),
    aResult({ accepted: [took(500, 502, { route: 'a' })], deferred: waiting }),
  );
  const refused = [{ ...busy, number: 504, code: 550 }];
  const second = { at: 1_790_000_000_001, deferred: [{ number: 505, ...busy, route: 'b' }] };
  await tell(
    of('1', 1),
    aResult({ ...second, accepted: [took(503, 503, { route: 'b' })], refused }),
  );
  const later = { at: 1_790_000_000_002, ...none };
  await tell(of('1-r9', 0), aResult({ ...later, accepted: [took(504, 504, { route: 'c' })] }));
  const list = owner();
  const routeOf = routesOf(site.nats, list, createFakeClock());
  const found = [501, 503, 504, 505, 506, 400].map((member) => routeOf(key, 7, member));
  expect(await Promise.all(found)).toEqual(['a', 'b', 'c', 'b', null, null]);
  expect(await routeOf(newKey(), 7, 501)).toBeNull();
  await tell(of('1', 0), aResult({ accepted: [took(500, 502, { route: 'a,b' })], ...none }));
  const another = routesOf(site.nats, list, createFakeClock()); // What is finished is read once.
  expect(await another(key, 7, 501), 'an older result names both').toBeNull();
});

test('the owner is asked once a post, and who is away leaves the route unknown', async () => {
  const key = newKey();
  const id = { key, post: '8', chunk: '0', try: 0 };
  await resultsOf(site.nats, site.publisher).tell(
    id,
    aResult({ accepted: [took(1, 1, { route: 'a' })] }),
  );
  const list = owner();
  const routeOf = routesOf(site.nats, list, createFakeClock());
  expect([await routeOf(key, 8, 1), await routeOf(key, 8, 1)]).toEqual(['a', 'a']);
  expect(list.asked).toEqual([8]);
  const away = routesOf(site.nats, owner({ ok: false, error: NO_OWNER }), createFakeClock());
  expect(await away(key, 8, 1)).toBeNull();
});

test('a finished try is read once, however many copies are asked for at once', async () => {
  const key = newKey();
  const { tell } = resultsOf(site.nats, site.publisher);
  await tell(
    { key, post: '7', chunk: '0', try: 0 },
    aResult({ accepted: [took(1, 99, { route: 'a' })] }),
  );
  const read = vi.spyOn(site.nats, 'request');
  const routeOf = routesOf(site.nats, owner(), createFakeClock());
  const members = Array.from({ length: 50 }, (_, i) => i + 1);
  expect(new Set(await Promise.all(members.map((member) => routeOf(key, 7, member))))).toEqual(
    new Set(['a']),
  );
  expect(read).toHaveBeenCalledTimes(1);
  expect(routeOf(key, 7, 1), 'what is remembered is said at once').toBe('a');
  read.mockRestore();
});

test('copies that come back before their chunk is told of are looked for once a second, however many ask', async () => {
  const key = newKey();
  const { tell } = resultsOf(site.nats, site.publisher);
  const of = (attempt: number) => ({ key, post: '7', chunk: '0', try: attempt });
  const clock = createFakeClock();
  const routeOf = routesOf(site.nats, owner(), clock);
  const members = Array.from({ length: 50 }, (_, i) => i + 1);
  const routes = async () =>
    new Set(await Promise.all(members.map((member) => routeOf(key, 7, member))));
  const read = vi.spyOn(site.nats, 'request');
  expect([await routes(), await routes()]).toEqual([new Set([null]), new Set([null])]);
  expect(read, 'the first try, and which others there are').toHaveBeenCalledTimes(2);
  await clock.advance(UNFINISHED_MS);
  const busy = { ...BY, route: 'a', code: 451, status: '', reply: 'busy' };
  const deferred = members.slice(1).map((number) => ({ number, ...busy }));
  await tell(of(0), aResult({ accepted: [took(1, 1, { route: 'a' })], deferred }));
  await tell(of(1), aResult({ at: 1_790_000_000_001, accepted: [took(2, 50, { route: 'b' })] }));
  read.mockClear();
  expect([await routes(), await routes()]).toEqual([new Set(['a', 'b']), new Set(['a', 'b'])]);
  expect(read, 'and one of each result').toHaveBeenCalledTimes(4);
  read.mockRestore();
});
