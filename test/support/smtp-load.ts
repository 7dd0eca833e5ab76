/**
 * A load of posts over SMTP, by a client that never gives up: it notes each post before it is sent
 * and after its 250, and sends the same bytes again until there is an answer, as an MTA does.
 */
import { createHash, randomBytes } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { type JournalFile, messageIdOf } from './journal.ts';
import { greet, sendMail } from './send-mail.ts';
import { connectSmtp, type Endpoint, type SmtpClient } from './smtp-client.ts';

export type Post = {
  /** Names the post in the journal and, as X-Marker, at the sink. */
  readonly marker: string;
  readonly list: string;
  readonly sender: string;
  readonly message: Buffer;
  /** SHA-256 in hex of the body. */
  readonly bodySha: string;
};

export type LoadOptions = {
  readonly posts: AsyncIterable<Post> | Iterable<Post>;
  readonly connections: number;
  /** Asked before each connection; may throw while the site is down. */
  readonly port: () => number | Endpoint;
  readonly journal: JournalFile;
  /** The load gives up, loudly, on a post that has no answer after so long. */
  readonly postMsMax: number;
};

export type Loaded = { readonly acked: number; readonly refused: number; readonly resent: number };

const RETRY_MS = 100;
/** A server that is silent this long is left, and the post is sent on another connection. */
const SILENCE_MS_MAX = 15_000;

/** A post of about `bytes` bytes that is like no other. */
export function makePost(marker: string, list: string, sender: string, bytes = 4_096): Post {
  const header = [
    `From: <${sender}>`,
    `To: <${list}>`,
    `Subject: Post ${marker}`,
    `Message-ID: ${messageIdOf(marker)}`,
    'Date: Sat, 21 Nov 2026 12:00:00 +0000',
    `X-Marker: ${marker}`,
  ];
  const text = randomBytes(Math.ceil((bytes * 3) / 4)).toString('base64');
  const lines = text.match(/.{1,76}/g) ?? [];
  const body = `${lines.join('\r\n')}\r\n`;
  const message = Buffer.from(`${header.join('\r\n')}\r\n\r\n${body}`, 'latin1');
  const bodySha = createHash('sha256').update(body, 'latin1').digest('hex');
  return { marker, list, sender, message, bodySha };
}

/** Sends all posts; resolves when each has an answer. Throws if one has none for too long. */
export async function sendLoad(options: LoadOptions): Promise<Loaded> {
  const counts = { acked: 0, refused: 0, resent: 0 };
  const source = iteratorOf(options.posts);
  const work = async (): Promise<void> => {
    let client: SmtpClient | null = null;
    for (let next = await source.next(); !next.done; next = await source.next()) {
      client = await sendUntilAnswered(next.value, client, options, counts);
    }
    client?.drop();
  };
  await Promise.all(Array.from({ length: options.connections }, work));
  return counts;
}

function iteratorOf(posts: LoadOptions['posts']): { next(): Promise<IteratorResult<Post>> } {
  if (Symbol.asyncIterator in posts) return posts[Symbol.asyncIterator]();
  const iterator = posts[Symbol.iterator]();
  return { next: async () => iterator.next() };
}

/** The connection for the next post, or null if this one is of no more use. */
async function sendUntilAnswered(
  post: Post,
  connection: SmtpClient | null,
  { port, journal, postMsMax }: LoadOptions,
  counts: { -readonly [K in keyof Loaded]: number },
): Promise<SmtpClient | null> {
  const { marker, list, bodySha } = post;
  let client = connection;
  let why: unknown = null;
  for (const deadline = performance.now() + postMsMax; performance.now() < deadline; ) {
    journal.write({ kind: 'send', marker, list, bodySha });
    try {
      client ??= await connected(port());
      const { code } = await heard(client, sendMail(client, outbound(post)));
      if (code >= 200 && code < 300) {
        journal.write({ kind: 'acked', marker, list, code });
        counts.acked++;
        return client;
      }
      if (code >= 500) {
        journal.write({ kind: 'refused', marker, list, code });
        counts.refused++;
        return client;
      }
      why = new Error(`the answer was ${code}`);
      if (code === 421) throw why;
    } catch (error) {
      why = error;
      client?.drop();
      client = null;
    }
    counts.resent++;
    await pause(RETRY_MS);
  }
  throw new Error(`the post ${marker} has no answer after ${postMsMax} ms`, { cause: why });
}

const outbound = ({ sender, list, message }: Post) => ({ sender, recipients: [list], message });

async function connected(port: number | Endpoint): Promise<SmtpClient> {
  const client = await connectSmtp(port);
  await heard(client, greet(client));
  return client;
}

/** Drops the connection, which rejects `answer`, when the server is silent for too long. */
async function heard<T>(client: SmtpClient, answer: Promise<T>): Promise<T> {
  const timer = setTimeout(() => client.drop(), SILENCE_MS_MAX);
  try {
    return await answer;
  } finally {
    clearTimeout(timer);
  }
}

/** Posts that are let out some at a time, until it ends. */
export function createTap(): {
  readonly posts: AsyncIterable<Post>;
  let(posts: readonly Post[]): void;
  end(): void;
} {
  const ready: Post[] = [];
  const waiting: (() => void)[] = [];
  let isOver = false;
  const next = async (): Promise<IteratorResult<Post>> => {
    for (;;) {
      const value = ready.shift();
      if (value !== undefined) return { done: false, value };
      if (isOver) return { done: true, value: undefined };
      await new Promise<void>((resolve) => void waiting.push(resolve));
    }
  };
  const wake = (): void => {
    for (const resolve of waiting.splice(0)) resolve();
  };
  return {
    posts: { [Symbol.asyncIterator]: () => ({ next }) },
    let(posts) {
      ready.push(...posts);
      wake();
    },
    end() {
      isOver = true;
      wake();
    },
  };
}
