/** The site's time, on nodes whose own clocks are wrong. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { silentLog } from '../../src/log.ts';
import { createLater } from '../../src/nats/later.ts';
import { openSiteClock } from '../../src/nats/site-clock.ts';
import { createPool } from '../../src/smtp/pool.ts';
import type { Clock } from '../../src/world.ts';
import { createFakeJournal } from '../support/fake/journal.ts';
import { createFakeSmtp } from '../support/fake/smtp.ts';
import { type Site, startSite } from '../support/nats.ts';
import { chunkOf, member, outgoingStory } from '../support/outgoing-story.ts';

const HOUR_MS = 3_600_000;
/** A busy machine answers late. */
const NEAR_MS = 60_000;

let site: Site;
const ending = new AbortController();
beforeAll(async () => {
  site = await startSite();
});
afterAll(async () => {
  ending.abort();
  await site.stop();
});

const wrongBy = (ms: number): Clock => ({ ...systemClock, now: () => Date.now() + ms });
const siteClockOf = (clock: Clock) => openSiteClock(site.nats, clock, ending.signal);

/** What a node with this clock makes of a try of which the second recipient is due in a quarter of an hour. */
async function triedBy(clock: Clock) {
  const [smtp, { journal }] = [createFakeSmtp(), createFakeJournal(clock)];
  const route = createPool({ name: 'mta', smtp, clock, log: silentLog });
  const now = Date.now();
  const story = outgoingStory({ route, journal, clock });
  await story.dispose(chunkOf(2, { try: 1, waits: [[4, now + HOUR_MS / 4]] }, now - HOUR_MS / 2));
  route.stop();
  const [next] = story.later.values();
  return {
    sent: smtp.mails.flatMap(({ recipients }) => recipients),
    dueInMs: (next?.at ?? 0) - now,
  };
}

test.each([
  ['ahead', HOUR_MS],
  ['behind', -HOUR_MS],
])(
  'on a node whose clock is an hour %s each recipient is tried when it is their time',
  async (_, ms) => {
    const tried = await triedBy(await siteClockOf(wrongBy(ms)));
    expect(tried.sent).toEqual([member(0)]);
    expect(tried.dueInMs).toBe(HOUR_MS / 4);
  },
);

test('a clock that jumps while the node runs changes nothing', async () => {
  let ms = 0;
  const clock = await siteClockOf({ ...systemClock, now: () => Date.now() + ms });
  ms = HOUR_MS;
  expect(Math.abs(clock.now() - Date.now())).toBeLessThan(NEAR_MS);
});

test('what waits by the site’s time waits as long as was meant', async () => {
  const clock = await siteClockOf(wrongBy(HOUR_MS));
  const later = createLater<{ type: string }>(site.nats, site.publisher, clock);
  await later.put('t', clock.now() + HOUR_MS, { to: 'outgoing', chunk: chunkOf(1) });
  const { header } = await site.nats.jsm.streams.getMessage('TROUPE_LATER', {
    last_by_subj: 'troupe.later.t',
  });
  const at = Date.parse(header.get('Nats-Schedule').replace('@at ', ''));
  expect(Math.abs(at - HOUR_MS - Date.now())).toBeLessThan(NEAR_MS);
});
