/**
 * The oracle: watches everything that crosses a seam, and says at once when something is that must never be (reliability §5).
 */
import type { Answer } from '../../actors/protocol.ts';
import type { Address } from '../../src/mail/address.ts';
import { type Chunk, chunkName, type Result } from '../../src/mail/chunk.ts';
import { type ListKey, slotOf } from '../../src/mail/list-key.ts';
import { isIn } from '../../src/mail/ranges.ts';
import type { AskReply } from '../../src/nats/ask.ts';
import { decodeAsked, decodeChunk } from '../../src/nats/codec.ts';
import { partsOf } from '../../src/nats/subjects.ts';
import type { Delivery } from '../../src/world.ts';
import type { Witness } from './boot.ts';
import type { Bus } from './bus.ts';
import { type Copies, createCopies, pairOf } from './copies.ts';
import type { Disk } from './disk.ts';
import type { Life } from './life.ts';
import { createModel, demand, isAnswerTo, type Model, type ModelList } from './model.ts';
import type { Copy } from './mta.ts';

export type Oracle = Witness & {
  readonly model: Model;
  /** After every step. */
  look(bus: Bus): void;
  chunk(chunk: Chunk): void;
  kept(where: 'held' | 'archive', key: string, id: string, wasDropped: boolean): void;
  took(copy: Copy): void;
  died(life: Life, disk: Disk): void;
  /** The node's disk forgets what it had. */
  lostDisk(disk: Disk): void;
  /** A command of this id was sent to the list; for a post, its words. */
  sent(key: ListKey, id: string, words?: string): void;
  readonly copies: Pick<Copies, 'taken' | 'duplicates'>;
  readonly storedTimes: ReadonlyMap<string, number>;
  /** Tells the oracle which bus and disks there are. */
  attach(world: { readonly bus: Bus; diskOf(node: string): Disk | undefined }): void;
};

export function createOracle(): Oracle {
  const sent = new Map<string, string>();
  const model = createModel((list, id) => sent.has(`${list.key} ${id}`) || isTimer(list, id));
  const copies = createCopies();
  const holders = new Map<string, Set<Life>>();
  const storedTimes = new Map<string, number>();
  /** For each effect that was done, what could explain that it is done again: as it was when it was done first. */
  const doneFirst = new Map<string, number>();
  let bus: Bus | null = null;
  let diskOf: (node: string) => Disk | undefined = () => undefined;
  let looked = 0;

  /** An effect is done once, and once more for each take-over of its list and each time the servers forgot the ids they knew. */
  function demandFew(name: string, key: ListKey, many: number): void {
    const causes = model.acquisitions(slotOf(key)) + (bus?.restarts() ?? 0);
    const first = doneFirst.get(name) ?? causes;
    doneFirst.set(name, first);
    demand(many <= 1 + causes - first, `done ${many} times without a reason: ${name}`);
  }

  function took({ to, transaction, life, isUnheard }: Copy): void {
    const [key = '', post = '', range = '', attempt = ''] = (transaction.envid ?? '').split('.');
    const name = `${key}.${post}.${range}.${attempt}`;
    const chunk = bus?.chunks.get(name);
    demand(chunk !== undefined, `mail of a chunk that nobody put: ${name}`);
    const number = numbersOf(chunk).get(to);
    demand(number !== undefined, `${to} is not in the chunk ${name}`);
    const words = sent.get(`${key} ${idOf(model.list(chunk.key), post)}`) ?? '';
    demand(
      bytesOf(transaction.message).includes(words),
      `${name} for ${to} has another post's words`,
    );
    copies.took(pairOf(chunk, number), life, isUnheard, `${name} for ${to}`);
  }

  function given(queue: string, delivery: Delivery, life: Life): void {
    if (!queue.startsWith('outgoing')) return;
    const chunk = decodeChunk(delivery.data);
    const name = chunkName(chunk);
    const others = holders.get(name) ?? new Set();
    const isInTwoHands = [...others].some((other) => other !== life && other.isAlive());
    const results = resultsOf(chunk, bus?.results ?? new Map());
    const journaled = diskOf(life.node)?.journal.acceptedOf(name);
    const knows = (number: number): boolean =>
      journaled?.has(number) === true || results.some((one) => isIn(one.accepted, number));
    copies.given(chunk, isInTwoHands, knows);
    holders.set(name, others.add(life));
  }

  function acked(queue: string, delivery: Delivery, life: Life): void {
    if (queue.startsWith('outgoing')) {
      const chunk = decodeChunk(delivery.data);
      const isDone = bus?.results.get(chunkName(chunk))?.kind === 'done';
      const isParked = bus?.parked.some(({ where }) => where === 'outgoing');
      demand(isDone || isParked, `acked without a result: ${chunkName(chunk)}`);
      holders.get(chunkName(chunk))?.delete(life);
    }
    if (queue.startsWith('mailbox')) {
      const { id, command } = decodeAsked<{ readonly type: string }>(delivery.data);
      const key = partsOf(delivery.subject)?.whose;
      if (key === undefined || key === 'owner' || !['post', 'owner-mail'].includes(command.type))
        return;
      const isPutOff = bus?.later.waiting.has(`${key}.s${delivery.seq}`);
      demand(model.list(key).decided.has(id) || isPutOff, `acked before it was decided: ${id}`);
    }
  }

  return {
    ...{ model, copies, storedTimes, took, given, acked },
    attach: (world) => {
      bus = world.bus;
      diskOf = world.diskOf;
    },
    look(at) {
      const { records } = at.ledger;
      for (let next = records[looked]; next !== undefined; next = records[looked]) {
        looked += 1;
        model.take(next);
      }
    },
    chunk: (chunk) => {
      demandImplied(model, chunk);
      const name = chunkName(chunk);
      const many = (storedTimes.get(name) ?? 0) + 1;
      storedTimes.set(name, many);
      // Later tries are put by who sends, not by the list.
      if (chunk.try === 0) demandFew(name, chunk.key, many);
    },
    kept: (where, key, id, wasDropped) => {
      const name = `${where} ${key} ${id}`;
      // A message that comes late finds nothing any more that it could be the same as.
      if (wasDropped) doneFirst.set(name, (doneFirst.get(name) ?? 0) - 1);
      const many = (storedTimes.get(name) ?? 0) + 1;
      storedTimes.set(name, many);
      demandFew(name, key as ListKey, many);
    },
    noted(life, name, numbers) {
      const chunk = bus?.chunks.get(name);
      for (const number of numbers) {
        if (chunk !== undefined) copies.noted(pairOf(chunk, number), life);
      }
    },
    died(life) {
      copies.died(life);
    },
    lostDisk({ journal }) {
      for (const { name, accepted } of journal.held()) {
        const chunk = bus?.chunks.get(name);
        for (const number of accepted.keys())
          if (chunk !== undefined) copies.mayRepeat(pairOf(chunk, number));
      }
    },
    sent: (key, id, words = '') => void sent.set(`${key} ${id}`, words),
    answered: (life, key, request) => (reply, leaseMsLeft) => {
      if (!life.isAlive() || reply === null || (!reply.ok && 'error' in reply)) return;
      demand(leaseMsLeft > 0, `${life.name} answers although its lease is over`);
      if ('question' in request || !reply.ok) return;
      demandAnswer(model.list(key), request.id, reply as AskReply<Answer> & { ok: true });
    },
  };
}

