/** A sink that keeps nothing but the return path of each mail: what DSNs are sent back to. */
import { createServer, type Socket } from 'node:net';
import type { Scene } from './scene.ts';

export type ReturnPaths = {
  readonly url: string;
  /** All so far, in the order they came. */
  all(): readonly string[];
};

const REPLIES: Readonly<Record<string, string>> = {
  EHLO: '250-sink\r\n250-PIPELINING\r\n250 8BITMIME\r\n',
  DATA: '354 go on\r\n',
  QUIT: '221 bye\r\n',
};
const OK = '250 ok\r\n';
const END = Buffer.from('\r\n.\r\n');

/** Listens on a port of the system's choice until the scene ends. */
export async function startReturnPaths(scene: Scene): Promise<ReturnPaths> {
  const paths: string[] = [];
  const server = createServer((socket) => serve(socket, paths));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  scene.closing(() => server.close());
  const { port } = server.address() as { port: number };
  return { url: `smtp://127.0.0.1:${port}`, all: () => paths };
}

function serve(socket: Socket, paths: string[]): void {
  let rest: Buffer = Buffer.alloc(0);
  let isData = false;
  socket.write('220 sink\r\n');
  socket.on('error', () => socket.destroy());
  socket.on('data', (chunk: Buffer) => {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    let replies = '';
    for (;;) {
      const end = isData ? rest.indexOf(END) : rest.indexOf('\r\n');
      if (end < 0) break;
      const line = isData ? '' : rest.toString('latin1', 0, end);
      rest = rest.subarray(end + (isData ? END.length : 2));
      isData = !isData && line === 'DATA';
      const path = /^MAIL FROM:<([^>]*)>/i.exec(line)?.[1];
      if (path !== undefined) paths.push(path);
      replies += REPLIES[line.slice(0, 4).toUpperCase()] ?? OK;
    }
    if (replies !== '') socket.write(replies);
  });
}
