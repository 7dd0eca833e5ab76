/**
 * The clients of a simulated world: MTAs that send posts, and people who ask. Each keeps a journal of what it was told, and sends
 * again what was not answered; a few give up.
 */
import { createHash } from 'node:crypto';
import type { Answer, By, Command, HoldsPage, Settings } from '../../actors/protocol.ts';
import type { Address } from '../../src/mail/address.ts';
import type { Envelope, MailKind } from '../../src/mail/envelope.ts';
import { type ListKey, listKeyOf, slotOf } from '../../src/mail/list-key.ts';
import type { AskReply, AskRequest } from '../../src/nats/ask.ts';
import { DOMAIN } from './boot.ts';
import type { Chance } from './chance.ts';
import { Violation } from './model.ts';
import { GONE } from './mta.ts';
import type { SimNode, World } from './world.ts';

export type SimList = {
  readonly key: ListKey;
  readonly address: Address;
  readonly people: readonly Address[];
};

/** A mail as its client has it. */
export type Sent = {
  readonly kind: MailKind;
  /** For each list it went to, the id that its command must have. */
  readonly ids: readonly { readonly key: ListKey; readonly id: string }[];
  isAcked: boolean;
};

export type Clients = {
  readonly lists: readonly SimList[];
  readonly mails: readonly Sent[];
  /** Clients that have not been answered yet and have not given up. */
  pending(): number;
  /** Makes the lists, then does things to them until `untilMs`. */
  start(untilMs: number): void;
};

const OPERATOR: By = { kind: 'operator', name: 'simulation' };
const ANSWER_MS_MAX = 6_000;
const MAIL_MS_MAX = 8_000;
const AGAIN_MS: readonly [number, number] = [300, 5_000];
/** One in so many clients gives up after its first try. */
const GIVES_UP = 0.1;
/** Some lists are so large that a post is several chunks, in two batches. */
const LARGE = 2_300;
const BULK = 1_000;

