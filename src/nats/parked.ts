/**
 * PARKED as an operator sees it: what was set aside, from where and why; and sending it back there.
 *
 * A replay is published before the parked copy is deleted, under an id made of its sequence: a
 * replay that was interrupted between the two and is done again within the stream's duplicate
 * window counts once.
 */
import { OperatorError } from '../errors.ts';
import type { Nats } from './connect.ts';
import { createPublisher, type Publisher } from './publisher.ts';
import { apiRequest, deleteStored, failure, storedMessage } from './stored.ts';
import { isQueueSubject, MAIL_PART, PARKED, parked as parkedBy } from './subjects.ts';

const STREAM = 'TROUPE_PARKED';

/** Headers that parking adds; `where` is the subject's last token. */
export const FROM_SUBJECT = 'Troupe-From-Subject';
export const FROM_SEQ = 'Troupe-From-Seq';
export const WHY = 'Troupe-Why';

export type ParkedMessage = {
  /** Its sequence in PARKED: the id for `queue show` and `queue replay`. */
  readonly seq: number;
  /** Which runner parked it. */
  readonly where: string;
  readonly fromSubject: string;
  readonly fromSeq: number;
  readonly why: string;
  /** When it was parked, ms since the epoch. */
  readonly at: number;
  readonly bytes: number;
};

