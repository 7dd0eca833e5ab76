/** What is answered about a post, read from its results as outgoing tells them; its list's owner is the test. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { PostFacts } from '../../actors/protocol-posts.ts';
import type { Address } from '../../src/mail/address.ts';
import type { ListKey } from '../../src/mail/list-key.ts';
import type { Asker } from '../../src/nats/ask.ts';
import type {
  DeliveryFailures,
  DeliveryReport,
  DeliveryRequest,
  DeliveryStory,
} from '../../src/nats/delivery-view.ts';
import { resultsOf } from '../../src/nats/outlets.ts';
import { deliveryOf } from '../../src/ops/delivery.ts';
import { newKey } from '../contract/ledger.ts';
import { aResult, BY, took } from '../support/chunk.ts';
import { type Site, startSite } from '../support/nats.ts';

let site: Site;
beforeAll(async () => {
  site = await startSite();
});
afterAll(() => site.stop());

const LIST = 'dev@lists.example' as Address;
const BY_OPERATOR = { kind: 'operator', name: 'test' } as const;
/** What one message may hold (nats.conf). */
const MESSAGE_BYTES_MAX = 1024 * 1024;
const none = { accepted: [], deferred: [], refused: [] };

/** Asks about post 7, whose recipients are in one range of 500; `recipient` is member 1, or another. */
function asking(key: ListKey, recipients: number, member = 1) {
  const facts = {
    ...({ number: 7, at: BY.at, subject: 's', recipients, order: 'go', key } as const),
    ...{ width: 500, counter: 500, recipient: [member], isOff: false, members: [] },
  } satisfies PostFacts;
  const reply = { ok: true, answer: facts, node: 'n', epoch: 1, seq: 1, n: 1 } as const;
  const asker = { question: async () => reply } as unknown as Asker;
  const ask = deliveryOf({
    ...{ node: 'n', now: () => BY.at, keyOf: async () => key, asker, nats: site.nats },
  });
  return (request: Omit<DeliveryRequest, 'post'>) =>
    ask(LIST, { post: 7, ...request }, BY_OPERATOR);
}

const teller = (key: ListKey) => {
  const { tell } = resultsOf(site.nats, site.publisher);
  return (attempt: number, result: Parameters<typeof aResult>[0]) =>
    tell({ key, post: '7', chunk: '0', try: attempt }, aResult({ ...none, ...result }));
};

test('the report counts the copies of each route, from the first to the last', async () => {
  const key = newKey();
  const tell = teller(key);
  const [first, second] = [{ route: 'mta1' }, { route: 'mta2', at: BY.at + 5_000 }];
  const busy = { ...BY, ...first, code: 450, status: '4.2.0', reply: 'busy', next: BY.at + 9_000 };
  await tell(0, {
    accepted: [took(1, 3, first), took(4, 5, second)],
    deferred: [6, 7].map((number) => ({ number, ...busy })),
  });
  await tell(1, { at: BY.at + 9_500, accepted: [took(6, 6, { ...second, at: BY.at + 9_000 })] });
  const { counts, routes, firstAt, lastAt, nextAt } = (await asking(key, 8)({})) as DeliveryReport;
  expect(counts).toEqual({ handed: 6, deferred: 1, refused: 0, cancelled: 0, queued: 1 });
  expect(routes).toEqual({ mta1: 3, mta2: 3 });
  expect([firstAt, lastAt, nextAt]).toEqual([BY.at, BY.at + 9_000, BY.at + 9_000]);
});

test('who has a copy and may have had it before, by a chunk that came again or a dot nobody answered, is counted and told', async () => {
  const key = newKey();
  const tell = teller(key);
  const unknown = { ...BY, number: 6, code: 0, status: '', reply: 'lost', next: BY.at };
  await tell(0, {
    accepted: [took(1, 5)],
    deferred: [unknown, { ...unknown, number: 7 }],
    repeated: [
      [1, 2],
      [9, 9],
    ],
  });
  await tell(1, { at: BY.at + 1, accepted: [took(6)] });
  const ask = asking(key, 9);
  expect(await ask({})).toMatchObject({ mayHaveTwice: 3 });
  const [first, other] = [1, 3].map((number) => asking(key, 9, number));
  const recipient = 'a@x.example' as Address;
  expect(await first?.({ recipient })).toMatchObject({ state: 'handed', mayHaveTwice: true });
  expect(await other?.({ recipient })).toMatchObject({ state: 'handed', mayHaveTwice: false });
  const [twice, waiting] = [6, 7].map((number) => asking(key, 9, number));
  expect(await twice?.({ recipient })).toMatchObject({ state: 'handed', mayHaveTwice: true });
  expect(await waiting?.({ recipient })).toMatchObject({ state: 'deferred', mayHaveTwice: false });
});

test('hundreds of long refusals come in pages that fit a message, each of them whole', async () => {
  const key = newKey();
  const reply = `"${'ü'.repeat(1_500)}"`;
  const refusal = { ...BY, code: 550, status: '5.7.1', reply };
  // Words of their own, as an MTA that names the recipient has.
  const refused = Array.from({ length: 450 }, (_, i) => {
    return { ...refusal, number: i + 1, reply: `${i}${reply}` };
  });
  // More than one result holds.
  for (const attempt of [0, 1, 2]) {
    const some = refused.slice(150 * attempt, 150 * (attempt + 1));
    await teller(key)(attempt, { at: BY.at + attempt, refused: some });
  }
  const ask = asking(key, 450);
  const found: number[] = [];
  for (let after: number | null = 0, pages = 0; after !== null; pages += 1) {
    expect(pages).toBeLessThan(10);
    const page = (await ask({ failed: { after, limit: 500 } })) as DeliveryFailures;
    expect(Buffer.byteLength(JSON.stringify(page))).toBeLessThan(MESSAGE_BYTES_MAX);
    for (const failure of page.failures) {
      expect(failure.reply).toBe(`${failure.number - 1}${reply}`);
      found.push(failure.number);
    }
    after = page.next;
  }
  expect(found).toEqual(refused.map(({ number }) => number));
});

test('a story of a hundred long answers fits a message: the newest are whole', async () => {
  const key = newKey();
  const tell = teller(key);
  const reply = 'ü'.repeat(4_096);
  for (let attempt = 0; attempt < 100; attempt += 1) {
    const deferred = [{ ...BY, number: 1, code: 450, status: '4.2.0', reply, next: BY.at }];
    await tell(attempt, { at: BY.at + attempt, deferred });
  }
  const { state, story } = (await asking(
    key,
    1,
  )({
    recipient: 'a@x.example' as Address,
  })) as DeliveryStory;
  expect([state, story.length]).toEqual(['deferred', 100]);
  expect(Buffer.byteLength(JSON.stringify(story))).toBeLessThan(MESSAGE_BYTES_MAX);
  expect(story.at(-1)?.reply).toBe(reply);
  expect(story.at(0)?.reply.length).toBe(300);
});
