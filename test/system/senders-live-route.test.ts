/** A site whose file has no route, and where one was added while it ran: its senders send over that one, and capture nothing. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type SinkProcess, startSinkProcess } from '../support/sink-process.ts';
import { isRunning, startTestSite, type TestSite } from '../support/site.ts';
import { until } from '../support/until.ts';

const SLOW_MS = 300_000;

let sink: SinkProcess;
let site: TestSite;

beforeAll(async () => {
  sink = await startSinkProcess();
  site = await startTestSite({ env: { TROUPE_NODE: 'n1', TROUPE_OUTGOING_SENDERS: '1' } });
}, SLOW_MS);

afterAll(async () => {
  await site?.close();
  await sink?.close();
}, SLOW_MS);

const directory = (): string => join(site.data, 'senders', '1');

/** As one whose sender had chunks in hand when it was killed: it has a sender at once. */
async function startAgain(): Promise<void> {
  await site.killNode();
  mkdirSync(directory(), { recursive: true });
  writeFileSync(join(directory(), 'lock'), '{"pid":1,"started":"before"}');
  await site.start();
}

test(
  'a sender runs where a route was added live, over that route, and without an outbox',
  async () => {
    await site.troupe('route', 'add', 'sink', sink.url, 'connections=3');
    await startAgain();
    await until(
      'the sender is ready',
      () => {
        const note = join(directory(), 'site.json');
        const pid = existsSync(note) ? (JSON.parse(readFileSync(note, 'utf8')).pid as number) : 0;
        return isRunning(pid) ? true : null;
      },
      SLOW_MS,
    );
    const { routes, nodes } = await site.troupe<{
      readonly routes: readonly { readonly name: string; readonly connections: { max: number } }[];
      readonly nodes: readonly string[];
    }>('route', 'ls');
    expect([...nodes].sort()).toEqual(['n1', 'n1-s1']);
    expect(routes).toMatchObject([{ name: 'sink', connections: { max: 2 * 3 } }]);
    expect(existsSync(join(directory(), 'captured'))).toBe(false);
  },
  SLOW_MS,
);
