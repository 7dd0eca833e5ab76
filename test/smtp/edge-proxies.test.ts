/** Listed hosts say for whom they connect, by PROXY and by XCLIENT: seats, guesses and the trace then go by the client. */
import { afterEach, expect, test } from 'vitest';
import { PROXY_HEADER_MS_MAX } from '../../src/smtp/proxy-header.ts';
import { type EdgeSetup, openEdge, type TestEdge } from '../support/edge.ts';
import { connectSmtp, type SmtpClient, type SmtpReply } from '../support/smtp-client.ts';

const PROXY = '127.0.0.9';
const XCLIENT = '127.0.0.8';
const XCLIENT_TOO = '127.0.0.10';
const STRANGER = '127.0.0.7';
const DEV = 'RCPT TO:<dev@lists.localhost>';
const LISTED = { options: { proxies: ['127.0.0.9/32'], xclient: [XCLIENT, XCLIENT_TOO] } };

let edge: TestEdge;
const clients: SmtpClient[] = [];
afterEach(async () => {
  for (const client of clients.splice(0)) client.drop();
  await edge?.close();
});

async function connected(from: string): Promise<SmtpClient> {
  const client = await connectSmtp(edge.smtp, from);
  clients.push(client);
  return client;
}

async function behind(header: string | Uint8Array): Promise<SmtpClient> {
  const client = await connected(PROXY);
  await client.write(header);
  return client;
}

async function open(setup: EdgeSetup = {}): Promise<void> {
  edge = await openEdge({ ...LISTED, ...setup });
}

const told = ({ code, status }: SmtpReply): string => `${code} ${status}`.trim();
const line = (client: string): string => `PROXY TCP4 ${client} 203.0.113.9 56324 25\r\n`;
const binary = (client: string): Buffer =>
  Buffer.concat([
    Buffer.from('0d0a0d0a000d0a515549540a2111000c', 'hex'),
    Buffer.from([...client.split('.').map(Number), 203, 0, 113, 9, 0xdc, 4, 0, 25]),
  ]);

/** Posts; the envelope that was kept. */
async function post(client: SmtpClient) {
  await client.sayAll('EHLO mta.x.example', 'MAIL FROM:<a@x.example>', DEV, 'DATA');
  await client.write('Subject: x\r\n\r\nx\r\n.\r\n');
  expect((await client.read()).code).toBe(250);
  return edge.accepted.at(-1)?.envelopes[0]?.envelope;
}

async function greeted(client: SmtpClient): Promise<SmtpClient> {
  expect((await client.read()).code).toBe(220);
  return client;
}

/** One that says XCLIENT for this address; its reply. */
async function named(address: string, from = XCLIENT): Promise<readonly [SmtpClient, SmtpReply]> {
  const client = await greeted(await connected(from));
  await client.sayAll('EHLO proxy.x.example');
  return [client, await client.say(`XCLIENT ADDR=${address} NAME=[UNAVAILABLE]`)];
}

test.each([
  ['v1', line('192.0.2.7')],
  ['v2', binary('192.0.2.7')],
])('PROXY %s: the envelope and the log name the client', async (_, header) => {
  await open();
  const client = await greeted(await behind(header));
  expect(await post(client)).toMatchObject({ peer: '192.0.2.7', helo: 'mta.x.example' });
  expect(edge.lines.at(-1)?.fields).toMatchObject({ peer: '192.0.2.7' });
});

test('a PROXY header in pieces is put together, and what follows it is not lost', async () => {
  await open();
  const client = await connected(PROXY);
  const header = line('192.0.2.7');
  for (const piece of [header.slice(0, 3), header.slice(3, 40), header.slice(40)]) {
    await client.write(piece);
  }
  await greeted(client);
  expect(await post(client)).toMatchObject({ peer: '192.0.2.7' });
});

test('a proxy that speaks for nobody is itself the peer', async () => {
  await open();
  const client = await greeted(await behind('PROXY UNKNOWN\r\n'));
  expect(await post(client)).toMatchObject({ peer: PROXY });
});

test('seats are counted by the client behind the proxy', async () => {
  await open({ limits: { connectionsPerAddressMax: 1 } });
  await greeted(await behind(line('192.0.2.7')));
  const second = await behind(line('192.0.2.7'));
  expect(told(await second.read())).toBe('421 4.7.0');
  await greeted(await behind(line('192.0.2.8')));
});

