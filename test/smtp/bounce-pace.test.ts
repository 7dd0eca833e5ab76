/** Bounces at the edge while posts are being sent, over a clock that stands still. */
import { expect, test } from 'vitest';
import { MailError } from '../../src/errors.ts';
import { type Address, parseAddress } from '../../src/mail/address.ts';
import { BOUNCES_PER_SECOND, pacedBounces, TURN_MS_MAX } from '../../src/smtp/bounce-pace.ts';
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

test('while posts are sent, bounces come in at a steady pace', async () => {
  const { clock, ask } = world();
  let answered = 0;
  for (let i = 0; i < 2 * BOUNCES_PER_SECOND; i++) {
    void Promise.resolve(ask(BOUNCE)).then(() => {
      answered += 1;
    });
  }
  await clock.advance(500);
  expect(answered).toBe(BOUNCES_PER_SECOND / 2 + 1);
  await clock.advance(1_500);
  expect(answered).toBe(2 * BOUNCES_PER_SECOND);
});

test('what is no bounce, and what is refused, never waits', () => {
  const { ask, waited } = world();
  ask(BOUNCE);
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

test('no bounce waits longer than an MTA does, however many come', async () => {
  const { clock, ask } = world();
  const many = (TURN_MS_MAX / 1_000) * BOUNCES_PER_SECOND * 3;
  const all = Array.from({ length: many }, () => ask(BOUNCE));
  expect(clock.sleepers()).toBe(many - 1);
  await clock.advance(TURN_MS_MAX);
  expect(clock.sleepers()).toBe(0);
  expect(await Promise.all(all)).toHaveLength(many);
});
