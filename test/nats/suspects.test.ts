/** Rows of suspects: the first list's word stands, and what is not ours is nobody's. */
import { expect, test } from 'vitest';
import { MailError } from '../../src/errors.ts';
import type { ListKey } from '../../src/mail/list-key.ts';
import {
  createSuspects,
  type Suspect,
  type SuspectRow,
  suspectName,
} from '../../src/nats/suspects.ts';
import type { Kv } from '../../src/world.ts';
import { createFakeKv } from '../support/fake/kv.ts';
import { ANNE, address, BART, KEY, LIST } from '../support/list-story.ts';

const cause = {
  ...{ seq: 9, reason: 'user-unknown', status: '5.1.1', code: 550 },
  diagnostic: '550 no such user, said to b+secret@lists.example',
};
const suspect: Suspect = { address: BART, list: LIST, key: KEY, at: 1_700_000_000_000, cause };
const other: Suspect = { ...suspect, key: 'b'.repeat(26) as ListKey, at: suspect.at + 1 };

async function rowsOf(kv: Kv): Promise<readonly SuspectRow[]> {
  const ending = new AbortController();
  const rows: SuspectRow[] = [];
  for await (const row of createSuspects(kv).follow(ending.signal)) {
    if (row === 'ready') ending.abort();
    else rows.push(row);
  }
  return rows;
}

test('the first list that finds an address dead is named, without what it was told in words', async () => {
  const kv = createFakeKv();
  const suspects = createSuspects(kv);
  expect(await suspects.add(suspect)).toBe(true);
  expect(await suspects.add({ ...other, address: address('BART@example.net') })).toBe(true);
  expect(await rowsOf(kv)).toEqual([
    {
      ...{ name: suspectName(BART), revision: 1 },
      suspect: { ...suspect, cause: { ...cause, diagnostic: '' } },
    },
  ]);
});

test('an address that is sent to again is no suspect, and may become one again', async () => {
  const kv = createFakeKv();
  const suspects = createSuspects(kv);
  await suspects.remove(ANNE); // Nobody suspected it: nothing is written.
  await suspects.add(suspect);
  await suspects.remove(BART);
  expect(await rowsOf(kv)).toEqual([{ name: suspectName(BART), revision: 2, suspect: null }]);
  await suspects.add(other);
  expect(await rowsOf(kv)).toMatchObject([{ suspect: { key: other.key, at: other.at } }]);
});

test('a row that this version did not write makes nobody suspect', async () => {
  const kv = createFakeKv();
  const wrong = [
    ...['', '{}', '{"v":1}', '[]', 'null'],
    JSON.stringify({ v: 2, ...suspect }),
    JSON.stringify({ v: 1, ...suspect, address: 'no address' }),
    JSON.stringify({ v: 1, ...suspect, key: '../x' }),
    JSON.stringify({ v: 1, ...suspect, at: 'now' }),
    JSON.stringify({ v: 1, ...suspect, cause: { reason: 'user-unknown' } }),
  ];
  for (const [i, text] of wrong.entries()) await kv.create(`k${i}`, Buffer.from(text));
  const rows = await rowsOf(kv);
  expect(rows).toHaveLength(wrong.length);
  expect(rows.filter((row) => row.suspect !== null)).toEqual([]);
});

test('a bucket without room takes none; any other failure is told', async () => {
  const failing = (code: number, status: `4.3.${0 | 1}`): Kv => ({
    ...createFakeKv(),
    create: async () => {
      throw new MailError(code, status, 'not now');
    },
  });
  expect(await createSuspects(failing(452, '4.3.1')).add(suspect)).toBe(false);
  await expect(createSuspects(failing(451, '4.3.0')).add(suspect)).rejects.toThrow('not now');
});
