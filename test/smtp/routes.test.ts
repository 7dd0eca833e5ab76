/** Routes with the real breaker over MTAs in memory: who carries what, and what becomes of it when one dies. */
import { afterEach, describe, expect, test } from 'vitest';
import { MailError } from '../../src/errors.ts';
import type { Address } from '../../src/mail/address.ts';
import type { Chunk } from '../../src/mail/chunk.ts';
import { redirected } from '../../src/smtp/devmode.ts';
import { OVERFLOW_MAX, STILL_MS_MAX } from '../../src/smtp/hand.ts';
import type { Routes } from '../../src/smtp/routes.ts';
import type { Kv, Lent } from '../../src/world.ts';
import { transactionTo } from '../contract/smtp.ts';
import { aChunk } from '../support/chunk.ts';
import { createFakeClock, type FakeClock } from '../support/fake/clock.ts';
import { createFakeKv } from '../support/fake/kv.ts';
import { createFakeSmtp, type FakeSmtp } from '../support/fake/smtp.ts';
import { openTestRoutes, routeOf, type TestRoutes } from '../support/routes.ts';

const opened: Routes[] = [];
afterEach(() => {
  for (const routes of opened.splice(0)) routes.stop();
});

const WEIGHTS = { a: 5, b: 3, c: 2 };
const FILE = Object.entries(WEIGHTS).map(([name, weight]) => routeOf(name, { weight }));

type It = {
  readonly routes: Routes;
  readonly clock: FakeClock;
  readonly kv: Kv;
  mta(name: string): FakeSmtp;
  /** Sends one mail for the n-th chunk over the route chosen; its name, or null where there is none. */
  send(n: number, tried?: readonly string[]): Promise<string | null>;
  modes(): Record<string, string>;
};

async function start(options: TestRoutes & { clock?: FakeClock } = {}): Promise<It> {
  const clock = options.clock ?? createFakeClock();
  const kv = options.kv ?? createFakeKv();
  const mtas = new Map<string, FakeSmtp>();
  const mta = (name: string): FakeSmtp => {
    const made = mtas.get(name) ?? createFakeSmtp();
    mtas.set(name, made);
    return made;
  };
  const routes = await openTestRoutes(({ name }) => mta(name), clock, {
    file: FILE,
    ...options,
    kv,
  });
  opened.push(routes);
  const modes = () =>
    Object.fromEntries(
      routes.all().map(({ live }) => [live.settings.name, live.health.row().state.mode]),
    );
  const send = async (n: number, tried: readonly string[] = []) => {
    const lent = await routes.lend(chunk(n), tried);
    if (lent === null) return null;
    await mailOver(lent).catch(() => undefined);
    lent.giveBack();
    return lent.route.name;
  };
  return { routes, clock, kv, mta, send, modes };
}

const chunk = (n: number, change: Partial<Chunk> = {}): Chunk =>
  aChunk({ post: String(n), ...change });

const mailOver = ({ route }: Lent) =>
  route.withConnection('post', (connection) => connection.send(transactionTo('x@y.example')));

async function shares(it: It, chunks: number): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (let n = 0; n < chunks; n += 1) {
    const name = (await it.send(n)) ?? 'none';
    counts[name] = (counts[name] ?? 0) + 1;
  }
  return counts;
}

describe('choosing', () => {
  test('every try of a chunk goes by the same route, as long as it works', async () => {
    const { routes } = await start();
    for (let n = 0; n < 20; n += 1) {
      const names = await Promise.all(
        [0, 1, 2].map(async (attempt) => {
          const lent = await routes.lend(chunk(n, { try: attempt }), []);
          lent?.giveBack();
          return lent?.route.name;
        }),
      );
      expect(new Set(names).size).toBe(1);
    }
  });

  test('a route that was tried is not chosen again, and none where all were', async () => {
    const { send } = await start();
    for (let n = 0; n < 20; n += 1) expect(await send(n, ['a', 'b'])).toBe('c');
    expect(await send(1, ['a', 'b', 'c'])).toBeNull();
  });

  test('a fallback carries what comes while no primary works, and nothing once one does', async () => {
    const it = await start({ file: [routeOf('p'), routeOf('f', { role: 'fallback' })] });
    expect(await shares(it, 20)).toEqual({ p: 20 });
    it.mta('p').isDown = true;
    it.mta('p').rule = () => 'lost before';
    await it.send(1);
    await it.send(2);
    expect(it.modes()).toEqual({ p: 'open', f: 'closed' });
    expect(await shares(it, 20)).toEqual({ f: 20 });
    it.mta('p').isDown = false;
    it.mta('p').rule = () => null;
    await it.clock.advance(60_000);
    expect(it.modes()).toEqual({ p: 'closed', f: 'closed' });
    expect(await shares(it, 20)).toEqual({ p: 20 });
  });

  test('without any route what is sent is captured, and never again once there was one', async () => {
    const capture = createFakeSmtp();
    const it = await start({ file: [], capture });
    expect(await it.send(1)).toBe('capture');
    expect(capture.mails.length).toBe(1);
    const settings = { name: 'a', url: 'smtp://a.example' };
    await it.routes.obey({ do: 'add', settings });
    await it.clock.advance(5_000);
    expect(await it.send(2)).toBe('a');
    await it.routes.obey({ do: 'rm', name: 'a' });
    expect([await it.send(3), capture.mails.length]).toEqual([null, 1]);
  });
});

