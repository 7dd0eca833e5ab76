/**
 * What a result looks like on the wire. It is kept for 30 days and there is one for each try of each chunk, so it is small: what
 * one route said within a second stands together, a refusal stands once with all who were told it, and so does what the replies to
 * those who were accepted have in common (`2.0.0 Ok: queued as `); a range of one number has one.
 *
 * Before, a result had one route and one time for all that it tells. Those are read too: the stream keeps them 30 days.
 */
import type { Accepted, By, DeferredRecipient, Result } from '../mail/chunk.ts';
import { numbersIn as everyNumberIn, type Range, rangesOfAll } from '../mail/ranges.ts';
import { BadMessage, check, decode, encode, type Fields, isCount, isObject } from './codec.ts';

/** Less than a stored message may have: when 1,500 recipients are each told a story, the stories are cut short. */
export const RESULT_BYTES_MAX = 512 * 1024;
/** Numbers that a range may hold: more than a chunk has. */
const RANGE_MAX = 100_000;
/** To so many characters a reply, one after the other. */
const CUTS: readonly number[] = [1_000, 300, 100, 40, 15, 0];

/** A range as it is written: `[number]`, `[number, rest]`, `[from, to]` or `[from, to, rest]`. */
type Written = readonly (number | string)[];

export function encodeResult(result: Result): Uint8Array {
  let bytes = written(result);
  for (const cut of CUTS) {
    if (bytes.length <= RESULT_BYTES_MAX) break;
    bytes = written(cutShort(result, cut));
  }
  return bytes;
}

/** Throws {@link BadMessage}. */
export function decodeResult(data: Uint8Array): Result {
  const { common = '', cancelled, repeated, ...fields } = decode(data);
  check(fields.kind === 'part' || fields.kind === 'done', 'kind');
  check(isCount(fields.at), 'at');
  check(typeof common === 'string', 'common');
  const { kind, at } = fields;
  const said = fields.said === undefined ? [fields] : listOf(fields.said, 'said');
  const all = said.map((one) => saidIn(one, common));
  return {
    ...{ kind, at },
    accepted: all.flatMap(({ accepted }) => accepted).sort(([a], [b]) => a - b),
    deferred: all.flatMap(({ deferred }) => deferred),
    refused: all.flatMap(({ refused }) => refused),
    ...(cancelled !== undefined && { cancelled: rangesIn(cancelled, 'cancelled') }),
    ...(repeated !== undefined && { repeated: rangesIn(repeated, 'repeated') }),
  };
}

// ── Writing ───────────────────────────────────────────────────────────────

function written({ kind, at, accepted, deferred, refused, ...seldom }: Result): Uint8Array {
  const { cancelled, repeated } = seldom;
  const nameOf = (by: By): string => `${by.at} ${by.route}`;
  const words = [...accepted.map(([, , word]) => word), ...deferred, ...refused];
  const common = commonOf(accepted);
  const copies = Map.groupBy(accepted, ([, , word]) => nameOf(word));
  const waiting = Map.groupBy(deferred, nameOf);
  const gone = Map.groupBy(refused, nameOf);
  const said = [...new Map(words.map((word) => [nameOf(word), word]))].map(([name, by]) => ({
    ...{ route: by.route, at: by.at },
    accepted: copies.get(name)?.map(([from, to, { reply }]) => {
      const numbers = numbersOf([from, to]);
      return reply === '' ? numbers : [...numbers, reply.slice(common.length)];
    }),
    deferred: refusalsOf(waiting.get(name)),
    refused: refusalsOf(gone.get(name)),
  }));
  return encode({
    ...{ kind, at, said },
    ...(common !== '' && { common }),
    ...(cancelled !== undefined && { cancelled: cancelled.map(numbersOf) }),
    ...(repeated !== undefined && { repeated: repeated.map(numbersOf) }),
  });
}

const numbersOf = ([from, to]: Range): Written => (from === to ? [from] : [from, to]);

/** Each refusal once, and who was told it. */
function refusalsOf(list: readonly DeferredRecipient[] = []) {
  if (list.length === 0) return undefined;
  const told = ({ code, status, reply, next }: DeferredRecipient) => ({
    code,
    status,
    reply,
    next,
  });
  return [...Map.groupBy(list, (one) => JSON.stringify(told(one))).values()].flatMap((same) => {
    const to = rangesOfAll(same.map(({ number }) => number)).map(numbersOf);
    return same.slice(0, 1).map((one) => ({ ...told(one), to }));
  });
}

/** What all replies begin with. */
function commonOf(accepted: readonly Accepted[]): string {
  const replies = accepted.flatMap(([, , { reply }]) => (reply === '' ? [] : [reply]));
  let common = replies[0] ?? '';
  if (replies.length < 2) return '';
  for (const reply of replies) while (!reply.startsWith(common)) common = common.slice(0, -1);
  return common;
}

function cutShort(result: Result, characters: number): Result {
  const cut = <T extends { readonly reply: string }>(one: T): T => ({
    ...one,
    reply: one.reply.slice(0, characters),
  });
  return {
    ...result,
    accepted: result.accepted.map(([from, to, word]) => [from, to, cut(word)]),
    deferred: result.deferred.map(cut),
    refused: result.refused.map(cut),
  };
}

// ── Reading ───────────────────────────────────────────────────────────────

/** What one route said at one time; in an old result, all of it. */
function saidIn(said: unknown, common: string): Pick<Result, 'accepted' | 'deferred' | 'refused'> {
  check(isObject(said) && typeof said.route === 'string' && isCount(said.at), 'said');
  const { accepted = [], deferred = [], refused = [] } = said;
  const by: By = { route: said.route, at: said.at };
  const refusals = (value: unknown, what: string): DeferredRecipient[] =>
    listOf(value, what).flatMap((one) => refusalsIn(one, by, what));
  return {
    accepted: listOf(accepted, 'accepted').map((one): Accepted => {
      const [from, to] = rangeIn(one, 'accepted');
      const reply = (one as Written).at(-1);
      return [from, to, { ...by, reply: typeof reply === 'string' ? `${common}${reply}` : '' }];
    }),
    deferred: refusals(deferred, 'deferred'),
    refused: refusals(refused, 'refused'),
  };
}

/** The numbers of a range; what was said may stand after them. */
function rangeIn(value: unknown, what: string): Range {
  check(Array.isArray(value), what);
  const numbers: unknown[] = typeof value.at(-1) === 'string' ? value.slice(0, -1) : value;
  const [from, to = from] = numbers;
  check(numbers.length <= 2 && isCount(from) && isCount(to), what);
  check(from <= to && to - from < RANGE_MAX, what);
  return [from, to];
}

const rangesIn = (value: unknown, what: string): readonly Range[] =>
  listOf(value, what).map((one) => rangeIn(one, what));

function refusalsIn(value: unknown, by: By, what: string): DeferredRecipient[] {
  check(isObject(value), what);
  const { code, status, reply, next } = value;
  check(typeof code === 'number' && typeof status === 'string', what);
  check(typeof reply === 'string' && (next === undefined || isCount(next)), what);
  const told = { ...by, code, status, reply, ...(next !== undefined && { next }) };
  return numbersIn(value, what).map((number) => ({ number, ...told }));
}

/** An old result has each refusal by itself. */
function numbersIn({ number, to }: Fields, what: string): readonly number[] {
  if (isCount(number)) return [number];
  return rangesIn(to, what).flatMap(everyNumberIn);
}

function listOf(value: unknown, what: string): readonly unknown[] {
  if (!Array.isArray(value)) throw new BadMessage(`not ours: ${what}`);
  return value;
}
