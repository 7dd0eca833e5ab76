/**
 * `/outbox`: the mail that the `capture` route kept, for whoever tries Troupe out. Everything of a
 * mail is shown as text; nothing of it is ever interpreted.
 *
 * It shows whole mails to whoever can reach it, so it answers this machine only, and only under a
 * name of its own: a page elsewhere that points its name at 127.0.0.1 (DNS rebinding) must not read
 * it.
 */
import { getConnInfo } from '@hono/node-server/conninfo';
import type { Context, Hono, MiddlewareHandler } from 'hono';
import { html } from 'hono/html';
import { MailError } from '../errors.ts';
import {
  OUTBOX_RAW_MAX,
  type OutboxEntry,
  type OutboxMail,
  type OutboxSource,
  parseOutboxRequest,
} from '../nats/outbox-view.ts';
import { page, timeOf, visible } from './page.ts';
import { problem } from './problem.ts';

/** Recipients named in a row; the rest are counted. */
const NAMED_MAX = 3;

export type OutboxNeeds = {
  /** Null where a route is configured: then there is no such page. */
  readonly outbox: OutboxSource | null;
  /** The readable text of a message, '' if it cannot be had. */
  preview(raw: Uint8Array): Promise<string>;
  /** Host names, besides localhost and bare addresses, under which we are asked. */
  readonly hosts: readonly string[];
};

export function addOutbox(app: Hono, { outbox, preview, hosts }: OutboxNeeds): void {
  if (outbox === null) {
    app.on('GET', ['/outbox', '/outbox/*'], (c) =>
      problem(c, 404, 'Mail is sent to an MTA here, so none is kept to be looked at.'),
    );
    return;
  }
  const guard = forThisMachine(hosts, 'troupe outbox');
  app.get('/outbox', guard, async (c) => {
    const before = Number(c.req.query('before') ?? Number.NaN);
    const found = await orAway(outbox.page(parseOutboxRequest({ before }) as object));
    if (found === 'away') return await problem(c, 503, AWAY);
    return await c.html(page('Outbox', listing(found.mails, found.count)));
  });
  app.get('/outbox/:id', guard, async (c) => {
    const id = /^\d{1,15}$/.test(c.req.param('id')) ? Number(c.req.param('id')) : -1;
    const found: OutboxMail | 'away' = await orAway(outbox.mail(id));
    if (found === 'away') return await problem(c, 503, AWAY);
    const { mail } = found;
    if (mail === null) return await problem(c, 404, 'No such mail was kept.');
    const raw = Buffer.from(mail.raw, 'base64');
    return await c.html(page(mail.subject || '(no subject)', whole(mail, raw, await preview(raw))));
  });
}

const AWAY = 'The node that keeps the mail does not answer. Try again in a moment.';

async function orAway<T>(asked: Promise<T>): Promise<T | 'away'> {
  return await asked.catch((error: unknown) => {
    if (error instanceof MailError) return 'away' as const;
    throw error;
  });
}

/** Refuses other machines, what a proxy passes on for them, and names that are not ours; `elsewhere`: the verb that shows it. */
export function forThisMachine(hosts: readonly string[], elsewhere: string): MiddlewareHandler {
  return async (c, next) => {
    const isForwarded = ['forwarded', 'x-forwarded-for'].some((name) => c.req.header(name));
    if (!isLoopback(peerOf(c)) || isForwarded || !isOwnName(c.req.header('host') ?? '', hosts)) {
      return await problem(c, 403, `This is shown on its own machine only: ${elsewhere}`);
    }
    return await next();
  };
}

function peerOf(c: Context): string {
  return getConnInfo(c).remote.address ?? '';
}

export function isLoopback(address: string): boolean {
  return /^(?:::ffff:)?127\.|^::1$/i.test(address);
}

/** A bare address, localhost, or one of `hosts`; whatever the port. */
export function isOwnName(host: string, hosts: readonly string[]): boolean {
  const name = host.toLowerCase().replace(/:\d+$/, '');
  return (
    name === 'localhost' ||
    /^\d{1,3}(?:\.\d{1,3}){3}$/.test(name) ||
    /^\[[0-9a-f:.]+\]$/.test(name) ||
    hosts.includes(name)
  );
}

// ── Pages ─────────────────────────────────────────────────────────────────

function listing(mails: readonly OutboxEntry[], count: number) {
  if (mails.length === 0) return html`<p>Nothing was captured yet. Send a post to a list.</p>`;
  const last = mails.at(-1)?.id ?? 0;
  const older = last <= 1 ? '' : html`<a href="/outbox?before=${last}">Older</a>`;
  return html`<p>${count} kept. No route is configured, so mail is kept here and sent nowhere.</p>
<table>
<thead><tr><th>At</th><th>To</th><th>Subject</th><th>Bytes</th></tr></thead>
<tbody>${mails.map(
    (mail) => html`
<tr>
<td>${timeOf(mail.at)}</td>
<td>${visible(recipientsText(mail.recipients))}</td>
<td><a href="/outbox/${mail.id}">${visible(mail.subject) || '(no subject)'}</a></td>
<td class="number">${mail.bytes}</td>
</tr>`,
  )}
</tbody>
</table>
<p>${older}</p>`;
}

function whole(mail: OutboxEntry, raw: Uint8Array, text: string) {
  const more = mail.bytes - OUTBOX_RAW_MAX;
  return html`<p><a href="/outbox">Outbox</a></p>
<table>
<tr><th>At</th><td>${timeOf(mail.at)}</td></tr>
<tr><th>Return path</th><td>${visible(`<${mail.sender}>`)}</td></tr>
<tr><th>To</th><td>${visible(mail.recipients.join(', '))}</td></tr>
</table>
${text === '' ? '' : html`<h2>Text</h2><pre id="text">${visible(text)}</pre>`}
<h2>As it would have been sent</h2>
<pre id="raw">${visible(new TextDecoder().decode(raw))}</pre>
${more > 0 ? html`<p class="quiet">${more} more bytes are not shown.</p>` : ''}`;
}

function recipientsText(recipients: readonly string[]): string {
  const more = recipients.length - NAMED_MAX;
  const named = recipients.slice(0, NAMED_MAX).join(', ');
  return more > 0 ? `${named} and ${more} more` : named;
}
