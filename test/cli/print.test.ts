/** What reaches a terminal: aligned, and without what could steer it. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  bytesText,
  clean,
  cleanText,
  durationText,
  flatten,
  printJsonItems,
  table,
  timeText,
  toJson,
  widthOf,
} from '../../src/cli/print.ts';
import { createProgress } from '../../src/cli/progress.ts';
import { recorder } from './recorder.ts';

describe('text of strangers', () => {
  test('an escape sequence in a subject is shown, not obeyed', () => {
    expect(clean('\u001b[2Jhello\r\n')).toBe('\ufffd[2Jhello\ufffd\ufffd');
    expect(clean('abc\u202etxt.exe')).toBe('abc\ufffdtxt.exe');
    expect(cleanText('a\r\nb\tc\u0007')).toBe('a\nb\tc\ufffd');
  });

  test('nothing printed holds a control character, in tables and in JSON', () => {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for.
    const steering = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e]/;
    const text = fc.string({ unit: 'binary' });
    fc.assert(
      fc.property(text, text, (a, b) => {
        expect(table(['x', 'y'], [[a, b]]).join('\n')).not.toMatch(steering);
        expect(toJson({ a, [b]: a })).not.toMatch(steering);
        expect(JSON.parse(toJson({ a }))).toEqual({ a });
      }),
    );
  });
});

describe('tables', () => {
  test('columns are aligned, numbers flush right, nothing trails', () => {
    expect(
      table(
        ['name', '>count'],
        [
          ['a', 5],
          ['longer', 1234],
        ],
      ),
    ).toEqual(['NAME    COUNT', 'a           5', 'longer   1234']);
  });

  test('wide characters take two columns', () => {
    expect(widthOf('日本')).toBe(4);
    expect(widthOf('e\u0301')).toBe(1);
    expect(
      table(
        ['n', 'x'],
        [
          ['日本', 1],
          ['abcd', 2],
        ],
      ),
    ).toEqual(['N     X', '日本  1', 'abcd  2']);
  });

  test('colours are for terminals only', () => {
    expect(recorder(true).out.colour).toBe(true);
    expect(recorder(false).out.colour).toBe(false);
    expect(recorder(true, true).out.colour).toBe(false);
    expect(table(['a'], [[1]], false).join('')).not.toContain('\u001b');
  });
});

test('an answer of any shape becomes names and values', () => {
  expect(flatten({ a: 1, b: { c: [1, 2], d: {} }, e: [{ f: 2 }], g: null })).toEqual([
    ['a', 1],
    ['b.c', '1, 2'],
    ['b.d', '-'],
    ['e.0.f', 2],
    ['g', null],
  ]);
});

test('sizes, times and durations read as people say them', () => {
  expect([0, 1023, 1536, 10 * 1024 ** 2, 2 ** 41].map(bytesText)).toEqual([
    '0 B',
    '1023 B',
    '1.5 KiB',
    '10.0 MiB',
    '2.0 TiB',
  ]);
  expect([5, 61_000, 3_600_000, 90_000_000].map(durationText)).toEqual([
    '5 ms',
    '1m 1s',
    '1h 0m',
    '1d 1h',
  ]);
  expect(timeText(0)).toBe('1970-01-01T00:00:00Z');
  expect(timeText(Number.NaN)).toBe('-');
});

test('an array printed item by item is JSON, also when it is empty', async () => {
  for (const items of [[], [{ a: 1 }], [{ a: 1 }, { b: [2] }, 'x']]) {
    const { out, written } = recorder();
    await printJsonItems(out, stream(items));
    expect(JSON.parse(written.out)).toEqual(items);
  }
});

async function* stream<T>(items: readonly T[]): AsyncGenerator<T> {
  yield* items;
}

describe('progress', () => {
  test('redraws one line on a terminal and clears it at the end', () => {
    const { out, written } = recorder(true);
    let ms = 0;
    const progress = createProgress(out, { monotonic: () => ms });
    progress.show(50, 100, '5 members');
    ms = 50;
    progress.show(60, 100, '6 members');
    ms = 200;
    progress.show(100, 100, '9 members');
    progress.end();
    expect(written.out).toBe('');
    expect(written.err).toContain('50 %  5 members');
    expect(written.err, 'not drawn: too soon').not.toContain('6 members');
    expect(written.err.endsWith('\r\u001b[K')).toBe(true);
  });

  test('elsewhere it is a plain line every few seconds', () => {
    const { out, written } = recorder(false);
    let ms = 0;
    const progress = createProgress(out, { monotonic: () => ms });
    for (; ms < 11_000; ms += 100) progress.show(ms, null, `${ms} members`);
    progress.end();
    expect(written.err).toBe('5000 members  5s\n10000 members  10s\n');
  });
});
