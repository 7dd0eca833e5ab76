/** The password of a route: where it stands, who has it, and what becomes of a node that has not. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, expect, test } from 'vitest';
import type { RouteConfig } from '../../src/config.ts';
import { readPassword } from '../../src/config-secret.ts';
import { OperatorError } from '../../src/errors.ts';
import { routeViews } from '../../src/smtp/route-view.ts';
import type { Routes } from '../../src/smtp/routes.ts';
import type { Kv, Smtp } from '../../src/world.ts';
import { aChunk } from '../support/chunk.ts';
import { createFakeClock } from '../support/fake/clock.ts';
import { createFakeKv } from '../support/fake/kv.ts';
import { createFakeSmtp } from '../support/fake/smtp.ts';
import { openTestRoutes, routeOf } from '../support/routes.ts';

const SECRET = 'open-sesame';
const directory = mkdtempSync(join(tmpdir(), 'troupe-password-'));
const opened: Routes[] = [];
afterEach(() => {
  for (const routes of opened.splice(0)) routes.stop();
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const RELAY = routeOf('relay', { user: 'troupe', password: SECRET });

/** A node with this configuration; `used` is how each route was connected last, by name. */
async function start(file: readonly RouteConfig[], kv: Kv, unreadable: readonly string[] = []) {
  const used = new Map<string, RouteConfig>();
  const clock = createFakeClock();
  const smtpOf = (settings: RouteConfig): Smtp => {
    if (unreadable.includes(settings.passwordFile ?? '')) {
      throw new OperatorError(`route ${settings.name}: it cannot be read`, 'Correct it.');
    }
    used.set(settings.name, settings);
    return createFakeSmtp();
  };
  const routes = await openTestRoutes(smtpOf, clock, { file, kv });
  opened.push(routes);
  return { routes, used, clock };
}

async function rows(kv: Kv): Promise<string> {
  let all = '';
  for await (const row of kv.watch(new AbortController().signal)) {
    if (row === 'ready') return all;
    all += `${row.key} ${new TextDecoder().decode(row.value ?? undefined)}\n`;
  }
  return all;
}

const order = (change: Readonly<Record<string, unknown>>) =>
  ({ do: 'set', name: 'relay', change }) as const;

test('what a file says stays there: other changes hold everywhere, and each node uses its own', async () => {
  const kv = createFakeKv();
  const one = await start([RELAY], kv);
  const two = await start([{ ...RELAY, password: 'of-two' }], kv);
  await one.routes.obey(order({ connections: 7 }));
  await two.clock.advance(0);
  expect(one.used.get('relay')).toMatchObject({ connections: 7, password: SECRET });
  expect(two.used.get('relay')).toMatchObject({ connections: 7, password: 'of-two' });
  const again = await start([RELAY], kv);
  expect(again.used.get('relay')).toMatchObject({ connections: 7, password: SECRET });
  const stranger = await start([], kv);
  expect(stranger.used.get('relay')).not.toHaveProperty('password');
  expect(await rows(kv)).not.toContain(SECRET);
  expect(JSON.stringify(routeViews(one.routes))).not.toContain(SECRET);
});

test('another user has not the password of the one in the file', async () => {
  const { routes, used } = await start([RELAY], createFakeKv());
  await routes.obey(order({ user: 'somebody' }));
  expect(used.get('relay')).not.toHaveProperty('password');
});

test('a password that is given live is refused, in words and without it, and stands nowhere', async () => {
  const kv = createFakeKv();
  const { routes } = await start([RELAY], kv);
  const urls = [
    `smtp://u:${SECRET}@x.example`,
    `smtp://u@x.example`,
    `smtp://:${SECRET}@x.example`,
  ];
  const orders = [
    order({ password: SECRET }),
    ...urls.map((url) => order({ url })),
    ...urls.map((url) => ({ do: 'add', settings: { name: 'new', url } }) as const),
  ];
  for (const one of orders) {
    const refused = await routes.obey(one).catch((error: unknown) => error);
    expect(refused).toMatchObject({ code: 501 });
    expect(String(refused)).toContain('passwordFile=');
    expect(String(refused)).not.toContain(SECRET);
  }
  await expect(routes.obey(order({ passwordFile: 'relay.password' }))).rejects.toThrow('absolute');
  expect(await rows(kv)).toBe('');
});

test('a file with the password may be named live, and another one in its place, without a restart', async () => {
  const kv = createFakeKv();
  const { routes, used } = await start([RELAY], kv);
  for (const passwordFile of ['/run/one', '/run/two']) {
    await routes.obey(order({ passwordFile }));
    expect(used.get('relay')).toMatchObject({ passwordFile });
    expect(used.get('relay')).not.toHaveProperty('password');
  }
  expect(await rows(kv)).toContain('"passwordFile":"/run/two"');
  await routes.obey(order({ passwordFile: null }));
  expect(used.get('relay')).toMatchObject({ password: SECRET });
});

test('a node that cannot read it leaves the route to the others, and uses it once it can', async () => {
  const kv = createFakeKv();
  const unreadable = ['/run/one'];
  const one = await start([], kv);
  const two = await start([routeOf('b')], kv, unreadable);
  await one.routes.obey({
    do: 'add',
    settings: { name: 'a', url: 'smtp://a.example', weight: 1_000, passwordFile: '/run/one' },
  });
  const carries = async ({ routes }: typeof one): Promise<string | undefined> => {
    const lent = await routes.lend(aChunk(), []);
    lent?.giveBack();
    return lent?.route.name;
  };
  for (const { clock } of [one, two]) await clock.advance(10_000);
  expect([await carries(one), await carries(two)]).toEqual(['a', 'b']);
  const [view] = routeViews(two.routes);
  expect(view).toMatchObject({ name: 'a', mode: 'closed', troubles: {} });
  expect(view?.problem).toContain('cannot be read');
  const change = { name: 'a', change: { passwordFile: '/run/one' } };
  await expect(two.routes.obey({ do: 'set', ...change })).rejects.toMatchObject({ code: 501 });
  unreadable.length = 0;
  await one.routes.obey({ do: 'set', ...change });
  await two.clock.advance(0);
  expect(await carries(two)).toBe('a');
});

test.each([
  ['is open to others (mode 0644)', SECRET, 0o644],
  ['is not one line', `${SECRET}\nmore\n`, 0o600],
  ['is not one line', '', 0o600],
  ['is larger than 1 KiB', SECRET.repeat(100), 0o600],
])('a file that %s is refused, and what is in it is not said', (why, text, mode) => {
  const file = join(directory, 'password');
  writeFileSync(file, text);
  chmodSync(file, mode);
  const read = readPassword(file);
  expect(read).toEqual({ problem: expect.stringContaining(why) });
  expect(JSON.stringify(read)).not.toContain(SECRET);
});

test('the end of its line is not part of a password, everything else is', () => {
  const file = join(directory, 'one-line');
  expect(readPassword(file)).toEqual({ problem: expect.stringContaining('be read: ENOENT') });
  for (const text of [SECRET, ` ${SECRET} `]) {
    writeFileSync(file, `${text}\n`, { mode: 0o600 });
    chmodSync(file, 0o600);
    expect(readPassword(file)).toEqual({ text });
  }
});
