import { afterEach, expect, test } from 'vitest';
import { MailError } from '../../src/errors.ts';
import type { Address } from '../../src/mail/address.ts';
import { chunkName } from '../../src/mail/chunk.ts';
import { LIFE_MS } from '../../src/runners/retry-schedule.ts';
import { BY, took } from '../support/chunk.ts';
import { chunkOf, member, RAW } from '../support/outgoing-story.ts';
import {
  members,
  recipients,
  startOutgoing as start,
  stopPools,
} from '../support/outgoing-world.ts';

afterEach(stopPools);

const code = (text: string): { code: number; status: string; reply: string } => ({
  ...{ code: Number(text), status: `${text[0]}.1.1`, reply: `said ${text}` },
});
/** What the fake MTA says to whom it accepts; without it: the word was lost. */
const TAKEN = '2.0.0 taken';
const BY_MTA = { route: 'mta', at: expect.any(Number) };
const taken = (...numbers: readonly number[]) =>
  numbers.map((number) => [number, number, { ...BY_MTA, reply: TAKEN }]);

test('each member gets one copy, with a return path of their own', async () => {
  const { smtp, dispose, result } = start();
  const chunk = chunkOf(5);
  expect(await dispose(chunk)).toEqual({ kind: 'done' });
  expect(recipients(smtp).sort()).toEqual(members(0, 1, 2, 3, 4));
  expect(smtp.mails.every((mail) => mail.recipients.length === 1)).toBe(true);
  const senders = new Set(smtp.mails.map((mail) => mail.sender));
  expect(senders.size).toBe(5);
  for (const sender of senders) expect(sender).toMatch(/^b\+[a-z2-7]{37}@lists\.example$/);
  expect(Buffer.from(smtp.mails[0]?.message ?? []).toString()).toContain('Subject: [dev] hello');
  expect(result(chunk)).toEqual({
    ...{ kind: 'done', at: expect.any(Number), deferred: [], refused: [] },
    accepted: taken(1, 4, 7, 10, 13),
  });
});

test('in mode shared one rendering goes to many, from the robot of the list', async () => {
  const { smtp, dispose } = start({ recipientsMax: 100 });
  const chunk = chunkOf(250);
  await dispose({ ...chunk, recipe: { ...chunk.recipe, mode: 'shared' } });
  expect(smtp.mails.map((mail) => mail.recipients.length).sort()).toEqual([100, 100, 50]);
  expect(new Set(recipients(smtp)).size).toBe(250);
  expect(new Set(smtp.mails.map((mail) => mail.sender))).toEqual(
    new Set(['dev-bounces@lists.example']),
  );
});

test('a notice goes out from nobody, and what is forwarded from the robot', async () => {
  const { smtp, dispose } = start();
  const chunk = chunkOf(1, { mail: { inline: RAW.toString('base64') } });
  await dispose({ ...chunk, recipe: { ...chunk.recipe, kind: 'notice' } });
  expect(smtp.mails[0]?.sender).toBe('');
  expect(Buffer.from(smtp.mails[0]?.message ?? []).equals(RAW)).toBe(true);
  await dispose({ ...chunk, post: '8', recipe: { ...chunk.recipe, kind: 'forward' } });
  expect(smtp.mails[1]?.sender).toBe('dev-bounces@lists.example');
});

test('O1: a chunk whose last result is done is not sent again', async () => {
  const { smtp, dispose } = start();
  await dispose(chunkOf(3));
  expect(await dispose(chunkOf(3))).toEqual({ kind: 'done' });
  expect(smtp.mails.length).toBe(3);
});

test('O2: whom a part names is left out, and stands in the result', async () => {
  const { smtp, dispose, told, result } = start();
  const chunk = chunkOf(4);
  told.push({
    name: chunkName(chunk),
    result: {
      ...{ kind: 'part', at: 1, accepted: [took(1), took(4)], deferred: [] },
      refused: [{ ...BY, number: 7, ...code('550') }],
    },
  });
  await dispose(chunk);
  expect(recipients(smtp)).toEqual(members(3));
  expect(result(chunk)).toMatchObject({
    ...{
      kind: 'done',
      accepted: [took(1), took(4), ...taken(10)],
      refused: [{ ...BY, number: 7, code: 550 }],
    },
  });
});

test('O2: whom the try before names as accepted is left out', async () => {
  const { smtp, dispose, told } = start();
  const first = chunkOf(4);
  told.push({
    name: chunkName(first),
    result: {
      ...{ kind: 'done', at: 1, accepted: [took(4)], deferred: [], refused: [] },
    },
  });
  await dispose({ ...first, class: 'retry', try: 1 });
  expect(recipients(smtp).sort()).toEqual(members(0, 2, 3));
});

test('O3: who is refused with 4xx is in the next try, in LATER, before the result is told', async () => {
  const { smtp, dispose, later, told, failing, result, clock } = start();
  smtp.rule = (to) => (to === member(1) || to === member(3) ? code('451') : null);
  const chunk = chunkOf(5, {}, clock.now());
  failing.set('tell', new MailError(451, '4.3.0', 'away'));
  await expect(dispose(chunk)).rejects.toThrow('away');
  const name = chunkName({ ...chunk, try: 1 });
  expect([...later.keys()]).toEqual([name]);
  expect(told).toEqual([]);
  failing.clear();
  await dispose(chunk);
  expect(recipients(smtp).sort()).toEqual(members(0, 2, 4));
  const next = later.get(name);
  expect(next?.chunk).toMatchObject({ try: 1, class: 'retry', firstAt: chunk.firstAt });
  expect(next?.chunk.to.map(([number]) => number)).toEqual([4, 10]);
  const delay = (next?.at ?? 0) - clock.now();
  expect(delay).toBeGreaterThanOrEqual(270_000);
  expect(delay).toBeLessThanOrEqual(330_000);
  expect(result(chunk)?.deferred.map(({ number, code: word }) => [number, word])).toEqual([
    [4, 451],
    [10, 451],
  ]);
});

