/**
 * Stories of a list actor: given facts, when a command, then facts. The facts are folded by the real fold over rows in
 * memory, so what a story assumes is what the host would have.
 */
import { expect } from 'vitest';
import { decide } from '../../actors/list.ts';
import type {
  By,
  Command,
  Effect,
  Fact,
  HoldId,
  PostSummary,
  Refusal,
} from '../../actors/protocol.ts';
import { applyEntry, finish } from '../../src/host/apply.ts';
import { type Address, parseAddress } from '../../src/mail/address.ts';
import type { ListKey } from '../../src/mail/list-key.ts';
import { type Draft, openDraft } from '../../src/store/list-rows.ts';
import type { Rows } from '../../src/world.ts';
import { fakeRows } from './fake/rows.ts';

export const KEY = 'abcdefghijklmnopqrstuvwxyz' as ListKey;
export const OPERATOR: By = { kind: 'operator', name: 'test' };
export const START = 1_700_000_000_000;

export function address(text: string): Address {
  const parsed = parseAddress(text);
  if (parsed === null) throw new Error(`not an address: ${text}`);
  return parsed;
}

export const LIST = address('dev@lists.example');
export const ANNE = address('anne@example.org');
export const BART = address('bart@example.net');

/** A post as the incoming runner would sum it up. */
export function post(changes: Partial<PostSummary> = {}): PostSummary {
  return {
    id: 'f'.repeat(64),
    from: [ANNE],
    sender: ANNE,
    subject: 'Hello',
    messageId: '<1@example.org>',
    messageIdIsOurs: false,
    bytes: 1_000,
    automatic: false,
    smtputf8: false,
    problems: [],
    authentication: 'none',
    mail: { in: 'mail', seq: 1 },
    receivedAt: START,
    received: 'from x ([192.0.2.1]) by lists.example id t1; Tue, 14 Nov 2023 22:13:20 +0000',
    trace: 't1',
    ...changes,
  };
}

/** The facts of a list that has just been made, with Anne as owner and Bart as member number 1. */
export const made: readonly Fact[] = [
  {
    type: 'list-created',
    address: LIST,
    settings: {
      displayName: 'Dev',
      description: '',
      posting: 'members',
      mode: 'individual',
      subjectPrefix: '',
      footer: '',
      maxMessageBytes: 40_000,
      bounceScoring: 'reasons',
      bounceThreshold: 5,
      bounceWarnings: 3,
      bounceWarningDays: 7,
      bounceNotices: 'all',
      bounceSuspects: true,
    },
    owners: [ANNE],
    by: OPERATOR,
  },
  {
    type: 'members-added',
    first: 1,
    members: [{ address: BART, name: 'Bart' }],
    already: 0,
    by: OPERATOR,
  },
];

export type Story = {
  /** More facts, one record each. */
  and(...facts: Fact[]): Story;
  /** `ms` later. */
  later(ms: number): Story;
  when(command: Command): { then(...facts: Fact[]): void; refused(code: Refusal['code']): void };
  readonly rows: Rows;
  draft(): Draft;
  decide(command: Command): readonly Fact[] | Refusal;
};

export function given(...facts: Fact[]): Story {
  const rows = fakeRows();
  let n = 0;
  let at = START;
  const story: Story = {
    rows,
    and: (...more) => {
      for (const fact of more) {
        n += 1;
        const draft = openDraft(rows, KEY, at);
        applyEntry(draft, n, 0, { commandId: `c${n}`, facts: [fact] });
        finish(draft, { n, epoch: 1, prev: '', at, entries: [fact] }, { seq: n, hash: '' });
        rows.commit(draft.writes());
      }
      return story;
    },
    later: (ms) => {
      at += ms;
      return story;
    },
    draft: () => openDraft(rows, KEY, at),
    decide: (command) => decide(openDraft(rows, KEY, at), command),
    when: (command) => {
      const decided = story.decide(command);
      return {
        then: (...expected) => expect(decided).toEqual(expected),
        refused: (code) => expect(decided).toMatchObject({ type: 'refusal', code }),
      };
    },
  };
  return story.and(...facts);
}

export const STRANGER = address('eve@elsewhere.example');
export const heldPost = post({ from: [STRANGER], sender: STRANGER });
export const held = (hold: HoldId, changes = {}): Fact => ({
  type: 'post-held',
  hold,
  post: { ...heldPost, ...changes },
  reasons: ['not-a-member'],
});

/** What waits in the outbox, in order. */
export const effectsOf = (story: Story): Effect[] =>
  [...story.rows.range([KEY, 'outbox', 0], [KEY, 'outbox', Number.MAX_SAFE_INTEGER])].map(
    ([, effect]) => effect as Effect,
  );
