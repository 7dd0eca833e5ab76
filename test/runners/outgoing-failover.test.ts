/**
 * The outgoing runner, the real client and two real MTAs, of which the one that most mail would go by fails in every way it
 * can: all of it goes by the other, at once, and nobody gets it twice.
 */
import { afterEach, expect, test } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import type { Routes } from '../../src/smtp/routes.ts';
import { createSmtp } from '../../src/smtp/send.ts';
import { createFakeJournal } from '../support/fake/journal.ts';
import { chunkOf, member, type OutgoingStory, outgoingStory } from '../support/outgoing-story.ts';
import { openTestRoutes, routeOf } from '../support/routes.ts';
import { type Answer, type Sink, type Step, startSink } from '../support/sink.ts';

const MEMBERS = 20;
/** For one that never answers; the others have as long as a loaded machine takes. */
const PATIENCE_MS = 1_000;

let opened: { readonly routes: Routes; readonly sinks: readonly Sink[] } | null = null;
afterEach(async () => {
  opened?.routes.stop();
  for (const sink of opened?.sinks ?? []) await sink.close();
  opened = null;
});

type It = OutgoingStory & { readonly bad: Sink; readonly good: Sink; mode(): string | undefined };

async function start(at: Step['command'], answer: Answer): Promise<It> {
  const rule = (step: Step): Answer => (step.command === at ? answer : null);
  const [bad, good] = [await startSink({ rule }), await startSink()];
  const clock = systemClock;
  const file = [
    routeOf('bad', { url: bad.url, weight: 1_000 }),
    routeOf('good', { url: good.url, role: 'fallback' }),
  ];
  const routes = await openTestRoutes(
    ({ name, url, tls }) =>
      createSmtp({
        ...{ url, tls, name: 'client.example' },
        ...(name === 'bad' &&
          answer === 'hang' && { connectMsMax: PATIENCE_MS, replyMsMax: PATIENCE_MS }),
      }),
    clock,
    { file },
  );
  opened = { routes, sinks: [bad, good] };
  const { journal } = createFakeJournal(clock);
  const story = outgoingStory({ route: routes, journal, clock });
  const mode = () =>
    routes
      .all()
      .find(({ live }) => live.route.name === 'bad')
      ?.live.health.row();
  return { ...story, bad, good, mode: () => mode()?.state.mode };
}

const everybody = Array.from({ length: MEMBERS }, (_, n) => member(n)).sort();

test.each<[Step['command'], Answer]>([
  ['connect', 'hang'],
  ['connect', 'drop'],
  ['connect', '421 4.3.2 not now'],
  ['connect', '554 5.7.1 not you'],
  ['ehlo', 'drop'],
  ['ehlo', '421 4.3.2 not now'],
  ['mail', 'drop'],
  ['mail', '421 4.3.2 not now'],
  ['rcpt', '421 4.3.2 not now'],
  ['data', 'drop'],
  ['data', '421 4.3.2 not now'],
])('at %s it says %s', async (at, answer) => {
  const { bad, good, dispose, later, result, mode } = await start(at, answer);
  const chunk = chunkOf(MEMBERS, {}, systemClock.now());
  expect(await dispose(chunk)).toEqual({ kind: 'done' });
  expect(good.recipients().sort()).toEqual(everybody);
  expect([bad.recipients(), later.size]).toEqual([[], 0]);
  expect(result(chunk)).toMatchObject({ kind: 'done', deferred: [], refused: [] });
  const by = result(chunk)?.accepted.map(([, , { route }]) => route);
  expect(new Set(by)).toEqual(new Set(['good']));
  expect(mode(), 'and it is left alone from then on').not.toBe('closed');
});

test.each<Answer>(['accept-and-drop', 'drop', 'hang'])(
  'at the dot it says %s: who may have it waits, the others get it by the other',
  async (answer) => {
    const { bad, good, dispose, later, result } = await start('dot', answer);
    const chunk = chunkOf(MEMBERS, {}, systemClock.now());
    await dispose(chunk);
    const waiting = [...later.values()].flatMap((next) =>
      next.chunk.to.map(([, to]) => String(to)),
    );
    if (answer !== 'hang') expect(waiting.length).toBeGreaterThan(0);
    expect([...good.recipients(), ...waiting].sort()).toEqual(everybody);
    for (const to of bad.recipients()) expect(waiting).toContain(to);
    expect(result(chunk)?.deferred.every(({ code }) => code === 0)).toBe(true);
  },
);
