/** Mail that we write: nothing in it can break it, and no program answers it. */
import fc from 'fast-check';
import { simpleParser } from 'mailparser';
import { expect, test } from 'vitest';
import type { Address } from '../../src/mail/address.ts';
import { isProblem, parseHeader } from '../../src/mail/header.ts';
import { isAutomatic } from '../../src/mail/loops.ts';
import { composeNotice, heldNotice, type Notice, rejectionNotice } from '../../src/mail/notice.ts';
import { fieldOf, RECIPE, split, text } from './cook-support.ts';

const NOTICE: Notice = {
  list: RECIPE,
  to: 'ann@example.net' as Address,
  subject: 'Hello',
  text: 'One.\nTwo.',
  date: Date.UTC(2026, 10, 21, 9, 8, 7),
  seed: 'command-1',
  answers: '',
};

test('a notice is a whole message from the owner address', () => {
  expect(text(composeNotice(NOTICE))).toBe(
    [
      'From: Developers <dev-owner@example.org>',
      'To: ann@example.net',
      'Subject: Hello',
      'Date: Sat, 21 Nov 2026 09:08:07 +0000',
      'Message-ID: <notice.7e0237570e05e488d866a8f6edb8488b@example.org>',
      'Auto-Submitted: auto-generated',
      'Precedence: bulk',
      'X-Auto-Response-Suppress: All',
      'List-Id: Developers <dev.example.org>',
      'List-Help: <mailto:dev-request@example.org?subject=help>',
      'List-Owner: <mailto:dev-owner@example.org>',
      'X-Loop: dev-owner@example.org',
      'MIME-Version: 1.0',
      'Content-Type: text/plain; charset=us-ascii',
      'Content-Transfer-Encoding: 7bit',
      '',
      'One.',
      'Two.',
      '',
    ].join('\r\n'),
  );
});

test('whatever it is told to say, it is one 7-bit message with the same fields', async () => {
  const any = fc.string({ unit: 'binary', maxLength: 400 });
  const names = fieldNames(composeNotice({ ...NOTICE, answers: '<a@b>' }));
  await fc.assert(
    fc.asyncProperty(any, any, any, any, async (subject, words, displayName, answers) => {
      const list = { ...RECIPE, displayName };
      const bytes = composeNotice({ ...NOTICE, subject, text: words, list, answers });
      expect(text(bytes)).toMatch(/^(?:[\t\x20-\x7e]{0,998}\r\n)+$/);
      for (const name of fieldNames(bytes)) expect(names).toContain(name);
      const read = await simpleParser(Buffer.from(bytes));
      expect(read.from?.value[0]?.address).toBe('dev-owner@example.org');
    }),
    { numRuns: 300 },
  );
});

test('text that is not ASCII reads as it was written', async () => {
  const words = fc.array(fc.constantFrom('Grüße', 'список', '=', 'a', '€uro', '.'), {
    maxLength: 60,
  });
  await fc.assert(
    fc.asyncProperty(words, async (all) => {
      const bytes = composeNotice({
        ...NOTICE,
        text: all.join(' '),
        subject: `x ${all.join(' ')}`,
      });
      const read = await simpleParser(Buffer.from(bytes));
      expect((read.text ?? '').split(/\s+/).join(' ').trim()).toBe(all.join(' '));
      expect(read.subject).toBe(`x ${all.join(' ')}`.trim().slice(0, 200).trim());
    }),
    { numRuns: 100 },
  );
});

test('the same notice composed again is the same bytes; another has another Message-ID', () => {
  const idOf = (notice: Notice): string | null => fieldOf(composeNotice(notice), 'Message-ID');
  expect(text(composeNotice(NOTICE))).toBe(text(composeNotice({ ...NOTICE })));
  expect(idOf({ ...NOTICE, seed: 'command-2' })).not.toBe(idOf(NOTICE));
  expect(idOf({ ...NOTICE, to: 'bob@example.net' as Address })).not.toBe(idOf(NOTICE));
});

test('the notice of holds says how many wait and what to type', () => {
  const about = { list: RECIPE, to: RECIPE.list, date: 0, seed: 's' };
  const three = heldNotice({ ...about, holds: 3 });
  expect(fieldOf(three, 'Subject')).toBe('3 posts wait for a moderator of dev@example.org');
  expect(split(three).body).toContain('\r\n    troupe hold approve dev@example.org NUMBER\r\n');
  expect(fieldOf(heldNotice({ ...about, holds: 1 }), 'Subject')).toMatch(/^1 post waits /);
});

test('a rejection answers the post, says why, and names the owners', () => {
  const about = {
    list: RECIPE,
    to: 'ann@example.net' as Address,
    date: 0,
    seed: 's',
    subject: 'Hi\r\nBcc: evil@example.com',
    messageId: '<1@example.net>',
  };
  const bytes = rejectionNotice({ ...about, comment: 'Off topic.\r\n' });
  expect(fieldOf(bytes, 'In-Reply-To')).toBe('<1@example.net>');
  expect(fieldOf(bytes, 'Auto-Submitted')).toBe('auto-replied');
  expect(fieldOf(bytes, 'Bcc')).toBeNull();
  expect(split(bytes).body).toContain('    Hi Bcc: evil@example.com\r\n');
  expect(split(bytes).body).toContain('The moderator says:\r\n\r\nOff topic.\r\n');
  expect(split(bytes).body).toContain('dev-owner@example.org');
  expect(split(rejectionNotice({ ...about, comment: ' ' })).body).toContain('No reason was given.');
});

test.each(['', 'not an id', '<a@b>\r\nBcc: x', '<a b>', `<${'a'.repeat(1_000)}>`])(
  'a Message-ID such as %j is not answered to by name',
  (answers) => {
    const bytes = composeNotice({ ...NOTICE, answers });
    expect(fieldOf(bytes, 'In-Reply-To')).toBeNull();
    expect(fieldOf(bytes, 'Auto-Submitted')).toBe('auto-generated');
  },
);

test('our own incoming runner would answer no notice', () => {
  const header = parseHeader(composeNotice(NOTICE));
  expect(isProblem(header) || isAutomatic(header, RECIPE.list)).toBe(true);
});

test.each([Number.NaN, -1, 1e18])('a date of %d is still a date', (date) => {
  expect(fieldOf(composeNotice({ ...NOTICE, date }), 'Date')).toMatch(/^\w{3}, \d\d \w{3} \d{4} /);
});

function fieldNames(bytes: Uint8Array): readonly string[] {
  const header = parseHeader(bytes);
  return isProblem(header) ? [header.problem] : header.fields.map(({ name }) => name);
}
