/**
 * The outgoing runner, the real client and two real MTAs, of which the one that most mail would go by hangs at the dot of one
 * connection and refuses the others: whom it has in no transaction is sent to by the other at once, and who is under way waits.
 */
import { afterEach, expect, test } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import type { Mode } from '../../src/mail/chunk.ts';
import { numbersIn } from '../../src/mail/ranges.ts';
import { RATE_REFUSALS_MAX } from '../../src/runners/outgoing-send.ts';
import type { Routes } from '../../src/smtp/routes.ts';
import { createSmtp } from '../../src/smtp/send.ts';
import { createFakeJournal } from '../support/fake/journal.ts';
import { chunkOf, member, type OutgoingStory, outgoingStory } from '../support/outgoing-story.ts';
import { openTestRoutes, routeOf } from '../support/routes.ts';
import { type Answer, type Sink, type Step, startSink } from '../support/sink.ts';
import { until } from '../support/until.ts';

const MEMBERS = 100;
/** More than refusals in a row for which a provider is left alone. */
const IN_ENVELOPE = RATE_REFUSALS_MAX + 5;
const NUMBERS = Array.from({ length: MEMBERS }, (_, n) => 3 * n + 1);

let opened: { readonly routes: Routes; readonly sinks: readonly Sink[] } | null = null;
afterEach(async () => {
  opened?.routes.stop();
  for (const sink of opened?.sinks ?? []) await sink.close();
  opened = null;
});

type It = OutgoingStory & { readonly bad: Sink; readonly good: Sink };

/** The bad one takes one connection; after so many mails it says nothing at the dot. */
async function start(mails: number): Promise<It> {
  let isRefusing = false;
  const rule = ({ command, connection, nth }: Step): Answer => {
    if (connection > 1 && (isRefusing || command === 'connect')) return '421 4.3.2 not now';
    if (command !== 'dot' || nth <= mails) return null;
    isRefusing = true;
    return 'hang';
  };
  const [bad, good] = [await startSink({ rule }), await startSink()];
  const clock = systemClock;
  const routes = await openTestRoutes(
    ({ url }) => createSmtp({ url, tls: 'off', name: 'client.example' }),
    clock,
    {
      file: [
        routeOf('bad', { url: bad.url, weight: 1_000, timeoutSeconds: 1, recipients: IN_ENVELOPE }),
        routeOf('good', { url: good.url, role: 'fallback' }),
      ],
    },
  );
  opened = { routes, sinks: [bad, good] };
  const { journal } = createFakeJournal(clock);
  return { ...outgoingStory({ route: routes, journal, clock }), bad, good };
}

const chunkIn = (mode: Mode) => {
  const chunk = chunkOf(MEMBERS, {}, systemClock.now());
  return { ...chunk, recipe: { ...chunk.recipe, mode } };
};

/** Sends until only what hangs is left; whom that is. */
async function sendUntilItHangs(it: It, mode: Mode, mails: number) {
  const chunk = chunkIn(mode);
  const disposed = it.dispose(chunk);
  const inOne = mode === 'shared' ? IN_ENVELOPE : 1;
  const first = NUMBERS.map((_, n) => member(n)).slice(0, mails * inOne);
  const rest = MEMBERS - first.length - inOne;
  await until('all but those under way have it', () =>
    it.good.recipients().length === rest ? true : null,
  );
  expect(it.bad.recipients().sort()).toEqual(first.sort());
  expect(it.told, 'and it is not over').toEqual([]);
  const had = [...it.bad.recipients(), ...it.good.recipients()];
  const hanging = NUMBERS.map((_, n) => member(n)).filter((to) => !had.includes(to));
  expect(hanging.length).toBe(inOne);
  return { chunk, disposed, hanging };
}

const copies = ({ bad, good }: It): string[] => [...bad.recipients(), ...good.recipients()].sort();
const everybody = NUMBERS.map((_, n) => member(n)).sort();
const numberOf = (to: string): number | undefined => NUMBERS.find((_, n) => member(n) === to);

const CASES = [
  ['individual', 0],
  ['individual', 3],
  ['shared', 1],
] as const;

test.each(CASES)(
  '%s, %i mails before: taken in the end, it was taken by the route that hung',
  async (mode, mails) => {
    const it = await start(mails);
    const { chunk, disposed, hanging } = await sendUntilItHangs(it, mode, mails);
    it.bad.answerHung('250 2.0.0 at last');
    expect(await disposed).toEqual({ kind: 'done' });
    expect(copies(it)).toEqual(everybody);
    expect(it.result(chunk)).toMatchObject({ kind: 'done', deferred: [], refused: [] });
    const late = it.result(chunk)?.accepted.filter(([, , { reply }]) => reply.includes('at last'));
    const numbers = late?.flatMap(([from, to]) => NUMBERS.filter((n) => n >= from && n <= to));
    expect(numbers).toEqual(hanging.map(numberOf));
    expect(late?.map(([, , { route }]) => route)).toEqual(late?.map(() => 'bad'));
    expect(it.later.size).toBe(0);
  },
);

test.each(CASES)(
  '%s, %i mails before: refused in the end, those alone wait',
  async (mode, mails) => {
    const it = await start(mails);
    const { chunk, disposed, hanging } = await sendUntilItHangs(it, mode, mails);
    it.bad.answerHung('450 4.7.0 too many mails from you');
    await disposed;
    const numbers = hanging.map(numberOf);
    const deferred = it
      .result(chunk)
      ?.deferred.map(({ number, code, route }) => [number, code, route]);
    expect(deferred).toEqual(numbers.map((number) => [number, 450, 'bad']));
    const [next] = it.later.values();
    expect(next?.chunk.to.map(([number]) => number)).toEqual(numbers);
  },
);

test.each(CASES)(
  '%s, %i mails before: when the MTA is gone, they get it by the other',
  async (mode, mails) => {
    const it = await start(mails);
    const { chunk, disposed, hanging } = await sendUntilItHangs(it, mode, mails);
    it.bad.dropAll();
    await disposed;
    expect(copies(it)).toEqual(everybody);
    expect(it.result(chunk)).toMatchObject({ kind: 'done', deferred: [], refused: [] });
    const repeated = it.result(chunk)?.repeated?.flatMap(numbersIn);
    expect(repeated, 'and may have it from both').toEqual(hanging.map(numberOf));
    expect(it.later.size).toBe(0);
  },
);
