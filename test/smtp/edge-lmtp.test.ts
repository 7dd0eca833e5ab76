/** LMTP (RFC 2033): a reply for each recipient, by port and by Unix socket. */
import { access, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { MailError } from '../../src/errors.ts';
import { type EdgeSetup, openEdge, type TestEdge } from '../support/edge.ts';
import { connectSmtp, type SmtpClient } from '../support/smtp-client.ts';

let edge: TestEdge;
let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'troupe-lmtp-'));
});
afterEach(async () => {
  await edge?.close();
  await rm(directory, { recursive: true });
});

async function open(setup: EdgeSetup = {}, to?: string): Promise<SmtpClient> {
  edge = await openEdge(setup);
  const client = await connectSmtp(to ?? edge.lmtp);
  expect((await client.read()).lines).toEqual(['edge.test LMTP']);
  await client.sayAll('LHLO mta.x.example');
  return client;
}

async function replies(client: SmtpClient, count: number): Promise<string[]> {
  const all: string[] = [];
  while (all.length < count) {
    const { code, status } = await client.read();
    all.push(`${code} ${status}`);
  }
  return all;
}

const BIG = `X: y\r\n\r\n${'0123456789abcdef'.repeat(100)}\r\n.\r\n`;

test('each recipient has its reply, in the order of RCPT', async () => {
  const client = await open();
  await client.sayAll('MAIL FROM:<>', 'RCPT TO:<dev@lists.localhost>');
  expect((await client.say('RCPT TO:<nobody@lists.localhost>')).code).toBe(550);
  await client.sayAll(
    'RCPT TO:<tiny@lists.localhost>',
    'RCPT TO:<dev-owner@lists.localhost>',
    'DATA',
  );
  await client.write(BIG);
  expect(await replies(client, 3)).toEqual(['250 2.6.0', '552 5.3.4', '250 2.6.0']);
  const envelopes = edge.accepted[0]?.envelopes.map(({ kind, envelope }) => [
    kind,
    envelope.recipients,
  ]);
  expect(envelopes).toEqual([
    ['post', ['dev@lists.localhost']],
    ['owner', ['dev-owner@lists.localhost']],
  ]);
  expect((await client.say('NOOP')).code).toBe(250);
});

test('a recipient named twice has two replies, and one copy', async () => {
  const client = await open();
  await client.sayAll(
    'MAIL FROM:<>',
    'RCPT TO:<dev@lists.localhost>',
    'RCPT TO:<dev@lists.localhost>',
  );
  await client.sayAll('DATA');
  await client.write(BIG);
  expect(await replies(client, 2)).toEqual(['250 2.6.0', '250 2.6.0']);
  expect(edge.accepted[0]?.envelopes[0]?.envelope.recipients).toEqual(['dev@lists.localhost']);
  expect((await client.say('NOOP')).code).toBe(250);
});

test('where no recipient takes the size, nothing is kept and each is told 552 5.3.4', async () => {
  const client = await open();
  await client.sayAll(
    'MAIL FROM:<>',
    'RCPT TO:<tiny@lists.localhost>',
    'RCPT TO:<tiny@lists.localhost>',
  );
  await client.sayAll('DATA');
  await client.write(BIG);
  expect(await replies(client, 2)).toEqual(['552 5.3.4', '552 5.3.4']);
  expect(edge.accepted).toEqual([]);
});

test('in SMTP, which has one reply, the smallest limit holds for all', async () => {
  edge = await openEdge();
  const client = await connectSmtp(edge.smtp);
  await client.read();
  await client.sayAll('EHLO x', 'MAIL FROM:<>', 'RCPT TO:<dev@lists.localhost>');
  await client.sayAll('RCPT TO:<tiny@lists.localhost>', 'DATA');
  await client.write(BIG);
  expect(await replies(client, 1)).toEqual(['552 5.3.4']);
  expect(edge.accepted).toEqual([]);
});

test('when the mail cannot be kept, each is told so', async () => {
  const client = await open();
  edge.beforeAccept = () => Promise.reject(new MailError(452, '4.3.1', 'No room'));
  await client.sayAll(
    'MAIL FROM:<>',
    'RCPT TO:<dev@lists.localhost>',
    'RCPT TO:<ops@lists.localhost>',
  );
  await client.sayAll('DATA');
  await client.write(BIG);
  expect(await replies(client, 2)).toEqual(['452 4.3.1', '452 4.3.1']);
});

test('EHLO is not known', async () => {
  edge = await openEdge();
  const client = await connectSmtp(edge.lmtp);
  await client.read();
  expect((await client.say('EHLO x.example')).code).toBe(500);
});

test('on a Unix socket every client is one of ours', async () => {
  const socket = join(directory, 'lmtp');
  const client = await open({ options: { lmtp: { socket } } }, socket);
  expect(edge.edge.lmtpPort).toBeNull();
  await client.sayAll('MAIL FROM:<>', 'RCPT TO:<dev@lists.localhost>', 'DATA');
  await client.write(BIG);
  expect(await replies(client, 1)).toEqual(['250 2.6.0']);
  expect(edge.accepted[0]?.envelopes[0]?.envelope.peer).toBe('local');
  client.drop();
  await client.closed;
  await edge.edge.stop();
  await expect(access(socket)).rejects.toThrow('ENOENT');
});

test('a socket that a crash left behind is replaced', async () => {
  const socket = join(directory, 'lmtp');
  await leaveSocket(socket);
  const client = await open({ options: { lmtp: { socket } } }, socket);
  expect((await client.say('NOOP')).code).toBe(250);
});

test('a socket that another listens on, or a file, is not', async () => {
  const socket = join(directory, 'lmtp');
  const other = createServer().listen(socket);
  await new Promise((resolve) => other.once('listening', resolve));
  await expect(openEdge({ options: { lmtp: { socket } } })).rejects.toMatchObject({
    name: 'OperatorError',
    message: expect.stringContaining('is in use'),
  });
  other.close();
  const file = join(directory, 'file');
  await writeFile(file, 'precious');
  await expect(openEdge({ options: { lmtp: { socket: file } } })).rejects.toThrow('is no socket');
});

test('a port in use is an error that says what to do, and leaves nothing listening', async () => {
  const other = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => other.once('listening', resolve));
  const address = other.address();
  const port = typeof address === 'object' ? (address?.port ?? 0) : 0;
  await expect(openEdge({ options: { lmtp: { port } } })).rejects.toMatchObject({
    name: 'OperatorError',
    message: `127.0.0.1 port ${port} is in use`,
    nextStep: 'Stop what listens there, or choose another lmtp.port.',
  });
  other.close();
});

/** Binds a socket in a process that dies without unlinking it. */
async function leaveSocket(path: string): Promise<void> {
  const { execFileSync } = await import('node:child_process');
  const die = `() => process.kill(process.pid, 'SIGKILL')`;
  const script = `require('net').createServer().listen(${JSON.stringify(path)}, ${die})`;
  try {
    execFileSync(process.execPath, ['-e', script], { stdio: 'ignore' });
  } catch {
    // Killed, as asked.
  }
  await access(path);
}
