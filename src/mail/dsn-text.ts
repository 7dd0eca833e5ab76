/**
 * Finds the recipients that failed in what an MTA wrote for people.
 *
 * Every address of the notice is weighed by where it stands: in a list under words that announce
 * one, alone at the start of a line with what was wrong with it behind, in an SMTP dialogue, before or
 * after words of failure, or merely there. Those that weigh most are the recipients; a tie of what is
 * merely there says nothing.
 */

import { parseAddress } from './address.ts';
import { addressesIn, type Seen } from './dsn-address.ts';
import { headIn, isStillTried, type Notice } from './dsn-notice.ts';
import { reasonOf } from './dsn-reason.ts';
import { once } from './dsn-report.ts';
import { type Result, resultOf } from './dsn-result.ts';
import { ABOVE, AFTER, BEFORE, CONTACT, NOT_BEFORE, OFFICE, type Rule } from './dsn-rules.ts';
import { phrases } from './dsn-words.ts';

/** Recipients taken from one notice. */
const RECIPIENTS_MAX = 500;
/** Lines that are looked back over for words above a list. */
const ABOVE_LINES = 4;
/** Characters before and after an address that are read for what they say of it. */
const AROUND_LENGTH = 90;
/** Lines of a diagnostic under its recipient. */
const DIAGNOSTIC_LINES_MAX = 14;

/** A person wrote it, about anything. */
const SUBJECT_LINE = /^\s*(?:subject|asunto|betreff|objet|oggetto|件名|主题|тема)\s*:/i;

/** What may stand before the address of an entry: bullets, numbers, brackets, words for `to`. */
const ENTRY = phrases`
  ^[\s<"'*•·>|[(\-–=#]*(?:o\s+)?(?:\d{1,3}[.):\]]?\s+)?
  (?:(?:smtp|rfc-?822|mailto|recipient|c=[^@]{0,80}smtp)\s*[:;=]\s*)?[<"'\s[(]*$`;

/** A person's name before it, in brackets or not. */
const NAMED_ENTRY = /^[\s*•-]*(?:"[^"@]{1,60}"\s?|(?:\p{Lu}[\p{L}.'-]{0,30}\s){2,4})(?:[<(]|\/ )$/u;

/** Rules of what no person would write. */
const STRONG: ReadonlySet<string> = new Set(['dialogue', 'sendmail', 'amazon-ses']);
/** What stands between two addresses of one list. */
const SEPARATOR = /^[>"'\s]*[,;\s][<"'\s]*$/;
const HAS_NUMBERS = /\b[45]\d\d\b|[45]\.\d+\.\d/;
const BEGINS_WITH_ADDRESS =
  /^(?:\d{1,3}[.)] )?[<"'*> ]{0,4}[^\s<>@"']{1,64}@[\w.-]+[>"']?:?(?:\s|$)/;

const LISTED = 5;
const DIALOGUE = 4;
const TOLD = 3;
const ALONE = 2.5;
const SUMMARY = 2;
const THERE = 1;

/** The words that announce a list, and the rule they are of. */
type Announced = { readonly rule: string; readonly above: string };

/** A list that is open: what announced it, how far its entries are indented, its last line. */
type List = Announced & { readonly indent: number; readonly last: number };

/** An address of the notice: the line it stands in, what it weighs, by which rule, in which list. */
type Weighed = Seen & {
  readonly line: number;
  readonly weight: number;
  readonly rule: string;
  readonly above: string;
};

