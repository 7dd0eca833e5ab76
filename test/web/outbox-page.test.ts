/** The outbox in a real browser: hostile mail is text there and nothing else. */
import { type Browser, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startWeb, type Web } from '../../src/web/server.ts';
import { captured, fakeWeb, tokenFor } from './fakes.ts';

const HOSTILE = captured(
  2,
  `Subject: =?UTF-8?Q?=3Cimg_src=3Dx_onerror=3D"document.title=3D'pwned'"=3E?=
From: "</pre><script>document.title='pwned'</script>" <a@example.org>

<script>document.title='pwned'</script>
<img src="http://127.0.0.1:9/x.png" onerror="document.title='pwned'">
<a href="javascript:document.title='pwned'">click</a> & \u202etxet
`,
);
const HARMLESS = captured(1, 'Subject: A first post\nFrom: jane@example.org\n\nHello, list.\n');

let browser: Browser;
let web: Web;
const needs = fakeWeb([HARMLESS, HOSTILE]);

beforeAll(async () => {
  web = await startWeb({ listen: '127.0.0.1', port: 0 }, needs);
  browser = await chromium.launch({
    executablePath: '/usr/bin/chromium',
    chromiumSandbox: false,
    args: [
      '--disable-quic',
      '--disable-background-networking',
      '--no-first-run',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
});
afterAll(async () => {
  await browser?.close();
  await web?.stop();
});

/** A page that remembers what it loaded and what the browser complained of. */
async function open(path: string): Promise<{ page: Page; loaded: string[]; complaints: string[] }> {
  const page = await browser.newPage();
  const loaded: string[] = [];
  const complaints: string[] = [];
  page.on('request', (request) => loaded.push(new URL(request.url()).pathname));
  page.on('console', (message) => complaints.push(message.text()));
  await page.goto(`http://127.0.0.1:${web.port}${path}`);
  return { page, loaded, complaints };
}

test('a newcomer finds the captured mail and reads it', async () => {
  const { page, complaints } = await open('/');
  await page.getByRole('link', { name: 'Outbox' }).click();
  await page.getByRole('link', { name: 'A first post' }).click();
  expect(await page.title()).toBe('A first post');
  expect(await page.locator('#text').innerText()).toBe('Hello, list.\n');
  // Our own style is let through by our own policy.
  expect(
    await page
      .locator('pre')
      .first()
      .evaluate((pre) => pre.ownerDocument.styleSheets.length),
  ).toBe(1);
  expect(complaints).toEqual([]);
  await page.close();
});

test('a hostile mail is shown as text: nothing runs, nothing is loaded', async () => {
  const list = await open('/outbox');
  expect(await list.page.locator('tbody img, tbody script').count()).toBe(0);
  expect(list.loaded).toEqual(['/outbox']);
  await list.page.close();

  const { page, loaded } = await open('/outbox/2');
  expect(await page.title()).toBe(`<img src=x onerror="document.title='pwned'">`);
  expect(await page.locator('script, img, iframe, link, a[href^="javascript"]').count()).toBe(0);
  expect(await page.locator('#raw').innerText()).toContain(
    `<script>document.title='pwned'</script>`,
  );
  expect(await page.locator('#raw').innerText()).not.toContain('\u202e');
  expect(loaded).toEqual(['/outbox/2']);
  await page.close();
});

test('the policy keeps even an injected script from running', async () => {
  const { page, complaints } = await open('/outbox');
  await page.evaluate(`
    const script = document.createElement('script');
    script.textContent = "document.title = 'pwned'";
    document.body.append(script);
  `);
  expect(await page.title()).toBe('Outbox');
  expect(complaints.join()).toContain('Content Security Policy');
  await page.close();
});

test('somebody leaves a list: the link, the button, the word that it is done', async () => {
  const { page } = await open(`/u/${tokenFor('f', 7)}`);
  expect(await page.locator('main, body').innerText()).toContain('j…@m….com');
  expect(needs.members.has(7)).toBe(true);
  await page.getByRole('button', { name: 'Leave the list' }).click();
  await page.getByText('You have left dev@lists.example.org').waitFor();
  expect(needs.members.has(7)).toBe(false);
  await page.reload();
  expect(await page.locator('h1').innerText()).toContain('You have left');
  await page.close();
});