describe('when an MTA dies', () => {
  test('what waits for it and what comes goes by the others, and nobody asks it but by a probe', async () => {
    const it = await start();
    const [first] = await held(it, 'a', 1);
    const waiting = await waitersFor(it, 'a', 10);
    it.mta('a').isDown = true;
    await expect(mailOver(first as Lent)).rejects.toMatchObject({ code: 451 });
    expect(it.modes().a).toBe('open');
    const names = (await Promise.all(waiting)).map((lent) => lent?.route.name);
    expect(names).not.toContain('a');
    expect(await shares(it, 100)).not.toHaveProperty('a');
    const asked = it.mta('a').connections;
    await it.clock.advance(3_600_000);
    expect([it.mta('a').connections, it.modes().a]).toEqual([asked, 'open']);
  });

  test('it comes back step by step, and then has its share', async () => {
    const it = await start();
    const before = await shares(it, 200);
    it.mta('a').isDown = true;
    it.mta('a').rule = () => 'lost before';
    for (let n = 0; n < 40; n += 1) await it.send(n);
    expect(it.modes().a).toBe('open');
    it.mta('a').isDown = false;
    it.mta('a').rule = () => null;
    await it.clock.advance(1_500);
    expect(it.modes().a).toBe('warming');
    await it.clock.advance(5_000);
    expect(it.modes().a).toBe('closed');
    expect(await shares(it, 200)).toEqual(before);
  });

  test('an MTA that answers 421 to everything is opened, one that does so to one mail is not', async () => {
    const it = await start({ file: [routeOf('a')] });
    const gone = { code: 421, status: '4.3.2', reply: 'closing' };
    it.mta('a').rule = () => gone;
    for (let n = 0; n < 4; n += 1) await it.send(n);
    it.mta('a').rule = () => null;
    await it.send(5);
    it.mta('a').rule = () => gone;
    // The first may be the end that every connection comes to.
    for (let n = 0; n < 5; n += 1) await it.send(n);
    expect(it.modes().a).toBe('closed');
    await it.send(6);
    expect(it.modes().a).toBe('open');
    const [a] = it.routes.all();
    expect(a?.live.health.troubles()).toEqual({ '421': 10 });
  });

  test('an MTA that takes fewer connections than it may be given, or closes them after some mails, is well', async () => {
    const it = await start({ file: [routeOf('a', { connections: 20 })] });
    const mta = it.mta('a');
    const connect = mta.connect;
    let left = 2;
    mta.connect = async () => {
      left -= 1;
      if (left < 0) throw new MailError(451, '4.4.1', 'no more');
      return connect();
    };
    const lent = (await it.routes.lend(chunk(1), [])) as Lent;
    await Promise.all(Array.from({ length: 20 }, () => mailOver(lent)));
    expect([mta.mails.length, it.modes().a]).toEqual([20, 'closed']);
    left = Number.POSITIVE_INFINITY;
    for (let n = 0; n < 20; n += 1) {
      mta.rule = () => (n % 2 === 0 ? null : 'lost before');
      await mailOver(lent);
    }
    expect(it.modes().a).toBe('closed');
    expect(it.routes.all()[0]?.live.health.troubles().refused).toBeGreaterThan(5);
    lent.giveBack();
  });

  test('nothing is pulled while none works, and it goes on as soon as one does', async () => {
    const it = await start({ file: [routeOf('a')] });
    const stop = new AbortController();
    await it.routes.whenOpen(stop.signal, 'post');
    it.mta('a').isDown = true;
    await it.send(1);
    let isOpen = false;
    const waits = it.routes.whenOpen(stop.signal, 'post').then(() => {
      isOpen = true;
    });
    await it.clock.advance(60_000);
    expect(isOpen).toBe(false);
    it.mta('a').isDown = false;
    await it.clock.advance(6_000);
    await waits;
    it.mta('a').isDown = true;
    it.mta('a').rule = () => 'lost before';
    for (let n = 0; n < 2; n += 1) await it.send(n);
    const stopped = it.routes.whenOpen(stop.signal, 'post');
    stop.abort();
    await stopped;
  });
});