/** The recipients a notice names, and what it says of each; none if it does not tell them apart. */
export function recipientsIn(
  notice: Notice,
  ours: ReadonlySet<string>,
  isDelayed: boolean,
  returned: string | null,
): readonly Result[] {
  const all = weighedIn(notice.lines);
  const head = headIn(notice.lines);
  // What is told above a header that was quoted or returned is not outdone by what stands in it.
  const above = choose(
    all.filter(({ line }) => line < head),
    ours,
    returned,
  );
  const isTold = above.some(({ weight }) => weight >= ALONE);
  const addressed = isTold ? above : choose(all, ours, returned);
  const chosen = addressed.length > 0 ? addressed : namesIn(notice);
  const whole = notice.lines.filter((line) => !SUBJECT_LINE.test(line)).join(' ');
  const starts = new Set(chosen.map(({ line }) => line));
  const results = chosen.slice(0, RECIPIENTS_MAX).map((one) => {
    const said = diagnosticOf(notice.lines, one, starts);
    // Where what stands with it says nothing, the rest may.
    const isMute = chosen.length === 1 && reasonOf(said, null) === 'unknown';
    const diagnostic = isMute ? `${said} ${whole}`.replace(/\s+/g, ' ').trim() : said;
    const { address, rule, above } = one;
    const isTried = isStillTried(above, isDelayed);
    return resultOf({ recipient: address, rule, diagnostic, status: null, isDelayed: isTried });
  });
  return once(results);
}

function choose(
  all: readonly Weighed[],
  ours: ReadonlySet<string>,
  returned: string | null,
): readonly Weighed[] {
  const theirs = all.filter(({ address }) => !ours.has(address.toLowerCase()));
  // Who answers for a host is named to be asked more often than mail to them fails.
  const members = theirs.filter((one) => !isContact(one));
  const isMembers = members.some(({ weight }) => weight >= SUMMARY) || returned !== null;
  const named = isMembers
    ? members
    : theirs.filter((one) => one.weight >= ALONE || !isContact(one));
  // Mail to oneself: the address is that of the sender, and of nobody else.
  const candidates = named.length > 0 ? named : all.filter(({ weight }) => weight >= DIALOGUE);
  const most = candidates.reduce((max, { weight }) => Math.max(max, weight), 0);
  // What was returned knows better than an address that merely stands there.
  if (most <= SUMMARY && returned !== null) return [];
  const best = candidates.filter(({ weight }) => weight === most && most > 0);
  const isClear =
    most > SUMMARY || new Set(best.map(({ address }) => address.toLowerCase())).size === 1;
  return isClear ? best : [];
}

/** True of those who may only be named for questions. */
function isContact({ address, weight }: Weighed): boolean {
  if (weight === LISTED) return false;
  return CONTACT.test(address) || (weight < TOLD && OFFICE.test(address));
}

function weighedIn(lines: readonly string[]): readonly Weighed[] {
  const weighed: Weighed[] = [];
  let list: List | null = null;
  for (const [i, line] of lines.entries()) {
    if (weighed.length >= 2 * RECIPIENTS_MAX) break;
    const seen = addressesIn(line);
    const [first] = seen;
    if (first === undefined) continue;
    if (isEntry(line, first)) {
      const indent = indentOf(line);
      const goesOn: boolean = list !== null && continues(lines, list, i, indent);
      list = goesOn ? list : listAt(lines, i, indent);
      if (list !== null && indent > list.indent) continue;
      if (list !== null) {
        list = { ...list, last: i };
        for (const one of [...entriesOf(line, seen), ...expandedFrom(lines[i + 1] ?? '')])
          weighed.push({ ...one, line: i, weight: LISTED, rule: list.rule, above: list.above });
        continue;
      }
    }
    weighed.push(...weighedOf(lines, i, seen));
  }
  return weighed;
}

/** The addresses of a line that is in no list. */
function weighedOf(lines: readonly string[], at: number, seen: readonly Seen[]): Weighed[] {
  const weighed: Weighed[] = [];
  const line = lines[at] ?? '';
  for (const one of seen) {
    const before = weighed.at(-1);
    // What is said of one is said of those named with it: `Recipients: kim@…, lee@…`.
    const isNext = before?.weight === TOLD && SEPARATOR.test(line.slice(before.to, one.from));
    const own = isNext ? before : weigh(lines, at, one);
    const isAlone = own.weight === THERE && before === undefined && standsAlone(lines, at, one);
    const { weight, rule } = isAlone ? { weight: ALONE, rule: 'alone' } : own;
    weighed.push({ ...one, line: at, weight, rule, above: '' });
  }
  return weighed;
}

