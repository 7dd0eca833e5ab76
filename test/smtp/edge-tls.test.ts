/** STARTTLS (RFC 3207): what was said before it does not count after it. */
import tlsOptions from 'smtp-server/lib/tls-options.js';
import { afterEach, expect, test } from 'vitest';
import { openEdge, type TestEdge } from '../support/edge.ts';
import { connectSmtp, type SmtpClient } from '../support/smtp-client.ts';

let edge: TestEdge;
afterEach(() => edge.close());

/** The library's own key and certificate, which are public: good for nothing but tests. */
const { key, cert } = tlsOptions({});

async function open(): Promise<SmtpClient> {
  edge = await openEdge({ options: { tls: { key: String(key), cert: String(cert) } } });
  const client = await connectSmtp(edge.smtp);
  await client.read();
  return client;
}

test('a mail comes in over TLS, and STARTTLS is then no longer offered', async () => {
  const client = await open();
  expect((await client.say('EHLO x.example')).lines).toContain('STARTTLS');
  await client.sayAll('STARTTLS');
  await client.secure();
  expect((await client.say('EHLO x.example')).lines).not.toContain('STARTTLS');
  await client.sayAll('MAIL FROM:<>', 'RCPT TO:<dev@lists.localhost>', 'DATA');
  expect((await client.say('X: y\r\n\r\n.')).code).toBe(250);
  expect(edge.accepted).toHaveLength(1);
});

test('what was said before the handshake is forgotten', async () => {
  const client = await open();
  await client.sayAll(
    'EHLO x.example',
    'MAIL FROM:<>',
    'RCPT TO:<dev@lists.localhost>',
    'STARTTLS',
  );
  await client.secure();
  expect((await client.say('DATA')).code).toBe(503);
  await client.sayAll('EHLO x.example');
  expect((await client.say('DATA')).code).toBe(503);
});

test('what was pipelined behind STARTTLS is dropped', async () => {
  const client = await open();
  await client.sayAll('EHLO x.example');
  await client.write('STARTTLS\r\nEHLO evil.example\r\nMAIL FROM:<evil@x.example>\r\n');
  expect((await client.read()).code).toBe(220);
  await client.secure();
  expect((await client.say('RCPT TO:<dev@lists.localhost>')).code).toBe(503);
  expect((await client.say('NOOP')).code).toBe(250);
});

test('a handshake of garbage ends that connection and no other', async () => {
  const client = await open();
  const other = await connectSmtp(edge.smtp);
  await other.read();
  await client.sayAll('EHLO x.example', 'STARTTLS');
  await client.write('this is no client hello, and never will be one\r\n'.repeat(20));
  await client.closed;
  expect((await other.say('NOOP')).code).toBe(250);
});

test('a client that leaves in the handshake gives its seat back', async () => {
  edge = await openEdge({
    options: { tls: { key: String(key), cert: String(cert) } },
    limits: { connectionsPerAddressMax: 1 },
  });
  for (let i = 0; i < 3; i++) {
    const client = await seated('127.0.0.5');
    await client.sayAll('EHLO x.example', 'STARTTLS');
    client.drop();
    await client.closed;
  }
  (await seated('127.0.0.5')).drop();
});

/** A connection that was let in; the seat before it may still be warm. */
async function seated(from: string): Promise<SmtpClient> {
  for (;;) {
    const client = await connectSmtp(edge.smtp, from);
    const { code } = await client.read();
    if (code === 220) return client;
    await client.closed;
  }
}
