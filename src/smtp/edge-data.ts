/**
 * DATA at the edge: a message is received, kept, and only then answered.
 *
 * T1. 250 is said only after `accept` resolved.
 * T2. Nothing is handed to `accept` before the final dot is in, the size is right and the
 *     client still there.
 */
import type { SMTPServerDataResult, SMTPServerDataStream } from 'smtp-server';
import { MailError } from '../errors.ts';
import type { Envelope, MailKind, RawMail } from '../mail/envelope.ts';
import { type Body, createBody } from './edge-body.ts';
import type { EdgeConnection } from './edge-connection.ts';
import { OVERRUN_BYTES_MAX } from './edge-limits.ts';
import {
  type Door,
  type EdgeTransaction,
  failureOf,
  type Recipient,
  rejection,
  tooLarge,
} from './edge-transaction.ts';

/** A transaction whose message is coming, and where. */
export type Coming = {
  readonly transaction: EdgeTransaction;
  readonly connection: EdgeConnection;
  readonly door: Door;
};

/** What a recipient is told after the final dot: queued, or why not. */
type Reply = 'queued' | MailError;

/** A reply a recipient; or it never came whole and nobody is there: why, if it was we who closed. */
type Outcome = { readonly replies: readonly Reply[] } | { readonly cut: MailError | null };

const HELO_LENGTH_MAX = 255;

/**
 * Receives one message; what to answer each recipient, or null if nobody is there any more. Never
 * rejects.
 */
export async function receive(
  stream: SMTPServerDataStream,
  coming: Coming,
): Promise<readonly SMTPServerDataResult[] | null> {
  const { transaction, connection, door } = coming;
  const { clock, random, log } = door.needs;
  const startedAt = clock.monotonic();
  const { spoolDir, budget, limits } = door;
  const body = createBody({ spoolDir, budget, random, bareLineEnds: limits.bareLineEnds });
  connection.beginData();
  const outcome = await outcomeOf(stream, body, coming).catch((error: unknown): Outcome => {
    const told = failureOf(error, log);
    return { replies: transaction.recipients.map(() => told) };
  });
  report(outcome, body, clock.monotonic() - startedAt, coming);
  await body.close();
  if ('cut' in outcome) return null;
  return outcome.replies.map((reply) =>
    reply === 'queued' ? `2.6.0 queued as ${transaction.trace}` : rejection(reply),
  );
}

async function outcomeOf(
  stream: SMTPServerDataStream,
  body: Body,
  coming: Coming,
): Promise<Outcome> {
  const { recipients } = coming.transaction;
  const cut = await fill(stream, body, coming);
  if (cut !== undefined) return { cut };
  const raw = await body.finish().catch((error: unknown) => problemOf(error, coming));
  if (raw instanceof MailError) return { replies: recipients.map(() => raw) };
  const fitting = recipients.filter(({ maxMessageBytes }) => raw.size <= maxMessageBytes);
  // SMTP has one reply for all, so the smallest limit holds; LMTP has one for each (RFC 2033 §4.2).
  const isForSome = coming.door.protocol === 'lmtp' || fitting.length === recipients.length;
  const taken = new Set(isForSome ? fitting : []);
  const reply = taken.size === 0 ? tooLarge() : await keep(raw, [...taken], coming);
  return { replies: recipients.map((one) => (taken.has(one) ? reply : tooLarge())) };
}

/**
 * Reads the message to its end (undefined); otherwise why the connection ended before: ours to say,
 * or null.
 */
