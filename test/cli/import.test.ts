/**
 * Importing members: what a line may say, and what an interrupted import does when it is run again.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Answer, Command } from '../../actors/protocol.ts';
import { refused } from '../../src/cli/explain.ts';
import { IN_FLIGHT_MAX, importMembers, MEMBERS_A_COMMAND } from '../../src/cli/import.ts';
import { fieldsOf, LINE_MAX, linesOf, parseLine } from '../../src/cli/import-lines.ts';
import type { Answered } from '../../src/cli/site.ts';
import { OperatorError } from '../../src/errors.ts';

describe('a line', () => {
  test.each([
    ['jane@example.org', 'jane@example.org', ''],
    ['  Jane Doe <jane@Example.ORG> ', 'jane@example.org', 'Jane Doe'],
    ['"Doe, Jane" <jane@example.org>', 'jane@example.org', 'Doe, Jane'],
    ['<jane@example.org>', 'jane@example.org', ''],
    ['jane@example.org,Jane Doe', 'jane@example.org', 'Jane Doe'],
    ['Jane Doe;jane@example.org', 'jane@example.org', 'Jane Doe'],
    ['"Doe, Jane","jane@example.org"', 'jane@example.org', 'Doe, Jane'],
    ['jane@example.org\tJane', 'jane@example.org', 'Jane'],
    ['17,jane@example.org,"Jane ""J"" Doe"', 'jane@example.org', '17'],
  ])('%s is a member', (text, address, name) => {
    expect(parseLine(text, false)).toEqual({ kind: 'member', member: { address, name } });
  });

  test.each(['', '   ', '# a comment'])('“%s” is nothing', (text) => {
    expect(parseLine(text, false)).toEqual({ kind: 'nothing' });
  });

  test('a header is skipped where it stands first, and bad elsewhere', () => {
    expect(parseLine('Email,Name', true)).toEqual({ kind: 'nothing' });
    expect(parseLine('Email,Name', false)).toEqual({ kind: 'bad', why: 'no address' });
    expect(parseLine('nonsense', true)).toEqual({ kind: 'bad', why: 'no address' });
  });

  test.each(['jane@', 'a b@example.org', 'x <jane@exa mple.org>', 'jane@example.org\u0000'])(
    '%s is no address',
    (text) => {
      expect(parseLine(text, false)).toMatchObject({ kind: 'bad' });
    },
  );

  test('any text at all is understood or refused, never thrown at', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(['member', 'nothing', 'bad']).toContain(parseLine(text, true).kind);
      }),
    );
  });

  test('a quoted field keeps its separators', () => {
    expect(fieldsOf('a,"b,""c""",d')).toEqual(['a', 'b,"c"', 'd']);
    expect(fieldsOf('"never closed, x')).toEqual(['never closed, x']);
  });
});

describe('lines out of bytes', () => {
  test('are the same however the bytes come', async () => {
    const text = fc.array(fc.constantFrom('a@b.example', 'ü@b.example', '', 'x'));
    const end = fc.constantFrom('\n', '\r\n');
    await fc.assert(
      fc.asyncProperty(text, end, fc.nat(7), async (lines, newline, step) => {
        const bytes = Buffer.from(lines.map((line) => line + newline).join(''));
        const got = [];
        for await (const line of linesOf(pieces(bytes, step + 1))) got.push(line);
        expect(got.map((line) => line.text)).toEqual(lines);
        expect(got.map((line) => line.number)).toEqual(lines.map((_, i) => i + 1));
      }),
    );
  });

  test('a byte order mark is no part of the first line, and the last needs no end', async () => {
    const got = [];
    for await (const line of linesOf(pieces(Buffer.from('\ufeffa@b.example\nc'), 3)))
      got.push(line.text);
    expect(got).toEqual(['a@b.example', 'c']);
  });

  test('a line without end takes no memory and spoils no other', async () => {
    const long = 'x'.repeat(10 * LINE_MAX);
    const got = [];
    for await (const line of linesOf(pieces(Buffer.from(`a\n${long}\nb\n`), 1_000)))
      got.push(line.text);
    expect(got).toEqual(['a', null, 'b']);
  });
});

describe('an import', () => {
  test('sends a thousand at a time, a few commands in flight, and adds up what it is told', async () => {
    const list = fakeList();
    const summary = await run(list, file(10_500));
    expect(summary).toMatchObject({ lines: 10_500, added: 10_500, refused: 0, stopped: null });
    expect(list.sizes).toEqual([...Array(10).fill(MEMBERS_A_COMMAND), 500]);
    expect(list.inFlightMax).toBe(IN_FLIGHT_MAX);
  });

  test('bad lines are told by number, and the others are imported', async () => {
    const list = fakeList();
    const summary = await run(list, 'a@b.example\nnonsense\n\nc@b.example\nx <y>\n');
    expect(summary).toMatchObject({ lines: 5, added: 2, refused: 2 });
    expect(summary.bad.map(({ line }) => line)).toEqual([2, 5]);
  });

  test('run again counts nothing twice, and does not bring back who left meanwhile', async () => {
    const list = fakeList();
    await run(list, file(2_500));
    list.members.delete('m3@example.org');
    const again = await run(list, file(2_500));
    expect(again).toMatchObject({ added: 0, already: 0, repeated: 2_500 });
    expect(list.members.has('m3@example.org')).toBe(false);
    const afresh = await run(list, file(2_500), 'again');
    expect(afresh).toMatchObject({ added: 1, already: 2_499, repeated: 0 });
  });

  test('interrupted and run again ends where one run would have', async () => {
    const list = fakeList();
    list.failAt = 3;
    const first = await run(list, file(20_000));
    expect(first.stopped).toContain('away');
    expect(first.lines, 'the rest of the file is not read').toBeLessThan(20_000);
    list.failAt = Number.POSITIVE_INFINITY;
    const second = await run(list, file(20_000));
    expect(second.stopped).toBeNull();
    expect(second.added + second.repeated).toBe(20_000);
    expect(list.members.size).toBe(20_000);
  });

  test('a refused command is told with its lines, and the import goes on', async () => {
    const list = fakeList();
    list.refuseAt = 2;
    const summary = await run(list, file(3_000));
    expect(summary).toMatchObject({ added: 2_000, refused: 1_000, stopped: null });
    expect(summary.bad).toEqual([{ line: 1_001, count: 1_000, why: 'too many members' }]);
  });
});

function file(count: number): string {
  return Array.from({ length: count }, (_, i) => `m${i}@example.org\n`).join('');
}

async function* pieces(bytes: Uint8Array, step: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += step) yield bytes.subarray(at, at + step);
}

/** A list that remembers command ids, as `seen` does. */
function fakeList() {
  const list = {
    members: new Set<string>(),
    seen: new Map<string, Answered<Answer>>(),
    sizes: [] as number[],
    n: 0,
    inFlight: 0,
    inFlightMax: 0,
    failAt: Number.POSITIVE_INFINITY,
    refuseAt: Number.POSITIVE_INFINITY,
    async send(id: string, command: Command): Promise<Answered<Answer>> {
      if (command.type !== 'add-members') throw new Error('unexpected');
      list.inFlight += 1;
      list.inFlightMax = Math.max(list.inFlightMax, list.inFlight);
      await new Promise((resolve) => setImmediate(resolve));
      list.inFlight -= 1;
      const before = list.seen.get(id);
      if (before !== undefined) return before;
      list.sizes.push(command.members.length);
      if (list.sizes.length >= list.failAt) throw new OperatorError('NATS is away', '');
      if (list.sizes.length === list.refuseAt) {
        throw refused({ type: 'refusal', code: 'too-many', text: 'too many members' });
      }
      list.n += 1;
      const fresh = command.members.filter(({ address }) => !list.members.has(address));
      for (const { address } of fresh) list.members.add(address);
      const already = command.members.length - fresh.length;
      const answer = { type: 'members-added', added: fresh.length, already, first: 1 } as const;
      list.seen.set(id, { answer, n: list.n });
      return { answer, n: list.n };
    },
  };
  return list;
}

function run(list: ReturnType<typeof fakeList>, text: string, salt = '') {
  return importMembers(linesOf(pieces(Buffer.from(text), 4_096)), {
    salt,
    n: list.n,
    by: { kind: 'operator', name: 'test' },
    send: list.send,
    progress: () => {},
  });
}
