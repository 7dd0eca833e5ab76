import fc from 'fast-check';
import { expect, test } from 'vitest';
import { acceptedIn, type RefusedRecipient, type Result, type Word } from '../../src/mail/chunk.ts';
import { decodeResult, encodeResult, RESULT_BYTES_MAX } from '../../src/nats/result-codec.ts';
import { aResult, BY, took } from '../support/chunk.ts';

const none = { accepted: [], deferred: [], refused: [] };
const numbersFrom = (first: number, count: number): number[] =>
  Array.from({ length: count }, (_, n) => first + n);
/** Copies taken one by one, as an MTA names them in its queue; so many of them a second. */
const queued = (count: number, perSecond = Number.POSITIVE_INFINITY): Map<number, Word> =>
  new Map(
    numbersFrom(0, count).map((n) => {
      const at = BY.at + 1_000 * Math.floor(n / perSecond);
      return [1_000 + n, { route: 'postfix', at, reply: `2.0.0 Ok: queued as 4Xy${1e9 + n}` }];
    }),
  );
const sizeOf = (result: Result): number => encodeResult(result).length;

test('whatever was said, by whichever routes, of whomever, is read back', () => {
  const by = { route: fc.constantFrom('a', 'b', ''), at: fc.constantFrom(0, 1_000, 2_000) };
  const reply = fc.oneof(fc.constant(''), fc.string(), fc.constant('2.0.0 Ok'));
  const code = { code: fc.constantFrom(0, 450, 550), status: fc.constantFrom('', '4.2.0') };
  const words = fc.array(fc.tuple(fc.nat(300), fc.record({ ...by, reply })));
  const refusals = fc.uniqueArray(
    fc.record({ ...by, ...code, reply, next: fc.nat(9), number: fc.nat(300) }),
    {
      selector: ({ number }) => number,
    },
  );
  const inOrder = (list: readonly RefusedRecipient[]) =>
    list.toSorted((a, b) => a.number - b.number);
  fc.assert(
    fc.property(words, refusals, fc.boolean(), fc.boolean(), (accepted, refused, ...is) => {
      const [isCancelled, isRepeated] = is;
      const result = aResult({
        accepted: acceptedIn(new Map(accepted)),
        deferred: refused.filter(({ number }) => number % 2 === 0),
        refused: refused.flatMap(({ next: _, ...one }) => (one.number % 2 === 1 ? [one] : [])),
        ...(isCancelled && { cancelled: [[1, 1] as const, [3, 9] as const] }),
        ...(isRepeated && { repeated: [[2, 2] as const, [4, 300] as const] }),
      });
      const read = decodeResult(encodeResult(result));
      const sorted = { deferred: inOrder(read.deferred), refused: inOrder(read.refused) };
      expect({ ...read, ...sorted }).toEqual({
        ...result,
        ...{ deferred: inOrder(result.deferred), refused: inOrder(result.refused) },
      });
    }),
  );
});

test('a copy that was taken costs 21 bytes where each has an id of its own, whoever is slow', () => {
  const cost = (perSecond?: number): number =>
    sizeOf(aResult({ ...none, accepted: acceptedIn(queued(500, perSecond)) })) / 500;
  expect(cost()).toBeLessThan(21);
  expect(cost(100)).toBeLessThan(22);
  // 500 copies in 5 minutes, the longest that a chunk is in hand: each second has a time.
  expect(cost(500 / 300)).toBeLessThan(60);
});

test('what the replies have in common stands there once', () => {
  const text = Buffer.from(encodeResult(aResult({ accepted: acceptedIn(queued(500)) }))).toString();
  expect(text.match(/queued as/g)).toHaveLength(1);
});

test('a shared envelope of hundreds takes a few bytes, and so do hundreds who are told the same', () => {
  expect(
    sizeOf(aResult({ ...none, accepted: [took(1, 500, { reply: 'queued as 4Xy' })] })),
  ).toBeLessThan(200);
  const grey = { ...BY, code: 450, status: '4.2.0', reply: 'Greylisted', next: BY.at + 360_000 };
  const deferred = numbersFrom(1, 500).map((number) => ({ number, ...grey }));
  expect(sizeOf(aResult({ ...none, deferred }))).toBeLessThan(250);
});

test('when thousands are each told a story, the stories are cut and the outcomes kept', () => {
  const refused = numbersFrom(0, 5_000).map((number) => ({
    ...{ ...BY, number, code: 550, status: '5.1.1', reply: `${number} ${'ü'.repeat(4_000)}` },
  }));
  const bytes = encodeResult(aResult({ accepted: [], deferred: [], refused }));
  expect(bytes.length).toBeLessThanOrEqual(RESULT_BYTES_MAX);
  const read = decodeResult(bytes).refused;
  expect(read.map(({ number, code }) => [number, code])).toEqual(
    refused.map(({ number, code }) => [number, code]),
  );
  expect(read[4_999]?.reply).toMatch(/^4999 ü/);
});

test('a result of an older version, with one route and one time for all, is read', () => {
  const busy = { code: 451, status: '4.3.0', reply: 'busy', next: 7 };
  const old = {
    ...{ v: 1, kind: 'done', at: 5, route: 'mta', common: '2.0.0 Ok: queued as ' },
    accepted: [[1, 'A'], [2, 4, 'B'], [6], [7, 8]],
    deferred: [{ number: 9, ...busy }],
    refused: [{ number: 10, code: 550, status: '', reply: 'gone' }],
    cancelled: [[11, 12], [14]],
  };
  const by = { route: 'mta', at: 5 };
  const queuedAs = (id: string): Partial<Word> => ({ ...by, reply: `2.0.0 Ok: queued as ${id}` });
  expect(decodeResult(Buffer.from(JSON.stringify(old)))).toEqual({
    ...{ kind: 'done', at: 5 },
    accepted: [
      took(1, 1, queuedAs('A')),
      took(2, 4, queuedAs('B')),
      took(6, 6, by),
      took(7, 8, by),
    ],
    deferred: [{ ...by, number: 9, ...busy }],
    refused: [{ ...by, number: 10, code: 550, status: '', reply: 'gone' }],
    cancelled: [
      [11, 12],
      [14, 14],
    ],
  });
});
