/** B1, B3 from the raw mail on: what anyone may send who has no return path of ours. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { decideVerdict } from '../../actors/list/troubles.ts';
import { dispose } from '../../src/runners/incoming.ts';
import { emptyBook } from '../support/bounce-story.ts';
import { complaintWith, dsnFrom } from '../support/dsns.ts';
import { DEV, machine, mailTo, world } from '../support/incoming-story.ts';
import { ANNE, BART, given, made } from '../support/list-story.ts';

const ROBOTS = ['dev-bounces', 'dev-owner', 'dev', 'dev-request'].map(
  (name) => `${name}@lists.example`,
);
const STATUSES = ['5.1.1', '5.2.2', '5.7.1', '4.4.1'];

/** A token of the list and of a member, with any MAC but ours, or with one of its characters changed. */
const forgedToken = fc
  .record({
    kind: fc.constantFrom('b' as const, 'u' as const),
    secret: fc.uint8Array({ minLength: 32, maxLength: 32 }),
    at: fc.option(fc.integer({ min: 2, max: 38 }), { nil: null }),
    to: fc.constantFrom(...'abcdefghijklmnopqrstuvwxyz234567'),
  })
  .map(({ kind, secret, at, to }) => {
    if (at === null) return machine(kind, 1, secret);
    const ours = machine(kind, 1);
    return `${ours.slice(0, at)}${to}${ours.slice(at + 1)}`;
  })
  .filter((token) => token !== machine('b', 1) && token !== machine('u', 1));

const forged = fc
  .record({
    to: fc.array(fc.oneof(forgedToken, fc.constantFrom(...ROBOTS)), { minLength: 1, maxLength: 3 }),
    names: fc.constantFrom<string>(BART, ANNE, 'eve@x.example'),
    status: fc.constantFrom(...STATUSES),
    token: forgedToken,
    isComplaint: fc.boolean(),
  })
  .map(({ to, names, status, token, isComplaint }) => ({
    to,
    raw: isComplaint
      ? complaintWith(
          `Return-Path: <${token}>`,
          `List-Unsubscribe: <mailto:${token}>`,
          `To: ${names}`,
        )
      : dsnFrom({ to: names, status }).toString(),
  }));

test('B1, B3: no sequence of forged mail changes what a member gets, or leads to more than a probe', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(forged, { maxLength: 25 }), async (mails) => {
      const { needs, bounced, told } = world();
      for (const [i, { to, raw }] of mails.entries())
        await dispose(mailTo(to, raw, { seq: i + 1 }), needs);
      expect(bounced.filter(({ event }) => event.type === 'bounce' && event.verified)).toEqual([]);
      // A leave address with a wrong MAC removes nobody either.
      expect(told.filter(({ asked }) => asked.command.type === 'remove-member')).toEqual([]);
      const book = emptyBook({ threshold: 0.25 });
      const list = given(...made);
      for (const { key, event } of bounced) {
        expect(key).toBe(DEV.key);
        book.fold(event);
        for (const { command } of book.asks()) {
          const facts = decideVerdict(list.draft(), command);
          expect(facts.filter(({ type }) => type !== 'member-probed')).toEqual([]);
          list.and(...facts);
        }
      }
      expect(list.draft().memberRow(1)?.off).toBe(undefined);
      expect(list.draft().trouble(1).context.probes).toBeLessThanOrEqual(1);
      expect([...book.rows().keys()].filter((id) => id.startsWith('["score"'))).toEqual([]);
    }),
  );
});