describe('a bounded hand', () => {
  test('keeps the shares exact while one is slow: what comes waits for it', async () => {
    const it = await start({ inHandMax: 2 });
    const lents = await held(it, 'a', 2);
    const waiting = await waitersFor(it, 'a', OVERFLOW_MAX + 3);
    let isThere = 0;
    for (const one of waiting) void one.then((lent) => (isThere += lent === null ? 0 : 1));
    for (let i = 0; i < 5; i += 1) {
      await it.clock.advance(STILL_MS_MAX / 2);
      await mailOver(lents[0] as Lent);
    }
    expect(isThere).toBe(0);
    for (const lent of lents) lent.giveBack();
    await it.clock.advance(0);
    expect(isThere).toBe(2);
  });

  test('what would wait behind one that stands still goes by the others', async () => {
    const it = await start({ inHandMax: 2 });
    await held(it, 'a', 2);
    const waiting = await waitersFor(it, 'a', OVERFLOW_MAX + 2);
    const names: string[] = [];
    for (const one of waiting) void one.then((lent) => names.push(lent?.route.name ?? ''));
    await it.clock.advance(STILL_MS_MAX);
    expect(names.length).toBe(2);
    expect(names).not.toContain('a');
  });

  test('no more is pulled than all of them have room for', async () => {
    const it = await start({ file: [routeOf('a')], inHandMax: 1 });
    const never = new AbortController();
    const lents = [await it.routes.lend(chunk(0), [])];
    const waiting = [1, 2, 3, 4].map((n) => it.routes.lend(chunk(n), []));
    let isOpen = false;
    const open = it.routes.whenOpen(never.signal, 'post').then(() => {
      isOpen = true;
    });
    await it.clock.advance(1_000);
    expect(isOpen).toBe(false);
    lents[0]?.giveBack();
    await open;
    await waiting[0];
  });
});

describe('all nodes', () => {
  test('have the same health: what one sees die, the other sends nothing, and one of them probes', async () => {
    const [kv, clock] = [createFakeKv(), createFakeClock()];
    const one = await start({ kv, clock, node: 'n1' });
    const two = await start({ kv, clock, node: 'n2' });
    one.mta('a').isDown = true;
    const [lent] = await held(one, 'a', 1);
    await mailOver(lent as Lent).catch(() => undefined);
    await clock.advance(0);
    expect([one.modes().a, two.modes().a]).toEqual(['open', 'open']);
    expect(await shares(two, 50)).not.toHaveProperty('a');
    one.mta('a').isDown = false;
    await clock.advance(1_200);
    expect(one.mta('a').connections + two.mta('a').connections).toBe(1);
    await clock.advance(5_000);
    expect([one.modes().a, two.modes().a]).toEqual(['closed', 'closed']);
  });

  test('take an operator’s changes at once, and keep them over a restart', async () => {
    const [kv, clock] = [createFakeKv(), createFakeClock()];
    const one = await start({ kv, clock, node: 'n1' });
    const two = await start({ kv, clock, node: 'n2' });
    await one.routes.obey({ do: 'drain', name: 'a' });
    await one.routes.obey({ do: 'set', name: 'b', change: { weight: 30, rate: 5 } });
    await one.routes.obey({ do: 'rm', name: 'c' });
    await one.routes.obey({ do: 'add', settings: { name: 'd', url: 'lmtp://d.example:24' } });
    await clock.advance(10_000);
    const three = await start({ kv, clock, node: 'n1' });
    for (const { routes, modes } of [one, two, three]) {
      expect(modes()).toEqual({ a: 'draining', b: 'closed', d: 'closed' });
      const [, b, d] = routes.all();
      expect(b?.live.settings).toMatchObject({ weight: 30, rate: 5, url: 'smtp://b.example' });
      expect(b?.candidate.weight).toBe(30);
      expect(d?.live.settings).toMatchObject({ connections: 5, weight: 1 });
    }
    await two.routes.obey({ do: 'resume', name: 'a' });
    await clock.advance(10_000);
    expect(one.modes().a).toBe('closed');
  });

  test('a probe that died with its node is made again at once when that node is back', async () => {
    const [kv, clock] = [createFakeKv(), createFakeClock()];
    const one = await start({ kv, clock, file: [routeOf('a')] });
    one.mta('a').isDown = true;
    await one.send(1);
    one.mta('a').connect = () => new Promise(() => undefined);
    await clock.advance(1_200);
    expect(one.modes().a).toBe('half-open');
    one.routes.stop();
    const again = await start({ kv, clock, file: [routeOf('a')] });
    await clock.advance(5_000);
    expect(again.modes().a).toBe('closed');
  });
});

