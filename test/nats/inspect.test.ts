import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { MailError } from '../../src/errors.ts';
import type { Nats } from '../../src/nats/connect.ts';
import { serveControl, serveInspect, serveOutbox } from '../../src/nats/inspect.ts';
import type { Captured } from '../../src/world.ts';
import { connectTo, type NatsServer, startNats } from '../support/nats.ts';

/** Of a loaded machine. */
const ANSWER_MS_MAX = 60_000;

let server: NatsServer;
let node: Nats;
let caller: Nats;
const serving: { close(): void | Promise<void> }[] = [];

beforeAll(async () => {
  server = await startNats();
  node = await connectTo(server, 'node');
  caller = await connectTo(server, 'caller');
});
afterAll(async () => {
  await Promise.all(serving.map((one) => one.close()));
  await Promise.all([node?.close(), caller?.close()]);
  await server?.stop();
});

const inspect = async (what: string) => {
  const reply = await caller.nc.request(`troupe.inspect.${what}`, '', { timeout: ANSWER_MS_MAX });
  return reply.json<unknown>();
};

function inspectionOf(nodeId: string) {
  return {
    nodeId,
    list: async (address: string, level: string) => {
      if (address.startsWith('none@')) return null;
      if (address.startsWith('away@')) throw new MailError(451, '4.3.0', 'not now');
      if (address.startsWith('bug@')) throw new TypeError('secret of /var/lib');
      return level === 'fast' ? { address } : { address, level };
    },
    delivery: (list: string, request: object) => ({ list, ...request }),
    bounces: (address: string) => ({ address, days: [] }),
    node: () => ({ node: nodeId }),
    nodes: () => ({ nodes: [{ node: nodeId }] }),
    slot: (slot: number) => ({ slot }),
    slotHere: (slot: number) => ({ slot, node: nodeId }),
    slots: () => ({ slots: [] }),
    route: (name: string) => (name === 'smart.host' ? { name } : null),
  };
}

