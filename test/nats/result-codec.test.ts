import fc from 'fast-check';
import { expect, test } from 'vitest';
import { rangesOf } from '../../src/mail/ranges.ts';
import { decodeResult, encodeResult, RESULT_BYTES_MAX } from '../../src/nats/result-codec.ts';
import { aResult } from '../support/chunk.ts';

const queued = (count: number): Map<number, string> =>
  new Map(
    Array.from({ length: count }, (_, n) => [1_000 + n, `2.0.0 Ok: queued as 4Xy${1e9 + n}`]),
  );

test('whatever was accepted, with whatever words, is read back', () => {
  const accepted = fc
    .array(fc.tuple(fc.nat(300), fc.oneof(fc.constant(''), fc.string(), fc.constant('2.0.0 Ok'))))
    .map((told) => rangesOf(new Map(told)));
  fc.assert(
    fc.property(accepted, fc.option(accepted, { nil: undefined }), (these, cancelled) => {
      const plain = cancelled?.map(([from, to]) => [from, to] as const);
      const result = aResult({ accepted: these, ...(plain && { cancelled: plain }) });
      expect(decodeResult(encodeResult(result))).toEqual(result);
    }),
  );
});

test('what the replies have in common stands there once', () => {
  const result = aResult({ accepted: rangesOf(queued(500)), deferred: [] });
  const bytes = encodeResult(result);
  expect(
    Buffer.from(bytes)
      .toString()
      .match(/queued as/g),
  ).toHaveLength(1);
  expect(bytes.length / 500).toBeLessThan(22);
  expect(decodeResult(bytes)).toEqual(result);
});

test('a shared envelope of hundreds takes a few bytes', () => {
  const accepted = rangesOf(new Map([...queued(500).keys()].map((n) => [n, 'queued as 4Xy'])));
  expect(encodeResult(aResult({ accepted, deferred: [] })).length).toBeLessThan(200);
});

test('when thousands are each told a story, the stories are cut and the outcomes kept', () => {
  const refused = Array.from({ length: 5_000 }, (_, number) => ({
    ...{ number, code: 550, status: '5.1.1', reply: `${number} ${'ü'.repeat(300)}` },
  }));
  const bytes = encodeResult(aResult({ accepted: [], deferred: [], refused }));
  expect(bytes.length).toBeLessThanOrEqual(RESULT_BYTES_MAX);
  const read = decodeResult(bytes).refused;
  expect(read.map(({ number, code }) => [number, code])).toEqual(
    refused.map(({ number, code }) => [number, code]),
  );
  expect(read[4_999]?.reply).toMatch(/^4999 ü/);
});
