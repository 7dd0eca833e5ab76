/**
 * An MTA as a process of its own, so that it outlives every kill of the others. Each mail that it
 * takes is a line in a log that is on the disk before its 250; lines that wait are synced together.
 *
 *   node sink-main.ts LOG PORT [--header] [--body] [--listen=ADDRESS] [--moods=SEED|names]
 *
 * prints its port on stdout and runs until it is ended
 */
import { createHash } from 'node:crypto';
import { fdatasyncSync, openSync, writeSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { GOOD_MOOD, type Moods, moodsByName, moodsOf } from './sink-moods.ts';
import type { SinkLine } from './sink-process.ts';

const [, , logFile = '', wantedPort = '0', ...flags] = process.argv;
const log = openSync(logFile, 'a');
const keepsHeader = flags.includes('--header');
const keepsBody = flags.includes('--body');
const flagOf = (name: string): string | undefined =>
  flags.find((flag) => flag.startsWith(`--${name}=`))?.slice(name.length + 3);
const address = flagOf('listen') ?? '127.0.0.1';
const moods = moodsAs(flagOf('moods'));

function moodsAs(wanted: string | undefined): Moods {
  if (wanted === undefined) return GOOD_MOOD;
  return wanted === 'names' ? moodsByName() : moodsOf(Number(wanted));
}

// ── The log ───────────────────────────────────────────────────────────────

let waiting: { readonly line: string; readonly then: () => void }[] = [];

function write(line: SinkLine, then: () => void): void {
  if (waiting.length === 0) setImmediate(sync);
  waiting.push({ line: `${JSON.stringify(line)}\n`, then });
}

function sync(): void {
  const group = waiting;
  waiting = [];
  writeSync(log, group.map(({ line }) => line).join(''));
  fdatasyncSync(log);
  for (const { then } of group) then();
}

// ── A message ─────────────────────────────────────────────────────────────

function lineOf({ helo, sender, recipients }: Session, message: Buffer): SinkLine {
  const end = message.indexOf('\r\n\r\n');
  const bodyStart = end < 0 ? message.length : end + 4;
  const header = message.toString('latin1', 0, end < 0 ? message.length : end + 2);
  return {
    at: Date.now(),
    helo,
    sender,
    recipients,
    messageId: fieldOf(header, 'message-id'),
    marker: fieldOf(header, 'x-marker'),
    sha: sha(message),
    bodySha: sha(message.subarray(bodyStart)),
    bytes: message.length,
    ...(keepsHeader && { header }),
    ...(keepsBody && { body: message.toString('latin1', end < 0 ? message.length : end + 4) }),
  };
}

function fieldOf(header: string, name: string): string {
  const found = new RegExp(`^${name}:((?:.*\\r\\n[ \\t])*.*)\\r\\n`, 'im').exec(header);
  return (found?.[1] ?? '').replaceAll('\r\n', '').trim();
}

const sha = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

/** RFC 5321 §4.5.2. */
function unstuffed(bytes: Buffer): Buffer {
  if (bytes[0] !== 46 && !bytes.includes('\r\n..')) return bytes;
  const text = bytes.toString('latin1');
  return Buffer.from(text.replace(/^\.\./, '.').replaceAll('\r\n..', '\r\n.'), 'latin1');
}

// ── A connection ──────────────────────────────────────────────────────────

type Session = {
  helo: string;
  sender: string;
  recipients: string[];
  inData: boolean;
  /** It was dropped: nothing that still comes is heard. */
  isDeaf: boolean;
  /** A message is not answered yet: what came with it waits, since answers are in order (RFC 2920 §3.2). */
  isBusy: boolean;
};

function onCommand(socket: Socket, session: Session, line: string): void {
  const verb = line.slice(0, 4).toUpperCase();
  const address = /<([^>]*)>/.exec(line)?.[1] ?? '';
  if (verb === 'EHLO') {
    session.helo = line.slice(5).trim();
    socket.write('250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 DSN\r\n');
  } else if (verb === 'MAIL') {
    Object.assign(session, { sender: address, recipients: [] });
    socket.write('250 2.1.0 ok\r\n');
  } else if (verb === 'RCPT') {
    const refusal = moods.toRecipient(session.sender, address);
    if (refusal === null) session.recipients.push(address);
    socket.write(refusal ?? '250 2.1.5 ok\r\n');
  } else if (verb === 'DATA' && session.recipients.length > 0) {
    session.inData = true;
    socket.write('354 go on\r\n');
  } else if (verb === 'QUIT') {
    socket.end('221 2.0.0 bye\r\n');
  } else if (['HELO', 'RSET', 'NOOP'].includes(verb)) {
    socket.write('250 2.0.0 ok\r\n');
  } else {
    socket.write('503 5.5.1 not now\r\n');
  }
}

function onMessage(socket: Socket, session: Session, stuffed: Buffer, goOn: () => void): void {
  const line = lineOf(session, unstuffed(stuffed));
  const mood = moods.toMessage(session.sender, session.recipients);
  Object.assign(session, { sender: '', recipients: [], inData: false, isBusy: true });
  const answer = (text: string): void => {
    if (!socket.destroyed) socket.write(text);
    session.isBusy = false;
    goOn();
  };
  if (mood === 'take') {
    write(line, () => answer('250 2.0.0 taken\r\n'));
  } else if (mood === 'drop') {
    // Closed on one side only: a reset would take with it what was answered before.
    session.isDeaf = true;
    write({ ...line, answer: 0 }, () => socket.end());
  } else {
    write({ ...line, answer: mood.code }, () => answer(mood.text));
  }
}

/**
 * Where the line with the final dot begins; −1 if it is not there yet. `from`: looked at before.
 */
function endOfMessage(bytes: Buffer, from: number): number {
  if (bytes.indexOf('.\r\n') === 0) return 0;
  const end = bytes.indexOf('\r\n.\r\n', Math.max(0, from - 4));
  return end < 0 ? -1 : end + 2;
}

function serve(socket: Socket): void {
  const session: Session = {
    ...{ helo: '', sender: '', recipients: [], inData: false, isDeaf: false, isBusy: false },
  };
  let received = Buffer.alloc(0);
  let looked = 0;
  const onBytes = (): void => {
    while (!session.isDeaf && !session.isBusy) {
      const end = session.inData ? endOfMessage(received, looked) : received.indexOf('\r\n');
      looked = received.length;
      if (end < 0) return;
      const taken = received.subarray(0, end);
      received = received.subarray(end + (session.inData ? 3 : 2));
      looked = 0;
      if (session.inData) onMessage(socket, session, taken, onBytes);
      else onCommand(socket, session, taken.toString('latin1'));
    }
  };
  socket.setNoDelay(true);
  socket.on('data', (bytes) => {
    if (session.isDeaf) return;
    received = received.length === 0 ? bytes : Buffer.concat([received, bytes]);
    onBytes();
  });
  socket.on('end', () => socket.end());
  socket.on('error', () => socket.destroy());
  socket.write('220 sink ESMTP\r\n');
}

const server = createServer({ allowHalfOpen: true }, serve);
server.listen(Number(wantedPort), address, () => {
  const bound = server.address();
  if (bound !== null && typeof bound === 'object') console.log(bound.port);
});
