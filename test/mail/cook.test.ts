/** What holds of every cooked post, whatever came in and whatever the list's settings say. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Address } from '../../src/mail/address.ts';
import type { Recipe } from '../../src/mail/chunk.ts';
import { cook } from '../../src/mail/cook.ts';
import { withCrlf } from '../../src/mail/lines.ts';
import { fieldOf, message, RECIPE, split, text } from './cook-support.ts';

/** Pieces that mail is made of, so that random bytes meet every branch. */
const FRAGMENTS = [
  ...[
    '\r\n',
    '\n',
    '\r',
    ' ',
    '\t',
    ':',
    'From ',
    'Subject:',
    'Subject: Re: [dev] x',
    '--b',
    '--b--',
  ],
  ...[
    'Content-Type: multipart/mixed; boundary=b',
    'Content-Type: multipart/alternative; boundary=b',
  ],
  ...['Content-Type: text/plain; charset=utf-8', 'Content-Type: text/plain; format=flowed'],
  ...['Content-Transfer-Encoding: quoted-printable', 'Content-Transfer-Encoding: base64'],
  ...['Content-Type: text/html', '=?utf-8?q?=E2=82=AC?=', '=', 'x', 'é', '\0', 'Message-ID: <a@b>'],
];
const anyBytes = fc.oneof(
  fc.uint8Array({ maxLength: 300 }),
  fc
    .array(fc.constantFrom(...FRAGMENTS), { maxLength: 40 })
    .map((parts) => Buffer.from(parts.join(''), 'utf8')),
);
const anyText = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 300 }),
  fc
    .array(fc.constantFrom(...FRAGMENTS, 'Bcc: evil@example.com', '{unsubscribe}', '\u2028', '"'), {
      maxLength: 20,
    })
    .map((parts) => parts.join('')),
);
const anyRecipe: fc.Arbitrary<Recipe> = fc.record({
  kind: fc.constantFrom<Recipe['kind']>('post', 'post', 'post', 'forward', 'notice'),
  mode: fc.constantFrom<Recipe['mode']>('individual', 'shared'),
  list: fc.constant(RECIPE.list),
  displayName: anyText,
  description: anyText,
  subjectPrefix: anyText,
  footer: anyText,
  web: fc.oneof(fc.constantFrom('', 'https://lists.example.org'), anyText),
  messageId: fc.constantFrom('', '<made@example.org>'),
  postNumber: fc.nat(),
});

test('C1, C2: any bytes can be cooked, and every line of the result ends in CRLF', () => {
  fc.assert(
    fc.property(anyBytes, anyRecipe, (raw, recipe) => {
      const { bytes, size, eightBit } = cook(raw, recipe);
      expect(text(bytes)).not.toMatch(/(?<!\r)\n|\r(?!\n)/);
      expect(size).toBe(bytes.length);
      expect(eightBit).toBe(/[\x80-\xff]/.test(text(bytes)));
    }),
    { numRuns: 1_500 },
  );
});

test('C3: without a footer the body is the one that came', () => {
  fc.assert(
    fc.property(anyBytes, anyRecipe, (body, recipe) => {
      const raw = Buffer.concat([message('Subject: x', 'X-Other: y', '', ''), body]);
      const cooked = cook(raw, { ...recipe, kind: 'post', footer: '' });
      expect(split(cooked.bytes).body).toBe(text(withCrlf(body)));
    }),
  );
});

test('C3: with a footer the body that came still stands in it, in one piece or around one', () => {
  fc.assert(
    fc.property(anyBytes, anyRecipe, (body, recipe) => {
      const raw = Buffer.concat([message('Content-Type: text/html', '', ''), body]);
      const cooked = cook(raw, { ...recipe, kind: 'post' });
      expect(split(cooked.bytes).body).toContain(text(withCrlf(body)));
    }),
  );
});

