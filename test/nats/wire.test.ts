import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ADD_MEMBERS_MAX, type Command, type Question } from '../../actors/protocol.ts';
import type { Address } from '../../src/mail/address.ts';
import { parseAskRequest, parseCommand, parseQuestion } from '../../src/nats/wire.ts';

const address = 'ann@example.org' as Address;
const by = { kind: 'person', address } as const;
const post = {
  id: 'a'.repeat(64),
  from: [address],
  sender: '',
  subject: 'Höhle',
  messageId: '<1@example.org>',
  messageIdIsOurs: false,
  bytes: 10,
  automatic: true,
  smtputf8: false,
  problems: ['suspicious-mime'],
  authentication: 'none',
  mail: { in: 'mail', seq: 9, parts: [7, 8] },
  receivedAt: 1,
  received: 'from x ([192.0.2.1]) by lists.example id t; Tue, 14 Nov 2023 22:13:20 +0000',
  trace: 't',
} as const;

/** One of each: a command that is added to the protocol and not here does not compile. */
const COMMANDS: { readonly [T in Command['type']]: Extract<Command, { type: T }> } = {
  create: {
    type: 'create',
    address: 'dev@lists.example' as Address,
    settings: { posting: 'members', maxMessageBytes: 300_000 },
    owners: [address],
    by: { kind: 'operator', name: 'root' },
  },
  set: { type: 'set', settings: { footer: 'a\nb', mode: 'shared' }, by },
  'declare-emergency': { type: 'declare-emergency', by },
  'lift-emergency': { type: 'lift-emergency', by: { kind: 'token', member: 3 } },
  retire: { type: 'retire', by: { kind: 'list' } },
  post: { type: 'post', post },
  'owner-mail': { type: 'owner-mail', mail: { ...post, mail: { in: 'held', seq: 1 } } },
  'add-members': { type: 'add-members', members: [{ address, name: 'Ann' }], by },
  'remove-member': { type: 'remove-member', who: { number: 4 }, by },
  grant: { type: 'grant', role: 'owner', address, by },
  revoke: { type: 'revoke', role: 'moderator', address, by },
  approve: { type: 'approve', hold: 1, by },
  reject: { type: 'reject', hold: 1, comment: 'off topic', by },
  discard: { type: 'discard', hold: 1, by },
  'order-post': { type: 'order-post', post: 7, order: 'pause', by },
  resend: { type: 'resend', post: 7, to: [1, 5], by },
  'keep-hold': { type: 'keep-hold', hold: 4, tries: 2 },
  'tell-moderators': { type: 'tell-moderators' },
  repair: { type: 'repair', from: 345, to: 360, by },
  'bounce-verdict': {
    ...{ type: 'bounce-verdict', verdict: 'warn', member: 7, count: 2, complaint: false },
    cause: { seq: 9, reason: 'user-unknown', status: '5.1.1', code: 550, diagnostic: 'no' },
  },
  'bounce-hint': {
    ...{ type: 'bounce-hint', address },
    cause: { seq: 9, reason: 'user-unknown', status: null, code: null, diagnostic: '' },
  },
  'bounce-storm': {
    ...{ type: 'bounce-storm', post: 3, reason: 'spam', bounced: 40, members: 90 },
    ...{ blame: 'provider', where: 'example.org' },
  },
  'set-delivery': { type: 'set-delivery', who: { address }, on: true, by },
  'tell-owners': { type: 'tell-owners', due: 5 },
};

const QUESTIONS: { readonly [A in Question['ask']]: Extract<Question, { ask: A }> } = {
  list: { ask: 'list' },
  inspect: { ask: 'inspect' },
  roster: { ask: 'roster', role: 'member', after: -1, limit: 100 },
  chain: { ask: 'chain' },
  holds: { ask: 'holds', after: 0, limit: 1 },
  hold: { ask: 'hold', hold: 3 },
  posts: { ask: 'posts', before: 8, limit: 20, by },
  post: { ask: 'post', post: 7, by, recipient: address, numbers: [1, 2] },
  bounces: { ask: 'bounces', after: -1, limit: 50 },
  'bounces-of': { ask: 'bounces-of', who: { number: 4 } },
  'bounce-report': { ask: 'bounce-report' },
};

