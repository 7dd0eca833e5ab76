/** The seams of `src/world.ts` as one process has them: each a wire to the bus, over its life. */
import type { Answer, Command } from '../../actors/protocol.ts';
import type { HostWorld } from '../../src/host/world.ts';
import { chunkName, isLater } from '../../src/mail/chunk.ts';
import { slotOf } from '../../src/mail/list-key.ts';
import type { Asker, AskReply, Outcome } from '../../src/nats/ask.ts';
import { encodeAsked, encodeChunk } from '../../src/nats/codec.ts';
import { BATCH_FROM } from '../../src/nats/outlets.ts';
import { away } from '../../src/nats/stored.ts';
import * as subjects from '../../src/nats/subjects.ts';
import type {
  BouncesOut,
  Delivery,
  Kv,
  Later,
  Ledger,
  MailboxOut,
  MailStore,
  OutgoingOut,
  Parked,
  Queue,
  Results,
} from '../../src/world.ts';
import type { FakeQueue } from '../support/fake/queue.ts';
import type { AskServer, Bus, WatchedKv } from './bus.ts';
import type { Chance } from './chance.ts';
import type { Life } from './life.ts';
import { HOLD_MS, poll } from './poll.ts';

/** A pull that was lost on its way is asked for again. */
const PULL_EXPIRES_MS = 5_000;
const PULL_MS = 0.5;

/** Hears of what the process does with deliveries. */
export type LinkEvents = {
  given(queue: string, delivery: Delivery, life: Life): void;
  acked(queue: string, delivery: Delivery, life: Life): void;
};

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}

export function linkLedger(life: Life, { ledger, grown }: Bus): Ledger {
  return {
    append: (slot, whose, bytes, expected) =>
      life.call(
        `append ${whose} after ${expected}`,
        () => ledger.append(slot, whose, bytes, expected),
        () => ({ kind: 'doubt' }),
      ),
    last: (slot, whose) => life.call(`last ${whose}`, () => ledger.last(slot, whose)),
    async *read(slot, key, after) {
      yield* await life.call(`read ${key}`, () => all(ledger.read(slot, key, after)));
    },
    async *scan(slots, after) {
      yield* await life.call('scan', () => all(ledger.scan(slots, after)));
    },
    follow: (slots, after, signal) =>
      poll(life, 'follow', signal, after, async (known) => {
        if (ledger.records.length <= known) await grown(HOLD_MS);
        const end = ledger.records.length;
        const news = ledger.records.slice(known, end);
        return { items: news.filter(({ slot }) => slots.includes(slot)), known: end };
      }),
    end: () => life.call('end', () => ledger.end()),
  };
}

export function linkQueue(
  life: Life,
  queue: FakeQueue,
  timeline: { after(ms: number, what: string, run: () => void): void },
  events: LinkEvents,
): Queue {
  return {
    name: queue.name,
    depth: () => life.call('depth', () => queue.depth()),
    async *take(ahead, signal) {
      const here: Delivery[] = [];
      let underWay = 0;
      let wake = (): void => {};
      const detach = queue.attach({
        room: () => (life.isAlive() && life.isConnected() ? ahead - here.length - underWay : 0),
        give(delivery) {
          events.given(queue.name, delivery, life);
          underWay += 1;
          let isUnderWay = true;
          const arrived = (): void => {
            if (isUnderWay) underWay -= 1;
            isUnderWay = false;
          };
          timeline.after(PULL_EXPIRES_MS, '', () => {
            arrived();
            queue.poke();
          });
          life.hear(`${queue.name} ${delivery.seq} (${delivery.deliveries})`, () => {
            arrived();
            here.push(wired(life, queue.name, delivery, events));
            wake();
          });
        },
      });
      life.onDeath(detach);
      signal.addEventListener('abort', () => wake(), { once: true });
      try {
        while (!signal.aborted) {
          const next = here.shift();
          if (next === undefined) {
            await new Promise<void>((resolve) => {
              wake = resolve;
            });
            continue;
          }
          timeline.after(PULL_MS, '', queue.poke);
          yield next;
        }
      } finally {
        detach();
        for (const delivery of here) delivery.giveBack();
      }
    },
  };
}

/** A delivery as the process has it: acks travel, and may be lost. */
export function wired(life: Life, queue: string, delivery: Delivery, events: LinkEvents): Delivery {
  const label = `${queue} ${delivery.seq}`;
  return {
    ...delivery,
    ack() {
      if (life.isAlive()) events.acked(queue, delivery, life);
      life.tell(`ack ${label}`, delivery.ack);
    },
    working: () => life.tell(`working ${label}`, delivery.working),
    giveBack: () => life.tell(`giveBack ${label}`, delivery.giveBack),
  };
}

export function linkMailbox(life: Life, bus: Bus): MailboxOut<Command> {
  return {
    put: (key, asked) =>
      life.call(`mailbox ${asked.id.slice(0, 12)}`, () => {
        const subject = subjects.mailbox(key);
        const slot = subjects.partsOf(subject)?.slot ?? 0;
        bus.mailboxes[slot]?.put(subject, encodeAsked(asked), { id: `${key}.${asked.id}` });
      }),
  };
}

export function linkOutgoing(life: Life, bus: Bus): OutgoingOut {
  return {
    async put(chunks) {
      const store = (these: typeof chunks) => (): void => {
        for (const chunk of these) {
          const subject = subjects.outgoing(chunk.class);
          bus.outgoing[chunk.class].put(subject, encodeChunk(chunk), { id: chunkName(chunk) });
        }
      };
      const what = `put ${chunks.map(chunkName)[0] ?? ''} and ${chunks.length - 1} more`;
      // A batch is stored whole or not at all.
      if (chunks.length >= BATCH_FROM) return life.call(what, store(chunks));
      await Promise.all(
        chunks.map((chunk) => life.call(`put ${chunkName(chunk)}`, store([chunk]))),
      );
    },
  };
}

