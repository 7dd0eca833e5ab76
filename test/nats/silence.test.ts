import { expect, test } from 'vitest';
import { MailError } from '../../src/errors.ts';
import { createSilence } from '../../src/nats/silence.ts';

function world() {
  const state = { now: 0, isConnected: true };
  const silence = createSilence({
    monotonic: () => state.now,
    isConnected: () => state.isConnected,
  });
  const fails = (code: number) => async () => {
    throw new MailError(code, code < 500 ? '4.3.0' : '5.3.4', 'no answer');
  };
  const unanswered = (subject: string) =>
    silence.watch(subject, fails(451)).catch((error: unknown) => error);
  return { state, silence, fails, unanswered };
}

test('what stays unanswered for ten seconds is silent, by kind, until something of it is answered', async () => {
  const { state, silence, unanswered } = world();
  await unanswered('troupe.mail.post');
  state.now = 9_999;
  await unanswered('troupe.mail.owner');
  await unanswered('troupe.ledger.3.owner');
  expect(silence.silent()).toEqual([]);
  state.now = 10_000;
  await unanswered('troupe.mail.part');
  expect(silence.silent()).toEqual(['mail']);
  expect(await silence.watch('troupe.mail.post', async () => 7)).toBe(7);
  expect(silence.silent()).toEqual([]);
});

test('one blip long ago is no silence, nor is a refusal', async () => {
  const { state, silence, fails, unanswered } = world();
  await Promise.all([unanswered('troupe.mail.post'), unanswered('troupe.mail.post')]);
  state.now = 3_600_000;
  expect(silence.silent()).toEqual([]);
  const refused = silence.watch('troupe.mail.post', fails(552));
  await expect(refused).rejects.toMatchObject({ code: 552 });
  await unanswered('troupe.mail.post');
  expect(silence.silent()).toEqual([]);
});

test('what fails while NATS is away is not its silence, and a new connection begins anew', async () => {
  const { state, silence, unanswered } = world();
  state.isConnected = false;
  await unanswered('troupe.mail.post');
  state.now = 20_000;
  await unanswered('troupe.mail.post');
  expect(silence.silent()).toEqual([]);
  state.isConnected = true;
  await unanswered('troupe.mail.post');
  state.now = 40_000;
  await unanswered('troupe.mail.post');
  expect(silence.silent()).toEqual(['mail']);
  silence.forget();
  expect(silence.silent()).toEqual([]);
});