test('C4: no setting of a list becomes a field of its own', () => {
  const names = new Set(
    fieldNames(cook(message('Message-ID: <a@b>', 'Subject: x', '', 'y'), RECIPE).bytes),
  );
  names.add('mime-version').add('content-type').add('content-transfer-encoding');
  fc.assert(
    fc.property(anyRecipe, (recipe) => {
      const raw = message('Message-ID: <a@b>', 'Subject: x', '', 'y');
      const { bytes } = cook(raw, { ...recipe, kind: 'post' });
      for (const name of fieldNames(bytes)) expect(names).toContain(name);
      for (const line of split(bytes).header.split('\r\n')) {
        expect(line).toMatch(/^[\x20-\x7e]*$/);
        expect(line.length).toBeLessThanOrEqual(998);
      }
    }),
    { numRuns: 1_000 },
  );
});

test('the same bytes and recipe are cooked into the same bytes', () => {
  fc.assert(
    fc.property(anyBytes, anyRecipe, (raw, recipe) => {
      expect(text(cook(raw, recipe).bytes)).toBe(text(cook(Uint8Array.from(raw), recipe).bytes));
    }),
  );
});

test('a list whose post comes back can see by a field of its own that it was here', () => {
  const first = cook(message('Subject: x', '', 'y'), RECIPE).bytes;
  const other = cook(first, { ...RECIPE, list: 'other@example.com' as Address });
  expect(text(other.bytes)).toContain('\r\nX-Loop: dev@example.org\r\n');
  expect(fieldOf(other.bytes, 'List-Id')).toBe('Developers <other.example.com>');
  expect(text(other.bytes).match(/^List-Id:/gm)).toHaveLength(1);
});

test('a header too large to be read goes on below our own, as it came', () => {
  const raw = message('Subject: x', ...Array(2_000).fill('X-Much: y'), 'Sender: z', '', 'body');
  const cooked = text(cook(raw, RECIPE).bytes);
  expect(cooked.startsWith('Sender: dev-bounces@example.org\r\n')).toBe(true);
  expect(cooked.endsWith(text(raw))).toBe(true);
});

test('a field with a blank before its colon is not taken for the line of an mbox', () => {
  const cooked = cook(message('From : ann@example.net', 'Subject: x', '', 'y'), RECIPE);
  expect(text(cooked.bytes)).toContain('From : ann@example.net\r\n');
});

test('a notice stays as it was written', () => {
  const raw = message('From: dev-owner@example.org', 'Subject: x', '', 'y', '');
  expect(text(cook(raw, { ...RECIPE, kind: 'notice' }).bytes)).toBe(text(raw));
});

test('a body that only looks like our boundary is no trouble', () => {
  const raw = message('Content-Type: text/html', '', '--=_0123456789abcdef0123456789abcdef', '');
  const boundary = /boundary="([^"]+)"/.exec(text(cook(raw, RECIPE).bytes))?.[1] ?? '';
  expect(boundary).toMatch(/^=_[0-9a-f]{32}$/);
  expect(text(raw)).not.toContain(boundary);
});

test('twice the mail takes about twice the work, however hostile it is', () => {
  const hostile = (lines: number): Uint8Array =>
    message(
      'Content-Type: multipart/mixed; boundary=b',
      'Subject: Re: Re: Re:',
      `\r\n${'--b--x--b --b\r\n'.repeat(lines)}`,
    );
  const costOf = (raw: Uint8Array): number => {
    const from = process.cpuUsage();
    for (let i = 0; i < 5; i++) cook(raw, RECIPE);
    const { user, system } = process.cpuUsage(from);
    return user + system;
  };
  costOf(hostile(50_000));
  expect(costOf(hostile(200_000))).toBeLessThan(10 * costOf(hostile(50_000)) + 50_000);
});

function fieldNames(bytes: Uint8Array): readonly string[] {
  return split(bytes)
    .header.split(/\r\n(?![ \t])/)
    .filter((field) => field !== '')
    .map((field) => field.slice(0, field.indexOf(':')).toLowerCase());
}
