/** Recognising bounces: what MTAs of each family write, and what only looks like it. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { type Recognised, recognise } from '../../src/mail/dsn.ts';
import { corpusSkip, mboxMessages, SHARED } from '../support/corpora.ts';

const FIXTURES = join(import.meta.dirname, '..', 'fixtures', 'dsn');

type Expected = { readonly kind: Recognised['kind']; readonly results: readonly object[] };

function read<T>(...path: readonly string[]): T {
  return JSON.parse(readFileSync(join(...path), 'utf8'));
}

const mail = (...lines: readonly string[]): Recognised =>
  recognise(Buffer.from(lines.join('\r\n')));

describe('what MTAs of each family write is recognised', () => {
  const expected = read<Readonly<Record<string, Expected>>>(FIXTURES, 'expected.json');
  test.each(Object.entries(expected))('%s', (name, { kind, results }) => {
    const recognised = recognise(readFileSync(join(FIXTURES, `${name}.eml`)));
    expect(recognised).toMatchObject({ kind, results });
    expect(recognised.results).toHaveLength(results.length);
    expect(recognised.why === null).toBe(kind !== 'none');
  });
});

test('line ends of any kind say the same', () => {
  const lf = readFileSync(join(FIXTURES, 'rfc3464-mixed.eml'), 'latin1');
  const crlf = lf.replaceAll('\n', '\r\n');
  expect(recognise(Buffer.from(crlf, 'latin1'))).toEqual(recognise(Buffer.from(lf, 'latin1')));
});

test('a result says status, code and diagnostic as the MTA said them', () => {
  expect(recognise(readFileSync(join(FIXTURES, 'rfc3464.eml'))).results).toEqual([
    {
      recipient: 'kim@example.net',
      permanent: true,
      status: '5.1.1',
      code: 550,
      reason: 'user-unknown',
      rule: 'rfc3464',
      diagnostic: '550 5.1.1 <kim@mailbox.example.net>: Recipient address rejected: User unknown',
    },
  ]);
});

test('a diagnostic and a text are at most 500 characters without control characters', () => {
  const { results, text } = mail(
    'From: MAILER-DAEMON@example.net',
    'Subject: failure notice',
    '',
    `<kim@example.net>: 550 no such user \u0001\u001b[31m ${'word '.repeat(200)}`,
  );
  expect(results.map(({ diagnostic }) => diagnostic.length)).toEqual([500]);
  expect(text.length).toBe(500);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there.
  expect(text + results[0]?.diagnostic).not.toMatch(/[\u0000-\u001f\u007f]/);
});

test('nothing at all, and what is no mail, is told as nothing with the reason why', () => {
  expect(recognise(new Uint8Array())).toMatchObject({ kind: 'none', results: [] });
  expect(recognise(Buffer.alloc(5_000, 0xff)).kind).toBe('none');
  expect(mail('Subject: hello', 'From: kim@example.net', '', 'Hello.').why).toBe(
    'not written by a mail host',
  );
});

test('the address that a notice was sent to is not taken for one that failed', () => {
  const { results } = mail(
    'From: MAILER-DAEMON@example.net',
    'To: b+token@lists.example.org',
    'Subject: Undeliverable',
    '',
    'A message from b+token@lists.example.org to kim@example.net failed: user unknown.',
  );
  expect(results.map(({ recipient }) => recipient)).toEqual(['kim@example.net']);
});

test('a notice that names several addresses and none of them as failed says nothing', () => {
  const { kind, why } = mail(
    'From: MAILER-DAEMON@example.net',
    'Subject: Undeliverable',
    '',
    'There was an error somewhere. See lee@example.net, kim@example.net, max@example.net.',
  );
  expect({ kind, why }).toEqual({ kind: 'none', why: 'tells of a failure, but not whose' });
});

test('recipients past the limit of groups are cut, and never make it slow', () => {
  const group = (i: number) => `Final-Recipient: rfc822; u${i}@example.net\nAction: failed\n\n`;
  const groups = Array.from({ length: 3_000 }, (_, i) => group(i)).join('');
  const { results } = mail(
    'From: MAILER-DAEMON@example.net',
    'Content-Type: multipart/report; boundary=b',
    '',
    '--b',
    'Content-Type: message/delivery-status',
    '',
    groups,
    '--b--',
  );
  expect(results).toHaveLength(1_000);
});

describe('corpora: bounces collected by others', () => {
  const exact = (corpus: string) => {
    const folder = join(SHARED, 'corpora', corpus);
    const entries = read<readonly Scored[]>(folder, 'manifest.json').filter(isScored);
    const wrong = entries.filter(
      (entry) => !isExact(entry, readFileSync(join(folder, entry.file))),
    );
    const all = entries.filter((entry) => wanted(entry).length > 0).length;
    const missed = wrong.filter((entry) => wanted(entry).length > 0).length;
    return { share: 1 - missed / all, falsePositives: wrong.length - missed };
  };

  test.skipIf(corpusSkip('bounce-flufl'))('flufl.bounce: 98.2 % exact, no false one', () => {
    const { share, falsePositives } = exact('bounce-flufl');
    expect(share).toBeGreaterThanOrEqual(0.982);
    expect(falsePositives).toBe(0);
  });

  test.skipIf(corpusSkip('bounce-bounceparser'))('BounceParser: 97 % exact', () => {
    expect(exact('bounce-bounceparser').share).toBeGreaterThanOrEqual(0.97);
  });

  test.skipIf(corpusSkip('archives'))(
    'posts of lists are no bounces, even about failures',
    () => {
      const posts = ['linux-sparse-2019-2021.mbox.gz', 'usrp-users-2021H1.mbox.gz'].flatMap(
        mboxMessages,
      );
      const kinds = new Set(posts.map((post) => recognise(post).kind));
      expect(posts.length).toBeGreaterThan(2_500);
      expect([...kinds]).toEqual(['none']);
    },
    300_000,
  );
});

/** An entry of either manifest, as the scoring script beside them reads it. */
type Scored = {
  readonly file: string;
  readonly assertedSet?: string | null;
  readonly expectPermanent?: readonly string[];
  readonly expectTemporary?: readonly string[];
  readonly addresses?: readonly string[];
  readonly is_bounce?: number | string;
};

function isScored(entry: Scored): boolean {
  if (entry.expectPermanent !== undefined) return Boolean(entry.assertedSet);
  return entry.addresses !== undefined || String(entry.is_bounce) === '0';
}

function wanted(entry: Scored): readonly string[] {
  if (String(entry.is_bounce) === '0') return [];
  const { expectPermanent = [], expectTemporary = [], addresses = [] } = entry;
  return [...expectPermanent, ...expectTemporary, ...addresses].map((one) => one.toLowerCase());
}

function isExact(entry: Scored, raw: Uint8Array): boolean {
  const { kind, results } = recognise(raw);
  const isBounce = kind === 'bounce' || kind === 'delayed';
  const told = isBounce ? results.map(({ recipient }) => recipient.toLowerCase()) : [];
  const want = new Set(wanted(entry));
  return told.length === want.size && told.every((one) => want.has(one));
}
