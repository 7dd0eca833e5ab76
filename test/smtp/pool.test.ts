import { afterEach, expect, test } from 'vitest';
import { silentLog } from '../../src/log.ts';
import type { Class } from '../../src/mail/chunk.ts';
import { createPool, type Pool, type PoolOptions } from '../../src/smtp/pool.ts';
import type { SmtpConnection } from '../../src/world.ts';
import { transactionTo } from '../contract/smtp.ts';
import { createFakeClock, type FakeClock } from '../support/fake/clock.ts';
import { createFakeSmtp, type FakeSmtp } from '../support/fake/smtp.ts';

const pools: Pool[] = [];
afterEach(() => {
  for (const pool of pools.splice(0)) pool.stop();
});

type It = { readonly pool: Pool; readonly smtp: FakeSmtp; readonly clock: FakeClock };

function start(options: Partial<PoolOptions> = {}): It {
  const smtp = createFakeSmtp();
  const clock = createFakeClock();
  const pool = createPool({ name: 'mta', smtp, clock, log: silentLog, ...options });
  pools.push(pool);
  return { pool, smtp, clock };
}

/** Takes a connection and keeps it until told. */
function borrow(
  pool: Pool,
  cls: Class = 'post',
): { lent: Promise<SmtpConnection>; giveBack: () => Promise<void> } {
  const done = Promise.withResolvers<void>();
  const lent = Promise.withResolvers<SmtpConnection>();
  const used = pool.withConnection(cls, async (connection) => {
    lent.resolve(connection);
    await done.promise;
  });
  used.catch(lent.reject);
  lent.promise.catch(() => undefined);
  return {
    lent: lent.promise,
    giveBack: () => {
      done.resolve();
      return used;
    },
  };
}

test('a connection is used again', async () => {
  const { pool, smtp } = start();
  for (let n = 0; n < 5; n += 1) {
    await pool.withConnection('post', (connection) =>
      connection.send(transactionTo('a@x.example')),
    );
  }
  expect([smtp.connections, smtp.mails.length]).toEqual([1, 5]);
});

test('no more connections are open than it may have, and who waits is served in order', async () => {
  const { pool, smtp } = start({ connectionsMax: 2 });
  const [first, second] = [borrow(pool), borrow(pool)];
  await Promise.all([first.lent, second.lent]);
  const order: string[] = [];
  const third = pool.withConnection('post', async () => void order.push('third'));
  const fourth = pool.withConnection('post', async () => void order.push('fourth'));
  expect(pool.state()).toMatchObject({ open: 2, waiting: 2 });
  await second.giveBack();
  await Promise.all([third, fourth]);
  expect([order, smtp.connections]).toEqual([['third', 'fourth'], 2]);
  await first.giveBack();
});

test('bulk and retries leave a reserve of the connections alone, also while nobody else waits', async () => {
  const { pool, smtp } = start({ connectionsMax: 5 });
  const large = [0, 1, 2, 3].map((n) => borrow(pool, n === 0 ? 'retry' : 'bulk'));
  await Promise.all(large.map(({ lent }) => lent));
  const fifth = borrow(pool, 'bulk');
  expect(pool.state()).toMatchObject({ open: 4, waiting: 1 });
  await pool.withConnection('post', async () => undefined);
  expect([smtp.connections, pool.state().waiting]).toEqual([5, 1]);
  await large[0]?.giveBack();
  await fifth.lent;
  await Promise.all([...large, fifth].map(({ giveBack }) => giveBack()));
});

test('a notice and a post have the next connection before bulk that has waited longer', async () => {
  const { pool } = start({ connectionsMax: 1 });
  const first = borrow(pool, 'bulk');
  await first.lent;
  const order: Class[] = [];
  const uses = (['retry', 'bulk', 'post', 'notice'] as const).map((cls) =>
    pool.withConnection(cls, async () => void order.push(cls)),
  );
  expect((['notice', 'post', 'bulk', 'retry'] as const).map(pool.isWanted)).toEqual([
    ...[false, true, true, true],
  ]);
  await first.giveBack();
  await Promise.all(uses);
  expect(order.slice(0, 2)).toEqual(['notice', 'post']);
  expect(pool.isWanted('retry')).toBe(false);
});

