import { afterEach, expect, test } from 'vitest';
import type { Address } from '../../src/mail/address.ts';
import { ERRORS_MAX } from '../../src/smtp/put-away.ts';
import { parseReply, REPLY_CHARS_MAX } from '../../src/smtp/reply.ts';
import { parseRouteUrl } from '../../src/smtp/route-url.ts';
import { createSmtp, type SmtpOptions } from '../../src/smtp/send.ts';
import type { SmtpConnection } from '../../src/world.ts';
import { transactionTo } from '../contract/smtp.ts';
import { eventually } from '../support/eventually.ts';
import { type Sink, type SinkOptions, startSink } from '../support/sink.ts';

const sinks: Sink[] = [];
const connections: SmtpConnection[] = [];

afterEach(async () => {
  for (const connection of connections.splice(0)) connection.close();
  await Promise.all(sinks.splice(0).map((sink) => sink.close()));
});

async function connectTo(
  options: SinkOptions,
  settings: Partial<SmtpOptions> = {},
): Promise<{ sink: Sink; connection: SmtpConnection }> {
  const sink = await startSink(options);
  sinks.push(sink);
  const smtp = createSmtp({ url: sink.url, name: 'client.example', tls: 'off', ...settings });
  const connection = await smtp.connect();
  connections.push(connection);
  return { sink, connection };
}

test('a password goes to another machine over TLS with a good certificate only, or as told', async () => {
  const login = { user: 'ann', pass: 'open-sesame' };
  const sink = await startSink({ extensions: ['AUTH PLAIN'] });
  sinks.push(sink);
  const causeOf = (settings: Pick<SmtpOptions, 'tls' | 'url'>): Promise<unknown> =>
    createSmtp({ name: 'client.example', login, ...settings })
      .connect()
      .then(
        () => 'connected',
        ({ cause }) => cause.command,
      );
  // This machine, by an address that does not say so.
  const url = sink.url.replace('127.0.0.1', '0.0.0.0');
  expect(await causeOf({ url, tls: 'opportunistic' })).toBe('STARTTLS');
  // The sink knows no AUTH: that is as far as a password gets.
  expect(await causeOf({ url, tls: 'off' })).toBe('AUTH PLAIN');
  expect(await causeOf({ url: sink.url, tls: 'opportunistic' })).toBe('AUTH PLAIN');
});

test('the message arrives byte for byte, dots and all, with its sender, size and body type', async () => {
  const { sink, connection } = await connectTo({ extensions: ['8BITMIME', 'SIZE 10000'] });
  const message = Buffer.from('Subject: x\r\n\r\n.\r\n..two\r\nGrüße\r\n.end\r\n');
  await connection.send({ ...transactionTo('a@x.example'), message, eightBit: true });
  expect(sink.mails[0]?.message.equals(message)).toBe(true);
  expect(sink.mails[0]?.mailArguments).toBe(
    `FROM:<list-bounces@lists.example> BODY=8BITMIME SIZE=${message.length}`,
  );
});

test('a notice goes out with the null sender', async () => {
  const { sink, connection } = await connectTo({});
  await connection.send({ ...transactionTo('a@x.example'), sender: '' });
  expect(sink.mails[0]?.mailArguments).toMatch(/^FROM:<>/);
});

test('8-bit mail for an MTA without 8BITMIME is refused 5.6.3, and nothing is sent', async () => {
  const { sink, connection } = await connectTo({ extensions: ['PIPELINING'] });
  const [reply] = await connection.send({ ...transactionTo('a@x.example'), eightBit: true });
  expect(reply).toMatchObject({ code: 554, status: '5.6.3' });
  expect(sink.mails).toEqual([]);
});

test('SMTPUTF8 mail for an MTA without SMTPUTF8 is refused 5.6.7, and nothing is sent', async () => {
  const { sink, connection } = await connectTo({ extensions: ['8BITMIME'] });
  const [reply] = await connection.send({ ...transactionTo('a@x.example'), smtputf8: true });
  expect(reply).toMatchObject({ code: 550, status: '5.6.7' });
  expect(sink.mails).toEqual([]);
});

