/** What is joined for one write is not overwritten by the next while it is still on its way. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import SMTPConnection from 'nodemailer/lib/smtp-connection';
import { expect, test } from 'vitest';
import { takeOver } from '../../src/smtp/wire.ts';
import { until } from '../support/until.ts';

const PART_BYTES = 30_000;
/** More than the system takes for a peer that does not read. */
const WRITES = 400;

test('what a peer that reads late is sent arrives as it was written', async () => {
  const arrived: Buffer[] = [];
  const met = Promise.withResolvers<Socket>();
  const server = createServer((socket) => {
    socket.write('220 late.example\r\n');
    socket.once('data', () => {
      socket.on('data', (bytes) => arrived.push(bytes));
      socket.pause();
      socket.write('250 late.example\r\n');
      met.resolve(socket);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const connection = new SMTPConnection({ host: '127.0.0.1', port, ignoreTLS: true });
  await new Promise<void>((resolve) => connection.connect(() => resolve()));
  const wire = takeOver(connection, { command: 60_000, dot: 60_000 });

  const parts = Array.from({ length: WRITES }, () => [
    randomBytes(PART_BYTES),
    randomBytes(PART_BYTES),
  ]);
  for (const pair of parts) void wire.ask(pair, [{ replies: 1, after: 'dot' }]);
  const sent = Buffer.concat(parts.flat());
  const size = (): number => arrived.reduce((sum, { byteLength }) => sum + byteLength, 0);
  expect(size()).toBe(0);
  (await met.promise).resume();
  await until('all that was sent', () => (size() >= sent.byteLength ? true : null));
  expect(Buffer.concat(arrived).equals(sent)).toBe(true);

  wire.cut();
  server.close();
});
