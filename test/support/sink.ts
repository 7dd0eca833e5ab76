/**
 * A fake MTA on loopback that says what a test tells it to: 451, 550, refuse a connection, drop in
 * DATA, drop after the dot, hang. It records every transaction that it took responsibility for, and
 * those that it dropped after the dot apart: there the sender cannot know.
 */
import { createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** `body`: the first bytes of a message are here. */
type Command =
  | 'connect'
  | 'ehlo'
  | 'starttls'
  | 'mail'
  | 'rcpt'
  | 'data'
  | 'body'
  | 'dot'
  | 'rset'
  | 'quit';

export type Step = {
  readonly command: Command;
  /**
   * The command's argument, e.g. `TO:<a@example.org>`; for LMTP's answers to the dot the recipient.
   */
  readonly argument: string;
  readonly sender: string;
  /** Of this connection, counted from 1. */
  readonly connection: number;
  /** Of this command over all connections, counted from 1. */
  readonly nth: number;
  /** That this transaction has so far. */
  readonly recipients: number;
};

/**
 * A reply; `drop` closes the connection at once; `accept-and-drop` takes the mail and says nothing;
 * `hang` never answers.
 */
export type Answer = string | 'drop' | 'accept-and-drop' | 'hang' | null;

export type SinkMail = {
  readonly sender: string;
  readonly recipients: readonly string[];
  readonly mailArguments: string;
  readonly rcptArguments: readonly string[];
  /** Without dot-stuffing and final dot. */
  readonly message: Buffer;
  readonly connection: number;
  /** False if the sender was told nothing. */
  readonly isAnswered: boolean;
};

export type SinkOptions = {
  /** Null, or no rule: the step succeeds. */
  readonly rule?: (step: Step) => Answer;
  /** Default: PIPELINING, 8BITMIME, SMTPUTF8, DSN. */
  readonly extensions?: readonly string[];
  /** Each reply comes a byte at a time: a turn of the loop apart, or so many ms. */
  readonly drips?: boolean | number;
  /** Of commands that come together it hears the first. */
  readonly hearsOne?: boolean;
  readonly isLmtp?: boolean;
  readonly port?: number;
};

export type Sink = {
  readonly port: number;
  readonly url: string;
  readonly mails: SinkMail[];
  /** Each recipient of each mail that the sink took, answered or not. */
  recipients(): string[];
  connections(): number;
  openConnections(): number;
  /** Ends every connection there is, without a word. */
  dropAll(): void;
  /** Changes what it says from now on. */
  setRule(rule: (step: Step) => Answer): void;
  /** Says so to all who hang at the dot. */
  answerHung(reply: string): void;
  waitFor(mails: number): Promise<void>;
  close(): Promise<void>;
};

const EXTENSIONS = ['PIPELINING', '8BITMIME', 'SMTPUTF8', 'DSN'];

type State = {
  rule: (step: Step) => Answer;
  readonly extensions: readonly string[];
  readonly isLmtp: boolean;
  readonly drips: boolean | number;
  readonly hearsOne: boolean;
  readonly counts: Map<string, number>;
  readonly mails: SinkMail[];
  readonly waiting: { mails: number; resolve: () => void }[];
  readonly sockets: Set<Socket>;
  readonly hung: ((reply: string) => void)[];
  connections: number;
};

/** Starts a sink on a port of the system's choice. */
export async function startSink(options: SinkOptions = {}): Promise<Sink> {
  const state: State = {
    rule: options.rule ?? (() => null),
    extensions: options.extensions ?? EXTENSIONS,
    isLmtp: options.isLmtp ?? false,
    drips: options.drips ?? false,
    hearsOne: options.hearsOne ?? false,
    counts: new Map(),
    mails: [],
    waiting: [],
    sockets: new Set(),
    hung: [],
    connections: 0,
  };
  const server = createServer((socket) => serve(socket, state));
  const port = await listen(server, options.port ?? 0);
  return {
    port,
    url: `${state.isLmtp ? 'lmtp' : 'smtp'}://127.0.0.1:${port}`,
    mails: state.mails,
    recipients: () => state.mails.flatMap((mail) => mail.recipients),
    connections: () => state.connections,
    openConnections: () => state.sockets.size,
    dropAll() {
      for (const socket of state.sockets) socket.destroy();
    },
    setRule(rule) {
      state.rule = rule;
    },
    answerHung(reply) {
      for (const answer of state.hung.splice(0)) answer(reply);
    },
    waitFor: (mails) =>
      new Promise((resolve) => {
        state.waiting.push({ mails, resolve });
        wake(state);
      }),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of state.sockets) socket.destroy();
      }),
  };
}

