/** The state of a list as it is stored, and a list before its first fact. */
import { DEFAULT_SETTINGS } from './settings.ts';
import type { Mode, State } from './view.ts';

/** Raised when `State` or the chart changes shape; old rows are brought up to date where they are read. */
export const LIST_VERSION = 1;

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
  untold: 0,
  toldAt: 0,
  noticeDue: null,
};

/** A list's chart as it is stored: our own shape, since xstate promises none between majors. */
export type ListRow = { readonly version: number; readonly value: Mode; readonly context: State };

export const NEW_LIST: ListRow = { version: LIST_VERSION, value: 'new', context: EMPTY };
