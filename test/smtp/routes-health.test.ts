/** Routes with the real breaker over MTAs in memory: what becomes of the mail when one dies, on this node and on the others, and when it is back. */
import { afterEach, describe, expect, test } from 'vitest';
import { WARMING_QUIET_MS, WARMING_STEP_MS } from '../../actors/route.ts';
import { MailError } from '../../src/errors.ts';
import type { Lent } from '../../src/world.ts';
import { createFakeClock } from '../support/fake/clock.ts';
import { createFakeKv } from '../support/fake/kv.ts';
import { routeOf } from '../support/routes.ts';
import {
  chunk,
  held,
  mailOver,
  shares,
  start,
  stopRoutes,
  WARM_MS,
  waitersFor,
} from '../support/routes-story.ts';

afterEach(stopRoutes);

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
    const carried: number[] = [];
    while (it.modes().a === 'warming') {
      carried.push((await shares(it, 200)).a ?? 0);
      await it.clock.advance(WARMING_STEP_MS + 200);
    }
    const whole = before.a ?? 0;
    expect(carried.map((count) => Math.round((8 * count) / whole))).toEqual([1, 2, 4]);
    expect(it.modes().a).toBe('closed');
    expect(await shares(it, 200)).toEqual(before);
  });

  test('one that connects and takes no mail carries no more than its first step, and is opened by the first that fails', async () => {
    const it = await start();
    it.mta('a').isDown = true;
    await shares(it, 20);
    it.mta('a').isDown = false;
    it.mta('a').rule = () => 'lost before';
    await it.clock.advance(1_500);
    expect(it.modes().a).toBe('warming');
    const { a } = await shares(it, 200);
    expect([a, it.modes().a]).toEqual([1, 'open']);
  });

  test('one that nobody sends to is closed all the same, after a while', async () => {
    const it = await start({ file: [routeOf('a')] });
    it.mta('a').isDown = true;
    await it.send(1);
    it.mta('a').isDown = false;
    await it.clock.advance(1_500 + 2 * WARMING_QUIET_MS);
    expect(it.modes().a).toBe('warming');
    await it.clock.advance(WARM_MS);
    expect(it.modes().a).toBe('closed');
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
    await clock.advance(WARM_MS);
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
    await clock.advance(WARM_MS);
    const three = await start({ kv, clock, node: 'n1' });
    for (const { routes, modes } of [one, two, three]) {
      expect(modes()).toEqual({ a: 'draining', b: 'closed', d: 'closed' });
      const [, b, d] = routes.all();
      expect(b?.live.settings).toMatchObject({ weight: 30, rate: 5, url: 'smtp://b.example' });
      expect(b?.candidate.weight).toBe(30);
      expect(d?.live.settings).toMatchObject({ connections: 5, weight: 1 });
    }
    await two.routes.obey({ do: 'resume', name: 'a' });
    await clock.advance(WARM_MS);
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
    await clock.advance(1_000);
    expect(again.modes().a).toBe('warming');
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

test('a route that is only given more or less keeps its health and goes on counting', async () => {
  const it = await start({ file: [routeOf('a')] });
  await shares(it, 20);
  await it.routes.obey({
    do: 'set',
    name: 'a',
    change: { connections: 9, messages: 10, recipients: 20, timeoutSeconds: 30 },
  });
  expect(it.modes()).toEqual({ a: 'closed' });
  await shares(it, 5);
  const [a] = it.routes.all();
  expect([a?.live.settings.connections, a?.live.counts().accepted]).toEqual([9, 25]);
  it.mta('a').isDown = true;
  it.mta('a').rule = () => 'lost before';
  for (let n = 0; n < 10; n += 1) await it.send(n);
  const troubles = it.routes.all()[0]?.live.health.troubles();
  await it.routes.obey({ do: 'set', name: 'a', change: { rate: 10 } });
  expect(it.modes()).toEqual({ a: 'open' });
  expect(troubles).toHaveProperty('lost');
  expect(it.routes.all()[0]?.live.health.troubles()).toEqual(troubles);
});
