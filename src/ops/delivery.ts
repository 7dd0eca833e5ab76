/**
 * "Who got it?": what the list's owner knows of a post, and who may ask, put together with the record of what became of its mail.
 */
import type { By } from '../../actors/protocol.ts';
import type { PostFacts, PostView } from '../../actors/protocol-posts.ts';
import { MailError, OperatorError } from '../errors.ts';
import type { Address } from '../mail/address.ts';
import { type Fate, type FateState, repeatedIn, standOf, stands, storyOf } from '../mail/fate.ts';
import type { ListKey } from '../mail/list-key.ts';
import type { Asker } from '../nats/ask.ts';
import type { Nats } from '../nats/connect.ts';
import { resultsByRange, resultsOfRange } from '../nats/delivery-record.ts';
import type {
  DeliveryAnswer,
  DeliveryFailures,
  DeliveryReport,
  DeliverySource,
  DeliveryStory,
} from '../nats/delivery-view.ts';
import { type Problematic, problem } from './inspect.ts';

/** Reasons that a report names. */
const REASONS_MAX = 20;
/** Replies in one answer, bytes: with what stands beside them it must fit one message of 1 MB. */
const REPLIES_BYTES_MAX = 512 * 1024;
/** Of a reply that would not fit. */
const REPLY_CUT_CHARS = 300;

export type DeliveryNeeds = {
  readonly node: string;
  now(): number;
  keyOf(list: Address): Promise<ListKey | null>;
  readonly asker: Asker;
  readonly nats: Nats;
};

type Known = { readonly list: Address; readonly key: ListKey; readonly facts: PostFacts };

/** Throws OperatorError where the list says no, MailError where it or NATS cannot be asked. */
export function deliveryOf(needs: DeliveryNeeds): DeliverySource {
  return async (list, request, by) => {
    const key = await needs.keyOf(list);
    if (key === null) throw new OperatorError(`there is no list ${list}`, '');
    const { post, recipient } = request;
    const facts = await ask(needs, key, { post, by, ...(recipient && { recipient }) });
    const known = { list, key, facts };
    if (recipient !== undefined) return await story(known, recipient, needs);
    return request.failed === undefined
      ? await report(known, needs)
      : await failures(known, request.failed, by, needs);
  };
}

/** For who reads JSON: what the list refused is an answer too. */
export async function inspectDelivery(
  source: DeliverySource,
  needs: Pick<DeliveryNeeds, 'node' | 'now'>,
  ...asked: Parameters<DeliverySource>
): Promise<(DeliveryAnswer & { readonly node: string; readonly asOf: number }) | Problematic> {
  try {
    return { node: needs.node, asOf: needs.now(), ...(await source(...asked)) };
  } catch (error) {
    if (!(error instanceof OperatorError)) throw error;
    return problem(needs, 'refused', error.message);
  }
}

type PostAsked = {
  readonly post: number;
  readonly by: By;
  readonly recipient?: Address;
  readonly numbers?: readonly number[];
};

async function ask({ asker }: DeliveryNeeds, key: ListKey, asked: PostAsked): Promise<PostFacts> {
  const reply = await asker.question(key, { ask: 'post', ...asked });
  if (reply.ok) return reply.answer;
  if ('refusal' in reply) throw new OperatorError(reply.refusal.text, '', reply.refusal);
  throw new MailError(451, '4.3.2', reply.error.text);
}

function viewOf({ number, at, subject, recipients, order }: PostFacts): PostView {
  return { number, at, subject, recipients, order };
}

async function story(
  { list, key, facts }: Known,
  recipient: Address,
  { nats }: DeliveryNeeds,
): Promise<DeliveryStory> {
  const fates: Fate[] = [];
  let isRepeated = false;
  for (const number of facts.recipient) {
    const range = Math.floor(number / facts.width);
    const told = await resultsOfRange(nats, key, facts.number, range);
    fates.push(...storyOf(told, number));
    isRepeated ||= repeatedIn(told).has(number);
  }
  const queued = facts.recipient.length > 0 && !facts.isOff ? 'queued' : null;
  const state = standOf(fates)?.state ?? queued;
  const mayHaveTwice = state === 'handed' && isRepeated;
  return { ...viewOf(facts), list, recipient, state, mayHaveTwice, story: cutToFit(fates) };
}