function listen(server: Server, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => {
      const address = server.address();
      if (address === null || typeof address === 'string') return reject(new Error('no port'));
      resolve(address.port);
    });
  });
}

function wake(state: State): void {
  for (const [index, waiter] of [...state.waiting.entries()].reverse()) {
    if (state.mails.length < waiter.mails) continue;
    state.waiting.splice(index, 1);
    waiter.resolve();
  }
}

type Envelope = {
  sender: string | null;
  mailArguments: string;
  recipients: string[];
  rcptArguments: string[];
};

/** One connection: what was said in it so far, and what the rule says to that. */
type Session = {
  readonly socket: Socket;
  readonly state: State;
  readonly connection: number;
  envelope: Envelope;
  isInData: boolean;
  hasBody: boolean;
  isDeaf: boolean;
};

function serve(socket: Socket, state: State): void {
  state.sockets.add(socket);
  state.connections += 1;
  const session: Session = {
    ...{ socket, state, connection: state.connections },
    ...{ envelope: emptyEnvelope(), isInData: false, hasBody: false, isDeaf: false },
  };
  let received = Buffer.alloc(0);
  const onBytes = (): void => {
    while (!session.isDeaf && !socket.destroyed) {
      if (session.isInData && received.length > 0 && !beginBody(session)) return;
      const end = session.isInData ? endOfMessage(received) : received.indexOf('\r\n');
      if (end < 0) return;
      if (session.isInData) {
        Object.assign(session, { isInData: false, hasBody: false });
        const message = unstuffed(received.subarray(0, end));
        received = received.subarray(end + 3);
        onMessage(session, message);
      } else {
        const line = received.toString('utf8', 0, end);
        received = received.subarray(state.hearsOne ? received.length : end + 2);
        onCommand(session, line);
      }
    }
  };
  socket.setNoDelay(true);
  socket.on('data', (bytes) => {
    received = received.length === 0 ? bytes : Buffer.concat([received, bytes]);
    onBytes();
  });
  socket.on('error', () => socket.destroy());
  socket.on('close', () => state.sockets.delete(socket));
  say(session, ask(session, 'connect', ''), '220 sink.example ESMTP');
}

/** Asked once a message; true if it is to be read. Who hangs here reads no more, and the sender's window closes. */
function beginBody(session: Session): boolean {
  if (session.hasBody) return true;
  session.hasBody = true;
  const answer = ask(session, 'body', '');
  if (answer === null) return true;
  session.socket.pause();
  return say(session, answer, '');
}

function ask(
  { state, connection, envelope }: Session,
  command: Step['command'],
  argument: string,
): Answer {
  const nth = (state.counts.get(command) ?? 0) + 1;
  state.counts.set(command, nth);
  const recipients = envelope.recipients.length;
  const sender = envelope.sender ?? '';
  return state.rule({ command, argument, sender, connection, nth, recipients });
}

/** True if the step went well. */
function say(session: Session, answer: Answer, usual: string): boolean {
  const { socket, state } = session;
  if (answer === 'hang') session.isDeaf = true;
  else if (answer === 'drop' || answer === 'accept-and-drop') socket.destroy();
  else if (state.drips !== false) drip(socket, `${answer ?? usual}\r\n`, state.drips);
  else socket.write(`${answer ?? usual}\r\n`);
  if (answer?.startsWith('421') && !session.isDeaf) socket.end(); // RFC 5321 §3.8.
  return !session.isDeaf && !socket.destroyed && /^[23]/.test(answer ?? usual);
}

