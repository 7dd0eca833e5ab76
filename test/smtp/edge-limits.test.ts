/**
 * The edge's limits (reliability §4.3 rows 4–8, 15, 39): sizes, counts, times, and what an attacker
 * gets for going past them.
 */
import { readdir } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, describe, expect, test } from 'vitest';
import { EDGE_LIMITS, trustedPeers } from '../../src/smtp/edge-limits.ts';
import {
  type EdgeSetup,
  holdAccept,
  openEdge,
  resolveSample,
  type TestEdge,
} from '../support/edge.ts';
import { eventually } from '../support/eventually.ts';
import { liveBytes } from '../support/live-bytes.ts';
import { connectSmtp, type SmtpClient, type SmtpReply } from '../support/smtp-client.ts';

let edge: TestEdge;
const clients: SmtpClient[] = [];
afterEach(async () => {
  for (const client of clients.splice(0)) client.drop();
  await edge?.close();
});

const DEV = 'RCPT TO:<dev@lists.localhost>';
const STRANGER = '127.0.0.7';

async function connected(from = '127.0.0.1'): Promise<SmtpClient> {
  const client = await connectSmtp(edge.smtp, from);
  clients.push(client);
  return client;
}

async function greeted(from = '127.0.0.1'): Promise<SmtpClient> {
  const client = await connected(from);
  expect((await client.read()).code).toBe(220);
  await client.sayAll('EHLO mta.x.example');
  return client;
}

async function open(setup: EdgeSetup = {}, from = '127.0.0.1'): Promise<SmtpClient> {
  edge = await openEdge(setup);
  return greeted(from);
}

const told = ({ code, status }: SmtpReply): string => `${code} ${status}`.trim();
const kilobytes = (count: number): string => `${'x'.repeat(1022)}\r\n`.repeat(count);

describe('row 5: a message that is too large', () => {
  test('is refused at MAIL when it says so', async () => {
    const client = await open({ limits: { sizeMax: 10_000 } });
    expect(told(await client.say('MAIL FROM:<> SIZE=10001'))).toBe('552 5.3.4');
    expect(told(await client.say('MAIL FROM:<> SIZE=10000'))).toBe('250 2.1.0');
  });

  test('a little over is refused after the dot, and the session goes on', async () => {
    const client = await open({ limits: { sizeMax: 10_000 } });
    await client.sayAll('MAIL FROM:<> SIZE=1', DEV, 'DATA');
    await client.write(`X: y\r\n\r\n${kilobytes(11)}.\r\n`);
    expect(told(await client.read())).toBe('552 5.3.4');
    await client.sayAll('MAIL FROM:<>', DEV, 'DATA');
    await client.write(`X: y\r\n\r\n${kilobytes(9)}.\r\n`);
    expect(told(await client.read())).toBe('250 2.6.0');
    expect(edge.accepted).toHaveLength(1);
  });

  test('is cut off 64 KiB past the limit, with 552 and the end of the connection', async () => {
    const client = await open({ limits: { sizeMax: 10_000 } });
    await client.sayAll('MAIL FROM:<> SIZE=1', DEV, 'DATA');
    const flood = kilobytes(64);
    let sent = 0;
    void client.closed.then(() => {
      sent = Number.POSITIVE_INFINITY;
    });
    const reading = client.read();
    while (sent < 50 * 1024 * 1024 && !client.isClosed()) {
      await client.write(flood);
      sent += flood.length;
    }
    expect(told(await reading)).toBe('552 5.3.4');
    expect(edge.edge.inFlight()).toBe(0);
    expect(edge.counted('edge_bytes')).toBeLessThan(10_000 + 64 * 1024);
    expect(edge.accepted).toEqual([]);
  });

  test('of many bare LF is measured as it will be kept', async () => {
    const client = await open({ limits: { sizeMax: 10_000 } });
    await client.sayAll('MAIL FROM:<>', 'RCPT TO:<tiny@lists.localhost>', 'DATA');
    await client.write(`X: y\r\n\r\n${'\n'.repeat(600)}\r\n.\r\n`);
    expect(told(await client.read())).toBe('552 5.3.4');
  });

  test('in all messages together is 452 4.3.2, and no more once the others are done', async () => {
    const client = await open({ limits: { inFlightBytesMax: 100_000 } });
    const other = await greeted();
    await other.sayAll('MAIL FROM:<>', DEV, 'DATA');
    await other.write(`X: y\r\n\r\n${kilobytes(60)}`);
    await eventually(async () => {
      await client.say('RSET'); // It was taken where the other's bytes were not there yet.
      return told(await client.say('MAIL FROM:<> SIZE=60000'));
    }).toBe('452 4.3.2');
    await client.sayAll('MAIL FROM:<>', DEV, 'DATA');
    await client.write(`X: y\r\n\r\n${kilobytes(60)}.\r\n`);
    expect(told(await client.read())).toBe('452 4.3.2');
    expect(told(await other.say('.'))).toBe('250 2.6.0');
    expect(told(await client.say('MAIL FROM:<> SIZE=60000'))).toBe('250 2.1.0');
  });
});

