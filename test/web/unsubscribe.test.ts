/** Leaving by a web link: who may, what acts, and what never does. */
import { request } from 'node:http';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { parseAddress } from '../../src/mail/address.ts';
import { startWeb, type Web } from '../../src/web/server.ts';
import { BODY_BYTES_MAX, masked } from '../../src/web/unsubscribe.ts';
import { type FakeWeb, fakeWeb, KEY, tokenFor } from './fakes.ts';

let needs: FakeWeb;
let web: Web;
const url = (token: string): string => `http://127.0.0.1:${web.port}/u/${token}`;
const HTML = { accept: 'text/html,application/xhtml+xml' };
const ONE_CLICK = new URLSearchParams({ 'List-Unsubscribe': 'One-Click' });
const BUTTON = new URLSearchParams({ confirm: 'leave' });
const post = (
  token: string,
  body: NonNullable<RequestInit['body']>,
  headers = {},
): Promise<Response> => fetch(url(token), { method: 'POST', body, headers });

beforeEach(async () => {
  needs = fakeWeb();
  web = await startWeb({ listen: '127.0.0.1', port: 0 }, needs);
});
afterEach(() => web.stop());

describe('a one-click POST', () => {
  test('removes the member at once and answers 200', async () => {
    const reply = await post(tokenFor('w', 7), ONE_CLICK);
    expect(reply.status).toBe(200);
    expect(await reply.text()).toBe('You are not on dev@lists.example.org any more.\n');
    expect(needs.members.has(7)).toBe(false);
    expect(needs.asked).toEqual([
      {
        id: 'w.7.5',
        command: { type: 'remove-member', who: { number: 7 }, by: { kind: 'token', member: 7 } },
      },
    ]);
    expect(needs.counted).toEqual(['web_unsubscribed']);
  });

  test('is understood as multipart too, as RFC 8058 wants', async () => {
    const form = new FormData();
    form.set('List-Unsubscribe', 'One-Click');
    expect((await post(tokenFor('w', 7), form)).status).toBe(200);
    expect(needs.members.has(7)).toBe(false);
  });

  test('answers 200 where the member is gone already, and where the list is retired', async () => {
    expect((await post(tokenFor('w', 8), ONE_CLICK)).status).toBe(200);
    const refusal = { type: 'refusal', code: 'retired', text: 'the list is retired' } as const;
    needs.failure = { ok: false, refusal };
    expect((await post(tokenFor('w', 7), ONE_CLICK)).status).toBe(200);
    expect(needs.counted).toEqual([]);
  });

  test('sets no cookie and sends nobody elsewhere', async () => {
    const reply = await post(tokenFor('w', 7), ONE_CLICK);
    expect(reply.redirected).toBe(false);
    expect(reply.headers.get('set-cookie')).toBeNull();
  });

  test('is told to try again later while nobody runs the list', async () => {
    const error = { code: 451, status: '4.3.2', text: 'no node runs this list now' };
    needs.failure = { ok: false, error };
    const reply = await post(tokenFor('w', 7), ONE_CLICK);
    expect(reply.status).toBe(503);
    expect(reply.headers.get('retry-after')).toBe('60');
    expect(reply.headers.get('content-type')).toBe('application/problem+json');
  });

  test('with the token of a footer does nothing: that one needs the button', async () => {
    expect((await post(tokenFor('f', 7), ONE_CLICK)).status).toBe(400);
    expect(needs.asked).toEqual([]);
    expect((await post(tokenFor('f', 7), BUTTON)).status).toBe(200);
    expect(needs.members.has(7)).toBe(false);
  });
});

