/** What a recipient is, and when the leader is asked. */
import { expect, test } from 'vitest';
import { MailError } from '../../src/errors.ts';
import { type Address, addressKey, parseAddress } from '../../src/mail/address.ts';
import type { KnownList } from '../../src/mail/classify.ts';
import { type ListKey, listKeyOf, prefixOf } from '../../src/mail/list-key.ts';
import { makeMachineAddress } from '../../src/mail/machine-address.ts';
import {
  createResolver,
  LEADER_NAMES_PER_SECOND_MAX,
  UNKNOWN_MS,
} from '../../src/smtp/recipients.ts';
import { createFakeClock, type FakeClock } from '../support/fake/clock.ts';

const SECRET = new Uint8Array(32).fill(7);
const SITE_MAX = 10_000_000;

function address(text: string): Address {
  const parsed = parseAddress(text);
  if (parsed === null) throw new Error(text);
  return parsed;
}

let made = 0;
function list(text: string, state: KnownList['state'] = 'active'): KnownList {
  made++;
  const random = Uint8Array.from({ length: 26 }, (_, i) => (made * 7 + i * (made + 3)) & 255);
  return { address: address(text), key: listKeyOf(random), state, maxMessageBytes: 300_000 };
}

type Site = {
  /** What is in the copy; all of it is at the leader too. */
  readonly mirror: KnownList[];
  readonly leader: KnownList[];
  isReady: boolean;
  isAway: boolean;
  asked: string[];
  readonly clock: FakeClock;
  /** `kind bytes`, or `code status`. */
  ask(text: string): Promise<string>;
};

function site(mirror: KnownList[], onlyAtLeader: KnownList[] = []): Site {
  const clock = createFakeClock();
  const find = (lists: readonly KnownList[], wanted: Address): KnownList | null =>
    lists.find((one) => addressKey(one.address) === addressKey(wanted)) ?? null;
  const keys = (lists: readonly KnownList[], prefix: string): ListKey[] =>
    lists.map(({ key }) => key).filter((key) => prefixOf(key) === prefix);
  const all = (): KnownList[] => [...mirror, ...onlyAtLeader];
  const here: Omit<Site, 'ask'> = {
    mirror,
    leader: onlyAtLeader,
    isReady: true,
    isAway: false,
    asked: [],
    clock,
  };
  const reach = async <A>(what: string, answer: () => A): Promise<A> => {
    here.asked.push(what);
    if (here.isAway) throw new MailError(451, '4.3.0', 'Try again later');
    return answer();
  };
  const resolve = createResolver({
    mirror: {
      find: (wanted) => find(mirror, wanted),
      byKey: (key) => mirror.find((one) => one.key === key) ?? null,
      keysByPrefix: (prefix) => keys(mirror, prefix),
    },
    leader: {
      find: (wanted) => reach(wanted, () => find(all(), wanted)),
      keysByPrefix: (prefix) => reach(prefix, () => keys(all(), prefix)),
    },
    secrets: () => [SECRET],
    isOurs: (domain) => domain === 'lists.example',
    isReady: () => here.isReady,
    sizeMax: SITE_MAX,
    clock,
  });
  const ask = async (text: string): Promise<string> => {
    const answer = await resolve(address(text));
    if ('kind' in answer) return `${answer.kind} ${answer.maxMessageBytes}`;
    const { code, status } = answer.refuse;
    return `${code} ${status}${answer.isWrongMac ? ' wrong MAC' : ''}`;
  };
  return Object.assign(here, { ask });
}

test('a list of the copy is answered at once, and the leader is not asked', async () => {
  const here = site([list('dev@lists.example')]);
  expect(await here.ask('dev@lists.example')).toBe('post 300000');
  expect(await here.ask('DEV@Lists.Example')).toBe('post 300000');
  expect(await here.ask('dev-owner@lists.example')).toBe(`owner ${SITE_MAX}`);
  expect(await here.ask('dev-join@lists.example')).toBe(`command ${SITE_MAX}`);
  expect(await here.ask('dev-bounces@lists.example')).toBe(`bounce ${SITE_MAX}`);
  expect(await here.ask(`c+${'a'.repeat(26)}@lists.example`)).toBe(`command ${SITE_MAX}`);
  expect(here.asked).toEqual([]);
});

test('a list that the copy has not yet is found at the leader, and so is its robot', async () => {
  const here = site([], [list('dev@lists.example')]);
  expect(await here.ask('dev@lists.example')).toBe('post 300000');
  expect(await here.ask('dev-owner@lists.example')).toBe(`owner ${SITE_MAX}`);
});

