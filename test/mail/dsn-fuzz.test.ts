/**
 * Mutated bounces: whatever a stranger sends to a return path, recognising it ends, in time that grows
 * with its bytes. 100,000 take half a minute of one core; the quick tests try some.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { recognise } from '../../src/mail/dsn.ts';
import { DSN_BYTES_MAX } from '../../src/mail/dsn-parts.ts';

const FIXTURES = join(import.meta.dirname, '..', 'fixtures');

function filesIn(folder: string, ends: string): readonly string[] {
  const names = readdirSync(join(FIXTURES, folder)).filter((name) => name.endsWith(ends));
  return names.map((name) => readFileSync(join(FIXTURES, folder, name), 'utf8'));
}

/** One mail a file, and many a file with a line above each. */
const SEEDS = [
  ...filesIn('dsn', '.eml'),
  ...filesIn('dsn-forms', '.txt').flatMap((forms) => forms.split(/^%%% .*\n/m).slice(1)),
].map((mail) => Buffer.from(mail));
const MUTATIONS = process.env.TROUPE_TEST === 'quick' ? 3_000 : 100_000;
const SEED = 0x5eed;

/** What reports are made of, and what breaks readers of them. */
const WORDS = [
  '\n\n',
  '\r\n',
  '\0',
  '@',
  '<',
  '>:',
  '=?utf-8?B?',
  '--b1\n',
  '--=_part_1--\n',
  'Content-Type: multipart/mixed; boundary="b1"\n',
  'Content-Type: message/delivery-status\n\n',
  'Content-Transfer-Encoding: base64\n',
  'Content-Type: text/plain; charset=utf-16\n\n',
  'Final-Recipient: rfc822; kim@example.net\n',
  'Original-Recipient: utf-8; \\x{110000}@example.net\n',
  'Action: failed\n',
  'Status: 5.1.1\n',
  'Diagnostic-Code: smtp; 550 ',
  'The following addresses failed:\n\n',
  'kim@example.net',
  '550 5.1.1 <kim@example.net>... User unknown\n',
  '&#1114112;',
  '\u00a0\u3000\ud83d\ude00',
];

