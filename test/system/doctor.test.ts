/** `troupe doctor` on a site that runs, on what is left when nothing runs, and where nothing ever ran. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ListInspection } from '../../actors/protocol.ts';
import { silentLog } from '../../src/log.ts';
import type { ListKey } from '../../src/mail/list-key.ts';
import { connect, type Nats } from '../../src/nats/connect.ts';
import { openKv } from '../../src/nats/kv.ts';
import { readSite, replaceSite } from '../../src/nats/site-row.ts';
import { SCHEMA, streamConfigs } from '../../src/nats/streams.ts';
import { ledger } from '../../src/nats/subjects.ts';
import { DOMAIN, newPlace, runTroupe, startTestSite, type TestSite } from '../support/site.ts';

let site: TestSite;

beforeAll(async () => {
  site = await startTestSite();
  await site.troupe('list', 'create', `dev@${DOMAIN}`);
  await site.troupe('list', 'create', `ops@${DOMAIN}`);
});
afterAll(() => site?.close());

test('a site that runs well is told so, part by part', async () => {
  const { code, stdout } = await site.run('doctor');
  expect(stdout).toMatch(/^ok +servers +nats-server \d+\.\d+\.\d+ .*, alone$/m);
  expect(stdout).toMatch(/^ok +sync +the embedded server syncs each message/m);
  const { length: many } = streamConfigs({ replicas: 1, maxFileStore: 0 });
  expect(stdout).toMatch(new RegExp(`^ok +streams +${many} present`, 'm'));
  expect(stdout).toMatch(/^ok +consumers +none is at its limit$/m);
  expect(stdout).toMatch(/^ok +disk +.* free on node /m);
  expect(stdout).toMatch(/^ok +slots +each of 64 has an owner$/m);
  expect(stdout).not.toMatch(/^fail/m);
  expect(code).toBe(0);
});

/** On the site's nats-server, as its operator. */
async function byHand<T>(work: (nats: Nats) => Promise<T>): Promise<T> {
  const nats = await connect({ ...site.nats(), name: 'by hand', log: silentLog });
  try {
    return await work(nats);
  } finally {
    await nats.close();
  }
}

const isBatched = (): Promise<unknown> =>
  byHand(async ({ jsm }) => {
    const { config } = await jsm.streams.info('TROUPE_BOUNCES');
    return { ...config, allow_atomic: false, ...config }.allow_atomic;
  });

const setBatched = (allow_atomic: boolean): Promise<unknown> =>
  byHand(async ({ jsm }) => {
    const { config } = await jsm.streams.info('TROUPE_BOUNCES');
    await jsm.streams.update('TROUPE_BOUNCES', { ...config, ...{ allow_atomic } });
  });

test('the streams of an earlier version are upgraded when a node starts, and what a hand changed is told', async () => {
  await setBatched(false);
  const drift = /^warn +streams +TROUPE_BOUNCES: allow_atomic is undefined, not true$/m;
  await site.stop();
  await site.start();
  expect(await isBatched()).toBe(false);
  expect((await site.run('doctor')).stdout).toMatch(drift);
  await byHand(async (nats) => {
    const rows = await openKv(nats, 'troupe_site');
    const found = await readSite(rows);
    if (found !== null) await replaceSite(rows, { ...found.site, schema: 1 }, found.revision);
  });
  expect((await site.run('doctor')).stdout).toMatch(
    /^warn +schema +.*version 1, not \d+: restart/m,
  );
  await site.stop();
  await site.start();
  expect(await isBatched()).toBe(true);
  expect(site.log()).toContain('a setting was changed: this version states another');
  const { stdout } = await site.run('doctor');
  expect(stdout).not.toMatch(drift);
  expect(stdout).toMatch(
    new RegExp(`^ok +schema +streams and rows are of version ${SCHEMA}$`, 'm'),
  );
});

/** Appends what is no record; gives its sequence. */
async function breakLedger(list: string): Promise<number> {
  const { key, slot } = await site.troupe<ListInspection>('inspect', 'list', list);
  const nats = await connect({ ...site.nats(), name: 'test', log: silentLog });
  const { seq } = await nats.js.publish(ledger(slot, key as ListKey), 'half a rec');
  await nats.close();
  return seq;
}

test('a list whose ledger is broken is named, shown, and goes on without what cannot be folded', async () => {
  const list = `dev@${DOMAIN}`;
  const seq = await breakLedger(list);
  const add = await site.run('member', 'add', list, 'ada@example.org');
  expect(add).toMatchObject({ code: 1, stderr: expect.stringContaining('set aside') });
  const { stdout } = await site.run('doctor');
  expect(stdout).toMatch(
    new RegExp(`^fail +lists +${list} is set aside on .* at ${seq} .*--repair ${list}`, 'm'),
  );
  const look = await site.run('doctor', '--repair', list);
  expect(look).toMatchObject({
    code: 1,
    stderr: expect.stringContaining(`--leave-out ${seq}-${seq}`),
  });
  expect(look.stdout).toMatch(new RegExp(`^would be left out +the record at ${seq}$`, 'm'));
  const done = await site.run('doctor', '--repair', list, '--leave-out', `${seq}-${seq}`);
  expect(done.stdout).toMatch(/left out by .*: the record at \d+\nThe ledger of .* holds together/);
  expect(done.code).toBe(0);
  expect((await site.run('member', 'add', list, 'ada@example.org')).code).toBe(0);
  expect((await site.run('inspect', 'list', list)).stdout).toMatch(/^repairs.*from +\d+$/m);
  expect((await site.run('doctor', '--repair', list, '--leave-out', '1-2')).stderr).toContain(
    'not set aside',
  );
});

test('where nothing runs, the disk is looked at and nothing is changed', async () => {
  await site.stop();
  const { code, stdout } = await site.run('doctor');
  expect(code).toBe(1);
  expect(stdout).toMatch(/^fail +site +no site is running/m);
  expect(stdout).toMatch(/^ok +data +.* is used by no process: start its node$/m);
  expect(stdout).toMatch(/^ok +rows +2 lists, folded up to \d+ of the ledger$/m);
  expect(stdout).toMatch(/^ok +nats +.*\/nats: \d+ files, .* of 2\.0 GiB$/m);
  await site.start();
  expect((await site.run('doctor')).code).toBe(0);
});

test('a list that is set aside is named from the disk, and after the next start before anybody asks it', async () => {
  const list = `ops@${DOMAIN}`;
  const seq = await breakLedger(list);
  await site.run('member', 'add', list, 'ada@example.org');
  await site.run('member', 'add', `dev@${DOMAIN}`, 'bob@example.org');
  await site.stop();
  const named = new RegExp(
    `^fail +lists +${list} is set aside .*at ${seq} .*--repair ${list}`,
    'm',
  );
  expect((await site.run('doctor')).stdout).toMatch(named);
  await site.start();
  expect((await site.run('doctor')).stdout).toMatch(named);
});

test('a data directory that nobody made is said to be none', async () => {
  const { env, directory } = newPlace();
  const { stdout, code } = await runTroupe({ ...env, TROUPE_DATA: `${directory}/none` }, [
    'doctor',
  ]);
  expect(code).toBe(1);
  expect(stdout).toMatch(/^fail +data +there is no .*\/none: nothing ever ran here/m);
});