export function createClients(world: World, chance: Chance): Clients {
  const { timeline, bus, oracle } = world;
  const lists: SimList[] = [];
  const mails: Sent[] = [];
  let pending = 0;
  let counted = 0;
  /** The newest record that anybody was told of, by list: no later answer may be older. */
  const told = new Map<ListKey, number>();

  const pause = (ms: number): Promise<void> =>
    new Promise((resolve) => void timeline.after(ms, '', resolve));
  const next = (what: string): string => {
    counted += 1;
    return `${what}${counted}`;
  };

  /** One try; null when nobody answers. */
  function tryAsk(key: ListKey, request: AskRequest): Promise<AskReply | null> {
    const servers = [...(bus.asks.get(slotOf(key)) ?? [])];
    if (servers.length === 0) return Promise.resolve(null);
    const { life, handler } = chance.pick(servers);
    return new Promise((resolve) => {
      const off = timeline.after(ANSWER_MS_MAX, '', () => resolve(null));
      life.hear('ask', () => {
        const answered = handler(key, request).then((reply) => {
          if (reply === null) return;
          life.tell('answer', () => {
            off();
            resolve(reply);
          });
        });
        answered.catch((error) => world.fail(error));
      });
    });
  }

  /** Asks until there is an answer; null if the client gave up. */
  async function ask<A = Answer>(key: ListKey, request: AskRequest): Promise<A | null> {
    pending += 1;
    try {
      const tries = chance.is(GIVES_UP) ? 1 : Number.POSITIVE_INFINITY;
      for (let attempt = 0; attempt < tries; attempt++) {
        const floor = told.get(key) ?? 0;
        const reply = await tryAsk(key, request);
        if (reply?.ok === true) {
          if (reply.seq < floor)
            world.fail(
              new Violation(
                `${key}: ${reply.node} answers from ${reply.seq} in epoch ${reply.epoch}, but ${floor} was told before`,
              ),
            );
          told.set(key, Math.max(told.get(key) ?? 0, reply.seq));
          return reply.answer as A;
        }
        if (reply !== null && 'refusal' in reply) return null;
        await pause(chance.between(...AGAIN_MS));
      }
      return null;
    } finally {
      pending -= 1;
    }
  }

  async function command(key: ListKey, wanted: Command, id = next('c')): Promise<Answer | null> {
    oracle.sent(key, id);
    return ask(key, { id, command: wanted });
  }

  async function makeList(index: number): Promise<SimList> {
    const key = listKeyOf(chance.bytes(26));
    const address = `list${index}@${DOMAIN}` as Address;
    const isLarge = index === 0 && world.seed % 8 === 3;
    const many = isLarge ? LARGE : chance.whole(1, 14);
    const people = Array.from({ length: many }, (_, i) => {
      const front = chance.is(0.08) ? GONE : '';
      return `${front}p${i}.${index}@example.org` as Address;
    });
    await reserve(address, key);
    const settings: Partial<Settings> = {
      posting: chance.pick(['members', 'members', 'anyone', 'closed']),
      mode: isLarge || chance.is(0.3) ? 'shared' : 'individual',
    };
    const [owner] = people;
    const owners = owner === undefined ? [] : [owner];
    const make: Command = { type: 'create', address, settings, owners, by: OPERATOR };
    while ((await command(key, make, key)) === null) await pause(1_000);
    for (let at = 0; at < people.length; at += BULK) {
      const members = people.slice(at, at + BULK).map((one) => ({ address: one, name: '' }));
      await command(key, { type: 'add-members', members, by: OPERATOR });
    }
    return { key, address, people };
  }

  async function reserve(address: Address, key: ListKey): Promise<void> {
    for (;;) {
      const booted = anyNode()?.booted;
      try {
        if (booted != null) {
          await Promise.race([booted.directory.reserve(address, key, 1_000_000), lateness()]);
          return;
        }
      } catch {
        // Asked again, of whichever node there is then.
      }
      await pause(500);
    }
  }

  const lateness = (): Promise<never> =>
    new Promise(
      (_, reject) => void timeline.after(MAIL_MS_MAX, '', () => reject(new Error('late'))),
    );

  function anyNode(): SimNode | null {
    const up = world.nodes.filter(({ booted, life }) => booted !== null && life?.isAlive());
    return up.length === 0 ? null : chance.pick(up);
  }

  // ── Mail ────────────────────────────────────────────────────────────────

  async function post(list: SimList, kind: 'post' | 'owner'): Promise<void> {
    const words = next('words-');
    const isStranger = chance.is(0.25);
    const from = isStranger ? (`stranger@elsewhere.example` as Address) : chance.pick(list.people);
    const isCrossPost = kind === 'post' && chance.is(0.1);
    const to = isCrossPost ? [...new Set([list, chance.pick(lists)])] : [list];
    const robot = kind === 'owner' ? '-owner' : '';
    const raw = Buffer.from(
      `From: ${from}\r\nTo: ${list.address}\r\nMessage-ID: <${words}@example.org>\r\nSubject: ${words}\r\n\r\nThis is ${words}.\r\n`,
    );
    const ids = to.map(({ key }) => {
      const id = createHash('sha256').update(`${from}\0${key}\0`).update(raw).digest('hex');
      return { key, id: kind === 'owner' ? `o.${id}` : id };
    });
    for (const { key, id } of ids) oracle.sent(key, id, words);
    const mail: Sent = { kind, ids, isAcked: false };
    mails.push(mail);
    const envelope: Envelope = {
      ...{ sender: from, smtputf8: false, eightBit: false, peer: '', helo: '', trace: words },
      recipients: to.map(({ address }) => address.replace('@', `${robot}@`) as Address),
      receivedAt: bus.clock.now(),
    };
    await deliver(mail, raw, envelope);
  }

  async function deliver(mail: Sent, raw: Uint8Array, envelope: Envelope): Promise<void> {
    pending += 1;
    const tries = chance.is(GIVES_UP) ? 1 : Number.POSITIVE_INFINITY;
    for (let attempt = 0; attempt < tries && !mail.isAcked; attempt++) {
      const node = anyNode();
      if (node !== null && (await trySend(node, mail.kind, raw, envelope))) mail.isAcked = true;
      else await pause(chance.between(...AGAIN_MS));
    }
    pending -= 1;
  }

  /** One SMTP transaction: true if the client saw the 250. */
  function trySend(
    { life, booted }: SimNode,
    kind: MailKind,
    raw: Uint8Array,
    envelope: Envelope,
  ): Promise<boolean> {
    return new Promise((resolve) => {
      if (life === null || booted === null) return resolve(false);
      const off = timeline.after(MAIL_MS_MAX, '', () => resolve(false));
      const pieces = async function* () {
        yield raw;
      };
      life.later(chance.between(0.5, 5), '', () => {
        booted.accept({ size: raw.byteLength, pieces }, [{ kind, envelope }]).then(
          () =>
            life.later(chance.between(0.5, 5), '250', () => {
              off();
              resolve(life.isAlive());
            }),
          () => resolve(false),
        );
      });
    });
  }

  // ── What they do ────────────────────────────────────────────────────────

  async function moderate(list: SimList): Promise<void> {
    const question = { ask: 'holds', after: 0, limit: 10 } as const;
    const page = await ask<HoldsPage>(list.key, { question });
    for (const { hold } of page?.holds ?? []) {
      if (chance.is(0.3)) continue;
      const verdict = chance.pick(['approve', 'approve', 'reject', 'discard'] as const);
      const comment = verdict === 'reject' ? { comment: 'no' } : {};
      await command(list.key, { type: verdict, hold, by: OPERATOR, ...comment } as Command);
    }
  }

  function join(list: SimList): Promise<unknown> {
    const members = Array.from({ length: chance.whole(1, 3) }, () => ({
      address: chance.pick(list.people),
      name: '',
    }));
    return command(list.key, { type: 'add-members', members, by: OPERATOR });
  }

  function change(list: SimList): Promise<unknown> {
    const by = OPERATOR;
    const address = chance.pick(list.people);
    return command(
      list.key,
      chance.pick<Command>([
        { type: 'set', settings: { posting: chance.pick(['members', 'anyone', 'closed']) }, by },
        { type: 'set', settings: { subjectPrefix: `[${next('p')}]` }, by },
        { type: 'declare-emergency', by },
        { type: 'lift-emergency', by },
        { type: 'lift-emergency', by },
        { type: 'grant', role: 'moderator', address, by },
        { type: 'revoke', role: 'moderator', address, by },
      ]),
    );
  }

  function act(): Promise<unknown> {
    const list = chance.pick(lists);
    const leave = (): Promise<unknown> =>
      command(list.key, {
        ...{ type: 'remove-member', who: { address: chance.pick(list.people) }, by: OPERATOR },
      });
    const dice = chance.fraction();
    if (dice < 0.45) return post(list, 'post');
    if (dice < 0.5) return post(list, 'owner');
    if (dice < 0.65) return join(list);
    if (dice < 0.78) return leave();
    if (dice < 0.9) return moderate(list);
    if (dice < 0.992) return change(list);
    return command(list.key, { type: 'retire', by: OPERATOR });
  }

  async function run(untilMs: number): Promise<void> {
    pending += 1;
    const many = chance.whole(2, 4);
    for (let i = 0; i < many; i++) lists.push(await makeList(i));
    const everyMs = chance.between(500, 4_000);
    while (timeline.now() < untilMs) {
      act().catch((error) => world.fail(error));
      await pause(chance.between(0, 2 * everyMs));
    }
    pending -= 1;
  }

  return {
    ...{ lists, mails, pending: () => pending },
    start: (untilMs) => void run(untilMs).catch((error) => world.fail(error)),
  };
}
