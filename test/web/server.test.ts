/** The rest of HTTP: who may see the outbox, what watches us, and what a bad client gets. */
import { connect } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { isLoopback, isOwnName } from '../../src/web/outbox.ts';
import { startWeb, type Web } from '../../src/web/server.ts';
import { captured, type FakeWeb, fakeWeb } from './fakes.ts';

const MAIL = captured(1, 'Subject: hello\nFrom: a@example.org\n\nhi there\n');
let needs: FakeWeb;
let web: Web;
const get = (path: string, headers: Record<string, string> = {}): Promise<Response> =>
  fetch(`http://127.0.0.1:${web.port}${path}`, { headers });

beforeEach(async () => {
  needs = fakeWeb([MAIL]);
  web = await startWeb({ listen: '127.0.0.1', port: 0 }, needs);
});
afterEach(() => web.stop());

describe('the outbox', () => {
  test('lists what was captured and shows one mail', async () => {
    expect(await (await get('/outbox')).text()).toContain('href="/outbox/1">hello</a>');
    const mail = await (await get('/outbox/1')).text();
    expect(mail).toContain('hi there');
    expect(mail).toContain('&lt;b+xyz@lists.example.org&gt;');
  });

  test('is not there when a route is configured', async () => {
    await web.stop();
    web = await startWeb({ listen: '127.0.0.1', port: 0 }, fakeWeb(null));
    expect((await get('/outbox')).status).toBe(404);
    expect((await get('/outbox/1')).status).toBe(404);
  });

  test('is not shown to who comes through a proxy', async () => {
    expect((await get('/outbox', { 'x-forwarded-for': '192.0.2.1' })).status).toBe(403);
  });

  test('is not shown under a name that is not ours: DNS rebinding', async () => {
    expect(await raw('GET /outbox HTTP/1.1\r\nHost: evil.example\r\n\r\n')).toMatch(
      /^HTTP\/1.1 403/,
    );
    expect(await raw('GET /outbox HTTP/1.1\r\nHost: LocalHost:80\r\n\r\n')).toMatch(
      /^HTTP\/1.1 200/,
    );
  });

  test.each(['/outbox/2', '/outbox/x', '/outbox/-1', '/outbox/1e0'])('%s is 404', async (path) => {
    expect((await get(path)).status).toBe(404);
  });

  test('older pages are asked for by id', async () => {
    expect(await (await get('/outbox?before=1')).text()).toContain('Nothing was captured');
    expect((await get('/outbox?before=nonsense')).status).toBe(200);
  });
});

test('loopback and own names are told from others', () => {
  expect(['127.0.0.1', '::1', '::ffff:127.0.0.1'].map(isLoopback)).toEqual([true, true, true]);
  expect(['192.0.2.1', '::ffff:10.0.0.1', '', '128.0.0.1'].some(isLoopback)).toBe(false);
  const own = ['127.0.0.1:8080', '[::1]:8080', 'localhost', 'lists.example.org:443'];
  expect(own.every((host) => isOwnName(host, ['lists.example.org']))).toBe(true);
  expect(
    ['', 'localhost.evil.example', '127.0.0.1.nip.example'].some((h) => isOwnName(h, [])),
  ).toBe(false);
});

describe('what watches us', () => {
  test('health is 200 with problems named; ready is 503 until it is so', async () => {
    const problems = [{ what: 'NATS is away', nextStep: 'See that it runs.' }];
    Object.assign(needs, {
      health: () => ({ status: 'degraded', isReady: false, node: 'n1', problems }),
    });
    await web.stop();
    web = await startWeb({ listen: '127.0.0.1', port: 0 }, needs);
    const health = await get('/health');
    expect([health.status, await health.json()]).toMatchObject([
      200,
      { status: 'degraded', problems },
    ]);
    const ready = await get('/ready');
    expect([ready.status, await ready.json()]).toMatchObject([503, { ready: false }]);
    const page = await (await get('/', { accept: 'text/html' })).text();
    expect(page).toContain('NATS is away. See that it runs.');
  });

  test('metrics come in the text format of Prometheus', async () => {
    const reply = await get('/metrics');
    expect(reply.headers.get('content-type')).toBe('text/plain; version=0.0.4');
    expect(await reply.text()).toBe('troupe_up 1\n');
  });
});

describe('a bad client', () => {
  test('gets a problem for a page that is not there', async () => {
    const reply = await get('/nonsense');
    expect(reply.status).toBe(404);
    expect(await reply.json()).toMatchObject({ status: 404 });
  });

  test('a handler that throws is logged once and tells nothing of why', async () => {
    Object.assign(needs.metrics, {
      page: () => {
        throw new Error('secret path');
      },
    });
    const reply = await get('/metrics');
    expect(reply.status).toBe(500);
    expect(await reply.text()).not.toContain('secret');
    expect(reply.headers.get('content-security-policy')).toContain("default-src 'none'");
    expect(needs.logged).toHaveLength(1);
  });

  test('a client that leaves in mid-body is no bug of ours', async () => {
    const socket = connect(web.port, '127.0.0.1');
    const token = 'a'.repeat(37);
    socket.write(
      `POST /u/${token} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n` +
        'Content-Type: application/x-www-form-urlencoded\r\n\r\n5\r\nhello\r\n',
    );
    socket.end();
    socket.resume();
    await new Promise((resolve) => socket.once('close', resolve));
    await get('/health');
    expect(needs.logged).toEqual([]);
  });

  test('a port in use is told with the setting to change', async () => {
    const second = startWeb({ listen: '127.0.0.1', port: web.port }, fakeWeb());
    await expect(second).rejects.toMatchObject({
      message: expect.stringContaining(`127.0.0.1:${web.port}`),
      nextStep: expect.stringContaining('http.port'),
    });
  });

  test('stopping ends connections that are kept open', async () => {
    const socket = connect(web.port, '127.0.0.1');
    socket.on('error', () => {});
    const closed = new Promise((resolve) => socket.once('close', resolve));
    await new Promise((resolve) => socket.once('connect', resolve));
    await web.stop();
    await closed;
    web = await startWeb({ listen: '127.0.0.1', port: 0 }, needs);
  });
});

/** Sends bytes, reads until the header is in. */
function raw(text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(web.port, '127.0.0.1', () => socket.write(text));
    let got = '';
    socket.on('error', reject);
    socket.on('data', (bytes) => {
      got += bytes.toString('latin1');
      if (!got.includes('\r\n\r\n')) return;
      socket.destroy();
      resolve(got);
    });
  });
}