export type ParkedWhole = ParkedMessage & {
  /** The headers it had, without those that parking added. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly data: Uint8Array;
};

/**
 * Where `parkedOut` puts the parts of a large mail, just before the mail itself; shown and replayed
 * with it only.
 */
const PART = 'part';
const PARTS = 'Troupe-Parts';
/**
 * A mail's parts are looked for in this many sequences before it: parks of several mails at once
 * interleave.
 */
const PARTS_WITHIN = 8_192;

/** How many are parked, by where. Throws MailError 451 when NATS does not answer. */
export async function parkedCounts(nats: Nats): Promise<ReadonlyMap<string, number>> {
  const answer = await apiRequest(nats, `$JS.API.STREAM.INFO.${STREAM}`, {
    subjects_filter: PARKED,
  });
  if (answer.error) throw failure(answer.error);
  const { subjects } = answer.state as { subjects?: Readonly<Record<string, number>> };
  const counts = Object.entries(subjects ?? {}).map(([s, count]) => [whereOf(s), count] as const);
  return new Map(counts.filter(([where]) => where !== PART));
}

/** Parked messages with a sequence above `after`, oldest first, at most `limit`; of one `where` alone if it is given. */
export async function* parkedMessages(
  nats: Nats,
  after: number,
  limit: number,
  where?: string,
): AsyncGenerator<ParkedMessage> {
  const subject = where === undefined ? PARKED : parkedBy(where);
  let seq = after + 1;
  for (let found = 0; found < limit; ) {
    const next = await getMessage(nats, { seq, next_by_subj: subject });
    if (next === null) return;
    seq = next.seq + 1;
    if (next.where === PART) continue;
    found += 1;
    const { headers: _, data: __, ...message } = next;
    yield message;
  }
}

/** One parked message whole; null if there is none with this sequence. */
export function parkedMessage(nats: Nats, seq: number): Promise<ParkedWhole | null> {
  return getMessage(nats, { seq });
}

/**
 * Sends a parked message back to where it came from and deletes the parked copy. Throws
 * OperatorError when it is not there or may not go back, MailError when NATS is away or full.
 */
export async function replayParked(nats: Nats, seq: number): Promise<ParkedMessage> {
  const message = await parkedMessage(nats, seq);
  if (message === null) {
    throw new OperatorError(`nothing is parked as ${seq}`, 'See `troupe queue ls --parked`.');
  }
  if (!isQueueSubject(message.fromSubject)) {
    throw new OperatorError(
      `${seq} came from “${message.fromSubject}”, which is no queue of ours`,
      'Look at it with `troupe queue show`; it stays parked.',
    );
  }
  const publisher = createPublisher(nats);
  const parts = await partsOf(nats, message);
  try {
    const headers = Object.fromEntries(message.headers);
    if (parts.length > 0) headers[PARTS] = JSON.stringify(await putBack(nats, publisher, parts));
    await publisher.publish(message.fromSubject, message.data, { id: `replay.${seq}`, headers });
  } finally {
    publisher.close();
  }
  // The message goes before its parts: what is interrupted here leaves parts that age out, not a
  // mail without them.
  await deleteStored(nats, STREAM, seq);
  for (const { parked } of parts) if (parked !== null) await deleteStored(nats, STREAM, parked.seq);
  return message;
}

/** One part of a large mail: the sequence its mail calls it by, and its parked copy. */
type Part = { readonly named: number; readonly parked: ParkedWhole | null };

async function partsOf(nats: Nats, message: ParkedWhole): Promise<readonly Part[]> {
  const header = message.headers.find(([name]) => name === PARTS)?.[1];
  if (header === undefined) return [];
  const named = sequencesIn(header);
  const found = new Map<number, ParkedWhole>();
  let seq = Math.max(1, message.seq - PARTS_WITHIN);
  while (found.size < named.length) {
    const next = await getMessage(nats, { seq, next_by_subj: parkedBy(PART) });
    if (next === null || next.seq >= message.seq) break;
    if (named.includes(next.fromSeq)) found.set(next.fromSeq, next);
    seq = next.seq + 1;
  }
  return named.map((name) => ({ named: name, parked: found.get(name) ?? null }));
}

/** Parts that MAIL has forgotten are put there again; the mail then names where they are now. */
async function putBack(
  nats: Nats,
  publisher: Publisher,
  parts: readonly Part[],
): Promise<readonly number[]> {
  const now: number[] = [];
  for (const { named, parked } of parts) {
    const there = await storedMessage(nats, 'TROUPE_MAIL', { seq: named });
    if (there?.subject === MAIL_PART) now.push(named);
    else if (parked !== null) now.push((await publisher.publish(MAIL_PART, parked.data)).seq);
    else {
      throw new OperatorError(
        'a part of this large mail is gone, from MAIL and from what is parked',
        'It cannot be replayed whole; look at it with `troupe queue show`.',
      );
    }
  }
  return now;
}

/** The sequences of a Troupe-Parts header; none where it is damaged. */
function sequencesIn(header: string): readonly number[] {
  try {
    const value: unknown = JSON.parse(header);
    return Array.isArray(value) ? value.filter((seq) => Number.isSafeInteger(seq)) : [];
  } catch {
    return [];
  }
}

type StoredJson = {
  readonly subject: string;
  readonly seq: number;
  readonly time: string;
  readonly hdrs?: string;
  readonly data?: string;
};

const NO_MESSAGE_FOUND = 10_037;

async function getMessage(nats: Nats, which: unknown): Promise<ParkedWhole | null> {
  const answer = await apiRequest(nats, `$JS.API.STREAM.MSG.GET.${STREAM}`, which);
  if (answer.error?.err_code === NO_MESSAGE_FOUND) return null;
  if (answer.error) throw failure(answer.error);
  return wholeOf(answer.message as StoredJson);
}

function wholeOf(message: StoredJson): ParkedWhole {
  const all = headersOf(message.hdrs);
  const own = (name: string): string => all.find(([known]) => known === name)?.[1] ?? '';
  const data = Buffer.from(message.data ?? '', 'base64');
  return {
    seq: message.seq,
    where: whereOf(message.subject),
    fromSubject: own(FROM_SUBJECT),
    fromSeq: Number(own(FROM_SEQ)) || 0,
    why: own(WHY),
    at: Date.parse(message.time),
    bytes: data.length,
    headers: all.filter(([name]) => !isOfParking(name)),
    data,
  };
}

/**
 * Ours, and those that steer the server: a stored Nats-Msg-Id would make a replay a duplicate of
 * its first life.
 */
function isOfParking(name: string): boolean {
  return [FROM_SUBJECT, FROM_SEQ, WHY].includes(name) || /^nats-/i.test(name);
}

/** A stored header block: a status line, then `Name: value` lines. */
function headersOf(block: string | undefined): (readonly [string, string])[] {
  if (block === undefined) return [];
  const lines = Buffer.from(block, 'base64').toString('utf8').split('\r\n').slice(1);
  return lines.flatMap((line) => {
    const colon = line.indexOf(':');
    return colon > 0 ? [[line.slice(0, colon), line.slice(colon + 1).trim()] as const] : [];
  });
}

function whereOf(subject: string): string {
  return subject.split('.').at(-1) ?? subject;
}
