/**
 * The outgoing runner, the real client and the real journal, against an MTA that fails in every way
 * it can.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { silentLog } from '../../src/log.ts';
import type { Chunk } from '../../src/mail/chunk.ts';
import { isIn } from '../../src/mail/ranges.ts';
import { createPool, type Pool } from '../../src/smtp/pool.ts';
import { createSmtp } from '../../src/smtp/send.ts';
import { type JournalStore, openJournal } from '../../src/store/journal.ts';
import {
  chunkOf,
  deliveryOf,
  member,
  OURS,
  type OutgoingStory,
  outgoingStory,
} from '../support/outgoing-story.ts';
import { type Answer, type Sink, type Step, startSink } from '../support/sink.ts';

const CONNECTIONS = 5;
/** Longer than a busy machine takes for an answer; those that hang are in `outgoing-hostile.test.ts`. */
const REPLY_MS_MAX = 60_000;
const clock = systemClock;

let path = '';
let sink: Sink;
let pool: Pool;
let store: JournalStore;

beforeEach(async () => {
  path = await mkdtemp(join(tmpdir(), 'troupe-outgoing-'));
  sink = await startSink();
  const smtp = createSmtp({
    ...{ url: sink.url, name: 'client.example', tls: 'off' },
    ...{ connectMsMax: REPLY_MS_MAX, commandMsMax: REPLY_MS_MAX },
  });
  pool = createPool({ name: 'mta', smtp, clock, log: silentLog, connectionsMax: CONNECTIONS });
});
afterEach(async () => {
  pool.stop();
  await sink.close();
  store.close();
  await rm(path, { recursive: true });
});

async function begin(): Promise<OutgoingStory> {
  store = await openJournal(join(path, 'chunks'), { clock, log: silentLog });
  return outgoingStory({ route: pool, journal: store.journal, clock });
}

/** Disposes of the chunk and of its next tries, until there is none. */
async function toTheEnd(story: OutgoingStory, chunk: Chunk, triesMax = 10): Promise<void> {
  for (let next: Chunk | undefined = chunk; next !== undefined; ) {
    expect(await story.dispose(next)).toEqual({ kind: 'done' });
    expect(next.try).toBeLessThan(triesMax);
    const [waiting] = story.later.values();
    story.later.clear();
    next = waiting?.chunk;
  }
}

/** What the sink says at a step of the transaction of one recipient. */
type Trouble = { readonly at: Step['command']; readonly answer: Answer };

function ruleOf(troubles: ReadonlyMap<string, Trouble>): (step: Step) => Answer {
  const rcptOf = new Map<number, string>();
  const begun = new Set<string>();
  return ({ command, argument, connection }) => {
    if (command === 'rcpt') rcptOf.set(connection, /<(.*?)>/.exec(argument)?.[1] ?? '');
    const recipient = rcptOf.get(connection) ?? '';
    const trouble = troubles.get(recipient);
    // Once a recipient: the next try finds the MTA in better health; 550 stays.
    if (trouble === undefined || trouble.at !== command || begun.has(recipient)) return null;
    if (!String(trouble.answer).startsWith('5')) begun.add(recipient);
    return trouble.answer;
  };
}

const outcomesOf = (story: OutgoingStory, chunk: Chunk, index: number): string[] => {
  const number = chunk.to[index]?.[0] ?? -1;
  return story.told.flatMap(({ result }) => [
    ...result.refused.filter((one) => one.number === number).map(({ code }) => `refused ${code}`),
    ...result.deferred.filter((one) => one.number === number).map(({ code }) => `deferred ${code}`),
    ...(isIn(result.accepted, number) ? ['accepted'] : []),
  ]);
};

