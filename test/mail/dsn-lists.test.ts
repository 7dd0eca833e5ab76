/**
 * Ways of saying whose mail failed, each with each: what announces a recipient, how it is written, what
 * is said of it, and what stands between that and the returned message.
 */
import { describe, expect, test } from 'vitest';
import { recognise } from '../../src/mail/dsn.ts';

const KIM = 'kim@example.net';
const HEAD = 'From: Mail System <postmaster@mx.example.org>\nSubject: Delivery failure\n';
const RETURNED = 'From: ann@example.org\nTo: devs@lists.example.org\nList-Id: <devs.example.org>\n';

/** The recipients in a notice, each with its kind. */
function told(type: string, body: string): string {
  const mail = `${HEAD}To: ann@example.org\nContent-Type: ${type}\n\n${body}\n`;
  const { kind, results } = recognise(Buffer.from(mail));
  return `${kind} ${results.map(({ recipient }) => recipient).join(' ')}`;
}

const ANNOUNCEMENTS = [
  'The following addresses had permanent delivery errors:',
  'Your message could not be delivered to the following recipient:',
  'The following recipients did not receive the message:',
  'Undeliverable to:',
  'We could not deliver your message to these people:',
  'Failed recipients:',
  'Message could not be sent to the addressee below.',
  'The mail system was unable to reach:',
  'These addresses bounced:',
  'Mail to the user below has been rejected.',
  'No such user:',
  'The recipient of your mail is unknown here.',
  'List of undelivered recipients',
  'Delivery to the address below is not possible.',
  'Your message has not been received by:',
  'Unknown address',
  'The destination mailbox does not exist:',
  '***** Recipients *****',
  'This message was undeliverable due to the following reason: user unknown',
];

/** How an address is written; `@` is it. */
const WRITTEN = [
  ...['<@>', '@', '   @', '   <@>', '* @', '- @', 'o @', '=> @', '>> @', '1. @', '1) @', '#1 @'],
  ...['"@"', "'@'", '(@)', '[@]', '@;', '@:', '[SMTP:@]', 'SMTP:@', 'rfc822;@', 'mailto:@'],
  ...['<mailto:@>', '@<mailto:@>', '@ (Kim Park)', 'Kim Park <@>', '"Kim Park" <@>', 'To: @'],
  ...['Recipient: @', 'Address: <@>', '@ - user unknown', '@, user unknown', '@ ... user unknown'],
  ...['@ [550]', '550 @ unknown', '|  @  |  unknown |', '@ failed', 'User <@>: not here'],
];

/** What is said of it, with addresses that are not it. */
const SAID = [
  '',
  '550 5.1.1 user unknown',
  '    (reason: 550 no such user)',
  'Remote host said: 550 <postmaster@mx.example.net> does not know this one',
  'For help write to help@mx.example.org.',
  'The sender was ann@example.org and the message <1.2@example.org>.',
];

test.each(ANNOUNCEMENTS)('whatever way an address is written below: %s', (announcement) => {
  for (const written of WRITTEN) {
    for (const said of SAID) {
      const notice = `${announcement}\n\n${written.replaceAll('@', KIM)}\n${said}`;
      const body = `${notice}\n\n----- Original message -----\n${RETURNED}`;
      expect(told('text/plain', body), notice).toBe(`bounce ${KIM}`);
    }
  }
});

const SENTENCES = [
  'Your message to @ could not be delivered.',
  'Mail for @ is refused.',
  'The mailbox @ is full.',
  'The user @ does not exist.',
  'There is no user @ on this server.',
  '@ is not a valid address.',
  '@ does not accept mail from you.',
  'Delivery to @ failed after 5 attempts.',
  'Unable to deliver the message to "@".',
  'The following error occurred while delivering to @:',
  'Could not reach @ within 5 days.',
  'Recipient @ rejected: 550',
  'It was not possible to deliver your mail to @.',
  'The mail server rejected the recipient @.',
  'Sorry, @ has exceeded its quota.',
  'Message from ann@example.org to @ was undeliverable.',
  'The host of @ is not known.',
  'The mail addressed to (@) has been returned.',
  'Kim Park <@> did not receive your message.',
  'The domain of the address @ has no mail exchanger.',
];

const FRAMES = [
  '§',
  'The mail gateway of Example (admin: webmaster@example.org) reports:\n\n§',
  'Message-ID: <20260202.1234@client.example.org>\n\n§',
  '§\n\nIf you think this is wrong contact support@example.org.',
  '§\n\nThe message id was 1rVX@mx.example.org.',
  '§\n\nSender: ann@example.org',
];

test.each(SENTENCES)('in a sentence, among others, wrapped, or in HTML: %s', (sentence) => {
  const said = sentence.replace(/@(?!example)/, KIM);
  const wrapped = sentence.replace(/ (?=[<(]?@(?!example))/, '\n').replace(/@(?!example)/, KIM);
  const html = `<p>${said.replaceAll('<', '&lt;')}</p>`;
  for (const frame of FRAMES) {
    expect(told('text/plain', frame.replace('§', said)), frame).toBe(`bounce ${KIM}`);
    expect(told('text/plain', frame.replace('§', wrapped)), frame).toBe(`bounce ${KIM}`);
    const framed = frame.replace(/<(.*)>/, '&lt;$1&gt;').replace('§', html);
    expect(told('text/html', framed), frame).toBe(`bounce ${KIM}`);
  }
});

/** What stands before a returned message: many write what nobody else does, and some nothing. */
const SEPARATORS = [
  '----- Original Message -----',
  'Message headers:',
  '[Original message attached]',
  'Text of original:',
  'Headers of the original message follow',
  '>>> Original message <<<',
  '-----Mensagem original-----',
  '----- 元のメッセージ -----',
  'Исходное сообщение:',
  '',
];

describe('what a returned message says of failures is not what the notice says', () => {
  const headers = [
    '',
    'Received: from a.example.org\n\tby b.example.org\n',
    'Message-ID: <1@b.c>\n',
  ];
  const rest =
    'From: Ann <ann@example.org>\nTo: lee@example.com\nCc: max@example.com\nSubject: bounces\n\n' +
    'The following recipients failed:\n\nmax@example.com\n550 <lee@example.com>... User unknown\n';
  const notices = [
    `Delivery problem: ${KIM}`,
    `Could not deliver your mail.\n\n${KIM}\n  no such user`,
    `The user ${KIM} is unknown.`,
    `We failed to deliver to the following:\n${KIM}`,
  ];
  test.each(SEPARATORS)('%s', (separator) => {
    for (const notice of notices) {
      for (const header of headers) {
        for (const indent of ['', '> ', '   ']) {
          const lines = `${header}${rest}`.split('\n').map((line) => indent + line);
          const body = `${notice}\n\n${separator}\n\n${lines.join('\n')}`;
          expect(told('text/plain', body), body).toBe(`bounce ${KIM}`);
        }
      }
    }
  });
});