test('a route that is added or connects another way is tried before it gets mail', async () => {
  const it = await start({ file: [routeOf('a')] });
  it.mta('bad').isDown = true;
  await it.routes.obey({
    do: 'add',
    settings: { name: 'bad', url: 'smtp://bad.example', weight: 900 },
  });
  await it.clock.advance(100);
  expect(await shares(it, 50)).toEqual({ a: 50 });
  it.mta('a').isDown = true;
  await it.routes.obey({ do: 'set', name: 'a', change: { url: 'smtp://elsewhere.example' } });
  await it.clock.advance(100);
  expect(it.modes()).toEqual({ a: 'open', bad: 'open' });
});

test('a rate holds: envelopes go out evenly apart, and the first at once', async () => {
  const it = await start({ file: [routeOf('a', { rate: 10 })] });
  const lent = (await it.routes.lend(chunk(1), [])) as Lent;
  const all = Array.from({ length: 50 }, () => mailOver(lent));
  await it.clock.advance(0);
  expect(it.mta('a').mails.length).toBe(1);
  await it.clock.advance(1_000);
  expect(it.mta('a').mails.length).toBe(11);
  await it.clock.advance(4_000);
  await Promise.all(all);
  lent.giveBack();
});

test('in devmode every mail goes to one address, from nobody, and counts for all it was for', async () => {
  const smtp = createFakeSmtp();
  const connection = await redirected(smtp, 'dev@x.example' as Address).connect();
  const two = transactionTo('a@x.example', 'b@x.example');
  const replies = await connection.send({ ...two, sender: 'list@x.example' as Address });
  expect(replies.map(({ code }) => code)).toEqual([250, 250]);
  expect(smtp.mails).toMatchObject([{ sender: '', recipients: ['dev@x.example'] }]);
});

// ── Hands full ────────────────────────────────────────────────────────────

/** Chunks that the route carries by its slice. */
async function* chunksOf(it: It, name: string): AsyncGenerator<number> {
  for (let n = 0; ; n += 1) {
    const lent = await it.routes.lend(chunk(n), []);
    lent?.giveBack();
    if (lent?.route.name === name) yield n;
  }
}

/** Takes so many places of the route's hand. */
async function held(it: It, name: string, count: number): Promise<Lent[]> {
  const numbers: number[] = [];
  for await (const n of chunksOf(it, name)) {
    numbers.push(n);
    if (numbers.length === count) break;
  }
  const lents = await Promise.all(numbers.map((n) => it.routes.lend(chunk(n), [])));
  return lents.filter((lent) => lent !== null);
}

/** More chunks of the route's slice than its hand has places for: fills the hand, and gives those who wait. */
async function waitersFor(it: It, name: string, count: number): Promise<Promise<Lent | null>[]> {
  const found = it.routes.all().find(({ live }) => live.settings.name === name);
  const waitingNow = (): number => found?.live.hand.waiting() ?? 0;
  const waiting: Promise<Lent | null>[] = [];
  for (let n = 1_000; waiting.length < count; n += 1) {
    const before = waitingNow();
    const asked = it.routes.lend(chunk(n), []);
    await it.clock.advance(0);
    if (waitingNow() > before) waiting.push(asked);
    else if ((await asked)?.route.name !== name) (await asked)?.giveBack();
  }
  return waiting;
}
