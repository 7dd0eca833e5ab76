/**
 * Recognises bounces: what a message that came to a return path says became of whom.
 *
 *   1 a complaint               dsn-arf.ts       RFC 5965
 *   2 a delivery report         dsn-report.ts    RFC 3464, RFC 6533
 *   3 who wrote it              dsn-auto.ts      a host, an automatic reply, a person
 *   4 what a host wrote         dsn-text.ts      by the table of dsn-rules.ts
 *   5 what it returned          the one recipient of the message that came back
 *
 * Pure; linear in at most DSN_BYTES_MAX; never throws. What it finds in words anyone may have
 * written: only a token of ours in the address that a message came to makes it count (design §6).
 */

import { parseAddress } from './address.ts';
import { addressesIn, addressOfField } from './dsn-address.ts';
import { complaintOf } from './dsn-arf.ts';
import { isAutoReply, isFromHost, subjectOf, writerOf } from './dsn-auto.ts';
import { readFields } from './dsn-fields.ts';
import { type Notice, noticeOf, tellsDelay, tellsFailure } from './dsn-notice.ts';
import { type Parts, partsOf } from './dsn-parts.ts';
import { once, readReport } from './dsn-report.ts';
import { DIAGNOSTIC_LENGTH_MAX, type Result, resultOf } from './dsn-result.ts';
import { recipientsIn } from './dsn-text.ts';
import { phrases } from './dsn-words.ts';

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is taken out.
const BLANKS = /[\s\u0000-\u001f\u007f-\u009f]+/g;

export type Recognised = {
  /**
   * `bounce`: given up on. `delayed`: still being tried; every result is temporary. `auto-reply`: of
   * a person's mailbox, a read receipt or a challenge. `complaint`: of a mailbox provider.
   */
  readonly kind: 'bounce' | 'delayed' | 'auto-reply' | 'complaint' | 'none';
  /** Each recipient once; of a complaint at most one, of a reply or of nothing none. */
  readonly results: readonly Result[];
  /** Why nothing was recognised; null if something was. */
  readonly why: string | null;
  /** The first words of what was written, for people; at most DIAGNOSTIC_LENGTH_MAX characters. */
  readonly text: string;
};

/** Recognises what a raw message reports. */
export function recognise(raw: Uint8Array): Recognised {
  const parts = partsOf(raw);
  const complaint = complaintOf(parts);
  if (typeof complaint === 'string') return none(parts, complaint);
  if (complaint !== null) {
    const { recipient, type } = complaint;
    const said = { rule: 'rfc5965', diagnostic: type, status: null, isDelayed: false };
    const results = recipient === null ? [] : [resultOf({ recipient, ...said })];
    return found(parts, 'complaint', results);
  }
  const report = reported(parts);
  if (report !== null) return report;
  const said = written(parts);
  // What is wrapped says more than to whom the wrapper's message was addressed.
  const isGuess = said.results.every(({ rule }) => rule === 'returned');
  return isGuess ? (wrapped(parts) ?? said) : said;
}

/** What a gateway wrapped whole into a message of its own; one wrapper is looked into. */
function wrapped(parts: Parts): Recognised | null {
  if (parts.original === '' || writerOf(parts) !== 'host') return null;
  const inner = partsOf(Buffer.from(parts.original, 'latin1'));
  if (writerOf(inner) !== 'host') return null;
  const said = reported(inner) ?? written(inner);
  return said.results.length > 0 ? said : null;
}

/** What a delivery report says; null if there is none that says something. */
function reported(parts: Parts): Recognised | null {
  const { type, status, notice } = parts;
  const writer = writerOf(parts);
  if (writer === 'person' || writer === 'automatic') return null;
  const text = status !== '' ? status : reportIn(notice);
  if (text === '' && type.type !== 'multipart/report') return null;
  const { results, delivered } = readReport(text, notice);
  if (results.length === 0) {
    return delivered > 0 ? none(parts, 'a report of delivery, not of failure') : null;
  }
  if (results.every(isChallenge)) return found(parts, 'auto-reply', []);
  return failed(parts, results);
}

/** A report that was not labelled as one. */
function reportIn(notice: string): string {
  const at = notice.search(/^(?:final|original)-recipient:/im);
  return at < 0 ? '' : notice.slice(Math.max(0, notice.lastIndexOf('\n\n', at) + 2));
}

const CHALLENGE = phrases`
  requires? (?:sender )?(?:confirmation|verification)\b.{0,80}(?:visit|click|https?:)
  |sender not pre-?approved`;

/** Asked to prove being human: the mailbox is well, and its owner has not seen the mail. */
function isChallenge({ diagnostic }: Result): boolean {
  return CHALLENGE.test(diagnostic);
}