describe('inspection', () => {
  beforeAll(async () => {
    serving.push(await serveInspect(node, inspectionOf('n1')));
    serving.push(await serveInspect(node, inspectionOf('n2')));
    await node.nc.flush();
  });

  test('an address is inspected by its own name, dots and all', async () => {
    expect(await inspect('list.dev.team@lists.example.org')).toEqual({
      address: 'dev.team@lists.example.org',
    });
  });

  test('what became of a post is asked of its list, in JSON', async () => {
    const ask = async (body: string): Promise<unknown> => {
      const subject = 'troupe.inspect.delivery.dev@lists.example.org';
      return (await caller.nc.request(subject, body, { timeout: ANSWER_MS_MAX })).json();
    };
    const list = 'dev@lists.example.org';
    expect(await ask('{"post":7}')).toEqual({ list, post: 7 });
    expect(await ask('{"post":7,"recipient":"A@B.example"}')).toEqual({
      ...{ list, post: 7, recipient: 'A@b.example' },
    });
    expect(await ask('{"post":7,"failed":{"after":3,"limit":9999}}')).toEqual({
      ...{ list, post: 7, failed: { after: 3, limit: 500 } },
    });
    for (const wrong of ['', '{"post":"7"}', '{"post":-1}', '{"post":1,"failed":{"limit":0}}']) {
      expect(await ask(wrong)).toMatchObject({ error: { code: 501 } });
    }
    expect(await ask('{"post":1,"recipient":"nobody"}')).toMatchObject({ error: { code: 501 } });
  });

  test('one of many nodes answers, and only one', async () => {
    const inbox = caller.nc.subscribe('inbox.many');
    caller.nc.publish('troupe.inspect.list.dev@example.org', '', { reply: 'inbox.many' });
    await inspect('list.dev@example.org');
    await inspect('node.n1');
    await inspect('node.n2');
    await caller.nc.flush();
    expect(inbox.getReceived()).toBe(1);
    inbox.unsubscribe();
  });

  test('a node is inspected by its id, any node without', async () => {
    expect(await inspect('node.n1')).toEqual({ node: 'n1' });
    expect(await inspect('node.n2')).toEqual({ node: 'n2' });
    expect(await inspect('node')).toMatchObject({ node: expect.stringMatching(/^n[12]$/) });
    await expect(inspect('node.n3')).rejects.toMatchObject({ code: '503' });
  });

  test('slots and routes are inspected by number and name', async () => {
    expect(await inspect('slot.63')).toEqual({ slot: 63 });
    expect(await inspect('route.smart.host')).toEqual({ name: 'smart.host' });
  });

  test.each([
    ['list.none@example.org', { code: 550, status: '5.1.1' }],
    ['list.not-an-address', { code: 501, status: '5.1.3' }],
    ['list.away@example.org', { code: 451, text: 'not now' }],
    ['list.bug@example.org', { code: 451, text: expect.not.stringContaining('var') }],
    ['slot.64', { code: 501 }],
    ['slot.x', { code: 501 }],
    ['route.other', { code: 550 }],
  ])(
    'what cannot be answered is an error in JSON and for the tools of NATS: %s',
    async (what, error) => {
      const reply = await caller.nc.request(`troupe.inspect.${what}`);
      expect(reply.json()).toMatchObject({ error });
      expect(reply.headers?.get('Nats-Service-Error-Code')).toMatch(/^\d+$/);
    },
  );

  test('the nodes are found as a NATS micro service', async () => {
    const reply = await caller.nc.request('$SRV.INFO.troupe');
    const info = reply.json<{ endpoints: { subject: string }[]; metadata: { node: string } }>();
    expect(info.metadata.node).toMatch(/^n[12]$/);
    expect(info.endpoints.map(({ subject }) => subject)).toEqual([
      'troupe.inspect.list.>',
      'troupe.inspect.delivery.>',
      'troupe.inspect.bounces.>',
      'troupe.inspect.slot.>',
      'troupe.inspect.slots',
      'troupe.inspect.route.>',
      'troupe.inspect.nodes',
      'troupe.inspect.node',
      `troupe.inspect.node.${info.metadata.node}`,
      `troupe.inspect.node.${info.metadata.node}.slot.>`,
    ]);
  });

  test('a node is asked what it has of a slot, and any node for all nodes and slots', async () => {
    expect(await inspect('node.n2.slot.5')).toEqual({ slot: 5, node: 'n2' });
    expect(await inspect('slots')).toEqual({ slots: [] });
    expect(await inspect('nodes')).toMatchObject({ nodes: [{}] });
  });

  test('a list is inspected at the level that the body names', async () => {
    const subject = 'troupe.inspect.list.dev@example.org';
    const at = async (body: string) => (await caller.nc.request(subject, body)).json<unknown>();
    expect(await at('{"level":"barrier"}')).toMatchObject({ level: 'barrier' });
    expect(await at('{}')).toEqual({ address: 'dev@example.org' });
    expect(await at('{"level":"certain"}')).toMatchObject({ error: { code: 501 } });
    expect(await at('barrier')).toMatchObject({ error: { code: 501 } });
  });

  test('a node that sends nothing is not asked about routes', async () => {
    const { route: _, ...rest } = inspectionOf('n4');
    const web = await serveInspect(node, rest);
    await node.nc.flush();
    for (let i = 0; i < 8; i++)
      expect(await inspect('route.smart.host')).toMatchObject({ name: 'smart.host' });
    await web.close();
  });

  test('a closed node is asked no more', async () => {
    const third = await serveInspect(node, inspectionOf('n3'));
    await node.nc.flush();
    expect(await inspect('node.n3')).toEqual({ node: 'n3' });
    await third.close();
    await node.nc.flush();
    await expect(inspect('node.n3')).rejects.toMatchObject({ code: '503' });
  });
});

