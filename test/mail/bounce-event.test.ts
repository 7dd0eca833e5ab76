/** What travels on BOUNCES: read back as it was written, and nothing else is taken for it. */
import { expect, test } from 'vitest';
import type { Address } from '../../src/mail/address.ts';
import {
  type Bounce,
  DIAGNOSTIC_CHARACTERS_MAX,
  DSN_BYTES_MAX,
  decodeBounceEvent,
  encodeBounceEvent,
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
  ...{ what: 'warned', count: 2, byBounces: true, cause: 3 },
};

test('an event is read back as it was written', () => {
  for (const event of [bounce, standing]) {
    expect(decodeBounceEvent(encodeBounceEvent(event))).toEqual(event);
  }
});

test('a long DSN and a long diagnostic are cut to their bounds', () => {
  const long = { ...bounce, dsn: 'x'.repeat(2 * DSN_BYTES_MAX), diagnostic: 'y'.repeat(9_999) };
  const read = decodeBounceEvent(encodeBounceEvent(long)) as Bounce;
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
  ];
  const encoder = new TextEncoder();
  for (const event of wrong) {
    const bytes = encoder.encode(JSON.stringify({ v: 1, ...event }));
    expect(decodeBounceEvent(bytes), JSON.stringify(event)).toBe(null);
  }
  for (const text of ['', '{', 'null', '[]', '7', '{"v":1}']) {
    expect(decodeBounceEvent(encoder.encode(text))).toBe(null);
  }
});