/** What a host wrote for people. */
function written(parts: Parts): Recognised {
  const { header, disposition } = parts;
  const writer = writerOf(parts);
  const subject = subjectOf(header);
  const notice = noticeOf(parts);
  if (writer === 'automatic') return found(parts, 'auto-reply', []);
  if (writer === 'person') {
    if (isAutoReply(parts) || disposition !== '') return found(parts, 'auto-reply', []);
    return none(parts, 'not written by a mail host');
  }
  if (!header.has('x-failed-recipients') && !tellsFailure(notice, subject)) {
    if (isAutoReply(parts) || disposition !== '') return found(parts, 'auto-reply', []);
    return none(parts, 'no words of a failure');
  }
  const results = resultsOf(notice, subject);
  // Who has a parcel that was not delivered writes so too.
  const isVague =
    !isFromHost(header) &&
    results.every(({ rule, recipient }) => rule === 'there' && !subject.includes(recipient));
  if (results.length === 0 || isVague) return none(parts, 'tells of a failure, but not whose');
  return failed(parts, results);
}

function resultsOf(notice: Notice, subject: string): readonly Result[] {
  const { header, lines, original } = notice;
  const isDelayed = tellsDelay(notice, subject);
  const said = lines.join(' ').replace(/\s+/g, ' ');
  const of = (recipient: string, rule: string): Result =>
    resultOf({ recipient, rule, diagnostic: said, status: null, isDelayed });
  const ours = oursIn(header, original);
  const returned = returnedTo(original, ours, `${subject} ${said}`);
  const inText = recipientsIn(notice, ours, isDelayed, returned);
  const listed = header.spans.filter(({ name }) => name === 'x-failed-recipients');
  if (listed.length > 0) {
    const failed = listed.flatMap((span) => header.valueAt(span).split(',').flatMap(addressesIn));
    return once(
      failed.map(
        ({ address }) =>
          inText.find(({ recipient }) => recipient === address) ??
          of(address, 'x-failed-recipients'),
      ),
    );
  }
  if (inText.length > 0) return inText;
  if (returned !== null) return [of(returned, 'returned')];
  return recipientsIn({ ...notice, lines: [subject] }, ours, isDelayed, null);
}

/** Addresses of our own side of the exchange, in lower case. */
function oursIn(header: ReturnType<typeof readFields>, original: string): ReadonlySet<string> {
  const returned = readFields(original.trimStart(), 0);
  const values = [
    ...['from', 'to', 'sender', 'reply-to', 'return-path', 'errors-to', 'delivered-to', 'cc'].map(
      (name) => header.get(name),
    ),
    ...['from', 'sender', 'reply-to', 'return-path', 'errors-to'].map((name) => returned.get(name)),
  ];
  const ours = values.flatMap((value) => addressesIn(value));
  return new Set(ours.map(({ address }) => address.toLowerCase()));
}

/**
 * The one recipient of a returned message: as the host that had it noted (RFC 5321 §4.4) if the
 * notice names that mailbox or the message is of a list, whose To is the list; else as it says.
 */
function returnedTo(original: string, ours: ReadonlySet<string>, said: string): string | null {
  const header = readFields(original.trimStart(), 0);
  const isList =
    ['list-id', 'x-beenthere', 'list-post'].some((name) => header.has(name)) ||
    /^(?:list|bulk)$/i.test(header.get('precedence'));
  const all = [...addressesIn(header.get('to')), ...addressesIn(header.get('cc'))];
  const others = all.filter(({ address }) => !ours.has(address.toLowerCase()));
  const carried = carriedFor(header);
  const isAlso = all.some(({ address }) => address === carried);
  if (isList) return isAlso || ours.has(carried?.toLowerCase() ?? '') ? null : carried;
  const one = others.length === 1 ? (others[0]?.address ?? null) : null;
  if (one === null || carried === null || isAlso) return one ?? carried;
  return names(said, carried) && !names(said, one) ? carried : one;
}

/** Whom a host had it for: what it wrote above, or in its trace. */
function carriedFor(header: ReturnType<typeof readFields>): string | null {
  const traced = /\bfor <?([^<>\s;]{3,254})[>;]/.exec(header.get('received'))?.[1] ?? '';
  return addressOfField(header.get('x-original-to')) ?? parseAddress(traced);
}

/** True if words name a mailbox, without its domain. */
function names(said: string, address: string): boolean {
  return said.includes(address.slice(0, address.lastIndexOf('@')));
}

function found(parts: Parts, kind: Recognised['kind'], results: readonly Result[]): Recognised {
  return { kind, results, why: null, text: textOf(parts) };
}

/** What some recipients failed by; only delayed if each of them is still being tried. */
function failed(parts: Parts, results: readonly Result[]): Recognised {
  return found(parts, results.some(({ permanent }) => permanent) ? 'bounce' : 'delayed', results);
}

function none(parts: Parts, why: string): Recognised {
  return { kind: 'none', results: [], why, text: textOf(parts) };
}

function textOf({ notice }: Parts): string {
  const text = notice.slice(0, 2 * DIAGNOSTIC_LENGTH_MAX).replace(BLANKS, ' ');
  return text.trim().slice(0, DIAGNOSTIC_LENGTH_MAX);
}
