/**
 * Delivery reports as they are meant to be: `message/delivery-status` (RFC 3464), its UTF-8 form
 * (RFC 6533), and both as they are written by software that did not read them. Groups may run
 * together, an empty line may stand between every two fields, fields may be missing.
 */
import { addressOfField } from './dsn-address.ts';
import { type Fields, readFields } from './dsn-fields.ts';
import { isTelling } from './dsn-reason.ts';
import { type Result, resultOf } from './dsn-result.ts';

/** Groups that are read; a report of more recipients is cut. */
export const GROUPS_MAX = 1_000;

/** Characters of the words for people that are searched for each recipient. */
const PAGE_LENGTH_MAX = 4_096;

export type Report = {
  readonly results: readonly Result[];
  /** Recipients that were told to be well: delivered, relayed, expanded. */
  readonly delivered: number;
};

type Group = Map<string, string>;

/** Nothing, or the answer to the last command that was well. */
const NO_REASON = /^(?:$|2\d\d\b)/;

const RECIPIENT = /^(?:final|original)-recipient$/;
const DELIVERED = /^(?:delivered|relayed|expanded|deliverable|success)/;
const DELAYED = /^(?:delayed|deferred|transient|warning)/;
/** In order of trust: what we wrote to stands before what became of it on the way. */
const RECIPIENT_FIELDS = ['original-recipient', 'final-recipient', 'x-actual-recipient'] as const;
const SAYINGS = [
  'diagnostic-code',
  'x-notes',
  'x400-supplementary-info',
  'x-supplementary-info',
  'x-display-text',
  'x-smtp-server-reply',
] as const;

/** Reads a report; one without recipients is empty. Linear; never throws. */
export function readReport(text: string, notice: string): Report {
  const results: Result[] = [];
  let delivered = 0;
  for (const group of groupsOf(text)) {
    const recipient = recipientOf(group);
    if (recipient === null) continue;
    const action = (group.get('action') ?? '').toLowerCase();
    const status = /[245]\.\d{1,3}\.\d{1,3}/.exec(group.get('status') ?? '')?.[0] ?? null;
    if (DELIVERED.test(action) || (action === '' && status?.startsWith('2'))) {
      delivered++;
      continue;
    }
    const isTemporary = status?.startsWith('4') ?? false;
    const isDelayed = DELAYED.test(action) || (action === '' && isTemporary);
    const said = SAYINGS.map((name) => group.get(name) ?? '').filter((value) => value !== '');
    const diagnostic = said.join(' ').replace(/^\s*(?:smtp|x-[\w-]+|unix|dns|local)\s*;\s*/i, '');
    results.push(
      resultOf({
        recipient,
        rule: 'rfc3464',
        // Words that stand further off are asked only where the numbers say nothing.
        diagnostic:
          NO_REASON.test(diagnostic) && !isTelling(status) ? saidOf(recipient, notice) : diagnostic,
        status,
        isDelayed,
      }),
    );
  }
  return { results: once(results), delivered };
}

/** Each recipient once: what was said of it with numbers stands before what was said without. */
export function once(results: readonly Result[]): readonly Result[] {
  const byKey = new Map<string, Result>();
  for (const result of results) {
    const key = result.recipient.toLowerCase();
    const before = byKey.get(key);
    const hasNumbers = result.status !== null || result.code !== null;
    const isBetter = before?.status === null && before.code === null && hasNumbers;
    if (before === undefined || isBetter) byKey.set(key, result);
  }
  return [...byKey.values()];
}

/** A group of fields for each recipient. */
function groupsOf(text: string): readonly Group[] {
  const groups: Group[] = [];
  let group: Group = new Map();
  let at = 0;
  for (let blocks = 0; at < text.length && blocks < 3 * GROUPS_MAX; blocks++) {
    const block = readFields(text, at);
    // A line that is no field: go on after it, as there may be groups behind it.
    at = block.end > at ? block.end : lineAfter(text, at);
    group = takeBlock(block, group, groups);
    if (groups.length >= GROUPS_MAX) break;
  }
  if (isOfRecipient(group) && groups.length < GROUPS_MAX) groups.push(group);
  return groups;
}

/** Adds a block to the group that is open, or opens the next; the group that is open after it. */
function takeBlock(block: Fields, open: Group, groups: Group[]): Group {
  let group = open;
  // Fields that stray behind an empty line belong to the recipient before them.
  const names = block.spans.map(({ name }) => name);
  if (names.some((name) => RECIPIENT.test(name)) && isComplete(group)) group = next();
  for (const span of block.spans) {
    const isAgain = RECIPIENT.test(span.name) || span.name === 'action';
    if (isAgain && group.has(span.name) && isOfRecipient(group)) group = next();
    if (!group.has(span.name)) group.set(span.name, block.valueAt(span));
  }
  return group;

  function next(): Group {
    groups.push(group);
    return new Map();
  }
}

function isComplete(group: Group): boolean {
  return isOfRecipient(group) && (group.has('action') || group.has('status'));
}

function isOfRecipient(group: Group): boolean {
  return RECIPIENT_FIELDS.some((name) => group.has(name));
}

function recipientOf(group: Group): string | null {
  for (const name of RECIPIENT_FIELDS) {
    const address = addressOfField(group.get(name) ?? '');
    if (address !== null) return address;
  }
  return null;
}

/** What the words for people say where the report says nothing: the lines from its address on. */
function saidOf(recipient: string, notice: string): string {
  const page = notice.slice(0, PAGE_LENGTH_MAX);
  const at = page.indexOf(recipient);
  const said = at < 0 ? page : page.slice(at + recipient.length);
  return said
    .slice(0, 600)
    .replace(/\s+/g, ' ')
    .replace(/^[>:\s]+/, '');
}

function lineAfter(text: string, at: number): number {
  const lf = text.indexOf('\n', at);
  return lf < 0 ? text.length : lf + 1;
}
