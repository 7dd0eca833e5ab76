/**
 * A list's settings as words on a command line: `posting=anyone`, `--max-size 10MB`,
 * `emergency=on`. The words are fewer and shorter than the fields; the list actor has the last word
 * on values.
 */

import type { Posting, Settings } from '../../actors/protocol.ts';
import { UsageError } from '../errors.ts';
import { bytesText } from './print.ts';
import { parseSize } from './sizes.ts';

/** What `list set` was asked to change. */
export type Change = {
  readonly settings: Partial<Settings>;
  /** null: not mentioned. */
  readonly emergency: boolean | null;
};

type Writable = { -readonly [K in keyof Settings]?: Settings[K] };
type Draft = { settings: Writable; emergency: boolean | null };

type Setter = (value: string, draft: Draft) => string | null;

const POSTINGS: readonly Posting[] = ['closed', 'members', 'anyone'];

const SCORINGS: readonly Settings['bounceScoring'][] = ['reasons', 'mailman3', 'off'];
const NOTICES: readonly Settings['bounceNotices'][] = ['all', 'removals', 'none'];

function numberOf(name: 'bounceThreshold' | 'bounceWarnings' | 'bounceWarningDays'): Setter {
  return (value, draft) => {
    if (!/^\d{1,4}(?:\.\d{1,4})?$/.test(value)) return 'a number';
    draft.settings[name] = Number(value);
    return null;
  };
}

/** By name: takes the value, or says what is expected. */
const SETTERS: Readonly<Record<string, Setter>> = {
  name: (value, draft) =>
    keep(() => {
      draft.settings.displayName = value;
    }),
  description: (value, draft) =>
    keep(() => {
      draft.settings.description = value;
    }),
  prefix: (value, draft) =>
    keep(() => {
      draft.settings.subjectPrefix = value;
    }),
  footer: (value, draft) =>
    keep(() => {
      draft.settings.footer = value.replaceAll('\\n', '\n');
    }),
  posting: (value, draft) => {
    const posting = POSTINGS.find((p) => p === value);
    if (posting === undefined) return 'closed, members or anyone';
    draft.settings.posting = posting;
    return null;
  },
  mode: (value, draft) => {
    if (value !== 'individual' && value !== 'shared') return 'individual or shared';
    draft.settings.mode = value;
    return null;
  },
  'max-size': (value, draft) => {
    const bytes = parseSize(value);
    if (bytes === null) return 'a size such as 500KB or 10MB';
    draft.settings.maxMessageBytes = bytes;
    return null;
  },
  bounces: (value, draft) => {
    const scoring = SCORINGS.find((s) => s === value);
    if (scoring === undefined) return 'reasons, mailman3 or off';
    draft.settings.bounceScoring = scoring;
    return null;
  },
  'bounce-threshold': numberOf('bounceThreshold'),
  'bounce-warnings': numberOf('bounceWarnings'),
  'bounce-warning-days': numberOf('bounceWarningDays'),
  'bounce-notices': (value, draft) => {
    const notices = NOTICES.find((n) => n === value);
    if (notices === undefined) return 'all, removals or none';
    draft.settings.bounceNotices = notices;
    return null;
  },
  'bounce-suspects': (value, draft) => {
    if (value !== 'on' && value !== 'off') return 'on or off';
    draft.settings.bounceSuspects = value === 'on';
    return null;
  },
  emergency: (value, draft) => {
    if (value !== 'on' && value !== 'off') return 'on or off';
    draft.emergency = value === 'on';
    return null;
  },
};

/** The names that `list set` knows. */
export const SETTING_NAMES: readonly string[] = Object.keys(SETTERS);

function keep(set: () => void): null {
  set();
  return null;
}

/** Reads `name=value` pairs; later ones win. Throws OperatorError that names what is expected. */
export function changeOf(pairs: readonly (readonly [name: string, value: string])[]): Change {
  const draft: Draft = { settings: {}, emergency: null };
  for (const [name, value] of pairs) {
    const setter = Object.hasOwn(SETTERS, name) ? SETTERS[name] : undefined;
    if (setter === undefined) {
      throw new UsageError(
        `there is no setting “${name}”`,
        `The settings are: ${SETTING_NAMES.join(', ')}.`,
      );
    }
    const expected = setter(value, draft);
    if (expected !== null) {
      throw new UsageError(`${name}=${value} is not understood`, `Give ${expected}.`);
    }
  }
  return draft;
}

/** Splits `name=value`; the value may hold `=`. Throws OperatorError. */
export function pairOf(text: string): readonly [string, string] {
  const at = text.indexOf('=');
  if (at > 0) return [text.slice(0, at), text.slice(at + 1)];
  throw new UsageError(
    `“${text}” is not name=value`,
    `Write for example posting=anyone. The settings are: ${SETTING_NAMES.join(', ')}.`,
  );
}

/** The settings of a list by the same names, for showing. */
export function settingRows(settings: Settings): [string, string][] {
  return [
    ['name', settings.displayName],
    ['description', settings.description],
    ['posting', settings.posting],
    ['mode', settings.mode],
    ['prefix', settings.subjectPrefix],
    ['footer', settings.footer.replaceAll('\n', '\\n')],
    ['max-size', bytesText(settings.maxMessageBytes)],
    ['bounces', settings.bounceScoring],
    ['bounce-threshold', String(settings.bounceThreshold)],
    ['bounce-warnings', String(settings.bounceWarnings)],
    ['bounce-warning-days', String(settings.bounceWarningDays)],
    ['bounce-notices', settings.bounceNotices],
    ['bounce-suspects', settings.bounceSuspects ? 'on' : 'off'],
  ];
}