describe('looking at the link', () => {
  test.each(['GET', 'HEAD'])('%s never acts, whoever follows it', async (method) => {
    const reply = await fetch(url(tokenFor('w', 7)), { method, headers: HTML });
    expect(reply.status).toBe(200);
    expect(needs.asked).toEqual([]);
    expect(needs.members.has(7)).toBe(true);
  });

  test('the page has a button, and names the address masked', async () => {
    const text = await (await fetch(url(tokenFor('f', 7)), { headers: HTML })).text();
    expect(text).toContain('<form method="post">');
    expect(text).toContain('j…@m….com');
    expect(text).not.toContain('jane');
    expect(text).toContain('dev@lists.example.org');
  });

  test('the page of a member who left says so, also when the next member has a higher number', async () => {
    needs.members.delete(7).valueOf();
    needs.members.set(9, 'other@example.net');
    const text = await (await fetch(url(tokenFor('f', 7)), { headers: HTML })).text();
    expect(text).toContain('You are not on dev@lists.example.org');
    expect(text).not.toContain('<form');
  });

  test('no cache keeps it, no other site learns the token, no script may run', async () => {
    const { headers } = await fetch(url(tokenFor('w', 7)));
    expect(headers.get('cache-control')).toBe('no-store');
    expect(headers.get('referrer-policy')).toBe('no-referrer');
    expect(headers.get('x-content-type-options')).toBe('nosniff');
    expect(headers.get('content-security-policy')).toMatch(
      /^default-src 'none'; style-src 'sha256-/,
    );
  });
});

describe('what is not ours', () => {
  const cases: [string, () => string][] = [
    ['no token', () => 'x'],
    ['a token of another site', () => tokenFor('w', 7, new Uint8Array(32).fill(8))],
    ['a leave address made into a link', () => tokenFor('u', 7)],
    ['a bounce address made into a link', () => tokenFor('b', 7)],
    ['a list that we do not have', () => tokenFor('w', 7).replace(/^./, 'a')],
  ];
  test.each(cases)('%s is 404, and all of them alike', async (_, token) => {
    const reply = await post(token(), ONE_CLICK);
    const other = await post('y', ONE_CLICK);
    expect([reply.status, await reply.text()]).toEqual([404, await other.text()]);
    expect(needs.asked).toEqual([]);
  });

  test('no other token than the one that was made is taken', async () => {
    const token = tokenFor('w', 7);
    const changed = fc
      .tuple(fc.nat(token.length - 1), fc.constantFrom(...'abcdefghijklmnopqrstuvwxyz234567'))
      .map(([at, c]) => token.slice(0, at) + c + token.slice(at + 1))
      .filter((text) => text !== token);
    await fc.assert(
      fc.asyncProperty(changed, async (text) => (await post(text, ONE_CLICK)).status === 404),
      { numRuns: 60 },
    );
    expect(needs.asked).toEqual([]);
    expect(KEY).toHaveLength(26);
  });

  test('a body that is no form of ours is refused and does nothing', async () => {
    const token = tokenFor('w', 7);
    expect((await post(token, new URLSearchParams({ x: 'y' }))).status).toBe(400);
    expect((await post(token, '{}', { 'content-type': 'application/json' })).status).toBe(415);
    const broken = { 'content-type': 'multipart/form-data; boundary=b' };
    expect((await post(token, '--b\r\nnonsense', broken)).status).toBe(400);
    expect((await fetch(url(token), { method: 'DELETE' })).status).toBe(405);
    expect(needs.asked).toEqual([]);
    expect(needs.logged).toEqual([]);
  });

  test('a body over the limit is refused, whether its length was told or not', async () => {
    const big = 'x'.repeat(BODY_BYTES_MAX + 1);
    const form = { 'content-type': 'application/x-www-form-urlencoded' };
    expect((await post(tokenFor('w', 7), big, form)).status).toBe(413);
    expect(await chunked(url(tokenFor('w', 7)), big)).toBe(413);
    expect(needs.asked).toEqual([]);
  });

  test('problems are JSON for programs and a page for browsers', async () => {
    const json = await (await fetch(url('x'))).json();
    expect(json).toMatchObject({ type: 'about:blank', status: 404, title: 'Not found' });
    const reply = await fetch(url('x'), { headers: HTML });
    expect(reply.headers.get('content-type')).toMatch(/^text\/html/);
    expect(reply.status).toBe(404);
  });
});

test('a masked address keeps no more than two letters and the end of the domain', () => {
  const addresses = fc.emailAddress().map((text) => parseAddress(text));
  fc.assert(
    fc.property(
      addresses.filter((a) => a !== null),
      (address) => /^.…@.…\.[^@.]+$/u.test(masked(address)),
    ),
  );
});

/** POSTs without a Content-Length; resolves with the status. */
function chunked(target: string, body: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/x-www-form-urlencoded' };
    const sent = request(target, { method: 'POST', headers }, (reply) => {
      reply.resume();
      resolve(reply.statusCode ?? 0);
    });
    sent.on('error', reject);
    sent.flushHeaders();
    sent.end(body);
  });
}
