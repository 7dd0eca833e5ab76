/**
 * Sends the copies of one chunk over a route, over its part of the route's connections, each recipient at most once, whatever
 * happens to the connections.
 */
import { MailError } from '../errors.ts';
import { type By, type Chunk, chunkName, type Recipient } from '../mail/chunk.ts';
import type { Ready } from '../mail/dkim.ts';
import { type CopyOf, render, returnPathOf } from '../mail/render.ts';
import type {
  Clock,
  Journal,
  RecipientReply,
  Route,
  SmtpConnection,
  Transaction,
} from '../world.ts';
import { type Envelope, type FairOrder, fairOrder, providerOf } from './fair-order.ts';
import type { Ended, Progress } from './outgoing-result.ts';
import type { RecipientLimits } from './recipient-limits.ts';
import { causeOf, isTooManyRecipients } from './retry-schedule.ts';
import type { Hand } from './runner.ts';

/**
 * Of one transaction, over as many connections: a connection lost before DATA says nothing about
 * the recipients.
 */
const TRANSACTION_TRIES_MAX = 3;
/** A connection that took so long to get lost is not tried again in hand: the MTA hangs. */
const LOST_SLOWLY_MS = 60_000;
/** A chunk that is not sent after so long goes on as a next try: it keeps others from this hand. */
export const CHUNK_MS_MAX = 5 * 60_000;
/** A connection is kept for so long before others have their turn; mail of a class before this one has it at once. */
const RUN_MS_MAX = 100;
/**
 * After so many refusals in a row for their rate, the others at the same provider are not tried: they would be refused as well, and
 * counted against us. (Greylisting is another thing: there each first try starts a clock.)
 */
export const RATE_REFUSALS_MAX = 20;
/** What is said within so long of the first is told with its time: each time takes some bytes in the record. */
const SAME_TIME_MS = 1_000;
/** Of what is said of a copy that was taken. */
const TAKEN_CHARS_MAX = 300;
/** Refusals are kept whole up to so many characters of one try, as many as its result can tell; those after that are cut. */
export const REFUSALS_CHARS_MAX = 512 * 1024;
const REFUSAL_CUT_CHARS = 300;
/** RFC 3461 §4.4. */
const ENVID_CHARS_MAX = 100;

export type SendNeeds = {
  readonly route: Route;
  readonly journal: Pick<Journal, 'accepted'>;
  readonly secret: Uint8Array;
  readonly hand: Hand;
  readonly clock: Pick<Clock, 'monotonic' | 'now'>;
  readonly limits: RecipientLimits;
  /** Why to stop now; null to go on. */
  halted(): 'pause' | 'cancel' | null;
  /** What was thrown that is no MailError; then nothing more is begun. */
  readonly bugs: unknown[];
};

type Stopping = Pick<SendNeeds, 'hand' | 'halted' | 'bugs'>;

type State = {
  readonly chunk: Chunk;
  readonly cooked: Ready;
  readonly progress: Progress;
  readonly needs: SendNeeds;
  readonly order: FairOrder;
  /** Refusals in a row for their rate, by provider. */
  readonly inARow: Map<string, number>;
  /** How often a connection was lost before anything was said, by recipient. */
  readonly lost: Map<number, number>;
  /** Who speaks, and when: one for all that is said within a second. */
  by: By;
  /** Characters of the refusals so far. */
  refusals: number;
  /** The route carries no more: whoever is not under way is another's to send to. */
  isLeft: boolean;
};

/** Why nothing more of a chunk is to be begun; null: go on. */
export function stopped({ hand, halted, bugs }: Stopping): Ended | null {
  return hand.state() === 'ours' && bugs.length === 0 ? halted() : 'cut';
}

/** How it ended; and what the route that carries no more has under way still, each resolved when a connection is done with it. */
export type Sent = { readonly ended: Ended; readonly underWay: readonly Promise<void>[] };

/**
 * Sends to `to`, noting each outcome in `progress` as it comes. Resolves when everything has ended; or as soon as the route carries
 * no more, while what is under way waits for its own end.
 */
