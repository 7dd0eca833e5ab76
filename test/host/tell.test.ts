import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { Command } from '../../actors/protocol.ts';
import { systemClock } from '../../src/clock.ts';
import { MailError } from '../../src/errors.ts';
import { createTell, SILENT_MS, type TellNeeds } from '../../src/host/tell.ts';
import type { Reply } from '../../src/host/turn.ts';
import { silentLog } from '../../src/log.ts';
import { type ListKey, slotOf } from '../../src/mail/list-key.ts';
import { ASK_MS_MAX, type AskReply, type AskRequest, createAsker } from '../../src/nats/ask.ts';
import type { Nats } from '../../src/nats/connect.ts';
import { type AskHandler, serveAsks } from '../../src/nats/serve-asks.ts';
import type { Asked } from '../../src/world.ts';
import { createFakeClock } from '../support/fake/clock.ts';
import { connectTo, type NatsServer, startNats } from '../support/nats.ts';

const KEY = 'abcdefghijklmnopqrstuvwxyz' as ListKey;
const OTHER = 'bbcdefghijklmnopqrstuvwxyz' as ListKey;
const by = { kind: 'operator', name: 'root' } as const;
const RETIRE: Asked<Command> = { id: 'c1', command: { type: 'retire', by } };
const REFUSAL = { type: 'refusal', code: 'no-such-list', text: 'there is no such list' } as const;
const ANSWER: AskReply = {
  ...{ ok: true, answer: { type: 'done' }, node: 'n1', epoch: 3, seq: 12, n: 4 },
};

let server: NatsServer;
let owner: Nats;
let caller: Nats;
const served: { close(): Promise<void> }[] = [];

beforeAll(async () => {
  server = await startNats();
  owner = await connectTo(server, 'owner');
  caller = await connectTo(server, 'caller');
});
afterEach(async () => {
  await Promise.all(served.splice(0).map((one) => one.close()));
});
afterAll(async () => {
  await Promise.all([owner?.close(), caller?.close()]);
  await server?.stop();
});

/** A teller with a mailbox that remembers, and a refusal log. */
function told(needs: Partial<TellNeeds> = {}) {
  const kept: (readonly [ListKey, Asked<Command>])[] = [];
  const refusals: unknown[] = [];
  const tell = createTell({
    here: null,
    asker: createAsker(caller, { timeoutMs: 200 }),
    mailbox: { put: async (key, asked) => void kept.push([key, asked]) },
    clock: systemClock,
    log: { ...silentLog, warn: (fields) => void refusals.push(fields) },
    ...needs,
  });
  return { tell, kept, refusals };
}

/** Another node owns these lists' slots. */
async function elsewhere(handler: AskHandler, ...keys: readonly ListKey[]) {
  const asked: AskRequest[] = [];
  const slots = [...new Set((keys.length > 0 ? keys : [KEY]).map(slotOf))];
  const serving = serveAsks(owner, slots, (key, request) => {
    asked.push(request);
    return handler(key, request);
  });
  served.push(serving);
  await owner.nc.flush();
  return asked;
}

/** This process owns the list. */
const hereThat = (reply: Reply, mayAnswer: () => boolean = () => true) => ({
  here: { command: async () => reply, mayAnswer },
});
const decided: Reply = { kind: 'answer', answer: { type: 'done' }, n: 1, seq: 1 };

test('what an owner on another node decides is not kept in MAILBOX', async () => {
  const asked = await elsewhere(async () => ANSWER);
  const { tell, kept } = told();
  await tell.put(KEY, RETIRE);
  expect(asked).toEqual([RETIRE]);
  expect(kept).toEqual([]);
});

test('what the owner in this process decides is neither asked over NATS nor kept', async () => {
  const asked = await elsewhere(async () => ANSWER);
  const { tell, kept } = told(hereThat(decided));
  await tell.put(KEY, RETIRE);
  expect(asked).toEqual([]);
  expect(kept).toEqual([]);
});

