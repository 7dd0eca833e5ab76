/** The edge's conversation: what is answered to what, and what is handed on. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { MailError } from '../../src/errors.ts';
import { type EdgeSetup, holdAccept, openEdge, type TestEdge } from '../support/edge.ts';
import { connectSmtp, type SmtpClient, type SmtpReply } from '../support/smtp-client.ts';

let edge: TestEdge;
afterEach(() => edge.close());

const DEV = 'RCPT TO:<dev@lists.localhost>';
const POST = 'From: a@x.example\r\nSubject: hello\r\n\r\nIt works.\r\n';

async function open(setup: EdgeSetup = {}, hello = 'EHLO mta.x.example'): Promise<SmtpClient> {
  edge = await openEdge(setup);
  return greeted(hello);
}

async function greeted(hello = 'EHLO mta.x.example', from = '127.0.0.1'): Promise<SmtpClient> {
  const client = await connectSmtp(edge.smtp, from);
  expect((await client.read()).code).toBe(220);
  await client.sayAll(hello);
  return client;
}

/** The message is sent as it is given, then the dot. */
async function send(client: SmtpClient, message: string): Promise<SmtpReply> {
  await client.sayAll('DATA');
  await client.write(Buffer.from(message, 'latin1'));
  return client.say('.');
}

const told = ({ code, status }: SmtpReply): string => `${code} ${status}`.trim();

describe('a post', () => {
  test('is handed on as received, with its envelope', async () => {
    const client = await open();
    await client.sayAll('MAIL FROM:<a@x.example> SIZE=100 BODY=8BITMIME', DEV);
    const reply = await send(client, POST);
    const [mail] = edge.accepted;
    expect(mail?.raw.toString()).toBe(POST);
    const envelope = mail?.envelopes[0]?.envelope;
    expect(envelope).toEqual({
      sender: 'a@x.example',
      recipients: ['dev@lists.localhost'],
      smtputf8: false,
      eightBit: true,
      receivedAt: edge.clock.now(),
      peer: '127.0.0.1',
      helo: 'mta.x.example',
      trace: expect.stringMatching(/^[0-9a-f]{16}$/),
    });
    expect(reply).toEqual({
      code: 250,
      status: '2.6.0',
      lines: [`2.6.0 queued as ${envelope?.trace}`],
    });
  });

  test('T1: is not answered before it is kept', async () => {
    const client = await open();
    const keeping = holdAccept(edge);
    await client.sayAll('MAIL FROM:<>', DEV);
    let reply: SmtpReply | null = null;
    const replying = send(client, POST).then((said) => {
      reply = said;
    });
    await keeping.begun;
    const other = await greeted();
    for (let i = 0; i < 50; i++) await other.sayAll('NOOP');
    expect(reply).toBeNull();
    keeping.end();
    await replying;
    expect(reply).toMatchObject({ code: 250 });
  });

  test('is the same bytes each time it is sent', async () => {
    const client = await open();
    for (let i = 0; i < 2; i++) {
      await client.sayAll('MAIL FROM:<a@x.example>', DEV);
      await send(client, POST);
    }
    expect(edge.accepted[1]?.raw).toEqual(edge.accepted[0]?.raw);
    const traces = edge.accepted.map(({ envelopes }) => envelopes[0]?.envelope.trace);
    expect(new Set(traces).size).toBe(2);
  });

  test('to several lists is one mail a kind, with each recipient once', async () => {
    const client = await open();
    await client.sayAll('MAIL FROM:<>', DEV, 'RCPT TO:<dev-owner@lists.localhost>', DEV);
    await client.sayAll('RCPT TO:<ops@lists.localhost>', 'RCPT TO:<b+good@lists.localhost>');
    expect(told(await send(client, POST))).toBe('250 2.6.0');
    const [mail, ...more] = edge.accepted;
    expect(more).toEqual([]);
    expect(mail?.envelopes.map(({ kind, envelope }) => [kind, envelope.recipients])).toEqual([
      ['post', ['dev@lists.localhost', 'ops@lists.localhost']],
      ['owner', ['dev-owner@lists.localhost']],
      ['bounce', ['b+good@lists.localhost']],
    ]);
    expect(mail?.envelopes[0]?.envelope.sender).toBe('');
  });

  test('with an empty body is taken', async () => {
    const client = await open();
    await client.sayAll('MAIL FROM:<>', DEV);
    expect(told(await send(client, ''))).toBe('250 2.6.0');
    expect(edge.accepted[0]?.raw).toHaveLength(0);
  });

  test('loses its dot-stuffing and nothing else', async () => {
    const client = await open();
    await client.sayAll('MAIL FROM:<>', DEV);
    await send(client, 'X: y\r\n\r\n..\r\n..two\r\n. one\r\n\x00\xff\r\n');
    expect(edge.accepted[0]?.raw.toString('latin1')).toBe(
      'X: y\r\n\r\n.\r\n.two\r\n. one\r\n\x00\xff\r\n',
    );
  });

  test('over 512 KiB comes in pieces of at most 512 KiB and is the same bytes', async () => {
    const client = await open();
    await client.sayAll('MAIL FROM:<>', DEV);
    const message = `X: y\r\n\r\n${`${'0123456789'.repeat(7)}\r\n`.repeat(13_000)}`;
    expect(told(await send(client, message))).toBe('250 2.6.0');
    const [mail] = edge.accepted;
    expect(mail?.raw.equals(Buffer.from(message))).toBe(true);
    expect(Math.max(...(mail?.pieces ?? []))).toBeLessThanOrEqual(512 * 1024);
    expect(mail?.pieces.length).toBe(2);
  });

  test('leaves one line in the log, and is counted', async () => {
    const client = await open();
    await client.sayAll('MAIL FROM:<a@x.example>', DEV);
    await send(client, POST);
    expect(edge.lines).toHaveLength(1);
    expect(edge.lines[0]).toMatchObject({
      text: 'mail accepted',
      fields: { sender: 'a@x.example', recipients: 1, bytes: POST.length, code: 250 },
    });
    expect(edge.counted('edge_accepted')).toBe(1);
    expect(edge.counted('edge_bytes')).toBe(POST.length);
  });
});

