/**
 * The MTA of a simulated world: takes mail, refuses some of it for now or for ever, loses connections before and after the final
 * dot, hangs; and keeps a log of every copy that it took.
 */

import { MailError } from '../../src/errors.ts';
import type { Address } from '../../src/mail/address.ts';
import type { RecipientReply, Smtp, SmtpConnection, Transaction } from '../../src/world.ts';
import type { Chance } from './chance.ts';
import type { Life } from './life.ts';
import type { Timeline } from './timeline.ts';

/** One recipient's copy, as the MTA took it. */
export type Copy = {
  readonly to: Address;
  readonly transaction: Transaction;
  readonly life: Life;
  /** The sender will not hear that it was taken. */
  readonly isUnheard: boolean;
};

export type Mta = {
  /** How likely each of these is, for one transaction; 4xx for one recipient. */
  deferring: number;
  lostBefore: number;
  lostAfter: number;
  hanging: number;
  isUp: boolean;
  heal(): void;
  link(life: Life): Smtp;
};

/** Whoever has this in front of the address does not exist any more: 550 for ever. */
export const GONE = 'gone-';

const SEND_MS: readonly [number, number] = [0.5, 20];
const HANG_MS: readonly [number, number] = [30_000, 600_000];
const TAKEN: RecipientReply = { code: 250, status: '2.0.0', reply: 'taken' };
const LATER: RecipientReply = { code: 451, status: '4.7.1', reply: 'greylisted' };
const NO_SUCH: RecipientReply = { code: 550, status: '5.1.1', reply: 'no such user' };
const LOST_BEFORE: RecipientReply = { code: 421, status: '4.4.2', reply: 'lost' };
const LOST_AFTER: RecipientReply = { code: 0, status: '', reply: 'lost' };

export function createMta(timeline: Timeline, chance: Chance, took: (copy: Copy) => void): Mta {
  const mta: Mta = {
    ...{ deferring: 0, lostBefore: 0, lostAfter: 0, hanging: 0, isUp: true },
    heal() {
      Object.assign(mta, { deferring: 0, lostBefore: 0, lostAfter: 0, hanging: 0, isUp: true });
    },
    link: (life) => ({
      connect: () =>
        new Promise((resolve, reject) => {
          if (!life.touch('connect')) return;
          life.later(chance.between(...SEND_MS), '', () => {
            if (mta.isUp) resolve(connectionOf(life, receive));
            else reject(new MailError(451, '4.4.1', 'the outgoing mail server does not answer'));
          });
        }),
    }),
  };

  const receive: Receive = (life, transaction, settle) => {
    // It is on its way, whether or not its sender lives on.
    timeline.after(chance.between(...SEND_MS), '', () => {
      const isHung = chance.is(mta.hanging);
      const ms = isHung ? chance.between(...HANG_MS) : chance.between(...SEND_MS);
      if (!mta.isUp || chance.is(isHung ? 0.5 : mta.lostBefore)) {
        timeline.note(`MTA lost before the dot: ${transaction.envid}`);
        const replies = transaction.recipients.map(() => LOST_BEFORE);
        settle(replies, true, ms);
      } else {
        const isUnheard = isHung || chance.is(mta.lostAfter);
        settle(answer(life, transaction, isUnheard), isUnheard, ms);
      }
    });
  };

  function answer(life: Life, transaction: Transaction, isUnheard: boolean): RecipientReply[] {
    return transaction.recipients.map((to) => {
      if (to.startsWith(GONE)) return NO_SUCH;
      if (chance.is(mta.deferring)) return LATER;
      timeline.note(`MTA took ${transaction.envid} for ${to}${isUnheard ? ', unheard' : ''}`);
      took({ to, transaction, life, isUnheard });
      return isUnheard ? LOST_AFTER : TAKEN;
    });
  }
  return mta;
}

/** What the MTA does with a transaction; it tells of it after `ms`, and `isLost` ends the connection then. */
type Receive = (
  life: Life,
  transaction: Transaction,
  settle: (replies: readonly RecipientReply[], isLost: boolean, ms: number) => void,
) => void;

/** The sender's end of a connection. */
function connectionOf(life: Life, receive: Receive): SmtpConnection {
  let isOpen = true;
  return {
    send: (transaction) =>
      new Promise((resolve) => {
        if (!life.touch(`send ${transaction.envid}`)) return;
        receive(life, transaction, (replies, isLost, ms) => {
          life.later(ms, '', () => {
            if (isLost) isOpen = false;
            resolve(replies);
          });
        });
      }),
    get isOpen() {
      return isOpen;
    },
    close() {
      isOpen = false;
    },
  };
}
