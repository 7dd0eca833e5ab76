/** Bounces that came at once, as one message: what becomes of one of them is not what becomes of the others. */
import { expect, test } from 'vitest';
import { MailError } from '../../src/errors.ts';
import { recognise } from '../../src/mail/dsn.ts';
import { decodeMail, mailsOf } from '../../src/nats/mail-message.ts';
import { dispose, parkAlone } from '../../src/runners/incoming.ts';
import { dsnFrom } from '../support/dsns.ts';
import { DEV, machine, mailsTo, mailTo, world } from '../support/incoming-story.ts';

const DSN = dsnFrom({ to: 'gone@elsewhere.example' });
const bounceOf = (member: number) => [machine('b', member), DSN] as const;
const textOf = ({ data }: { readonly data: Uint8Array }): string => Buffer.from(data).toString();

test('each becomes an event of its own', async () => {
  const { needs, bounced, parked } = world();
  await dispose(mailsTo([bounceOf(4), bounceOf(5), bounceOf(4)]), needs);
  expect(bounced.map(({ key, event }) => [key, event.id])).toEqual([
    [DEV.key, 'd7-0.4x3.0'],
    [DEV.key, 'd7-1.5x3.0'],
    [DEV.key, 'd7-2.4x3.0'],
  ]);
  expect(parked).toEqual([]);
});

test('one that is not understood is set aside alone', async () => {
  const { needs, bounced, aside, parked } = world();
  const hello = [machine('b', 5), 'Subject: hello\r\n\r\nnothing'] as const;
  await dispose(mailsTo([bounceOf(4), hello, bounceOf(6)]), needs);
  expect(bounced.map(({ event }) => 'member' in event && event.member)).toEqual([4, 6]);
  expect(parked).toMatchObject([{ where: 'bounce', seq: 7 }]);
  expect(aside.map(textOf)).toEqual([hello[1]]);
  expect(aside.map((message) => decodeMail(message).envelope)).toMatchObject([
    { recipients: [hello[0]], trace: 't1' },
  ]);
});

test('one in which a bug shows is parked alone, with where', async () => {
  const { needs, bounced, aside, parked, logged } = world();
  const bad = 'Subject: bad\r\n\r\nbad';
  const failing = {
    ...needs,
    recognise(raw: Uint8Array) {
      if (textOf({ data: raw }) === bad) throw new TypeError('a bug');
      return recognise(raw);
    },
  };
  const disposal = await dispose(mailsTo([[machine('b', 5), bad], bounceOf(4)]), failing);
  expect(disposal).toEqual({ kind: 'done' });
  expect(bounced).toHaveLength(1);
  const why = expect.stringContaining('TypeError: a bug');
  expect(parked).toEqual([{ where: 'incoming', seq: 7, why }]);
  expect(aside.map(textOf)).toEqual([bad]);
  expect(logged).toContainEqual({ runner: 'incoming', seq: 7, whys: [why] });
});

test('while one cannot be told all come again, and none is set aside twice', async () => {
  const { needs, bounced, parked } = world();
  const hello = [machine('b', 5), 'Subject: hello\r\n\r\nnothing'] as const;
  const message = mailsTo([hello, bounceOf(4), bounceOf(6)]);
  const put = async () => {
    throw new MailError(451, '4.3.0', 'Mail system is not ready, try again later');
  };
  const away = dispose(message, { ...needs, bounces: { put } });
  await expect(away).rejects.toMatchObject({ code: 451 });
  expect(parked).toEqual([]);
  await dispose(message, needs);
  expect(parked).toHaveLength(1);
  expect(bounced).toHaveLength(2);
});

test('one that a list would keep waits for an operator, and is told once it has a message to itself', async () => {
  const { needs, told, bounced, aside, parked } = world();
  await dispose(mailsTo([['dev@lists.example', 'Subject: x\r\n\r\nx'], bounceOf(4)]), needs);
  expect(told).toEqual([]);
  expect(bounced).toHaveLength(1);
  expect(parked).toMatchObject([{ where: 'bounce', why: expect.stringContaining('replay') }]);
  const [alone] = aside;
  await dispose({ ...mailTo([]), ...alone, seq: 9 }, needs);
  expect(told).toMatchObject([
    { key: DEV.key, asked: { command: { post: { mail: { seq: 9 } } } } },
  ]);
});

test('a message that killed its process is parked as its mails, one that is not ours as it is', async () => {
  const { needs, aside, parked } = world();
  const park = parkAlone(needs.park, mailsOf);
  await park('incoming', mailsTo([bounceOf(4), bounceOf(5)]), 'it died');
  expect(aside.map((message) => decodeMail(message).envelope.recipients)).toEqual([
    [machine('b', 4)],
    [machine('b', 5)],
  ]);
  const strange = { ...mailsTo([bounceOf(4)]), data: Buffer.from('cut') };
  await park('incoming', strange, 'it died');
  expect(aside.at(-1)).toBe(strange);
  expect(parked.map(({ why }) => why)).toEqual(['it died', 'it died', 'it died']);
});
