/** A chunk as fan-out makes them, for tests that only need one. */
import type { Address } from '../../src/mail/address.ts';
import type { Accepted, By, Chunk, Result, Word } from '../../src/mail/chunk.ts';
import type { ListKey } from '../../src/mail/list-key.ts';

export function aChunk(changes: Partial<Chunk> = {}): Chunk {
  return {
    key: 'abcdefghijklmnopqrstuvwxyz' as ListKey,
    post: 'p7',
    chunk: '0',
    try: 0,
    class: 'post',
    recipe: {
      kind: 'post',
      mode: 'individual',
      list: 'dev@lists.example' as Address,
      displayName: 'Development',
      description: '',
      subjectPrefix: '[dev]',
      footer: '',
      web: 'https://lists.example',
      messageId: '',
      postNumber: 7,
    },
    mail: { in: 'mail', seq: 42 },
    smtputf8: false,
    to: [
      [1, 'anna@example.org' as Address],
      [2, 'bertil@example.net' as Address],
    ],
    firstAt: 1_790_000_000_000,
    trace: 'trace',
    ...changes,
  };
}

/** Which route said it, and when, where a test does not say otherwise. */
export const BY: By = { route: 'capture', at: 1_790_000_000_000 };

/** Members from one number to another whose copies were taken. */
export const took = (from: number, to = from, word: Partial<Word> = {}): Accepted => [
  ...([from, to] as const),
  { ...BY, reply: '', ...word },
];

export function aResult(changes: Partial<Result> = {}): Result {
  return {
    kind: 'done',
    at: 1_790_000_000_000,
    accepted: [took(1)],
    deferred: [{ ...BY, number: 2, code: 451, status: '4.3.0', reply: 'busy' }],
    refused: [],
    ...changes,
  };
}
