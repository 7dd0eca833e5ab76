import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  BadMessage,
  decodeAsked,
  decodeChunk,
  decodeDue,
  encodeAsked,
  encodeChunk,
  encodeDue,
} from '../../src/nats/codec.ts';
import { decodeResult, encodeResult } from '../../src/nats/result-codec.ts';
import type { Due } from '../../src/world.ts';
import { aChunk, aResult } from '../support/chunk.ts';

const chunk = aChunk({ mail: { in: 'held', seq: 9, parts: [7, 8] }, footer: 'ü' } as never);
const asked = { id: 'member.7', command: { type: 'remove-member', who: { number: 7 } } };
const dues: readonly Due<unknown>[] = [
  { to: 'outgoing', chunk },
  { to: 'mailbox', key: chunk.key, asked },
];
const decoders = [decodeChunk, decodeAsked, decodeResult, decodeDue];

const json = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value));
/** What is written, with some fields changed. */
const written = (encoded: Uint8Array, changes: Record<string, unknown>): Uint8Array =>
  json({ ...JSON.parse(Buffer.from(encoded).toString()), ...changes });

const said = (what: object) => ({ said: [{ route: 'mta', at: 1, ...what }] });

test('what is written is read back', () => {
  expect(decodeChunk(encodeChunk(chunk))).toEqual(chunk);
  expect(decodeChunk(encodeChunk(aChunk({ mail: { inline: 'YQ==' } })))).toEqual(
    aChunk({ mail: { inline: 'YQ==' } }),
  );
  expect(decodeAsked(encodeAsked(asked))).toEqual(asked);
  expect(decodeResult(encodeResult(aResult()))).toEqual(aResult());
  for (const due of dues) expect(decodeDue(encodeDue(due))).toEqual(due);
});

test('a newer schema is refused in words that say so', () => {
  const newer = written(encodeChunk(chunk), { v: 2 });
  for (const decode of decoders) {
    expect(() => decode(newer)).toThrow('schema 2, and this version reads 1');
  }
});

test('whatever a rogue client sends, reading it is a BadMessage or a value', () => {
  const anything = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc.json().map((text) => Buffer.from(text)),
    fc.object().map((value) => json({ v: 1, ...value })),
    fc
      .tuple(fc.constantFrom(...Object.keys(chunk)), fc.jsonValue())
      .map(([field, value]) => written(encodeChunk(chunk), { [field]: value })),
  );
  fc.assert(
    fc.property(anything, (data) => {
      for (const decode of decoders) {
        try {
          decode(data);
        } catch (error) {
          expect(error).toBeInstanceOf(BadMessage);
        }
      }
    }),
  );
});

describe('what is not ours is named', () => {
  test.each([
    ['key', { key: 'UPPER' }],
    ['post', { post: 'a.b' }],
    ['post', { post: '*' }],
    ['chunk', { chunk: '3.0' }],
    ['chunk', { chunk: '>' }],
    ['try', { try: -1 }],
    ['try', { try: 1.5 }],
    ['class', { class: 'urgent' }],
    ['was', { was: 'urgent' }],
    ['recipe', { recipe: { kind: 'post' } }],
    ['mail', { mail: {} }],
    ['mail', { mail: { in: 'elsewhere', seq: 1 } }],
    ['to', { to: [[1, 'a@b.example\r\nRCPT TO:<c@d.example>']] }],
    ['to', { to: [[1, 'a b@c.example']] }],
    ['to', { to: [[1, '<a@b.example>']] }],
    ['to', { to: [['1', 'a@b.example']] }],
    ['to', { to: [[1]] }],
    ['to', { to: {} }],
    ['firstAt', { firstAt: null }],
  ])('a chunk’s %s: %j', (field, changes) => {
    expect(() => decodeChunk(written(encodeChunk(chunk), changes))).toThrow(`not ours: ${field}`);
  });

  test.each([
    ['id', { id: '' }],
    ['id', { id: 7 }],
    ['id', { id: 'x'.repeat(300) }],
    ['command', { command: null }],
    ['command', { command: [] }],
    ['command', { command: { type: 7 } }],
  ])('a command’s %s: %j', (field, changes) => {
    expect(() => decodeAsked(written(encodeAsked(asked), changes))).toThrow(`not ours: ${field}`);
  });

  test.each([
    ['kind', { kind: 'all' }],
    ['said', { said: 7 }],
    ['said', { said: [{ at: 1 }] }],
    ['accepted', said({ accepted: [[]] })],
    ['accepted', said({ accepted: [[1, 2, 3]] })],
    ['accepted', said({ accepted: [['a', 2]] })],
    ['accepted', said({ accepted: [[1, 'a', 'b']] })],
    ['common', { common: 7 }],
    ['deferred', said({ deferred: [{ to: [[1]] }] })],
    ['refused', said({ refused: 'all' })],
    ['refused', said({ refused: [{ to: 1, code: 550, status: '', reply: '' }] })],
    ['cancelled', { cancelled: [[2, 1]] }],
    ['repeated', { repeated: [[2, 1]] }],
  ])('a result’s %s: %j', (field, changes) => {
    expect(() => decodeResult(written(encodeResult(aResult()), changes))).toThrow(
      `not ours: ${field}`,
    );
  });

  test('a due thing for nobody', () => {
    const nobody = json({ v: 1, to: 'nobody' });
    expect(() => decodeDue(nobody)).toThrow('not ours: to');
    expect(() => decodeDue(json({ v: 1, to: 'mailbox', key: '*', asked }))).toThrow('key');
  });
});
