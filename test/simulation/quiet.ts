/** What must be true once all is mended and nothing is under way any more (reliability §5 c, d, and the rows). */
import { rebuild } from '../../src/host/rebuild.ts';
import { type ListKey, slotOf } from '../../src/mail/list-key.ts';
import { createDirectory } from '../../src/nats/directory.ts';
import { openDraft } from '../../src/store/list-rows.ts';
import type { Row, Rows } from '../../src/world.ts';
import { fakeRows } from '../support/fake/rows.ts';
import type { Clients } from './clients.ts';
import { pairOf } from './copies.ts';
import { demand, type ModelList } from './model.ts';
import { GONE } from './mta.ts';
import type { SimNode, World } from './world.ts';

/** Null if nothing is under way; else what still is. */
export function unrest(world: World, clients: Clients): string | null {
  const { bus, nodes } = world;
  if (clients.pending() > 0) return `${clients.pending()} clients wait`;
  const busy = bus.queues.find((queue) => queue.stored().length > 0);
  if (busy !== undefined) return `${busy.name} holds ${busy.stored().length}`;
  if (bus.later.waiting.size > 0) return `later holds ${[...bus.later.waiting.keys()].join(', ')}`;
  for (const { name, booted, life } of nodes) {
    if (booted === null || life?.isAlive() !== true) return `${name} is not up`;
  }
  for (const { key } of clients.lists) {
    const owner = ownerOf(world, key);
    if (owner === null) return `nobody owns ${key}`;
    const { waiting, n } = openDraft(owner.disk.rows, key, 0).head();
    if (waiting > 0) return `${waiting} effects of ${key} wait`;
    if (n !== world.oracle.model.list(key).n) return `${owner.name} has not folded all of ${key}`;
    const { outbox, waiting: commands } = inspection(owner, key);
    if (commands > 0 || outbox.waiting > 0) return `${key} is at work`;
  }
  return null;
}

function inspection(
  owner: SimNode,
  key: ListKey,
): { outbox: { waiting: number }; waiting: number } {
  const answer = owner.booted?.host.question(key, { ask: 'inspect' });
  return answer !== undefined && 'outbox' in answer
    ? answer
    : { outbox: { waiting: 0 }, waiting: 0 };
}

function ownerOf({ nodes }: World, key: ListKey): SimNode | null {
  const slot = slotOf(key);
  const owners = nodes.filter(({ booted }) =>
    booted?.host.status().slots.some((owned) => owned.slot === slot),
  );
  return owners.length === 1 ? (owners[0] ?? null) : null;
}

/** Throws a Violation. */
export async function demandQuiet(world: World, clients: Clients): Promise<void> {
  const { bus, oracle } = world;
  demand(bus.parked.length === 0, `parked: ${JSON.stringify(bus.parked[0])}`);
  for (const { status } of world.nodes.flatMap(({ booted }) => booted?.host ?? [])) {
    demand(status().quarantined.length === 0, `quarantined: ${status().quarantined[0]?.why}`);
  }
  for (const { ids, kind, isAcked } of clients.mails) {
    for (const { key, id } of ids) {
      const list = oracle.model.list(key);
      const isThere = list.decided.has(id);
      demand(
        isThere || !isAcked,
        `lost: a ${kind} that was answered 250 has no fact: ${key} ${id}`,
      );
    }
  }
  for (const list of oracle.model.lists.values()) {
    demandDelivered(world, list);
    await demandKept(world, list);
    await demandDirectory(world, list);
  }
  await demandRows(world, clients);
}

/** Everybody who was a member at acceptance, and still is, has a copy; so has everybody whom a notice was for. */
function demandDelivered({ oracle }: World, list: ModelList): void {
  const { key } = list;
  for (const { number: post, pinned } of list.posts.values()) {
    for (const [number, address] of pinned) {
      if (list.members.get(number) !== address || address.startsWith(GONE)) continue;
      const many = oracle.copies.taken.get(pairOf({ key, post: String(post) }, number)) ?? 0;
      demand(many > 0, `lost: post ${post} of ${key} never came to ${address}`);
    }
  }
  for (const [post, to] of list.letters) {
    to.forEach((address, index) => {
      const many = oracle.copies.taken.get(pairOf({ key, post }, index + 1)) ?? 0;
      demand(
        many > 0 || address.startsWith(GONE),
        `lost: ${post} of ${key} never came to ${address}`,
      );
    });
  }
}

async function demandKept({ bus, oracle }: World, list: ModelList): Promise<void> {
  const { key } = list;
  for (const post of list.posts.keys()) {
    const copy = await bus.mail.find('archive', key, `a${post}`);
    demand(copy !== null, `lost: post ${post} of ${key} is not in the archive`);
  }
  for (const [hold, { verdict }] of list.holds) {
    const copy = await bus.mail.find('held', key, `h${hold}`);
    if (verdict === null) demand(copy !== null, `lost: hold ${hold} of ${key} has no mail`);
    // A second copy, kept by a message that came late, ages out in its own time.
    const isDropped = verdict === 'rejected' || verdict === 'discarded';
    if (isDropped && oracle.storedTimes.get(`held ${key} h${hold}`) === 1)
      demand(copy === null, `hold ${hold} of ${key} is ${verdict}, and its mail is still kept`);
  }
}

async function demandDirectory({ bus }: World, list: ModelList): Promise<void> {
  if (list.address === '') return;
  const entry = await createDirectory(bus.directory).find(list.address);
  const wanted = list.mode === 'retired' ? 'retired' : 'active';
  demand(entry?.state === wanted, `the directory says ${entry?.state} of ${list.address}`);
}

/** What was live and what is rebuilt are the same, on every node that has folded the list to its end. */
async function demandRows(world: World, clients: Clients): Promise<void> {
  const rows = fakeRows();
  const { ledger, clock } = world.bus;
  const { broken } = await rebuild(
    { rows, ledger, clock, nextTick: (run) => run() },
    () => undefined,
  );
  demand(broken.length === 0, `the ledger does not fold: ${broken[0]?.why}`);
  for (const { key } of clients.lists) {
    const wanted = dump(rows, key);
    const { noticeDue } = openDraft(rows, key, 0).state();
    demand(noticeDue === null, `moderators of ${key} wait for a notice that nobody will send`);
    for (const { name, disk } of world.nodes) {
      const isFolded = openDraft(disk.rows, key, 0).head().n === openDraft(rows, key, 0).head().n;
      if (!isFolded) continue;
      const have = dump(disk.rows, key);
      const differs = wanted.findIndex((row, i) => row !== have[i]);
      const where = differs < 0 ? have[wanted.length] : `${wanted[differs]} is ${have[differs]}`;
      const isSame = differs < 0 && have.length === wanted.length;
      demand(isSame, `rows of ${key} on ${name} differ from the rebuilt ones: ${where}`);
    }
  }
}

const dump = (rows: Rows, key: string): string[] =>
  [...rows.range([key], [key, '\uffff'])].map((row: Row) => JSON.stringify(row));
