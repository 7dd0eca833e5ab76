/** One list that is awake: what it holds while it is, who waits for it, and what they are told where it cannot go on. */
import type { Ending } from '../ending.ts';
import { MailError } from '../errors.ts';
import type { ListKey } from '../mail/list-key.ts';
import { openDraft } from '../store/list-rows.ts';
import { BLOCKED_AT, type Outbox } from './outbox.ts';
import type { OwnedSlot } from './slots.ts';
import type { Waiting } from './turn.ts';
import type { HostWorld } from './world.ts';

/** Commands of one list that callers may have waiting; past that they are told to come again. */
const ASKED_MAX = 4_096;

export type Awake = {
  readonly key: ListKey;
  readonly slot: OwnedSlot;
  readonly waiting: Waiting[];
  readonly outbox: Outbox;
  /** Ends its outbox. */
  readonly leaving: Ending;
  /** Its rows were compared with the ledger since it woke, or when it woke before and are as it left them. */
  isChecked: boolean;
  isTurning: boolean;
  wantsMarker: boolean;
  /** Who waits for an empty record to be appended. */
  readonly barriers: ((failed: MailError | null) => void)[];
  usedAt: number;
  /** Called after the next turn. */
  readonly watchers: (() => void)[];
};

export const notHere = (): MailError =>
  new MailError(451, '4.3.0', 'the list is not here now; try again');
export const setAside = (): MailError =>
  new MailError(451, '4.3.0', 'the list is set aside until its operator has looked at it');

export const watched = (list: Awake): Promise<void> =>
  new Promise((resolve) => list.watchers.push(resolve));

export function tellWatchers(list: Awake): void {
  for (const tell of list.watchers.splice(0)) tell();
}

export function refuseAll(list: Awake, error: MailError): void {
  for (const failed of list.barriers.splice(0)) failed(error);
  for (const { reply } of list.waiting.splice(0)) reply({ kind: 'failed', error });
}

/** Looked at through the head's counter first, which costs one read whatever waits. */
export function isBlocked(world: HostWorld, list: Awake): boolean {
  return (
    openDraft(world.rows, list.key, 0).head().waiting >= BLOCKED_AT &&
    list.outbox.waiting() >= BLOCKED_AT
  );
}

export function isPassive(list: Awake, before: number): boolean {
  const isBusy = list.isTurning || list.waiting.length > 0 || !list.outbox.isIdle();
  return !isBusy && list.usedAt < before;
}

export async function finished(list: Awake): Promise<void> {
  await list.outbox.rested();
  while (list.isTurning) await watched(list);
}

export function refusalOf(world: HostWorld, list: Awake | undefined): MailError | null {
  if (list === undefined) return null;
  if (list.waiting.length >= ASKED_MAX) return new MailError(451, '4.3.2', 'busy; try again');
  return isBlocked(world, list)
    ? new MailError(451, '4.3.2', 'the list is blocked by what it still has to send')
    : null;
}