/** The list that begins at a line, if the words above announce one. */
function listAt(lines: readonly string[], at: number, indent: number): List | null {
  const announced = announcedAbove(lines, at);
  return announced === null ? null : { ...announced, indent, last: at };
}

function indentOf(line: string): number {
  return line.length - line.trimStart().length;
}

/** True if an address begins its line, but for bullets, brackets and words for `to`. */
function isEntry(line: string, first: Seen): boolean {
  const before = line.slice(0, first.from);
  return ENTRY.test(before) || NAMED_ENTRY.test(before);
}

/** True if an address begins its line, and not because the prose around it was wrapped there. */
function standsAlone(lines: readonly string[], at: number, one: Seen): boolean {
  const line = lines[at] ?? '';
  if (!isEntry(line, one)) return false;
  return /^[>"']*:?$/.test(line.slice(one.to)) || /(?:^|[:.=-])$/.test(lines[at - 1] ?? '');
}

/** The addresses of an entry: the first, and those that only a separator keeps from it. */
function entriesOf(line: string, seen: readonly Seen[]): readonly Seen[] {
  const entries: Seen[] = [];
  let end = -1;
  for (const one of seen) {
    if (end >= 0 && !SEPARATOR.test(line.slice(end, one.from))) break;
    entries.push(one);
    end = one.to;
  }
  return entries;
}

/** The alias that Sendmail names under an entry: what we wrote to. */
function expandedFrom(line: string): readonly Seen[] {
  return /^\s*\(expanded from:/.test(line) ? addressesIn(line) : [];
}

/** A name alone in its line or with words in brackets, or after a reply code; a telephone number. */
const NAME =
  /^\s+([\w.+-]{2,64})(?: \([^()@]{3,80}\))?$|^\s*5\d\d ([\w.+-]{2,64}?)(?:\.\.\.| is not )|^(\d{9,15})$/;

/** The domain of a provider that wrote in its own name, and not in that of a host. */
const OWN_DOMAIN =
  /@(?!(?:mail|mx|smtp|relay|gate|gw|ns|pop|imap)[\w-]*\.[\w-]+\.)((?:[\w-]+\.){1,4}[a-z]{2,})>?\s*$/i;

/** Names that a provider lists without its own domain, as AOL does. */
function namesIn({ header, lines }: Notice): readonly Weighed[] {
  const domain = OWN_DOMAIN.exec(header.get('from'))?.[1];
  if (domain === undefined) return [];
  return lines.flatMap((line, i) => {
    const [, alone, named, number] = NAME.exec(line) ?? [];
    const name = alone ?? named ?? number;
    const announced = name === undefined ? null : announcedAbove(lines, i);
    const address = announced === null ? null : parseAddress(`${name}@${domain}`);
    if (announced === null || address === null) return [];
    return [{ address, from: 0, to: line.length, line: i, weight: LISTED, ...announced }];
  });
}

/** True if a list goes on: no words of another kind stand between its last entry and this one. */
function continues(lines: readonly string[], list: List, at: number, indent: number): boolean {
  if (at - list.last > DIAGNOSTIC_LINES_MAX + 4) return false;
  if (indent > list.indent) return true;
  let blanks = 0;
  for (let i = list.last + 1; i < at; i++) {
    const line = lines[i] ?? '';
    if (/^\s*-{3}/.test(line)) return false;
    if (line.trim() === '') blanks++;
    // After an empty line only another entry goes on with the list.
    else if (blanks > 0 && indentOf(line) <= list.indent) return false;
  }
  return true;
}

/** What announces a list at a line, or null: the nearest words that are not empty, as one. */
function announcedAbove(lines: readonly string[], at: number): Announced | null {
  let text = '';
  let taken = 0;
  let blanks = 0;
  for (let i = at - 1; i >= 0 && i >= at - 12 && taken < ABOVE_LINES; i--) {
    const line = (lines[i] ?? '').trim();
    if (BEGINS_WITH_ADDRESS.test(line)) break;
    if (!/[\p{L}]/u.test(line)) {
      if (taken > 0) break;
      if (++blanks > 4) break;
      continue;
    }
    text = `${line} ${text}`;
    taken++;
  }
  const above = text.trim().slice(-400);
  const rule = matching(ABOVE, above);
  return rule === null ? null : { rule, above };
}

/** What an address weighs by the words around it. */
function weigh(lines: readonly string[], at: number, seen: Seen): { weight: number; rule: string } {
  const { from, to } = seen;
  const line = lines[at] ?? '';
  const own = line.slice(Math.max(0, from - AROUND_LENGTH), from);
  const before = wordsBefore(lines, at, own);
  const after = line.slice(to, to + AROUND_LENGTH);
  if (/^\s*<?$/.test(own) && /^>?: ?(?:\S|$)/.test(after))
    return { weight: LISTED, rule: 'postfix' };
  const isReply = /(?:^|[\s<>])[45]\d\d[ -](?:[45]\.\d+\.\d+ )?<?$/.test(before);
  if (isReply && /^>?(?:\.\.\.|[:,]? ?\S)/.test(after)) return { weight: DIALOGUE, rule: 'reply' };
  if (OUTDONE.test(lines[at + 1] ?? '')) return { weight: 0, rule: 'expanded' };
  if (NOT_BEFORE.test(before)) return { weight: 0, rule: 'sender' };
  const named = matching(BEFORE, before) ?? matching(AFTER, after);
  const isAccepted = named === 'dialogue' && ACCEPTED.test(lines[at + 1] ?? '');
  if (isAccepted || ACCEPTED.test(line)) return { weight: 0, rule: 'accepted' };
  if (named !== null) return { weight: STRONG.has(named) ? DIALOGUE : TOLD, rule: named };
  if (/^\s*(?:to|cc|an|à|para|収件人|收件人)\s*:/i.test(before))
    return { weight: SUMMARY, rule: 'summary' };
  return { weight: THERE, rule: 'there' };
}

/** A line that says whom we wrote to, under what came of it on the way (PMDF, Exim). */
const OUTDONE = /^\s*(?:original address: *\S+@|\(ultimately generated from )/i;

/** The words before an address: those of the line above too where prose was wrapped there. */
function wordsBefore(lines: readonly string[], at: number, own: string): string {
  const isWrapped = /^[\s<"'(]*$/.test(own) && indentOf(lines[at] ?? '') < 2;
  const above = isWrapped ? (lines[at - 1] ?? '').slice(-AROUND_LENGTH) : '';
  return above === '' ? own : `${above} ${own.trimStart()}`;
}

/** A line of a dialogue that says that a command was well. */
const ACCEPTED = /^[^\p{L}\d]*(?:received[^\p{L}\d]*)?2[0-5]\d[ -]/iu;

function matching(rules: readonly Rule[], text: string): string | null {
  return rules.find(({ says }) => says.test(text))?.name ?? null;
}

/** What stands with an address and under it, until the next one: those of others are at `starts`. */
function diagnosticOf(
  lines: readonly string[],
  { line, to, weight, address }: Weighed,
  starts: ReadonlySet<number>,
): string {
  const own = lines[line] ?? '';
  let said = weight === LISTED ? own.slice(to).replace(/^[>"'):\],\s]+/, '') : own.trim();
  let blanks = 0;
  for (let i = line + 1; i <= line + DIAGNOSTIC_LINES_MAX && i < lines.length; i++) {
    const text = (lines[i] ?? '').trim();
    if (text === '') {
      if (++blanks > 3 || (blanks > 1 && HAS_NUMBERS.test(said))) break;
      continue;
    }
    const isNext = starts.has(i) || BEGINS_WITH_ADDRESS.test(text);
    if (isNext && !text.includes(address)) break;
    said += ` ${text}`;
  }
  return said.trim();
}
