/** Complaints that come to an address of an operator's, with the mail complained of attached. */
import { expect, test } from 'vitest';
import { dispose } from '../../src/runners/incoming.ts';
import { timely } from '../../src/runners/incoming-bounce.ts';
import { complaintWith } from '../support/dsns.ts';
import { createFakeClock } from '../support/fake/clock.ts';
import { DEV, machine, mailTo, OPS, world } from '../support/incoming-story.ts';

const verified = { kind: 'complaint', verified: true, member: 12, post: 3 };
const FORMS = {
  'the return path': `Return-Path: <${machine('b', 12)}>`,
  'a field of the provider': `X-Original-Mail-From: ${machine('b', 12)}`,
  'the leave address': `List-Unsubscribe: <https://x.example/w/1>,\r\n <mailto:${machine('u', 12)}>`,
};

test.each(Object.entries(FORMS))('by %s a complaint is that of the copy', async (_, field) => {
  for (const to of ['dev-bounces', 'dev-owner', 'ops-owner', 'dev']) {
    const { needs, bounced, told, parked } = world();
    await dispose(mailTo([`${to}@lists.example`], complaintWith(field)), needs);
    expect(bounced).toMatchObject([{ key: DEV.key, event: verified }]);
    // What it came to hears of it as of any mail, but where plain DSNs go.
    expect(told.length + parked.length).toBe(to === 'dev-bounces' ? 0 : 1);
  }
});

test('of a complaint with a return path of its own that one counts, once', async () => {
  const { needs, bounced } = world();
  const raw = complaintWith(`Return-Path: <${machine('b', 13)}>`);
  await dispose(mailTo([machine('b', 12), 'ops-owner@lists.example'], raw), needs);
  expect(bounced).toMatchObject([{ event: verified }]);
});

test.each([
  ['no token', 'Return-Path: <jane@example.org>'],
  ['a MAC that is not ours', `Return-Path: <${machine('b', 12, new Uint8Array(32).fill(9))}>`],
  ['a domain that is not ours', `Return-Path: <${machine('b', 12).replace('lists', 'evil')}>`],
])('with %s it is a hint of whom it names', async (_, field) => {
  const { needs, bounced } = world();
  const raw = complaintWith(`${field}\r\nTo: <bob@example.org>`);
  await dispose(mailTo(['ops-bounces@lists.example'], raw), needs);
  const event = { verified: false, member: null, address: 'bob@example.org' };
  expect(bounced).toMatchObject([{ key: OPS.key, event }]);
});

test('a token in mail that is no complaint says nothing', async () => {
  const { needs, bounced, told } = world();
  const quoted = `From: jane@example.org\r\nSubject: feedback-report\r\n\r\n> ${machine('b', 12)}\r\n`;
  await dispose(mailTo(['dev-owner@lists.example'], quoted), needs);
  expect([bounced, told.length]).toEqual([[], 1]);
});

test('a bounce says over which route its copy went, where that is known in time', async () => {
  const clock = createFakeClock();
  let answer: Promise<string | null> = Promise.resolve('smart');
  const asked: number[] = [];
  const routeOf = timely(async (_, __, member) => {
    asked.push(member);
    return await answer;
  }, clock);
  expect(await routeOf(DEV.key, 3, 1)).toBe('smart');
  answer = new Promise(() => {});
  const late = routeOf(DEV.key, 3, 2);
  await clock.advance(1_000);
  expect(await late).toBe(null);
  expect(await routeOf(DEV.key, 3, 3)).toBe(null); // Nobody waits again so soon.
  await clock.advance(10_000);
  answer = Promise.resolve('smart');
  expect(await routeOf(DEV.key, 3, 4)).toBe('smart');
  expect(asked).toEqual([1, 2, 4]);
  expect(timely(() => 'smart', clock)(DEV.key, 3, 5), 'what is known needs no wait').toBe('smart');
});
