/** What is tried at each start, on a real server whose streams do it, refuse it, or have no room. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { OperatorError } from '../../src/errors.ts';
import { silentLog } from '../../src/log.ts';
import { apiRequest } from '../../src/nats/stored.ts';
import { tryServer } from '../../src/nats/trial.ts';
import { eventually } from '../support/eventually.ts';
import { keepingLog } from '../support/keeping-log.ts';
import { type Site, startSite } from '../support/nats.ts';

let site: Site;
beforeAll(async () => {
  site = await startSite();
});
afterAll(() => site?.stop());

const attempt = (log = silentLog): Promise<void> =>
  tryServer({ nats: site.nats, clock: systemClock, log });

/** Changes settings of a stream as somebody does by hand; the config before. */
async function set(stream: string, settings: Readonly<Record<string, unknown>>) {
  const { config } = await site.nats.jsm.streams.info(stream);
  const subject = `$JS.API.STREAM.UPDATE.${stream}`;
  const answer = await apiRequest(site.nats, subject, { ...config, ...settings });
  expect(answer.error).toBeUndefined();
  return config;
}

test('a server that does both is taken, and nothing of the trial waits anywhere', async () => {
  const { log, said } = keepingLog();
  await Promise.all([attempt(log), attempt(log)]);
  expect(said('warn')).toEqual([]);
  expect((await site.nats.jsm.streams.info('TROUPE_LATER')).state.messages).toBe(0);
});

test('a server that takes no batches is refused, and says why', async () => {
  await set('TROUPE_OUTGOING', { allow_atomic: false });
  await expect(attempt()).rejects.toBeInstanceOf(OperatorError);
  await expect(attempt()).rejects.toThrow(/does not do atomic batches: .*disabled/);
  await set('TROUPE_OUTGOING', { allow_atomic: true });
});

test('a server without room says nothing of what it can do: that is logged, and the start goes on', async () => {
  const before = await set('TROUPE_OUTGOING', { max_bytes: 1 });
  const { log, said } = keepingLog();
  await attempt(log);
  expect(said('warn')).toMatchObject([{ what: 'atomic batches' }]);
  await set('TROUPE_OUTGOING', { max_bytes: before.max_bytes });
});

test('a server that gives no answer is left to those who wait for it', async () => {
  const { log, said } = keepingLog();
  await site.server.kill9();
  await attempt(log);
  expect(
    said('warn')
      .map(({ what }) => what)
      .sort(),
  ).toEqual(['atomic batches', 'message schedules']);
  await site.server.restart();
  await eventually(site.nats.isConnected).toBe(true);
});

test('a server that stores a schedule and does not send it when it is due is refused', async () => {
  const { nats } = site;
  const blind = JSON.stringify({ last_by_subj: 'troupe.later.nothing' });
  const request: typeof nats.request = (subject, body) =>
    nats.request(subject, subject.includes('MSG.GET') ? blind : body);
  let now = 0;
  const sleep = async (ms: number) => {
    now += ms;
  };
  const clock = { sleep, monotonic: () => now };
  await expect(tryServer({ nats: { ...nats, request }, clock, log: silentLog })).rejects.toThrow(
    'does not do message schedules: nothing came of one that was due, within 15 s',
  );
});

test('a server that refuses schedules is refused, and says why', async () => {
  const { config } = await site.nats.jsm.streams.info('TROUPE_LATER');
  await site.nats.jsm.streams.delete('TROUPE_LATER');
  const { allow_msg_schedules: _, ...plain } = config as typeof config & {
    allow_msg_schedules?: boolean;
  };
  const subject = '$JS.API.STREAM.CREATE.TROUPE_LATER';
  expect((await apiRequest(site.nats, subject, plain)).error).toBeUndefined();
  await expect(attempt()).rejects.toThrow(/does not do message schedules: .*disabled/);
});
