/** What travels on BOUNCES: read back as it was written, and nothing else is taken for it. */
import { expect, test } from 'vitest';
import type { Address } from '../../src/mail/address.ts';
import {
  type Bounce,
  DIAGNOSTIC_CHARACTERS_MAX,
  DSN_BYTES_MAX,
  decodeBounceEvents,
  EVENTS_MAX,
  encodeBounceEvent,
  eventNumber,
  joinBounceEvents,
  placeOf,
  type Standing,
} from '../../src/mail/bounce-event.ts';

const bounce: Bounce = {
  type: 'bounce',
  id: 'd17.0',
  at: 1_700_000_000_000,
  kind: 'bounce',
  verified: true,
  member: 7,
  post: 3,
  address: 'gone@example.org' as Address,
  permanent: true,
  status: '5.1.1',
  code: 550,
  reason: 'user-unknown',
  rule: 'rfc3464',
  source: 'dsn',
  route: null,
  diagnostic: '550 5.1.1 no such user',
  dsn: 'Return-Path: <>\r\n\u00e9',
};
const standing: Standing = {
  ...{ type: 'standing', id: 'l4.0.1', at: 5, member: 7 },
  ...{ what: 'warned', count: 2, byBounces: true, cause: 3.07 },
};

test('an event is read back as it was written', () => {
  for (const event of [bounce, standing]) {
    expect(decodeBounceEvents(encodeBounceEvent(event))).toEqual([event]);
  }
});

test('events that are joined are read back in their order, and one that is not ours costs no other', () => {
  const other = new TextEncoder().encode('{"v":9}');
  const one = encodeBounceEvent(bounce);
  expect(joinBounceEvents([one])).toBe(one);
  const joined = joinBounceEvents([one, other, encodeBounceEvent({ ...bounce, id: 'd18.0' })]);
  expect(decodeBounceEvents(joined)).toEqual([bounce, null, { ...bounce, id: 'd18.0' }]);
});

test('the number of an event says where it is, in the order of events, and reads well', () => {
  for (const seq of [1, 4_711, 123_456_789, 2 ** 40]) {
    let before = eventNumber(seq - 1, EVENTS_MAX - 1);
    for (let index = 0; index < EVENTS_MAX; index++) {
      const number = eventNumber(seq, index);
      expect(placeOf(JSON.parse(JSON.stringify(number)))).toEqual({ seq, index });
      expect(number).toBeGreaterThan(before);
      before = number;
    }
  }
  const written = [0, 1, 10, 99].map((index) => String(eventNumber(123_456_789, index)));
  expect(written).toEqual(['123456789', '123456789.01', '123456789.1', '123456789.99']);
});

test('a long DSN and a long diagnostic are cut to their bounds', () => {
  const long = { ...bounce, dsn: 'x'.repeat(2 * DSN_BYTES_MAX), diagnostic: 'y'.repeat(9_999) };
  const [read] = decodeBounceEvents(encodeBounceEvent(long)) as [Bounce];
  expect(read.dsn.length).toBe(DSN_BYTES_MAX);
  expect(read.diagnostic.length).toBe(DIAGNOSTIC_CHARACTERS_MAX);
});

test('a hint that names a member is not ours, nor a verified bounce that names none', () => {
  const wrong = [
    { ...bounce, verified: false },
    { ...bounce, member: null },
    { ...bounce, id: 'a b' },
    { ...bounce, at: -1 },
    { ...bounce, reason: 'No Such User' },
    { ...standing, what: 'promoted' },
    { ...standing, v: 2 },
    { ...standing, cause: -1 },
  ];
  const encoder = new TextEncoder();
  for (const event of wrong) {
    const bytes = encoder.encode(JSON.stringify({ v: 1, ...event }));
    expect(decodeBounceEvents(bytes), JSON.stringify(event)).toEqual([null]);
  }
  const tooMany = JSON.stringify(Array.from({ length: EVENTS_MAX + 1 }, () => bounce));
  for (const text of ['', '{', 'null', '[[]]', '7', '{"v":1}', tooMany]) {
    expect(decodeBounceEvents(encoder.encode(text))).toEqual([null]);
  }
});