test('one recipient that needs SMTPUTF8 does not keep the others from their mail', async () => {
  const { sink, connection } = await connectTo({ extensions: ['8BITMIME'] });
  const replies = await connection.send(
    transactionTo('a@x.example', 'grüße@x.example', 'b@x.example'),
  );
  expect(replies.map((reply) => reply.status)).toEqual(['2.0.0', '5.6.7', '2.0.0']);
  expect(sink.recipients()).toEqual(['a@x.example', 'b@x.example']);
});

test('an internationalised recipient is announced with SMTPUTF8', async () => {
  const { sink, connection } = await connectTo({});
  await connection.send({ ...transactionTo('grüße@x.example'), smtputf8: true });
  expect(sink.mails[0]?.mailArguments).toContain(' SMTPUTF8');
});

test('where DSN is offered, headers only are asked back, and the transaction and recipient are named', async () => {
  const { sink, connection } = await connectTo({});
  await connection.send({ ...transactionTo('a+b@x.example'), envid: 'key.p1.0.0' });
  expect(sink.mails[0]?.mailArguments).toContain('RET=HDRS ENVID=key.p1.0.0');
  expect(sink.mails[0]?.rcptArguments[0]).toBe('TO:<a+b@x.example> ORCPT=rfc822;a+2Bb@x.example');
});

test('a message larger than SIZE is refused 5.3.4 without being sent', async () => {
  const { sink, connection } = await connectTo({ extensions: ['SIZE 10'] });
  const [reply] = await connection.send(transactionTo('a@x.example'));
  expect(reply).toMatchObject({ code: 552, status: '5.3.4' });
  const [next] = await connection.send({
    ...transactionTo('a@x.example'),
    message: Buffer.from('S: x\r\n'),
  });
  expect(next?.code).toBe(250);
  expect(sink.mails.length).toBe(1);
});

for (const extensions of [['PIPELINING'], []]) {
  const how = extensions.length > 0 ? 'with PIPELINING' : 'without PIPELINING';
  for (const command of ['mail', 'rcpt', 'data', 'dot'] as const) {
    test(`a 451 to ${command} ${how} defers all, and the connection goes on`, async () => {
      const rule = (step: { command: string; nth: number }): string | null =>
        step.command === command && step.nth <= 2 ? '451 4.7.1 later' : null;
      const { sink, connection } = await connectTo({ extensions, rule });
      const replies = await connection.send(transactionTo('a@x.example', 'b@x.example'));
      expect(replies.at(-1)).toEqual({ code: 451, status: '4.7.1', reply: 'later' });
      sink.setRule(() => null);
      const again = await connection.send(transactionTo('c@x.example'));
      expect(again.map((reply) => reply.code)).toEqual([250]);
      expect(sink.connections()).toBe(1);
    });

    test(`a connection dropped at ${command} ${how} is told apart by the final dot`, async () => {
      const rule = (step: { command: string }): 'drop' | null =>
        step.command === command ? 'drop' : null;
      const { sink, connection } = await connectTo({ extensions, rule });
      const [reply] = await connection.send(transactionTo('a@x.example'));
      expect(reply?.code).toBe(command === 'dot' ? 0 : 421);
      expect(connection.isOpen).toBe(false);
      expect(sink.mails).toEqual([]);
    });

    test(`an MTA that hangs at ${command} ${how} is given up`, async () => {
      const rule = (step: { command: string }): 'hang' | null =>
        step.command === command ? 'hang' : null;
      const { connection } = await connectTo({ extensions, rule }, { replyMsMax: 100 });
      const [reply] = await connection.send(transactionTo('a@x.example'));
      expect(reply?.code).toBe(command === 'dot' ? 0 : 421);
    });
  }
}

test('a refused RSET ends the connection, and nobody is refused for it', async () => {
  const { sink, connection } = await connectTo({ extensions: ['PIPELINING'] });
  sink.setRule((step) => (step.command === 'rcpt' ? '550 5.1.1 no' : null));
  await connection.send(transactionTo('a@x.example'));
  sink.setRule((step) => (step.command === 'rset' || step.command === 'mail' ? '503 no' : null));
  const [reply] = await connection.send(transactionTo('b@x.example'));
  expect([reply?.code, connection.isOpen]).toEqual([421, false]);
});

test('an MTA that says 421 is not asked again on that connection', async () => {
  const { connection } = await connectTo({
    extensions: ['PIPELINING'],
    rule: (step) => (step.command === 'mail' ? '421 4.3.2 going down' : null),
  });
  const [reply] = await connection.send(transactionTo('a@x.example'));
  expect(reply).toMatchObject({ code: 421, status: '4.3.2' });
  expect(connection.isOpen).toBe(false);
});

