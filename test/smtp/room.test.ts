/** Of which class how much more is pulled, by what the routes have in hand and what waits. */
import { expect, test } from 'vitest';
import type { Class } from '../../src/mail/chunk.ts';
import { aChunk } from '../support/chunk.ts';
import { createFakeClock } from '../support/fake/clock.ts';
import { createFakeSmtp } from '../support/fake/smtp.ts';
import { openTestRoutes } from '../support/routes.ts';

async function start(inHandMax: number) {
  const clock = createFakeClock();
  const routes = await openTestRoutes(createFakeSmtp(), clock, { inHandMax });
  const isOpen = async (cls: Class): Promise<boolean> => {
    const asking = new AbortController();
    let open = false;
    const asked = routes.whenOpen(asking.signal, cls).then(() => {
      open = !asking.signal.aborted;
    });
    await clock.advance(1);
    asking.abort();
    await asked;
    return open;
  };
  const take = (cls: Class, chunks: number): void => {
    for (let n = 0; n < chunks; n += 1) {
      void routes.lend(aChunk({ post: `${cls}${n}`, class: cls }), []);
    }
  };
  return { routes, isOpen, take };
}

test('however much of bulk waits, there is room for a post and a notice', async () => {
  const { routes, isOpen, take } = await start(5);
  take('bulk', 20);
  expect([await isOpen('bulk'), await isOpen('retry')]).toEqual([false, false]);
  expect([await isOpen('post'), await isOpen('notice')]).toEqual([true, true]);
  take('post', 5);
  expect([await isOpen('post'), await isOpen('notice')]).toEqual([false, false]);
  routes.stop();
});

test('what was pulled has its room before it asks for its place', async () => {
  const { routes, isOpen } = await start(5);
  const coming = Array.from({ length: 9 }, () => routes.expect('post'));
  expect([await isOpen('post'), await isOpen('bulk')]).toEqual([false, true]);
  coming[0]?.();
  expect(await isOpen('post')).toBe(true);
  routes.stop();
});