export async function sendCopies(
  chunk: Chunk,
  to: readonly Recipient[],
  cooked: Ready,
  progress: Progress,
  needs: SendNeeds,
): Promise<Sent> {
  const { route, clock } = needs;
  /** Connections at once: this chunk's part of them, as it is now. */
  const most = (): number => Math.min(route.share(chunk.class), to.length);
  // A later try is of few, and of those somebody had trouble with: each provider by itself.
  const mayMix = chunk.recipe.mode === 'shared' && chunk.try === 0;
  const order = fairOrder(to, most, mayMix);
  const state: State = {
    ...{ chunk, cooked, progress, needs, order },
    ...{ inARow: new Map(), lost: new Map() },
    by: { route: route.name, at: clock.now() },
    ...{ refusals: 0, isLeft: false },
  };
  const endsAt = clock.monotonic() + CHUNK_MS_MAX;
  const over = Promise.withResolvers<void>();
  let ended: Ended = 'all';

  function mayGoOn(): boolean {
    const why = stopped(needs);
    if (why !== null) ended = why;
    else if (clock.monotonic() > endsAt) ended = 'slow';
    return ended === 'all';
  }
  function leave(): void {
    ended = 'route';
    state.isLeft = true;
    over.resolve();
  }

  const workers = new Set<Promise<void>>();
  async function work(): Promise<void> {
    while (workers.size <= most() && mayGoOn() && !order.isEmpty()) {
      try {
        const run = (connection: SmtpConnection) => sendRun(connection, state, mayGoOn);
        await route.withConnection(chunk.class, run);
      } catch (error) {
        if (error instanceof MailError) leave();
        else needs.bugs.push(error);
      }
      spread();
    }
  }
  function spread(): void {
    while (workers.size < most() && mayGoOn() && !order.isEmpty()) {
      const worker = work().finally(() => {
        workers.delete(worker);
        if (workers.size === 0) over.resolve();
      });
      workers.add(worker);
    }
  }

  const ignore = route.onAway(leave);
  spread();
  if (workers.size > 0) await over.promise;
  ignore();
  return { ended, underWay: [...workers] };
}

type Taken = {
  readonly envelope: Envelope;
  readonly transaction: Transaction;
  /** Null where nothing is signed. */
  readonly signed: Promise<void> | null;
};

/** The next envelope of the chunk with its mail, which is being signed from now on; null when nobody is left. */
function take({ chunk, cooked, needs, order }: State): Taken | null {
  const { limits, route, secret } = needs;
  const envelope = order.next(chunk.recipe.mode === 'shared' ? limits.of(route) : 1);
  if (envelope === null) return null;
  const transaction = transactionOf(chunk, envelope.to, cooked, secret);
  const signed = cooked.sign?.(transaction.message) ?? null;
  signed?.catch(() => undefined); // It may never be sent.
  return { envelope, transaction, signed };
}

/**
 * One envelope after another over one connection, for a while: each is begun with the message before it. Whom nobody said
 * anything about comes again, on another connection; whom the MTA found too many, in an envelope of their own.
 */
async function sendRun(
  connection: SmtpConnection,
  state: State,
  mayGoOn: () => boolean,
): Promise<void> {
  const { clock, limits, route } = state.needs;
  const runEndsAt = clock.monotonic() + RUN_MS_MAX;
  const isOver = (): boolean => clock.monotonic() >= runEndsAt || route.isWanted(state.chunk.class);
  let taken = take(state);
  while (taken !== null) {
    const { envelope } = taken;
    const following = isOver() ? null : take(state);
    if (taken.signed !== null) {
      await whenSigned(taken.signed, connection);
      if (!mayGoOn()) {
        putBack([following, taken], connection);
        return;
      }
    }
    const startedAt = clock.monotonic();
    const replies = await sent(taken, following, connection, state.progress);
    const isSlow = clock.monotonic() - startedAt > LOST_SLOWLY_MS;
    const { unheard, tooMany } = note(envelope.to, replies, !isSlow, state);
    const [first] = tooMany;
    if (first !== undefined) limits.learn(route, envelope.to.indexOf(first));
    taken = connection.isOpen && mayGoOn() ? following : null;
    if (taken === null) putBack([following], connection);
    // After those that were not tried, so that whom a connection was lost under is the first on the next.
    envelope.done([...unheard, ...tooMany]);
  }
}

/** What is taken and will not be sent over this connection; its envelope may have been begun, which cannot be taken back. */
function putBack(all: readonly (Taken | null)[], connection: SmtpConnection): void {
  for (const taken of all) {
    taken?.envelope.done(taken.envelope.to);
    if (taken !== null) connection.close();
  }
}

