/** What the list says of its posts, as it reaches outgoing. */
import { expect, test } from 'vitest';
import type { Command } from '../../actors/protocol.ts';
import { aboutPosts } from '../../src/host/post-questions.ts';
import type { Address } from '../../src/mail/address.ts';
import { openDraft } from '../../src/store/list-rows.ts';
import { fakeHostWorld } from '../support/fake/host-world.ts';
import { answered, killed, mailOf, start, tick, withList } from '../support/host-story.ts';
import { ANNE, BART, KEY, OPERATOR } from '../support/list-story.ts';

const order = (what: 'go' | 'pause' | 'cancel'): Command => ({
  ...{ type: 'order-post', post: 1, order: what, by: OPERATOR },
});
const chunkName = `${KEY}.1.0.1`;

test('an order is told, and what waits hears of it at once when the post goes on', async () => {
  const world = fakeHostWorld();
  const host = await withList(world);
  world.send(KEY, await mailOf(world, 'hello'));
  await tick(world, 2_000);
  const [chunk] = world.put;
  if (chunk === undefined) throw new Error('nothing was sent');
  await host.command(KEY, { id: 'p', command: order('pause') });
  await tick(world, 2_000);
  expect(world.orders.get(`${KEY}.1`)?.order).toBe('pause');
  const far = world.clock.now() + 3_600_000;
  await world.later.put(chunkName, far, { to: 'outgoing', chunk });
  await world.later.put(`${KEY}.2.0.1`, far, { to: 'outgoing', chunk });
  await host.command(KEY, { id: 'g', command: order('go') });
  await tick(world, 2_000);
  expect(world.orders.get(`${KEY}.1`)?.order).toBe('go');
  expect([...world.later.waiting.keys()]).toEqual([`${KEY}.2.0.1`]);
});

test('orders reach outgoing in the order they were given, whoever owns the list', async () => {
  const world = fakeHostWorld();
  const host = await withList(world);
  world.send(KEY, await mailOf(world, 'hello'));
  await tick(world, 2_000);
  const orders = ['pause', 'go', 'pause', 'cancel'] as const;
  await Promise.all(
    orders.map((one, i) => host.command(KEY, { id: `o${i}`, command: order(one) })),
  );
  const next = killed(world);
  await start(next);
  await tick(next, 5_000);
  expect(next.orders.get(`${KEY}.1`)?.order).toBe('cancel');
});

test('a fan-out that is not yet out stops when the post is cancelled', async () => {
  const world = fakeHostWorld();
  const host = await withList(world);
  world.outgoingError = new Error('outgoing is full');
  world.send(KEY, await mailOf(world, 'hello'));
  await tick(world, 500);
  await host.command(KEY, { id: 'c', command: order('cancel') });
  world.outgoingError = null;
  await tick(world, 120_000);
  expect(world.put).toEqual([]);
  expect(world.orders.get(`${KEY}.1`)?.order).toBe('cancel');
});

test('a post is sent again from its archived copy, under a name of its own, to who is a member still', async () => {
  const world = fakeHostWorld();
  const host = await withList(world);
  world.send(KEY, await mailOf(world, 'hello'));
  await tick(world, 2_000);
  const resend: Command = { type: 'resend', post: 1, to: [1, 2, 3], by: OPERATOR };
  const first = await host.command(KEY, { id: 'r', command: resend });
  expect(answered(first)).toEqual({ type: 'resent', members: 2 });
  await tick(world, 2_000);
  const archived = await world.mail.find('archive', KEY, 'a1');
  expect(world.put[1]).toMatchObject({
    ...{ post: '1', chunk: '0-r1', try: 0, class: 'post', mail: archived },
    to: [
      [1, ANNE],
      [2, BART],
    ],
  });
  const { received: _, ...recipe } = world.put[0]?.recipe ?? {};
  expect(world.put[1]?.recipe).toEqual(recipe);
  await host.command(KEY, { id: 'r2', command: { ...resend, to: [2] } });
  await tick(world, 2_000);
  expect(world.put[2]).toMatchObject({ chunk: '0-r2', to: [[2, BART]] });
});

test('who may not manage the list is not told what became of its posts', async () => {
  const world = fakeHostWorld();
  const host = await withList(world);
  world.send(KEY, await mailOf(world, 'hello'));
  await tick(world, 2_000);
  const by = { kind: 'person', address: BART } as const;
  const post = { ask: 'post', post: 1, recipient: BART } as const;
  expect(host.question(KEY, { ...post, by })).toMatchObject({ code: 'not-allowed' });
  expect(host.question(KEY, { ...post, by: { kind: 'person', address: ANNE } })).toMatchObject({
    ...{ number: 1, recipients: 2, subject: 'Hello', order: 'go', recipient: [2], counter: 3 },
  });
  const leave: Command = { type: 'remove-member', who: { number: 2 }, by: OPERATOR };
  const join: Command = {
    type: 'add-members',
    members: [{ address: BART, name: '' }],
    by: OPERATOR,
  };
  await host.command(KEY, { id: 'leave', command: leave });
  await host.command(KEY, { id: 'rejoin', command: join });
  const again = host.question(KEY, { ...post, by: OPERATOR, numbers: [2, 3, 9] });
  expect(again).toMatchObject({
    recipient: [2],
    members: [
      [2, BART],
      [3, BART],
    ],
  });
  const posts = { ask: 'posts', before: 99, limit: 10 } as const;
  expect(host.question(KEY, { ...posts, by })).toMatchObject({ code: 'not-allowed' });
  expect(host.question(KEY, { ...posts, by: OPERATOR })).toMatchObject({
    ...{ posts: [{ number: 1 }], next: null },
  });
});

test('a large post that is sent again does not stand before the posts of small lists', async () => {
  const world = { ...fakeHostWorld(), bulkMembers: 1 };
  const host = await withList(world);
  world.send(KEY, await mailOf(world, 'hello'));
  await tick(world, 2_000);
  await host.command(KEY, {
    id: 'r',
    command: { type: 'resend', post: 1, to: [1], by: OPERATOR },
  });
  await tick(world, 2_000);
  expect(world.put.map((chunk) => [chunk.chunk, chunk.class])).toEqual([
    ['0', 'bulk'],
    ['0-r1', 'bulk'],
  ]);
});

test('who gets no posts is no recipient of a post, until mail goes to them again', async () => {
  const world = fakeHostWorld();
  const host = await withList(world);
  const of = { member: 1, count: 0, complaint: true, cause: null } as const;
  const disable: Command = { type: 'bounce-verdict', verdict: 'disable', ...of };
  await host.command(KEY, { id: '1.disable.1', command: disable });
  world.send(KEY, await mailOf(world, 'hello'));
  await tick(world, 2_000);
  const about = (recipient: Address) =>
    aboutPosts(world.rows, KEY, { ask: 'post', post: 1, by: OPERATOR, recipient });
  expect(world.put.find((chunk) => chunk.class === 'post')?.to).toEqual([[2, BART]]);
  expect(about(ANNE)).toMatchObject({ recipients: 1, isOff: true });
  expect(about(BART)).toMatchObject({ recipients: 1, isOff: false });
  await host.command(KEY, {
    id: 'out',
    command: { type: 'remove-member', who: { address: ANNE }, by: OPERATOR },
  });
  world.send(KEY, await mailOf(world, 'again'));
  await tick(world, 2_000);
  expect(openDraft(world.rows, KEY, 0).postRow(2)?.live).toBe(1);
});
