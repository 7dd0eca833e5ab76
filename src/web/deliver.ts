/**
 * `/d/<token>`: getting a list's mail again, from the link in a probe or a warning.
 *
 *   GET    a page with a button that names whose mail it is, masked; never acts, because link
 *          scanners follow links
 *   POST   turns delivery on again, and says so also where it was on already
 *
 * The token speaks for one member, for this alone; the list decides what it may do.
 */
import type { Context, Hono } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { html } from 'hono/html';
import { page, visible } from './page.ts';
import { problem } from './problem.ts';
import {
  BODY_BYTES_MAX,
  memberOf,
  RETRY_AFTER_S,
  type UnsubscribeNeeds,
  type Verified,
  verify,
} from './unsubscribe.ts';

export function addDeliver(app: Hono, needs: UnsubscribeNeeds): void {
  app.get('/d/:token', async (c) => {
    const verified = await verify(c.req.param('token'), ['d'], needs);
    return verified === null ? unknown(c) : await ask(c, verified, needs);
  });
  app.post(
    '/d/:token',
    bodyLimit({
      maxSize: BODY_BYTES_MAX,
      onError: (c) => problem(c, 413, 'The form is too large.'),
    }),
    async (c) => {
      const verified = await verify(c.req.param('token'), ['d'], needs);
      if (verified === null) return unknown(c);
      const form = await c.req.parseBody().catch(() => null);
      if (form?.confirm !== 'deliver')
        return problem(c, 400, 'Open this address in a browser and press the button.');
      return await turnOn(c, verified, needs);
    },
  );
  app.all('/d/:token', (c) =>
    problem(c, 405, 'Use GET to look and POST to act.', { Allow: 'GET, HEAD, POST' }),
  );
}

function unknown(c: Context): Response | Promise<Response> {
  return problem(c, 404, 'This link is not one of ours, or it was cut off. Copy it whole.');
}

const gone = (c: Context, list: string): Response | Promise<Response> =>
  c.html(page(`You are not on ${list}`, html`<p>To get its mail, join the list again.</p>`));

async function ask(c: Context, verified: Verified, needs: UnsubscribeNeeds): Promise<Response> {
  const member = await memberOf(verified, needs);
  const { list } = verified;
  if (member === 'gone') return await gone(c, list);
  const who = member === 'not known' ? html`this address` : html`<b>${visible(member)}</b>`;
  return await c.html(
    page(
      `Get the mail of ${list} again?`,
      html`<p>This sends the posts of ${visible(list)} to ${who} again.</p>
<form method="post">
<input type="hidden" name="confirm" value="deliver">
<button type="submit">Send them again</button>
</form>`,
    ),
  );
}

async function turnOn(
  c: Context,
  { token, key, list }: Verified,
  needs: UnsubscribeNeeds,
): Promise<Response> {
  const { member: number } = token;
  const reply = await needs.asker.command(key, {
    // Not the token's alone: whoever is disabled again later may press the same button again.
    id: `d.${crypto.randomUUID()}`,
    command: {
      type: 'set-delivery',
      who: { number },
      on: true,
      by: { kind: 'token', member: number },
    },
  });
  if (!reply.ok && 'error' in reply) {
    const again = 'This did not work just now. Please try again in a minute.';
    return await problem(c, 503, again, { 'Retry-After': String(RETRY_AFTER_S) });
  }
  if (!reply.ok && reply.refusal.code === 'not-a-member') return await gone(c, list);
  if (!reply.ok) return await problem(c, 403, reply.refusal.text);
  needs.meter.count('web_delivery_on');
  const text = html`<p>You get its posts again from the next one on.</p>`;
  return await c.html(page(`${list} sends you its mail`, text));
}
