import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { MailError } from '../../src/errors.ts';
import type { Address } from '../../src/mail/address.ts';
import { type ListKey, listKeyOf, prefixOf } from '../../src/mail/list-key.ts';
import type { Nats } from '../../src/nats/connect.ts';
import { createDirectory } from '../../src/nats/directory.ts';
import { openKv } from '../../src/nats/kv.ts';
import type { Kv } from '../../src/world.ts';
import { createFakeKv } from '../support/fake/kv.ts';
import { createFakeRandom } from '../support/fake/random.ts';
import { type NatsServer, startNats } from '../support/nats.ts';
import { connectWithStreams } from '../support/streams.ts';

const dev = 'dev@lists.example' as Address;
const ops = 'ops@lists.example' as Address;
const random = createFakeRandom(1);
const newKey = (): ListKey => listKeyOf(random.bytes(26));

/** Resolves once `holds` does; each look lets the world go on. */
async function eventually(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 1));
}

describe('the directory', () => {
  test('takes a name once, and gives back whose it is', async () => {
    const directory = createDirectory(createFakeKv());
    const [mine, other] = [newKey(), newKey()];
    const entry = { address: dev, key: mine, state: 'new', maxMessageBytes: 300_000 };
    expect(await directory.reserve(dev, mine, 300_000)).toEqual({ entry, created: true });
    expect(await directory.reserve(dev, other, 1)).toEqual({ entry, created: false });
    expect(await directory.find(dev)).toEqual(entry);
    expect(await directory.keysByPrefix(prefixOf(mine))).toEqual([mine]);
    expect(await directory.keysByPrefix(prefixOf(other))).toEqual([]);
  });

  test('finds a list whatever the case of its address', async () => {
    const directory = createDirectory(createFakeKv());
    await directory.reserve(dev, newKey(), 1);
    expect((await directory.find('DEV@Lists.Example' as Address))?.address).toBe(dev);
    expect(await directory.find('devs@lists.example' as Address)).toBeNull();
  });

  test('lets exactly one of many reserve a name', async () => {
    const directory = createDirectory(createFakeKv());
    const keys = Array.from({ length: 30 }, newKey);
    const all = await Promise.all(keys.map((key) => directory.reserve(dev, key, 1)));
    expect(all.filter(({ created }) => created)).toHaveLength(1);
    expect(new Set(all.map(({ entry }) => entry.key)).size).toBe(1);
  });

  test('completes what a crash between the entry and its prefix left', async () => {
    const kv = createFakeKv();
    const dying: Kv = {
      ...kv,
      create: async (key, value) => {
        if (key.startsWith('p.')) throw new MailError(451, '4.3.0', 'killed');
        return kv.create(key, value);
      },
    };
    const [first, second] = [newKey(), newKey()];
    await expect(createDirectory(dying).reserve(dev, first, 1)).rejects.toThrow('killed');
    const directory = createDirectory(kv);
    expect(await directory.keysByPrefix(prefixOf(first))).toEqual([]);
    const { entry, created } = await directory.reserve(dev, second, 1);
    expect([entry.key, created]).toEqual([first, false]);
    expect(await directory.keysByPrefix(prefixOf(first))).toEqual([first]);
  });

  test('keeps all keys that share a prefix', async () => {
    const directory = createDirectory(createFakeKv());
    const key = newKey();
    const twin = `${prefixOf(key)}${newKey().slice(8)}` as ListKey;
    await Promise.all([directory.reserve(dev, key, 1), directory.reserve(ops, twin, 1)]);
    expect(new Set(await directory.keysByPrefix(prefixOf(key)))).toEqual(new Set([key, twin]));
  });

  test('publishes what a list is, as often as it is told', async () => {
    const directory = createDirectory(createFakeKv());
    const key = newKey();
    await directory.reserve(dev, key, 1);
    for (const state of ['active', 'active', 'full', 'active'] as const) {
      await directory.publish(dev, key, state, 5);
      const entry = { address: dev, key, state, maxMessageBytes: 5 };
      expect(await directory.find(dev)).toEqual(entry);
    }
  });

  test('never gives a retired name back', async () => {
    const directory = createDirectory(createFakeKv());
    const key = newKey();
    await directory.reserve(dev, key, 1);
    await directory.publish(dev, key, 'retired', 1);
    await directory.publish(dev, key, 'active', 1);
    const { entry, created } = await directory.reserve(dev, newKey(), 1);
    expect([entry.key, entry.state, created]).toEqual([key, 'retired', false]);
  });

  test('refuses to publish over another list', async () => {
    const directory = createDirectory(createFakeKv());
    const key = newKey();
    await directory.reserve(dev, key, 1);
    const stealing = directory.publish(dev, newKey(), 'active', 1);
    await expect(stealing).rejects.toMatchObject({ code: 554, status: '5.3.5' });
    expect((await directory.find(dev))?.key).toBe(key);
  });

  test('gives up with 451 where other writers always come first', async () => {
    const kv = createFakeKv();
    const key = newKey();
    await createDirectory(kv).reserve(dev, key, 1);
    const losing = createDirectory({ ...kv, update: async () => null });
    await expect(losing.publish(dev, key, 'active', 1)).rejects.toMatchObject({ code: 451 });
  });

  test('says 451, never "no such list", where a row cannot be read', async () => {
    const values = ['', '{', '[]', '{"address":"x"}', '{"state":"sold"}'];
    for (const value of values) {
      const kv = createFakeKv();
      const directory = createDirectory({
        ...kv,
        get: async (key) => ({ key, value: new TextEncoder().encode(value), revision: 1 }),
      });
      await expect(directory.find(dev)).rejects.toMatchObject({ code: 451, status: '4.3.0' });
    }
  });

  test('its row keys are base32 of SHA-256, legal in a subject for any address', async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'binary', minLength: 1 }), async (text) => {
        const kv = createFakeKv();
        const keys: string[] = [];
        const directory = createDirectory({
          ...kv,
          get: async (key) => {
            keys.push(key);
            return null;
          },
        });
        await directory.find(text as Address);
        expect(keys[0]).toMatch(/^[a-z2-7]{52}$/);
      }),
      { numRuns: 200 },
    );
    const keys: string[] = [];
    const kv = createFakeKv();
    await createDirectory({
      ...kv,
      get: async (key) => {
        keys.push(key);
        return null;
      },
    }).find('DEV@lists.example' as Address);
    const digest = createHash('sha256').update(dev).digest();
    expect(decodeBase32(keys[0] ?? '')).toEqual([...digest]);
  });
});