test('each recipient ends as the MTA said, whatever became of the others', async () => {
  const story = await begin();
  const chunk = chunkOf(9, {}, clock.now());
  sink.setRule(
    ruleOf(
      new Map<string, Trouble>([
        [member(1), { at: 'rcpt', answer: '451 4.7.1 greylisted' }],
        [member(2), { at: 'rcpt', answer: '550 5.1.1 no such user' }],
        [member(3), { at: 'data', answer: 'drop' }],
        [member(4), { at: 'dot', answer: 'accept-and-drop' }],
        [member(5), { at: 'dot', answer: 'drop' }],
        [member(7), { at: 'dot', answer: '554 5.7.1 spam' }],
      ]),
    ),
  );
  await toTheEnd(story, chunk);
  const outcomes = chunk.to.map((_, index) => outcomesOf(story, chunk, index));
  expect(outcomes[0]).toEqual(['accepted']);
  expect(outcomes[1]).toEqual(['deferred 451', 'accepted']);
  expect(outcomes[2]).toEqual(['refused 550']);
  expect(outcomes[3], 'lost before DATA was answered: another connection').toEqual(['accepted']);
  expect(outcomes[4]).toEqual(['deferred 0', 'accepted']);
  expect(outcomes[5]).toEqual(['deferred 0', 'accepted']);
  expect(outcomes[6]).toEqual(['accepted']);
  expect(outcomes[7]).toEqual(['refused 554']);
  const got = (index: number): number =>
    sink.recipients().filter((recipient) => recipient === member(index)).length;
  // Only who was accepted without a word has two copies: RFC 1047.
  expect(chunk.to.map((_, index) => got(index))).toEqual([1, 1, 0, 1, 2, 1, 1, 0, 1]);
});

test('nobody is skipped, and nobody doubled but where the MTA said nothing after the dot', async () => {
  const story = await begin();
  const trouble = fc.record({
    at: fc.constantFrom<Step['command']>('mail', 'rcpt', 'data', 'dot'),
    answer: fc.constantFrom<Answer>('drop', '451 4.3.0 later', '550 5.1.1 no'),
  });
  const silent = fc.constant<Trouble>({ at: 'dot', answer: 'accept-and-drop' });
  let post = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.option(fc.oneof(trouble, silent)), { minLength: 1, maxLength: 30 }),
      fc.constantFrom<Chunk['recipe']['mode']>('individual', 'shared'),
      async (troubles, mode) => {
        post += 1;
        const plain = chunkOf(troubles.length, { post: `p${post}` }, clock.now());
        const chunk = { ...plain, recipe: { ...plain.recipe, mode } };
        const before = sink.mails.length;
        const byRecipient = new Map<string, Trouble>();
        for (const [index, one] of troubles.entries()) {
          if (one !== null) byRecipient.set(member(index), one);
        }
        sink.setRule(ruleOf(byRecipient));
        await toTheEnd(story, chunk, 60);
        const mails = sink.mails.slice(before);
        for (const [index] of chunk.to.entries()) {
          const copies = mails.filter((mail) => mail.recipients.includes(member(index)));
          const answered = copies.filter((mail) => mail.isAnswered).length;
          const outcomes = outcomesOf(story, chunk, index);
          const isRefused = outcomes.some((outcome) => outcome.startsWith('refused'));
          expect(answered, `${member(index)}: ${outcomes}`).toBe(isRefused ? 0 : 1);
        }
        story.told.splice(0);
      },
    ),
    { numRuns: 30 },
  );
});

test('killed -9 in the middle, it repeats at most what was in flight, and skips nobody', async () => {
  const members = 3_000;
  const program = new URL('../support/outgoing-process.ts', import.meta.url).pathname;
  const child = spawn(
    process.execPath,
    [program, join(path, 'chunks'), String(sink.port), String(members)],
    {
      stdio: 'inherit',
    },
  );
  await sink.waitFor(1_000);
  child.kill('SIGKILL');
  await once(child, 'close');
  const story = await begin();
  const [delivery] = await story.outgoing.resume((token, data) => deliveryOf(data, token), 120_000);
  if (delivery === undefined) throw new Error('the journal held nothing');
  const [part] = story.told;
  expect(part?.result.kind).toBe('part');
  expect(await story.outgoing.dispose(delivery, OURS)).toEqual({ kind: 'done' });
  const got = sink.recipients();
  expect(new Set(got).size).toBe(members);
  expect(got.length - members).toBeLessThanOrEqual(CONNECTIONS);
  expect(store.journal.held()).toEqual([]);
});
