/**
 * The accountant of bounces, tried on books that were doctored: what it does not see, no crash test
 * would.
 */
import { expect, test } from 'vitest';
import { type BounceBooks, type BouncesOf, settleBounces } from '../support/bounce-accountant.ts';
import { type JournalLine, messageIdOf } from '../support/journal.ts';
import type { SinkLine } from '../support/sink-process.ts';

const LIST = 'dev@lists.example.org';
const WHOSE = '7.abcdefghijklmnopqrstuvwxyz';
const A = 'a@sink.example';
const B = 'b@sink.example';
const LEFT = 'left@sink.example';

type Fact = Readonly<Record<string, unknown>>;

const message = (where: string, value: unknown) => ({
  subject: `troupe.${where}.${WHOSE}`,
  data: Buffer.from(JSON.stringify(value)),
});
const record = (...facts: readonly Fact[]) => message('ledger', { entries: [{ facts }] });
const post = (number: number): Fact => ({
  ...{ type: 'post-accepted', number, post: { messageId: messageIdOf(`p${number}`) } },
});
const LEDGER = [
  record({ type: 'list-created', address: LIST }),
  record({
    type: 'members-added',
    first: 1,
    members: [A, B, LEFT].map((address) => ({ address })),
  }),
  record(post(1), post(2)),
  record({ type: 'member-removed', number: 3, address: LEFT, by: { kind: 'operator' } }),
];

const pathOf = (number: number, to: string): string => `b+${number}.${to.split('@')[0]}@lists.x`;
const copy = (number: number, to: string, answer?: number): SinkLine => ({
  ...{ at: 1, sender: pathOf(number, to), recipients: [to], marker: `p${number}` },
  ...{ messageId: '', sha: '', bodySha: '', bytes: 1, ...(answer !== undefined && { answer }) },
});
const dsn = (path: string, code = 250): JournalLine[] => [
  { at: 1, kind: 'send', marker: `d ${path}`, list: path },
  { at: 2, kind: code < 300 ? 'acked' : 'refused', marker: `d ${path}`, list: path, code },
];
const event = (number: number, member: number, more: Fact = {}) =>
  message('bounces', {
    ...{ type: 'bounce', source: 'dsn', verified: true, member, post: number, ...more },
  });
const removed = (member: number) =>
  message('bounces', { type: 'standing', what: 'removed', member });
const member = (number: number, address: string, bounces: number, mail = 'delivering') => ({
  ...{ number, address, bounces, mail },
});

const SAID: BouncesOf = {
  list: LIST,
  members: [member(1, A, 1), member(2, B, 1)],
  days: [{ bounces: 2, complaints: 0 }],
  posts: [{ post: 1, reasons: { 'user-unknown': { count: 1 }, policy: { count: 1 } } }],
};
const HINT = event(0, 0, { verified: false, member: null, post: null });

/** A’s copy came back and its DSN twice, B’s was refused, that of one who had left says nothing. */
const TRUE_BOOKS: BounceBooks = {
  journal: [
    ...dsn(pathOf(1, A)),
    ...dsn(pathOf(1, A)),
    ...dsn(pathOf(1, LEFT)),
    ...dsn('dev-bounces@lists.x'),
    ...dsn('b+forged@lists.x', 550),
  ],
  sink: [copy(1, A), copy(1, B, 554), copy(1, LEFT), copy(2, A), copy(2, B)],
  ledger: LEDGER,
  bounces: [
    event(1, 1),
    removed(3),
    event(1, 1),
    event(1, 2, { source: 'smtp' }),
    event(1, 3),
    HINT,
  ],
  said: [SAID],
};

const settled = (more: Partial<BounceBooks>) => settleBounces({ ...TRUE_BOOKS, ...more });
const say = (more: Partial<BouncesOf>): Partial<BounceBooks> => ({ said: [{ ...SAID, ...more }] });

test('true books of bounces have nothing lost, double or wrong', () => {
  expect(settled({})).toEqual({ bounced: 2, forged: 2, lost: [], double: [], wrong: [] });
});

test('a DSN that was answered 250 and is no event is lost', () => {
  expect(settled({ bounces: TRUE_BOOKS.bounces.slice(3) }).lost).toContain(
    `${LIST} post 1 member 1: 250, and no event`,
  );
});

test('an event that no score and no day has is lost', () => {
  expect(settled(say({ members: [member(1, A, 1)] })).lost).toHaveLength(1);
  expect(settled(say({ days: [{ bounces: 1, complaints: 0 }] })).lost).toHaveLength(1);
  expect(settled({ said: [] }).lost).toHaveLength(1);
});

test('a bounce that counts twice is seen in the score, in the day and in the post', () => {
  expect(settled(say({ members: [member(1, A, 2), member(2, B, 1)] })).double).toHaveLength(1);
  expect(settled(say({ days: [{ bounces: 3, complaints: 0 }] })).double).toHaveLength(1);
  const posts = [{ post: 1, reasons: { 'user-unknown': { count: 3 } } }];
  expect(settled(say({ posts })).double).toHaveLength(1);
});

test('a copy that was sent twice and came back for two reasons is one bounce, and stands under both in its post', () => {
  const bounces = [...TRUE_BOOKS.bounces, event(1, 1, { reason: 'policy' })];
  const posts = [{ post: 1, reasons: { 'user-unknown': { count: 2 }, policy: { count: 1 } } }];
  expect(settled({ bounces, ...say({ posts }) })).toMatchObject({ lost: [], double: [] });
  expect(settled({ bounces }).lost).toEqual([`${LIST} post 1: 2 of 3 count`]);
});

test('a bounce of one who has left counts for nobody', () => {
  const inOrder = TRUE_BOOKS.bounces.filter((one) => !Buffer.from(one.data).includes('removed'));
  expect(settled({ bounces: inOrder }).lost).toContain(`${LIST}, all its days: 2 of 3 count`);
});

test('an event that nothing explains is wrong, and a forged return path that was taken', () => {
  expect(settled({ bounces: [...TRUE_BOOKS.bounces, event(2, 2)] }).wrong).toHaveLength(1);
  const refusal = event(2, 2, { source: 'smtp' });
  expect(settled({ bounces: [...TRUE_BOOKS.bounces, refusal] }).wrong).toHaveLength(1);
  const taken = [...TRUE_BOOKS.journal, ...dsn('b+forged@lists.x')];
  expect(settled({ journal: taken }).wrong).toEqual(['b+forged@lists.x: forged, and taken']);
  const refused = [...TRUE_BOOKS.journal, ...dsn(pathOf(2, A), 550)];
  expect(settled({ journal: refused }).wrong).toHaveLength(1);
});

test('mail that the list stopped is wrong where no probe came back', () => {
  const disabled = [member(1, A, 1, 'disabled'), member(2, B, 1)];
  expect(settled(say({ members: disabled })).wrong).toEqual([`${A}: disabled`]);
  const by = { kind: 'list' };
  const more = record({ type: 'member-removed', number: 3, address: LEFT, by });
  expect(settled({ ledger: [...LEDGER, more] }).wrong).toHaveLength(1);
});
