/** What a verifier that is not ours says of our signatures, whatever mail came in. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import type { Address } from '../../src/mail/address.ts';
import type { Recipe } from '../../src/mail/chunk.ts';
import { cook } from '../../src/mail/cook.ts';
import { createDkim, type Ready } from '../../src/mail/dkim.ts';
import { composeNotice } from '../../src/mail/notice.ts';
import { render } from '../../src/mail/render.ts';
import { newKey, verify } from '../support/dkim.ts';
import { COPY, fieldOf, message, RECIPE, text } from './cook-support.ts';

const DOMAIN = 'example.org';
const rsa = newKey('rsa', DOMAIN);
const ed25519 = newKey('ed25519', DOMAIN);
const keys = [rsa, ed25519];
const dkim = createDkim(keys, 2);
const quick = createDkim([ed25519], 1);
afterAll(() => Promise.all([dkim.close(), quick.close()]));

const FIXTURES = new URL('../fixtures/cook/', import.meta.url);
const names = readdirSync(FIXTURES)
  .filter((file) => file.endsWith('.eml'))
  .map((file) => file.slice(0, -'.eml'.length));
const RAW = message(
  ...['From: Ada <ada@x.example>', 'To: dev@example.org', 'Subject: Hello'],
  ...['Date: Mon, 2 Mar 2026 10:00:00 +0000', 'Message-ID: <1@x.example>', '', 'Hello, all.', ''],
);

const ready = (raw: Uint8Array, recipe: Recipe = RECIPE, by = dkim): Ready =>
  by.prepare(cook(raw, recipe), recipe.list);

async function copyOf(post: Ready, member = COPY.member): Promise<Uint8Array> {
  const copy = render(post, { ...COPY, member });
  await post.sign?.(copy);
  return copy;
}

async function resultsOf(copy: Uint8Array, of = keys): Promise<readonly string[]> {
  return (await verify(copy, of)).map(({ selector, result }) => `${selector} ${result}`);
}

test.each(names)('copies of %s pass in both modes', async (name) => {
  const changes = new URL(`${name}.json`, FIXTURES);
  const recipe: Recipe = existsSync(changes)
    ? { ...RECIPE, ...JSON.parse(readFileSync(changes, 'utf8')) }
    : RECIPE;
  const raw = readFileSync(new URL(`${name}.eml`, FIXTURES));
  for (const mode of ['individual', 'shared'] as const) {
    const post = ready(raw, { ...recipe, mode });
    const expected = post.sign === undefined ? [] : ['rsa pass', 'ed25519 pass'];
    expect(await resultsOf(await copyOf(post))).toEqual(expected);
    expect(await resultsOf(await copyOf(post, 8))).toEqual(expected);
    // Without a From there is nobody to sign for.
    expect(post.unsigned).toBe(/^From *:/im.test(headerOf(post)) ? undefined : 'it has no From');
  }
});

/** The fields that stand above all others. */
const signaturesIn = (copy: Uint8Array): string =>
  text(copy).slice(0, text(copy).indexOf('\r\nSender:'));
const headerOf = ({ bytes }: Ready): string => text(bytes).split('\r\n\r\n')[0] ?? '';

/** Words, dots, 8-bit, blanks of all kinds and line ends, as lines of any length. */
const anyText = fc
  .array(
    fc.oneof(
      fc.constantFrom(
        '.',
        '..',
        ' ',
        '\t',
        '   ',
        '\n',
        '\r\n',
        '\r\n.\r\n',
        '\n\n',
        '\r',
        '=',
        '-- \n',
      ),
      fc.string({ unit: 'binary', maxLength: 20 }),
      fc.constantFrom('x'.repeat(1500), ' '.repeat(200), 'ä'.repeat(300)),
    ),
    { maxLength: 20 },
  )
  .map((parts) => parts.join(''));
const anyValue = fc
  .array(fc.constantFrom('word', 'ä', ' ', '\t', '\n ', '\r\n\t', '\r\n  \r\n ', ':', ';', '"'), {
    maxLength: 12,
  })
  .map((parts) => `x${parts.join('')}`);
const anyName = fc.constantFrom(
  ...['Subject', 'TO', 'Cc', 'Received', 'References', 'List-Software', 'X-Other', 'From'],
);

test('D2: whatever stands in header and body, each copy passes with each key', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(anyName, anyValue), { maxLength: 8 }),
      anyText,
      fc.constantFrom('individual', 'shared'),
      fc.constantFrom(RECIPE.footer, ''),
      fc.nat({ max: 1000 }),
      async (fields, body, mode, footer, member) => {
        const header = fields.map(([name, value]) => `${name}: ${value}\r\n`).join('');
        const raw = Buffer.from(`From: a@x.example\r\n${header}\r\n${body}`, 'utf8');
        const post = ready(raw, { ...RECIPE, mode, footer }, quick);
        expect(await resultsOf(await copyOf(post, member), [ed25519])).toEqual(['ed25519 pass']);
      },
    ),
    { numRuns: 100 },
  );
});

