/** The edge goes first, and nobody waits for long. */
import { expect, test } from 'vitest';
import { createPrecedence, YIELD_MS_MAX } from '../../src/runners/precedence.ts';
import { createFakeClock } from '../support/fake/clock.ts';

function scene({ isBusy }: { readonly isBusy: boolean }) {
  const clock = createFakeClock();
  const precedence = createPrecedence({ clock, isBusy: () => isBusy });
  /** When a pull that begins now may go on, ms; null while it may not. */
  const pull = () => {
    const since = clock.monotonic();
    const pulled: { afterMs: number | null } = { afterMs: null };
    void precedence.yields().then(() => {
      pulled.afterMs = clock.monotonic() - since;
    });
    return pulled;
  };
  /** A mail that is being kept until it is told to be. */
  const keep = () => {
    const kept = Promise.withResolvers<void>();
    const done = precedence.first(() => kept.promise);
    return async (error?: Error) => {
      if (error === undefined) kept.resolve();
      else kept.reject(error);
      await done.catch(() => undefined);
    };
  };
  return { clock, precedence, pull, keep };
}

test('while no mail comes in nobody waits, however busy the process is', async () => {
  const { clock, pull } = scene({ isBusy: true });
  const pulled = pull();
  await clock.advance(0);
  expect(pulled.afterMs).toBe(0);
  expect(clock.sleepers()).toBe(0);
});

test('while there is time for all, a mail that is kept holds up nobody', async () => {
  const { clock, pull, keep } = scene({ isBusy: false });
  keep();
  const pulled = pull();
  await clock.advance(0);
  expect(pulled.afterMs).toBe(0);
});

test('a busy process pulls when the edge has been quiet for a moment', async () => {
  const { clock, pull, keep } = scene({ isBusy: true });
  const end = keep();
  const pulled = pull();
  await clock.advance(5);
  await end();
  await clock.advance(10);
  expect(pulled.afterMs).toBeNull();
  await clock.advance(YIELD_MS_MAX);
  expect(pulled.afterMs).toBeLessThan(YIELD_MS_MAX);
});

test('the next mail of a client comes before the pulls that wait', async () => {
  const { clock, pull, keep } = scene({ isBusy: true });
  const end = keep();
  const pulled = pull();
  await clock.advance(15);
  await end();
  await clock.advance(15);
  keep();
  await clock.advance(15);
  expect(pulled.afterMs).toBeNull();
});

test('no pull waits longer than it may, whatever the edge does', async () => {
  const { clock, pull, keep } = scene({ isBusy: true });
  keep();
  const pulled = pull();
  await clock.advance(10);
  const later = pull();
  await clock.advance(YIELD_MS_MAX + 20);
  expect(pulled.afterMs).toBeGreaterThanOrEqual(YIELD_MS_MAX);
  expect(later.afterMs).not.toBeNull();
  expect(clock.sleepers()).toBe(0);
});

test('mails that queue for the store go first, though the process itself has time', async () => {
  const { clock, pull, keep } = scene({ isBusy: false });
  const ends = Array.from({ length: 5 }, keep);
  const pulled = pull();
  await clock.advance(25);
  expect(pulled.afterMs).toBeNull();
  await ends[0]?.();
  await clock.advance(20);
  expect(pulled.afterMs).not.toBeNull();
});

test('a mail that could not be kept is over, too', async () => {
  const { clock, pull, keep } = scene({ isBusy: true });
  await keep()(new Error('no room'));
  await clock.advance(100);
  const pulled = pull();
  await clock.advance(0);
  expect(pulled.afterMs).toBe(0);
});
