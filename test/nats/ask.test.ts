import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { MailError } from '../../src/errors.ts';
import type { Address } from '../../src/mail/address.ts';
import { type ListKey, slotOf } from '../../src/mail/list-key.ts';
import {
  type AskReply,
  type AskRequest,
  createAsker,
  NO_ANSWER,
  NO_OWNER,
} from '../../src/nats/ask.ts';
import type { Nats } from '../../src/nats/connect.ts';
import {
  ASK_BYTES_MAX,
  ASKS_IN_HAND_MAX,
  type AskHandler,
  serveAsks,
} from '../../src/nats/serve-asks.ts';
import { ask } from '../../src/nats/subjects.ts';
import { eventually } from '../support/eventually.ts';
import { connectTo, type NatsServer, startNats } from '../support/nats.ts';
import { reconnected } from '../support/streams.ts';

const KEY = 'abcdefghijklmnopqrstuvwxyz' as ListKey;
const SLOT = slotOf(KEY);
const by = { kind: 'operator', name: 'root' } as const;
const retire = { id: 'c1', command: { type: 'retire', by } } as const;

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

function done(answer: unknown = { type: 'done' }): AskReply {
  return { ok: true, answer, node: 'n1', epoch: 3, seq: 12, n: 4 };
}

/** Serves the list's slot; resolves when the server knows. */
async function serve(handler: AskHandler, slots: readonly number[] = [SLOT]) {
  const serving = serveAsks(owner, slots, handler);
  served.push(serving);
  await owner.nc.flush();
  return serving;
}

/** A promise and what settles it. */
function gate() {
  let open = (): void => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { open, opened };
}

