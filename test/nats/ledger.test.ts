import { afterAll, beforeAll, expect, test } from 'vitest';
import { slotOf } from '../../src/mail/list-key.ts';
import { createLedger, RECORD_BYTES_MAX } from '../../src/nats/ledger.ts';
import { createPublisher } from '../../src/nats/publisher.ts';
import type { Ledger } from '../../src/world.ts';
import { all, newKey } from '../contract/ledger.ts';
import { eventually } from '../support/eventually.ts';
import { type Site, startSite } from '../support/nats.ts';

let site: Site;
let ledger: Ledger;
beforeAll(async () => {
  site = await startSite();
  ledger = createLedger(site.nats, site.publisher);
});
afterAll(() => site.stop());

const ALL_SLOTS = Array.from({ length: 64 }, (_, slot) => slot);

/** Appends records to new lists; returns all sequences in order. */
async function fill(lists: number, records: number): Promise<number[]> {
  const seqs = await Promise.all(
    Array.from({ length: lists }, async () => {
      const key = newKey();
      const mine: number[] = [];
      for (let i = 0; i < records; i++) {
        const bytes = Buffer.from(`${i}`);
        const outcome = await ledger.append(slotOf(key), key, bytes, mine.at(-1) ?? 0);
        if (outcome.kind !== 'stored') throw new Error(outcome.kind);
        mine.push(outcome.seq);
      }
      return mine;
    }),
  );
  return seqs.flat().toSorted((a, b) => a - b);
}

test('a scan goes on where it was when the server is killed in the middle of it', async () => {
  const after = await ledger.end();
  const seqs = await fill(40, 100);
  const found: number[] = [];
  for await (const { seq } of ledger.scan(ALL_SLOTS, after)) {
    found.push(seq);
    if (found.length === 50) {
      await site.server.kill9();
      await site.server.restart();
    }
  }
  expect(found).toEqual(seqs);
});

test('a scan asks for many records at once, of all slots and of some', async () => {
  await fill(50, 100);
  const end = await ledger.end();
  for (const slots of [ALL_SLOTS, ALL_SLOTS.slice(0, 40)]) {
    const before = site.nats.nc.stats().outMsgs;
    const found = await all(ledger.scan(slots, 0));
    const asked = site.nats.nc.stats().outMsgs - before;
    expect(found.length).toBeLessThanOrEqual(end);
    // Batches: a round trip a record would be a hundred times slower, on any machine.
    expect(asked).toBeLessThan(found.length / 100);
  }
});

test('a reader leaves no consumer behind', async () => {
  const key = newKey();
  await ledger.append(slotOf(key), key, Buffer.from('a'), 0);
  await all(ledger.read(slotOf(key), key, 0));
  await eventually(
    async () => (await site.nats.jsm.streams.info('TROUPE_LEDGER')).state.consumer_count,
  ).toBe(0);
});

test('an append without a server is in doubt; the same bytes go in when it is back', async () => {
  const key = newKey();
  const bytes = Buffer.from('the same bytes');
  const append = async () => ledger.append(slotOf(key), key, bytes, 0);
  await site.server.pause();
  const hanging = append();
  await site.server.kill9();
  expect(await hanging).toEqual({ kind: 'doubt' });
  expect(await append()).toEqual({ kind: 'doubt' });
  await expect(ledger.last(slotOf(key), key)).rejects.toThrow('not ready');
  await site.server.restart();
  await eventually(async () => (await append()).kind).not.toBe('doubt');
  const records = await all(ledger.read(slotOf(key), key, 0));
  expect(records.map((record) => Buffer.from(record.bytes).toString())).toEqual(['the same bytes']);
});

test('a ledger without room says full and stores nothing', async () => {
  const small = await startSite({ maxFileStore: 4_000_000 });
  const narrow = createLedger(small.nats, small.publisher);
  const key = newKey();
  const bytes = new Uint8Array(200_000);
  let expected = 0;
  let kind = '';
  for (let i = 0; i < 10 && kind !== 'full'; i++) {
    const outcome = await narrow.append(slotOf(key), key, bytes, expected);
    kind = outcome.kind;
    if (outcome.kind === 'stored') expected = outcome.seq;
  }
  expect(kind).toBe('full');
  expect((await narrow.last(slotOf(key), key))?.seq).toBe(expected);
  await small.stop();
});

test('a record larger than the stream takes is a bug, not a doubt', async () => {
  const key = newKey();
  const largest = new Uint8Array(RECORD_BYTES_MAX);
  expect((await ledger.append(slotOf(key), key, largest, 0)).kind).toBe('stored');
  const larger = new Uint8Array(RECORD_BYTES_MAX + 1);
  await expect(ledger.append(slotOf(key), key, larger, 0)).rejects.toThrow('larger than a turn');
});

test('a reader gives up with 451 where the server stays away', async () => {
  const key = newKey();
  const publisher = createPublisher(site.nats);
  const other = createLedger(site.nats, publisher);
  await site.server.kill9();
  await eventually(() => site.nats.isConnected()).toBe(false);
  await expect(all(other.read(slotOf(key), key, 0))).rejects.toThrow('not ready');
  await site.server.restart();
  publisher.close();
});
