/** Every setting of a list: its default, its bounds, and why a value is refused. */
import { isDisplaySafe } from '../../src/mail/text.ts';
import { DEFAULT_RULES } from '../bounces/scoring.ts';
import type { Refusal, Settings } from '../protocol.ts';

/** The largest post that any list takes; the site's own limit may be lower. */
export const MESSAGE_BYTES_MAX = 64 * 1024 * 1024;
export const DISPLAY_NAME_MAX = 120;
export const DESCRIPTION_MAX = 500;
export const SUBJECT_PREFIX_MAX = 60;
export const FOOTER_MAX = 4_000;
/** The whole of a score, its warnings and removal must fit into the days that BOUNCES keeps. */
export const BOUNCE_THRESHOLD_MAX = 30;
export const BOUNCE_WARNINGS_MAX = 5;
export const BOUNCE_WARNING_DAYS_MAX = 10;

/** A new list: members may post, everyone gets a copy of their own, nothing is added to the body. */
export const DEFAULT_SETTINGS: Settings = {
  displayName: '',
  description: '',
  posting: 'members',
  mode: 'individual',
  subjectPrefix: '',
  footer: '',
  maxMessageBytes: 10 * 1024 * 1024,
  bounceScoring: DEFAULT_RULES.scoring,
  bounceThreshold: DEFAULT_RULES.threshold,
  bounceWarnings: DEFAULT_RULES.warnings,
  bounceWarningDays: DEFAULT_RULES.warningDays,
  bounceNotices: 'all',
  bounceSuspects: true,
};

const bad = (text: string): Refusal => ({ type: 'refusal', code: 'bad-setting', text });

function checkLine(name: string, value: string | undefined, max: number): Refusal | null {
  if (value === undefined) return null;
  if (value.length > max) return bad(`${name} has more than ${max} characters`);
  if (!isDisplaySafe(value)) return bad(`${name} holds a line break or a control character`);
  return null;
}

function checkFooter(footer: string | undefined): Refusal | null {
  if (footer === undefined) return null;
  if (footer.length > FOOTER_MAX) return bad(`footer has more than ${FOOTER_MAX} characters`);
  if (!footer.split('\n').every((line) => isDisplaySafe(line)))
    return bad('footer holds a control character');
  return null;
}

function checkNumber(
  name: string,
  value: number | undefined,
  [min, max]: readonly [number, number],
  isWhole: boolean,
): Refusal | null {
  if (value === undefined) return null;
  const isFit = value >= min && value <= max && (!isWhole || Number.isInteger(value));
  return isFit
    ? null
    : bad(`${name} is not a ${isWhole ? 'whole ' : ''}number from ${min} to ${max}`);
}

function checkWord(name: string, value: unknown, words: readonly string[]): Refusal | null {
  if (value === undefined || words.some((word) => word === value)) return null;
  return bad(`${name} is not one of ${words.join(', ')}`);
}

function checkBounces(changes: Partial<Settings>): Refusal | null {
  const { bounceThreshold, bounceWarnings, bounceWarningDays } = changes;
  const days = [1, BOUNCE_WARNING_DAYS_MAX] as const;
  return (
    checkWord('bounceScoring', changes.bounceScoring, ['reasons', 'mailman3', 'off']) ??
    checkWord('bounceNotices', changes.bounceNotices, ['none', 'removals', 'all']) ??
    checkNumber('bounceThreshold', bounceThreshold, [0.25, BOUNCE_THRESHOLD_MAX], false) ??
    checkNumber('bounceWarnings', bounceWarnings, [0, BOUNCE_WARNINGS_MAX], true) ??
    checkNumber('bounceWarningDays', bounceWarningDays, days, true)
  );
}

/** Null if the changes may be made; a refusal that names the first bad one otherwise. */
export function checkSettings(changes: Partial<Settings>): Refusal | null {
  const { maxMessageBytes: bytes } = changes;
  if (bytes !== undefined && !(Number.isInteger(bytes) && bytes >= 1 && bytes <= MESSAGE_BYTES_MAX))
    return bad(`maxMessageBytes is not a whole number from 1 to ${MESSAGE_BYTES_MAX}`);
  return (
    checkLine('displayName', changes.displayName, DISPLAY_NAME_MAX) ??
    checkLine('description', changes.description, DESCRIPTION_MAX) ??
    checkLine('subjectPrefix', changes.subjectPrefix, SUBJECT_PREFIX_MAX) ??
    checkFooter(changes.footer) ??
    checkBounces(changes)
  );
}

/** Only what differs from what is: setting a value to itself is not a change. */
export function changesOnly(settings: Settings, wanted: Partial<Settings>): Partial<Settings> {
  const changed = Object.entries(wanted).filter(
    ([name, value]) => value !== undefined && settings[name as keyof Settings] !== value,
  );
  return Object.fromEntries(changed);
}
