/**
 * What comes from outside as commands and questions, parsed once at the door: known types only,
 * sizes bounded, addresses through the one grammar. Unknown fields are refused rather than dropped:
 * they are a later version's words.
 */
import { z } from 'zod';
import { ADD_MEMBERS_MAX, type Command, type Question, RESEND_MAX } from '../../actors/protocol.ts';
import { domainOf, parseAddress, parseListAddress } from '../mail/address.ts';
import type { AskRequest } from './ask.ts';

/** A value, or why it is refused: one line for the person who asked. */
export type Parsed<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly why: string };

/** Names, subjects, ids of messages: far more than a header line carries (RFC 5322 §2.1.1). */
const LINE_LENGTH_MAX = 1_024;
/** Footers, descriptions, a moderator's words. */
const TEXT_LENGTH_MAX = 16_384;
/** Owners given with `create`; addresses in From. */
const ADDRESSES_MAX = 100;
/** Parts of one stored mail (mail-store.ts). */
const PARTS_MAX = 512;
const PROBLEMS_MAX = 16;
/** Rows of a page: an answer must fit one message. */
/** Our own trace line. */
const RECEIVED_LENGTH_MAX = 1_000;
export const PAGE_LENGTH_MAX = 1_000;

const line = z.string().max(LINE_LENGTH_MAX);
const text = z.string().max(TEXT_LENGTH_MAX);
const count = z.number().int().nonnegative();
const commandId = z.string().regex(/^[\x21-\x7e]{1,200}$/);

const address = z.string().transform((value, ctx) => {
  const parsed = parseAddress(value);
  if (parsed !== null) return parsed;
  ctx.addIssue({ code: 'custom', message: 'not a mail address' });
  return z.NEVER;
});
/**
 * A name that a list may have, on whichever domain; the site's domains are known to who reserves
 * it.
 */
const listAddress = address.refine(
  (value) => parseListAddress(value, [domainOf(value)]) === value,
  'not a name that a list may have',
);
const addresses = z.array(address).max(ADDRESSES_MAX);
const reversePath = z.union([z.literal(''), address]);

const by = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('operator'), name: line }),
  z.strictObject({ kind: z.literal('person'), address }),
  z.strictObject({ kind: z.literal('token'), member: count }),
  z.strictObject({ kind: z.literal('list') }),
]);

const settings = z.strictObject({
  displayName: line.exactOptional(),
  description: text.exactOptional(),
  posting: z.enum(['closed', 'members', 'anyone']).exactOptional(),
  mode: z.enum(['individual', 'shared']).exactOptional(),
  subjectPrefix: line.exactOptional(),
  footer: text.exactOptional(),
  maxMessageBytes: count.exactOptional(),
  bounceScoring: z.enum(['reasons', 'mailman3', 'off']).exactOptional(),
  bounceThreshold: z.number().exactOptional(),
  bounceWarnings: count.exactOptional(),
  bounceWarningDays: count.exactOptional(),
  bounceNotices: z.enum(['none', 'removals', 'all']).exactOptional(),
  bounceSuspects: z.boolean().exactOptional(),
});

const mailRef = z.strictObject({
  in: z.enum(['mail', 'held', 'archive']),
  seq: count,
  parts: z.array(count).max(PARTS_MAX).exactOptional(),
});

const post = z.strictObject({
  id: z.string().regex(/^[0-9a-f]{64}$/),
  from: addresses,
  sender: reversePath,
  subject: line,
  messageId: line,
  messageIdIsOurs: z.boolean(),
  bytes: count,
  automatic: z.boolean(),
  smtputf8: z.boolean(),
  problems: z.array(z.literal('suspicious-mime')).max(PROBLEMS_MAX),
  authentication: z.literal('none'),
  mail: mailRef,
  receivedAt: count,
  received: z.string().max(RECEIVED_LENGTH_MAX),
  trace: line,
});

const postOrder = z.enum(['go', 'pause', 'cancel']);
const role = z.enum(['owner', 'moderator']);
const newMember = z.strictObject({ address, name: line });
const who = z.union([z.strictObject({ address }), z.strictObject({ number: count })]);

/** What the bounce actor says; a bounce's own words are cut long before they come here. */
const cause = z.strictObject({
  seq: count,
  reason: line,
  status: line.nullable(),
  code: count.nullable(),
  diagnostic: line,
  elsewhere: z.strictObject({ list: address, since: count }).exactOptional(),
});
const troubles = [
  z.strictObject({
    type: z.literal('bounce-verdict'),
    verdict: z.enum(['probe', 'disable', 'warn', 'remove', 're-enable']),
    member: count,
    count,
    complaint: z.boolean(),
    cause: cause.nullable(),
    storm: z.literal(true).exactOptional(),
  }),
  z.strictObject({ type: z.literal('bounce-hint'), address, cause }),
  z.strictObject({
    type: z.literal('bounce-storm'),
    post: count,
    reason: line,
    bounced: count,
    members: count,
    blame: z.enum(['post', 'sender-domain', 'route', 'provider']),
    where: line,
  }),
  z.strictObject({ type: z.literal('set-delivery'), who, on: z.boolean(), by }),
  z.strictObject({ type: z.literal('tell-owners'), due: count }),
] as const;

