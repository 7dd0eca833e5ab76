/** Bounces at the edge while posts are being sent, over a clock that stands still. */
import { expect, test } from 'vitest';
import { MailError } from '../../src/errors.ts';
import { type Address, parseAddress } from '../../src/mail/address.ts';
import { GROUP_MAX, GROUP_MS, pacedBounces, TURN_MS_MAX } from '../../src/smtp/bounce-pace.ts';
import type { RcptAnswer } from '../../src/smtp/edge-transaction.ts';
import { createFakeClock } from '../support/fake/clock.ts';

const addressOf = (text: string): Address => {
  const address = parseAddress(text);
  if (address === null) throw new Error(text);
  return address;
};
const BOUNCE = addressOf('b+token@lists.example.org');
const POST = addressOf('dev@lists.example.org');
const NOBODY = addressOf('nobody@lists.example.org');
const REFUSED: RcptAnswer = { refuse: new MailError(550, '5.1.1', 'No such list here') };

function world() {
  const clock = createFakeClock();
  const state = { isSending: true };
  const resolve = (address: Address): RcptAnswer => {
    if (address === NOBODY) return REFUSED;
    return { kind: address === BOUNCE ? 'bounce' : 'post', maxMessageBytes: 1 };
  };
  const waited: string[] = [];
  const meter = { count: (name: string) => void waited.push(name), observe: () => undefined };
  const ask = pacedBounces(resolve, () => state.isSending, { clock, meter });
  return { clock, state, waited, ask };
}

test('while posts are sent, bounces come in a group at a time', async () => {
  const { clock, ask } = world();
  let answered = 0;
  for (let i = 0; i < 2 * GROUP_MAX; i++) {
    void Promise.resolve(ask(BOUNCE)).then(() => {
      answered += 1;
    });
  }
  await clock.advance(GROUP_MS - 1);
  expect(answered).toBe(0);
  await clock.advance(1);
  expect(answered).toBe(GROUP_MAX);
  await clock.advance(GROUP_MS);
  expect(answered).toBe(2 * GROUP_MAX);
  expect(clock.sleepers()).toBe(0);
  ask(BOUNCE);
  expect(clock.sleepers()).toBe(1);
});

test('what is no bounce, and what is refused, never waits', () => {
  const { ask, waited } = world();
  expect(ask(BOUNCE)).toBeInstanceOf(Promise);
  expect(ask(POST)).toMatchObject({ kind: 'post' });
  expect(ask(NOBODY)).toBe(REFUSED);
  expect(waited).toEqual(['edge_bounces_waited']);
});

test('bounces wait for nobody while nothing is sent', () => {
  const { state, ask } = world();
  state.isSending = false;
  for (let i = 0; i < 1_000; i++) expect(ask(BOUNCE)).toMatchObject({ kind: 'bounce' });
});

test('those that wait come in when all has been sent', async () => {
  const { clock, state, ask } = world();
  const all = Array.from({ length: 3 * GROUP_MAX }, () => ask(BOUNCE));
  state.isSending = false;
  await clock.advance(GROUP_MS);
  expect(await Promise.all(all)).toHaveLength(3 * GROUP_MAX);
  expect(clock.sleepers()).toBe(0);
});

test('no bounce waits longer than an MTA does, however many come', async () => {
  const { clock, ask } = world();
  const many = (TURN_MS_MAX / GROUP_MS) * GROUP_MAX * 3;
  const all = Array.from({ length: many }, () => ask(BOUNCE));
  await clock.advance(TURN_MS_MAX);
  expect(clock.sleepers()).toBe(0);
  expect(await Promise.all(all)).toHaveLength(many);
});
