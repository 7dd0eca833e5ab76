/**
 * Smuggling probes on the way out (reliability §4.3 row 2): whatever ends a message elsewhere is sent as content: dots doubled,
 * every line end CRLF, one CRLF.CRLF, by the pipelining client and by the library's alike.
 */
import { createServer, type Server, type Socket } from 'node:net';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createSmtp } from '../../src/smtp/send.ts';
import type { SmtpConnection } from '../../src/world.ts';
import { transactionTo } from '../contract/smtp.ts';

const HEADER = 'Subject: probe\r\n\r\n';
const SMUGGLED = 'MAIL FROM:<evil@x.example>\r\nRCPT TO:<b@x.example>\r\nDATA\r\nevil\r\n';
const ENDS = ['\n.\n', '\n.\r\n', '\r\n.\n', '\r.\r', '\r.\r\n', '\r\n.\r', '\n.\r', '\r.\n'];
const DRESSED = [
  '\r\n.\r\n',
  '\r\n\0.\r\n',
  '\r\n.\0\r\n',
  '\n\n.\n\n',
  '\r\r\n.\r\r\n',
  '\r\n..\r\n',
];

/** An MTA that keeps what comes after DATA as it came, up to the first CRLF.CRLF, and every command. */
type Tap = {
  readonly url: string;
  readonly data: string[];
  readonly commands: string[];
  close(): void;
};

async function startTap(extensions: readonly string[]): Promise<Tap> {
  const tap = { data: [] as string[], commands: [] as string[] };
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket)).on('error', () => undefined);
    let received = '';
    let isInData = false;
    socket.write('220 tap\r\n');
    socket.setEncoding('latin1').on('data', (text: string) => {
      received += text;
      for (;;) {
        const end =
          isInData && received.startsWith('.\r\n')
            ? -2
            : received.indexOf(isInData ? '\r\n.\r\n' : '\r\n');
        if (end === -1) return;
        const line = received.slice(0, end + 2);
        received = received.slice(end + (isInData ? 5 : 2));
        if (isInData) tap.data.push(line);
        else tap.commands.push(line.trim().slice(0, 4).toUpperCase());
        const hello = ['250-tap', ...extensions.map((name) => `250-${name}`), '250 8BITMIME'];
        const isData = !isInData && line === 'DATA\r\n';
        if (!isInData && line.startsWith('EHLO')) socket.write(`${hello.join('\r\n')}\r\n`);
        else socket.write(isData ? '354 go on\r\n' : '250 fine\r\n');
        isInData = isData;
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  return {
    ...tap,
    url: `smtp://127.0.0.1:${port}`,
    close: () => {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** What is to be read out of the wire: the message with CRLF ends, the last line's too. */
function meant(message: string): string {
  const lines = message.replace(/\r\n|\r|\n/g, '\r\n');
  return lines.endsWith('\r\n') || lines === '' ? lines : `${lines}\r\n`;
}

describe.each([
  ['with PIPELINING', ['PIPELINING']],
  ['without it', []],
])('row 2, %s', (_, extensions) => {
  let tap: Tap;
  let connection: SmtpConnection;
  beforeAll(async () => {
    tap = await startTap(extensions);
    connection = await createSmtp({ url: tap.url, name: 'client.example', tls: 'off' }).connect();
  });
  afterAll(() => {
    connection.close();
    tap.close();
  });

  async function sent(message: string): Promise<string> {
    const bytes = Buffer.from(message, 'latin1');
    const before = tap.commands.length;
    const [reply] = await connection.send({
      ...transactionTo('a@x.example'),
      ...{ message: bytes, eightBit: true },
    });
    expect(reply?.code).toBe(250);
    const commands = tap.commands.slice(before).filter((name) => name !== 'RSET');
    expect(commands).toEqual(['MAIL', 'RCPT', 'DATA']);
    return tap.data.at(-1) ?? '';
  }

  test.each([...ENDS, ...DRESSED])('%j is sent as content', async (end) => {
    const message = `${HEADER}one${end}${SMUGGLED}two\r\n`;
    const wire = await sent(message);
    expect(wire.replaceAll('\r\n', '')).not.toMatch(/[\r\n]/);
    expect(wire.replaceAll('\r\n.', '\r\n')).toBe(meant(message));
    expect(wire).not.toMatch(/^\.(?!\.)/m);
  });

  test('whatever bytes a message has, they come out of the wire as they are, and nothing after them', async () => {
    const piece = fc.constantFrom('\r', '\n', '.', '..', 'a', '\0', '\xff', '\r\n', '\r\n.\r\n');
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { maxLength: 12 }), async (pieces) => {
        const message = `${HEADER}${pieces.join('')}`;
        const wire = await sent(message);
        expect(wire.replaceAll('\r\n', '')).not.toMatch(/[\r\n]/);
        expect(wire.replaceAll('\r\n.', '\r\n')).toBe(meant(message));
      }),
      { numRuns: 300 },
    );
  });
});
