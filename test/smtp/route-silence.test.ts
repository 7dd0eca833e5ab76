/** An MTA that takes mail and answers nobody: long before the ten minutes of a final dot are over it is given nothing more. */
import { afterEach, expect, test } from 'vitest';
import type { Lent } from '../../src/world.ts';
import { transactionTo } from '../contract/smtp.ts';
import { routeOf } from '../support/routes.ts';
import { chunk, mailOver, start, stopRoutes } from '../support/routes-story.ts';

afterEach(stopRoutes);

/** All that is sent to the route `a`, which gets nearly everything, hangs until it is let go. */
async function startSilent(change: Parameters<typeof routeOf>[1] = {}) {
  const file = [routeOf('a', { weight: 1_000, connections: 1, ...change }), routeOf('b')];
  const it = await start({ file });
  const hanging: (() => void)[] = [];
  it.mta('a').pace = () => new Promise((resolve) => hanging.push(resolve));
  const lend = async (n: number): Promise<Lent> => (await it.routes.lend(chunk(n), [])) as Lent;
  const troubles = () => it.routes.all()[0]?.live.health.troubles();
  return { ...it, lend, hanging, troubles };
}

test('a route that answers nobody for its time is opened; who waits for a connection goes elsewhere, who is under way is waited for', async () => {
  const it = await startSilent({ timeoutSeconds: 20 });
  const lent = await it.lend(1);
  const first = mailOver(lent);
  const second = mailOver(await it.lend(2)).then(
    () => 'sent',
    () => 'turned away',
  );
  await it.clock.advance(19_900);
  expect(it.modes().a).toBe('closed');
  await it.clock.advance(200);
  expect([it.modes().a, it.troubles()]).toEqual(['open', { timeout: 1 }]);
  expect(await second).toBe('turned away');
  expect(await it.send(3)).toBe('b');
  it.hanging[0]?.();
  expect(await first).toMatchObject([{ code: 250 }]);
});

test('it is not tried again while all its connections hang, and is when one is answered', async () => {
  const it = await startSilent();
  void mailOver(await it.lend(1));
  await it.clock.advance(120_000);
  expect(['open', 'half-open']).toContain(it.modes().a);
  expect(it.mta('a').connections).toBe(1);
  it.hanging[0]?.();
  await it.clock.advance(6_000);
  expect(it.modes().a).toBe('warming');
});

test('where others are answered one that hangs is no sickness of the route', async () => {
  const it = await startSilent({ connections: 2 });
  const lent = await it.lend(1);
  void mailOver(lent);
  for (let i = 0; i < 10; i += 1) {
    await it.clock.advance(30_000);
    const other = mailOver(lent);
    await it.clock.advance(0);
    it.hanging.at(-1)?.();
    await other;
  }
  expect([it.modes().a, it.troubles()]).toEqual(['closed', {}]);
});

test('a large message may take as long as a slow line does', async () => {
  const it = await startSilent();
  const lent = await it.lend(1);
  const message = Buffer.alloc(1_600_000);
  void lent.route.withConnection('post', (connection) =>
    connection.send({ ...transactionTo('x@y.example'), message }),
  );
  await it.clock.advance(159_000);
  expect(it.modes().a).toBe('closed');
  await it.clock.advance(1_000);
  expect(it.modes().a).toBe('open');
});