/** A small generator of numbers below `below`, the same for the same seed (mulberry32). */
function chance(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

function mutated(next: (below: number) => number): Buffer {
  const pick = <T>(of: readonly T[]): T => of[next(of.length)] as T;
  let mail: Buffer = pick(SEEDS);
  for (let i = next(6); i >= 0; i--) mail = mutatedOnce(mail, next, pick);
  return mail;
}

function mutatedOnce(
  mail: Buffer,
  next: (below: number) => number,
  pick: <T>(of: readonly T[]) => T,
): Buffer {
  const at = next(mail.length + 1);
  const length = next(200);
  const before = mail.subarray(0, at);
  const after = mail.subarray(at);
  switch (next(7)) {
    case 0:
      return Buffer.concat([before, Buffer.from([next(256)]), mail.subarray(at + 1)]);
    case 1:
      return Buffer.concat([before, mail.subarray(at + length)]);
    case 2:
      return Buffer.concat([before, mail.subarray(at, at + length), after]);
    case 3:
      return Buffer.concat([before, Buffer.from(pick(WORDS)), after]);
    case 4:
      return Buffer.concat([before, Buffer.from(pick(WORDS).repeat(next(100))), after]);
    case 5: {
      const other = pick(SEEDS);
      return Buffer.concat([before, other.subarray(next(other.length))]);
    }
    default:
      return before;
  }
}

test(`${MUTATIONS} mutated bounces: no throw, and never more than is promised`, () => {
  const next = chance(SEED);
  for (let i = 0; i < MUTATIONS; i++) {
    const mail = mutated(next);
    const { kind, results, why, text } = recognise(mail);
    const isEmpty = kind === 'none' || kind === 'auto-reply';
    const isSound =
      (why === null) === (kind !== 'none') &&
      text.length <= 500 &&
      (isEmpty ? results.length === 0 : results.length > 0 || kind === 'complaint') &&
      (kind !== 'delayed' || results.every(({ permanent }) => !permanent)) &&
      results.every(
        ({ recipient, diagnostic }) =>
          /^[^\s<>]+@[^\s<>]+$/.test(recipient) && diagnostic.length <= 500,
      );
    if (!isSound) expect.fail(`seed ${SEED}, mutation ${i}: ${mail.toString('latin1')}`);
  }
}, 600_000);

const plainExec = RegExp.prototype.exec;
afterEach(() => {
  RegExp.prototype.exec = plainExec;
});

/** Characters that patterns are shown while a mail is recognised: each as often as it is shown. */
function charactersShown(mail: Buffer): number {
  let shown = 0;
  RegExp.prototype.exec = function (text) {
    const from = this.global || this.sticky ? this.lastIndex : 0;
    const found = plainExec.call(this, text);
    const to = found === null ? String(text).length : found.index + (found[0]?.length ?? 0);
    shown += Math.max(1, to - from);
    return found;
  };
  try {
    recognise(mail);
  } finally {
    RegExp.prototype.exec = plainExec;
  }
  return shown;
}

const NOTICE = 'From: MAILER-DAEMON@example.net\nSubject: Undeliverable\n\n';
const REPORT =
  'From: MAILER-DAEMON@example.net\nContent-Type: multipart/report; boundary=b\n\n--b\n' +
  'Content-Type: message/delivery-status\n\n';
const HTML = 'From: MAILER-DAEMON@example.net\nContent-Type: text/html\n\n';
const QUOTED = 'From: MAILER-DAEMON@example.net\nContent-Transfer-Encoding: quoted-printable\n\n';

/** Where a limit is met, another reader goes on: that may cost once what it likes, within this. */
const LIMITS_MET = 100_000;

/** What is repeated, after what. */
const SHAPES: Readonly<Record<string, readonly [string, string]>> = {
  'recipients of a report': [REPORT, 'Final-Recipient: rfc822; u@example.net\nAction: failed\n\n'],
  'fields of a report without an end': [REPORT, 'Action: failed\n'],
  'folds of one field': [`${REPORT}Diagnostic-Code: smtp; `, 'no such user\n  '],
  parts: [REPORT, '\n--b\nContent-Type: text/plain\n\nUser unknown\n'],
  'nested multiparts': [REPORT, '\n--b\nContent-Type: multipart/mixed; boundary=b\n\n'],
  'addresses in lines': [NOTICE, '<kim@example.net>: 550 no such user\n'],
  'addresses in one line': [NOTICE, 'kim@example.net '],
  'at signs': [NOTICE, '@'],
  letters: [NOTICE, 'a'],
  blanks: [NOTICE, ' '],
  'empty lines': [NOTICE, '\n'],
  'words of failure': [NOTICE, 'not delivered to '],
  'lists that never come': [NOTICE, 'The following addresses failed:\n'],
  brackets: [NOTICE, '<'],
  tags: [HTML, '<a'],
  links: [HTML, '<a href="mailto:kim@example.net">'],
  'links that go on': [HTML, 'mailto:'],
  entities: [HTML, '&#64;'],
  'equals signs': [QUOTED, '='],
  'fields of a header': ['', 'From: MAILER-DAEMON@example.net\n'],
};

test.each(Object.entries(SHAPES))(
  'the work grows with the bytes and no faster: %s',
  (_, [head, more]) => {
    const sized = (bytes: number) =>
      Buffer.from(head + more.repeat(Math.ceil(bytes / more.length)));
    const once = charactersShown(sized(16 * 1024));
    const twice = charactersShown(sized(32 * 1024));
    const fourfold = charactersShown(sized(64 * 1024));
    expect(twice).toBeLessThan(2.2 * once + LIMITS_MET);
    expect(fourfold).toBeLessThan(2.2 * twice + LIMITS_MET);
  },
);

test.each(Object.entries(SHAPES))(
  'what comes after the limit of bytes costs nothing: %s',
  (_, [head, more]) => {
    const whole = Buffer.from(head + more.repeat(Math.ceil(DSN_BYTES_MAX / more.length)));
    const longer = Buffer.concat([whole, whole, whole]);
    expect(charactersShown(longer)).toBe(charactersShown(whole.subarray(0, DSN_BYTES_MAX)));
  },
);
