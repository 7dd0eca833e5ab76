/** What follows is begun with the message before it: nothing is lost, doubled or told of the wrong transaction. */
import { afterEach, expect, test } from 'vitest';
import { createSmtp } from '../../src/smtp/send.ts';
import type { RecipientReply, SmtpConnection } from '../../src/world.ts';
import { transactionTo } from '../contract/smtp.ts';
import { type Answer, type Sink, type Step, startSink } from '../support/sink.ts';
import { until } from '../support/until.ts';

const sinks: Sink[] = [];
const connections: SmtpConnection[] = [];

afterEach(async () => {
  for (const connection of connections.splice(0)) connection.close();
  await Promise.all(sinks.splice(0).map((sink) => sink.close()));
});

const A = transactionTo('a@x.example');
const B = transactionTo('b@x.example');
const C = transactionTo('c@x.example');

async function connectTo(
  rule: (step: Step) => Answer,
  extensions?: readonly string[],
  isLmtp = false,
) {
  const steps: string[] = [];
  const noted = (step: Step): Answer => {
    if (step.command !== 'body') steps.push(step.command);
    return rule(step);
  };
  const sink = await startSink({ rule: noted, isLmtp, ...(extensions && { extensions }) });
  sinks.push(sink);
  const smtp = createSmtp({
    url: sink.url,
    name: 'client.example',
    tls: 'off',
    commandMsMax: 2_000,
  });
  const connection = await smtp.connect();
  connections.push(connection);
  return { sink, connection, steps };
}

const codesOf = (replies: readonly RecipientReply[]): readonly number[] =>
  replies.map(({ code }) => code);

test('what follows has its envelope sent with the message before it, and its message only in its turn', async () => {
  const { sink, connection, steps } = await connectTo(() => null);
  expect(codesOf(await connection.send(A, B))).toEqual([250]);
  await until('DATA of the second', () => (steps.lastIndexOf('data') > 4 ? true : null));
  expect(steps).toEqual(['connect', 'ehlo', 'mail', 'rcpt', 'data', 'dot', 'mail', 'rcpt', 'data']);
  expect(sink.recipients()).toEqual(['a@x.example']);
  expect(codesOf(await connection.send(B, C))).toEqual([250]);
  expect(codesOf(await connection.send(C))).toEqual([250]);
  expect(sink.recipients()).toEqual(['a@x.example', 'b@x.example', 'c@x.example']);
  for (const { message } of sink.mails) expect(message.equals(Buffer.from(A.message))).toBe(true);
  expect(sink.connections()).toBe(1);
});

test('over LMTP too; and each recipient of a message has its answer to the dot', async () => {
  const full = (step: Step): Answer =>
    step.command === 'dot' && step.argument.startsWith('full') ? '452 4.2.2 full' : null;
  const { sink, connection, steps } = await connectTo(full, undefined, true);
  const three = transactionTo('a@x.example', 'full@x.example', 'c@x.example');
  expect(codesOf(await connection.send(three, B))).toEqual([250, 452, 250]);
  await until('DATA of the second', () => (steps.lastIndexOf('data') > 4 ? true : null));
  expect(steps.slice(-3)).toEqual(['mail', 'rcpt', 'data']);
  expect(codesOf(await connection.send(B))).toEqual([250]);
  expect(sink.recipients()).toEqual(['a@x.example', 'c@x.example', 'b@x.example']);
});

test('over LMTP who is refused at RCPT has no answer to the dot, nor takes another’s', async () => {
  for (const extensions of [['PIPELINING'], []]) {
    const { sink, connection } = await connectTo(
      ({ command, argument }) => {
        if (command === 'rcpt' && argument.includes('gone')) return '550 5.1.1 nobody';
        return command === 'dot' && argument.startsWith('full') ? '452 4.2.2 full' : null;
      },
      extensions,
      true,
    );
    const all = ['gone@x.example', 'full@x.example', 'a@x.example', 'gone2@x.example'];
    expect(codesOf(await connection.send(transactionTo(...all)))).toEqual([550, 452, 250, 550]);
    expect(codesOf(await connection.send(transactionTo('gone@x.example')))).toEqual([550]);
    expect(codesOf(await connection.send(B))).toEqual([250]);
    expect(sink.recipients()).toEqual(['a@x.example', 'b@x.example']);
  }
});

test('without PIPELINING what follows waits for its turn', async () => {
  const { sink, connection, steps } = await connectTo(() => null, []);
  await connection.send(A, B);
  expect(steps.filter((step) => step === 'mail')).toHaveLength(1);
  expect(connection.isOpen).toBe(true);
  await connection.send(B);
  expect(sink.recipients()).toEqual(['a@x.example', 'b@x.example']);
});

test('where another is sent than was begun, nothing is mixed up: the connection is over', async () => {
  const { sink, connection } = await connectTo(() => null);
  await connection.send(A, B);
  expect(codesOf(await connection.send(C))).toEqual([421]);
  await until('the end', () => (sink.openConnections() === 0 ? true : null));
  expect(sink.recipients()).toEqual(['a@x.example']);
});

test('a connection that is closed with one begun leaves no message behind', async () => {
  const { sink, connection } = await connectTo(() => null);
  await connection.send(A, B);
  connection.close();
  expect(connection.isOpen).toBe(false);
  await until('the end', () => (sink.openConnections() === 0 ? true : null));
  expect(sink.recipients()).toEqual(['a@x.example']);
});

for (const command of ['mail', 'rcpt', 'data'] as const) {
  test(`a refusal of ${command} of what follows is told of it alone, and the connection goes on`, async () => {
    const ofB = (step: Step): Answer =>
      step.command === command && step.nth === 2 ? '450 4.2.1 not now' : null;
    const { sink, connection } = await connectTo(ofB);
    expect(codesOf(await connection.send(A, B))).toEqual([250]);
    expect(codesOf(await connection.send(B, C))).toEqual([450]);
    expect(codesOf(await connection.send(C))).toEqual([250]);
    expect(sink.recipients()).toEqual(['a@x.example', 'c@x.example']);
    expect(sink.connections()).toBe(1);
  });
}

test('a message that is refused does not touch what follows', async () => {
  const { sink, connection } = await connectTo((step) =>
    step.command === 'dot' && step.nth === 1 ? '554 5.6.0 no' : null,
  );
  expect(codesOf(await connection.send(A, B))).toEqual([554]);
  expect(codesOf(await connection.send(B))).toEqual([250]);
  expect(sink.recipients()).toEqual(['b@x.example']);
});

test('a connection lost at the dot leaves the first not known and the second not sent', async () => {
  const { sink, connection } = await connectTo((step) => (step.command === 'dot' ? 'drop' : null));
  expect(codesOf(await connection.send(A, B))).toEqual([0]);
  expect(codesOf(await connection.send(B))).toEqual([421]);
  expect(connection.isOpen).toBe(false);
  expect(sink.mails).toEqual([]);
});

test('a 421 to the dot of the first is its word, and the second was not sent', async () => {
  const { sink, connection } = await connectTo((step) =>
    step.command === 'dot'
      ? '421 4.3.2 closing'
      : step.command === 'mail' && step.nth > 1
        ? 'drop'
        : null,
  );
  expect(codesOf(await connection.send(A, B))).toEqual([421]);
  expect(codesOf(await connection.send(B))).toEqual([421]);
  expect(sink.mails).toEqual([]);
});
