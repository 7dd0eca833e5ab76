/**
 * Asking a list's owner: a command whose caller waits, or a question (design §4 "Two ways into an
 * actor's queue").
 *
 * No answer means not known: the command may have been decided. So it is asked again with the same
 * id, and the list answers what it answered before. Where nobody owns the slot, NATS says so at
 * once: a question's caller is told, a command waits as long as a hand-over takes.
 */
import type { ChainView } from '../../actors/list/repairing.ts';
import type {
  Answer,
  Command,
  HeldPost,
  HoldsPage,
  ListInspection,
  ListView,
  Question,
  Refusal,
  RosterPage,
} from '../../actors/protocol.ts';
import type { PostFacts, PostsPage } from '../../actors/protocol-posts.ts';
import { systemClock } from '../clock.ts';
import { textOf } from '../errors.ts';
import type { ListKey } from '../mail/list-key.ts';
import type { Asked } from '../world.ts';
import type { Nats } from './connect.ts';
import { ask } from './subjects.ts';

export type AskRequest = Asked<Command> | { readonly question: Question };

/** `error` is a failure of the world: 4.x.x may be asked again, with the same id. */
export type AskError = { readonly code: number; readonly status: string; readonly text: string };

/**
 * `answer` where it was accepted; who answered, under which epoch, and how far the list's ledger
 * then was.
 */
export type AskReply<A = unknown> =
  | {
      readonly ok: true;
      readonly answer: A;
      readonly node: string;
      readonly epoch: number;
      /** Stream sequence and number of the list's last record. */
      readonly seq: number;
      readonly n: number;
    }
  | { readonly ok: false; readonly refusal: Refusal }
  | { readonly ok: false; readonly error: AskError };

/** What each question is answered; null where there is no such thing. */
export type AnswerTo<Q extends Question> = Q extends { ask: 'list' }
  ? ListView
  : Q extends { ask: 'inspect' }
    ? ListInspection
    : Q extends { ask: 'chain' }
      ? ChainView
      : Q extends { ask: 'roster' }
        ? RosterPage
        : Q extends { ask: 'holds' }
          ? HoldsPage
          : Q extends { ask: 'posts' }
            ? PostsPage
            : Q extends { ask: 'post' }
              ? PostFacts
              : HeldPost | null;

/** `nobody`: no node owns the list now, so nothing was done. `silent`: no answer in time, so that is not known. */
export type Outcome<A> = AskReply<A> | 'nobody' | 'silent';

/** Never throws: what went wrong is in the reply. */
export type Asker = {
  /** One try. */
  once(key: ListKey, asked: Asked<Command>): Promise<Outcome<Answer>>;
  command(key: ListKey, asked: Asked<Command>): Promise<AskReply<Answer>>;
  question<Q extends Question>(key: ListKey, question: Q): Promise<AskReply<AnswerTo<Q>>>;
};

/** How long one try waits for the owner, ms: an append and its commit take a few. */
export const ASK_MS_MAX = 2_000;
/** Tries of the same request before its caller is told that the outcome is not known. */
export const ASK_TRIES_MAX = 5;
/** A planned hand-over takes less (design §13); for so long a command is asked again where nobody owns its list, ms. */
const HANDOVER_MS_MAX = 3_000;
const HANDOVER_POLL_MS = 50;

/** Nobody owns the list's slot at this moment: nothing was done. */
export const NO_OWNER: AskError = {
  code: 451,
  status: '4.3.2',
  text: 'no node runs this list now; try again in some seconds',
};
/** It may have been done; asked again with the same id, it counts once. */
export const NO_ANSWER: AskError = {
  code: 451,
  status: '4.4.2',
  text: 'no answer, so it is not known whether it was done; ask again with the same id',
};

/**
 * An asker over this connection. While NATS is away a request waits for it, as long as its tries
 * last.
 */
export function createAsker(
  nats: Nats,
  limits: {
    readonly timeoutMs?: number;
    readonly tries?: number;
    readonly handoverMs?: number;
  } = {},
): Asker {
  const timeoutMs = limits.timeoutMs ?? ASK_MS_MAX;
  const triesMax = limits.tries ?? ASK_TRIES_MAX;
  const handoverMs = limits.handoverMs ?? HANDOVER_MS_MAX;

  async function attempt<A>(key: ListKey, payload: string): Promise<Outcome<A>> {
    try {
      const reply = await nats.nc.request(ask(key), payload, { timeout: timeoutMs });
      return replyOf<A>(reply.json());
    } catch (error) {
      const code = (error as { code?: unknown }).code;
      if (code === NO_RESPONDERS) return 'nobody';
      if (code === TIMEOUT || code === DISCONNECT) return 'silent';
      return { ok: false, error: notAsked(error) };
    }
  }

  /** Null: nobody owns the list now. */
  async function request<A>(key: ListKey, asked: AskRequest): Promise<AskReply<A> | null> {
    const payload = JSON.stringify(asked);
    for (let tries = 0; tries < triesMax; tries++) {
      const outcome = await attempt<A>(key, payload);
      if (outcome === 'nobody') return null;
      if (outcome !== 'silent') return outcome;
    }
    return { ok: false, error: NO_ANSWER };
  }

  return {
    once: (key, { id, command }) => attempt(key, JSON.stringify({ id, command })),
    async command(key, { id, command }) {
      const until = systemClock.monotonic() + handoverMs;
      for (;;) {
        const reply = await request<Answer>(key, { id, command });
        if (reply !== null) return reply;
        if (systemClock.monotonic() >= until) return { ok: false, error: NO_OWNER };
        await systemClock.sleep(HANDOVER_POLL_MS);
      }
    },
    question: async (key, question) =>
      (await request(key, { question })) ?? { ok: false, error: NO_OWNER },
  };
}

/** The codes of the client library. */
const NO_RESPONDERS = '503';
const TIMEOUT = 'TIMEOUT';
const DISCONNECT = 'DISCONNECT';
const TOO_LARGE = 'MAX_PAYLOAD_EXCEEDED';

/** What answers is a node of this site; only what is not a reply at all is caught here. */
function replyOf<A>(reply: unknown): AskReply<A> {
  if (typeof reply === 'object' && reply !== null && 'ok' in reply) return reply as AskReply<A>;
  throw new Error('the answer is no reply');
}

/** The client would not send it (too large, closed), or the answer cannot be read. */
function notAsked(error: unknown): AskError {
  return (error as { code?: unknown }).code === TOO_LARGE
    ? { code: 552, status: '5.3.4', text: 'the request is too large for one message' }
    : { code: 451, status: '4.3.0', text: `cannot be asked now: ${textOf(error)}` };
}
