/**
 * The clients of a simulated world: MTAs that send posts, and people who ask. Each keeps a journal of what it was told, and sends
 * again what was not answered; a few give up.
 */
import type { By, Command, HoldsPage, Settings } from '../../actors/protocol.ts';
import type { Address } from '../../src/mail/address.ts';
import { type ListKey, listKeyOf } from '../../src/mail/list-key.ts';
import { DOMAIN } from './boot.ts';
import type { Chance } from './chance.ts';
import { ask, command, next, pause, type Sent, type SimList, type State } from './client-asks.ts';
import { anyNode, MAIL_MS_MAX, post } from './client-mail.ts';
import { GONE } from './mta.ts';
import type { World } from './world.ts';

export type Clients = {
  readonly lists: readonly SimList[];
  readonly mails: readonly Sent[];
  /** Clients that have not been answered yet and have not given up. */
  pending(): number;
  /** Makes the lists, then does things to them until `untilMs`. */
  start(untilMs: number): void;
};

const OPERATOR: By = { kind: 'operator', name: 'simulation' };
/** How long a post is paused. */
const HELD_MS: readonly [number, number] = [0, 20_000];
/** Some lists are so large that a post is several chunks, in two batches. */
const LARGE = 2_300;
const BULK = 1_000;

export function createClients(world: World, chance: Chance): Clients {
  const lists: SimList[] = [];
  const mails: Sent[] = [];
  const state: State = { world, chance, lists, mails, pending: 0, counted: 0, told: new Map() };
  return {
    ...{ lists, mails, pending: () => state.pending },
    start: (untilMs) => void run(state, untilMs).catch((error) => world.fail(error)),
  };
}

async function run(state: State, untilMs: number): Promise<void> {
  const { world, chance, lists } = state;
  const { timeline } = world;
  state.pending += 1;
  const many = chance.whole(2, 4);
  for (let i = 0; i < many; i++) lists.push(await makeList(state, i));
  const everyMs = chance.between(500, 4_000);
  while (timeline.now() < untilMs) {
    act(state).catch((error) => world.fail(error));
    await pause(state, chance.between(0, 2 * everyMs));
  }
  state.pending -= 1;
}

async function makeList(state: State, index: number): Promise<SimList> {
  const { world, chance } = state;
  const key = listKeyOf(chance.bytes(26));
  const address = `list${index}@${DOMAIN}` as Address;
  const isLarge = index === 0 && world.seed % 8 === 3;
  const many = isLarge ? LARGE : chance.whole(1, 14);
  const people = Array.from({ length: many }, (_, i) => {
    const front = chance.is(0.08) ? GONE : '';
    return `${front}p${i}.${index}@example.org` as Address;
  });
  await reserve(state, address, key);
  const settings: Partial<Settings> = {
    posting: chance.pick(['members', 'members', 'anyone', 'closed']),
    mode: isLarge || chance.is(0.3) ? 'shared' : 'individual',
  };
  const [owner] = people;
  const owners = owner === undefined ? [] : [owner];
  const make: Command = { type: 'create', address, settings, owners, by: OPERATOR };
  while ((await command(state, key, make, key)) === null) await pause(state, 1_000);
  for (let at = 0; at < people.length; at += BULK) {
    const members = people.slice(at, at + BULK).map((one) => ({ address: one, name: '' }));
    await command(state, key, { type: 'add-members', members, by: OPERATOR });
  }
  return { key, address, people };
}

async function reserve(state: State, address: Address, key: ListKey): Promise<void> {
  for (;;) {
    const booted = anyNode(state)?.booted;
    try {
      if (booted != null) {
        await Promise.race([booted.directory.reserve(address, key, 1_000_000), lateness(state)]);
        return;
      }
    } catch {
      // Asked again, of whichever node there is then.
    }
    await pause(state, 500);
  }
}

function act(state: State): Promise<unknown> {
  const { chance, lists } = state;
  const list = chance.pick(lists);
  const leave = (): Promise<unknown> =>
    command(state, list.key, {
      ...{ type: 'remove-member', who: { address: chance.pick(list.people) }, by: OPERATOR },
    });
  const dice = chance.fraction();
  if (dice < 0.45) return post(state, list, 'post');
  if (dice < 0.5) return post(state, list, 'owner');
  if (dice < 0.65) return join(state, list);
  if (dice < 0.78) return leave();
  if (dice < 0.9) return moderate(state, list);
  if (dice < 0.97) return change(state, list);
  if (dice < 0.992) return hold(state, list);
  return command(state, list.key, { type: 'retire', by: OPERATOR });
}

/** Pauses a post, mostly while it is being sent, and lets it go on: who was kept waiting gets it. Does not give up. */
async function hold(state: State, list: SimList): Promise<void> {
  const { chance, world } = state;
  const newest = world.oracle.model.list(list.key).posts.size;
  if (newest === 0) return;
  const post = chance.whole(Math.max(1, newest - 2), newest);
  for (const order of ['pause', 'go'] as const) {
    const id = next(state, 'o');
    const wanted: Command = { type: 'order-post', post, order, by: OPERATOR };
    // The same id: what was paused by a late try would stay so.
    while ((await command(state, list.key, wanted, id)) === null) await pause(state, 1_000);
    if (order === 'pause') await pause(state, chance.between(...HELD_MS));
  }
}

async function moderate(state: State, list: SimList): Promise<void> {
  const { chance } = state;
  const question = { ask: 'holds', after: 0, limit: 10 } as const;
  const page = await ask<HoldsPage>(state, list.key, { question });
  for (const { hold } of page?.holds ?? []) {
    if (chance.is(0.3)) continue;
    const verdict = chance.pick(['approve', 'approve', 'reject', 'discard'] as const);
    const comment = verdict === 'reject' ? { comment: 'no' } : {};
    await command(state, list.key, { type: verdict, hold, by: OPERATOR, ...comment } as Command);
  }
}

function join(state: State, list: SimList): Promise<unknown> {
  const { chance } = state;
  const members = Array.from({ length: chance.whole(1, 3) }, () => ({
    address: chance.pick(list.people),
    name: '',
  }));
  return command(state, list.key, { type: 'add-members', members, by: OPERATOR });
}

function change(state: State, list: SimList): Promise<unknown> {
  const { chance } = state;
  const by = OPERATOR;
  const address = chance.pick(list.people);
  return command(
    state,
    list.key,
    chance.pick<Command>([
      { type: 'set', settings: { posting: chance.pick(['members', 'anyone', 'closed']) }, by },
      { type: 'set', settings: { subjectPrefix: `[${next(state, 'p')}]` }, by },
      { type: 'declare-emergency', by },
      { type: 'lift-emergency', by },
      { type: 'lift-emergency', by },
      { type: 'grant', role: 'moderator', address, by },
      { type: 'revoke', role: 'moderator', address, by },
    ]),
  );
}

const lateness = ({ world }: State): Promise<never> =>
  new Promise(
    (_, reject) => void world.timeline.after(MAIL_MS_MAX, '', () => reject(new Error('late'))),
  );