/** A timer's command is one that a fact has set. */
function isTimer(list: ModelList, id: string): boolean {
  return id.startsWith('moderators.') && list.dues.has(Number(id.slice('moderators.'.length)));
}

const idOf = (list: ModelList, post: string): string => list.posts.get(Number(post))?.id ?? '';

/** The bytes themselves, to be looked through where they are. */
const bytesOf = ({ buffer, byteOffset, byteLength }: Uint8Array): Buffer =>
  Buffer.from(buffer, byteOffset, byteLength);

/** A chunk of thousands is asked for each of its copies. */
const numbers = new WeakMap<Chunk, ReadonlyMap<Address, number>>();

/** Whose number each address is; where two have one address, the first. */
function numbersOf(chunk: Chunk): ReadonlyMap<Address, number> {
  const known = numbers.get(chunk);
  if (known !== undefined) return known;
  const found = new Map(chunk.to.map(([number, address]) => [address, number] as const).reverse());
  numbers.set(chunk, found);
  return found;
}

/** More tries than any story has time for. */
const TRIES_MAX = 30;

function resultsOf(chunk: Chunk, results: ReadonlyMap<string, Result>): readonly Result[] {
  const tries = Array.from({ length: TRIES_MAX }, (_, attempt) => attempt);
  return tries.flatMap((attempt) => results.get(chunkName({ ...chunk, try: attempt })) ?? []);
}

function demandAnswer(list: ModelList, id: string, reply: AskReply<Answer> & { ok: true }): void {
  const decided = list.decided.get(id);
  const what = `the answer ${JSON.stringify(reply.answer)} to ${id}`;
  const { answer } = reply;
  const isNothing =
    answer.type === 'done' || (answer.type === 'members-added' && answer.added === 0);
  // What changed nothing is not recorded: asked again in the same turn or later, it may change something.
  if (isNothing && (decided === undefined || decided.n >= reply.n)) return;
  demand(decided !== undefined, `${what} is not in the ledger`);
  demand(reply.n === decided.n, `${what} names record ${reply.n}, not ${decided.n}`);
  demand(isAnswerTo(reply.answer, decided.facts), `${what} is not what was decided`);
}

/** Every chunk follows from a fact, and holds whom the fact names. */
function demandImplied(model: Model, chunk: Chunk): void {
  const list = model.list(chunk.key);
  const name = chunkName(chunk);
  const letter = list.letters.get(chunk.post);
  if (letter !== undefined) {
    const isTheirs = chunk.to.every(([number, address]) => letter[number - 1] === address);
    demand(isTheirs, `${name} goes to others than its fact says`);
    return;
  }
  const post = list.posts.get(Number(chunk.post));
  demand(post !== undefined, `${name} follows from no fact`);
  const from = Number(chunk.chunk.split('-')[0]) * post.width;
  for (const [number, address] of chunk.to) {
    const isInRange = from <= number && number < Math.min(from + post.width, post.counter);
    demand(isInRange, `${name}: member ${number} is not in its range`);
    demand(
      post.pinned.get(number) === address,
      `${name}: ${address} was no member when it was accepted`,
    );
  }
}
