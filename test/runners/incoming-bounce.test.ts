/** What comes to a bounce address, as events: whose it is, what counts, what is set aside. */
import { expect, test } from 'vitest';
import {
  DSN_BYTES_MAX,
  decodeBounceEvents,
  encodeBounceEvent,
} from '../../src/mail/bounce-event.ts';
import type { KnownList } from '../../src/mail/classify.ts';
import { recognise } from '../../src/mail/dsn.ts';
import { bounceOf, HINTS_PER_MAIL_MAX } from '../../src/runners/incoming-bounce.ts';
import { complaintWith, dsnFrom } from '../support/dsns.ts';

const list = {} as KnownList;
const token = { kind: 'bounce', list, member: 7, post: 3 } as const;
const robot = { kind: 'bounce', list, member: null, post: null } as const;
const of = (meaning: typeof token | typeof robot, raw: Uint8Array) =>
  bounceOf(meaning, recognise(raw), { raw, at: 5, id: '17' });

const complaint = Buffer.from(complaintWith());

test('a token of ours makes one verified event, whoever the DSN names', () => {
  const became = of(token, dsnFrom({ to: 'forwarded@elsewhere.example' }));
  expect(became).toMatchObject({
    kind: 'events',
    events: [
      {
        ...{ id: 'd17.7x3.0', verified: true, member: 7, post: 3, kind: 'bounce' },
        ...{ address: 'forwarded@elsewhere.example', permanent: true, status: '5.1.1', code: 550 },
        ...{ reason: 'user-unknown', source: 'dsn', route: null, at: 5 },
      },
    ],
  });
});

test('without a token each recipient that is an address is a hint, and not more than some', () => {
  const became = of(robot, dsnFrom({ to: 'a@b.example' }));
  expect(became).toMatchObject({
    events: [{ id: 'd17.h.0', verified: false, member: null, post: null, address: 'a@b.example' }],
  });
  const [result] = recognise(dsnFrom({ to: 'a@b.example' })).results;
  const results = Array.from({ length: 999 }, (_, i) => ({
    ...result,
    recipient: `a${i}@b.example`,
  }));
  const many = { kind: 'bounce', results, why: null, text: '' } as never;
  const flood = bounceOf(robot, many, { raw: new Uint8Array(0), at: 5, id: '17' });
  expect(flood.kind === 'events' && flood.events.length).toBe(HINTS_PER_MAIL_MAX);
});

test('what is delayed is no event', () => {
  const late = dsnFrom({
    to: 'a@b.example',
    action: 'delayed',
    status: '4.4.1',
    diagnostic: '451 x',
  });
  expect(of(token, late)).toEqual({ kind: 'ignored', what: 'delayed' });
});

test('a complaint with our token is one, though it names nobody', () => {
  expect(of(token, complaint)).toMatchObject({ events: [{ kind: 'complaint', member: 7 }] });
  expect(of(robot, complaint)).toMatchObject({ kind: 'not-understood' });
});

test('what is not understood says why', () => {
  const odd = of(token, Buffer.from('Subject: hm\r\n\r\nYour essay came out well.\r\n'));
  expect(odd).toMatchObject({ kind: 'not-understood', why: expect.stringMatching(/./) });
});

test('an event carries the beginning of the DSN, and is read back from the wire', () => {
  const long = Buffer.concat([dsnFrom({ to: 'a@b.example' }), Buffer.alloc(99_999, 'x')]);
  const became = of(token, long);
  const [event] = became.kind === 'events' ? became.events : [];
  expect(event?.dsn.length).toBe(DSN_BYTES_MAX);
  expect(event && decodeBounceEvents(encodeBounceEvent(event))).toEqual([event]);
});
