/**
 * `/u/<token>`: leaving a list from a mail (RFC 8058, RFC 2369 §3.2).
 *
 *   GET    a page with a button that names whom it would remove, masked; never acts, because
 *          link scanners follow links
 *   POST   removes at once, and answers 200 even where the member is gone already
 *
 * The token of the List-Unsubscribe header (`w`) acts on the mail provider's one-click POST and on
 * the button; the one of a footer (`f`), which people quote and forward, on the button alone. There
 * is no login, cookie or redirect. What a token may do is decided by the list's actor: the token
 * speaks for that one member only.
 */
import type { Context, Hono } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { html } from 'hono/html';
import type { Refusal } from '../../actors/protocol.ts';
import { type Address, domainOf, localPartOf } from '../mail/address.ts';
import type { ListKey } from '../mail/list-key.ts';
import {
  type ParsedToken,
  parseToken,
  type TokenKind,
  verifyMachine,
} from '../mail/machine-address.ts';
import type { Asker } from '../nats/ask.ts';
import type { Meter } from '../world.ts';
import { page, visible } from './page.ts';
import { problem, wantsHtml } from './problem.ts';

/** `List-Unsubscribe=One-Click` as multipart takes some 200 bytes. */
export const BODY_BYTES_MAX = 8 * 1024;
/** When a provider may try again, seconds. */
export const RETRY_AFTER_S = 60;

export type UnsubscribeNeeds = {
  /** All site secrets that may have signed. */
  secrets(): readonly Uint8Array[];
  /** The keys that begin so; asked of the leader where no mirror knows. */
  keysByPrefix(prefix: string): Promise<readonly ListKey[]> | readonly ListKey[];
  addressOf(key: ListKey): Address | null;
  readonly asker: Asker;
  readonly meter: Meter;
};

/** A token that is really ours: whose, on which list. */
export type Verified = {
  readonly token: ParsedToken;
  readonly key: ListKey;
  readonly list: string;
};

const LEAVING: readonly TokenKind[] = ['w', 'f'];

/** Refusals that leave the member where a leave would have. */
const GONE: readonly Refusal['code'][] = [
  'not-a-member',
  'retired',
  'no-such-list',
  'nothing-to-do',
];

export function addUnsubscribe(app: Hono, needs: UnsubscribeNeeds): void {
  app.get('/u/:token', async (c) => {
    const verified = await verify(c.req.param('token'), LEAVING, needs);
    return verified === null ? unknown(c) : await ask(c, verified, needs);
  });
  app.post(
    '/u/:token',
    bodyLimit({
      maxSize: BODY_BYTES_MAX,
      onError: (c) => problem(c, 413, 'The form is too large.'),
    }),
    async (c) => {
      const verified = await verify(c.req.param('token'), LEAVING, needs);
      if (verified === null) return unknown(c);
      const how = await intentOf(c);
      if (how === 'other-type') {
        return problem(c, 415, 'Send a form: urlencoded or multipart (RFC 8058).');
      }
      if (how === null || (how === 'one-click' && verified.token.kind !== 'w')) {
        return problem(c, 400, 'Open this address in a browser and press the button.');
      }
      return await leave(c, verified, how, needs);
    },
  );
  app.all('/u/:token', (c) =>
    problem(c, 405, 'Use GET to look and POST to leave.', { Allow: 'GET, HEAD, POST' }),
  );
}

/**
 * The same for a token that is no token, one with a wrong MAC, and one of a list that we do not
 * have.
 */
function unknown(c: Context): Response | Promise<Response> {
  return problem(c, 404, 'This link is not one of ours, or it was cut off. Copy it whole.');
}

/** Whose token it is, if it is one of these kinds; null for any other text. */
export async function verify(
  text: string,
  kinds: readonly TokenKind[],
  needs: UnsubscribeNeeds,
): Promise<Verified | null> {
  for (const kind of kinds) {
    const token = parseToken(kind, text);
    if (token === null) return null;
    const keys = await needs.keysByPrefix(token.prefix);
    const key = verifyMachine(token, keys, needs.secrets());
    if (key !== null) return { token, key, list: needs.addressOf(key) ?? 'the list' };
  }
  return null;
}

// ── GET ───────────────────────────────────────────────────────────────────

async function ask(c: Context, verified: Verified, needs: UnsubscribeNeeds): Promise<Response> {
  const member = await memberOf(verified, needs);
  const { list } = verified;
  if (member === 'gone') {
    return await c.html(page(`You are not on ${list}`, html`<p>There is nothing left to do.</p>`));
  }
  const who = member === 'not known' ? html`this address` : html`<b>${visible(member)}</b>`;
  return await c.html(
    page(
      `Leave ${list}?`,
      html`<p>This removes ${who} from ${visible(list)}.</p>
<form method="post">
<input type="hidden" name="confirm" value="leave">
<button type="submit">Leave the list</button>
</form>`,
    ),
  );
}

/**
 * The member's address, masked: who was forwarded a mail sees that it is not about them, and not
 * much more.
 */
export async function memberOf({ token, key }: Verified, needs: UnsubscribeNeeds): Promise<string> {
  const after = token.member - 1;
  const reply = await needs.asker.question(key, { ask: 'roster', role: 'member', after, limit: 1 });
  if (!reply.ok) return 'refusal' in reply ? 'gone' : 'not known';
  const [member] = reply.answer.members ?? [];
  return member?.number === token.member ? masked(member.address) : 'gone';
}

/** `jane@lists.example.org` as `j…@l….org`. */
export function masked(address: Address): string {
  const domain = domainOf(address);
  const top = domain.slice(domain.lastIndexOf('.') + 1);
  return `${first(localPartOf(address))}…@${first(domain)}….${top}`;
}

const first = (text: string): string => [...text.replace(/^"/, '')][0] ?? '';

// ── POST ──────────────────────────────────────────────────────────────────

type How = 'one-click' | 'button';

/** What the form asks for; null where it is no form of ours. */
async function intentOf(c: Context): Promise<How | 'other-type' | null> {
  const type = c.req.header('content-type') ?? '';
  if (!/^(?:application\/x-www-form-urlencoded|multipart\/form-data)\b/i.test(type)) {
    return 'other-type';
  }
  try {
    const form = await c.req.parseBody();
    if (form['List-Unsubscribe'] === 'One-Click') return 'one-click';
    return form.confirm === 'leave' ? 'button' : null;
  } catch {
    return null; // A multipart body that cannot be read.
  }
}

async function leave(
  c: Context,
  { token, key, list }: Verified,
  how: How,
  needs: UnsubscribeNeeds,
): Promise<Response> {
  const { member, post, kind } = token;
  const reply = await needs.asker.command(key, {
    // Numbers are never used again, so a second press is the same command.
    id: `${kind}.${member}.${post}`,
    command: { type: 'remove-member', who: { number: member }, by: { kind: 'token', member } },
  });
  if (!reply.ok && 'error' in reply) {
    const again = 'This did not work just now. Please try again in a minute.';
    return await problem(c, 503, again, { 'Retry-After': String(RETRY_AFTER_S) });
  }
  if (!reply.ok && !GONE.includes(reply.refusal.code)) {
    return await problem(c, 403, reply.refusal.text);
  }
  if (reply.ok) needs.meter.count('web_unsubscribed', { how });
  if (!wantsHtml(c)) return c.text(`You are not on ${list} any more.\n`);
  return await c.html(
    page(
      `You have left ${list}`,
      html`<p>You will get no more mail from it. What is on its way may still arrive.</p>`,
    ),
  );
}
