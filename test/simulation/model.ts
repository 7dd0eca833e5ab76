/**
 * What the ledger says, read by a reader of our own: each list's one history, and what it implies. It shares no fold with the
 * program that it judges.
 */
import { createHash } from 'node:crypto';
import type { Answer, Fact } from '../../actors/protocol.ts';
import type { Address } from '../../src/mail/address.ts';
import type { ListKey } from '../../src/mail/list-key.ts';
import type { FakeRecord } from '../support/fake/ledger.ts';

/** Something that must never be was seen. */
export class Violation extends Error {
  override readonly name = 'Violation';
}

export function demand(claim: unknown, what: string): asserts claim {
  if (!claim) throw new Violation(what);
}

export type ModelPost = {
  readonly id: string;
  readonly number: number;
  readonly counter: number;
  readonly width: number;
  /** Who was a member when it was accepted: number and address. */
  readonly pinned: ReadonlyMap<number, Address>;
};

export type ModelHold = {
  readonly id: string;
  verdict: 'approved' | 'rejected' | 'discarded' | null;
};

export type ModelList = {
  readonly key: ListKey;
  n: number;
  seq: number;
  at: number;
  epoch: number;
  hash: string;
  mode: 'new' | 'open' | 'emergency' | 'retired';
  address: Address | '';
  nextMember: number;
  readonly members: Map<number, Address>;
  readonly posts: Map<number, ModelPost>;
  readonly holds: Map<number, ModelHold>;
  /** What was decided, by command. */
  readonly decided: Map<string, { readonly n: number; readonly facts: readonly Fact[] }>;
  /** Accepted, held or discarded, by post id: once each. */
  readonly fates: Map<string, string>;
  /** Mail that we write, by the name of its chunks' post: to whom. */
  readonly letters: Map<string, readonly Address[]>;
  readonly dues: Set<number>;
};

type Record = {
  readonly n: number;
  readonly epoch: number;
  readonly prev: string;
  readonly at: number;
  readonly entries: readonly { readonly commandId: string; readonly facts: readonly Fact[] }[];
};

export type Model = {
  readonly lists: ReadonlyMap<ListKey, ModelList>;
  list(key: ListKey): ModelList;
  /** How often the slot was acquired. */
  acquisitions(slot: number): number;
  /** Takes the next record of the ledger; throws a Violation if it does not belong there. */
  take(record: FakeRecord): void;
};

/** `wasSent` knows every command that was ever sent to a list. */
export function createModel(wasSent: (list: ModelList, commandId: string) => boolean): Model {
  const lists = new Map<ListKey, ModelList>();
  const acquired = new Map<number, Set<number>>();
  const list = (key: ListKey): ModelList => {
    const there = lists.get(key) ?? newList(key);
    lists.set(key, there);
    return there;
  };
  return {
    lists,
    list,
    acquisitions: (slot) => acquired.get(slot)?.size ?? 0,
    take({ whose, seq, bytes, slot }) {
      if (whose === 'owner') {
        acquired.set(slot, (acquired.get(slot) ?? new Set()).add(seq));
        return;
      }
      const it = list(whose);
      const record = JSON.parse(Buffer.from(bytes).toString()) as Record;
      const where = `${whose} record ${record.n} at ${seq}`;
      demand(record.n === it.n + 1, `one history: ${where} follows ${it.n}`);
      demand(record.prev === it.hash, `one history: ${where} is not chained`);
      demand(record.at >= it.at, `${where}: time goes back`);
      demand(acquired.get(slot)?.has(record.epoch), `${where}: nobody has epoch ${record.epoch}`);
      demand(record.epoch >= it.epoch, `${where}: epoch ${record.epoch} after ${it.epoch}`);
      Object.assign(it, { n: record.n, seq, at: record.at, epoch: record.epoch });
      it.hash = createHash('sha256').update(bytes).digest('base64url');
      for (const { commandId, facts } of record.entries) {
        demand(wasSent(it, commandId), `${where}: nobody sent the command ${commandId}`);
        demand(!it.decided.has(commandId), `${where}: ${commandId} is decided twice`);
        it.decided.set(commandId, { n: record.n, facts });
        for (const fact of facts) fold(it, fact, where);
      }
    },
  };
}

