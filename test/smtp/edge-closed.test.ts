/** Whom the site's configuration keeps out: banned senders, and everybody while the site is closed. */
import { afterEach, expect, test } from 'vitest';
import { type EdgeSetup, openEdge, type TestEdge } from '../support/edge.ts';
import { connectSmtp, type SmtpClient } from '../support/smtp-client.ts';

let edge: TestEdge;
afterEach(() => edge.close());

async function open(setup: EdgeSetup, protocol: 'smtp' | 'lmtp' = 'smtp'): Promise<SmtpClient> {
  edge = await openEdge(setup);
  const client = await connectSmtp(edge[protocol]);
  await client.read();
  await client.sayAll(protocol === 'smtp' ? 'EHLO mta.example' : 'LHLO mta.example');
  return client;
}

async function told(client: SmtpClient, line: string): Promise<string> {
  const { code, status } = await client.say(line);
  return `${code} ${status}`;
}

const to = (local: string): string => `RCPT TO:<${local}@lists.localhost>`;

test.each(['smtp', 'lmtp'] as const)(
  '%s: a banned sender may write to no list, but to its owners',
  async (protocol) => {
    const client = await open({ bans: ['@evil.example'] }, protocol);
    expect(await told(client, 'MAIL FROM:<Eve@EVIL.example>')).toBe('250 2.1.0');
    expect(await told(client, to('dev'))).toBe('550 5.7.1');
    expect(await told(client, to('nobody'))).toBe('550 5.1.1');
    expect(await told(client, to('dev-owner'))).toBe('250 2.1.5');
    await client.sayAll('DATA');
    expect((await client.say('.')).code).toBe(250);
    expect(edge.accepted[0]?.envelopes.map(({ kind }) => kind)).toEqual(['owner']);
    expect(edge.counted('edge_refused')).toBe(2);
  },
);

test('a banned sender gives no command by mail either', async () => {
  const resolve = () => ({ kind: 'command', maxMessageBytes: 1_000 }) as const;
  const client = await open({ bans: ['eve@evil.example'], resolve });
  await client.sayAll('MAIL FROM:<eve@evil.example>');
  expect(await told(client, to('dev-join'))).toBe('550 5.7.1');
});

test('nobody else is banned, and the null sender never', async () => {
  const client = await open({ bans: ['@evil.example', '*@*'] });
  expect(await told(client, 'MAIL FROM:<>')).toBe('250 2.1.0');
  expect(await told(client, to('dev'))).toBe('250 2.1.5');
  await edge.close();
  const other = await open({ bans: ['@evil.example'] });
  await other.sayAll('MAIL FROM:<anne@example.org>');
  expect(await told(other, to('dev'))).toBe('250 2.1.5');
});

test.each(['smtp', 'lmtp'] as const)(
  '%s: a closed site takes no mail now, and says why; the connection goes on',
  async (protocol) => {
    const client = await open({ closed: 'We move house' }, protocol);
    for (const sender of ['anne@example.org', '']) {
      const reply = await client.say(`MAIL FROM:<${sender}>`);
      expect(reply).toMatchObject({ code: 451, status: '4.3.2' });
      expect(reply.lines.join()).toContain('We move house');
    }
    expect(await told(client, to('dev'))).toBe('503 5.5.1');
    expect((await client.say('NOOP')).code).toBe(250);
  },
);
