/** Routes with the real breaker over MTAs in memory: who carries what, and for whom what comes waits. */
import { afterEach, describe, expect, test } from 'vitest';
import type { Address } from '../../src/mail/address.ts';
import { redirected } from '../../src/smtp/devmode.ts';
import { BOUND_MAX, OVERFLOW_MAX, STILL_MS_MAX } from '../../src/smtp/hand.ts';
import type { Lent } from '../../src/world.ts';
import { transactionTo } from '../contract/smtp.ts';
import { createFakeSmtp } from '../support/fake/smtp.ts';
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
    await it.clock.advance(WARM_MS);
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

describe('a route that a rule binds mail to', () => {
  const OF_LIST = { list: 'slow@lists.example' as Address, routes: ['a'] };

  async function startBound() {
    const file = [routeOf('a', { connections: 1 }), routeOf('b', { connections: 1 })];
    const it = await start({
      file,
      routing: { strategy: 'weighted', rules: [OF_LIST, { class: 'notice', routes: ['b'] }] },
    });
    const bound = (n: number) => {
      const made = chunk(n);
      return it.routes.lend({ ...made, recipe: { ...made.recipe, list: OF_LIST.list } }, []);
    };
    const places: (Lent | null)[] = [];
    for (let n = 0; n < 100; n += 1) void bound(n).then((lent) => places.push(lent));
    await it.clock.advance(0);
    return { ...it, bound, places };
  }

  test('keeps nothing from the others while it is slow: what it cannot take comes again later', async () => {
    const it = await startBound();
    const taken = it.places.filter((lent) => lent !== null);
    expect(taken.map(({ route }) => route.name)).toEqual(['a', 'a']);
    expect(it.places).toHaveLength(100 - OVERFLOW_MAX - BOUND_MAX);
    const never = new AbortController();
    await it.routes.whenOpen(never.signal, 'post');
    for (let n = 0; n < 20; n += 1) {
      const lent = await it.routes.lend(chunk(n, { class: 'notice' }), []);
      expect(lent?.route.name).toBe('b');
      lent?.giveBack();
    }
  });

  test('gives its mail to no other when it stands still, and takes the next when it moves', async () => {
    const it = await startBound();
    const before = it.places.length;
    await it.clock.advance(STILL_MS_MAX);
    const sentAway = it.places.slice(before);
    expect(sentAway).toEqual(Array.from({ length: BOUND_MAX }, () => null));
    it.places[0]?.giveBack();
    for (const lent of it.places) if (lent !== null) lent.giveBack();
    await it.clock.advance(0);
    expect(it.places.slice(before + BOUND_MAX).map((lent) => lent?.route.name)).toContain('a');
  });

  test('is not removed while a rule names it, nor may a rule name none', async () => {
    const it = await startBound();
    await expect(it.routes.obey({ do: 'rm', name: 'a' })).rejects.toMatchObject({
      code: 553,
      message: expect.stringContaining('`routing.rules.0` names the route a'),
    });
    expect(it.modes()).toHaveProperty('a');
  });
});
