/**
 * A client of SMTP and LMTP for tests: it sends the bytes it is told to, right or wrong, and reads
 * replies strictly (CRLF, ASCII, one code for all lines of a reply), so that a sloppy server fails.
 */
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';

export type SmtpReply = {
  readonly code: number;
  /** The enhanced status of the last line, e.g. `5.1.1`; '' if it has none. */
  readonly status: string;
  /** Texts after the code, statuses included. */
  readonly lines: readonly string[];
};

export type SmtpClient = {
  /** The next reply. Rejects if the connection ends before it, or if it is malformed. */
  read(): Promise<SmtpReply>;
  /** Resolves when the bytes are handed to the system, or the connection is gone. */
  write(bytes: string | Uint8Array): Promise<void>;
  /** Sends a line with CRLF and reads the reply. */
  say(line: string): Promise<SmtpReply>;
  /** Says each and wants a 2xx or 3xx to each; the last reply. */
  sayAll(...lines: readonly string[]): Promise<SmtpReply>;
  /** The TLS handshake, after STARTTLS was answered 220. Any certificate will do. */
  secure(): Promise<void>;
  /** Resolves when the connection is closed, whoever closed it. */
  readonly closed: Promise<void>;
  isClosed(): boolean;
  /** Closes at once. */
  drop(): void;
};

const LINE = /^(\d{3})([- ])([\x20-\x7e]*)$/;
const STATUS = /^([245]\.\d{1,3}\.\d{1,3}) /;
/** A reply has few lines; more is a server gone wild. */
const LINES_MAX = 1_000;

/** A server that is not on loopback. */
export type Endpoint = { readonly host: string; readonly port: number };

/** A host that is cut off answers nothing at all; loopback does, however busy the machine is. */
const HOST_MS_MAX = 3_000;
const LOOPBACK_MS_MAX = 60_000;

/**
 * Connects to a port on loopback, `from` one of its addresses, to a Unix socket, or to a host. Does
 * not read the greeting.
 */
export async function connectSmtp(
  to: number | string | Endpoint,
  from = '127.0.0.1',
): Promise<SmtpClient> {
  const socket = socketTo(to, from);
  const msMax = typeof to === 'object' ? HOST_MS_MAX : LOOPBACK_MS_MAX;
  const timer = setTimeout(() => socket.destroy(new Error('no connection')), msMax);
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
  } finally {
    clearTimeout(timer);
  }
  return clientOf(socket);
}

function socketTo(to: number | string | Endpoint, from: string): Socket {
  if (typeof to === 'string') return connect(to);
  if (typeof to === 'object') return connect({ ...to, noDelay: true });
  return connect({ host: '127.0.0.1', port: to, localAddress: from, noDelay: true });
}

/** What comes over a connection, line by line. */
type Heard = {
  /** The next line, without its CRLF. Rejects where it has another end, or the connection ends before it. */
  line(): Promise<string>;
  /** Hears this socket too: TLS over the first. */
  hear(on: Socket): void;
  readonly closed: Promise<void>;
  isClosed(): boolean;
};

function heardOn(first: Socket): Heard {
  let text = '';
  let isClosed = false;
  let wake: () => void = () => undefined;
  const hear = (on: Socket): void => {
    on.on('data', (data: Buffer) => {
      text += data.toString('latin1');
      wake();
    });
    on.on('error', () => undefined);
  };
  hear(first);
  const closed = new Promise<void>((resolve) => {
    first.once('close', () => {
      isClosed = true;
      wake();
      resolve();
    });
  });
  async function line(): Promise<string> {
    for (;;) {
      const end = text.indexOf('\n');
      if (end > 0 && text[end - 1] === '\r') {
        const found = text.slice(0, end - 1);
        text = text.slice(end + 1);
        return found;
      }
      if (end >= 0) throw new Error(`a line without CR: ${JSON.stringify(text)}`);
      if (isClosed) throw new Error(`the connection ended; left: ${JSON.stringify(text)}`);
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  }
  return { line, hear, closed, isClosed: () => isClosed };
}

async function readReply(line: Heard['line']): Promise<SmtpReply> {
  const lines: string[] = [];
  for (let first = ''; lines.length < LINES_MAX; ) {
    const found = await line();
    const [, code = '', sign = '', said = ''] = LINE.exec(found) ?? [];
    if (code === '' || (first !== '' && code !== first)) {
      throw new Error(`not a reply: ${JSON.stringify(found)}`);
    }
    first = code;
    lines.push(said);
    if (sign === ' ') return { code: Number(code), status: STATUS.exec(said)?.[1] ?? '', lines };
  }
  throw new Error('a reply without end');
}

function clientOf(first: Socket): SmtpClient {
  const { line, hear, closed, isClosed } = heardOn(first);
  let socket = first;
  const read = (): Promise<SmtpReply> => readReply(line);

  function write(bytes: string | Uint8Array): Promise<void> {
    return new Promise((resolve) => {
      if (isClosed()) resolve();
      else socket.write(bytes, () => resolve());
    });
  }

  async function say(said: string): Promise<SmtpReply> {
    await write(`${said}\r\n`);
    return read();
  }

  async function sayAll(...lines: readonly string[]): Promise<SmtpReply> {
    let last: SmtpReply = { code: 0, status: '', lines: [] };
    for (const one of lines) {
      last = await say(one);
      if (last.code >= 400) throw new Error(`${one}: ${last.code} ${last.lines.join(' / ')}`);
    }
    return last;
  }

  async function secure(): Promise<void> {
    first.removeAllListeners('data');
    const upper = connectTls({ socket: first, rejectUnauthorized: false });
    await new Promise<void>((resolve, reject) => {
      upper.once('secureConnect', resolve);
      upper.once('error', reject);
    });
    socket = upper;
    hear(upper);
  }

  return { read, write, say, sayAll, secure, closed, isClosed, drop: () => first.destroy() };
}
