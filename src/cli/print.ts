/**
 * What the command line prints: aligned tables and plain fields for people, JSON for programs.
 *
 * Names and subjects come from strangers, so nothing reaches the terminal before its control
 * characters and direction overrides are made visible: an escape sequence in a subject must not
 * move a cursor.
 */
import { styleText } from 'node:util';

/** Where a verb writes. `print` is the result (stdout), `note` what is beside it (stderr). */
export type Out = {
  readonly json: boolean;
  /** True where stdout is a terminal that wants colours. */
  readonly colour: boolean;
  /** True where stderr is a terminal: a progress bar may redraw its line. */
  readonly live: boolean;
  print(line: string): void;
  note(line: string): void;
  /** Redraws the one progress line on stderr. */
  redraw(line: string): void;
};

type Stream = { readonly isTTY?: boolean | undefined; write(text: string): unknown };

/** The process's own streams; colours only on a terminal and never with NO_COLOR (no-color.org). */
export function outOf(stdout: Stream, stderr: Stream, json: boolean, noColour: boolean): Out {
  return {
    json,
    colour: stdout.isTTY === true && !noColour && !json,
    live: stderr.isTTY === true,
    print: (line) => void stdout.write(`${line}\n`),
    note: (line) => void stderr.write(`${line}\n`),
    redraw: (line) => void stderr.write(`\r\u001b[K${line}`),
  };
}

/** C0, DEL, C1, line separators, direction marks and overrides. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are exactly what must not get through.
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g;

/** One line of text that is safe on a terminal: what could steer it becomes `�`. */
export function clean(text: string): string {
  return text.replace(UNSAFE, '\ufffd');
}

/** The same for text of several lines: line ends and tabs stay. */
export function cleanText(text: string): string {
  return text.replace(UNSAFE, (c) => (c === '\n' || c === '\t' ? c : c === '\r' ? '' : '\ufffd'));
}

/**
 * JSON that is safe on a terminal too: what JSON leaves raw above U+007E but steers one is escaped.
 */
export function toJson(value: unknown): string {
  return JSON.stringify(value, null, 2).replace(UNSAFE, (c) =>
    c === '\n' ? c : `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/**
 * Terminal columns, near enough: a wide (East Asian, emoji) character counts two, a combining mark
 * none.
 */
export function widthOf(text: string): number {
  let width = 0;
  for (const char of text) {
    if (/\p{Mark}|\u200d|\ufe0f/u.test(char)) continue;
    width += WIDE.test(char) ? 2 : 1;
  }
  return width;
}

const WIDE =
  /\p{Script=Han}|\p{Script=Hiragana}|\p{Script=Katakana}|\p{Script=Hangul}|\p{Emoji_Presentation}|[\uff01-\uff60]/u;

/** A column's title; a title that starts with `>` is set flush right, as numbers are. */
export type Column = string;

/** A table as lines: columns two spaces apart, no trailing spaces. No rows give no lines. */
export function table(
  columns: readonly Column[],
  rows: readonly (readonly (string | number)[])[],
  colour = false,
): string[] {
  if (rows.length === 0) return [];
  const titles = columns.map((c) => c.replace(/^>/, '').toUpperCase());
  const cells = rows.map((row) => row.map((cell) => clean(String(cell))));
  const widths = titles.map((title, i) =>
    cells.reduce((max, row) => Math.max(max, widthOf(row[i] ?? '')), widthOf(title)),
  );
  const line = (row: readonly string[]): string =>
    row
      .map((cell, i) => {
        const gap = ' '.repeat(Math.max(0, (widths[i] ?? 0) - widthOf(cell)));
        return columns[i]?.startsWith('>') ? gap + cell : cell + gap;
      })
      .join('  ')
      .trimEnd();
  const head = line(titles);
  return [colour ? styleText('bold', head, { validateStream: false }) : head, ...cells.map(line)];
}

/** Prints a table, or the sentence where there is nothing. */
export function printTable(
  out: Out,
  columns: readonly Column[],
  rows: readonly (readonly (string | number)[])[],
  none: string,
): void {
  if (rows.length === 0) out.print(none);
  else for (const line of table(columns, rows, out.colour)) out.print(line);
}

/** Prints names and values, the values aligned. */
export function printFields(out: Out, fields: readonly (readonly [string, unknown])[]): void {
  const width = Math.max(0, ...fields.map(([name]) => widthOf(name)));
  for (const [name, value] of fields) {
    const label = name.padEnd(width);
    const shown = out.colour ? styleText('dim', label, { validateStream: false }) : label;
    out.print(`${shown}  ${clean(plain(value))}`.trimEnd());
  }
}

/**
 * An answer of any shape as names and values, nested names joined by dots: new fields show up
 * unasked.
 */
export function flatten(value: unknown, under = ''): [string, unknown][] {
  if (value === null || typeof value !== 'object') return [[under, value]];
  if (Array.isArray(value) && value.every((item) => item === null || typeof item !== 'object')) {
    return [[under, value.length === 0 ? '-' : value.map(plain).join(', ')]];
  }
  const rows = Object.entries(value).flatMap(([name, inner]) =>
    flatten(inner, under === '' ? name : `${under}.${name}`),
  );
  return rows.length === 0 ? [[under, '-']] : rows;
}

function plain(value: unknown): string {
  if (value === null || value === undefined || value === '') return '-';
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  return String(value);
}

/** Marks a word as good, doubtful or bad, in colour where there is any. */
export function mark(out: Out, level: 'ok' | 'warn' | 'fail', text: string): string {
  const style = { ok: 'green', warn: 'yellow', fail: 'red' } as const;
  return out.colour ? styleText(style[level], text, { validateStream: false }) : text;
}

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const;

/** `1536` as `1.5 KiB`. */
export function bytesText(bytes: number): string {
  const step = bytes < 1024 ? 0 : Math.min(UNITS.length - 1, Math.floor(Math.log2(bytes) / 10));
  const scaled = bytes / 1024 ** step;
  const number = step === 0 || scaled >= 100 ? Math.round(scaled) : scaled.toFixed(1);
  return `${number} ${UNITS[step] ?? 'B'}`;
}

/** A time as ISO 8601 to the second, UTC. */
export function timeText(ms: number): string {
  return Number.isFinite(ms) && Math.abs(ms) < 8.64e15
    ? new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z')
    : '-';
}

/** A duration in the largest two units that matter: `3d 4h`, `12m 5s`, `800 ms`. */
export function durationText(ms: number): string {
  if (ms < 1_000) return `${Math.max(0, Math.round(ms))} ms`;
  const s = Math.floor(ms / 1_000);
  if (s < 60) return `${s}s`;
  if (s < 3_600) return `${Math.floor(s / 60)}m ${s % 60}s`;
  if (s < 86_400) return `${Math.floor(s / 3_600)}h ${Math.floor((s % 3_600) / 60)}m`;
  return `${Math.floor(s / 86_400)}d ${Math.floor((s % 86_400) / 3_600)}h`;
}

/** Prints an array as JSON item by item, so that a roster of a million needs no memory. */
export async function printJsonItems(out: Out, items: AsyncIterable<unknown>): Promise<void> {
  let before = '';
  for await (const item of items) {
    if (before !== '') out.print(`${before},`);
    else out.print('[');
    before = `  ${toJson(item).replaceAll('\n', '\n  ')}`;
  }
  if (before === '') out.print('[]');
  else {
    out.print(before);
    out.print(']');
  }
}
