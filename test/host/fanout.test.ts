import fc from 'fast-check';
import { expect, test } from 'vitest';
import { WIDTH_MAX, widthOf } from '../../actors/list/posting.ts';
import { type Deliver, fanOut } from '../../src/host/fanout.ts';
import { parseAddress } from '../../src/mail/address.ts';
import type { Chunk } from '../../src/mail/chunk.ts';
import { encodeChunk } from '../../src/nats/codec.ts';
import { fakeHostWorld } from '../support/fake/host-world.ts';
import {
  address,
  given,
  KEY,
  LIST,
  made,
  OPERATOR,
  post,
  type Story,
} from '../support/list-story.ts';

const CHUNK_BYTES_MAX = 512 * 1024;
/** A quoted local part in which all that can need a backslash does, in front of the longest domain. */
const LONGEST_DOMAIN = `${Array.from({ length: 3 }, () => 'd'.repeat(60)).join('.')}.${'e'.repeat(6)}`;
const longest = (i: number): string =>
  `"${'\\"'.repeat(25)}${String(i).padStart(12, 'x')}"@${LONGEST_DOMAIN}`;

/** A list of so many members with numbers from `first` on: whoever was before them has left. */
function listOf(first: number, many: number): Story {
  const story = given(...made);
  left(story, 1);
  const row = story.draft().list();
  const context = { ...row.context, nextMember: first + many, live: many };
  story.rows.commit([
    [[KEY, 'list'], { ...row, context }],
    ...Array.from({ length: many }, (_, i) => {
      const member = { address: address(longest(first + i)), name: '', at: 0 };
      return [[KEY, 'member', first + i], member] as const;
    }),
  ]);
  return story;
}

function left(story: Story, number: number): void {
  const gone = story.draft().member(number);
  if (gone !== null) story.and({ type: 'member-removed', number, address: gone, by: OPERATOR });
}

/** A post to those who are members now. */
function deliverOf(story: Story): Deliver {
  const { settings, nextMember: counter, live } = story.draft().state();
  const width = widthOf({ nextMember: counter, live });
  return { type: 'deliver', number: 1, counter, width, hold: null, post: post(), settings };
}

/** Publishes from a chunk on; `putsMax` batches, then the node is gone. Gives how far it said it was. */
async function published(
  story: Story,
  effect: Deliver,
  from: number,
  into: Chunk[],
  putsMax: number,
) {
  let puts = 0;
  let told = from;
  const world = {
    ...fakeHostWorld(),
    rows: story.rows,
    outgoing: {
      put: async (chunks: readonly Chunk[]): Promise<void> => {
        if (puts++ >= putsMax) throw new Error('the node is gone');
        into.push(...chunks);
      },
    },
    nextTick: (run: () => void) => run(),
  };
  const progress = (chunks: number): void => {
    told = chunks;
  };
  const mail = { in: 'mail', seq: 1 } as const;
  await fanOut(world, KEY, LIST, mail, effect, from, progress).catch(() => undefined);
  return told;
}

const numbersOf = (chunks: readonly Chunk[]): number[] =>
  chunks.flatMap(({ to }) => to.map(([number]) => number));

test('a chunk of the longest addresses there are, as many as it may cover, fits one message', async () => {
  const text = longest(1);
  expect([Buffer.byteLength(text), parseAddress(text)]).toEqual([254, text]);
  const story = listOf(WIDTH_MAX, WIDTH_MAX);
  const chunks: Chunk[] = [];
  const deliver = { ...deliverOf(story), width: WIDTH_MAX, counter: 2 * WIDTH_MAX };
  await published(story, deliver, 0, chunks, 9);
  expect(chunks.map(({ to }) => to.length)).toEqual([WIDTH_MAX]);
  for (const chunk of chunks) expect(encodeChunk(chunk).length).toBeLessThan(CHUNK_BYTES_MAX);
});

/** How many batches the first node put, and whether it could say so. */
const CUTS = [
  [0, false],
  [1, false],
  [1, true],
] as const;

test('a fan-out that was cut and made again after members left and came reaches each who stayed once, by the ids of the chunks', async () => {
  const [first, many] = [6_000, 2_000];
  const number = fc.integer({ min: first, max: first + many - 1 });
  const gone = fc.uniqueArray(number, { minLength: 100, maxLength: 150 });
  const remade = async (leaving: readonly number[], [puts, isTold]: (typeof CUTS)[number]) => {
    const story = listOf(first, many);
    const effect = deliverOf(story);
    const chunks: Chunk[] = [];
    const told = await published(story, effect, 0, chunks, puts);
    for (const one of leaving) left(story, one);
    const members = [{ address: address('late@example.org'), name: '' }];
    const late = { type: 'members-added', members, already: 0, by: OPERATOR } as const;
    story.and({ ...late, first: effect.counter });
    await published(story, effect, isTold ? told : 0, chunks, 9);
    // The queue knows a chunk by its id: the first that was published under it is the one.
    const known = new Map(chunks.reverse().map((chunk) => [chunk.chunk, chunk]));
    const numbers = numbersOf([...known.values()]);
    expect(new Set(numbers).size).toBe(numbers.length);
    const stayed = [...story.rows.range([KEY, 'member', 0], [KEY, 'member', effect.counter])];
    const reached = new Set(numbers);
    expect(stayed.filter(([row]) => !reached.has(Number(row[2])))).toEqual([]);
    expect(Math.max(...numbers)).toBeLessThan(effect.counter);
  };
  const each = fc.asyncProperty(gone, fc.constantFrom(...CUTS), remade);
  await fc.assert(each, {
    numRuns: 10,
    endOnFailure: true,
    examples: CUTS.map((cut) => [range(first, 120), cut]),
  });
});

const range = (from: number, many: number): number[] =>
  Array.from({ length: many }, (_, i) => from + i);
