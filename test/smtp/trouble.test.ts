/** A real client against an MTA that fails in every way: each is told apart, since an operator mends each another way. */
import { createServer } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import tlsOptions from 'smtp-server/lib/tls-options.js';
import { afterEach, expect, test } from 'vitest';
import { createSmtp, type SmtpOptions } from '../../src/smtp/send.ts';
import { troubleIn, troubleOf } from '../../src/smtp/trouble.ts';
import { transactionTo } from '../contract/smtp.ts';
import { type Answer, type Sink, type Step, startSink } from '../support/sink.ts';

const sinks: Sink[] = [];
afterEach(async () => {
  for (const sink of sinks.splice(0)) await sink.close();
});

const client = (url: string, change: Partial<SmtpOptions> = {}) =>
  createSmtp({
    ...{ url, name: 'client.example', tls: 'off', connectMsMax: 20_000, commandMsMax: 20_000 },
    ...change,
  });

async function sinkThat(at: Step['command'], answer: Answer, extensions?: readonly string[]) {
  const rule = (step: Step): Answer => (step.command === at ? answer : null);
  const sink = await startSink({ rule, ...(extensions && { extensions }) });
  sinks.push(sink);
  return sink;
}

const failed = async (url: string, change: Partial<SmtpOptions> = {}) =>
  client(url, change)
    .connect()
    .then(() => 'connected', troubleOf);

test.each<[string, string, Step['command'], Answer, Partial<SmtpOptions>]>([
  ['says 421 in its greeting', '421', 'connect', '421 4.3.2 closing', {}],
  ['turns us away in its greeting', 'greeting', 'connect', '554 5.7.1 not you', {}],
  ['hangs up before it greets', 'greeting', 'connect', 'drop', {}],
  ['never greets', 'timeout', 'connect', 'hang', { connectMsMax: 300 }],
  ['never answers EHLO', 'timeout', 'ehlo', 'hang', { connectMsMax: 300 }],
  ['offers no STARTTLS where it is required', 'tls', 'quit', null, { tls: 'required' }],
])('an MTA that %s is in trouble of the kind %s', async (_, kind, at, answer, change) => {
  const sink = await sinkThat(at, answer);
  expect(await failed(sink.url, change)).toBe(kind);
});

test('one that does not listen refused', async () => {
  const sink = await sinkThat('quit', null);
  await sink.close();
  expect(await failed(sink.url)).toBe('refused');
});

test.each([
  [
    'talks no TLS',
    () => createServer((socket) => socket.on('data', () => socket.end('what?\r\n'))),
  ],
  ['has a certificate that nobody signed', () => createTlsServer(tlsOptions({}))],
])('one behind smtps that %s has TLS trouble', async (_, make) => {
  const server = make();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' ? address?.port : 0;
  expect(await failed(`smtps://127.0.0.1:${port}`, { tls: 'required' })).toBe('tls');
  server.close();
});

test('a login that is refused is trouble of its own', async () => {
  const sink = await sinkThat('quit', null, ['AUTH PLAIN']);
  expect(await failed(sink.url, { login: { user: 'u', pass: 'wrong' } })).toBe('login');
});

test('of transactions, only those that the MTA left unanswered, or answered 421, are trouble', async () => {
  const sink = await sinkThat('quit', null);
  const impatient = () =>
    client(sink.url, { connectMsMax: 20_000, commandMsMax: 300, dotMsMax: 300 });
  const connection = await client(sink.url).connect();
  const told: [Answer, Step['command'], string | null][] = [
    [null, 'dot', null],
    ['451 4.7.1 greylisted', 'rcpt', null],
    ['550 5.1.1 nobody', 'rcpt', null],
    ['421 4.3.2 closing', 'mail', '421'],
    ['accept-and-drop', 'dot', 'lost'],
    ['hang', 'mail', 'timeout'],
    ['hang', 'dot', 'timeout'],
  ];
  for (const [answer, at, kind] of told) {
    sink.setRule((step) => (step.command === at ? answer : null));
    const open = answer === 'hang' || !connection.isOpen ? await impatient().connect() : connection;
    expect([answer, troubleIn(await open.send(transactionTo('a@x.example')))]).toEqual([
      answer,
      kind,
    ]);
  }
  connection.close();
});