test('a listed proxy without a PROXY header is turned away, at once or in time, and the log says why', async () => {
  await open();
  const wrong = await behind('EHLO mta.x.example\r\n');
  expect(told(await wrong.read())).toBe('421 4.7.0');
  const silent = await connected(PROXY);
  let isOver = false;
  const reply = silent.read().finally(() => {
    isOver = true;
  });
  while (!isOver) await edge.clock.advance(PROXY_HEADER_MS_MAX);
  expect(told(await reply)).toBe('421 4.7.0');
  expect(edge.lines.filter(({ text }) => text.includes('smtp.proxies'))).toHaveLength(2);
  expect(edge.counted('edge_turned_away')).toBe(2);
});

test('one that connects and leaves, as a check of a proxy does, leaves nothing', async () => {
  await open();
  const client = await connected(PROXY);
  client.drop();
  await client.closed;
  await greeted(await behind(line('192.0.2.7')));
  expect(edge.lines).toEqual([]);
});

test('a PROXY header of a host that is not listed is an unknown command', async () => {
  await open();
  const client = await greeted(await connected(STRANGER));
  expect((await client.say(line('192.0.2.7').trim())).code).toBe(500);
  expect(await post(client)).toMatchObject({ peer: STRANGER });
});

test('on the LMTP port nobody is a proxy', async () => {
  await open();
  const client = await connectSmtp(edge.lmtp, PROXY);
  clients.push(client);
  expect((await client.read()).code).toBe(220);
  await client.say('LHLO x.example');
  expect((await client.say('XCLIENT ADDR=192.0.2.7')).code).toBe(500);
});

test('an edge that stops does not wait for a header', async () => {
  await open();
  const client = await connected(PROXY);
  await edge.close();
  await client.closed;
});

test('XCLIENT: offered to listed hosts, said once, and the client is greeted anew', async () => {
  await open();
  const proxy = await greeted(await connected(XCLIENT));
  expect((await proxy.say('EHLO x.example')).lines.join('\n')).toContain('XCLIENT');
  const [client, reply] = await named('192.0.2.7');
  expect(reply.code).toBe(220);
  expect((await client.say('EHLO mta.x.example')).lines.join('\n')).not.toContain('XCLIENT');
  expect(told(await client.say('XCLIENT ADDR=192.0.2.8'))).toBe('550 5.7.0');
  expect(await post(client)).toMatchObject({ peer: '192.0.2.7', helo: 'mta.x.example' });
});

test('XCLIENT takes IPv6 in any form', async () => {
  await open();
  const [client, reply] = await named('IPV6:2001:DB8:0:0:0:0:0:1');
  expect(reply.code).toBe(220);
  expect(await post(client)).toMatchObject({ peer: '2001:db8::1' });
});

test('XCLIENT: seats are counted by the client, and the proxy gives its own back', async () => {
  await open({ limits: { connectionsPerAddressMax: 1 } });
  const [, first] = await named('192.0.2.7');
  expect(first.code).toBe(220);
  const [, second] = await named('192.0.2.7');
  expect(told(second)).toBe('421 4.7.0');
  const [, third] = await named('192.0.2.8', XCLIENT_TOO);
  expect(third.code).toBe(220);
});

test('XCLIENT: what is malformed changes nothing', async () => {
  await open();
  for (const argument of ['ADDR=mail.x.example', 'ADDR=192.0.2.7+0D+0A', 'SHOE=42', '']) {
    const client = await greeted(await connected(XCLIENT));
    await client.sayAll('EHLO x.example');
    expect((await client.say(`XCLIENT ${argument}`.trim())).code).toBe(501);
    expect(await post(client)).toMatchObject({ peer: XCLIENT });
    client.drop();
    await client.closed;
  }
});

test('XCLIENT of a host that is not listed is refused, and not offered', async () => {
  await open();
  const client = await greeted(await connected(STRANGER));
  expect((await client.say('EHLO x.example')).lines.join('\n')).not.toContain('XCLIENT');
  expect(told(await client.say('XCLIENT ADDR=127.0.0.1'))).toBe('550 5.7.0');
  expect(await post(client)).toMatchObject({ peer: STRANGER });
});

test('wrong MACs are counted by the client behind the proxy', async () => {
  await open({ limits: { wrongMacsPerMinuteMax: 1 } });
  const guess = 'RCPT TO:<b+guess@lists.localhost>';
  const client = await greeted(await behind(line('192.0.2.7')));
  await client.sayAll('EHLO x.example', 'MAIL FROM:<>');
  expect(told(await client.say(guess))).toBe('550 5.1.1');
  expect(told(await client.say(guess))).toBe('421 4.7.0');
  expect(told(await (await behind(line('192.0.2.7'))).read())).toBe('421 4.7.0');
  const [, reply] = await named('192.0.2.7');
  expect(told(reply)).toBe('421 4.7.0');
  await greeted(await behind(line('192.0.2.8')));
});
