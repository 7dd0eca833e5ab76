/** What an MTA gets of a signed post, over the real client: every copy passes, and none leaves before it is signed. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { silentLog } from '../../src/log.ts';
import { createDkim, type Dkim } from '../../src/mail/dkim.ts';
import { createPool, type Pool } from '../../src/smtp/pool.ts';
import { createSmtp } from '../../src/smtp/send.ts';
import { newKey, verify } from '../support/dkim.ts';
import { createFakeJournal } from '../support/fake/journal.ts';
import { chunkOf, member, outgoingStory } from '../support/outgoing-story.ts';
import { type Sink, startSink } from '../support/sink.ts';

const MEMBERS = 40;
const keys = [newKey('rsa', 'lists.example'), newKey('ed25519', 'lists.example')];
const RAW = Buffer.from(
  [
    ...[
      'From: Åsa <a@x.example>',
      'Message-ID: <1@x.example>',
      'Subject: dots',
      '  and',
      '\tfolds',
    ],
    ...['', '.', '..two', 'x'.repeat(990), 'ö'.repeat(400), ' \t', '.', '', ''],
  ].join('\r\n'),
);
const EMPTY = Buffer.from('From: a@x.example\r\nSubject: nothing\r\n\r\n');
const FOOTER = 'Leave: {unsubscribe}';

let sink: Sink;
let pool: Pool;
let dkim: Dkim;

beforeEach(() => {
  dkim = createDkim(keys, 2);
});
afterEach(async () => {
  pool.stop();
  await sink.close();
  await dkim.close();
});

async function start(extensions?: readonly string[]): Promise<void> {
  sink = await startSink(extensions === undefined ? {} : { extensions });
  const smtp = createSmtp({ url: sink.url, name: 'client.example', tls: 'off' });
  pool = createPool({ name: 'mta', smtp, clock: systemClock, log: silentLog, connectionsMax: 3 });
}

function storyOf(raw: Uint8Array, signing: Pick<Dkim, 'prepare'>) {
  const { journal } = createFakeJournal(systemClock);
  return outgoingStory({ route: pool, journal, clock: systemClock, raw, dkim: signing });
}

const everybody = Array.from({ length: MEMBERS }, (_, index) => member(index)).sort();
const pipelining = ['PIPELINING', '8BITMIME', 'SMTPUTF8'];
const oneByOne = ['8BITMIME', 'SMTPUTF8'];

test.each([
  ['individual', RAW, FOOTER, pipelining],
  ['individual', RAW, FOOTER, oneByOne],
  ['individual', RAW, '', pipelining],
  ['individual', EMPTY, '', pipelining],
  ['individual', EMPTY, FOOTER, pipelining],
  ['shared', RAW, FOOTER, pipelining],
  ['shared', EMPTY, '', oneByOne],
] as const)('in mode %s each copy passes by both keys (%#)', async (mode, raw, footer, offers) => {
  await start(offers);
  const chunk = chunkOf(MEMBERS);
  const story = storyOf(raw, dkim);
  const recipe = { ...chunk.recipe, mode, footer };
  expect(await story.dispose({ ...chunk, recipe })).toEqual({ kind: 'done' });
  expect(sink.recipients().sort()).toEqual(everybody);
  for (const { message } of sink.mails) {
    const results = await verify(message, keys);
    expect(results.map(({ result }) => result)).toEqual(['pass', 'pass']);
  }
  const different = new Set(sink.mails.map(({ message }) => message.toString('latin1')));
  expect(different.size).toBe(mode === 'shared' ? 1 : MEMBERS);
});

test('a post that cannot be signed is sent as it is', async () => {
  await start();
  const chunk = chunkOf(2);
  expect(await storyOf(Buffer.from('Subject: x\r\n\r\nBody\r\n'), dkim).dispose(chunk)).toEqual({
    kind: 'done',
  });
  expect(sink.mails).toHaveLength(2);
  for (const { message } of sink.mails) {
    expect(message.toString('latin1')).not.toContain('DKIM-Signature');
  }
});

test('where signing breaks, nothing unsigned leaves and who got it is told', async () => {
  await start();
  let copies = 0;
  const failing: Pick<Dkim, 'prepare'> = {
    prepare(cooked, list) {
      const ready = dkim.prepare(cooked, list);
      const sign = async (copy: Uint8Array): Promise<void> => {
        copies += 1;
        if (copies > 10) throw new Error('a thread that signs ended');
        await ready.sign?.(copy);
      };
      return { ...ready, sign };
    },
  };
  const chunk = chunkOf(MEMBERS);
  const story = storyOf(RAW, failing);
  await expect(story.dispose(chunk)).rejects.toThrow('a thread that signs ended');
  for (const { message } of sink.mails) {
    const results = await verify(message, keys);
    expect(results.map(({ result }) => result)).toEqual(['pass', 'pass']);
  }
  const numbers = chunk.to.filter(([, address]) => sink.recipients().includes(address));
  expect(story.result(chunk)).toMatchObject({ kind: 'part' });
  const told = (story.result(chunk)?.accepted ?? []).map(([from, to]) => [from, to]);
  expect(told).toEqual(numbers.map(([number]) => [number, number]));
  expect(numbers.length).toBeLessThan(MEMBERS);
});
