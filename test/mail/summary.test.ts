/** What a list is told of a mail: the fixtures say what, byte for byte. */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { PostSummary } from '../../actors/protocol.ts';
import { parseAddress } from '../../src/mail/address.ts';
import type { Envelope } from '../../src/mail/envelope.ts';
import { listKeyOf } from '../../src/mail/list-key.ts';
import { AUTHORS_MAX, readMail, SUBJECT_LENGTH_MAX, summarise } from '../../src/mail/summary.ts';

const FIXTURES = new URL('../fixtures/mail/', import.meta.url);
const JANE = parseAddress('jane@example.org') ?? expect.unreachable();
const LIST = {
  key: listKeyOf(new Uint8Array(26)),
  address: parseAddress('dev@lists.example') ?? expect.unreachable(),
};
const ENVELOPE: Envelope = {
  sender: JANE,
  recipients: [LIST.address],
  smtputf8: false,
  eightBit: true,
  receivedAt: 1_000,
  peer: '192.0.2.1',
  helo: 'mx.example.org',
  trace: 't1',
};

function summaryOf(raw: Uint8Array, envelope: Partial<Envelope> = {}): PostSummary {
  const mail = { in: 'mail', seq: 7 } as const;
  return summarise(readMail(raw), raw, { ...ENVELOPE, ...envelope }, mail, LIST);
}

const names = readdirSync(FIXTURES)
  .filter((name) => name.endsWith('.eml'))
  .map((name) => name.slice(0, -4));

test.each(names)('the fixture %s is summarised as it says', (name) => {
  const raw = readFileSync(new URL(`${name}.eml`, FIXTURES));
  const expected = JSON.parse(readFileSync(new URL(`${name}.json`, FIXTURES), 'utf8'));
  const summary = summaryOf(raw);
  const ours = expect.stringMatching(/^<[0-9a-f]{32}\.troupe@lists\.example>$/);
  expect(summary).toMatchObject({ ...expected, messageId: expected.messageId ?? ours });
  expect(summary).toMatchObject({
    sender: JANE,
    bytes: raw.length,
    authentication: 'none',
    mail: { in: 'mail', seq: 7 },
    receivedAt: 1_000,
    trace: 't1',
  });
});

describe('the id', () => {
  const raw = Buffer.from('From: a@x.example\r\n\r\nbody');

  test('is the hash of sender, key and raw bytes', () => {
    const hash = createHash('sha256').update(`${JANE}\0${LIST.key}\0`).update(raw).digest('hex');
    expect(summaryOf(raw).id).toBe(hash);
  });

  test('does not depend on when and how the mail came', () => {
    const again = { receivedAt: 2_000, trace: 't2', peer: '192.0.2.2', helo: 'other' };
    expect(summaryOf(raw, again).id).toBe(summaryOf(raw).id);
    expect(summaryOf(raw, again).messageId).toBe(summaryOf(raw).messageId);
  });

  test('differs by sender, list and bytes', () => {
    const other = { ...LIST, key: listKeyOf(new Uint8Array(26).fill(1)) };
    const ids = [
      summaryOf(raw).id,
      summaryOf(raw, { sender: '' }).id,
      summaryOf(Buffer.concat([raw, raw])).id,
      summarise(readMail(raw), raw, ENVELOPE, { in: 'mail', seq: 7 }, other).id,
    ];
    expect(new Set(ids).size).toBe(4);
  });
});

test('a null sender makes a mail automatic', () => {
  expect(summaryOf(Buffer.from('From: a@x.example\r\n\r\n'), { sender: '' }).automatic).toBe(true);
});

describe('held whatever the rule of the list says', () => {
  const problemsOf = (raw: string) => readMail(Buffer.from(raw)).problems;

  test.each([
    ['a header of 300 kB', `X: ${'x'.repeat(300_000)}\r\n\r\n`],
    ['10,000 header lines', `${'X: x\r\n'.repeat(10_000)}\r\n`],
    ['501 parts', `Content-Type: multipart/mixed; boundary=b\r\n\r\n${'--b\r\n\r\n'.repeat(501)}`],
    ['100 messages inside each other', 'Content-Type: message/rfc822\r\n\r\n'.repeat(100)],
    [
      'more authors than we tell',
      `From: ${Array.from({ length: AUTHORS_MAX + 1 }, (_, i) => `a${i}@x.example`)}\r\n\r\n`,
    ],
  ])('%s', (_, raw) => {
    expect(problemsOf(raw)).toEqual(['suspicious-mime']);
  });

  test('but not what only looks like parts in plain text', () => {
    expect(problemsOf(`Subject: x\r\n\r\n${'--b\r\n\r\n'.repeat(501)}`)).toEqual([]);
  });
});

test('any bytes give a summary that is small and plain', () => {
  const piece = fc.oneof(
    fc.constantFrom(
      'From: ',
      'Subject: ',
      'a@x.example',
      '=?utf-8?q?=00?=',
      '\r\n',
      '\r\n\r\n',
      ' ',
      ',',
    ),
    fc.string({ unit: 'binary', maxLength: 6 }),
  );
  fc.assert(
    fc.property(fc.array(piece), (pieces) => {
      const summary = summaryOf(Buffer.from(pieces.join('')));
      expect(summary.subject.length).toBeLessThanOrEqual(SUBJECT_LENGTH_MAX);
      expect(summary.subject).not.toMatch(/[\p{Cc}\u2028\u2029]/u);
      expect(summary.messageId).toMatch(/^<[\x21-\x7e]+>$/);
    }),
  );
});