describe('asking', () => {
  test('a command reaches the owner whole, and its answer the caller', async () => {
    const asked: [ListKey, AskRequest][] = [];
    await serve(async (key, request) => {
      asked.push([key, request]);
      return done();
    });
    expect(await createAsker(caller).command(KEY, retire)).toEqual(done());
    expect(asked).toEqual([[KEY, retire]]);
  });

  test('a question reaches the owner, and its answer the caller', async () => {
    await serve(async (_, request) => done({ asked: request }));
    const question = { ask: 'roster', role: 'member', after: -1, limit: 50 } as const;
    const reply = await createAsker(caller).question(KEY, question);
    expect(reply).toMatchObject({ ok: true, answer: { asked: { question } } });
  });

  test('a refusal comes back as it was said', async () => {
    const refusal = { type: 'refusal', code: 'retired', text: 'the list is retired' } as const;
    await serve(async () => ({ ok: false, refusal }));
    expect(await createAsker(caller).command(KEY, retire)).toEqual({ ok: false, refusal });
  });

  test('where nobody owns the slot who asks a question is told at once', async () => {
    await serve(async () => done(), [(SLOT + 1) % 64]);
    // Were it to wait for an owner, this test would run out of its time.
    const asker = createAsker(caller, { timeoutMs: 600_000, handoverMs: 600_000 });
    const reply = await asker.question(KEY, { ask: 'list' });
    expect(reply).toEqual({ ok: false, error: NO_OWNER });
  });

  test('where nobody owns the slot a command is given up after as long as a hand-over takes', async () => {
    await serve(async () => done(), [(SLOT + 1) % 64]);
    const asker = createAsker(caller, { timeoutMs: 600_000, handoverMs: 150 });
    expect(await asker.command(KEY, retire)).toEqual({ ok: false, error: NO_OWNER });
  });

  test('a command asked between two owners waits for the next, under the same id', async () => {
    const seen: AskRequest[] = [];
    const reply = createAsker(caller, { handoverMs: 600_000 }).command(KEY, retire);
    // Whoever asks meanwhile finds nobody: the command was asked in vain at least once by then.
    const between = await createAsker(caller).question(KEY, { ask: 'list' });
    expect(between).toEqual({ ok: false, error: NO_OWNER });
    await serve(async (_, request) => {
      seen.push(request);
      return done();
    });
    expect(await reply).toEqual(done());
    expect(seen).toEqual([retire]);
  });

  test('without an answer the same request is sent again, and again only so often', async () => {
    const other = { ...retire, id: 'c2' };
    const seen = { [retire.id]: [] as AskRequest[], [other.id]: [] as AskRequest[] };
    const never = new Promise<AskReply>(() => {});
    const serving = serveAsks(owner, [SLOT], async (_, request) => {
      const same = seen['id' in request ? request.id : ''] ?? [];
      same.push(request);
      return same.length < 3 ? never : done();
    });
    await owner.nc.flush();
    // A slow machine asks once more before the third is answered.
    const asker = createAsker(caller, { timeoutMs: 50, tries: 1_000 });
    expect(await asker.command(KEY, retire)).toEqual(done());
    expect(seen[retire.id]?.slice(0, 3)).toEqual([retire, retire, retire]);
    const hasty = createAsker(caller, { timeoutMs: 20, tries: 2 });
    expect(await hasty.command(KEY, other)).toEqual({ ok: false, error: NO_ANSWER });
    await eventually(() => seen[other.id]).toEqual([other, other]);
    void serving.close(); // Some are never answered: its own limit ends it.
  });

  test('what the handler throws is told, but not where it went wrong', async () => {
    await serve(async (_, request) => {
      if ('id' in request) throw new MailError(452, '4.3.1', 'Mail system is full', 'disk sda1');
      throw new TypeError('rows of /var/lib/troupe are undefined');
    });
    const asker = createAsker(caller);
    expect(await asker.command(KEY, retire)).toEqual({
      ok: false,
      error: { code: 452, status: '4.3.1', text: 'Mail system is full' },
    });
    const bug = await asker.question(KEY, { ask: 'list' });
    expect(bug).toMatchObject({ ok: false, error: { code: 451, status: '4.3.0' } });
    expect(JSON.stringify(bug)).not.toContain('troupe');
  });

  test('an answer that no message can hold is an error that says so', async () => {
    await serve(async () => done('x'.repeat(2 * 1024 * 1024)));
    const reply = await createAsker(caller).question(KEY, { ask: 'list' });
    expect(reply).toMatchObject({ ok: false, error: { code: 552, status: '5.3.4' } });
  });

  test('a request that no message can hold is an error, not an exception', async () => {
    await serve(async () => done());
    const members = [{ address: 'a@b.example' as Address, name: 'x'.repeat(2 * 1024 * 1024) }];
    const command = { type: 'add-members', members, by } as const;
    const reply = await createAsker(caller).command(KEY, { id: 'c', command });
    expect(reply).toMatchObject({ ok: false, error: { code: 552, status: '5.3.4' } });
  });

  test('a request that no list can decide in one record is refused before the list sees it', async () => {
    let seen = 0;
    await serve(async () => {
      seen += 1;
      return done();
    });
    const asked = JSON.stringify(retire);
    const fits = await caller.nc.request(ask(KEY), asked.padEnd(ASK_BYTES_MAX));
    expect(fits.json()).toMatchObject({ ok: true });
    const larger = await caller.nc.request(ask(KEY), asked.padEnd(ASK_BYTES_MAX + 1));
    expect(larger.json()).toMatchObject({ ok: false, error: { code: 552, status: '5.3.4' } });
    expect(seen).toBe(1);
  });

  test('what is not understood is refused before the list sees it', async () => {
    let seen = 0;
    await serve(async () => {
      seen += 1;
      return done();
    });
    const wrong = ['', '{', '[]', '{"id":"c","command":{"type":"shutdown"}}', '\xff'];
    for (const payload of wrong) {
      const reply = await caller.nc.request(ask(KEY), Buffer.from(payload, 'latin1'));
      expect(reply.json()).toMatchObject({ ok: false, error: { code: 501, status: '5.5.4' } });
    }
    for (const subject of [`troupe.ask.${SLOT}.owner`, `troupe.ask.${SLOT}.${KEY.slice(1)}`]) {
      const reply = await caller.nc.request(subject, JSON.stringify(retire));
      expect(reply.json()).toMatchObject({ ok: false, error: { code: 501 } });
    }
    expect(seen).toBe(0);
  });

  test('a list of another slot is not answered for', async () => {
    const other = (SLOT + 1) % 64;
    await serve(async () => done(), [other]);
    const reply = await caller.nc.request(`troupe.ask.${other}.${KEY}`, JSON.stringify(retire));
    expect(reply.json()).toMatchObject({ ok: false, error: { code: 501 } });
  });

  test('more than may be in hand are told to come again', async () => {
    const { open, opened } = gate();
    await serve(async () => {
      await opened;
      return done();
    });
    const asker = createAsker(caller, { timeoutMs: 600_000 });
    const all = Array.from({ length: ASKS_IN_HAND_MAX + 1 }, (_, i) =>
      asker.command(KEY, { ...retire, id: `c${i}` }),
    );
    expect(await Promise.race(all)).toMatchObject({ ok: false, error: { status: '4.3.2' } });
    open();
    const replies = await Promise.all(all);
    expect(replies.filter((reply) => reply.ok)).toHaveLength(ASKS_IN_HAND_MAX);
  });

  test('closing takes no new request, and answers what is in hand', async () => {
    const { open, opened } = gate();
    const { open: taken, opened: inHand } = gate();
    const serving = await serve(async () => {
      taken();
      await opened;
      return done();
    });
    const asker = createAsker(caller, { timeoutMs: 600_000, handoverMs: 0 });
    const first = asker.command(KEY, retire);
    await inHand;
    let isClosed = false;
    const closing = serving.close().then(() => {
      isClosed = true;
    });
    await owner.nc.flush();
    expect(await asker.command(KEY, retire)).toEqual({ ok: false, error: NO_OWNER });
    expect(isClosed).toBe(false);
    open();
    expect(await first).toEqual(done());
    await closing;
  });

  test('asking goes on after nats-server was killed', async () => {
    await serve(async () => done());
    const asker = createAsker(caller, { timeoutMs: 200, tries: 1_000 });
    expect(await asker.command(KEY, retire)).toEqual(done());
    await server.kill9();
    const waiting = asker.command(KEY, retire);
    await server.restart();
    const outcome = await waiting;
    // The owner may come back after the caller; then nobody owned the slot at that moment.
    if (!outcome.ok) expect(outcome).toEqual({ ok: false, error: NO_OWNER });
    await reconnected(owner);
    await owner.nc.flush();
    expect(await asker.command(KEY, retire)).toEqual(done());
  });
});