const encode = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));

describe('the wire', () => {
  test.each(Object.values(COMMANDS))('takes the command $type as it is', (command) => {
    expect(parseAskRequest(encode({ id: 'c.1', command }))).toEqual({
      ok: true,
      value: { id: 'c.1', command },
    });
  });

  test.each(Object.values(QUESTIONS))('takes the question $ask as it is', (question) => {
    expect(parseAskRequest(encode({ question }))).toEqual({ ok: true, value: { question } });
  });

  test('writes addresses as the grammar does', () => {
    const command = { ...COMMANDS.grant, address: '"ann"@EXAMPLE.org' };
    expect(parseCommand(command)).toMatchObject({ value: { address } });
  });

  test.each([
    ['an unknown type', { type: 'shutdown' }],
    ['an unknown field', { ...COMMANDS.retire, force: true }],
    ['an unknown setting', { ...COMMANDS.set, settings: { colour: 'red' } }],
    ['a missing field', { type: 'approve', by }],
    ['a bad address', { ...COMMANDS.grant, address: 'ann@example.org\r\nRCPT TO:<x@y>' }],
    ['a wildcard for a list', { ...COMMANDS.create, address: '*@lists.example' }],
    ['a list name with a space', { ...COMMANDS.create, address: '"a b"@lists.example' }],
    ['a list name with upper case', { ...COMMANDS.create, address: 'Dev@lists.example' }],
    ['a list name of 300', { ...COMMANDS.create, address: `${'a'.repeat(300)}@lists.example` }],
    [
      'a name too long',
      { ...COMMANDS['add-members'], members: [{ address, name: 'x'.repeat(2_000) }] },
    ],
    ['a footer too long', { ...COMMANDS.set, settings: { footer: 'x'.repeat(20_000) } }],
    ['a negative hold', { ...COMMANDS.approve, hold: -1 }],
    ['half a hold', { ...COMMANDS.approve, hold: 1.5 }],
    [
      'an infinite size',
      { ...COMMANDS.set, settings: { maxMessageBytes: Number.POSITIVE_INFINITY } },
    ],
    ['nobody', { ...COMMANDS.retire, by: { kind: 'nobody' } }],
    [
      'too many members',
      {
        ...COMMANDS['add-members'],
        members: Array.from({ length: ADD_MEMBERS_MAX + 1 }, (_, i) => ({
          address: `a${i}@b.example`,
          name: '',
        })),
      },
    ],
  ])('refuses %s, and says why in one short line', (_, command) => {
    const parsed = parseCommand(command);
    expect(parsed).toMatchObject({ ok: false, why: expect.stringMatching(/^.{1,300}$/) });
  });

  test.each([
    { ask: 'secrets' },
    { ask: 'roster', role: 'member', after: -1, limit: 1_001 },
    { ask: 'roster', role: 'member', after: -1, limit: 0 },
    { ask: 'holds', after: 0 },
  ])('refuses the question %j', (question) => {
    expect(parseQuestion(question).ok).toBe(false);
  });

  test.each(['', 'a b', 'x'.repeat(201), 'a\n', 'ä'])('refuses the command id %j', (id) => {
    expect(parseAskRequest(encode({ id, command: COMMANDS.retire })).ok).toBe(false);
  });

  test('never throws, whatever comes', () => {
    fc.assert(
      fc.property(fc.uint8Array(), fc.json(), fc.anything(), (bytes, json, anything) => {
        for (const payload of [bytes, new TextEncoder().encode(json)]) {
          expect(typeof parseAskRequest(payload).ok).toBe('boolean');
        }
        expect(typeof parseCommand(anything).ok).toBe('boolean');
        expect(typeof parseQuestion(anything).ok).toBe('boolean');
      }),
    );
  });

  test('takes nothing that differs from what it gives back', () => {
    const some = fc.constantFrom(...Object.values(COMMANDS));
    fc.assert(
      fc.property(some, fc.string(), fc.jsonValue(), (command, field, value) => {
        const changed = JSON.parse(JSON.stringify({ ...command, [field]: value })) as unknown;
        const parsed = parseCommand(changed);
        if (parsed.ok) expect(parsed.value).toEqual(changed);
      }),
    );
  });
});