export function linkResults(life: Life, { results, orders }: Bus): Results {
  return {
    orderOf: (key, post) =>
      life.call(`order of ${key}.${post}`, () => orders.get(`${key}.${post}`)?.order ?? 'go'),
    async order(key, post, row) {
      const id = `${key}.${post}`;
      const last = await life.call(`order of ${id}`, () => orders.get(id) ?? null);
      if (last !== null && !isLater(row, last)) return;
      await life.call(`${row.order} ${id}`, () => {
        if ((orders.get(id) ?? null) !== last) throw away(new Error('another last sequence'));
        orders.set(id, row);
      });
    },
    isUntold: (key, post) =>
      life.call(`told of ${key}.${post}`, () => {
        const isOfPost = (name: string): boolean => name.startsWith(`${key}.${post}.`);
        return !orders.has(`${key}.${post}`) && ![...results.keys()].some(isOfPost);
      }),
    last: (id) => life.call(`result of ${chunkName(id)}`, () => results.get(chunkName(id)) ?? null),
    tell: (id, result) =>
      life.call(
        `tell ${result.kind} ${chunkName(id)}`,
        () => void results.set(chunkName(id), result),
      ),
  };
}

/** As `createLater`: times are the node's, and the server fires by its own clock. */
export function linkLater(life: Life, { later, clock }: Bus): Later<Command> {
  return {
    put: (id, at, due) => {
      const skewMs = life.clock.now() - clock.now();
      return life.call(`later ${id}`, () => later.put(id, at - skewMs, due));
    },
    cancel: (id) => life.call(`cancel ${id}`, () => later.cancel(id)),
    hasten: (prefix) => life.call(`hasten ${prefix}`, () => later.hasten(prefix)),
  };
}

export function linkBounces(life: Life, { bounces }: Bus): BouncesOut {
  return {
    put: (key, event) =>
      life.call(`bounce ${event.id}`, () => void bounces.set(`${key}.${event.id}`, event)),
  };
}

export function linkParked(life: Life, { parked }: Bus): Parked {
  return {
    put: (where, { subject }, why) =>
      life.call(`park ${where}: ${why}`, () => void parked.push({ where, subject, why })),
  };
}

export function linkMail(life: Life, { mail }: Bus): MailStore {
  return {
    async accept(raw, envelopes) {
      await Promise.all(
        envelopes.map((one) => life.call(`accept ${one.kind}`, () => mail.accept(raw, [one]))),
      );
    },
    message: (ref) => life.call(`message ${ref.seq}`, () => mail.message(ref)),
    read: (ref) => life.call(`read ${ref.in} ${ref.seq}`, () => mail.read(ref)),
    keep: (where, key, id, from, note) =>
      life.call(`keep ${where} ${id}`, () => mail.keep(where, key, id, from, note)),
    find: (where, key, id) => life.call(`find ${where} ${id}`, () => mail.find(where, key, id)),
    drop: (ref) => life.call(`drop ${ref.seq}`, () => mail.drop(ref)),
  };
}

export function linkKv(life: Life, name: string, kv: WatchedKv): Kv {
  return {
    get: (key) => life.call(`${name}.get ${key}`, () => kv.get(key)),
    create: (key, value) => life.call(`${name}.create ${key}`, () => kv.create(key, value)),
    update: (key, value, revision) =>
      life.call(`${name}.update ${key}`, () => kv.update(key, value, revision)),
    delete: (key) => life.call(`${name}.delete ${key}`, () => kv.delete(key)),
    async *watch(signal) {
      let isReady = false;
      // The first answer is all there is; what comes then is told as it comes.
      const read = async (known: number) => {
        if (isReady) await kv.more(known, HOLD_MS);
        const changes = isReady ? kv.changes.slice(known) : kv.rows();
        return { items: [changes], known: kv.changes.length };
      };
      for await (const changes of poll(life, `${name}.watch`, signal, 0, read)) {
        yield* changes;
        if (!isReady) yield 'ready';
        isReady = true;
      }
    },
  };
}

export function linkAsks(life: Life, { asks }: Bus): HostWorld['serveAsks'] {
  return (slot, handler) => {
    const server: AskServer = { life, handler };
    const servers = asks.get(slot) ?? new Set();
    asks.set(slot, servers.add(server));
    const end = (): void => void servers.delete(server);
    life.onDeath(end);
    return {
      close: async () => {
        if (life.isAlive()) end();
      },
    };
  };
}

/** As `createAsker` asks once: whoever serves the slot is asked, and no answer in time is silence. */
export function linkAsker(life: Life, { asks }: Bus, chance: Chance): Pick<Asker, 'once'> {
  return {
    once: (key, asked) =>
      life.call<Outcome<Answer>>(
        `ask ${asked.id.slice(0, 12)}`,
        () => {
          const servers = [...(asks.get(slotOf(key)) ?? [])];
          if (servers.length === 0) return 'nobody';
          const { life: owner, handler } = chance.pick(servers);
          return new Promise((resolve, reject) => {
            owner.hear('ask', () => {
              handler(key, asked).then((reply) => {
                if (reply !== null) owner.tell('answer', () => resolve(reply as AskReply<Answer>));
              }, reject);
            });
          });
        },
        () => 'silent',
      ),
  };
}