describe('row 15: a header', () => {
  test.each([
    ['of 1 MB', 'X: '.concat('y'.repeat(1_000_000), '\r\n\r\nbody\r\n')],
    ['of 10,000 fields', 'X: y\r\n'.repeat(10_000).concat('\r\nbody\r\n')],
    ['folded 10,000 times', 'X: y\r\n'.concat(' y\r\n'.repeat(10_000), '\r\nbody\r\n')],
  ])('%s is 552 5.3.4', async (_, message) => {
    const client = await open();
    await client.sayAll('MAIL FROM:<>', DEV, 'DATA');
    await client.write(`${message}.\r\n`);
    expect(told(await client.read())).toBe('552 5.3.4');
    expect(edge.accepted).toEqual([]);
  });

  test('of 1,000 lines, and a body of many more, are taken', async () => {
    const client = await open();
    await client.sayAll('MAIL FROM:<>', DEV, 'DATA');
    await client.write(`${'X: y\r\n'.repeat(1_000)}\r\n${'z\r\n'.repeat(20_000)}.\r\n`);
    expect(told(await client.read())).toBe('250 2.6.0');
  });
});

describe('row 6: recipients', () => {
  test('past 100 are 452 4.5.3, and the mail goes to the first 100', async () => {
    const client = await open();
    await client.sayAll('MAIL FROM:<>');
    const lines = Array.from(
      { length: 10_000 },
      (_, i) => `RCPT TO:<list${i}@lists.localhost>\r\n`,
    );
    void client.write(lines.join(''));
    const replies: string[] = [];
    for (const _ of lines) replies.push(told(await client.read()));
    expect(replies.slice(0, 100).every((reply) => reply === '250 2.1.5')).toBe(true);
    expect(replies.slice(100).every((reply) => reply === '452 4.5.3')).toBe(true);
    await client.sayAll('DATA');
    expect(told(await client.say('X: y\r\n\r\n.'))).toBe('250 2.6.0');
    expect(edge.accepted[0]?.envelopes[0]?.envelope.recipients).toHaveLength(100);
  });

  test('are counted though they are the same', async () => {
    const client = await open({ limits: { recipientsMax: 2 } });
    await client.sayAll('MAIL FROM:<>', DEV, DEV);
    expect(told(await client.say(DEV))).toBe('452 4.5.3');
  });

  test('never make an envelope that is too large to be kept', async () => {
    const local = 'x'.repeat(64);
    const domain = `${'y'.repeat(63)}.${'y'.repeat(63)}.lists.localhost`;
    const client = await open({
      limits: { recipientsMax: 10_000 },
      resolve: () => ({ kind: 'post', maxMessageBytes: 1_000_000 }),
    });
    await client.sayAll('MAIL FROM:<>');
    let last: SmtpReply = { code: 250, status: '', lines: [] };
    for (let i = 0; i < 1_000 && last.code === 250; i++) {
      last = await client.say(`RCPT TO:<${local}@${domain}>`);
    }
    expect(told(last)).toBe('452 4.5.3');
  });
});

