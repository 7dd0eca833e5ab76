/** Figures: medians, percentiles, and the table that grows a line with each run. */
import type { Bar, Column, Figures, Flags } from './bench.ts';

/** The middle one, or the mean of the two in the middle; 0 of none. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  const upper = sorted[half] ?? 0;
  return sorted.length % 2 === 1 ? upper : ((sorted[half - 1] ?? 0) + upper) / 2;
}

/** The value that `percent` of the others are not above (nearest rank). */
export function percentile(values: readonly number[], percent: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)] ?? 0;
}

/** What the runs come to: one figure a column, rounded as it is shown. */
export function summary(columns: readonly Column[], runs: readonly Figures[]): Figures {
  return Object.fromEntries(
    columns.map(({ name, digits, of }) => {
      const values = runs.map((run) => run[name] ?? 0);
      const value = of === 'median' ? median(values) : values.reduce((a, b) => a + b, 0);
      return [name, Number(value.toFixed(digits))];
    }),
  );
}

const WIDTH_MIN = 9;
const FIRST = 'median'.length;

/** The lines of a table: its head, one of figures, and what became of each bar that there is for these flags. */
export function tableOf(columns: readonly Column[], flags: Flags) {
  const widths = columns.map(({ name }) => Math.max(WIDTH_MIN, name.length));
  const line = (first: string, cells: readonly string[]): string =>
    [first.padEnd(FIRST), ...cells.map((cell, i) => cell.padStart(widths[i] ?? 0))].join('  ');
  return {
    head: line(
      'run',
      columns.map(({ name }) => name),
    ),
    row: (first: string, figures: Figures) =>
      line(
        first,
        columns.map(({ name, digits }) => (figures[name] ?? 0).toFixed(digits)),
      ),
    bars: (figures: Figures) =>
      columns.flatMap(({ name, bar: asks }) => {
        const bar: Bar | null = typeof asks === 'function' ? asks(flags) : (asks ?? null);
        if (bar === null) return [];
        const value = figures[name] ?? 0;
        const isMet = 'atLeast' in bar ? value >= bar.atLeast : value <= bar.atMost;
        const asked = 'atLeast' in bar ? `≥ ${bar.atLeast}` : `≤ ${bar.atMost}`;
        return [`${name} ${value}, bar ${asked}: ${isMet ? 'met' : 'MISSED'}`];
      }),
  };
}
