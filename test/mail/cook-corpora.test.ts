/** Real mail, cooked, reads as it did: the same words, the same attachments, byte for byte. */
import { readFileSync } from 'node:fs';
import { type ParsedMail, simpleParser } from 'mailparser';
import { expect, test } from 'vitest';
import { cook } from '../../src/mail/cook.ts';
import { isProblem, parseHeader } from '../../src/mail/header.ts';
import { withCrlf, withoutFromLine } from '../../src/mail/lines.ts';
import { render } from '../../src/mail/render.ts';
import { corpusFiles, corpusSkip, mboxMessages } from '../support/corpora.ts';
import { COPY, RECIPE, text } from './cook-support.ts';

const NOT_MAIL = /\.(?:json|[jt]s)$/;
const BYTES_MAX = 300_000;
const PARSING = { skipHtmlToText: true, skipTextToHtml: true, skipImageLinks: true } as const;

test.skipIf(corpusSkip('mime'))(
  'mail of the MIME corpora keeps its words and attachments',
  async () => {
    let compared = 0;
    for (const path of corpusFiles('mime', (name) => !NOT_MAIL.test(name))) {
      const raw = readFileSync(path);
      if (raw.length > BYTES_MAX || !hasWholeHeader(raw)) continue;
      await expectSameReading(raw, path);
      compared++;
    }
    expect(compared).toBeGreaterThan(200);
  },
);

test.skipIf(corpusSkip('archives'))(
  'posts of a real list of the corpora keep their words and attachments',
  async () => {
    const all = mboxMessages('linux-sparse-2019-2021.mbox.gz');
    const some = all.filter((raw, i) => i % 10 === 0 && raw.length <= BYTES_MAX);
    for (const [i, raw] of some.entries()) await expectSameReading(raw, `post ${i * 10}`);
    for (const raw of all) {
      const body = text(withCrlf(raw)).split('\r\n\r\n').slice(1).join('\r\n\r\n');
      const cooked = text(cook(raw, { ...RECIPE, footer: '' }).bytes);
      expect(cooked.slice(cooked.indexOf('\r\n\r\n') + 4)).toBe(body);
    }
    expect(all.length).toBeGreaterThan(2_000);
  },
);

/**
 * Where a header breaks off at a line that is no field, readers disagree about what the body is.
 */
function hasWholeHeader(raw: Uint8Array): boolean {
  const header = parseHeader(withoutFromLine(withCrlf(raw)));
  return !isProblem(header) && header.fields.length > 0 && header.bodyStart > header.end;
}

async function expectSameReading(raw: Buffer, path: string): Promise<void> {
  const came = Buffer.from(withoutFromLine(withCrlf(raw)));
  const plain = cook(raw, { ...RECIPE, footer: '' });
  const footed = cook(raw, { ...RECIPE, footer: 'The footer.\n{unsubscribe}' });
  const before = await simpleParser(came, PARSING);
  const after = await simpleParser(Buffer.from(render(plain, COPY)), PARSING);
  const withFooter = await simpleParser(Buffer.from(render(footed, COPY)), PARSING);
  expect(words(after), path).toEqual(words(before));
  expect(files(after), path).toEqual(files(before));
  expect(files(withFooter), path).toEqual(expect.arrayContaining(files(before)));
  expect(withFooter.text ?? '', path).toContain((before.text ?? '').trimEnd());
  expect(withFooter.html || '', path).toContain((before.html || '').trimEnd());
}

function words(mail: ParsedMail): unknown {
  const { text: plain, html, messageId, from } = mail;
  return { plain, html, messageId, from: from?.text };
}

/**
 * Without a line end at the end: mailparser gives an empty part one where another part follows
 * it.
 */
function files(mail: ParsedMail): string[] {
  return mail.attachments.map(({ filename, contentType, content }) => {
    const end = content.toString('latin1').endsWith('\r\n') ? -2 : undefined;
    return `${filename} ${contentType} ${content.subarray(0, end).toString('base64')}`;
  });
}
