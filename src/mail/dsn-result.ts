/** What became of one recipient, as an MTA told it: the numbers in its words, and what they mean. */
import { type Reason, reasonOf } from './dsn-reason.ts';

/** Characters of a diagnostic that are kept, for the member's history. */
export const DIAGNOSTIC_LENGTH_MAX = 500;

export type Result = {
  /** As the MTA wrote it: nearly always an address by our own grammar. */
  readonly recipient: string;
  /** True if it was given up on, after a 5xx or after days of 4xx; false while it is still tried. */
  readonly permanent: boolean;
  /** Enhanced status (RFC 3463) such as `5.1.1`; null if none was said. */
  readonly status: string | null;
  /** SMTP reply code such as 550; null if none was said. */
  readonly code: number | null;
  readonly reason: Reason;
  /** Which rule found it: `rfc3464`, or the name of a family or guess. */
  readonly rule: string;
  /** What the MTA said, one line, at most {@link DIAGNOSTIC_LENGTH_MAX} characters. */
  readonly diagnostic: string;
};

/** Not the number of a version, nor of a network. */
const STATUS = /(?:^|[^\d.\w])([45]\.[0-7]\.\d{1,3})(?![\d.]*\d)/;
/** A reply code that begins a line or follows the words that come before one. */
const CODE = /(?:^|[\s:;("'[<>-])([45][0-5]\d)(?=[\s,:;.)\]#-]|$)(?!\.\d)/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is taken out.
const CONTROLS = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g;

/** An enhanced status in some words; null if there is none, or it says nothing (`5.0.0` does not). */
export function statusIn(text: string): string | null {
  return STATUS.exec(text)?.[1] ?? null;
}

/** A reply code in some words. */
export function codeIn(text: string): number | null {
  const code = CODE.exec(text)?.[1];
  return code === undefined ? null : Number(code);
}

export type Said = {
  readonly recipient: string;
  readonly rule: string;
  /** All that the MTA said of it. */
  readonly diagnostic: string;
  readonly status: string | null;
  /** What is said besides numbers: still being tried, or given up on (RFC 3464 §2.3.3). */
  readonly isDelayed: boolean;
};

/** A result of what was said. */
export function resultOf({ recipient, rule, diagnostic, status, isDelayed }: Said): Result {
  const text = diagnostic.slice(0, 2 * DIAGNOSTIC_LENGTH_MAX);
  const code = codeIn(text);
  const inWords = statusIn(text);
  const isVague = status === null || /\.0\.0$/.test(status);
  const best = isVague ? (inWords ?? status) : status;
  return {
    recipient,
    permanent: !isDelayed,
    status: best,
    code,
    reason: reasonOf(text, best),
    rule,
    diagnostic: text.replace(CONTROLS, ' ').trim().slice(0, DIAGNOSTIC_LENGTH_MAX),
  };
}
