import { afterEach, expect, test } from 'vitest';
import { silentLog } from '../../src/log.ts';
import { NO_OWNER } from '../../src/nats/ask.ts';
import { startWeb, type Web } from '../../src/web/server.ts';
import { type FakeWeb, fakeWeb, LIST } from './fakes.ts';

const running: Web[] = [];
afterEach(() => Promise.all(running.splice(0).map((web) => web.stop())));

async function started(
  fake: FakeWeb,
): Promise<(path: string, headers?: Record<string, string>) => Promise<Response>> {
  const web = await startWeb({ listen: '127.0.0.1', port: 0 }, { ...fake, log: silentLog });
  running.push(web);
  return (path, headers = {}) => fetch(`http://127.0.0.1:${web.port}${path}`, { headers });
}

test('what became of a post is told as JSON, in the name of the operator of this machine', async () => {
  const get = await started(fakeWeb());
  const by = { kind: 'operator', name: 'http' };
  const json = async (path: string): Promise<unknown> => (await get(path)).json();
  expect(await json(`/delivery/${LIST}/7`)).toEqual({ list: LIST, post: 7, by });
  expect(await json(`/delivery/${LIST}/7?recipient=a%40b.example`)).toEqual({
    ...{ list: LIST, post: 7, recipient: 'a@b.example', by },
  });
  expect(await json(`/delivery/${LIST}/7?failed&after=3`)).toMatchObject({ failed: { after: 3 } });
});

test('what cannot be asked is refused in words', async () => {
  const fake = fakeWeb();
  const get = await started(fake);
  const status = async (path: string, headers?: Record<string, string>): Promise<number> =>
    (await get(path, headers)).status;
  expect(await status(`/delivery/${LIST}/x`)).toBe(400);
  expect(await status(`/delivery/${LIST}/7?recipient=nobody`)).toBe(400);
  expect(await status(`/delivery/${LIST}/7?failed&limit=-1`)).toBe(400);
  expect(await status('/delivery/nobody/7')).toBe(400);
  expect(await status('/delivery/none@lists.example.org/7')).toBe(404);
  expect(await status(`/delivery/${LIST}/7`, { 'X-Forwarded-For': '192.0.2.1' })).toBe(403);
  fake.failure = { ok: false, error: NO_OWNER };
  expect(await status(`/delivery/${LIST}/7`)).toBe(503);
});
