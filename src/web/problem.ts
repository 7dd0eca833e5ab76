/**
 * What is answered when something is wrong: problem JSON (RFC 9457), or a page for who asked for
 * HTML.
 */
import type { Context } from 'hono';
import { html } from 'hono/html';
import { page } from './page.ts';

export type ProblemStatus = 400 | 403 | 404 | 405 | 408 | 413 | 415 | 500 | 503;

const TITLES: Readonly<Record<ProblemStatus, string>> = {
  400: 'Not understood',
  403: 'Not from here',
  404: 'Not found',
  405: 'Not that way',
  408: 'Too slow',
  413: 'Too large',
  415: 'Not in this form',
  500: 'Our fault',
  503: 'Not now',
};

/** One answer for one problem. `detail` is for strangers: it names no host, path or setting. */
export function problem(
  c: Context,
  status: ProblemStatus,
  detail: string,
  headers: Readonly<Record<string, string>> = {},
): Response | Promise<Response> {
  for (const [name, value] of Object.entries(headers)) c.header(name, value);
  const title = TITLES[status];
  if (wantsHtml(c)) return c.html(page(title, html`<p>${detail}</p>`), status);
  c.header('Content-Type', 'application/problem+json');
  return c.body(JSON.stringify({ type: 'about:blank', title, status, detail }), status);
}

/** True for a browser: it names text/html itself, where a program says nothing or star. */
export function wantsHtml(c: Context): boolean {
  return /(?:^|[\s,])text\/html\b/i.test(c.req.header('accept') ?? '');
}