describe('a failure of ours', () => {
  test.each([
    ['full', new MailError(452, '4.3.1', 'No room'), '452 4.3.1'],
    ['away', new MailError(451, '4.3.0', 'Try again later'), '451 4.3.0'],
    ['a bug', new TypeError('undefined is not a function'), '451 4.3.0'],
  ])(
    'while the mail is kept (%s) is told as %3$s, and the connection goes on',
    async (_, error, said) => {
      const client = await open();
      edge.beforeAccept = () => Promise.reject(error);
      await client.sayAll('MAIL FROM:<>', DEV);
      const reply = await send(client, POST);
      expect(told(reply)).toBe(said);
      expect(reply.lines.join()).not.toContain('undefined');
      expect(edge.accepted).toEqual([]);
      edge.beforeAccept = async () => undefined;
      await client.sayAll('MAIL FROM:<>', DEV);
      expect(told(await send(client, POST))).toBe('250 2.6.0');
    },
  );

  test('while a recipient is looked up is 451 4.3.0', async () => {
    const client = await open({ resolve: () => Promise.reject(new Error('a bug')) });
    await client.sayAll('MAIL FROM:<>');
    expect(told(await client.say(DEV))).toBe('451 4.3.0');
    expect(told(await client.say('DATA'))).toBe('503 5.5.1');
  });

  test('while we are not ready is 451 4.3.0 at MAIL', async () => {
    const client = await open();
    edge.isReady = false;
    expect(told(await client.say('MAIL FROM:<a@x.example>'))).toBe('451 4.3.0');
    edge.isReady = true;
    expect(told(await client.say('MAIL FROM:<a@x.example>'))).toBe('250 2.1.0');
  });
});

describe('EHLO', () => {
  test('announces what there is, and no more', async () => {
    edge = await openEdge({ limits: { sizeMax: 12_345 } });
    const client = await connectSmtp(edge.smtp);
    expect(await client.read()).toEqual({ code: 220, status: '', lines: ['edge.test ESMTP'] });
    const { lines } = await client.say('EHLO mta.x.example');
    expect(lines).toEqual([
      'edge.test',
      'PIPELINING',
      '8BITMIME',
      'SMTPUTF8',
      'ENHANCEDSTATUSCODES',
      'SIZE 12345',
    ]);
  });

  test.each(['AUTH PLAIN AGEAYg==', 'STARTTLS', 'XCLIENT NAME=x', 'WIZ a', 'BDAT 1 LAST', 'TURN'])(
    'without it, %s is not known',
    async (line) => {
      const client = await open();
      expect(told(await client.say(line))).toBe('500 5.5.2');
    },
  );

  test('forgets the transaction, as RSET does', async () => {
    const client = await open();
    for (const line of ['EHLO again.x.example', 'RSET']) {
      await client.sayAll('MAIL FROM:<>', DEV, line);
      expect(told(await client.say('DATA'))).toBe('503 5.5.1');
    }
  });

  test('a name that is odd is kept out of headers', async () => {
    const client = await open({}, 'HELO <x>;\u00e9');
    await client.sayAll('MAIL FROM:<>', DEV);
    await send(client, POST);
    expect(edge.accepted[0]?.envelopes[0]?.envelope.helo).toBe('<x>;?');
  });

  test.each(['EHLO', 'EHLO a b', 'EHLO a\0b', `EHLO ${'a'.repeat(301)}`])(
    '%j is 501',
    async (line) => {
      edge = await openEdge();
      const client = await connectSmtp(edge.smtp);
      await client.read();
      expect((await client.say(line)).code).toBe(501);
    },
  );
});

