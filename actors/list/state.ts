/** The state of a list as it is stored, and a list before its first fact; so too of its members. */
import type { DeliveryRow } from '../delivery.ts';
import { DEFAULT_SETTINGS } from './settings.ts';
import type { Mode, State } from './view.ts';

/** Raised when `State` or the chart changes shape; old rows are brought up to date where they are read. */
export const LIST_VERSION = 4;

/** A list before its first fact. */
export const EMPTY: State = {
  address: '',
  createdAt: 0,
  settings: DEFAULT_SETTINGS,
  posts: 0,
  nextMember: 1,
  live: 0,
  held: 0,
  holds: 0,
  heldBytes: 0,
  untold: 0,
  toldAt: 0,
  noticeDue: null,
  troubles: { disabled: 0, removed: 0, toldAt: 0, due: null },
};

/** A list's chart as it is stored: our own shape, since xstate promises none between majors. */
export type ListRow = { readonly version: number; readonly value: Mode; readonly context: State };

export const NEW_LIST: ListRow = { version: LIST_VERSION, value: 'new', context: EMPTY };

/** A row as this version has it: what an older one lacks is as it was before there was such a thing. */
export function upgraded(row: ListRow): ListRow {
  if (row.version >= LIST_VERSION) return row;
  const settings = { ...DEFAULT_SETTINGS, ...row.context.settings };
  return { ...row, version: LIST_VERSION, context: { ...EMPTY, ...row.context, settings } };
}

/** A member who was never in trouble: such a one has no row. */
export const NO_TROUBLE: DeliveryRow = {
  version: 1,
  value: 'delivering',
  context: {
    ...{ probes: 0, probedAt: 0, disabledBy: null, since: 0, warned: 0, warnedAt: 0, cause: null },
  },
};
