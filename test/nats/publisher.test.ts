import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { MailError } from '../../src/errors.ts';
import { createPublisher, type Publisher, WrongSequence } from '../../src/nats/publisher.ts';
import { eventually } from '../support/eventually.ts';
import { type Site, startSite } from '../support/nats.ts';

const bytesOf = (text: string): Uint8Array => Buffer.from(text);
const OUTGOING = 'troupe.outgoing.post';

let site: Site;
const publishers: Publisher[] = [];

beforeAll(async () => {
  site = await startSite();
});
afterAll(() => site.stop());
afterEach(async () => {
  for (const publisher of publishers.splice(0)) publisher.close();
  await site.nats.jsm.streams.purge('TROUPE_OUTGOING');
});

/** Longer than any test may take. */
const NEVER_MS = 600_000;

function publisherWith(limits: { windowMax?: number; timeoutMs?: number }): Publisher {
  const publisher = createPublisher(site.nats, limits);
  publishers.push(publisher);
  return publisher;
}

/** The MailError that something was refused with. */
async function refusal(doing: Promise<unknown>): Promise<string> {
  try {
    await doing;
  } catch (error) {
    if (error instanceof MailError) return `${error.code} ${error.status}`;
    throw error;
  }
  return 'not refused';
}

async function stored(stream = 'TROUPE_OUTGOING'): Promise<number> {
  return (await site.nats.jsm.streams.info(stream)).state.messages;
}

/** Answers publishes on a subject that no stream has, as a server might. */
function answering(subject: string, answers: readonly string[]): () => number {
  let asked = 0;
  site.nats.nc.subscribe(subject, {
    callback: (_, msg) =>
      msg.respond(bytesOf(answers[Math.min(asked++, answers.length - 1)] ?? '')),
  });
  return () => asked;
}

describe('one message', () => {
  test('it is answered with its sequence; an id that is there, with the first one’s', async () => {
    const first = await site.publisher.publish(OUTGOING, bytesOf('a'), { id: 'one' });
    const again = await site.publisher.publish(OUTGOING, bytesOf('a'), { id: 'one' });
    const other = await site.publisher.publish(OUTGOING, bytesOf('b'));
    expect(first.duplicate).toBe(false);
    expect(again).toEqual({ seq: first.seq, duplicate: true });
    expect(other.seq).toBe(first.seq + 1);
  });

  test('headers come with it', async () => {
    const { seq } = await site.publisher.publish(OUTGOING, bytesOf('a'), {
      headers: { 'Troupe-Note': 'with: colon, ünd more' },
    });
    const message = await site.nats.jsm.streams.getMessage('TROUPE_OUTGOING', { seq });
    expect(message.header.get('Troupe-Note')).toBe('with: colon, ünd more');
  });

  test('another last sequence than expected is told apart from every failure', async () => {
    const { seq } = await site.publisher.publish(OUTGOING, bytesOf('a'));
    const wrong = site.publisher.publish(OUTGOING, bytesOf('b'), { expectLast: seq + 1 });
    await expect(wrong).rejects.toBeInstanceOf(WrongSequence);
    const right = await site.publisher.publish(OUTGOING, bytesOf('b'), { expectLast: seq });
    expect(right.seq).toBe(seq + 1);
  });

  test('a subject that no stream keeps is 451, at once', async () => {
    const publisher = publisherWith({ timeoutMs: NEVER_MS }); // Were it waited out, so would this test be.
    expect(await refusal(publisher.publish('nobody.listens', bytesOf('a')))).toBe('451 4.3.0');
  });

  test('larger than the stream or the server takes is 552', async () => {
    for (const size of [800 * 1024, 2 * 1024 * 1024]) {
      const doing = site.publisher.publish(OUTGOING, new Uint8Array(size));
      expect(await refusal(doing)).toBe('552 5.3.4');
    }
    expect(await stored()).toBe(0);
  });

  test('a full stream is 452, and takes more when there is room again', async () => {
    await site.nats.jsm.streams.add({
      name: 'SMALL',
      subjects: ['small'],
      max_bytes: 20_000,
      discard: 'new' as never,
    });
    const data = new Uint8Array(9_000);
    await site.publisher.publish('small', data);
    await site.publisher.publish('small', data);
    expect(await refusal(site.publisher.publish('small', data))).toBe('452 4.3.1');
    await site.nats.jsm.streams.purge('SMALL');
    expect((await site.publisher.publish('small', data)).seq).toBe(3);
  });

  test('a “duplicate” of nothing is no answer: it is asked again', async () => {
    const asked = answering('odd.duplicate', ['{"seq":0,"duplicate":true}', '{"seq":7}']);
    const answer = await site.publisher.publish('odd.duplicate', bytesOf('a'));
    expect(answer).toEqual({ seq: 7, duplicate: false });
    expect(asked()).toBe(2);
  });

  test.each(['', 'not JSON', '{}', '{"seq":"7"}', '{"error":{"code":500}}'])(
    'an answer that says nothing is doubt: %j',
    async (answer) => {
      const subject = `odd.${Buffer.from(answer).toString('hex')}x`;
      answering(subject, [answer]);
      expect(await refusal(site.publisher.publish(subject, bytesOf('a')))).toBe('451 4.3.0');
    },
  );
});

