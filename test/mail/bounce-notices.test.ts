/** What we write about mail that came back: it says why, shows the way back, and nobody answers it. */
import { expect, test } from 'vitest';
import type { Address } from '../../src/mail/address.ts';
import {
  probeNotice,
  reasonWords,
  stormNotice,
  troubleNotice,
  warningNotice,
} from '../../src/mail/bounce-notices.ts';

const about = {
  list: { list: 'dev@lists.example' as Address, displayName: 'Dev' },
  to: 'bart@example.net' as Address,
  date: Date.UTC(2026, 10, 21),
  seed: 'k.1',
};
const cause = {
  ...{ reason: 'user-unknown', status: '5.1.1', code: 550 },
  diagnostic: '550 5.1.1 <bart@example.net>\r\nBcc: everyone@x.example',
};
const link = 'https://lists.example/d/abc';
const textOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('utf8');

test('a probe and a warning name the list, the reason and the link, and are marked as automatic', () => {
  const probe = textOf(probeNotice({ ...about, cause, link }));
  const warning = textOf(
    warningNotice({ ...about, cause, link, warning: 1, of: 3, why: 'bounces' }),
  );
  for (const text of [probe, warning]) {
    expect(text).toMatch(/^Auto-Submitted: auto-generated\r$/m);
    expect(text).toContain('dev@lists.example');
    expect(text).toContain('there is no such mailbox 550 5.1.1');
    expect(text).toContain(link);
  }
  expect(warning).toContain('reminder 1 of 3');
});

test('a probe because of another list does not name it: who reads this may be another by now', () => {
  const elsewhere = { list: 'secret@lists.example', since: 1 };
  const text = textOf(probeNotice({ ...about, cause: { ...cause, elsewhere }, link }));
  expect(text).toContain('Mail from another list here to you came back.');
  expect(text).not.toContain('secret');
});

test('what the other side said is one line of the body, and never a field', () => {
  const text = textOf(probeNotice({ ...about, cause, link }));
  expect(text.slice(0, text.indexOf('\r\n\r\n'))).not.toContain('Bcc');
  expect(text).toContain('<bart@example.net> Bcc: everyone@x.example');
});

test('the last reminder says so; one about a complaint quotes nothing and threatens nothing', () => {
  const last = warningNotice({ ...about, cause, link, warning: 3, of: 3, why: 'bounces' });
  expect(textOf(last)).toContain('the last of 3 reminders');
  const complaint = textOf(
    warningNotice({ ...about, cause, link, warning: 1, of: 1, why: 'complaint' }),
  );
  expect(complaint).toContain('marked one as unwanted');
  expect(complaint).not.toMatch(/reminder|other side/);
});

test('owners read what was done, and the commands that undo it', () => {
  const text = textOf(troubleNotice({ ...about, disabled: 2, removed: 1 }));
  expect(text).toContain('2 members no longer get posts');
  expect(text).toContain('1 member was removed');
  expect(text).toContain('troupe bounces reset dev@lists.example ADDRESS');
});

test.each([
  ['sender-domain', 'author.example', /domain \(author\.example\)/],
  ['route', 'smart', /MTA that carried it \(smart\)/],
  ['provider', 'big.example', /One provider \(big\.example\)/],
  ['post', '', /post itself is refused/],
] as const)('a storm blamed on the %s says what to look at', (blame, where, expected) => {
  const storm = { post: 9, reason: 'spam', bounced: 40, members: 90, blame, where };
  expect(textOf(stormNotice({ ...about, ...storm }))).toMatch(expected);
});

test('a reason without words of ours is told as it stands', () => {
  expect(reasonWords('too-large')).toBe('too large');
  expect(reasonWords('constructor')).toBe('constructor');
});
