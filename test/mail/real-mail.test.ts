/**
 * The parsers over real and torture-test mail made by others: nothing throws, nothing real is
 * called suspicious, and where an answer comes with the mail, ours is the same.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { parseAddress } from '../../src/mail/address.ts';
import { parseAddressList } from '../../src/mail/address-list.ts';
import { decodeWords } from '../../src/mail/encoded-words.ts';
import { isProblem, parseHeader } from '../../src/mail/header.ts';
import { scanMime } from '../../src/mail/mime-scan.ts';
import { readMail } from '../../src/mail/summary.ts';
import { corpusFiles, corpusSkip, mboxMessages, SHARED } from '../support/corpora.ts';

const STALWART = `${SHARED}corpora/mime/stalwart-mail-parser/`;

/** Every parser over one message; its header's fields, for a look. */
function readWhole(raw: Buffer): void {
  const header = parseHeader(raw);
  scanMime(raw);
  if (isProblem(header)) return;
  for (const { value, start, end } of header.fields) {
    expect(raw.subarray(start, end).length).toBeGreaterThan(0);
    decodeWords(value);
    parseAddressList(value);
  }
  readMail(raw);
}

const unfolded = (header: string) =>
  (header.split(/\r?\n(?![ \t])/, 1)[0] ?? '').replace(/\r?\n/g, '');

describe.skipIf(corpusSkip('archives'))('the corpora: archives', () => {
  test.each([
    ['linux-sparse-2019-2021.mbox.gz', 2_094],
    ['usrp-users-2021H1.mbox.gz', 607],
  ])(
    'every mail of %s has an author, a subject and a Message-ID, and none is suspicious',
    (name, count) => {
      const messages = mboxMessages(name);
      expect(messages).toHaveLength(count);
      for (const raw of messages) {
        readWhole(raw);
        const { from, subject, problems, header } = readMail(raw);
        expect(problems).toEqual([]);
        expect(from.length).toBeGreaterThan(0);
        expect(header.get('message-id')).toMatch(/^<[^<>\s]+>$/);
        expect(subject).not.toMatch(/=\?[^?]+\?[bq]\?/i);
      }
    },
  );
});

describe.skipIf(corpusSkip('mime'))('the corpora: MIME collections', () => {
  test('no file makes a parser throw', () => {
    const files = corpusFiles('mime');
    expect(files.length).toBeGreaterThan(500);
    for (const file of files) readWhole(readFileSync(file));
  });

  test('address fields are read as their answers say, but for what no list can mail', () => {
    const cases: { header: string; expected: unknown }[] = JSON.parse(
      readFileSync(`${STALWART}address.json`, 'utf8'),
    );
    for (const { header, expected } of cases) {
      const ours = parseAddressList(unfolded(header)).map(({ address }) => address);
      expect(ours, header).toEqual(addressesIn(expected));
    }
  });

  test('encoded words are decoded as their answers say', () => {
    const cases: { header: string; expected: string }[] = JSON.parse(
      readFileSync(`${STALWART}unstructured.json`, 'utf8'),
    );
    // Some readers put a space before a word that follows text at once; the rule is that none is
    // there.
    const plain = (text: string) => text.replace(/\s+/g, '');
    for (const { header, expected } of cases)
      expect(plain(decodeWords(unfolded(header))), header).toBe(plain(expected));
  });

  test('what others call an invalid address is one, with one exception', () => {
    const file = `${SHARED}corpora/mime/flanker-git-tests/fixtures/mailbox_invalid.txt`;
    const lines = readFileSync(file, 'utf8')
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'));
    expect(lines.length).toBeGreaterThan(80);
    // An A-label that decodes to nothing is still letters, digits and hyphens: it just never
    // resolves.
    expect(lines.filter((line) => parseAddress(line) !== null)).toEqual(['test@xn--example.com']);
  });
});

/** The addresses of an answer, groups opened, in the form in which we keep them. */
function addressesIn(expected: unknown): readonly string[] {
  if (Array.isArray(expected)) return expected.flatMap(addressesIn);
  if (typeof expected !== 'object' || expected === null) return [];
  if (!('address' in expected)) return Object.values(expected).flatMap(addressesIn);
  const text = String(expected.address ?? '').replace(/\s+|^@.*:/g, '');
  const address = parseAddress(text);
  return address === null ? [] : [address];
}