/** The other way round, by another method: as one large number. */
function decodeBase32(text: string): readonly number[] {
  let value = 0n;
  for (const letter of text) {
    value = value * 32n + BigInt('abcdefghijklmnopqrstuvwxyz234567'.indexOf(letter));
  }
  const bits = BigInt(text.length * 5);
  const hex = (value >> (bits - 256n)).toString(16).padStart(64, '0');
  return [...Buffer.from(hex, 'hex')];
}

describe('the mirror', () => {
  test('knows every list by address, key and prefix, and follows each change', async () => {
    const directory = createDirectory(createFakeKv());
    const [first, second] = [newKey(), newKey()];
    await directory.reserve(dev, first, 1);
    const ending = new AbortController();
    const mirror = await directory.mirror(ending.signal);
    expect(mirror.find('Dev@lists.example' as Address)?.state).toBe('new');
    await directory.publish(dev, first, 'active', 7);
    await directory.reserve(ops, second, 1);
    await eventually(() => mirror.keysByPrefix(prefixOf(second)).length === 1);
    expect(mirror.byKey(first)).toEqual({
      address: dev,
      key: first,
      state: 'active',
      maxMessageBytes: 7,
    });
    expect(mirror.size).toBe(2);
    expect([...mirror.all()].map(({ address }) => address)).toEqual([dev, ops]);
    expect(mirror.keysByPrefix('aaaaaaaa')).toEqual([]);
    ending.abort();
    await mirror.ended;
  });

  test('leaves out rows that it cannot read', async () => {
    const kv = createFakeKv();
    await kv.create('rogue', new TextEncoder().encode('{"address":"a@b.example"}'));
    await kv.create('p.rogue', new TextEncoder().encode('{}'));
    const directory = createDirectory(kv);
    await directory.reserve(dev, newKey(), 1);
    const ending = new AbortController();
    const mirror = await directory.mirror(ending.signal);
    expect(mirror.size).toBe(1);
    ending.abort();
  });
});

describe('the directory on nats-server', () => {
  let server: NatsServer;
  let nats: Nats;

  beforeAll(async () => {
    server = await startNats();
    nats = await connectWithStreams(server);
  });
  afterAll(async () => {
    await nats?.close();
    await server?.stop();
  });

  test('a mirror stays right over a kill of nats-server, on another connection', async () => {
    const writer = createDirectory(await openKv(nats, 'troupe_directory'));
    const other = await connectWithStreams(server);
    const reader = createDirectory(await openKv(other, 'troupe_directory'));
    const [first, second] = [newKey(), newKey()];
    await writer.reserve(dev, first, 1);
    const ending = new AbortController();
    const mirror = await reader.mirror(ending.signal);
    expect(mirror.find(dev)?.state).toBe('new');
    await server.kill9();
    await server.restart();
    for (;;) {
      try {
        await writer.publish(dev, first, 'active', 2);
        await writer.reserve(ops, second, 1);
        break;
      } catch (error) {
        expect(error).toMatchObject({ code: 451, status: '4.3.0' });
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
    await eventually(() => mirror.size === 2 && mirror.keysByPrefix(prefixOf(second)).length > 0);
    expect(mirror.find(dev)).toEqual(await writer.find(dev));
    expect(mirror.byKey(second)).toEqual(await writer.find(ops));
    ending.abort();
    await mirror.ended;
    await other.close();
  });
});