test('an unknown list is 550 once the leader has said so, which is remembered a while', async () => {
  const here = site([list('dev@lists.example')]);
  expect(await here.ask('nobody@lists.example')).toBe('550 5.1.1');
  expect(here.asked).toEqual(['nobody@lists.example']);
  expect(await here.ask('Nobody@lists.example')).toBe('550 5.1.1');
  expect(here.asked).toHaveLength(1);
  await here.clock.advance(UNKNOWN_MS);
  await here.ask('nobody@lists.example');
  expect(here.asked).toHaveLength(2);
});

test('a list made a moment after it was unknown is there as soon as the copy has it', async () => {
  const here = site([]);
  expect(await here.ask('dev@lists.example')).toBe('550 5.1.1');
  here.mirror.push(list('dev@lists.example'));
  expect(await here.ask('dev@lists.example')).toBe('post 300000');
});

test('when the leader is away an unknown list is 451, and asked for again', async () => {
  const here = site([list('dev@lists.example')]);
  here.isAway = true;
  await expect(here.ask('nobody@lists.example')).rejects.toMatchObject({ code: 451 });
  expect(await here.ask('dev@lists.example')).toBe('post 300000');
  here.isAway = false;
  expect(await here.ask('nobody@lists.example')).toBe('550 5.1.1');
});

test('before we are ready everything is 451', async () => {
  const here = site([list('dev@lists.example')]);
  here.isReady = false;
  expect(await here.ask('dev@lists.example')).toBe('451 4.3.0');
  expect(await here.ask('a@elsewhere.example')).toBe('451 4.3.0');
});

test('a dictionary of names does not become load: past a rate they are 451', async () => {
  const here = site([]);
  for (let i = 0; i < LEADER_NAMES_PER_SECOND_MAX; i++) {
    expect(await here.ask(`name${i}@lists.example`)).toBe('550 5.1.1');
  }
  expect(await here.ask('one-more@lists.example')).toBe('451 4.3.0');
  expect(here.asked).toHaveLength(LEADER_NAMES_PER_SECOND_MAX);
  await here.clock.advance(1_000);
  expect(await here.ask('one-more@lists.example')).toBe('550 5.1.1');
});

test('mail for other domains is not relayed, and the leader is not asked', async () => {
  const here = site([list('old@moved.example')]);
  expect(await here.ask('a@elsewhere.example')).toBe('550 5.7.1');
  expect(await here.ask('dev-owner@elsewhere.example')).toBe('550 5.7.1');
  expect(await here.ask('old@moved.example')).toBe('post 300000');
  expect(here.asked).toEqual([]);
});

test.each([
  ['new', 'dev', '451 4.3.0'],
  ['full', 'dev', '452 4.3.1'],
  ['full', 'dev-leave', `command ${SITE_MAX}`],
  ['full', 'dev-bounces', `bounce ${SITE_MAX}`],
  ['retired', 'dev', '550 5.1.1'],
  ['retired', 'dev-owner', '550 5.1.1'],
] as const)('of a list that is %s, %s is %s', async (state, local, said) => {
  const here = site([list('dev@lists.example', state)]);
  expect(await here.ask(`${local}@lists.example`)).toBe(said);
});

test('a machine address counts with its own MAC only', async () => {
  const dev = list('dev@lists.example');
  const here = site([dev]);
  const ids = { key: dev.key, member: 12, post: 3 };
  const bounce = makeMachineAddress('b', ids, SECRET, 'lists.example');
  const leave = makeMachineAddress('u', ids, SECRET, 'lists.example');
  expect(await here.ask(bounce)).toBe(`bounce ${SITE_MAX}`);
  expect(await here.ask(leave.toUpperCase())).toBe(`command ${SITE_MAX}`);
  expect(here.asked).toEqual([]);
  const forged = makeMachineAddress('b', ids, new Uint8Array(32), 'lists.example');
  expect(await here.ask(forged)).toBe('550 5.1.1 wrong MAC');
  expect(await here.ask(leave.replace('u+', 'b+'))).toBe('550 5.1.1 wrong MAC');
});

test('a machine address of a list too new for the copy is 451, not 550', async () => {
  const dev = list('dev@lists.example');
  const here = site([], [dev]);
  const ids = { key: dev.key, member: 12, post: 3 };
  expect(await here.ask(makeMachineAddress('b', ids, SECRET, 'lists.example'))).toBe('451 4.3.0');
});