function newList(key: ListKey): ModelList {
  return {
    ...{ key, n: 0, seq: 0, at: 0, epoch: 0, hash: '', mode: 'new', address: '', nextMember: 1 },
    ...{ members: new Map(), posts: new Map(), holds: new Map(), decided: new Map() },
    ...{ fates: new Map(), letters: new Map(), dues: new Set() },
  };
}

function fold(it: ModelList, fact: Fact, where: string): void {
  switch (fact.type) {
    case 'list-created':
      demand(it.mode === 'new', `${where}: created twice`);
      it.mode = 'open';
      it.address = fact.address;
      return;
    case 'emergency-declared':
      it.mode = 'emergency';
      return;
    case 'emergency-lifted':
      it.mode = 'open';
      return;
    case 'list-retired':
      it.mode = 'retired';
      return;
    case 'members-added':
      demand(fact.first === it.nextMember, `${where}: a member's number is used again`);
      for (const { address } of fact.members) it.members.set(it.nextMember++, address);
      return;
    case 'member-removed':
      demand(it.members.get(fact.number) === fact.address, `${where}: removed who was not there`);
      it.members.delete(fact.number);
      return;
    case 'post-accepted':
      accept(it, fact, where);
      return;
    case 'post-held':
      demand(fact.hold === it.holds.size + 1, `${where}: hold ${fact.hold} out of order`);
      it.holds.set(fact.hold, { id: fact.post.id, verdict: null });
      befall(it, fact.post.id, 'held', where);
      return;
    case 'post-discarded':
      befall(it, fact.post.id, 'discarded', where);
      return;
    case 'hold-approved':
      decide(it, fact.hold, 'approved', where);
      return;
    case 'hold-rejected':
      if (fact.tell !== null) it.letters.set(`r${fact.hold}`, [fact.tell]);
      decide(it, fact.hold, 'rejected', where);
      return;
    case 'hold-discarded':
      decide(it, fact.hold, 'discarded', where);
      return;
    case 'moderators-told':
      if (fact.to.length > 0) it.letters.set(`n${it.holds.size}`, fact.to);
      return;
    case 'moderators-notice-set':
      it.dues.add(fact.due);
      return;
    case 'owner-mail-forwarded':
      it.letters.set(`o${fact.mail.id.slice(0, 20)}`, fact.to);
      return;
    default:
      return;
  }
}

function accept(
  it: ModelList,
  fact: Extract<Fact, { type: 'post-accepted' }>,
  where: string,
): void {
  const { number, counter, width, post, hold } = fact;
  demand(number === it.posts.size + 1, `${where}: post ${number} out of order`);
  demand(counter === it.nextMember, `${where}: counter ${counter}, not ${it.nextMember}`);
  it.posts.set(number, { id: post.id, number, counter, width, pinned: new Map(it.members) });
  if (hold === null) {
    befall(it, post.id, 'accepted', where);
    return;
  }
  demand(it.holds.get(hold)?.id === post.id, `${where}: accepted another post than was held`);
}

function befall(it: ModelList, id: string, fate: string, where: string): void {
  const before = it.fates.get(id);
  demand(before === undefined, `${where}: post ${id} is ${fate} and was ${before}`);
  it.fates.set(id, fate);
}

function decide(
  it: ModelList,
  hold: number,
  verdict: 'approved' | 'rejected' | 'discarded',
  where: string,
): void {
  const held = it.holds.get(hold);
  demand(held?.verdict === null, `${where}: hold ${hold} is ${verdict} and was ${held?.verdict}`);
  held.verdict = verdict;
}

/** True if the answer is what these facts come to. */
export function isAnswerTo(answer: Answer, facts: readonly Fact[]): boolean {
  const has = (type: Fact['type']): boolean => facts.some((fact) => fact.type === type);
  switch (answer.type) {
    case 'created':
      return has('list-created');
    case 'members-added':
      return facts.some(
        (fact) =>
          fact.type === 'members-added' &&
          fact.first === answer.first &&
          fact.members.length === answer.added,
      );
    case 'member-removed':
      return facts.some((fact) => fact.type === 'member-removed' && fact.number === answer.number);
    case 'accepted':
      return facts.some((fact) => fact.type === 'post-accepted' && fact.number === answer.post);
    case 'held':
      return facts.some((fact) => fact.type === 'post-held' && fact.hold === answer.hold);
    case 'discarded':
      return has('post-discarded');
    case 'resent':
      return has('post-resent');
    case 'done':
      return facts.length > 0;
  }
}
