/**
 * The accountant of the crash tests, tried on books that were doctored: what it does not see, no
 * crash test would.
 */
import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import { type Books, settle } from '../support/accountant.ts';
import { type JournalLine, messageIdOf } from '../support/journal.ts';
import type { SinkLine } from '../support/sink-process.ts';

const LIST = 'dev@lists.example.org';
const SUBJECT = 'troupe.ledger.7.abcdefghijklmnopqrstuvwxyz';
const A = 'a@sink.example';
const B = 'b@sink.example';
const LEFT = 'left@sink.example';

type Fact = Readonly<Record<string, unknown>>;

const members = (first: number, ...addresses: readonly string[]): Fact => ({
  type: 'members-added',
  first,
  members: addresses.map((address) => ({ address, name: '' })),
});
const post = (marker: string) => ({ messageId: messageIdOf(marker) });
const accepted = (marker: string, counter: number, hold: number | null = null): Fact => ({
  ...{ type: 'post-accepted', post: post(marker), counter, hold },
});
const held = (marker: string): Fact => ({ type: 'post-held', hold: 1, post: post(marker) });

/** A ledger of one list: a record a command, hashed in a chain. */
function ledgerOf(commands: readonly (readonly [id: string, ...facts: readonly Fact[]])[]) {
  let prev = '';
  return commands.map(([commandId, ...facts], i) => {
    const record = { n: i + 1, epoch: 3, prev, at: 1_000 + i, entries: [{ commandId, facts }] };
    const data = Buffer.from(JSON.stringify(record));
    prev = createHash('sha256').update(data).digest('base64url');
    return { seq: i + 1, subject: SUBJECT, data };
  });
}

const CREATED: Fact = { type: 'list-created', address: LIST };
const COMMANDS = [
  ['key', CREATED],
  ['m1', members(0, A, B, LEFT)],
  ['m2', { type: 'member-removed', number: 2, address: LEFT }],
  ['p1', accepted('p1', 3)],
  ['p2', held('p2')],
] as const;

const journalOf = (...markers: readonly string[]): JournalLine[] =>
  markers.flatMap((marker) => [
    { at: 0, kind: 'send', marker, list: LIST, bodySha: 'body' },
    { at: 1, kind: 'acked', marker, list: LIST, code: 250 },
  ]);

const copy = (marker: string, to: string, more: Partial<SinkLine> = {}): SinkLine => ({
  ...{ at: 5_000, sender: 'b+x@lists.example.org', recipients: [to], marker },
  ...{ messageId: messageIdOf(marker), sha: 'x', bodySha: 'body', bytes: 9, ...more },
});

const archivedAs = (marker: string) => ({
  ...{ seq: 1, subject: 'troupe.archive.7.x' },
  data: Buffer.from(`Subject: x\r\nMessage-ID: ${messageIdOf(marker)}\r\n\r\nbody`),
});

const TRUE_BOOKS: Books = {
  journal: journalOf('p1', 'p2'),
  sink: [copy('p1', A), copy('p1', B)],
  ledger: ledgerOf(COMMANDS),
  archive: [archivedAs('p1')],
  kills: [{ at: 5_010, what: 'node' }],
};

test('true books have nothing lost, wrong, broken or twice', () => {
  const { lost, wrong, broken, duplicates, ...counts } = settle(TRUE_BOOKS);
  expect({ lost, wrong, broken, duplicates }).toEqual({
    ...{ lost: [], wrong: [], broken: [], duplicates: [] },
  });
  expect(counts).toEqual({ acked: 2, accepted: 1, held: 1, discarded: 0, copies: 2 });
});

test('a copy that is missing is lost', () => {
  const { lost } = settle({ ...TRUE_BOOKS, sink: [copy('p1', A)] });
  expect(lost).toEqual([`p1: no copy for ${B}`]);
});

test('whom the sink refused for good needs no copy, whom it refused for now does', () => {
  const refused = (answer: number) =>
    settle({ ...TRUE_BOOKS, sink: [copy('p1', A), copy('p1', B, { answer })] }).lost;
  expect(refused(554)).toEqual([]);
  expect(refused(452)).toEqual([`p1: no copy for ${B}`]);
});

test('a copy that was taken without a word is a copy, and the next one says so', () => {
  const first = copy('p1', B, { answer: 0 });
  const again = copy('p1', B, { at: 9_000 });
  expect(settle({ ...TRUE_BOOKS, sink: [copy('p1', A), first] }).lost).toEqual([]);
  const { duplicates } = settle({ ...TRUE_BOOKS, sink: [copy('p1', A), first, again] });
  expect(duplicates).toMatchObject([{ recipient: B, isFirstUnanswered: true }]);
});