describe('MAIL and RCPT', () => {
  test.each([
    ['MAIL FROM:<a@x.example> SIZE=9999999999', '552 5.3.4'],
    ['MAIL FROM:<a@x.example> SIZE=-1', '501 5.5.4'],
    ['MAIL FROM:<a@x.example> BODY=BINARYMIME', '501 5.5.4'],
    ['MAIL FROM:<a@x.example> RET=HDRS', '555 5.5.4'],
    ['MAIL FROM:<a@x.example> SIZE=1 SIZE=2', '501 5.5.4'],
    ['MAIL FROM:<a@x.example> =', '501 5.1.7'],
    ['MAIL FROM:a@x.example', '501 5.1.7'],
    ['MAIL FROM:<a@x.example', '501 5.1.7'],
    ['MAIL FROM:<a@@x.example>', '501 5.1.7'],
    ['MAIL FROM:<a\0b@x.example>', '501 5.1.7'],
    ['MAIL FROM:<a@x.example\0>', '501 5.1.7'],
    ['MAIL FROM:<a b@x.example>', '501 5.1.7'],
    ['MAIL FROM:<(comment)a@x.example>', '501 5.1.7'],
    ['MAIL FROM:<a@[127.0.0.1]>', '501 5.1.7'],
    ['MAIL FROM:<gr\u00f6sse@x.example>', '553 5.6.7'],
    ['MAIL FROM:<a@gr\u00f6sse.example>', '553 5.6.7'],
    ['MAIL FROM:<gr\u00f6sse@x.example> SMTPUTF8', '250 2.1.0'],
    ['MAIL FROM:<"john doe"@x.example>', '501 5.1.7'],
    ['MAIL FROM:<"a@b"@x.example>', '250 2.1.0'],
    ['MAIL FROM:<"a>b"@x.example>', '250 2.1.0'],
    ['MAIL FROM:<@relay.example,@other.example:a@x.example>', '250 2.1.0'],
    ['mail from: <a@x.example> body=7bit', '250 2.1.0'],
    ['MAIL FROM:<>', '250 2.1.0'],
    ['SEND FROM:<a@x.example>', '500 5.5.2'],
  ])('%s → %s', async (line, said) => {
    const client = await open();
    expect(told(await client.say(line))).toBe(said);
  });

  test('bytes that are not UTF-8 are no address', async () => {
    const client = await open();
    await client.write(Buffer.from('MAIL FROM:<gr\xf6sse@x.example> SMTPUTF8\r\n', 'latin1'));
    expect(told(await client.read())).toBe('501 5.1.7');
  });

  test.each([
    ['RCPT TO:<dev@lists.localhost>', '250 2.1.5'],
    ['RCPT TO:<@relay.example:dev@lists.localhost>', '250 2.1.5'],
    ['RCPT TO:<nobody@lists.localhost>', '550 5.1.1'],
    ['RCPT TO:<dev@elsewhere.example>', '550 5.7.1'],
    ['RCPT TO:<postmaster>', '550 5.7.1'],
    ['RCPT TO:<b+guess@lists.localhost>', '550 5.1.1'],
    ['RCPT TO:<>', '501 5.1.3'],
    ['RCPT TO:<dev\0@lists.localhost>', '501 5.1.3'],
    ['RCPT TO:<"dev@elsewhere.example"@lists.localhost>', '550 5.1.1'],
    ['RCPT TO:<dev%elsewhere.example@lists.localhost>', '550 5.1.1'],
    ['RCPT TO:<gr\u00f6\u00dfe@lists.localhost>', '553 5.6.7'],
    ['RCPT TO:<dev@lists.localhost> NOTIFY=NEVER', '555 5.5.4'],
  ])('%s → %s', async (line, said) => {
    const client = await open();
    await client.sayAll('MAIL FROM:<a@x.example>');
    expect(told(await client.say(line))).toBe(said);
  });

  test('an address that needs SMTPUTF8 is taken with it', async () => {
    const client = await open();
    await client.sayAll(
      'MAIL FROM:<gr\u00fcn@x.example> SMTPUTF8',
      'RCPT TO:<gr\u00f6\u00dfe@lists.localhost>',
    );
    await send(client, POST);
    expect(edge.accepted[0]?.envelopes[0]?.envelope).toMatchObject({
      sender: 'gr\u00fcn@x.example',
      recipients: ['gr\u00f6\u00dfe@lists.localhost'],
      smtputf8: true,
    });
  });

  test('a refused MAIL leaves nothing behind for the next', async () => {
    const client = await open();
    await client.say('MAIL FROM:<a@x.example> SMTPUTF8 BODY=8BITMIME FOO=bar');
    await client.sayAll('MAIL FROM:<a@x.example>', DEV);
    await send(client, POST);
    const envelope = edge.accepted[0]?.envelopes[0]?.envelope;
    expect([envelope?.smtputf8, envelope?.eightBit]).toEqual([false, false]);
  });

  test.each([
    ['RCPT TO:<dev@lists.localhost>', '503 5.5.1'],
    ['DATA', '503 5.5.1'],
    ['VRFY dev', '252 2.1.5'],
    ['VRFY', '501 5.5.4'],
    ['NOOP', '250 2.0.0'],
    ['QUIT', '221 2.0.0'],
    ['MAIL_FROM_OK', '500 5.5.2'],
  ])('%s without MAIL → %s', async (line, said) => {
    const client = await open();
    expect(told(await client.say(line))).toBe(said);
  });

  test('before EHLO is 503 5.5.1', async () => {
    edge = await openEdge();
    const client = await connectSmtp(edge.smtp);
    await client.read();
    expect(told(await client.say('MAIL FROM:<>'))).toBe('503 5.5.1');
  });

  test('a list whose limit is below SIZE refuses at RCPT, and others take the mail', async () => {
    const client = await open();
    await client.sayAll('MAIL FROM:<> SIZE=5000', DEV);
    expect(told(await client.say('RCPT TO:<tiny@lists.localhost>'))).toBe('552 5.3.4');
    expect(told(await send(client, POST))).toBe('250 2.6.0');
    expect(edge.accepted[0]?.envelopes[0]?.envelope.recipients).toEqual(['dev@lists.localhost']);
  });
});