/** Sent, and answered; until then nobody else sends to these recipients. */
async function sent(
  { envelope, transaction }: Taken,
  following: Taken | null,
  connection: SmtpConnection,
  { underWay }: Progress,
): Promise<readonly RecipientReply[]> {
  for (const [number] of envelope.to) underWay.add(number);
  try {
    return await connection.send(transaction, following?.transaction);
  } finally {
    for (const [number] of envelope.to) underWay.delete(number);
  }
}

async function whenSigned(signed: Promise<void>, connection: SmtpConnection): Promise<void> {
  try {
    await signed;
  } catch (error) {
    connection.close(); // Its envelope may have been begun.
    throw error;
  }
}

/** Notes what was said, in the journal too before the connection goes on: a crash repeats at most one transaction a connection. */
function note(
  recipients: readonly Recipient[],
  replies: readonly RecipientReply[],
  mayTryAgain: boolean,
  state: State,
): { readonly unheard: readonly Recipient[]; readonly tooMany: readonly Recipient[] } {
  const { chunk, progress, needs } = state;
  const by = byNow(state);
  const unheard: Recipient[] = [];
  const tooMany: Recipient[] = [];
  const accepted: number[] = [];
  // The first alone was not too many: then it is a refusal like any other.
  const isLimit = (reply: RecipientReply): boolean =>
    isTooManyRecipients(reply) && !isTooManyRecipients(replies[0] ?? NO_REPLY);
  for (const [index, recipient] of recipients.entries()) {
    const reply = replies[index] ?? NO_REPLY;
    const [number] = recipient;
    if (reply.code >= 200 && reply.code < 300) {
      accepted.push(number);
      progress.accepted.set(number, { ...by, reply: wordsOf(reply) });
    } else if (isLimit(reply)) tooMany.push(recipient);
    else if (reply.code === 421 && mayTryAgain && triesOf(number, state) < TRANSACTION_TRIES_MAX)
      unheard.push(recipient);
    else progress.replies.set(number, { ...by, ...reply, reply: refusalOf(reply, state) });
    countRate(recipient, reply, state);
  }
  if (accepted.length > 0) needs.journal.accepted(chunkName(chunk), accepted, by);
  return { unheard, tooMany };
}

function byNow(state: State): By {
  const { clock, route } = state.needs;
  const now = clock.now();
  const isSame = now >= state.by.at && now - state.by.at < SAME_TIME_MS;
  if (!isSame) state.by = { route: route.name, at: now };
  return state.by;
}

/** How often a connection was lost under a recipient, this time counted. */
function triesOf(number: number, { lost }: State): number {
  const tries = (lost.get(number) ?? 0) + 1;
  lost.set(number, tries);
  return tries;
}

/** What stands in the record of a copy that was taken, e.g. the id it has in the MTA's queue. */
const wordsOf = ({ status, reply }: RecipientReply): string =>
  (status === '' ? reply : `${status} ${reply}`).slice(0, TAKEN_CHARS_MAX);

/** What stands in the record, and in the event, of a copy that was not. */
function refusalOf({ reply }: RecipientReply, state: State): string {
  state.refusals += reply.length;
  if (state.refusals <= REFUSALS_CHARS_MAX || reply.length <= REFUSAL_CUT_CHARS) return reply;
  // A copy: a slice would keep the whole in memory.
  return Buffer.from(reply.slice(0, REFUSAL_CUT_CHARS)).toString();
}

/** A provider that only refuses, and for our rate, is left alone for the rest of this try. */
function countRate(recipient: Recipient, reply: RecipientReply, state: State): void {
  const { inARow, order, progress, by } = state;
  const provider = providerOf(recipient);
  const isRate = reply.code >= 400 && reply.code < 500 && causeOf(reply) === 'rate';
  const many = isRate ? (inARow.get(provider) ?? 0) + 1 : 0;
  inARow.set(provider, many);
  if (many < RATE_REFUSALS_MAX || state.isLeft) return;
  const { code, status } = reply;
  const said = `not tried, as others there were refused: ${reply.reply}`;
  for (const [number] of order.drop(provider)) {
    progress.replies.set(number, { ...by, code, status, reply: said });
  }
}

const NO_REPLY: RecipientReply = { code: 0, status: '', reply: 'no reply' };

function transactionOf(
  chunk: Chunk,
  recipients: readonly Recipient[],
  cooked: Ready,
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
    asSent: cooked.asSent,
    eightBit: cooked.eightBit,
    smtputf8,
    ...(envid.length <= ENVID_CHARS_MAX && { envid }),
  };
}
