import { expect, test } from 'vitest';
import { MailError } from '../../src/errors.ts';
import { decodeDue, encodeDue } from '../../src/nats/codec.ts';
import { dispose, type LaterNeeds } from '../../src/runners/later.ts';
import type { Due } from '../../src/world.ts';
import { chunkOf, deliveryOf } from '../support/outgoing-story.ts';

type Timer = { readonly type: 'tell-moderators' };

function start(): LaterNeeds<Timer> & { readonly given: unknown[] } {
  const given: unknown[] = [];
  return {
    given,
    decode: decodeDue<Timer>,
    outgoing: { put: async (chunks) => void given.push(...chunks) },
    mailbox: { put: async (key, asked) => void given.push([key, asked]) },
    meter: { count: () => undefined, observe: () => undefined },
  };
}

const due = (what: Due<Timer>) => deliveryOf(encodeDue(what), '');

test('W1: a chunk whose next try is due goes to outgoing as it is', async () => {
  const needs = start();
  const chunk = chunkOf(2, { class: 'retry', try: 1 });
  expect(await dispose(due({ to: 'outgoing', chunk }), needs)).toEqual({ kind: 'done' });
  expect(needs.given).toMatchObject([chunk]);
});

test('W1: a timer goes to its list with the id that it has', async () => {
  const needs = start();
  const { key } = chunkOf(1);
  const asked = { id: 'holds.5', command: { type: 'tell-moderators' } } as const;
  await dispose(due({ to: 'mailbox', key, asked }), needs);
  expect(needs.given).toMatchObject([[key, asked]]);
});

test('what cannot be handed on for now is thrown, and comes again', async () => {
  const put = () => Promise.reject(new MailError(452, '4.3.1', 'full'));
  const needs = { ...start(), outgoing: { put } };
  await expect(dispose(due({ to: 'outgoing', chunk: chunkOf(1) }), needs)).rejects.toThrow('full');
});

test('what is not ours is thrown, to be parked', async () => {
  await expect(dispose(deliveryOf(Buffer.from('{"to":"?"}'), ''), start())).rejects.toThrow();
});