test('what SMTPUTF8 mail needs is said in MAIL, also where every address is ASCII', async () => {
  const { sink, connection } = await connectTo({ extensions: ['PIPELINING', 'SMTPUTF8'] });
  await connection.send({ ...transactionTo('a@x.example'), smtputf8: true });
  expect(sink.mails[0]?.mailArguments).toMatch(/ SMTPUTF8$/);
});

test('bare line ends and dots never end a message early', async () => {
  const { sink, connection } = await connectTo({ extensions: ['PIPELINING'] });
  const message = Buffer.from('S: x\r\n\r\none\n.\n.\r\r\n.\rtwo\n');
  await connection.send({ ...transactionTo('a@x.example'), message });
  expect(sink.mails.map((mail) => mail.message.toString())).toEqual([
    'S: x\r\n\r\none\r\n.\r\n.\r\n\r\n.\r\ntwo\r\n',
  ]);
});

test('an MTA that never greets is given up', async () => {
  const attempt = connectTo({ rule: () => 'hang' }, { connectMsMax: 100 });
  await expect(attempt).rejects.toMatchObject({ status: '4.4.1' });
});

test('an MTA that greets with 554 cannot be connected', async () => {
  const attempt = connectTo({ rule: (s) => (s.command === 'connect' ? '554 no' : null) });
  await expect(attempt).rejects.toMatchObject({ status: '4.4.1' });
});

test('where STARTTLS is offered and fails, opportunistic goes on without, required does not', async () => {
  const refused = { extensions: ['STARTTLS', '8BITMIME'] };
  const { connection } = await connectTo(refused, { tls: 'opportunistic' });
  const [reply] = await connection.send({ ...transactionTo('a@x.example'), eightBit: true });
  expect(reply?.code).toBe(250);
  await expect(connectTo(refused, { tls: 'required' })).rejects.toMatchObject({ status: '4.4.1' });
});

test('an idle connection that the MTA closes is not open any more', async () => {
  const { sink, connection } = await connectTo({});
  await connection.send(transactionTo('a@x.example'));
  await sink.close();
  await eventually(() => connection.isOpen).toBe(false);
});

test('a connection is not open any more after its last transaction', async () => {
  const { connection } = await connectTo({}, { transactionsMax: 2 });
  await connection.send(transactionTo('a@x.example'));
  expect(connection.isOpen).toBe(true);
  await connection.send(transactionTo('b@x.example'));
  expect(connection.isOpen).toBe(false);
});

test('closing a connection in the middle of a transaction answers it', async () => {
  const { sink, connection } = await connectTo({
    rule: (s) => (s.command === 'mail' ? 'hang' : null),
  });
  const sending = connection.send(transactionTo('a@x.example'));
  await eventually(() => sink.openConnections()).toBe(1);
  connection.close();
  expect((await sending)[0]?.code).toBe(421);
});

test('over LMTP each recipient is answered after the dot', async () => {
  const rule = (step: { command: string; argument: string }): string | null =>
    step.command !== 'dot'
      ? null
      : step.argument.startsWith('full')
        ? '452 4.2.2 full'
        : `250 2.0.0 taken for ${step.argument}`;
  const { sink, connection } = await connectTo({ isLmtp: true, rule });
  const replies = await connection.send(
    transactionTo('a@x.example', 'full@x.example', 'b@x.example', 'full2@x.example'),
  );
  expect(replies.map(({ code, reply }) => [code, reply])).toEqual([
    [250, 'taken for a@x.example'],
    [452, 'full'],
    [250, 'taken for b@x.example'],
    [452, 'full'],
  ]);
  expect(sink.recipients()).toEqual(['a@x.example', 'b@x.example']);
});

test('over LMTP a connection lost between the answers leaves the rest not known', async () => {
  const rule = (step: { command: string; nth: number }): string | null => {
    if (step.command !== 'dot') return null;
    return ['550 5.1.1 no', '250 2.0.0 taken'][step.nth - 1] ?? 'drop';
  };
  const { connection } = await connectTo({ isLmtp: true, rule });
  const replies = await connection.send(transactionTo('a@x.example', 'b@x.example', 'c@x.example'));
  expect(replies.map((reply) => reply.code)).toEqual([550, 250, 0]);
});