/** The newest replies are whole. */
function cutToFit(fates: readonly Fate[]): readonly Fate[] {
  const whole = fitting(fates.toReversed());
  const isWhole = (index: number): boolean => index >= fates.length - whole;
  return fates.map((fate, index) =>
    isWhole(index) ? fate : { ...fate, reply: fate.reply.slice(0, REPLY_CUT_CHARS) },
  );
}

/** How many of them, from the first on, have replies that fit one answer; one at least. */
function fitting(fates: readonly Fate[]): number {
  let bytes = 0;
  const more = fates.findIndex(({ reply }) => {
    bytes += Buffer.byteLength(JSON.stringify(reply));
    return bytes > REPLIES_BYTES_MAX;
  });
  return more < 0 ? fates.length : Math.max(more, 1);
}

async function report(
  { list, key, facts }: Known,
  { nats }: DeliveryNeeds,
): Promise<DeliveryReport> {
  const counts: Record<FateState, number> = { handed: 0, deferred: 0, refused: 0, cancelled: 0 };
  const routes: Record<string, number> = {};
  const reasons = new Map<string, { readonly fate: Fate; recipients: number }>();
  let mayHaveTwice = 0;
  let firstAt: number | null = null;
  let lastAt: number | null = null;
  let nextAt: number | null = null;
  for await (const told of resultsByRange(nats, key, facts.number)) {
    const repeated = repeatedIn(told);
    for (const [number, fate] of stands(told)) {
      const { state, code, status, next, at } = fate;
      counts[state] += 1;
      if (next !== null) nextAt = Math.min(nextAt ?? next, next);
      if (state === 'handed') {
        if (repeated.has(number)) mayHaveTwice += 1;
        routes[fate.route] = (routes[fate.route] ?? 0) + 1;
        firstAt = Math.min(firstAt ?? at, at);
        lastAt = Math.max(lastAt ?? at, at);
      } else if (state !== 'cancelled') {
        const name = `${state} ${code} ${status}`;
        const reason = reasons.get(name) ?? { fate, recipients: 0 };
        reasons.set(name, { ...reason, recipients: reason.recipients + 1 });
      }
    }
  }
  const known = Object.values(counts).reduce((sum, count) => sum + count, 0);
  return {
    ...viewOf(facts),
    list,
    counts: { ...counts, queued: Math.max(0, facts.recipients - known) },
    mayHaveTwice,
    routes,
    firstAt,
    lastAt,
    nextAt,
    reasons: [...reasons.values()]
      .sort((a, b) => b.recipients - a.recipients)
      .slice(0, REASONS_MAX)
      .map(({ fate: { state, code, status, reply }, recipients }) => {
        return { state, code, status, recipients, reply };
      }),
  };
}

async function failures(
  { list, key, facts }: Known,
  page: { readonly after: number; readonly limit: number },
  by: By,
  needs: DeliveryNeeds,
): Promise<DeliveryFailures> {
  const found: (readonly [number, Fate])[] = [];
  // Ranges come in the order of their numbers, so a page is whole once it is full.
  for await (const told of resultsByRange(needs.nats, key, facts.number)) {
    const refused = [...stands(told)].filter(
      ([number, { state }]) => state === 'refused' && number > page.after,
    );
    found.push(...refused.sort(([a], [b]) => a - b));
    if (found.length > page.limit) break;
  }
  const shown = found.slice(0, Math.min(page.limit, fitting(found.map(([, fate]) => fate))));
  const numbers = shown.map(([number]) => number);
  const { members } = await ask(needs, key, { post: facts.number, by, numbers });
  const addresses = new Map(members);
  return {
    ...viewOf(facts),
    list,
    failures: shown.map(([number, { state: _, next: __, ...fate }]) => {
      return { number, address: addresses.get(number) ?? null, ...fate };
    }),
    next: found.length > shown.length ? (numbers.at(-1) ?? null) : null,
  };
}