describe('pipelining', () => {
  test('a group of commands is answered in order', async () => {
    const client = await open({
      resolve: async () => ({ kind: 'post', maxMessageBytes: 1_000 }),
    });
    await client.write(`MAIL FROM:<>\r\n${DEV}\r\nRCPT TO:<ops@lists.localhost>\r\nDATA\r\n`);
    const replies = [
      await client.read(),
      await client.read(),
      await client.read(),
      await client.read(),
    ];
    expect(replies.map(({ code }) => code)).toEqual([250, 250, 250, 354]);
    await client.write(`${POST}.\r\nMAIL FROM:<>\r\nQUIT\r\n`);
    const after = [await client.read(), await client.read(), await client.read()];
    expect(after.map(({ code }) => code)).toEqual([250, 250, 221]);
    expect(edge.accepted).toHaveLength(1);
  });

  test('replies to a group that is answered at once come together', async () => {
    edge = await openEdge({});
    const socket = connect({ host: '127.0.0.1', port: edge.smtp });
    const heard = async (): Promise<string> => String((await once(socket, 'data'))[0]);
    expect(await heard()).toMatch(/^220 /);
    socket.write('HELO mta.x.example\r\n');
    expect(await heard()).toMatch(/^250 /);
    socket.write(`MAIL FROM:<>\r\n${DEV}\r\nDATA\r\n`);
    expect(await heard()).toMatch(/^250 .*\r\n250 .*\r\n354 .*\r\n$/);
    socket.destroy();
  });

  test('a message sent before 354 is not taken, and the connection ends', async () => {
    const client = await open();
    await client.sayAll('MAIL FROM:<>', DEV);
    await client.write(`DATA\r\n${POST}.\r\n`);
    expect((await client.read()).code).toBe(354);
    expect(told(await client.read())).toBe('421 4.5.0');
    await client.closed;
    expect(edge.accepted).toEqual([]);
  });

  test('when DATA is refused, the lines that came with it are not taken for commands', async () => {
    const client = await open();
    await client.write(`MAIL FROM:<>\r\nDATA\r\nRSET\r\nMAIL FROM:<evil@x.example>\r\n${DEV}\r\n`);
    expect((await client.read()).code).toBe(250);
    expect(told(await client.read())).toBe('503 5.5.1');
    expect(told(await client.read())).toBe('421 4.5.0');
    await client.closed;
  });
});
