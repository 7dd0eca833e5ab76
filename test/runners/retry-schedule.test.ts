import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type Cause,
  causeOf,
  DELAYS,
  dueAt,
  isTooManyRecipients,
  LIFE_MS,
} from '../../src/runners/retry-schedule.ts';
import { parseReply } from '../../src/smtp/reply.ts';

const CAUSES = Object.keys(DELAYS) as Cause[];

test('the wait is as long as the mail is old, within its limits, give or take a tenth', () => {
  const cause = fc.constantFrom(...CAUSES);
  fc.assert(
    fc.property(fc.nat(2e12), fc.nat(2 * LIFE_MS), cause, fc.string(), (now, age, why, name) => {
      const [min, max] = DELAYS[why];
      const wanted = Math.min(Math.max(age, min), max);
      const delay = dueAt(now, age, why, name) - now;
      expect(delay).toBeGreaterThanOrEqual(Math.floor(wanted * 0.9));
      expect(delay).toBeLessThanOrEqual(Math.ceil(wanted * 1.1));
      expect(dueAt(now, age, why, name)).toBe(now + delay);
    }),
  );
});

test('however old the mail is, nobody waits longer than the operator says', () => {
  fc.assert(
    fc.property(fc.nat(LIFE_MS), fc.integer({ min: 1_000, max: 60_000 }), (age, most) => {
      expect(dueAt(0, age, 'busy', 'name', most)).toBeLessThanOrEqual(Math.ceil(most * 1.1));
    }),
  );
});

test('a recipient that stays busy is tried about a hundred times in five days, ever more rarely', () => {
  const tries: number[] = [0];
  for (let now = 0; now < LIFE_MS; ) {
    now = dueAt(now, now, 'busy', `chunk.${tries.length}`);
    tries.push(now);
  }
  expect(tries.length).toBeGreaterThan(90);
  expect(tries.length).toBeLessThan(130);
  expect((tries[1] ?? 0) / 60_000).toBeCloseTo(5, 0);
});

test('chunks of one post do not come back all at once', () => {
  const times = Array.from({ length: 100 }, (_, n) => dueAt(0, 0, 'busy', `key.7.${n}.1`));
  expect(new Set(times).size).toBeGreaterThan(90);
});

test('the first wait for a greylist is past the 300 seconds that Postgrey asks', () => {
  for (let n = 0; n < 1_000; n += 1)
    expect(dueAt(0, 0, 'greylist', `${n}`)).toBeGreaterThan(300_000);
});

describe('why an MTA refuses for now', () => {
  test.each<[Cause, string]>([
    ['greylist', '450 4.2.0 <a@b.example>: Recipient address rejected: Greylisted, see http://x'],
    ['greylist', '451 4.7.1 Greylisting in action, please come back later'],
    ['greylist', '451 4.7.1 Please try again later'],
    ['greylist', '451 Temporary local problem, gray-listed'],
    ['rate', '421 4.7.28 Our system has detected an unusual rate of unsolicited mail'],
    ['rate', '451 4.7.650 The mail server has been temporarily rate limited'],
    ['rate', '450 4.2.1 The user you are trying to contact is receiving mail at a rate that'],
    ['rate', '421 4.7.0 [TSS04] Messages temporarily deferred due to user complaints'],
    ['rate', '452 4.5.3 Too many recipients'],
    ['rate', '421 too many connections from your host'],
    ['full', '452 4.2.2 Mailbox full'],
    ['full', '450 over quota'],
    ['full', '422 The recipient’s mailbox is full'],
    ['busy', '451 4.3.0 Temporary server error'],
    ['busy', '452 4.3.1 Insufficient system storage'],
    ['busy', '450 4.1.1 unverified address: Address verification in progress'],
    ['busy', '450'],
  ])('%s: %s', (cause, text) => {
    expect(causeOf(parseReply(text))).toBe(cause);
  });
});

test('too long an envelope is told apart from a full mailbox, also by servers that say 552', () => {
  const isTooMany = (text: string): boolean => isTooManyRecipients(parseReply(text));
  expect(isTooMany('452 4.5.3 Error: too many recipients')).toBe(true);
  expect(isTooMany('452 Too many recipients received this hour')).toBe(true);
  expect(isTooMany('552 too many recipients')).toBe(true);
  expect(isTooMany('452 4.2.2 Mailbox full')).toBe(false);
  expect(isTooMany('552 5.2.2 Mailbox full')).toBe(false);
  expect(isTooMany('550 5.5.3 too many recipients')).toBe(false);
});
