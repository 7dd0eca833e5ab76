/** How connections end: clients that leave, and an edge that stops. */
import { afterEach, describe, expect, test } from 'vitest';
import { type EdgeSetup, holdAccept, openEdge, type TestEdge } from '../support/edge.ts';
import { eventually } from '../support/eventually.ts';
import { connectSmtp, type SmtpClient, type SmtpReply } from '../support/smtp-client.ts';

let edge: TestEdge;
afterEach(() => edge.close());

const DEV = 'RCPT TO:<dev@lists.localhost>';
const POST = 'From: a@x.example\r\nSubject: hello\r\n\r\nIt works.\r\n';

async function open(setup: EdgeSetup = {}): Promise<SmtpClient> {
  edge = await openEdge(setup);
  return greeted();
}

async function greeted(): Promise<SmtpClient> {
  const client = await connectSmtp(edge.smtp);
  expect((await client.read()).code).toBe(220);
  await client.sayAll('EHLO mta.x.example');
  return client;
}

const told = ({ code, status }: SmtpReply): string => `${code} ${status}`.trim();

describe('a connection that ends', () => {
  test('in the middle of DATA leaves nothing', async () => {
    const client = await open();
    await client.sayAll('MAIL FROM:<>', DEV, 'DATA');
    await client.write(POST);
    expect(edge.edge.inFlight()).toBe(1);
    client.drop();
    await eventually(() => edge.edge.inFlight()).toBe(0);
    expect(edge.accepted).toEqual([]);
    expect(edge.counted('edge_cut')).toBe(1);
    expect(edge.lines[0]?.text).toBe('the connection ended before the final dot');
  });

  test('after a final dot that lacks its CRLF leaves nothing', async () => {
    const client = await open();
    await client.sayAll('MAIL FROM:<>', DEV, 'DATA');
    await client.write(`${POST}.\r`);
    client.drop();
    await eventually(() => edge.edge.inFlight()).toBe(0);
    expect(edge.accepted).toEqual([]);
  });
});

describe('stopping', () => {
  test('lets a message in hand finish, and sends the others away', async () => {
    const client = await open();
    const idle = await greeted();
    await client.sayAll('MAIL FROM:<>', DEV, 'DATA');
    const stopped = edge.edge.stop();
    expect(told(await idle.read())).toBe('421 4.3.2');
    await client.write(`${POST}.\r\n`);
    expect(told(await client.read())).toBe('250 2.6.0');
    expect(told(await client.read())).toBe('421 4.3.2');
    await stopped;
    expect(edge.accepted).toHaveLength(1);
    await expect(connectSmtp(edge.smtp)).rejects.toThrow('ECONNREFUSED');
  });

  test('does not wait for ever', async () => {
    const client = await open({ limits: { stopMs: 5_000 } });
    await client.sayAll('MAIL FROM:<>', DEV, 'DATA');
    const stopped = edge.edge.stop();
    await edge.clock.advance(5_001);
    await stopped;
    await client.closed;
    expect(edge.accepted).toEqual([]);
  });
});

test('a message whose client left while it was kept is counted until it is kept', async () => {
  const client = await open();
  const keeping = holdAccept(edge);
  await client.sayAll('MAIL FROM:<>', DEV, 'DATA');
  await client.write(`${POST}.\r\n`);
  await keeping.begun;
  client.drop();
  await client.closed;
  const stopped = edge.edge.stop();
  expect(edge.edge.inFlight()).toBe(1);
  keeping.end();
  await stopped;
  expect(edge.edge.inFlight()).toBe(0);
  expect(edge.accepted).toHaveLength(1);
});
