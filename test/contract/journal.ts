/** What a journal must show, the one in a file and the fake alike. */
import { describe, expect, test } from 'vitest';
import type { Clock, Journal, Suspects } from '../../src/world.ts';
import { createFakeClock } from '../support/fake/clock.ts';

export type JournalUnderTest = {
  readonly journal: Journal;
  readonly suspects: Suspects;
  close(): Promise<void> | void;
};

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

const FIRST = { route: 'first', at: 1_000 };
const SECOND = { route: 'second', at: 2_000 };

export function journalContract(
  name: string,
  start: (clock: Clock) => Promise<JournalUnderTest>,
): void {
  describe(`${name} as Journal`, () => {
    const clock = createFakeClock();
    const within = async (use: (it: JournalUnderTest) => Promise<void>): Promise<void> => {
      const it = await start(clock);
      try {
        await use(it);
      } finally {
        await it.close();
      }
    };

    test('holds each chunk that is open, and whom it has as accepted', () =>
      within(async ({ journal }) => {
        journal.open('one', 'token', bytes('chunk one'));
        journal.open('two', '', bytes('chunk two'));
        journal.accepted('one', [1, 2], FIRST);
        journal.accepted('one', [7], FIRST);
        journal.accepted('one', [3], SECOND);
        const accepted = new Map([1, 2, 7].map((number) => [number, FIRST]));
        accepted.set(3, SECOND);
        expect(journal.acceptedOf('one')).toEqual(accepted);
        expect(journal.held()).toMatchObject([
          { name: 'one', ackToken: 'token', accepted, renewedAt: clock.now() },
          { name: 'two', ackToken: '', accepted: new Map() },
        ]);
        expect(Buffer.from(journal.held()[0]?.data ?? []).toString()).toBe('chunk one');
      }));

    test('a chunk that is opened again keeps whom it has, under its new token', () =>
      within(async ({ journal }) => {
        journal.open('one', 'first', bytes('x'));
        journal.accepted('one', [5], FIRST);
        journal.open('one', 'second', bytes('x'));
        expect(journal.held()).toMatchObject([
          { ackToken: 'second', accepted: new Map([[5, FIRST]]) },
        ]);
      }));

    test('a chunk that is closed is forgotten, and what is noted of it after is nothing', () =>
      within(async ({ journal }) => {
        journal.open('one', '', bytes('x'));
        journal.accepted('one', [5], FIRST);
        journal.close('one');
        journal.close('one');
        journal.accepted('one', [6], FIRST);
        expect([journal.held(), journal.acceptedOf('one')]).toEqual([[], new Map()]);
        journal.open('one', '', bytes('x'));
        expect(journal.acceptedOf('one')).toEqual(new Map());
      }));

    test('a renewal moves the time on', () =>
      within(async ({ journal }) => {
        journal.open('one', '', bytes('x'));
        await clock.advance(1_000);
        journal.renewed('one');
        journal.renewed('not open');
        expect(journal.held().map((chunk) => chunk.renewedAt)).toEqual([clock.now()]);
      }));

    test('a suspect that was ended begins anew; one that was not has died once more', () =>
      within(async ({ suspects }) => {
        expect(suspects.begin('a')).toBe(0);
        suspects.end('a');
        expect(suspects.begin('a')).toBe(0);
        expect([suspects.begin('a'), suspects.begin('a')]).toEqual([1, 2]);
      }));
  });
}
