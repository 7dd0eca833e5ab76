/** Message-IDs: the mail's own, or one of ours. */
import { expect, test } from 'vitest';
import { isProblem, parseHeader } from '../../src/mail/header.ts';
import { MESSAGE_ID_LENGTH_MAX, messageIdFor, usableMessageId } from '../../src/mail/message-id.ts';

function own(...lines: string[]): string | null {
  const header = parseHeader(Buffer.from(`${lines.join('\r\n')}\r\n\r\n`));
  return isProblem(header) ? expect.unreachable() : usableMessageId(header);
}

const longest = `<${'a'.repeat(MESSAGE_ID_LENGTH_MAX - 4)}@x>`;

test.each([
  ['Message-ID: <a@b.example>', '<a@b.example>'],
  ['Message-Id:\r\n <a@b.example>', '<a@b.example>'],
  ['Message-ID: <no-at-sign>', '<no-at-sign>'],
  [`Message-ID: ${longest}`, longest],
  ['Message-ID: <a@b>\r\nMessage-ID: <a@b>', '<a@b>'],
])('%j is used', (line, id) => {
  expect(own(line)).toBe(id);
});

test.each([
  'Subject: none',
  'Message-ID:',
  'Message-ID: <>',
  'Message-ID: a@b.example',
  'Message-ID: <a b@c>',
  'Message-ID: <a@b> <c@d>',
  'Message-ID: <a@b\r\n c>',
  'Message-ID: <a@b\rX: y>',
  'Message-ID: <ä@b>',
  'Message-ID: <<a@b>>',
  'Message-ID: <a@b>\r\nMessage-ID: <c@d>',
  `Message-ID: <x${longest.slice(1)}`,
  `Message-ID: <${'a'.repeat(498)}>`,
])('%j is not', (line) => {
  expect(own(line)).toBeNull();
});

test('one of ours is usable, and the same for the same post', () => {
  const made = messageIdFor('f00', 'lists.example');
  expect(own(`Message-ID: ${made}`)).toBe(made);
  expect(messageIdFor('f00', 'lists.example')).toBe(made);
  expect(messageIdFor('f01', 'lists.example')).not.toBe(made);
});