describe('orders to a node', () => {
  const undrain = (): Promise<unknown> => Promise.reject(new Error('nobody said so'));
  const order = async (name: string, body: string) =>
    (
      await caller.nc.request(`troupe.node.${name}`, body, { timeout: ANSWER_MS_MAX })
    ).json<unknown>();

  test('a node drains when it is told to, once for all who tell it at the same time', async () => {
    let many = 0;
    const end = Promise.withResolvers<void>();
    const drain = async () => {
      many += 1;
      await end.promise;
      return { node: 'n1', tookMs: 5 };
    };
    serving.push(serveControl(node, 'n1', { drain, undrain }));
    await node.nc.flush();
    const both = [order('n1', '{"do":"drain"}'), order('n1', '{"do":"drain"}')];
    await caller.nc.flush();
    await node.nc.flush();
    end.resolve();
    expect(await Promise.all(both)).toEqual([
      { node: 'n1', tookMs: 5 },
      { node: 'n1', tookMs: 5 },
    ]);
    expect(many).toBe(1);
    expect(await order('n1', '{"do":"dance"}')).toMatchObject({ error: { code: 501 } });
    await expect(order('n2', '{"do":"drain"}')).rejects.toMatchObject({ code: '503' });
  });

  test('an order waits for the one before it, whatever became of that', async () => {
    const told: string[] = [];
    const end = Promise.withResolvers<void>();
    const drain = async () => {
      await end.promise;
      told.push('drained');
      throw new MailError(451, '4.3.0', 'not now');
    };
    const undrain = async () => {
      told.push('undrained');
      return { node: 'n4' };
    };
    serving.push(serveControl(node, 'n4', { drain, undrain }));
    await node.nc.flush();
    const both = [order('n4', '{"do":"drain"}'), order('n4', '{"do":"undrain"}')];
    await caller.nc.flush();
    await node.nc.flush();
    end.resolve();
    expect(await Promise.all(both)).toMatchObject([{ error: { code: 451 } }, { node: 'n4' }]);
    expect(told).toEqual(['drained', 'undrained']);
  });

  test('a drain that fails is told as an error', async () => {
    const drain = () => Promise.reject(new MailError(451, '4.3.0', 'not now'));
    serving.push(serveControl(node, 'n3', { drain, undrain }));
    await node.nc.flush();
    expect(await order('n3', '{"do":"drain"}')).toMatchObject({ error: { text: 'not now' } });
  });
});

describe('the outbox over NATS', () => {
  const mails: readonly Captured[] = [2, 1].map((id) => ({
    id,
    at: 1_000 + id,
    sender: '',
    recipients: ['ann@example.org'],
    message: new TextEncoder().encode(`Subject: Mail ${id}\r\n\r\nÄ body.\r\n`),
  }));
  const ask = async (request: unknown) =>
    (await caller.nc.request('troupe.outbox', JSON.stringify(request))).json<unknown>();

  beforeAll(async () => {
    serving.push(
      serveOutbox(node, {
        list: (before, limit) =>
          mails.filter(({ id }) => before === null || id < before).slice(0, limit),
        get: (id) => mails.find((mail) => mail.id === id) ?? null,
        count: () => mails.length,
      }),
    );
    await node.nc.flush();
  });

  test('shows captured mail newest first, in pages', async () => {
    expect(await ask({ limit: 1 })).toMatchObject({ count: 2, mails: [{ id: 2 }] });
    expect(await ask({ before: 2 })).toMatchObject({ mails: [{ id: 1, subject: 'Mail 1' }] });
    const all = (await caller.nc.request('troupe.outbox')).json<{ mails: unknown[] }>();
    expect(all.mails).toHaveLength(2);
  });

  test('shows one mail whole, byte for byte', async () => {
    const { mail } = (await ask({ id: 2 })) as { mail: { raw: string } };
    expect(Buffer.from(mail.raw, 'base64')).toEqual(Buffer.from(mails[0]?.message ?? []));
    expect(await ask({ id: 3 })).toEqual({ mail: null });
  });

  test('what is no JSON is answered by an error', async () => {
    const reply = await caller.nc.request('troupe.outbox', '{');
    expect(reply.json()).toMatchObject({ error: { status: expect.any(String) } });
  });
});
