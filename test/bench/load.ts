/**
 * A load of posts: kept-open SMTP connections, each of which waits for the 250 of one post before it sends the next. It
 * pipelines as Postfix does (RFC 2920), and spends as little of the machine as it can.
 */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

export type LoadOptions = {
  readonly port: number;
  /** LHLO, where each post has one recipient, for LMTP. */
  readonly greeting?: 'EHLO' | 'LHLO';
  readonly connections: number;
  readonly posts: number;
  /** Bytes of each message, about. */
  readonly bytes: number;
  /** Post i goes to list i modulo their number. */
  readonly lists: readonly string[];
  readonly sender: string;
  /** What post i is, with its final dot, if it is not to be like all others. */
  readonly message?: (i: number) => Buffer;
};

export type Loaded = {
  /** Of every post, by its number. */
  readonly messageIds: readonly string[];
  /** From MAIL to the 250, ms, one a post. */
  readonly ms: readonly number[];
  /** performance.now() of the first MAIL and of the last 250. */
  readonly startedAt: number;
  readonly endedAt: number;
};

/** Digits of a post's number in its message. */
const DIGITS = 9;
const SILENCE_MS_MAX = 60_000;

/** Sends all posts. Throws when one is refused, when a connection ends, and when the site falls silent. */
export async function sendPosts(options: LoadOptions): Promise<Loaded> {
  const { connections, posts, port, greeting = 'EHLO' } = options;
  const message = messages(options);
  const opening = Array.from({ length: connections }, () => open(port, greeting));
  const sockets = await Promise.all(opening);
  const messageIds = Array.from({ length: posts }, (_, i) => message.idOf(i));
  const ms: number[] = new Array(posts).fill(0);
  let next = 0;
  const work = async ({ socket, replies }: Connection): Promise<void> => {
    for (let i = next++; i < posts; i = next++) {
      const list = options.lists[i % options.lists.length] ?? '';
      const startedAt = performance.now();
      socket.write(`MAIL FROM:<${options.sender}>\r\nRCPT TO:<${list}>\r\nDATA\r\n`);
      await replies.read(3);
      socket.write(options.message?.(i) ?? message.bytesOf(i));
      await replies.read(1);
      ms[i] = performance.now() - startedAt;
    }
    socket.end('QUIT\r\n');
  };
  const startedAt = performance.now();
  try {
    await Promise.all(sockets.map(work));
    return { messageIds, ms, startedAt, endedAt: performance.now() };
  } finally {
    for (const { socket } of sockets) socket.destroy();
  }
}

/** Whom every message is written to, whoever it is sent to. */
export const WRITTEN_TO = 'list@lists.example.org';

// ── Messages ──────────────────────────────────────────────────────────────

/** Messages that differ in Message-ID, Subject and body, made from one template. */
function messages({ bytes, sender }: Pick<LoadOptions, 'bytes' | 'sender'>) {
  const load = randomBytes(8).toString('hex');
  const number = '#'.repeat(DIGITS);
  const header = [
    `From: <${sender}>`,
    `To: the list <${WRITTEN_TO}>`,
    `Subject: Post ${number} of the load`,
    `Message-ID: <${number}.${load}@bench.example>`,
    'Date: Sat, 21 Nov 2026 12:00:00 +0000',
    'MIME-Version: 1.0',
    'Content-Type: text/plain; charset=us-ascii',
  ].join('\r\n');
  const text = randomBytes(bytes).toString('base64').match(/.{72}/g) ?? [];
  const whole = `${header}\r\n\r\nThis is post ${number}.\r\n${text.join('\r\n')}`;
  const template = Buffer.from(`${whole.slice(0, bytes - 2)}\r\n.\r\n`, 'latin1');
  const places = [...template.toString('latin1').matchAll(/#{9}/g)].map(({ index }) => index);
  const textOf = (i: number): string => String(i).padStart(DIGITS, '0');
  return {
    idOf: (i: number) => `<${textOf(i)}.${load}@bench.example>`,
    bytesOf(i: number): Buffer {
      const made = Buffer.from(template);
      for (const at of places) made.write(textOf(i), at, 'latin1');
      return made;
    },
  };
}

// ── Connections ───────────────────────────────────────────────────────────

type Replies = {
  /** Resolves when `count` more replies have come; rejects if one of them is a refusal. */
  read(count: number): Promise<void>;
};
type Connection = { readonly socket: Socket; readonly replies: Replies };

async function open(port: number, greeting: string): Promise<Connection> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  const replies = repliesOf(socket);
  await once(socket, 'connect');
  await replies.read(1);
  socket.write(`${greeting} bench.example\r\n`);
  await replies.read(1);
  return { socket, replies };
}

function repliesOf(socket: Socket): Replies {
  let text = '';
  let wanted = 0;
  let waiting: { resolve: () => void; reject: (error: Error) => void } | null = null;
  const fail = (why: string): void => {
    waiting?.reject(new Error(why));
    waiting = null;
  };
  const take = (): void => {
    for (let end = text.indexOf('\r\n'); end >= 0 && wanted > 0; end = text.indexOf('\r\n')) {
      const line = text.slice(0, end);
      text = text.slice(end + 2);
      if (line[3] === '-') continue;
      if (!/^[23]/.test(line)) fail(`a post was not taken: ${line}`);
      wanted -= 1;
    }
    if (wanted > 0) return;
    waiting?.resolve();
    waiting = null;
  };
  socket.on('data', (data: Buffer) => {
    text += data.toString('latin1');
    take();
  });
  socket.on('error', (error) => fail(error.message));
  socket.on('close', () => fail('the connection ended'));
  socket.setTimeout(SILENCE_MS_MAX, () => socket.destroy());
  return {
    read: (count) =>
      new Promise((resolve, reject) => {
        wanted = count;
        waiting = { resolve, reject };
        take();
      }),
  };
}