describe('row 7: time', () => {
  /** The system carries a byte when it comes to it: a busy one not while we are at work. */
  const CARRIED_MS = 1;

  /** Lets time pass in steps, a byte at each: a trickle resets no deadline. */
  async function trickle(client: SmtpClient, stepMs: number, untilMs: number): Promise<number> {
    let passed = 0;
    while (passed < untilMs && !client.isClosed()) {
      await client.write('x');
      await pause(CARRIED_MS);
      await edge.clock.advance(stepMs);
      passed += stepMs;
    }
    await client.closed; // Were it not, the test would run out of its time.
    return passed;
  }

  test('a client that says nothing for 60 s is closed with 421 4.4.2', async () => {
    const client = await open();
    await edge.clock.advance(59_000);
    expect((await client.say('NOOP')).code).toBe(250);
    await edge.clock.advance(61_000);
    expect(told(await client.read())).toBe('421 4.4.2');
    await client.closed;
  });

  test('a command that comes a byte each 10 s is closed after 60 s', async () => {
    const client = await open();
    await trickle(client, 10_000, 90_000);
    expect(told(await client.read())).toBe('421 4.4.2');
  });

  test('a message that pauses for 120 s is closed', async () => {
    const client = await open();
    await client.sayAll('MAIL FROM:<>', DEV, 'DATA');
    await client.write('Subject: slow\r\n');
    await edge.clock.advance(100_000);
    expect(client.isClosed()).toBe(false);
    await edge.clock.advance(25_000);
    expect(told(await client.read())).toBe('421 4.4.2');
    await client.closed;
    expect(edge.edge.inFlight()).toBe(0);
  });

  test('a message that comes a byte each 10 s is closed after 15 minutes', async () => {
    const client = await open();
    await client.sayAll('MAIL FROM:<>', DEV, 'DATA');
    const passed = await trickle(client, 10_000, EDGE_LIMITS.dataTotalMs + 60_000);
    expect(passed).toBeGreaterThanOrEqual(EDGE_LIMITS.dataTotalMs);
    expect(edge.accepted).toEqual([]);
  });

  test('a client that only says NOOP is closed after 10 minutes', async () => {
    const client = await open();
    let last = await client.say('NOOP');
    let passed = 0;
    for (; last.code === 250 && passed < 3_600_000; passed += 30_000) {
      const replying = client.say('NOOP');
      await edge.clock.advance(30_000);
      last = await replying;
    }
    expect(told(last)).toBe('421 4.4.2');
    expect(passed).toBeLessThan(EDGE_LIMITS.withoutMailMs + 60_000);
  });

  test('a client that waits for a recipient to be looked up is not hurried', async () => {
    const looked = Promise.withResolvers<void>();
    const asked = Promise.withResolvers<void>();
    const client = await open({
      async resolve(address) {
        asked.resolve();
        await looked.promise;
        return resolveSample(address);
      },
    });
    await client.sayAll('MAIL FROM:<>');
    const replying = client.say(DEV);
    await asked.promise;
    await edge.clock.advance(120_000);
    looked.resolve();
    expect(told(await replying)).toBe('250 2.1.5');
  });

  test('a client that waits for us is not hurried', async () => {
    const client = await open();
    const keeping = holdAccept(edge);
    await client.sayAll('MAIL FROM:<>', DEV, 'DATA');
    const replying = client.say('X: y\r\n\r\n.');
    await keeping.begun;
    await edge.clock.advance(30 * 60_000);
    keeping.end();
    expect(told(await replying)).toBe('250 2.6.0');
  });
});

describe('row 8: connections', () => {
  test('of a stranger are at most 20 an address, until one leaves', async () => {
    edge = await openEdge();
    for (let i = 0; i < 20; i++) await connected(STRANGER);
    const refused = await connected(STRANGER);
    expect(told(await refused.read())).toBe('421 4.7.0');
    await refused.closed;
    const elsewhere = await connected('127.0.0.8');
    expect((await elsewhere.read()).code).toBe(220);
    clients[0]?.drop();
    await eventually(async () => (await (await connected(STRANGER)).read()).code).toBe(220);
  });

  test('of strangers are at most 100, and none of them keeps a listed MTA out', async () => {
    edge = await openEdge({ limits: { connectionsMax: 30 } });
    for (let i = 0; i < 30; i++) await connected(`127.0.1.${i}`);
    expect(told(await (await connected('127.0.2.1')).read())).toBe('421 4.3.2');
    expect((await (await connected()).read()).code).toBe(220);
  });

  test('of a listed MTA are not counted by address, and greeted at once', async () => {
    edge = await openEdge();
    for (let i = 0; i < 50; i++) expect((await (await connected()).read()).code).toBe(220);
  });

  test('by the thousand cost no memory', async () => {
    edge = await openEdge({ limits: { connectionsMax: 50 } });
    for (let i = 0; i < 50; i++) await connected(`127.0.1.${i}`);
    const before = await liveBytes();
    for (let i = 0; i < 50; i++) {
      const flood = Array.from({ length: 100 }, (_, k) => connected(`127.0.3.${k}`));
      for (const client of await Promise.allSettled(flood)) {
        if (client.status === 'fulfilled') await client.value.closed;
      }
      clients.length = 50;
    }
    expect(edge.counted('edge_turned_away')).toBeGreaterThan(2_500);
    expect((await liveBytes()) - before).toBeLessThan(10 * 1024 * 1024);
  });
});