test('what tells who may leave and how is covered, From once more than it is there', async () => {
  const names = [...signaturesIn(await copyOf(ready(RAW))).matchAll(/\bh=([^;]*);/g)];
  expect(names).toHaveLength(2);
  for (const [, list = ''] of names) {
    const fields = list.split(':').map((name) => name.trim());
    expect(fields).toEqual(
      expect.arrayContaining([
        ...['to', 'subject', 'date', 'message-id'],
        ...['list-id', 'list-help', 'list-owner', 'list-post', 'list-subscribe', 'list-archive'],
        ...['list-unsubscribe', 'list-unsubscribe-post'],
      ]),
    );
    expect(fields.filter((name) => name === 'from')).toHaveLength(2);
  }
});

test.each([
  // With the scheme before it: a signature in base64 may have a `/u/` of its own.
  ['a token of List-Unsubscribe', (copy: string) => copy.replace(/(:\/\/\S*\/u\/)./, '$10')],
  ['the List-Unsubscribe-Post', (copy: string) => copy.replace('One-Click', 'Two-Click')],
  ['the token in the footer', (copy: string) => copy.replace(/(:\/\/\S*\/u\/).(?!.*>)/, '$10')],
  ['a second From', (copy: string) => `From: eve@evil.example\r\n${copy}`],
  ['a word of the body', (copy: string) => copy.replace('Hello, all', 'Hello, none')],
])('D1: a copy in which somebody changes %s does not pass', async (_, change) => {
  const copy = text(await copyOf(ready(RAW)));
  const changed = change(copy);
  expect(changed).not.toBe(copy);
  const results = await resultsOf(Buffer.from(changed, 'latin1'));
  expect(results).toHaveLength(2);
  for (const result of results) expect(result).not.toContain('pass');
});

test('hands on the way may fold, trim and add fields of their own above', async () => {
  const copy = text(await copyOf(ready(RAW)));
  const changed = copy
    .replace('Hello, all.\r\n', 'Hello,  all. \t\r\n')
    .replace('Subject: [dev] Hello', 'subject:[dev]\r\n\tHello ');
  const bytes = Buffer.from(`Received: from a by b\r\n${changed}\r\n\r\n`, 'latin1');
  expect(await resultsOf(bytes)).toEqual(['rsa pass', 'ed25519 pass']);
});

test('a copy has its length before it is signed, and its lines are short', async () => {
  const post = ready(RAW);
  const copy = render(post, COPY);
  expect(copy).toHaveLength(post.size);
  const before = text(copy);
  await post.sign?.(copy);
  expect(text(copy)).not.toBe(before);
  const after = signaturesIn(copy);
  expect(text(copy).slice(after.length)).toBe(before.slice(after.length));
  expect(after).not.toMatch(/-{44}/);
  for (const line of after.split('\r\n')) expect(line.length).toBeLessThanOrEqual(78);
});

test('the same copy gets the same bytes at each try', async () => {
  expect(await copyOf(ready(RAW))).toEqual(await copyOf(ready(RAW)));
});

test('where all copies are the same they are signed once', async () => {
  const post = ready(RAW, { ...RECIPE, mode: 'shared' });
  expect(post.sign?.(render(post, COPY))).toBe(post.sign?.(render(post, { ...COPY, member: 8 })));
  expect(await resultsOf(await copyOf(post))).toEqual(['rsa pass', 'ed25519 pass']);
});

test('notices are signed too: their From is on the domain of the list', async () => {
  const notice = composeNotice({
    ...{ list: RECIPE, to: 'ada@x.example' as Address, subject: 'Held', text: 'A post is held.' },
    ...{ date: 0, seed: '1', answers: '' },
  });
  const copy = await copyOf(ready(notice, { ...RECIPE, kind: 'notice', mode: 'shared' }));
  expect(fieldOf(copy, 'From')).toContain('@example.org>');
  expect(await resultsOf(copy)).toEqual(['rsa pass', 'ed25519 pass']);
});

test('a list on another domain is not signed for', () => {
  const cooked = cook(RAW, RECIPE);
  expect(dkim.prepare(cooked, 'dev@lists.example.org' as Address)).toBe(cooked);
  expect(dkim.prepare(cooked, 'dev@Example.ORG' as Address).sign).toBeDefined();
});

test('a header that verifiers might read in another way is not signed, and it is said why', () => {
  const forward: Recipe = { ...RECIPE, kind: 'forward' };
  const broken = ready(message('From: a@x.example', 'no field', '', 'Body', ''), forward);
  expect(broken.sign).toBeUndefined();
  expect(broken.unsigned).toBe('its header breaks off at a line that is no field');
  const large = ready(message('From: a@x.example', `X: ${'x'.repeat(300_000)}`, '', ''), forward);
  expect(large.sign).toBeUndefined();
  expect(large.unsigned).toBe('its header is too large');
});