test('bulk has its turns also while posts never cease to wait', async () => {
  const { pool } = start({ connectionsMax: 1 });
  const order: Class[] = [];
  const use = (cls: Class) => pool.withConnection(cls, async () => void order.push(cls));
  const uses: Promise<void>[] = [];
  for (let n = 0; n < 20; n += 1) uses.push(use('post'), use('post'), use('bulk'));
  await Promise.all(uses);
  const many = order.slice(0, 30).filter((cls) => cls === 'bulk').length;
  expect(many).toBe(10);
});

test('a connection that was lost is replaced', async () => {
  const { pool, smtp } = start();
  smtp.rule = () => 'lost before';
  await pool.withConnection('post', (connection) => connection.send(transactionTo('a@x.example')));
  smtp.rule = () => null;
  await pool.withConnection('post', (connection) => connection.send(transactionTo('a@x.example')));
  expect([smtp.connections, smtp.mails.length]).toEqual([2, 1]);
});

test('what the user throws is thrown on, and the connection comes back', async () => {
  const { pool, smtp } = start({ connectionsMax: 1 });
  const thrown = pool.withConnection('post', () => Promise.reject(new Error('mine')));
  await expect(thrown).rejects.toThrow('mine');
  await pool.withConnection('post', (connection) => connection.send(transactionTo('a@x.example')));
  expect(smtp.connections).toBe(1);
});

test('an idle connection is closed after a while', async () => {
  const { pool, clock } = start({ idleMsMax: 1_000 });
  await pool.withConnection('post', async () => undefined);
  await clock.advance(900);
  expect(pool.state()).toMatchObject({ open: 1, idle: 1 });
  await clock.advance(1_000);
  expect(pool.state()).toMatchObject({ open: 0, idle: 0 });
  await clock.advance(10_000);
  expect(clock.sleepers()).toBe(0);
});

test('an MTA that cannot be connected is told to all who wait, and to its breaker as down', async () => {
  const told: boolean[] = [];
  const onRefused = (_: unknown, isDown: boolean): void => void told.push(isDown);
  const { pool, smtp } = start({ connectionsMax: 2, onRefused });
  smtp.isDown = true;
  const uses = [1, 2, 3].map(() => pool.withConnection('post', async () => undefined));
  const outcomes = await Promise.allSettled(uses);
  expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected']);
  expect(pool.state()).toEqual({ open: 0, idle: 0, waiting: 0 });
  expect(told, 'two were tried at once; only after the last was there none').toEqual([false, true]);
});

test('a probe makes a connection of its own, and keeps it where there is room', async () => {
  const { pool, smtp } = start({ connectionsMax: 2 });
  smtp.isDown = true;
  await expect(pool.probe()).rejects.toMatchObject({ code: 451 });
  smtp.isDown = false;
  for (let n = 0; n < 3; n += 1) await pool.probe();
  await pool.withConnection('post', (connection) => connection.send(transactionTo('a@x.example')));
  expect([smtp.connections, pool.state().open]).toEqual([3, 2]);
});

test('an MTA that allows fewer connections is used with those, and asked again later', async () => {
  const { pool, smtp, clock } = start({ connectionsMax: 3 });
  const first = borrow(pool);
  await first.lent;
  smtp.isDown = true;
  const second = pool.withConnection('post', async () => 'served');
  await clock.advance(0);
  expect(pool.state()).toMatchObject({ open: 1, waiting: 1 });
  await first.giveBack();
  expect(await second).toBe('served');
  smtp.isDown = false;
  const held = [borrow(pool), borrow(pool)];
  await held[0]?.lent;
  expect(pool.state()).toMatchObject({ open: 1, waiting: 1 });
  await clock.advance(61_000);
  const more = borrow(pool);
  await Promise.all([more.lent, held[1]?.lent]);
  expect(pool.state()).toMatchObject({ open: 3, waiting: 0 });
  await Promise.all([more, ...held].map((one) => one.giveBack()));
});

test('after a stop nothing is lent, and what comes back is closed', async () => {
  const { pool } = start({ connectionsMax: 1 });
  const first = borrow(pool);
  const connection = await first.lent;
  const waiting = pool.withConnection('post', async () => undefined);
  pool.stop();
  await expect(waiting).rejects.toMatchObject({ status: '4.3.2' });
  await expect(pool.withConnection('post', async () => undefined)).rejects.toMatchObject({
    code: 451,
  });
  await first.giveBack();
  expect([connection.isOpen, pool.state().open]).toEqual([false, 0]);
});
