/** Getting mail again by the link in a warning: who may, what acts, and what never does. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { startWeb, type Web } from '../../src/web/server.ts';
import { type FakeWeb, fakeWeb, tokenFor } from './fakes.ts';

let needs: FakeWeb;
let web: Web;
const url = (token: string): string => `http://127.0.0.1:${web.port}/d/${token}`;
const press = (token: string, confirm = 'deliver'): Promise<Response> =>
  fetch(url(token), { method: 'POST', body: new URLSearchParams({ confirm }) });

beforeEach(async () => {
  needs = fakeWeb();
  web = await startWeb({ listen: '127.0.0.1', port: 0 }, needs);
});
afterEach(() => web.stop());

test('a GET shows a button and whose mail it is, masked, and asks the list for nothing', async () => {
  const page = await fetch(url(tokenFor('d', 7)));
  expect(page.status).toBe(200);
  const text = await page.text();
  expect(text).toContain('j…@m….com');
  expect(text).toContain('<button type="submit">');
  expect(needs.asked).toEqual([]);
});

test('a POST of the button turns delivery on, and may be done again', async () => {
  for (const reply of [await press(tokenFor('d', 7)), await press(tokenFor('d', 7))])
    expect(reply.status).toBe(200);
  const command = {
    ...{ type: 'set-delivery', who: { number: 7 }, on: true },
    by: { kind: 'token', member: 7 },
  };
  expect(needs.asked.map((asked) => asked.command)).toEqual([command, command]);
  expect(new Set(needs.asked.map(({ id }) => id)).size).toBe(2);
});

test.each(['b', 'u', 'w', 'f'] as const)(
  'a token for another use (%s) is not one of ours here',
  async (kind) => {
    expect((await fetch(url(tokenFor(kind, 7)))).status).toBe(404);
    expect((await press(tokenFor(kind, 7))).status).toBe(404);
    expect(needs.asked).toEqual([]);
  },
);

test('a POST that is not of the button, and a wrong MAC, do nothing', async () => {
  expect((await press(tokenFor('d', 7), 'leave')).status).toBe(400);
  expect((await press(tokenFor('d', 7, new Uint8Array(32).fill(9)))).status).toBe(404);
  expect((await fetch(url(tokenFor('d', 7)), { method: 'PUT' })).status).toBe(405);
  expect(needs.asked).toEqual([]);
});

test('where the list cannot be asked now, a person is told to try again', async () => {
  const error = { code: 451, status: '4.3.0', text: 'not now' };
  needs.failure = { ok: false, error };
  expect((await press(tokenFor('d', 7))).status).toBe(503);
});