function onCommand(session: Session, line: string): void {
  const { socket, state, envelope } = session;
  const [verb = '', ...rest] = line.split(' ');
  const argument = rest.join(' ');
  const command = verb.toLowerCase();
  const step = (what: Step['command'], usual: string): boolean =>
    say(session, ask(session, what, argument), usual);
  if (command === 'ehlo' || command === 'lhlo') {
    step('ehlo', [...state.extensions, 'OK'].reduceRight(replyLines, ''));
  } else if (command === 'starttls') {
    step('starttls', '454 4.7.0 no TLS now');
  } else if (command === 'mail') {
    if (envelope.sender !== null) return void socket.write('503 5.5.1 nested MAIL\r\n');
    const sender = /<([^>]*)>/.exec(argument)?.[1] ?? '';
    if (step('mail', '250 2.1.0 ok')) {
      session.envelope = { ...emptyEnvelope(), sender, mailArguments: argument };
    }
  } else if (command === 'rcpt') {
    if (envelope.sender === null) return void socket.write('503 5.5.1 MAIL first\r\n');
    if (!step('rcpt', '250 2.1.5 ok')) return;
    envelope.recipients.push(/<([^>]*)>/.exec(argument)?.[1] ?? '');
    envelope.rcptArguments.push(argument);
  } else if (command === 'data') {
    if (envelope.recipients.length === 0) return void socket.write('503 5.5.1 RCPT first\r\n');
    session.isInData = step('data', '354 go on');
  } else if (command === 'rset') {
    if (step('rset', '250 2.0.0 ok')) session.envelope = emptyEnvelope();
  } else if (command === 'quit') {
    if (step('quit', '221 2.0.0 bye')) socket.end();
  } else {
    socket.write('500 5.5.2 what?\r\n');
  }
}

/** LMTP answers for each recipient, SMTP once for all (RFC 2033 §4.2). */
function onMessage(session: Session, message: Buffer): void {
  const { socket, state, envelope } = session;
  let isAnyTaken = false;
  const answer = (argument: string, recipients: readonly string[]): void => {
    const said = ask(session, 'dot', argument);
    const isTaken = said === null || said === 'accept-and-drop' || said.startsWith('2');
    if (isTaken) keep(session, recipients, message, said !== 'accept-and-drop');
    isAnyTaken ||= isTaken;
    say(session, said, '250 2.0.0 taken');
    if (said === 'hang') hang({ ...session }, recipients, message);
  };
  if (!state.isLmtp) answer('', envelope.recipients);
  for (const recipient of state.isLmtp ? envelope.recipients : []) {
    answer(recipient, [recipient]);
    if (session.isDeaf || socket.destroyed) break;
  }
  session.envelope = emptyEnvelope();
  if (isAnyTaken) wake(state);
}

/** Nothing more is heard on this connection, whatever is answered in the end. */
function hang(session: Session, recipients: readonly string[], message: Buffer): void {
  session.state.hung.push((reply) => {
    if (reply.startsWith('2')) keep(session, recipients, message, true);
    session.socket.write(`${reply}\r\n`);
    wake(session.state);
  });
}

function keep(
  { state, envelope, connection }: Session,
  recipients: readonly string[],
  message: Buffer,
  isAnswered: boolean,
): void {
  const { sender, mailArguments, rcptArguments } = envelope;
  state.mails.push({
    ...{ sender: sender ?? '', recipients, mailArguments, rcptArguments },
    ...{ message, connection, isAnswered },
  });
}

/** A turn of the loop between two bytes; replies to commands that came together follow one another. */
function drip(socket: Socket, reply: string, pace: number | true): void {
  const before = dripping.get(socket) ?? Promise.resolve();
  const bytes = async (): Promise<void> => {
    await before;
    for (const byte of reply) {
      if (socket.writableEnded || socket.destroyed) return;
      socket.write(byte);
      await (pace === true ? new Promise(setImmediate) : sleep(pace));
    }
  };
  dripping.set(socket, bytes());
}

const dripping = new WeakMap<Socket, Promise<void>>();

function replyLines(lines: string, extension: string): string {
  return lines === '' ? `250 ${extension}` : `250-${extension}\r\n${lines}`;
}

const emptyEnvelope = (): Envelope => ({
  ...{ sender: null, mailArguments: '', recipients: [], rcptArguments: [] },
});

/** Where the line with the final dot begins; −1 if it is not there yet. */
function endOfMessage(bytes: Buffer): number {
  if (bytes.subarray(0, 3).equals(Buffer.from('.\r\n'))) return 0;
  const end = bytes.indexOf('\r\n.\r\n');
  return end < 0 ? -1 : end + 2;
}

/** RFC 5321 §4.5.2. */
function unstuffed(bytes: Buffer): Buffer {
  const text = bytes.toString('latin1');
  return Buffer.from(text.replace(/^\.\./, '.').replaceAll('\r\n..', '\r\n.'), 'latin1');
}
