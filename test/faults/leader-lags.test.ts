/** A ledger that cannot be read, or whose new leader lags behind what was acknowledged: it is waited for, and nothing is given up. */
import { expect, test } from 'vitest';
import { MailError, OperatorError } from '../../src/errors.ts';
import { startHost } from '../../src/host/host.ts';
import { encodeRecord } from '../../src/host/record.ts';
import { slotOf } from '../../src/mail/list-key.ts';
import { openDraft } from '../../src/store/list-rows.ts';
import { type FakeHostWorld, fakeHostWorld, joinAs } from '../support/fake/host-world.ts';
import { answered, dump, killed, running, tick, withList } from '../support/host-story.ts';
import { KEY, OPERATOR } from '../support/list-story.ts';

const RETIRE = { id: 'z', command: { type: 'retire', by: OPERATOR } } as const;

/** A record of an owner before, which this one has not folded. */
async function appendGap(world: FakeHostWorld): Promise<void> {
  const { n, seq, hash, at } = openDraft(world.rows, KEY, 0).head();
  const bytes = encodeRecord({ n: n + 1, epoch: 1, prev: hash, at }, []);
  expect(await world.ledger.append(slotOf(KEY), KEY, bytes, seq)).toMatchObject({ kind: 'stored' });
}

test('a gap that cannot be read is read again until it can, and the process goes on', async () => {
  const world = fakeHostWorld();
  const host = await withList(world);
  await appendGap(world);
  const { read } = world.ledger;
  let failures = 0;
  Object.assign(world.ledger, {
    read: (...args: Parameters<typeof read>) => {
      failures += 1;
      if (failures <= 5) throw new MailError(451, '4.3.0', 'the ledger could not be read');
      return read(...args);
    },
  });
  const reply = host.command(KEY, RETIRE);
  for (let i = 0; i < 100; i++) await tick(world, 500);
  expect(answered(await reply)).toEqual({ type: 'done' });
  expect(failures).toBeGreaterThan(5);
});

test('a slot that is lost while its gap cannot be read is let go of', async () => {
  const world = fakeHostWorld();
  const host = await withList(world);
  await appendGap(world);
  const read = () => {
    throw new MailError(451, '4.3.0', 'the ledger could not be read');
  };
  Object.assign(world.ledger, { read });
  const reply = host.command(KEY, RETIRE);
  await tick(world, 500);
  const refuse = async () => {
    throw new MailError(451, '4.3.0', 'away');
  };
  Object.assign(world.nodes, { update: refuse, create: refuse, get: refuse, delete: refuse });
  for (let i = 0; i < 60; i++) await tick(world, 500);
  expect(await reply).toMatchObject({ kind: 'failed', error: { code: 451 } });
});

test('a leader that lags behind makes neither rows nor a ledger wrong', async () => {
  const world = fakeHostWorld();
  const before = await withList(world);
  const { seq } = before.position(KEY);
  const rows = dump(world.rows);
  const next = killed(world);
  const { end, last } = next.ledger;
  let lagging = 8;
  Object.assign(next.ledger, {
    end: async () => (lagging-- > 0 ? seq - 1 : end()),
    last: async (slot: number, whose: Parameters<typeof last>[1]) =>
      whose !== 'owner' && lagging-- > 0 ? null : last(slot, whose),
  });
  const failures: unknown[] = [];
  const starting = startHost(next, await joinAs(next), (error) => failures.push(error));
  for (let i = 0; i < 20; i++) await tick(next, 500);
  const host = await starting;
  running.push({ host, world: next });
  for (let i = 0; i < 20; i++) await tick(next, 500);
  expect(host.mayAnswer(KEY)).toBe(true);
  expect(dump(next.rows).filter(([key]) => key[0] === KEY)).toEqual(
    rows.filter(([key]) => key[0] === KEY),
  );
  lagging = 8;
  const reply = host.command(KEY, RETIRE);
  for (let i = 0; i < 20; i++) await tick(next, 500);
  expect(answered(await reply)).toEqual({ type: 'done' });
  expect(failures).toEqual([]);
});

test('a ledger that stays shorter than the rows is refused in the end', async () => {
  const world = fakeHostWorld();
  await withList(world);
  const next = killed(world);
  Object.assign(next.ledger, { end: async () => 1 });
  const { records } = next.ledger;
  const before = records.length;
  const failed = Promise.withResolvers<unknown>();
  void startHost(next, await joinAs(next), failed.resolve).catch(failed.resolve);
  for (let i = 0; i < 20; i++) await tick(next, 500);
  expect(await failed.promise).toBeInstanceOf(OperatorError);
  expect(records.length, 'nothing was appended to it').toBe(before);
});
