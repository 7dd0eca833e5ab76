/** What clients of a simulated world share, and how they ask: again and again until there is an answer, or once. */
import type { Answer, Command } from '../../actors/protocol.ts';
import type { Address } from '../../src/mail/address.ts';
import type { MailKind } from '../../src/mail/envelope.ts';
import { type ListKey, slotOf } from '../../src/mail/list-key.ts';
import type { AskReply, AskRequest } from '../../src/nats/ask.ts';
import type { Chance } from './chance.ts';
import { Violation } from './model.ts';
import type { World } from './world.ts';

export type SimList = {
  readonly key: ListKey;
  readonly address: Address;
  readonly people: readonly Address[];
};

/** A mail as its client has it. */
export type Sent = {
  readonly kind: MailKind;
  /** For each list it went to, the id that its command must have. */
  readonly ids: readonly { readonly key: ListKey; readonly id: string }[];
  isAcked: boolean;
};

/** All clients together. */
export type State = {
  readonly world: World;
  readonly chance: Chance;
  readonly lists: SimList[];
  readonly mails: Sent[];
  pending: number;
  counted: number;
  /** The newest record that anybody was told of, by list: no later answer may be older. */
  readonly told: Map<ListKey, number>;
};

/** Waits in the world's own time. */
export const pause = ({ world }: State, ms: number): Promise<void> =>
  new Promise((resolve) => void world.timeline.after(ms, '', resolve));

/** A name that nothing else has. */
export function next(state: State, what: string): string {
  state.counted += 1;
  return `${what}${state.counted}`;
}

const ANSWER_MS_MAX = 6_000;
export const AGAIN_MS: readonly [number, number] = [300, 5_000];
/** One in so many clients gives up after its first try. */
export const GIVES_UP = 0.1;

/** One try; null when nobody answers. */
function tryAsk(state: State, key: ListKey, request: AskRequest): Promise<AskReply | null> {
  const { world, chance } = state;
  const { timeline, bus } = world;
  const servers = [...(bus.asks.get(slotOf(key)) ?? [])];
  if (servers.length === 0) return Promise.resolve(null);
  const { life, handler } = chance.pick(servers);
  return new Promise((resolve) => {
    const off = timeline.after(ANSWER_MS_MAX, '', () => resolve(null));
    life.hear('ask', () => {
      const answered = handler(key, request).then((reply) => {
        if (reply === null) return;
        life.tell('answer', () => {
          off();
          resolve(reply);
        });
      });
      answered.catch((error) => world.fail(error));
    });
  });
}

/** Asks until there is an answer; null if the client gave up. */
export async function ask<A = Answer>(
  state: State,
  key: ListKey,
  request: AskRequest,
): Promise<A | null> {
  const { world, chance, told } = state;
  state.pending += 1;
  try {
    const tries = chance.is(GIVES_UP) ? 1 : Number.POSITIVE_INFINITY;
    for (let attempt = 0; attempt < tries; attempt++) {
      const floor = told.get(key) ?? 0;
      const reply = await tryAsk(state, key, request);
      if (reply?.ok === true) {
        if (reply.seq < floor)
          world.fail(
            new Violation(
              `${key}: ${reply.node} answers from ${reply.seq} in epoch ${reply.epoch}, but ${floor} was told before`,
            ),
          );
        told.set(key, Math.max(told.get(key) ?? 0, reply.seq));
        return reply.answer as A;
      }
      if (reply !== null && 'refusal' in reply) return null;
      await pause(state, chance.between(...AGAIN_MS));
    }
    return null;
  } finally {
    state.pending -= 1;
  }
}

/** Asks a command, once by its id however often it is sent; null if the client gave up or was refused. */
export async function command(
  state: State,
  key: ListKey,
  wanted: Command,
  id = next(state, 'c'),
): Promise<Answer | null> {
  state.world.oracle.sent(key, id);
  return ask(state, key, { id, command: wanted });
}