const command = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('create'),
    address: listAddress,
    settings,
    owners: addresses,
    moderators: addresses.exactOptional(),
    by,
  }),
  z.strictObject({ type: z.literal('set'), settings, by }),
  z.strictObject({ type: z.literal('declare-emergency'), by }),
  z.strictObject({ type: z.literal('lift-emergency'), by }),
  z.strictObject({ type: z.literal('retire'), by }),
  z.strictObject({ type: z.literal('post'), post }),
  z.strictObject({ type: z.literal('owner-mail'), mail: post }),
  z.strictObject({
    type: z.literal('add-members'),
    members: z.array(newMember).max(ADD_MEMBERS_MAX),
    by,
  }),
  z.strictObject({ type: z.literal('remove-member'), who, by }),
  z.strictObject({ type: z.literal('grant'), role, address, by }),
  z.strictObject({ type: z.literal('revoke'), role, address, by }),
  z.strictObject({ type: z.literal('approve'), hold: count, by }),
  z.strictObject({ type: z.literal('reject'), hold: count, comment: text, by }),
  z.strictObject({ type: z.literal('discard'), hold: count, by }),
  z.strictObject({ type: z.literal('order-post'), post: count, order: postOrder, by }),
  z.strictObject({
    type: z.literal('resend'),
    post: count,
    to: z.array(count).max(RESEND_MAX),
    by,
  }),
  z.strictObject({ type: z.literal('tell-moderators'), due: count.exactOptional() }),
  z.strictObject({ type: z.literal('keep-hold'), hold: count, tries: count }),
  z.strictObject({ type: z.literal('repair'), from: count, to: count, by }),
  ...troubles,
]);

const limit = z.number().int().min(1).max(PAGE_LENGTH_MAX);
const numbers = z.array(count).max(PAGE_LENGTH_MAX);
const question = z.discriminatedUnion('ask', [
  z.strictObject({ ask: z.literal('list') }),
  z.strictObject({
    ask: z.literal('inspect'),
    level: z.enum(['fast', 'confirmed', 'barrier']).exactOptional(),
  }),
  z.strictObject({
    ask: z.literal('roster'),
    role: z.enum(['member', 'owner', 'moderator']),
    after: z.number().int().min(-1),
    limit,
  }),
  z.strictObject({ ask: z.literal('chain') }),
  z.strictObject({ ask: z.literal('holds'), after: count, limit }),
  z.strictObject({ ask: z.literal('hold'), hold: count }),
  z.strictObject({ ask: z.literal('posts'), before: count, limit, by }),
  z.strictObject({
    ask: z.literal('post'),
    post: count,
    by,
    recipient: address.exactOptional(),
    numbers: numbers.exactOptional(),
  }),
  z.strictObject({ ask: z.literal('bounces'), after: z.number().int().min(-1), limit }),
  z.strictObject({ ask: z.literal('bounces-of'), who }),
  z.strictObject({ ask: z.literal('bounce-report') }),
]);

const request = z.union([
  z.strictObject({ id: commandId, command: z.unknown() }),
  z.strictObject({ question: z.unknown() }),
]);

/** Parses a command. Never throws. */
export function parseCommand(value: unknown): Parsed<Command> {
  return parsed<Command>(command.safeParse(value));
}

/** Parses a question. Never throws. */
export function parseQuestion(value: unknown): Parsed<Question> {
  return parsed<Question>(question.safeParse(value));
}

/**
 * Parses the payload of a `troupe.ask` request: `{id, command}` or `{question}` as JSON. Never
 * throws.
 */
export function parseAskRequest(payload: Uint8Array): Parsed<AskRequest> {
  let json: unknown;
  try {
    json = JSON.parse(utf8.decode(payload));
  } catch {
    return { ok: false, why: 'not JSON in UTF-8' };
  }
  const asked = request.safeParse(json);
  if (!asked.success) return { ok: false, why: 'neither {id, command} nor {question}' };
  if ('question' in asked.data) {
    const inner = parseQuestion(asked.data.question);
    return inner.ok ? { ok: true, value: { question: inner.value } } : inner;
  }
  const inner = parseCommand(asked.data.command);
  return inner.ok ? { ok: true, value: { id: asked.data.id, command: inner.value } } : inner;
}

const utf8 = new TextDecoder('utf-8', { fatal: true });
/** A refusal names one problem, shortly; a thousand bad members would have a thousand. */
const WHY_LENGTH_MAX = 300;

function parsed<T>(result: z.ZodSafeParseResult<T>): Parsed<T> {
  if (result.success) return { ok: true, value: result.data };
  const [first] = result.error.issues;
  const where = first?.path.join('.') ?? '';
  const why = `${where === '' ? '' : `${where}: `}${first?.message ?? 'not understood'}`;
  return { ok: false, why: why.slice(0, WHY_LENGTH_MAX) };
}
