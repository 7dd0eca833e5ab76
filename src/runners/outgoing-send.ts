/**
 * Sends the copies of one chunk over a route: as many transactions at once as the route has
 * connections, each recipient at most once, whatever happens to the connections.
 */
import { MailError } from '../errors.ts';
import { type Chunk, chunkName, type Recipient } from '../mail/chunk.ts';
import type { Cooked } from '../mail/cook.ts';
import { type CopyOf, render, returnPathOf } from '../mail/render.ts';
import type { Journal, RecipientReply, Route, Transaction } from '../world.ts';
import type { Hand } from './runner.ts';

/**
 * Of one transaction, over as many connections: a connection lost before DATA says nothing about
 * the recipients.
 */
const TRANSACTION_TRIES_MAX = 3;
/** RFC 3461 §4.4. */
const ENVID_CHARS_MAX = 100;

/** What became of the recipients so far; those in neither were not tried. */
export type Progress = {
  readonly accepted: Set<number>;
  /** Who was not accepted, and the MTA's word. */
  readonly replies: Map<number, RecipientReply>;
};

/**
 * `all`: everybody has an outcome. `cut`: the hand was taken away. `route`: there is no connection
 * to be had.
 */
export type Ended = 'all' | 'cut' | 'route';

export type SendNeeds = {
  readonly route: Route;
  readonly journal: Pick<Journal, 'accepted'>;
  readonly secret: Uint8Array;
  readonly hand: Hand;
};

/**
 * Sends to `to`, noting each outcome in `progress` as it comes; it is right also when this throws.
 */
export async function sendCopies(
  chunk: Chunk,
  to: readonly Recipient[],
  cooked: Cooked,
  progress: Progress,
  needs: SendNeeds,
): Promise<Ended> {
  const envelopes = envelopesOf(chunk, to, needs.route.recipientsMax);
  let next = 0;
  let ended: Ended = 'all';

  async function work(): Promise<void> {
    while (ended === 'all') {
      if (needs.hand.state() !== 'ours') {
        ended = 'cut';
        return;
      }
      const envelope = envelopes[next];
      if (envelope === undefined) return;
      next += 1;
      try {
        await deliver(chunk, envelope, cooked, progress, needs);
      } catch (error) {
        ended = error instanceof MailError ? 'route' : 'cut';
        if (ended === 'cut') throw error;
      }
    }
  }

  const workers = Math.min(needs.route.connectionsMax, envelopes.length);
  const outcomes = await Promise.allSettled(Array.from({ length: workers }, work));
  for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
  return ended;
}

function envelopesOf(
  chunk: Chunk,
  to: readonly Recipient[],
  recipientsMax: number,
): readonly (readonly Recipient[])[] {
  const size = chunk.recipe.mode === 'shared' ? recipientsMax : 1;
  const envelopes: Recipient[][] = [];
  for (let at = 0; at < to.length; at += size) envelopes.push(to.slice(at, at + size));
  return envelopes;
}

/**
 * One envelope, to the end; again on another connection for those whom nobody said anything about.
 */
async function deliver(
  chunk: Chunk,
  envelope: readonly Recipient[],
  cooked: Cooked,
  progress: Progress,
  { route, journal, secret }: SendNeeds,
): Promise<void> {
  const name = chunkName(chunk);
  let left = envelope;
  for (let attempt = 1; left.length > 0; attempt += 1) {
    const recipients = left;
    left = await route.withConnection(async (connection) => {
      const replies = await connection.send(transactionOf(chunk, recipients, cooked, secret));
      const unheard: Recipient[] = [];
      const accepted: number[] = [];
      for (const [index, recipient] of recipients.entries()) {
        const reply = replies[index] ?? NO_REPLY;
        if (reply.code >= 200 && reply.code < 300) accepted.push(recipient[0]);
        else if (reply.code === 421 && attempt < TRANSACTION_TRIES_MAX) unheard.push(recipient);
        else progress.replies.set(recipient[0], reply);
      }
      for (const number of accepted) progress.accepted.add(number);
      // Before the connection goes on: a crash repeats at most one transaction a connection.
      if (accepted.length > 0) await journal.accepted(name, accepted);
      return unheard;
    });
  }
}

const NO_REPLY: RecipientReply = { code: 0, status: '', reply: 'no reply' };

function transactionOf(
  chunk: Chunk,
  recipients: readonly Recipient[],
  cooked: Cooked,
  secret: Uint8Array,
): Transaction {
  const [member] = recipients[0] ?? [0];
  const { key, recipe, smtputf8 } = chunk;
  const copy: CopyOf = { key, member, post: recipe.postNumber, secret };
  const envid = recipients.length === 1 ? `${chunkName(chunk)}.${member}` : chunkName(chunk);
  return {
    sender: returnPathOf(recipe, copy),
    recipients: recipients.map(([, address]) => address),
    message: render(cooked, copy),
    eightBit: cooked.eightBit,
    smtputf8,
    ...(envid.length <= ENVID_CHARS_MAX && { envid }),
  };
}