async function fill(
  stream: SMTPServerDataStream,
  body: Body,
  { transaction, connection, door }: Coming,
): Promise<MailError | null | undefined> {
  const limits = transaction.recipients.map(({ maxMessageBytes }) => maxMessageBytes);
  const isLmtp = door.protocol === 'lmtp';
  const ofLists = isLmtp ? Math.max(...limits) : Math.min(...limits);
  const bytesMax = Math.min(ofLists, door.limits.sizeMax);
  try {
    for await (const chunk of stream) {
      connection.moreData();
      const writing = stream.byteLength > bytesMax ? null : body.write(chunk);
      if (writing !== null) await writing;
      if (stream.byteLength > bytesMax + OVERRUN_BYTES_MAX) {
        connection.hangUp(tooLarge(), isLmtp ? limits.length : 1);
        return tooLarge();
      }
    }
  } catch {
    return null; // The stream was destroyed: the client left, or its time was over.
  }
  connection.endData();
  if (stream.sizeExceeded || stream.byteLength > bytesMax) body.refuse(tooLarge());
  return connection.isGone ? null : undefined;
}

/**
 * A refusal of the message is an answer, and only logged as the transaction is; what failed on our
 * side is both.
 */
function problemOf(error: unknown, { door }: Coming): MailError {
  const isRefusal = error instanceof MailError && error.cause === undefined;
  return isRefusal ? error : failureOf(error, door.needs.log);
}

async function keep(
  raw: RawMail,
  recipients: readonly Recipient[],
  { transaction, connection, door }: Coming,
): Promise<Reply> {
  const { accept, clock, log } = door.needs;
  const envelope = {
    sender: transaction.sender,
    smtputf8: transaction.smtputf8,
    eightBit: transaction.eightBit,
    receivedAt: clock.now(),
    peer: connection.peer === '' ? 'local' : connection.peer,
    helo: heloOf(connection),
    trace: transaction.trace,
  };
  try {
    await accept(raw, envelopesOf(recipients, envelope));
    return 'queued';
  } catch (error) {
    return failureOf(error, log);
  }
}

/**
 * One a kind: a mail to several lists is one message of each kind, with its recipients in the
 * envelope.
 */
function envelopesOf(
  recipients: readonly Recipient[],
  shared: Omit<Envelope, 'recipients'>,
): { kind: MailKind; envelope: Envelope }[] {
  const byKind = Map.groupBy(recipients, ({ kind }) => kind);
  return [...byKind].map(([kind, of]) => {
    const addresses = [...new Set(of.map(({ address }) => address))];
    return { kind, envelope: { ...shared, recipients: addresses } };
  });
}

/** What the client calls itself: printable ASCII, as it will stand in headers. */
function heloOf(connection: EdgeConnection): string {
  const given = connection.hostNameAppearsAs || 'unknown';
  return given.replace(/[^\x21-\x7e]/g, '?').slice(0, HELO_LENGTH_MAX);
}

/** One line a transaction, and the counters. */
function report(outcome: Outcome, body: Body, ms: number, coming: Coming): void {
  const { transaction, connection, door } = coming;
  const { meter, log } = door.needs;
  const labels = { protocol: door.protocol };
  const replies = 'cut' in outcome ? [outcome.cut] : outcome.replies;
  for (const reply of door.protocol === 'lmtp' ? replies : replies.slice(0, 1)) {
    if (reply === 'queued') meter.count('edge_accepted', labels);
    else if (reply === null) meter.count('edge_cut', labels);
    else meter.count('edge_refused', { ...labels, code: String(reply.code) });
  }
  meter.count('edge_bytes', labels, body.size());
  if (body.rewritten() > 0) meter.count('edge_bare_line_ends', labels, body.rewritten());
  meter.observe('edge_ms', ms, labels);
  const first = replies.find((reply) => reply !== 'queued');
  const fields = {
    trace: transaction.trace,
    protocol: door.protocol,
    peer: connection.peer,
    sender: transaction.sender,
    recipients: transaction.recipients.length,
    bytes: body.size(),
    ms: Math.round(ms),
  };
  if (first === undefined) log.info({ ...fields, code: 250 }, 'mail accepted');
  else if (first === null) log.info(fields, 'the connection ended before the final dot');
  else {
    const accepted = replies.filter((reply) => reply === 'queued').length;
    log.info({ ...fields, accepted, code: first.code, reply: first.message }, 'mail refused');
  }
}
