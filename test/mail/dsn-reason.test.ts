/** Why a recipient was refused, by what MTAs say: sentences that tempt a rule to the wrong reason. */
import { describe, expect, test } from 'vitest';
import { type Reason, reasonOf } from '../../src/mail/dsn-reason.ts';

const SAID: readonly (readonly [string, string | null, Reason])[] = [
  // About us, and not about the mailbox that they name on the way.
  ['421-4.7.28 We saw an unusual rate of mail from your DKIM domain', '4.7.28', 'rate'],
  ['450-4.2.1 That user is receiving mail at a rate that is too high', '4.2.1', 'rate'],
  ['450 User is receiving mail too quickly', null, 'rate'],
  ['550 Access from ip address 192.0.2.1 blocked.', '5.0.0', 'blocked'],
  ['550 192.0.2.1 Listed by a list of senders', '5.0.0', 'blocked'],
  [
    "your message couldn't be delivered to the recipient: no permission to send to it",
    null,
    'policy',
  ],
  ['550 MAIL FROM mismatches the client', null, 'policy'],
  ['550 relaying to <kim@example.net> prohibited by administrator', null, 'relaying'],
  ['lowest numbered MX record points to local host', '5.0.0', 'loop'],
  ['452 4.5.3 Too many recipients', '4.5.3', 'rate'],
  ['554 5.2.122 too many messages for them per hour', '5.2.122', 'rate'],
  ['550 5.1.0 <ann@example.org>: Sender address rejected: User unknown', '5.1.0', 'policy'],
  ['550 5.7.1 <ann@example.org>: Sender address rejected: disabled', '5.7.1', 'policy'],
  ['550 5.7.1 <kim@example.net>: Recipient address rejected: Access denied', '5.7.1', 'policy'],
  ['550 5.7.708 Access denied, traffic not accepted from this IP.', '5.7.708', 'blocked'],
  ['550 5.7.1 fails to pass authentication checks', '5.7.1', 'authentication'],
  // What mailboxes and hosts are called says nothing.
  ['550 <kim@spamhaus-quota.example>: Recipient unknown', null, 'user-unknown'],
  ['host spam.example[192.0.2.1] said: 550 no such user', null, 'user-unknown'],
  // About the mailbox.
  ['Status says nothing, but the mailbox is full', '5.0.0', 'mailbox-full'],
  ['550 the destination mailbox <kim@example.net> is full', '5.1.1', 'mailbox-full'],
  ['552 Account <kim@example.net> does not have enough space', null, 'mailbox-full'],
  ['error writing message: File too large', null, 'mailbox-full'],
  ['422 Benutzer hat zu viele Mails auf dem Server', null, 'mailbox-full'],
  ['User kim (kim@example.net) not listed in public Name & Address Book', null, 'user-unknown'],
  ['550 5.4.1 Recipient address rejected: Access denied.', '5.4.1', 'user-unknown'],
  ["554 RCPT (kim@example.net) dosn't exist", null, 'user-unknown'],
  ['500 (err.nosuchuser)', null, 'user-unknown'],
  ['Recipient user name kim not unique. Several matches found', '5.0.0', 'user-unknown'],
  ['This address no longer accepts mail.', null, 'mailbox-disabled'],
  ['550 <kim@example.net>... User account not activated', null, 'mailbox-disabled'],
  // About the way.
  ['Domain example.net does not accept mail (nullMX)', null, 'host-unknown'],
  ['no valid MX hosts found', '5.0.0', 'host-unknown'],
  ['The recipient server did not accept our requests to connect.', '4.4.1', 'network'],
  ['retry timeout exceeded', null, 'expired'],
  ['connection timed out', '5.1.1', 'user-unknown'],
];

describe('the reason of', () => {
  test.each(SAID)('%s (%s) is %s', (text, status, reason) => {
    expect(reasonOf(text, status)).toBe(reason);
  });
});
