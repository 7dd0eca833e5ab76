/**
 * The wire of a kept-open connection: what is written, and the replies that come in their order, each in its time.
 *
 * nodemailer connects, greets, does TLS and logs in; then its socket is read here. It still watches over the connection's end, and
 * over a write that does not move.
 */
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type SMTPConnection from 'nodemailer/lib/smtp-connection';
import { assert } from '../assert.ts';

/** What an MTA may say before a reply is whole. */
const REPLY_BYTES_MAX = 64 * 1024;
/** What is written at once is copied together up to this size, which costs less than a write of several parts. */
const JOINED_BYTES_MAX = 64 * 1024;
/** For QUIT to be answered. */
const QUIT_MS_MAX = 5_000;
const CR = 13;
const NEVER = Number.POSITIVE_INFINITY;

/** Replies that are waited for, and what they answer, which says how long each may take. */
export type Asked = { readonly replies: number; readonly after: 'command' | 'dot' };
/** Replies in order; fewer than were asked for when the connection was lost before. */
export type Said = readonly string[];

/** How long a reply may take, ms, however much of it is there: bytes that trickle in are no answer. */
export type Patience = Readonly<Record<Asked['after'], number>>;

export type Wire = {
  /** Writes all parts at once; resolves, for each of `asked`, with its replies. */
  ask(parts: readonly Uint8Array[], asked: readonly Asked[]): readonly Promise<Said>[];
  isBroken(): boolean;
  /** It ended because a reply did not come in time. */
  isTimedOut(): boolean;
  /** Says goodbye, if nothing is waited for. */
  close(): void;
  /** Ends it at once. */
  cut(): void;
};

type Waiting = {
  readonly asked: Asked;
  readonly said: string[];
  readonly resolve: (said: Said) => void;
};

/** Takes over a connection whose EHLO or LHLO was just answered, after its login. */
export function takeOver(connection: SMTPConnection, patience: Patience): Wire {
  const socket = socketOf(connection);
  let isBroken = false;
  let isTimedOut = false;
  let text = '';
  let waiting: Waiting[] = [];
  let timer: NodeJS.Timeout | undefined;
  let ringsAt = NEVER;
  let lateAt = NEVER;

  function lost(): void {
    isBroken = true;
    clearTimeout(timer);
    const all = waiting;
    waiting = [];
    for (const { said, resolve } of all) resolve(said);
  }
  /**
   * Each reply has its time, from when the one before it came. The timer is set anew only when it would ring too late: one that
   * rings early looks again, which costs less than a timer for each reply.
   */
  function watch(): void {
    const [first] = waiting;
    lateAt = first === undefined ? NEVER : performance.now() + patience[first.asked.after];
    if (lateAt < ringsAt) ring();
  }
  function ring(): void {
    clearTimeout(timer);
    ringsAt = lateAt;
    timer = setTimeout(rung, lateAt - performance.now()).unref();
  }
  function rung(): void {
    ringsAt = NEVER;
    if (performance.now() < lateAt) {
      if (lateAt < NEVER) ring();
    } else if (socket.writableLength > 0) {
      watch(); // It is being sent: nodemailer sees if that stands still.
    } else {
      isTimedOut = true;
      connection.close();
      lost();
    }
  }
  function heard(reply: string): void {
    const [first] = waiting;
    // Nobody asked: it says goodbye, or it is out of step.
    if (first === undefined || reply.startsWith('421')) isBroken = true; // RFC 5321 §3.8.
    if (first === undefined) return;
    first.said.push(reply);
    if (first.said.length === first.asked.replies) waiting.shift();
    watch();
    if (first.said.length === first.asked.replies) first.resolve(first.said);
  }
  /** Lines of one reply are joined by LF (RFC 5321 §4.2.1). */
  function take(): void {
    for (let from = 0; ; ) {
      const end = text.indexOf('\n', from);
      if (end < 0) {
        if (text.length > REPLY_BYTES_MAX) connection.close();
        return;
      }
      from = end + 1;
      if (text[text.lastIndexOf('\n', end - 1) + 4] === '-') continue;
      const line = text.slice(0, text.charCodeAt(end - 1) === CR ? end - 1 : end);
      const reply = line.includes('\r') ? line.replaceAll('\r', '') : line;
      text = text.slice(from);
      from = 0;
      heard(reply);
    }
  }
  socket.on('data', (bytes: Buffer) => {
    text += bytes.toString('latin1');
    take();
  });
  connection.on('error', (error: { readonly code?: unknown }) => {
    isTimedOut ||= error.code === 'ETIMEDOUT';
    lost();
  });
  connection.on('end', lost);
  return {
    ask(parts, asked) {
      const isFirst = waiting.length === 0;
      const said = asked.map(
        (one) =>
          new Promise<Said>((resolve) => {
            if (isBroken) resolve([]);
            else waiting.push({ asked: one, said: [], resolve });
          }),
      );
      if (isBroken) return said;
      write(socket, parts);
      if (isFirst) watch();
      return said;
    },
    isBroken: () => isBroken || connection.destroyed,
    isTimedOut: () => isTimedOut,
    close() {
      if (isBroken || waiting.length > 0) return connection.close();
      isBroken = true;
      connection.quit();
      setTimeout(() => connection.close(), QUIT_MS_MAX).unref();
    },
    cut: () => connection.close(),
  };
}

/** The socket and the reader that nodemailer keeps to itself; from now on it reads nothing. */
function socketOf(connection: SMTPConnection): Socket {
  const { _socket: socket, _onSocketData: reader } = connection as unknown as {
    readonly _socket?: Socket;
    readonly _onSocketData?: (...args: unknown[]) => void;
  };
  assert(socket !== undefined && reader !== undefined, 'nodemailer has its socket elsewhere');
  assert(socket.listeners('data').includes(reader), 'nodemailer reads its socket otherwise');
  socket.removeListener('data', reader);
  return socket;
}

/**
 * What is written next is joined here: most writes are the system's before they return, and leave it free. Over TLS none is, so
 * each has a buffer of its own, of just its size.
 */
let joined = Buffer.allocUnsafeSlow(JOINED_BYTES_MAX);

function write(socket: Socket, parts: readonly Uint8Array[]): void {
  const size = parts.reduce((sum, part) => sum + part.byteLength, 0);
  if (size > JOINED_BYTES_MAX) {
    socket.cork();
    for (const part of parts) socket.write(part);
    socket.uncork();
  } else if (socket instanceof TLSSocket) socket.write(Buffer.concat(parts, size));
  else writeJoined(socket, parts);
}

function writeJoined(socket: Socket, parts: readonly Uint8Array[]): void {
  let size = 0;
  for (const part of parts) {
    joined.set(part, size);
    size += part.byteLength;
  }
  socket.write(joined.subarray(0, size));
  if (socket.writableLength > 0) joined = Buffer.allocUnsafeSlow(JOINED_BYTES_MAX);
}