test('a refusal is a decision, and is logged', async () => {
  await elsewhere(async () => ({ ok: false, refusal: REFUSAL }));
  const there = told();
  await there.tell.put(KEY, RETIRE);
  const here = told(hereThat({ kind: 'refusal', refusal: REFUSAL, n: 1, seq: 1 }));
  await here.tell.put(KEY, RETIRE);
  for (const { kept, refusals } of [there, here]) {
    expect(kept).toEqual([]);
    expect(refusals).toEqual([{ list: KEY, why: REFUSAL.text }]);
  }
});

test('where nobody owns the slot it is kept, and the next one is asked again', async () => {
  const { tell, kept } = told();
  await tell.put(KEY, RETIRE);
  expect(kept).toEqual([[KEY, RETIRE]]);
  const asked = await elsewhere(async () => ANSWER);
  await tell.put(KEY, RETIRE);
  expect(asked).toEqual([RETIRE]);
  expect(kept).toHaveLength(1);
});

test.each<[string, AskReply]>([
  ['blocked', { ok: false, error: { code: 451, status: '4.3.2', text: 'blocked' } }],
  ['a bug of ours', { ok: false, error: { code: 554, status: '5.3.0', text: 'it threw' } }],
])('what the owner cannot take now is kept: %s', async (_, reply) => {
  const asked = await elsewhere(async () => reply);
  const { tell, kept } = told();
  await tell.put(KEY, RETIRE);
  await tell.put(KEY, RETIRE);
  expect(asked).toHaveLength(2);
  expect(kept).toEqual([
    [KEY, RETIRE],
    [KEY, RETIRE],
  ]);
});

test.each<[string, Reply]>([
  ['blocked', { kind: 'failed', error: new MailError(451, '4.3.2', 'blocked') }],
  ['a bug of ours', { kind: 'bug', error: new Error('it threw') }],
])('what the owner here cannot take now is kept: %s', async (_, reply) => {
  const { tell, kept } = told(hereThat(reply));
  await tell.put(KEY, RETIRE);
  expect(kept).toEqual([[KEY, RETIRE]]);
});

test('what is decided when the lease is over is kept for the next owner', async () => {
  let isOurs = true;
  const command = async (): Promise<Reply> => {
    isOurs = false;
    return decided;
  };
  const { tell, kept } = told({ here: { command, mayAnswer: () => isOurs } });
  await tell.put(KEY, RETIRE);
  expect(kept).toEqual([[KEY, RETIRE]]);
});

test('an owner that says nothing is not asked again for a while; others are', async () => {
  expect(slotOf(OTHER)).not.toBe(slotOf(KEY));
  const asked = await elsewhere(async (key) => (key === KEY ? null : ANSWER), KEY, OTHER);
  const clock = createFakeClock();
  const { tell, kept } = told({ clock });
  await tell.put(KEY, RETIRE);
  await tell.put(KEY, RETIRE);
  await tell.put(OTHER, RETIRE);
  expect(asked).toHaveLength(2);
  expect(kept).toEqual([
    [KEY, RETIRE],
    [KEY, RETIRE],
  ]);
  await clock.advance(SILENT_MS);
  await tell.put(KEY, RETIRE);
  expect(asked).toHaveLength(3);
  expect(kept).toHaveLength(3);
});

test('a turn here that takes too long holds nobody up', async () => {
  const clock = createFakeClock();
  const here = { command: () => new Promise<Reply>(() => undefined), mayAnswer: () => true };
  const { tell, kept } = told({ here, clock });
  const put = tell.put(KEY, RETIRE);
  await clock.advance(ASK_MS_MAX - 1);
  expect(kept).toEqual([]);
  await clock.advance(1);
  await put;
  expect(kept).toEqual([[KEY, RETIRE]]);
});

test('what MAILBOX throws is thrown', async () => {
  const full = new MailError(452, '4.3.1', 'no room');
  const { tell } = told({ mailbox: { put: () => Promise.reject(full) } });
  await expect(tell.put(KEY, RETIRE)).rejects.toBe(full);
});
