/**
 * What a result looks like on the wire. It is kept for 30 days and there is one for each try of each chunk, so it is small: what
 * the replies of those who were accepted have in common (`2.0.0 Ok: queued as `) stands there once, and a range of one number
 * has one.
 */
import type { Result } from '../mail/chunk.ts';
import type { Range } from '../mail/ranges.ts';
import {
  BadMessage,
  check,
  decode,
  encode,
  type Fields,
  isArrayOf,
  isCount,
  isObject,
} from './codec.ts';

/** Less than a stored message may have: when 1,500 recipients are each told a story, the stories are cut short. */
export const RESULT_BYTES_MAX = 512 * 1024;
/** Numbers that a range may hold: more than a chunk has. */
const RANGE_MAX = 100_000;
/** To so many characters a reply, one after the other. */
const CUTS: readonly number[] = [100, 40, 15, 0];

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
  const { common = '', accepted, cancelled, ...fields } = decode(data);
  check(typeof common === 'string', 'common');
  checkRest(fields);
  return {
    ...fields,
    accepted: rangesIn(accepted, 'accepted', common),
    ...(cancelled !== undefined && { cancelled: rangesIn(cancelled, 'cancelled', '') }),
  };
}

function written(result: Result): Uint8Array {
  const { accepted, cancelled, ...rest } = result;
  const common = commonOf(accepted);
  return encode({
    ...rest,
    ...(common !== '' && { common }),
    accepted: accepted.map((range) => writtenRange(range, common.length)),
    ...(cancelled !== undefined && { cancelled: cancelled.map((range) => writtenRange(range, 0)) }),
  });
}

function writtenRange([from, to, reply]: Range, skip: number): Written {
  const numbers = from === to ? [from] : [from, to];
  return reply === undefined ? numbers : [...numbers, reply.slice(skip)];
}

function rangesIn(value: unknown, what: string, common: string): readonly Range[] {
  if (!Array.isArray(value)) throw new BadMessage(`not ours: ${what}`);
  return value.map((one: unknown): Range => {
    check(Array.isArray(one) && isCount(one[0]), what);
    const [from, second, third] = one as [number, unknown, unknown];
    const to = isCount(second) ? second : from;
    const rest = isCount(second) ? third : second;
    check(one.length <= 3 && (rest === undefined || typeof rest === 'string'), what);
    check(isCount(second) || one.length <= 2, what);
    check(from <= to && to - from < RANGE_MAX, what);
    return rest === undefined ? [from, to] : [from, to, `${common}${rest}`];
  });
}

/** What all replies begin with. */
function commonOf(ranges: readonly Range[]): string {
  const replies = ranges.flatMap(([, , reply]) => (reply === undefined ? [] : [reply]));
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
    accepted: result.accepted.map(([from, to, reply]) =>
      reply === undefined ? [from, to] : [from, to, reply.slice(0, characters)],
    ),
    deferred: result.deferred.map(cut),
    refused: result.refused.map(cut),
  };
}

/** All but the ranges. */
function checkRest(fields: Fields): asserts fields is Omit<Result, 'accepted' | 'cancelled'> {
  check(fields.kind === 'part' || fields.kind === 'done', 'kind');
  check(typeof fields.at === 'number', 'at');
  check(typeof fields.route === 'string', 'route');
  check(isArrayOf(fields.deferred, isRefusal), 'deferred');
  check(isArrayOf(fields.refused, isRefusal), 'refused');
}

function isRefusal(value: unknown): value is Fields {
  return (
    isObject(value) &&
    isCount(value.number) &&
    typeof value.code === 'number' &&
    typeof value.status === 'string' &&
    typeof value.reply === 'string' &&
    (value.next === undefined || isCount(value.next))
  );
}
