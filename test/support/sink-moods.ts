/**
 * An MTA's bad days: what it says instead of taking a mail. By a seed, of so many transactions; or by the recipient's name:
 *
 *   grey…   deferred at RCPT the first time that this envelope comes
 *   mute…   taken the first time, and the connection closed without a word
 */
import { chanceOf } from '../crashlab/chance.ts';

export type Moods = {
  /** To RCPT: null takes the recipient. */
  toRecipient(sender: string, recipient: string): string | null;
  /** To the final dot. `drop`: the mail is taken, and the connection closed without a word. */
  toMessage(
    sender: string,
    recipients: readonly string[],
  ): 'take' | 'drop' | { readonly code: number; readonly text: string };
};

/** Of a thousand. */
const RCPT_DEFERRED = 10;
const DOT_DEFERRED = 10;
const DOT_REFUSED = 3;
const DROPPED = 4;

/** Always well. */
export const GOOD_MOOD: Moods = { toRecipient: () => null, toMessage: () => 'take' };

const LATER = '451 4.7.0 not now, try again later\r\n';

/** By name. Each member's copy of each post has a sender of its own. */
export function moodsByName(): Moods {
  const seen = new Set<string>();
  const isNew = (sender: string): boolean => !seen.has(sender) && seen.add(sender) !== null;
  return {
    toRecipient: (sender, recipient) =>
      recipient.startsWith('grey') && isNew(sender) ? LATER : null,
    toMessage: (sender, recipients) =>
      recipients.some((one) => one.startsWith('mute')) && isNew(sender) ? 'drop' : 'take',
  };
}

export function moodsOf(seed: number): Moods {
  const chance = chanceOf(seed);
  const thousandth = (): number => chance.whole(0, 999);
  return {
    toRecipient: () => (thousandth() < RCPT_DEFERRED ? LATER : null),
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
