/** What is more urgent than bounces, as the streams of a real nats-server say it. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { backlogOf } from '../../src/nats/backlog.ts';
import { mail, outgoing } from '../../src/nats/subjects.ts';
import { type Site, startSite } from '../support/nats.ts';

let site: Site;
beforeAll(async () => {
  site = await startSite();
});
afterAll(() => site?.stop());

const put = async (subject: string, many = 1): Promise<void> => {
  for (let i = 0; i < many; i++) await site.publisher.publish(subject, new Uint8Array(1));
};
const why = async (): Promise<string | null> => (await backlogOf(site.nats)).why;

test('bounces yield to chunks and to many mails, and neither to retries nor to themselves', async () => {
  expect(await backlogOf(site.nats)).toEqual({ why: null, oldestAt: null });
  const before = Date.now();
  await put(mail('bounce'), 100);
  await put(outgoing('retry'));
  const { why: none, oldestAt } = await backlogOf(site.nats);
  expect(none).toBe(null);
  expect(Math.abs((oldestAt ?? 0) - before)).toBeLessThan(60_000);
  await put(mail('owner'), 20);
  await put(mail('post'), 12);
  expect(await why()).toBe(null); // Runners take as many at once.
  await put(mail('command'));
  expect(await why()).toBe('33 mails in incoming');
  await put(outgoing('bulk'));
  await put(outgoing('notice'));
  expect(await why()).toBe('2 chunks in outgoing');
  await site.nats.jsm.streams.purge('TROUPE_OUTGOING');
  await site.nats.jsm.streams.purge('TROUPE_MAIL');
  expect(await why()).toBe(null);
});
