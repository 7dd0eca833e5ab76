/**
 * Fake needs for the web server: a roster of one list, a few captured mails, and what was asked of
 * the list.
 */
import type { Answer, Command, Question } from '../../actors/protocol.ts';
import { MailError, OperatorError } from '../../src/errors.ts';
import { silentLog } from '../../src/log.ts';
import { parseAddress } from '../../src/mail/address.ts';
import { type ListKey, listKeyOf } from '../../src/mail/list-key.ts';
import { makeToken, type TokenKind } from '../../src/mail/machine-address.ts';
import type { AskReply } from '../../src/nats/ask.ts';
import { ownOutbox } from '../../src/nats/outbox-view.ts';
import type { WebNeeds } from '../../src/web/server.ts';
import type { Asked, Captured, CapturedMail } from '../../src/world.ts';

export const SECRET = new Uint8Array(32).fill(7);
export const KEY: ListKey = listKeyOf(new Uint8Array(26).fill(3));
export const LIST = address('dev@lists.example.org');

function address(text: string) {
  const parsed = parseAddress(text);
  if (parsed === null) throw new Error(`not an address: ${text}`);
  return parsed;
}

export function tokenFor(kind: TokenKind, member: number, secret = SECRET): string {
  return makeToken(kind, { key: KEY, member, post: 5 }, secret);
}

export type FakeWeb = WebNeeds & {
  readonly members: Map<number, string>;
  readonly asked: Asked<Command>[];
  readonly counted: string[];
  readonly logged: unknown[];
  /** What the list's owner says instead, when it cannot be asked. */
  failure: AskReply<never> | null;
};

const AT = { ok: true, node: 'n1', epoch: 1, seq: 9, n: 4 } as const;

export function fakeWeb(captured: readonly Captured[] | null = []): FakeWeb {
  const members = new Map([[7, 'jane.doe@mail.example.com']]);
  const fake: FakeWeb = {
    members,
    asked: [],
    counted: [],
    logged: [],
    failure: null,
    log: { ...silentLog, error: (fields) => void fake.logged.push(fields) },
    meter: { count: (name) => void fake.counted.push(name), observe: () => {} },
    secrets: () => [SECRET],
    keysByPrefix: (prefix) => (KEY.startsWith(prefix) ? [KEY] : []),
    addressOf: (key) => (key === KEY ? LIST : null),
    hosts: ['lists.example.org'],
    outbox: captured === null ? null : ownOutbox(mailsOf(captured)),
    delivery: async (list, request, by) => {
      if (fake.failure !== null) throw new MailError(451, '4.3.2', 'no node runs this list now');
      if (list !== LIST) throw new OperatorError(`there is no list ${list}`, '');
      return { list, ...request, by } as never;
    },
    preview: async (raw) => Buffer.from(raw).toString('utf8').split('\r\n\r\n')[1] ?? '',
    health: () => ({ status: 'ok', isReady: true, node: 'n1', problems: [] }),
    metrics: { page: async () => 'troupe_up 1\n', contentType: 'text/plain; version=0.0.4' },
    asker: {
      once: () => Promise.reject(new Error('a page asks until it knows')),
      command: async (_, asked) => {
        fake.asked.push(asked);
        if (fake.failure !== null) return fake.failure;
        if (asked.command.type === 'set-delivery') return { ...AT, answer: { type: 'done' } };
        return removed(members, asked.command);
      },
      question: async (_, question) => {
        if (fake.failure !== null) return fake.failure;
        return { ...AT, answer: rosterFrom(members, question) } as never;
      },
    },
  };
  return fake;
}

function rosterFrom(members: ReadonlyMap<number, string>, question: Question) {
  const after = question.ask === 'roster' ? question.after : 0;
  const found = [...members].find(([number]) => number > after);
  if (found === undefined) return { members: [], next: null };
  return { members: [{ number: found[0], address: found[1], name: '', joinedAt: 0 }], next: null };
}

function removed(members: Map<number, string>, command: Command): AskReply<Answer> {
  if (command.type !== 'remove-member' || !('number' in command.who)) throw new Error('unexpected');
  const { number } = command.who;
  const found = members.get(number);
  members.delete(number);
  if (found === undefined) {
    const text = 'not a member';
    return { ok: false, refusal: { type: 'refusal', code: 'not-a-member', text } };
  }
  return { ...AT, answer: { type: 'member-removed', number, address: address(found) } };
}

/** Newest first, as the real one. */
export function mailsOf(mails: readonly Captured[]): CapturedMail {
  const newest = [...mails].sort((a, b) => b.id - a.id);
  return {
    list: (before, limit) => newest.filter(({ id }) => id < (before ?? Infinity)).slice(0, limit),
    get: (id) => mails.find((mail) => mail.id === id) ?? null,
    count: () => mails.length,
  };
}

export function captured(id: number, message: string): Captured {
  return {
    id,
    at: Date.UTC(2026, 0, 2, 3, 4, 5),
    sender: 'b+xyz@lists.example.org',
    recipients: ['jane.doe@mail.example.com'],
    message: Buffer.from(message.replaceAll('\n', '\r\n')),
  };
}
