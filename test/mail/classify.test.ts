/** What recipient addresses mean. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Address, addressKey, parseAddress } from '../../src/mail/address.ts';
import {
  type ClassifyNeeds,
  classify,
  type KnownList,
  listNamesOf,
  mailKindOf,
} from '../../src/mail/classify.ts';
import { listKeyOf } from '../../src/mail/list-key.ts';
import { makeMachineAddress, makeToken } from '../../src/mail/machine-address.ts';

const SECRET = new Uint8Array(32).fill(1);
const address = (text: string): Address => parseAddress(text) ?? expect.unreachable(text);

function list(text: string, seed: number): KnownList {
  const key = listKeyOf(new Uint8Array(26).map((_, i) => seed * 7 + i));
  return { address: address(text), key, state: 'active', maxMessageBytes: 1_000 };
}

const DEV = list('dev@lists.example', 1);
const DEV_JOIN = list('dev-join@lists.example', 2);
const DOTTED = list('a.b-owner-owner@lists.example', 3);
const LISTS = [DEV, DEV_JOIN, DOTTED];

const needs: ClassifyNeeds = {
  lists: {
    find: (asked) => LISTS.find((each) => addressKey(each.address) === addressKey(asked)) ?? null,
    byKey: (key) => LISTS.find((each) => each.key === key) ?? null,
    keysByPrefix: (prefix) => LISTS.map(({ key }) => key).filter((key) => key.startsWith(prefix)),
  },
  secrets: [SECRET],
  isOurs: (domain) => domain === 'lists.example',
};
const meaning = (text: string) => classify(address(text), needs);

describe('names', () => {
  test('the address of a list is for posts, in any case', () => {
    expect(meaning('dev@lists.example')).toEqual({ kind: 'post', list: DEV });
    expect(meaning('DEV@Lists.Example')).toEqual({ kind: 'post', list: DEV });
    expect(meaning('"dev"@lists.example')).toEqual({ kind: 'post', list: DEV });
  });

  test.each([
    ['dev-owner', { kind: 'owner', list: DEV }],
    ['Dev-Owner', { kind: 'owner', list: DEV }],
    ['dev-bounces', { kind: 'bounce', list: DEV, member: null, post: null }],
    ['dev-bounces+jane=example.org', { kind: 'bounce', list: DEV, member: null, post: null }],
    ['dev-request', { kind: 'command', list: DEV, verb: 'request', rest: '' }],
    ['dev-subscribe', { kind: 'command', list: DEV, verb: 'join', rest: '' }],
    ['dev-leave', { kind: 'command', list: DEV, verb: 'leave', rest: '' }],
    ['dev-unsubscribe', { kind: 'command', list: DEV, verb: 'leave', rest: '' }],
    ['dev-confirm+AbC12', { kind: 'command', list: DEV, verb: 'confirm', rest: 'AbC12' }],
    ['dev-confirm+a+b', { kind: 'command', list: DEV, verb: 'confirm', rest: 'a+b' }],
    ['dev-join-join', { kind: 'command', list: DEV_JOIN, verb: 'join', rest: '' }],
  ])('%s is a robot', (local, expected) => {
    expect(meaning(`${local}@lists.example`)).toEqual(expected);
  });

  test('a real list whose name ends in a robot suffix wins', () => {
    expect(meaning('dev-join@lists.example')).toEqual({ kind: 'post', list: DEV_JOIN });
    expect(meaning('a.b-owner-owner@lists.example')).toEqual({ kind: 'post', list: DOTTED });
    expect(meaning('a.b-owner@lists.example')).toEqual({ kind: 'unknown' });
  });

  test.each([
    'nobody',
    'dev+x',
    'dev-',
    '-owner',
    '-bounces+x',
    'dev-ownerx',
    'dev-owner-',
    'devowner',
    '.-owner',
  ])('%s is unknown', (local) => {
    const parsed = parseAddress(`${local}@lists.example`) ?? address(`"${local}"@lists.example`);
    expect(classify(parsed, needs)).toEqual({ kind: 'unknown' });
  });

  test('a name on another domain is unknown', () => {
    expect(meaning('dev@elsewhere.example')).toEqual({ kind: 'unknown' });
    expect(meaning('dev-owner@elsewhere.example')).toEqual({ kind: 'unknown' });
  });
});

describe('machine addresses', () => {
  const ids = { key: DEV.key, member: 5, post: 6 };
  const made = (kind: 'b' | 'u', domain = 'lists.example') =>
    makeMachineAddress(kind, ids, SECRET, domain);

  test('b+ is a bounce of one copy, and u+ removes its member', () => {
    expect(meaning(made('b'))).toEqual({ kind: 'bounce', list: DEV, member: 5, post: 6 });
    expect(meaning(made('u'))).toEqual({ kind: 'leave-token', list: DEV, member: 5, post: 6 });
    expect(meaning(made('u').toUpperCase())).toMatchObject({ kind: 'leave-token', member: 5 });
  });

  test('a wrong MAC is told apart', () => {
    expect(meaning(`b+${'a'.repeat(37)}@lists.example`)).toEqual({ kind: 'wrong-mac' });
    expect(meaning(made('u').replace('u+', 'b+'))).toEqual({ kind: 'wrong-mac' });
    const web = makeToken('w', ids, SECRET);
    expect(meaning(`u+${web}@lists.example`)).toEqual({ kind: 'wrong-mac' });
  });

  test('c+ confirms something that only its list knows', () => {
    const token = 'abcdefghijklmnopqrstuvwxyz';
    expect(meaning(`c+${token}@lists.example`)).toEqual({ kind: 'confirm-token', token });
  });

  test('they count only on a domain of ours', () => {
    expect(meaning(made('b', 'elsewhere.example'))).toEqual({ kind: 'unknown' });
  });
});

test('each meaning has the kind of mail that picks its queue', () => {
  const kinds = [
    'dev',
    'dev-owner',
    'dev-bounces',
    'dev-request',
    `c+${'a'.repeat(26)}`,
    `b+${'a'.repeat(37)}`,
    'x',
  ];
  expect(kinds.map((local) => mailKindOf(meaning(`${local}@lists.example`)))).toEqual([
    'post',
    'owner',
    'bounce',
    'command',
    'command',
    null,
    null,
  ]);
});

test('the names to ask the leader for are the address and the list whose robot it may be', () => {
  expect(listNamesOf(address('new@lists.example'))).toEqual(['new@lists.example']);
  expect(listNamesOf(address('New-Owner+x@lists.example'))).toEqual([
    'New-Owner+x@lists.example',
    'new@lists.example',
  ]);
});

test('no address throws', () => {
  const local = fc.string({
    unit: fc.constantFrom(...'abdev-owner+bounces.u7'),
    minLength: 1,
    maxLength: 45,
  });
  fc.assert(
    fc.property(local, (text) => {
      const parsed = parseAddress(`${text}@lists.example`);
      fc.pre(parsed !== null);
      expect(classify(parsed, needs).kind).toBeTypeOf('string');
    }),
  );
});
