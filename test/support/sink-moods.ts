/** An MTA's bad days, by a seed: what it says instead of taking a mail, of so many transactions. */
import { chanceOf } from '../crashlab/chance.ts';

export type Moods = {
  /** To RCPT: null takes the recipient. */
  toRecipient(): string | null;
  /** To the final dot. `drop`: the mail is taken, and the connection closed without a word. */
  toMessage(): 'take' | 'drop' | { readonly code: number; readonly text: string };
};

/** Of a thousand. */
const RCPT_DEFERRED = 10;
const DOT_DEFERRED = 10;
const DOT_REFUSED = 3;
const DROPPED = 4;

/** Always well. */
export const GOOD_MOOD: Moods = { toRecipient: () => null, toMessage: () => 'take' };

export function moodsOf(seed: number): Moods {
  const chance = chanceOf(seed);
  const thousandth = (): number => chance.whole(0, 999);
  return {
    toRecipient: () =>
      thousandth() < RCPT_DEFERRED ? '451 4.7.0 not now, try again later\r\n' : null,
    toMessage() {
      const at = thousandth();
      if (at < DROPPED) return 'drop';
      if (at < DROPPED + DOT_DEFERRED) return { code: 452, text: '452 4.3.1 no room now\r\n' };
      if (at < DROPPED + DOT_DEFERRED + DOT_REFUSED) {
        return { code: 554, text: '554 5.7.1 not wanted here\r\n' };
      }
      return 'take';
    },
  };
}