test('who is refused with 5xx is in the result, and not tried again', async () => {
  const { smtp, dispose, later, result } = start();
  smtp.rule = (to) => (to === member(1) ? code('550') : null);
  const chunk = chunkOf(3);
  await dispose(chunk);
  expect(later.size).toBe(0);
  expect(result(chunk)).toMatchObject({
    ...{
      accepted: taken(1, 7),
      refused: [{ ...BY_MTA, number: 4, ...code('550') }],
    },
  });
});

test('after five days a recipient is given up on: 5.4.7', async () => {
  const { smtp, dispose, later, result, clock } = start();
  smtp.rule = () => code('451');
  const chunk = chunkOf(1, { try: 40 }, clock.now() - LIFE_MS);
  await dispose(chunk);
  expect([later.size, result(chunk)?.deferred]).toEqual([0, []]);
  expect(result(chunk)?.refused).toEqual([
    {
      ...{ ...BY_MTA, number: 1, code: 554, status: '5.4.7' },
      reply: 'given up after one try: 451 4.1.1 said 451',
    },
  ]);
});

test('a connection lost before the message is sent costs nothing: another one carries it', async () => {
  const { smtp, dispose, result } = start({ connectionsMax: 1 });
  let lost = 0;
  smtp.rule = () => {
    lost += 1;
    return lost % 2 === 1 ? 'lost before' : null;
  };
  const chunk = chunkOf(4);
  await dispose(chunk);
  expect(recipients(smtp)).toEqual(members(0, 1, 2, 3));
  expect(result(chunk)?.deferred).toEqual([]);
});

test('a connection that is lost each time defers that recipient alone', async () => {
  const { smtp, dispose, result } = start();
  smtp.rule = (to) => (to === member(1) ? 'lost before' : null);
  const chunk = chunkOf(3);
  await dispose(chunk);
  expect(recipients(smtp).sort()).toEqual(members(0, 2));
  expect(result(chunk)?.deferred).toMatchObject([{ number: 4, code: 421 }]);
});

test('a connection lost after the final dot is a maybe: tried again later, and counted', async () => {
  const { smtp, dispose, result, later } = start();
  smtp.rule = (to) => (to === member(1) ? 'lost after' : null);
  const chunk = chunkOf(3);
  await dispose(chunk);
  expect(recipients(smtp).sort()).toEqual(members(0, 1, 2));
  expect(result(chunk)?.deferred).toMatchObject([{ number: 4, code: 0 }]);
  expect(later.size).toBe(1);
});

test('without a connection the whole chunk waits, not for long, and the result says why and until when', async () => {
  const { smtp, dispose, result, later, clock } = start();
  smtp.isDown = true;
  const chunk = chunkOf(3, {}, clock.now());
  expect(await dispose(chunk)).toEqual({ kind: 'done' });
  const [next] = later.values();
  const said = { code: 451, status: '4.4.1', reply: 'no route could be reached', route: 'mta' };
  expect(result(chunk)).toMatchObject({
    ...{ kind: 'done', accepted: [], refused: [] },
    deferred: chunk.to.map(([number]) => ({ number, ...said, next: next?.at })),
  });
  expect(next?.chunk.to).toEqual(chunk.to);
  expect((next?.at ?? 0) - clock.now()).toBeLessThanOrEqual(5_500);
  smtp.isDown = false;
  await dispose(next?.chunk ?? chunk);
  expect(recipients(smtp).sort()).toEqual(members(0, 1, 2));
});

test('a route that dies in the middle leaves the rest to the next try', async () => {
  const { smtp, dispose, later, clock } = start({ connectionsMax: 1 });
  smtp.rule = (to) => {
    if (to === member(2)) smtp.isDown = true;
    return to === member(2) ? 'lost before' : null;
  };
  const chunk = chunkOf(5, {}, clock.now());
  await dispose(chunk);
  expect(recipients(smtp)).toEqual(members(0, 1));
  const [next] = later.values();
  expect(next?.chunk.to.map(([, address]) => address)).toEqual(members(2, 3, 4));
});

test('the post is read and cooked once, however many chunks of it are sent', async () => {
  const { smtp, dispose, reads } = start();
  await Promise.all(['0', '1', '2'].map((chunk) => dispose(chunkOf(3, { chunk }))));
  expect([reads.count, smtp.mails.length]).toEqual([1, 9]);
});

test('a chunk whose raw mail is gone is parked', async () => {
  const { smtp, dispose } = start({ raw: null });
  expect(await dispose(chunkOf(3))).toMatchObject({ kind: 'park' });
  expect(smtp.mails).toEqual([]);
});

test('a read that fails for now is not kept: the next try reads again', async () => {
  const { dispose, failing } = start();
  failing.set('read', new MailError(451, '4.3.0', 'away'));
  await expect(dispose(chunkOf(1))).rejects.toThrow('away');
  failing.clear();
  expect(await dispose(chunkOf(1))).toEqual({ kind: 'done' });
});

test('internationalised and 8-bit mail is announced as what it is', async () => {
  const it = start();
  const seen: boolean[] = [];
  it.smtp.rule = (_, transaction) => {
    seen.push(transaction.smtputf8, transaction.eightBit);
    return null;
  };
  const inline = Buffer.from('Subject: x\r\n\r\nGrüße\r\n').toString('base64');
  await it.dispose(
    chunkOf(0, {
      smtputf8: true,
      mail: { inline },
      to: [[1, 'grüße@x.example' as Address]],
    }),
  );
  expect(seen).toEqual([true, true]);
});