test('a recipient that could break out of its command is never sent', async () => {
  const { sink, connection } = await connectTo({});
  const evil = 'a@x.example>\r\nRCPT TO:<b@x.example' as Address;
  const [reply] = await connection.send({ ...transactionTo(), recipients: [evil] });
  expect(reply?.code).toBe(553);
  expect(sink.mails).toEqual([]);
});

test('a reply is read: code, enhanced status and text on one line', () => {
  expect(parseReply('250 2.1.5 ok')).toEqual({ code: 250, status: '2.1.5', reply: 'ok' });
  expect(parseReply('550-5.1.1 no such\n550 5.1.1 user\u0007here')).toEqual({
    code: 550,
    status: '5.1.1',
    reply: 'no such user here',
  });
  expect(parseReply('421')).toEqual({ code: 421, status: '', reply: '' });
  expect(parseReply('nonsense').code).toBe(0);
  expect(parseReply(`550 ${'x'.repeat(10_000)}`).reply.length).toBe(REPLY_CHARS_MAX);
  const lines = Array.from({ length: 8 }, (_, n) => `550-5.7.1 ${n}${'x'.repeat(490)}`);
  expect(parseReply(lines.join('\n')).reply).toMatch(/^0x+ 1x+ 2x+ 3x+ 4x+ 5x+ 6x+ 7x{490}$/);
});

test('a reply in UTF-8 is read as such, and one in Latin-1 as it came', () => {
  const said = (text: string, charset: BufferEncoding): string =>
    parseReply(Buffer.from(`550 5.1.1 ${text}`, charset).toString('latin1')).reply;
  expect(said('Straße gibt es nicht', 'utf8')).toBe('Straße gibt es nicht');
  expect(said('Straße gibt es nicht', 'latin1')).toBe('Straße gibt es nicht');
  expect(parseReply('550 schon gelesen: Straße, 日本').reply).toBe('schon gelesen: Straße, 日本');
});

test('the URL of a route is read at the door', () => {
  expect(parseRouteUrl('smtp://mail.example')).toMatchObject({ host: 'mail.example', port: 25 });
  expect(parseRouteUrl('smtps://[::1]:4650/')).toEqual({
    ...{ protocol: 'smtps', host: '::1', port: 4650 },
  });
  expect(parseRouteUrl('lmtp://127.0.0.1')).toMatchObject({ protocol: 'lmtp', port: 24 });
  for (const wrong of ['http://x', 'mail.example:25', 'smtp://', 'smtp://x/y', '']) {
    expect(() => parseRouteUrl(wrong), wrong).toThrow('URL of an outgoing route');
  }
});

test('who was refused before the MTA hung up was refused; nobody was told of the others', async () => {
  const { sink, connection } = await connectTo({
    rule: ({ command, argument }) => {
      if (command !== 'rcpt') return null;
      if (argument.includes('<b@')) return '550 5.1.1 no such user';
      return argument.includes('<c@') ? '421 4.7.0 too many errors' : null;
    },
  });
  const recipients = ['a@x.example', 'b@x.example', 'c@x.example', 'd@x.example'] as Address[];
  const replies = await connection.send({ ...transactionTo('a@x.example'), recipients });
  expect(replies.map(({ code }) => code)).toEqual([421, 550, 421, 421]);
  expect(sink.mails).toEqual([]);
  expect(connection.isOpen).toBe(false);
});

test('a connection on which everybody was refused is put away, one that delivers is not', async () => {
  const { connection } = await connectTo({
    rule: ({ command, argument }) =>
      command === 'rcpt' && argument.includes('gone') ? '550' : null,
  });
  // Each is two errors: RCPT, and DATA without a recipient.
  const refusals = ERRORS_MAX / 2;
  const refused = (): Promise<unknown> => connection.send(transactionTo('gone@x.example'));
  for (let round = 0; round < 3; round += 1) {
    for (let n = 1; n < refusals; n += 1) await refused();
    await connection.send(transactionTo('a@x.example'));
    expect(connection.isOpen).toBe(true);
  }
  for (let n = 1; n < refusals; n += 1) await refused();
  expect(connection.isOpen).toBe(true);
  await refused();
  expect(connection.isOpen).toBe(false);
});