test('a post that got 250 and has no fact is lost', () => {
  const { lost } = settle({ ...TRUE_BOOKS, journal: journalOf('p1', 'p2', 'p3') });
  expect(lost).toEqual(['p3: 250, and no fact']);
});

test('an accepted post that is not archived is lost', () => {
  expect(settle({ ...TRUE_BOOKS, archive: [] }).lost).toEqual(['p1: not archived']);
});

test.each([
  ['a stranger', copy('p1', 'stranger@sink.example')],
  ['a member who had left before', copy('p1', LEFT)],
  ['a member, of a post that is held', copy('p2', A)],
  ['a member, of a post that nobody sent', copy('p9', A)],
  ['a member, with another body', copy('p1', A, { bodySha: 'other' })],
  ['a member, without a marker', copy('p1', A, { marker: '' })],
])('a copy for %s is wrong', (_, line) => {
  const { wrong, lost } = settle({ ...TRUE_BOOKS, sink: [...TRUE_BOOKS.sink, line] });
  expect(wrong).toHaveLength(1);
  expect(lost).toEqual([]);
});

test('a member who left after the acceptance may have a copy or none', () => {
  const leaves = ['m3', { type: 'member-removed', number: 1, address: B }] as const;
  const ledger = ledgerOf([...COMMANDS, leaves]);
  for (const sink of [TRUE_BOOKS.sink, [copy('p1', A)]]) {
    const { lost, wrong } = settle({ ...TRUE_BOOKS, ledger, sink });
    expect({ lost, wrong }).toEqual({ lost: [], wrong: [] });
  }
});

test('a member whose number is not below the counter is not a member of the post', () => {
  const late = 'late@sink.example';
  const ledger = ledgerOf([...COMMANDS, ['m4', members(3, late)]]);
  expect(settle({ ...TRUE_BOOKS, ledger }).lost).toEqual([]);
  const { wrong } = settle({ ...TRUE_BOOKS, ledger, sink: [...TRUE_BOOKS.sink, copy('p1', late)] });
  expect(wrong).toHaveLength(1);
});

test('a post that is decided twice is wrong, and so is a command', () => {
  const again = ledgerOf([...COMMANDS, ['p1', accepted('p1', 3)]]);
  const { wrong } = settle({ ...TRUE_BOOKS, ledger: again });
  expect(wrong).toEqual([`${SUBJECT}: p1 is decided twice`, 'p1: decided 2 times']);
});

test('a held post that was approved goes to all', () => {
  const ledger = ledgerOf([...COMMANDS, ['ok', accepted('p2', 3, 1)]]);
  const archive = [archivedAs('p1'), archivedAs('p2')];
  expect(settle({ ...TRUE_BOOKS, ledger, archive }).lost).toEqual([
    `p2: no copy for ${A}`,
    `p2: no copy for ${B}`,
  ]);
  const sink = [...TRUE_BOOKS.sink, copy('p2', A), copy('p2', B)];
  expect(settle({ ...TRUE_BOOKS, ledger, archive, sink })).toMatchObject({ lost: [], wrong: [] });
});

test('a second copy is a duplicate, laid to the kill that was near', () => {
  const again = copy('p1', A, { at: 9_000 });
  const near = settle({ ...TRUE_BOOKS, sink: [...TRUE_BOOKS.sink, again] }).duplicates;
  expect(near).toEqual([{ marker: 'p1', recipient: A, firstAt: 5_000, againAt: 9_000, kill: 0 }]);
  const kills = [{ at: 50_000, what: 'node' }];
  const far = settle({ ...TRUE_BOOKS, sink: [...TRUE_BOOKS.sink, again], kills }).duplicates;
  expect(far.map(({ kill }) => kill)).toEqual([null]);
});

test('a ledger with a gap, a changed record or an older epoch is broken', () => {
  const [first, second, ...rest] = TRUE_BOOKS.ledger;
  if (first === undefined || second === undefined) throw new Error('the books are too short');
  expect(settle({ ...TRUE_BOOKS, ledger: [first, ...rest] }).broken).toHaveLength(2);
  const changed = { ...second, data: Buffer.from(`${Buffer.from(second.data)} `) };
  expect(settle({ ...TRUE_BOOKS, ledger: [first, changed, ...rest] }).broken).toHaveLength(1);
  const text = Buffer.from(rest.at(-1)?.data ?? '').toString();
  const older = { ...second, data: Buffer.from(text.replace('"epoch":3', '"epoch":2')) };
  const ledger = [...TRUE_BOOKS.ledger.slice(0, -1), older];
  expect(settle({ ...TRUE_BOOKS, ledger }).broken).toEqual([
    `${SUBJECT}: record 5 is of an older epoch`,
  ]);
});
