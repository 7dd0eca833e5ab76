/**
 * What chunks, commands, results and due things look like on the wire: JSON with a schema number.
 *
 * Decoding checks the shape that the reader relies on: a rogue client or a newer schema must end in
 * a clear error that parks the message, never in a half-understood one.
 */
import { type Chunk, CLASSES, type OrderRow, type Recipient } from '../mail/chunk.ts';
import { parseListKey } from '../mail/list-key.ts';
import type { Asked, Due } from '../world.ts';

/** Raised when a reader of the old schema would misread what is written now. */
export const SCHEMA = 1;

/** What came from NATS is not what this version writes. The runner loop parks it whole. */
export class BadMessage extends Error {
  override readonly name = 'BadMessage';
}

export type Fields = Readonly<Record<string, unknown>>;

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true });

export function encodeChunk(chunk: Chunk): Uint8Array {
  return encode(chunk);
}

/** Throws {@link BadMessage}. */
export function decodeChunk(data: Uint8Array): Chunk {
  const chunk = decode(data);
  checkChunk(chunk);
  return chunk;
}

export function encodeAsked<C>(asked: Asked<C>): Uint8Array {
  return encode(asked);
}

/**
 * The command is an object with a `type`; what it carries is for `decide` to judge. Throws {@link
 * BadMessage}.
 */
export function decodeAsked<C>(data: Uint8Array): Asked<C> {
  return askedOf(decode(data));
}

export function encodeOrder(row: OrderRow): Uint8Array {
  return encode(row);
}

/** An earlier build put no entry beside an order: it is older than any. Throws {@link BadMessage}. */
export function decodeOrder(data: Uint8Array): OrderRow {
  const { order, n = 0, index = 0 } = decode(data);
  check(order === 'go' || order === 'pause' || order === 'cancel', 'order');
  check(isCount(n) && isCount(index), 'n, index');
  return { order, n, index };
}

export function encodeDue<C>(due: Due<C>): Uint8Array {
  return encode(due);
}

/** Throws {@link BadMessage}. */
export function decodeDue<C>(data: Uint8Array): Due<C> {
  const fields = decode(data);
  if (fields.to === 'outgoing') {
    const { chunk } = fields;
    checkChunk(chunk);
    return { to: 'outgoing', chunk };
  }
  check(fields.to === 'mailbox', 'to');
  const key = parseListKey(String(fields.key));
  if (key === null) throw new BadMessage('not ours: key');
  return { to: 'mailbox', key, asked: askedOf(fields.asked) };
}

/** JSON with the schema's number. */
export function encode(value: object): Uint8Array {
  return encoder.encode(JSON.stringify({ v: SCHEMA, ...value }));
}

/** Throws {@link BadMessage} for what is no object of this schema. */
export function decode(data: Uint8Array): Fields {
  let value: unknown;
  try {
    value = JSON.parse(decoder.decode(data));
  } catch (error) {
    throw new BadMessage('not JSON in UTF-8', { cause: error });
  }
  check(isObject(value), 'an object');
  const { v, ...fields } = value;
  if (v !== SCHEMA) {
    throw new BadMessage(`schema ${JSON.stringify(v)}, and this version reads ${SCHEMA}`);
  }
  return fields;
}

function askedOf<C>(value: unknown): Asked<C> {
  check(isObject(value), 'asked');
  const { id, command } = value;
  check(typeof id === 'string' && id !== '' && id.length <= ID_LENGTH_MAX, 'id');
  check(isObject(command) && typeof command.type === 'string', 'command');
  return { id, command: command as C };
}

const ID_LENGTH_MAX = 256;
/** As `chunkName` puts them into a subject: one token each. */
const POST = /^[a-z0-9]{1,64}$/;
const CHUNK = /^[a-z0-9][a-z0-9-]{0,63}$/;

/** What it does not know is left in it: a retry is written by whoever read the try before. */
function checkChunk(value: unknown): asserts value is Chunk {
  check(isObject(value), 'chunk');
  const { key, post, chunk, class: cls, recipe, mail, to } = value;
  check(typeof key === 'string' && parseListKey(key) !== null, 'key');
  check(typeof post === 'string' && POST.test(post), 'post');
  check(typeof chunk === 'string' && CHUNK.test(chunk), 'chunk');
  check(isCount(value.try), 'try');
  check(isClass(cls), 'class');
  check(value.was === undefined || isClass(value.was), 'was');
  check(isObject(recipe) && isRecipe(recipe), 'recipe');
  check(isObject(mail) && (typeof mail.inline === 'string' || isMailRef(mail)), 'mail');
  check(isArrayOf(to, isRecipient), 'to');
  check(value.waits === undefined || isArrayOf(value.waits, isWait), 'waits');
  check(value.pausedAt === undefined || isCount(value.pausedAt), 'pausedAt');
  check(typeof value.firstAt === 'number', 'firstAt');
  check(typeof value.trace === 'string', 'trace');
}

const isClass = (value: unknown): boolean => CLASSES.some((known) => known === value);

function isRecipe(recipe: Fields): boolean {
  const { kind, mode } = recipe;
  return (
    RECIPE_KINDS.some((known) => known === kind) &&
    (mode === 'individual' || mode === 'shared') &&
    RECIPE_TEXTS.every((name) => typeof recipe[name] === 'string') &&
    isCount(recipe.postNumber)
  );
}

const RECIPE_KINDS = ['post', 'forward', 'notice', 'probe'];
const RECIPE_TEXTS = [
  'list',
  'displayName',
  'description',
  'subjectPrefix',
  'footer',
  'web',
  'messageId',
];

function isMailRef(mail: Fields): boolean {
  const { in: where, seq, parts } = mail;
  return (
    (where === 'mail' || where === 'held' || where === 'archive') &&
    isCount(seq) &&
    (parts === undefined || isArrayOf(parts, isCount))
  );
}

/**
 * An address is spoken into an SMTP session: no space, control or angle bracket, whoever wrote it.
 */
const SPEAKABLE = /^[^\p{Cc}\s<>]{1,254}@[^\p{Cc}\s<>@]{1,254}$/u;

function isRecipient(value: unknown): value is Recipient {
  return (
    Array.isArray(value) &&
    value.length === 2 &&
    isCount(value[0]) &&
    typeof value[1] === 'string' &&
    SPEAKABLE.test(value[1])
  );
}

const isWait = (value: unknown): boolean =>
  Array.isArray(value) && value.length === 2 && value.every(isCount);

export function isArrayOf(value: unknown, isOne: (value: unknown) => boolean): boolean {
  return Array.isArray(value) && value.every(isOne);
}

export function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

export function isObject(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function check(claim: unknown, what: string): asserts claim {
  if (!claim) throw new BadMessage(`not ours: ${what}`);
}