describe('the window', () => {
  test('no more than it allows is under way; the rest waits, and all is stored', async () => {
    const publisher = publisherWith({ windowMax: 4 });
    const doing = Array.from({ length: 200 }, (_, i) =>
      publisher.publish(OUTGOING, bytesOf(`${i}`)).then(({ seq }) => {
        expect(publisher.load().inFlight).toBeLessThanOrEqual(4);
        return seq;
      }),
    );
    // What is published in one turn of the event loop leaves at its end.
    await new Promise((resolve) => setImmediate(resolve));
    expect(publisher.load()).toEqual({ inFlight: 4, waiting: 196 });
    const seqs = await Promise.all(doing);
    expect(seqs).toEqual(seqs.toSorted((a, b) => a - b));
    expect(await stored()).toBe(200);
    expect(publisher.load()).toEqual({ inFlight: 0, waiting: 0 });
  });

  test('a server that stands still is 451 after the time-out, for who waited too', async () => {
    const publisher = publisherWith({ windowMax: 2, timeoutMs: 400 });
    await site.server.pause();
    const startedAt = performance.now();
    const doing = [1, 2, 3].map((i) => refusal(publisher.publish(OUTGOING, bytesOf(`${i}`))));
    expect(await Promise.all(doing)).toEqual(['451 4.3.0', '451 4.3.0', '451 4.3.0']);
    expect(performance.now() - startedAt).toBeGreaterThan(700);
    expect(publisher.load()).toEqual({ inFlight: 0, waiting: 0 });
    process.kill(site.server.pid(), 'SIGCONT');
    await eventually(() => refusal(publisher.publish(OUTGOING, bytesOf('after')))).toBe(
      'not refused',
    );
  });

  test('a server that dies refuses what is open at once, and all until it is back', async () => {
    const publisher = publisherWith({ windowMax: 8, timeoutMs: NEVER_MS });
    await site.server.pause(); // So that nothing is answered before it dies.
    const doing = Array.from({ length: 20 }, (_, i) =>
      refusal(publisher.publish(OUTGOING, bytesOf(`${i}`))),
    );
    await site.server.kill9();
    expect(new Set(await Promise.all(doing))).toEqual(new Set(['451 4.3.0']));
    expect(await refusal(publisher.publish(OUTGOING, bytesOf('away')))).toBe('451 4.3.0');
    await site.server.restart();
    await eventually(() => refusal(publisher.publish(OUTGOING, bytesOf('back')))).toBe(
      'not refused',
    );
  });

  test('a publisher that was closed refuses', async () => {
    const publisher = publisherWith({});
    publisher.close();
    expect(await refusal(publisher.publish(OUTGOING, bytesOf('a')))).toBe('451 4.3.0');
  });
});

describe('a batch', () => {
  const messages = (from: number, to: number) =>
    Array.from({ length: to - from }, (_, i) => ({
      subject: OUTGOING,
      data: bytesOf(`${from + i}`),
      id: `m${from + i}`,
    }));

  async function texts(): Promise<string[]> {
    const { state } = await site.nats.jsm.streams.info('TROUPE_OUTGOING');
    const found: string[] = [];
    for (let seq = state.first_seq; seq <= state.last_seq; seq++) {
      found.push((await site.nats.jsm.streams.getMessage('TROUPE_OUTGOING', { seq })).string());
    }
    return found;
  }

  afterEach(async () => {
    // Ids outlive a purge: another stream of the same name forgets them.
    const { config } = await site.nats.jsm.streams.info('TROUPE_OUTGOING');
    await site.nats.jsm.streams.delete('TROUPE_OUTGOING');
    await site.nats.jsm.streams.add(config);
  });

  test('more than the server takes at once is stored whole and in order', async () => {
    await site.publisher.publishBatch(messages(0, 2_300));
    expect(await stored()).toBe(2_300);
    expect((await texts()).slice(990, 1_010)).toEqual(
      Array.from({ length: 20 }, (_, i) => `${990 + i}`),
    );
  });

  test('sent twice it is stored once', async () => {
    await site.publisher.publishBatch(messages(0, 100));
    await site.publisher.publishBatch(messages(0, 100));
    expect(await stored()).toBe(100);
  });

  test('where some of it is there already, the rest is stored', async () => {
    await site.publisher.publishBatch(messages(10, 20));
    await site.publisher.publishBatch(messages(0, 30));
    const found = await texts();
    expect(found).toHaveLength(30);
    expect(new Set(found)).toEqual(new Set(messages(0, 30).map(({ data }) => `${data}`)));
  });

  test('a stream that allows no batches takes the messages one by one', async () => {
    const key = 'a'.repeat(26);
    const subject = `troupe.mailbox.1.${key}`;
    await site.publisher.publishBatch(messages(0, 70).map((message) => ({ ...message, subject })));
    expect(await stored('TROUPE_MAILBOX')).toBe(70);
  });

  test('large messages are cut into batches of bounded bytes', async () => {
    const data = new Uint8Array(500_000);
    const large = Array.from({ length: 30 }, (_, i) => ({ subject: OUTGOING, data, id: `l${i}` }));
    await site.publisher.publishBatch(large);
    expect(await stored()).toBe(30);
  });

  test('a full stream refuses a batch whole, with 452', async () => {
    await site.nats.jsm.streams.add({
      name: 'SMALLBATCH',
      subjects: ['smallbatch'],
      max_bytes: 20_000,
      discard: 'new' as never,
      allow_atomic: true,
    } as never);
    const large = Array.from({ length: 30 }, (_, i) => ({
      subject: 'smallbatch',
      data: new Uint8Array(1_000),
      id: `s${i}`,
    }));
    expect(await refusal(site.publisher.publishBatch(large))).toBe('452 4.3.1');
    expect(await stored('SMALLBATCH')).toBe(0);
  });

  test('of nothing is nothing', async () => {
    await site.publisher.publishBatch([]);
    expect(await stored()).toBe(0);
  });
});