describe('row 39: wrong MACs', () => {
  async function guess(client: SmtpClient, count: number): Promise<string[]> {
    await client.sayAll('MAIL FROM:<>');
    const replies: string[] = [];
    for (let i = 0; i < count; i++) {
      replies.push(told(await client.say(`RCPT TO:<b+guess${i}@lists.localhost>`)));
    }
    return replies;
  }

  test('are 550, and past 20 a minute 421, until the minute is over', async () => {
    const client = await open({}, STRANGER);
    const replies = await guess(client, 21);
    expect(replies.slice(0, 20)).toEqual(Array.from({ length: 20 }, () => '550 5.1.1'));
    expect(replies[20]).toBe('421 4.7.0');
    await client.closed;
    expect(told(await (await connected(STRANGER)).read())).toBe('421 4.7.0');
    expect((await (await connected('127.0.0.8')).read()).code).toBe(220);
    await edge.clock.advance(60_000);
    expect((await (await connected(STRANGER)).read()).code).toBe(220);
  });

  test('of a listed MTA, which relays for everybody, are only 550', async () => {
    const replies = await guess(await open(), 40);
    expect(new Set(replies)).toEqual(new Set(['550 5.1.1']));
  });

  test('are not what a mistyped name is', async () => {
    const client = await open({ resolve: resolveSample }, STRANGER);
    await client.sayAll('MAIL FROM:<>');
    for (let i = 0; i < 40; i++) {
      expect(told(await client.say(`RCPT TO:<nobody${i}@lists.localhost>`))).toBe('550 5.1.1');
    }
  });
});

test('trusted takes addresses and networks of both families, and nothing else', () => {
  const isTrusted = trustedPeers(['192.0.2.1', '10.0.0.0/8', '2001:db8::/32']);
  expect(['192.0.2.1', '10.9.8.7', '2001:db8::1', ''].map(isTrusted)).toEqual([
    true,
    true,
    true,
    true,
  ]);
  expect(['192.0.2.2', '11.0.0.1', '2001:db9::1', 'x'].map(isTrusted)).toEqual([
    false,
    false,
    false,
    false,
  ]);
  for (const wrong of ['10.0.0.0/33', '10.0.0.0/x', 'mx.example', '']) {
    expect(() => trustedPeers([wrong])).toThrow('no address and no CIDR');
  }
});

test('a large message leaves no file behind, whether it is taken or cut', async () => {
  const spoolDir = await import('node:fs/promises').then(({ mkdtemp }) =>
    mkdtemp('/tmp/troupe-spool-'),
  );
  const client = await open({ options: { spoolDir } });
  await client.sayAll('MAIL FROM:<>', DEV, 'DATA');
  await client.write(`X: y\r\n\r\n${kilobytes(800)}`);
  expect(await readdir(spoolDir)).toEqual([]);
  expect(told(await client.say('.'))).toBe('250 2.6.0');
  await client.sayAll('MAIL FROM:<>', DEV, 'DATA');
  await client.write(`X: y\r\n\r\n${kilobytes(800)}`);
  client.drop();
  await eventually(() => edge.edge.inFlight()).toBe(0);
  expect(await readdir(spoolDir)).toEqual([]);
});

test('a spool that cannot be written is 451 4.3.0, and small mail still comes', async () => {
  const client = await open({ options: { spoolDir: '/nonexistent/troupe' } });
  await client.sayAll('MAIL FROM:<>', DEV, 'DATA');
  await client.write(`X: y\r\n\r\n${kilobytes(800)}.\r\n`);
  expect(told(await client.read())).toBe('451 4.3.0');
  await client.sayAll('MAIL FROM:<>', DEV, 'DATA');
  expect(told(await client.say('X: y\r\n\r\n.'))).toBe('250 2.6.0');
});
