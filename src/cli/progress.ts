/**
 * How far a long verb is: one redrawn line on a terminal, a plain line every few seconds elsewhere.
 */
import type { Clock } from '../world.ts';
import { durationText, type Out } from './print.ts';

/** A terminal is redrawn at most this often. */
const REDRAW_MS = 100;
/** A log or a pipe gets a line at most this often. */
const LINE_MS = 5_000;
const BAR_WIDTH = 30;

export type Progress = {
  /** `done` of `total` (null: not known), and what has been counted, e.g. `12,000 members`. */
  show(done: number, total: number | null, counted: string): void;
  /** Clears the bar; the verb then prints its summary. */
  end(): void;
};

/** Progress on stderr, so that stdout stays the result alone. */
export function createProgress(out: Out, clock: Pick<Clock, 'monotonic'>): Progress {
  const started = clock.monotonic();
  let shownAt = out.live ? Number.NEGATIVE_INFINITY : started;
  let drawn = false;
  return {
    show(done, total, counted) {
      const now = clock.monotonic();
      if (now - shownAt < (out.live ? REDRAW_MS : LINE_MS)) return;
      shownAt = now;
      const part = total === null || total === 0 ? null : Math.min(1, done / total);
      const percent = part === null ? '' : `${Math.floor(part * 100)} %`.padStart(5);
      const line = `${percent}  ${counted}  ${durationText(now - started)}`.trim();
      if (!out.live) return out.note(line);
      drawn = true;
      out.redraw(part === null ? line : `${bar(part)} ${line}`);
    },
    end() {
      if (drawn) out.redraw('');
      drawn = false;
    },
  };
}

/** `[#####-----]`, in characters that every terminal has. */
export function bar(part: number): string {
  const full = Math.round(Math.min(1, Math.max(0, part)) * BAR_WIDTH);
  return `[${'#'.repeat(full)}${'-'.repeat(BAR_WIDTH - full)}]`;
}
