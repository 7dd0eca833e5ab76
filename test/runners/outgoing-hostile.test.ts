/**
 * The outgoing runner and the real client against a hostile MTA: whatever it does, each try ends, and when it behaves again
 * everybody has one copy.
 */
import { afterEach, describe, expect, test } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { silentLog } from '../../src/log.ts';
import type { Address } from '../../src/mail/address.ts';
import type { Chunk, Mode } from '../../src/mail/chunk.ts';
import { createPool, type Pool } from '../../src/smtp/pool.ts';
import { createSmtp } from '../../src/smtp/send.ts';
import { createFakeJournal } from '../support/fake/journal.ts';
import {
  at,
  BODY_TROUBLES,
  greylists,
  LIES,
  REFUSABLE,
  STEPS,
  TROUBLES,
  takesAtMost,
} from '../support/hostile.ts';
import { chunkOf, type OutgoingStory, outgoingStory } from '../support/outgoing-story.ts';
import { type Sink, type SinkOptions, startSink } from '../support/sink.ts';

const MEMBERS = 8;
/** More than are under way at once, fewer than all that are tried. */
const TIMES = 4;
const CONNECTIONS = 2;
const TRIES_MAX = 40;
/** Longer than any machine takes; and short, where the MTA hangs. */
const PATIENT_MS = 30_000;
const IMPATIENT_MS = 300;

const sinks: Sink[] = [];
const pools: Pool[] = [];
afterEach(async () => {
  for (const pool of pools.splice(0)) pool.stop();
  await Promise.all(sinks.splice(0).map((sink) => sink.close()));
});

async function begin(
  options: SinkOptions,
  replyMsMax = PATIENT_MS,
): Promise<{ sink: Sink; story: OutgoingStory }> {
  const sink = await startSink(options);
  sinks.push(sink);
  const clock = systemClock;
  const smtp = createSmtp({
    ...{ url: sink.url, name: 'client.example', tls: 'off' },
    ...{ connectMsMax: replyMsMax, commandMsMax: replyMsMax, dotMsMax: replyMsMax },
  });
  const pool = createPool({
    ...{ name: 'mta', smtp, clock, log: silentLog, connectionsMax: CONNECTIONS },
    recipientsMax: 50,
  });
  pools.push(pool);
  const { journal } = createFakeJournal(clock);
  return { sink, story: outgoingStory({ route: pool, journal, clock }) };
}

/** The chunk and its next tries, each as soon as it is there; how many there were. */
async function toTheEnd(story: OutgoingStory, chunk: Chunk): Promise<number> {
  let next: Chunk | undefined = chunk;
  for (let tries = 0; ; tries += 1) {
    if (next === undefined) return tries;
    if (tries === TRIES_MAX) throw new Error('it does not end');
    expect(await story.dispose(next)).toEqual({ kind: 'done' });
    const [waiting] = story.later.values();
    story.later.clear();
    next = waiting?.chunk;
  }
}

const chunkIn = (mode: Mode, members = MEMBERS): Chunk => {
  const chunk = chunkOf(members, {}, systemClock.now());
  return { ...chunk, recipe: { ...chunk.recipe, mode } };
};
const expected = (chunk: Chunk): string[] => chunk.to.map(([, address]): string => address).sort();
const got = (sink: Sink): string[] =>
  sink.mails.filter((mail) => mail.isAnswered).flatMap((mail) => [...mail.recipients]);

describe.each(['individual', 'shared'] as const)('in mode %s', (mode) => {
  const cases = [
    ...STEPS.flatMap((step) => TROUBLES.map((trouble) => [step, trouble] as const)),
    ...BODY_TROUBLES.map((trouble) => ['body', trouble] as const),
  ];
  test.each(cases)('after trouble at %s (%s) everybody has one copy', async (step, trouble) => {
    const isHanging = trouble === 'hang';
    const rule = at(step, trouble, TIMES);
    const { sink, story } = await begin({ rule }, isHanging ? IMPATIENT_MS : PATIENT_MS);
    const chunk = chunkIn(mode);
    await toTheEnd(story, chunk);
    // Who does not wait long may miss a reply where the machine is slow, and send again: RFC 1047.
    const copies = isHanging ? [...new Set(got(sink))] : got(sink);
    expect(copies.sort()).toEqual(expected(chunk));
    expect(story.told.flatMap(({ result }) => result.refused)).toEqual([]);
  });

  test.each(REFUSABLE)(
    'refused for good at %s is refused, and everybody else has one copy',
    async (step) => {
      const { sink, story } = await begin({ rule: at(step, '554 5.7.1 not wanted', TIMES) });
      const chunk = chunkIn(mode);
      await toTheEnd(story, chunk);
      const refused = story.told.flatMap(({ result }) =>
        result.refused.map(({ number }) => number),
      );
      expect(refused.length).toBeGreaterThan(0);
      const others = chunk.to.filter(([number]) => !refused.includes(number));
      expect(got(sink).sort()).toEqual(expected({ ...chunk, to: others }));
      expect(story.bounces.map(({ member }) => member).sort()).toEqual(refused.sort());
    },
  );

  test.each(LIES)('an MTA that $name gets its mail all the same', async (lie) => {
    const { sink, story } = await begin(lie, lie.hearsOne === true ? IMPATIENT_MS : PATIENT_MS);
    const chunk = chunkIn(mode);
    if (lie.hearsOne === true) {
      // Nobody can send to it: but each try ends, and all wait.
      await story.dispose(chunk);
      expect([...story.later.values()][0]?.chunk.to).toEqual(chunk.to);
      return;
    }
    await toTheEnd(story, chunk);
    expect(got(sink).sort()).toEqual(expected(chunk));
  });
});

describe.each([
  ['pipelining', { extensions: ['PIPELINING'] }],
  ['without pipelining', { extensions: [] }],
  ['over LMTP', { isLmtp: true }],
] as const)('an MTA that takes few recipients, %s,', (_, options) => {
  test.each(['452 4.5.3 too many', '452 Too many recipients', '552 too many recipients'])(
    'is learned from, and nobody waits: %s',
    async (reply) => {
      const { sink, story } = await begin({ ...options, rule: takesAtMost(3, reply) });
      const chunk = chunkIn('shared', 20);
      expect(await toTheEnd(story, chunk)).toBe(1);
      expect(got(sink).sort()).toEqual(expected(chunk));
      for (const { recipients } of sink.mails) expect(recipients.length).toBeLessThanOrEqual(3);
    },
  );
});

test('a greylisting provider keeps nobody else waiting', async () => {
  const { sink, story } = await begin({ rule: greylists('grey.example') });
  const to = Array.from({ length: 60 }, (_, n) => {
    const provider = n % 3 === 0 ? 'fine.example' : 'grey.example';
    return [n + 1, `m${n}@${provider}` as Address] as const;
  });
  const chunk = { ...chunkIn('individual'), to };
  await story.dispose(chunk);
  const fine = expected({ ...chunk, to: to.filter(([, address]) => address.includes('@fine')) });
  expect(got(sink).sort()).toEqual(fine);
  const [waiting] = story.later.values();
  expect(waiting?.chunk.to).toHaveLength(40);
  await toTheEnd(story, waiting?.chunk ?? chunk);
  expect(got(sink).sort()).toEqual(expected(chunk));
});
